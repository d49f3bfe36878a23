"""Tables of a sweep: means over seeds and replicates with their intervals, in several formats."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from multiview.config import Study, from_mapping, get, replace
from multiview.measures.errors import ErrorCounts, error_interval, hierarchical_bootstrap
from multiview.parameters import ConfigError
from multiview.stores.store import load
from multiview.words import SAMPLE_KINDS, parameter_value

_ERROR_FIELDS = ("data.single_view_fraction", "data.num_test_multi_view", "data.num_test_single_view")
DEFAULT_MEASURES = ("test_error", "ensemble_test_error", "final_train_error", "learned_views")


class Row(NamedTuple):
    """One line of a table.

    Attributes:
        keys: values of the dimensions that the table is by.
        networks: finished networks behind it.
        non_finite: how many of them turned non-finite.
        values: for each measure its mean and the ends of its 95 % interval.
    """

    keys: tuple[Any, ...]
    networks: int
    non_finite: int
    values: tuple[tuple[float, float, float], ...]


class Table(NamedTuple):
    """A table: names of the keys, of the measures, and the rows."""

    by: tuple[str, ...]
    measures: tuple[str, ...]
    rows: tuple[Row, ...]


def point_dimensions(data: xr.Dataset) -> tuple[str, ...]:
    """Dimensions of a sweep's points."""
    return tuple(str(d) for d in data["done"].dims if d != "replicate")


def summarise(
    data: xr.Dataset | xr.DataTree, measures: Sequence[str] = DEFAULT_MEASURES, by: Sequence[str] = ()
) -> Table:
    """Aggregate a sweep over seeds and replicates, and over the dimensions that it is not shown by.

    Test errors get the interval of `measures.errors.error_interval` where one μ applies, other measures that of the
    hierarchical bootstrap over replicates and networks. Blocks that are not finished are left out.

    Args:
        data: a sweep, of `multiview.open_results`.
        measures: variables with one number for each network or replicate.
        by: dimensions or axes to keep; all of the design by default.

    Raises:
        ConfigError: no such measure or dimension, or the store of one study.

    Example:
        >>> import multiview as mv
        >>> table = mv.summarise(mv.open_results("sweep.zarr"), ["final_train_error"], by=["num_steps"])
        >>> [row.keys for row in table.rows]
        [(20,), (30,), (40,)]
    """
    if not isinstance(data, xr.Dataset):
        raise ConfigError("data holds one study; tables are made of sweeps")
    points = point_dimensions(data)
    allowed = [str(n) for n, v in data.data_vars.items() if set(v.dims) <= {*points, "replicate", "seed", "student"}]
    for name in measures:
        if name not in allowed or name in ("done", "reason"):
            raise ConfigError(f"--measure = {name!r} is not allowed: it must be one of {', '.join(sorted(allowed))}")
    kept = []
    for name in by or points:
        found = name if name in points else str(data[name].dims[0]) if name in data.coords else ""
        if found not in points:
            axes = [str(c) for c, v in data.coords.items() if set(v.dims) <= set(points)]
            raise ConfigError(f"--by = {name!r} is not allowed: it must be one of {', '.join([*points, *axes])}")
        if found not in kept:
            kept.append(found)
    needed = {n for name in measures for n in (name, *(_counts_of(name) if name.endswith("test_error") else ()))}
    load(data, ["done", "finite", *sorted(needed & set(map(str, data.data_vars)))])
    keys = [str(c) for d in kept for c, v in data.coords.items() if v.dims == (d,)]
    rows = []
    for index in np.ndindex(*(data.sizes[d] for d in kept)):
        part = data.isel(dict(zip(kept, map(int, index), strict=True)))
        finished = (part["done"] == 1) | ((part["done"] == 2) & part["finite"].notnull().any("seed"))
        finite = part["finite"].where(finished).values
        values = tuple(_mean_and_interval(part, finished, name) for name in measures)
        rows.append(
            Row(
                tuple(_plain(part[k].values) for k in keys),
                int(np.isfinite(finite).sum()),
                int((finite == 0).sum()),
                values,
            )
        )
    return Table(tuple(keys), tuple(measures), tuple(rows))


def _counts_of(name: str) -> list[str]:
    """The variables that a test error is made of."""
    return [f"{name.removesuffix('test_error')}test_wrong_{kind}" for kind in SAMPLE_KINDS]


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _rectangle(part: xr.Dataset, finished: xr.DataArray, name: str) -> np.ndarray:
    """Values [replicates, networks] of finished blocks; other points of the design count as further replicates."""
    values = part[name].where(finished)
    inner = [d for d in ("seed", "student") if d in values.dims]
    stacked = values.transpose("replicate", ..., *inner).values
    array = np.asarray(stacked, float).reshape(-1, stacked.shape[-1] if inner else 1)
    array = array[np.isfinite(array).any(1)]
    array = array[:, np.isfinite(array).any(0)] if len(array) else array
    # Points with different numbers of networks: their means, one for each replicate.
    return np.nanmean(array, axis=1, keepdims=True) if not np.isfinite(array).all() else array


def _study_of(part: xr.Dataset) -> Study | None:
    """The study behind a part of a sweep as far as test errors go; None where several apply."""
    changed = {v.attrs["field"]: np.unique(v.values) for v in part.coords.values() if "field" in v.attrs}
    study = from_mapping(json.loads(part.attrs["config"]))
    numbers = {n: changed[n] for n in _ERROR_FIELDS if n in changed}
    if any(len(values) > 1 for values in numbers.values()):
        return None
    return replace(study, {name: values.item() for name, values in numbers.items()})


def _mean_and_interval(part: xr.Dataset, finished: xr.DataArray, name: str) -> tuple[float, float, float]:
    values = _rectangle(part, finished, name)
    if not values.size:
        return math.nan, math.nan, math.nan
    mean = float(values.mean())
    if name.endswith("test_error"):
        study = _study_of(part)
        if study is not None:
            multi, single = (_rectangle(part, finished, n) for n in _counts_of(name))
            sizes = (int(get(study, f"data.num_test_{kind}")) for kind in SAMPLE_KINDS)
            counts = ErrorCounts(multi.round().astype(int), single.round().astype(int), *sizes)
            return mean, *error_interval(counts, study.data.single_view_fraction, study.seed)
    return mean, *hierarchical_bootstrap(values)


def _cell(value: tuple[float, float, float]) -> str:
    mean, low, high = value
    return "–" if math.isnan(mean) else f"{mean:.4g} [{low:.4g}, {high:.4g}]"


def as_words(table: Table) -> tuple[list[str], list[list[str]]]:
    """Header and cells for people."""
    header = [*table.by, "networks", *table.measures]
    rows = []
    for row in table.rows:
        networks = f"{row.networks}" + (f" ({row.non_finite} non-finite)" if row.non_finite else "")
        rows.append([*map(parameter_value, row.keys), networks, *map(_cell, row.values)])
    return header, rows


def markdown(table: Table) -> str:
    """A Markdown table."""
    header, rows = as_words(table)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines) + "\n"


def latex(table: Table) -> str:
    """A LaTeX tabular in the style of booktabs."""
    header, rows = as_words(table)

    def line(cells: list[str]) -> str:
        safe = (c.replace("\\", "").replace("_", r"\_").replace("%", r"\%").replace("–", "--") for c in cells)
        return " & ".join(safe) + r" \\"

    body = "\n".join(line(r) for r in rows)
    start = rf"\begin{{tabular}}{{{'l' * len(header)}}}"
    return f"{start}\n\\toprule\n{line(header)}\n\\midrule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"


def comma_separated(table: Table) -> str:
    """CSV with a column for each mean and each end of an interval, in full precision."""
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    ends = [f"{m}{end}" for m in table.measures for end in ("", "_low", "_high")]
    writer.writerow([*table.by, "networks", "non_finite", *ends])
    for row in table.rows:
        writer.writerow([*row.keys, row.networks, row.non_finite, *(x for v in row.values for x in v)])
    return out.getvalue()

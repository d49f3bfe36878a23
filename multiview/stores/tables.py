"""Tables of sweeps and studies: means over seeds and replicates with their intervals, in several formats."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from multiview.config import Study, from_mapping, get, replace
from multiview.measures.ensemble import ENSEMBLES
from multiview.measures.errors import ErrorCounts, error_interval, hierarchical_bootstrap
from multiview.parameters import ConfigError
from multiview.stores.labelled import from_datatree
from multiview.stores.store import load, load_all
from multiview.stores.sweep_store import DONE, FAILED
from multiview.stores.sweep_variables import sweep_values, sweep_variables
from multiview.studies.outcome import StudyResult
from multiview.words import SAMPLE_KINDS, parameter_value

_ERROR_FIELDS = ("data.single_view_fraction", "data.num_test_multi_view", "data.num_test_single_view")
DEFAULT_MEASURES = ("test_error", "ensemble_test_error", "final_train_error", "learned_views")
_KIND = "kind"  # what the table of a study is by


class Row(NamedTuple):
    """One line of a table.

    Attributes:
        keys: values of the dimensions that the table is by.
        networks: finished networks behind it; an ensemble counts as one.
        non_finite: how many of them turned non-finite.
        unfitted: how many of the others get a training sample wrong at the end.
        values: for each measure its mean and the ends of its 95 % interval.
    """

    keys: tuple[Any, ...]
    networks: int
    non_finite: int
    unfitted: int
    values: tuple[tuple[float, float, float], ...]


class Table(NamedTuple):
    """A table: names of the keys, of the measures, and the rows."""

    by: tuple[str, ...]
    measures: tuple[str, ...]
    rows: tuple[Row, ...]


def point_dimensions(data: xr.Dataset) -> tuple[str, ...]:
    """Dimensions of a sweep's points."""
    return tuple(str(d) for d in data["done"].dims if d != "replicate")


def summarise(data: xr.Dataset | xr.DataTree, measures: Sequence[str] = (), by: Sequence[str] = ()) -> Table:
    """Aggregate a sweep or a study over seeds and replicates.

    A sweep is aggregated over the dimensions that it is not shown by, too; a study has a row for each kind of network:
    single, ensemble, ensemble_probabilities, distilled, self_distilled, … Test errors get the interval of
    `measures.errors.error_interval` where one μ applies, other measures that of the hierarchical bootstrap over
    replicates and networks. Blocks that are not finished are left out.

    Args:
        data: of `multiview.open_results`.
        measures: variables of a sweep with one number for each network or replicate; of a study those of single
            networks. By default errors and learned views.
        by: dimensions or axes of a sweep to keep; all of the design by default.

    Raises:
        ConfigError: no such measure or dimension, or a store that lacks what the table is made of.

    Example:
        >>> import multiview as mv
        >>> table = mv.summarise(mv.open_results("sweep.zarr"), ["final_train_error"], by=["num_steps"])
        >>> [row.keys for row in table.rows]
        [(20,), (30,), (40,)]
        >>> [row.keys for row in mv.summarise(mv.open_results("study.zarr")).rows][:3]
        [('single',), ('ensemble',), ('ensemble_probabilities',)]
    """
    if not isinstance(data, xr.Dataset):
        return _of_study(data, measures, by)
    points = point_dimensions(data)
    allowed = [str(n) for n, v in data.data_vars.items() if set(v.dims) <= {*points, "replicate", "seed", "student"}]
    measures = _known(measures or DEFAULT_MEASURES, [name for name in allowed if name not in ("done", "reason")])
    kept = []
    for name in by or points:
        found = name if name in points else str(data[name].dims[0]) if name in data.coords else ""
        if found not in points:
            axes = [str(c) for c, v in data.coords.items() if set(v.dims) <= set(points)]
            raise ConfigError(f"--by = {name!r} is not allowed: it must be one of {', '.join([*points, *axes])}")
        if found not in kept:
            kept.append(found)
    needed = {n for name in measures for n in (name, *(_counts_of(name) if name.endswith("test_error") else ()))}
    load(data, ["done", "finite", "final_train_wrong", *sorted(needed & set(map(str, data.data_vars)))])
    keys = [str(c) for d in kept for c, v in data.coords.items() if v.dims == (d,)]
    rows = []
    for index in itertools.product(*(_order(data, d) for d in kept)):
        part = data.isel(dict(zip(kept, index, strict=True)))
        rows.append(_row(part, tuple(_plain(part[k].values) for k in keys), measures))
    return Table(tuple(keys), tuple(measures), tuple(rows))


def _order(data: xr.Dataset, dimension: str) -> list[int]:
    """Places along a dimension in the order of its numbers: values that a sweep gained stand behind the others."""
    axes = [v for v in data.coords.values() if v.dims == (dimension,)]
    sorted_by = axes[0].values if len(axes) == 1 and axes[0].dtype.kind in "if" else np.zeros(data.sizes[dimension])
    return [int(i) for i in np.argsort(sorted_by, kind="stable")]


def _of_study(tree: xr.DataTree, measures: Sequence[str], by: Sequence[str]) -> Table:
    """Aggregate a study: a row for each kind of network, of the sweep with its one point."""
    if by and tuple(by) != (_KIND,):
        raise ConfigError(f"--by = {','.join(by)!r} is not allowed: a study has a row for each kind of network")
    data = _one_point(tree)
    allowed = [str(n) for n, v in data.data_vars.items() if v.dims == ("replicate", "seed")]
    measures = _known(measures or [name for name in DEFAULT_MEASURES if name in allowed], allowed)
    students = sorted((name for name in tree.children if name != "single"), key=lambda name: (len(name), name))
    rows = []
    for kind in ("single", *ENSEMBLES, *students):
        prefix = "" if kind == "single" else f"{kind}_"
        rows.append(_row(data, (kind,), measures, prefix))
    return Table((_KIND,), tuple(measures), tuple(rows))


def _known(measures: Sequence[str], allowed: Sequence[str]) -> Sequence[str]:
    for name in measures:
        if name not in allowed:
            raise ConfigError(f"--measure = {name!r} is not allowed: it must be one of {', '.join(sorted(allowed))}")
    return measures


def _row(part: xr.Dataset, keys: tuple[Any, ...], measures: Sequence[str], prefix: str = "") -> Row:
    """Aggregate one part of a sweep; a prefix names another kind of network than single ones."""
    measured = part["finite"].notnull().any("seed")
    finished = (part["done"] == DONE) | ((part["done"] == FAILED) & measured)
    values = tuple(_mean_and_interval(part, finished, prefix + name) for name in measures)
    if f"{prefix}finite" not in part:
        return Row(keys, int(finished.sum()), 0, 0, values)
    finite, wrong = (part[prefix + name].where(finished).values for name in ("finite", "final_train_wrong"))
    unfitted = (finite == 1) & (wrong > 0)
    return Row(keys, int(np.isfinite(finite).sum()), int((finite == 0).sum()), int(unfitted.sum()), values)


def _one_point(tree: xr.DataTree) -> xr.Dataset:
    """Make the sweep of one point that a study is: the same names, and every block done.

    Raises:
        ConfigError: the store is damaged, or lacks what a study measures.
    """
    load_all(tree)
    try:
        result = from_datatree(tree)
        study = result.study
        blocks = [sweep_values(_replicate(result, number)) for number in range(study.replicates)]
    except (LookupError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"the store does not hold all that a table is made of ({error}); see multiview check"
        ) from None
    variables = sweep_variables(len(result.groups) > 1, study.self_distill.generations, "float64")
    arrays = {
        name: (("replicate", *variable.dimensions), np.stack([block[name] for block in blocks]).astype(float))
        for name, variable in variables.items()
        if name in blocks[0] and "time" not in variable.dimensions
    }
    done = ("replicate", np.full(study.replicates, DONE))
    return xr.Dataset({**arrays, "done": done}, attrs={"config": tree.attrs["config"]})


def _replicate(result: StudyResult, number: int) -> StudyResult:
    """One replicate of a study's result."""

    def part(values: Any) -> Any:
        if isinstance(values, ErrorCounts):
            return values._replace(multi_view=part(values.multi_view), single_view=part(values.single_view))
        return values[number : number + 1]

    groups = {
        name: g._replace(
            train_wrong=part(g.train_wrong), train_error=part(g.train_error), finite=part(g.finite),
            records={n: part(v) for n, v in g.records.items()}, errors=part(g.errors),
        )
        for name, g in result.groups.items()
    }  # fmt: skip
    return result._replace(
        groups=groups, ensembles={n: part(e) for n, e in result.ensembles.items()}, moments=part(result.moments),
        dark_knowledge=part(result.dark_knowledge),
    )  # fmt: skip


def _counts_of(name: str) -> list[str]:
    """The variables that a test error is made of."""
    return [f"{name.removesuffix('test_error')}test_wrong_{kind}" for kind in SAMPLE_KINDS]


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _rectangle(part: xr.Dataset, finished: xr.DataArray, name: str) -> np.ndarray:
    """Values [replicates, networks] of finished blocks; other points of the design count as further replicates."""
    if name not in part:
        return np.empty((0, 0))
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
        faults = [f"{n} {word}" for n, word in ((row.non_finite, "non-finite"), (row.unfitted, "unfitted")) if n]
        networks = f"{row.networks}" + (f" ({', '.join(faults)})" if faults else "")
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
    writer.writerow([*table.by, "networks", "non_finite", "unfitted", *ends])
    for row in table.rows:
        writer.writerow([*row.keys, row.networks, row.non_finite, row.unfitted, *(x for v in row.values for x in v)])
    return out.getvalue()

"""Axes of a sweep in figures: which are shown, where their values stand, and how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from multiview.figures.stored import Results
from multiview.figures.style import plain
from multiview.parameters import ConfigError
from multiview.stores.tables import Table, point_dimensions

DEFAULT_MEASURES = ("test_error", "ensemble_test_error")
# Errors in units of μ lie below 1 in the theory's regime. Those of networks that learned nothing are tens of times
# larger, and a linear scale would then hide all others; from 1 on it is logarithmic.
FAR_BEYOND = 3.0
UNIT_TICKS = (0.0, 0.5, 1.0, 3.0, 10.0, 30.0, 100.0)


def axes_of(data: xr.Dataset) -> dict[str, str]:
    """Find the axes of a sweep with the dimension that each runs along."""
    points = point_dimensions(data)
    return {str(n): str(v.dims[0]) for n, v in data.coords.items() if len(v.dims) == 1 and v.dims[0] in points}


def finished_sweep(results: Results) -> xr.Dataset:
    """Check that a store is a sweep with at least one finished block.

    Raises:
        ConfigError: a single study, or nothing is finished.
    """
    if not isinstance(results, xr.Dataset):
        raise ConfigError(
            "this store holds one study, no sweep: run multiview sweep --over FIELD=VALUES --out STORE and draw that"
        )
    if not (results["done"].values == 1).any():
        raise ConfigError("no block of this sweep is done: run the sweep's command again to continue it")
    return results


def is_of_words(data: xr.Dataset, name: str) -> bool:
    """Whether the values of an axis are words, such as those of `system`, and no numbers."""
    return data[name].dtype.kind not in "if"


def told_axes(data: xr.Dataset, chosen: Sequence[str]) -> list[str]:
    """Find the axes of words with several values that are not among those shown.

    A mean over networks and linearised networks is a number of neither, so that a figure tells them apart.
    """
    return [n for n in axes_of(data) if n not in chosen and is_of_words(data, n) and len(np.unique(data[n].values)) > 1]


def groups_of(table: Table, told: Sequence[str]) -> dict[tuple[Any, ...], list[int]]:
    """Find the rows of a table for each combination of values of some axes, in the order in which they come."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, row in enumerate(table.rows):
        groups.setdefault(tuple(row.keys[table.by.index(n)] for n in told), []).append(number)
    return groups


def group_words(data: xr.Dataset, told: Sequence[str], group: Sequence[Any]) -> list[str]:
    """Say which values a group has: `system = network`."""
    return [
        f"{axis_label(data, name).rpartition('.')[2]} = {f'{value:.4g}' if isinstance(value, float) else plain(value)}"
        for name, value in zip(told, group, strict=True)
    ]


def chosen_axes(data: xr.Dataset, by: Sequence[str], least: int, most: int) -> list[str]:
    """Choose the axes of a figure: those named, else the longest ones, numbers before words.

    Raises:
        ConfigError: an unknown axis, or too few.
    """
    axes = axes_of(data)
    for name in by:
        if name not in axes:
            raise ConfigError(f"--by = {name!r} is not allowed: it must be one of {', '.join(axes) or 'no axis'}")
    chosen = list(by)
    if not chosen:
        varied = [n for n in axes if len(np.unique(data[n].values)) > 1]
        first_of = {axes[n]: n for n in reversed(varied)}  # of axes that run together, the first
        names = varied if "point" in axes.values() else [n for n in varied if first_of[axes[n]] == n]
        chosen = sorted(names, key=lambda n: (is_of_words(data, n), -data.sizes[axes[n]]))[:most]
    if not least <= len(chosen) <= most:
        several = f"{least} to {most} axes" if most > least else f"{least} axes"
        raise ConfigError(
            f"--by = {','.join(by)!r} is not allowed: it must be {several} of {', '.join(axes)}" if by
            else f"this sweep has fewer than {least} axes with several values: "
            "run multiview sweep --over FIELD=VALUES FIELD=VALUES --out STORE and draw that"
        )  # fmt: skip
    return chosen


def keys(table: Table, name: str) -> list[Any]:
    """Values of one key of a table, row by row."""
    return [row.keys[table.by.index(name)] for row in table.rows]


def positions(values: Sequence[Any]) -> tuple[np.ndarray, list[str] | None]:
    """Place the values of an axis, with their words if they are no numbers."""
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return np.array(values, float), None
    words = list(dict.fromkeys(map(str, values)))
    return np.array([words.index(str(v)) for v in values], float), words


def far_beyond(measures: Sequence[str], values: np.ndarray) -> bool:
    """Tell whether these are errors of which some are many units of μ."""
    return all(m.endswith("test_error") for m in measures) and float(np.nanmax(values)) > FAR_BEYOND


def unit_ticks(largest: float) -> list[float]:
    """Ticks of an axis in units of μ that is logarithmic from 1 on."""
    return [tick for tick in UNIT_TICKS if tick <= largest]


def _logarithmic(values: np.ndarray) -> bool:
    """Tell whether the distinct values of an axis spread over more than a factor of 5, more evenly in ratios."""
    distinct = np.unique(values)
    if len(distinct) < 3 or distinct[0] <= 0 or distinct[-1] / distinct[0] < 5:
        return False
    return float(np.std(np.diff(np.log(distinct)))) < float(np.std(np.diff(distinct)) / np.mean(distinct))


def axis_label(data: xr.Dataset, name: str) -> str:
    """Write an axis in words: the full name of its field, which is what the command line calls it."""
    return plain(data[name].attrs.get("field", name))


def measure_label(data: xr.Dataset, name: str) -> str:
    """Write a measure with its unit."""
    unit = data[name].attrs.get("unit", "") if name in data else ""
    words = plain(name.replace("_", " "))
    return f"{words} ({plain(unit)})" if unit not in ("", "1") else words


def few_digits(values: np.ndarray) -> list[str]:
    """Write numbers in as few digits as tell them apart."""
    for digits in range(2, 7):
        words = [f"{v:.0f}" if v == round(v) and abs(v) < 1e5 else f"{v:.{digits}g}" for v in values]
        if len(set(words)) == len(words):
            break
    return words


def set_scale(ax: Axes, which: str, values: np.ndarray, words: list[str] | None) -> None:
    """Set the scale and ticks of one axis."""
    set_ticks = getattr(ax, f"set_{which}ticks")
    distinct = np.unique(values)
    if words is not None:
        set_ticks(range(len(words)), [plain(w) for w in words])
        return
    if _logarithmic(values):
        getattr(ax, f"set_{which}scale")("log")
    if len(distinct) <= 12:
        shown = distinct if len(distinct) <= 6 else distinct[:: -(-len(distinct) // 6)]
        set_ticks(shown, few_digits(shown))
        set_ticks([], minor=True)


def averaged(data: xr.Dataset, kept: Sequence[str]) -> str:
    """Name what a figure averages over; "" if nothing."""
    axes = axes_of(data)
    others = {d for d in point_dimensions(data) if data.sizes[d] > 1} - {axes[n] for n in kept}
    words = [axis_label(data, n) for n, d in axes.items() if d in others]
    return f"averaged over {', '.join(words)}" if words else ""


def note(data: xr.Dataset, kept: Sequence[str]) -> str:
    """Write the note below the title: what is averaged over, and which blocks are missing."""
    state = data["done"].values
    parts = [averaged(data, kept)]
    for value, word in ((0, "not computed"), (2, "failed")):
        if (state == value).any():
            parts.append(f"{(state == value).sum()} of {(state >= 0).sum()} blocks {word}")
    return "; ".join(filter(None, parts))

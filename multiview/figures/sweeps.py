"""Figures of a sweep: curves with bands over one axis, and phase diagrams over two."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm, to_rgb

from multiview.figures.stored import Results
from multiview.figures.style import INK, PAPER, SERIES, SHADES, colored_scale, legend, letters, plain, title
from multiview.parameters import ConfigError
from multiview.stores.tables import Table, point_dimensions, summarise

DEFAULT_MEASURES = ("test_error", "ensemble_test_error")
MOST_LINES = len(SERIES)
# Errors in units of μ lie below 1 where the theory speaks. Those of networks that learned nothing are tens of times
# larger, and a linear scale would then hide all others; from 1 on it is logarithmic.
FAR_BEYOND = 3.0
UNIT_TICKS = (0.0, 0.5, 1.0, 3.0, 10.0, 30.0, 100.0)
WORDS = {
    "test_error": "single networks",
    "ensemble_test_error": "ensemble",
    "ensemble_probabilities_test_error": "ensemble of probabilities",
    "distilled_test_error": "distilled students",
    "self_distilled_test_error": "self-distilled students",
}


def axes_of(data: xr.Dataset) -> dict[str, str]:
    """The axes of a sweep with the dimension that each runs along."""
    points = point_dimensions(data)
    return {str(n): str(v.dims[0]) for n, v in data.coords.items() if len(v.dims) == 1 and v.dims[0] in points}


def _sweep(results: Results) -> xr.Dataset:
    """A sweep with at least one finished block.

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


def _chosen(data: xr.Dataset, by: Sequence[str], least: int, most: int) -> list[str]:
    """The axes that a figure is over: those named, else the longest ones.

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
        chosen = sorted(names, key=lambda n: -data.sizes[axes[n]])[:most]
    if not least <= len(chosen) <= most:
        several = f"{least} to {most} axes" if most > least else f"{least} axes"
        raise ConfigError(
            f"--by = {','.join(by)!r} is not allowed: it must be {several} of {', '.join(axes)}" if by
            else f"this sweep has fewer than {least} axes with several values: "
            "run multiview sweep --over FIELD=VALUES FIELD=VALUES --out STORE and draw that"
        )  # fmt: skip
    return chosen


def _keys(table: Table, name: str) -> list[Any]:
    return [row.keys[table.by.index(name)] for row in table.rows]


def _positions(values: Sequence[Any]) -> tuple[np.ndarray, list[str] | None]:
    """Where the values of an axis stand, and their words if they are no numbers."""
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return np.array(values, float), None
    words = list(dict.fromkeys(map(str, values)))
    return np.array([words.index(str(v)) for v in values], float), words


def _far_beyond(measures: Sequence[str], values: np.ndarray) -> bool:
    """Whether these are errors of which some are many units of μ."""
    return all(m.endswith("test_error") for m in measures) and float(np.nanmax(values)) > FAR_BEYOND


def _ticks(largest: float) -> list[float]:
    return [tick for tick in UNIT_TICKS if tick <= largest]


def _logarithmic(values: np.ndarray) -> bool:
    """Whether the distinct values of an axis spread over more than a factor of 5, evenly in ratios or nearly so."""
    distinct = np.unique(values)
    if len(distinct) < 3 or distinct[0] <= 0 or distinct[-1] / distinct[0] < 5:
        return False
    return float(np.std(np.diff(np.log(distinct)))) < float(np.std(np.diff(distinct)) / np.mean(distinct))


def axis_label(data: xr.Dataset, name: str) -> str:
    """An axis in words: the full name of its field, which is what the command line calls it."""
    return plain(data[name].attrs.get("field", name))


def measure_label(data: xr.Dataset, name: str) -> str:
    """A measure with its unit."""
    unit = data[name].attrs.get("unit", "") if name in data else ""
    words = plain(name.replace("_", " "))
    return f"{words} ({plain(unit)})" if unit not in ("", "1") else words


def _few_digits(values: np.ndarray) -> list[str]:
    """Numbers in as few digits as tell them apart."""
    for digits in range(2, 7):
        words = [f"{v:.0f}" if v == round(v) and abs(v) < 1e5 else f"{v:.{digits}g}" for v in values]
        if len(set(words)) == len(words):
            break
    return words


def _scale(ax: Axes, which: str, values: np.ndarray, words: list[str] | None) -> None:
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
        set_ticks(shown, _few_digits(shown))
        set_ticks([], minor=True)


def averaged(data: xr.Dataset, kept: Sequence[str]) -> str:
    """What a figure averages over, in words, or nothing."""
    axes = axes_of(data)
    others = {d for d in point_dimensions(data) if data.sizes[d] > 1} - {axes[n] for n in kept}
    words = [axis_label(data, n) for n, d in axes.items() if d in others]
    return f"averaged over {', '.join(words)}" if words else ""


def _note(data: xr.Dataset, kept: Sequence[str]) -> str:
    state = data["done"].values
    told = [averaged(data, kept)]
    for value, word in ((0, "not computed"), (2, "failed")):
        if (state == value).any():
            told.append(f"{(state == value).sum()} of {(state >= 0).sum()} blocks {word}")
    return "; ".join(filter(None, told))


def plot_sweep(results: Results, ax: Axes, measures: Sequence[str] = (), by: Sequence[str] = ()) -> Axes:
    """Means over seeds and replicates along one axis, with bands of their 95 % intervals; a line for each measure.

    With a second axis there is a line for each of its values too. Axes that are not shown are averaged over, and the
    note below the title says so.

    Args:
        results: the store of a sweep.
        ax: where to draw.
        measures: variables of the sweep; by default the test errors of single networks and of their ensemble, or of
            single networks alone if there is a second axis.
        by: the axis to draw along, and perhaps a second one; by default the longest.

    Returns:
        ax.
    """
    data = _sweep(results)
    chosen = _chosen(data, by, 1, 2)
    if not by and len(chosen) == 2:
        others = len(np.unique(data[chosen[1]].values))
        chosen = chosen[: 1 + ("point" not in data.dims and others * max(1, len(measures)) <= 6)]
    measures = tuple(measures) or (DEFAULT_MEASURES if len(chosen) == 1 else DEFAULT_MEASURES[:1])
    table = summarise(data, measures, chosen)
    groups = list(dict.fromkeys(_keys(table, chosen[1]))) if len(chosen) > 1 else [None]
    if len(groups) * len(measures) > MOST_LINES:
        raise ConfigError(
            f"--by = {','.join(chosen)!r} is not allowed here: it gives {len(groups) * len(measures)} lines, "
            f"at most {MOST_LINES} can be told apart"
        )
    place, words = _positions(_keys(table, chosen[0]))
    number = 0
    for group in groups:
        for index, measure in enumerate(measures):
            rows = [
                i for i, row in enumerate(table.rows) if group is None or row.keys[table.by.index(chosen[1])] == group
            ]
            rows.sort(key=lambda i: place[i])
            x, values = place[rows], np.array([table.rows[i].values[index] for i in rows])
            look = SERIES[number]
            said = [] if group is None else [f"{axis_label(data, chosen[1]).rpartition('.')[2]} = {_word(group)}"]
            if group is None or len(measures) > 1:
                said.append(WORDS.get(measure, plain(measure.replace("_", " "))))
            ax.fill_between(x, values[:, 1], values[:, 2], color=look["color"], alpha=0.22, linewidth=0)
            ax.plot(x, values[:, 0], **look, label=", ".join(said))
            number += 1
    _scale(ax, "x", place, words)
    ax.set_xlabel(axis_label(data, chosen[0]))
    means = np.array([row.values for row in table.rows])[..., 0]
    if _far_beyond(measures, means):
        ax.set_yscale("symlog", linthresh=1.0)
        ax.set_yticks(_ticks(ax.get_ylim()[1]), [f"{tick:g}" for tick in _ticks(ax.get_ylim()[1])])
        ax.set_yticks([], minor=True)
    errors = all(m.endswith("test_error") for m in measures)
    ax.set_ylabel("test error in units of μ" if errors else measure_label(data, measures[0]) if len(measures) == 1
                  else "value")  # fmt: skip
    title(ax, "Sweep", _note(data, chosen) or "means with 95 % intervals")
    legend(ax, ncols=1 if number <= 2 else 2)
    return ax


def _word(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else plain(value)


def plot_phase(results: Results, ax: Axes, measures: Sequence[str] = (), by: Sequence[str] = ()) -> Axes:
    """A measure's mean over two axes of a sweep as shades, with its numbers where there is room.

    Points of a random or Sobol design are drawn where they lie. Points that are not computed stay empty and crossed.

    Args:
        results: the store of a sweep.
        ax: where to draw.
        measures: one variable of the sweep; by default the test error of single networks.
        by: the axis across and the axis up; by default the two longest.

    Returns:
        ax.
    """
    data = _sweep(results)
    across, up = _chosen(data, by, 2, 2)
    if len(measures) > 1:
        raise ConfigError(f"--measure = {','.join(measures)!r} is not allowed: a phase diagram shows one measure")
    measure = (tuple(measures) or DEFAULT_MEASURES[:1])[0]
    axes = axes_of(data)
    if axes[across] == axes[up] and axes[up] != "point":
        raise ConfigError(f"--by = '{across},{up}' is not allowed: these axes run together; name axes of the grid")
    table = summarise(data, (measure,), (across, up))
    (x, x_words), (y, y_words) = (_positions(_keys(table, n)) for n in (across, up))
    values = np.array([row.values[0][0] for row in table.rows])
    limits: dict[str, Any] = {"vmin": float(np.nanmin(values)), "vmax": float(np.nanmax(values))}
    far = _far_beyond((measure,), values)
    if far:
        limits = {"norm": SymLogNorm(linthresh=1.0, linscale=1.5, base=10, **limits)}
    drawn: Any
    if axes[across] == "point":
        known = np.isfinite(values)
        drawn = ax.scatter(x[known], y[known], c=values[known], cmap=SHADES, s=6 * letters(), edgecolors=INK,
                           linewidths=letters() / 25, **limits)  # fmt: skip
        for which, place, words in (("x", x, x_words), ("y", y, y_words)):
            _scale(ax, which, place, words)
    else:
        columns, rows = np.unique(x), np.unique(y)
        grid = np.full((len(rows), len(columns)), np.nan)
        grid[np.searchsorted(rows, y), np.searchsorted(columns, x)] = values
        # Cells of equal size, whatever the scale, with their values as ticks: nothing is claimed between points.
        drawn = ax.pcolormesh(
            np.ma.masked_invalid(grid), cmap=SHADES, edgecolors=PAPER, linewidth=letters() / 15, **limits
        )
        _write_numbers(ax, grid, drawn)
        for which, distinct, words in (("x", columns, x_words), ("y", rows, y_words)):
            step = -(-len(distinct) // (8 if which == "y" else 6))
            said = [plain(words[int(v)]) for v in distinct] if words else _few_digits(distinct)
            getattr(ax, f"set_{which}ticks")(np.arange(len(distinct))[::step] + 0.5, said[::step])
        ax.tick_params(length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)
    ax.set(xlabel=axis_label(data, across), ylabel=axis_label(data, up))
    scale = colored_scale(ax, drawn, measure_label(data, measure))
    if far:
        scale.set_ticks(_ticks(float(np.nanmax(values))), labels=[f"{t:g}" for t in _ticks(float(np.nanmax(values)))])
        scale.minorticks_off()
    title(ax, "Phase diagram", _note(data, (across, up)))
    return ax


def _write_numbers(ax: Axes, grid: np.ndarray, drawn: Any) -> None:
    """Numbers in the cells of a small grid, a cross in each empty one."""
    for (row, column), value in np.ndenumerate(grid):
        if np.isnan(value):
            ax.plot(column + 0.5, row + 0.5, marker="x", color=INK)
        elif grid.shape[1] <= 8 and grid.shape[0] <= 12:
            light = float(np.dot(to_rgb(drawn.to_rgba(value)), (0.299, 0.587, 0.114))) > 0.5
            ax.text(column + 0.5, row + 0.5, f"{value:.2f}".replace("-0.00", "0.00"), ha="center", va="center",
                    color=INK if light else PAPER, fontsize=0.8 * letters())  # fmt: skip


def design_of(results: xr.Dataset) -> dict[str, Any]:
    """The design that a sweep's store names.

    Raises:
        ConfigError: it is damaged.
    """
    try:
        design = json.loads(results.attrs["sweep"])
        return {
            "method": str(design["method"]),
            "factors": list(design["factors"]),
            "students": bool(design["students"]),
        }
    except (KeyError, ValueError, TypeError):
        raise ConfigError("the store's design cannot be read; see multiview check") from None

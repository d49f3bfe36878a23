"""A phase diagram: a measure over two axes of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm, to_rgb

from multiview.figures.axes import (
    DEFAULT_MEASURES,
    axes_of,
    axis_label,
    chosen_axes,
    far_beyond,
    few_digits,
    finished_sweep,
    group_words,
    groups_of,
    keys,
    measure_label,
    note,
    positions,
    set_scale,
    told_axes,
    unit_ticks,
)
from multiview.figures.stored import Results
from multiview.figures.style import INK, PAPER, SERIES, SHADES, colored_scale, legend, letters, plain, taller, title
from multiview.parameters import ConfigError
from multiview.stores.tables import summarise


def plot_phase(results: Results, ax: Axes, measures: Sequence[str] = (), by: Sequence[str] = ()) -> Axes:
    """Draw a measure's mean over two axes of a sweep as shades, with its numbers where there is room.

    There is a plane for each value of an axis of words, such as `system`, with its name above it. Points of a random or
    Sobol design are drawn where they lie, with a mark for each such value. Points that are not computed stay empty and
    crossed.

    Args:
        results: the store of a sweep.
        ax: where to draw.
        measures: one variable of the sweep; by default the test error of single networks.
        by: the axis across and the axis up; by default the two longest.

    Returns:
        ax.
    """
    data = finished_sweep(results)
    across, up = chosen_axes(data, by, 2, 2)
    if len(measures) > 1:
        raise ConfigError(f"--measure = {','.join(measures)!r} is not allowed: a phase diagram shows one measure")
    measure = (tuple(measures) or DEFAULT_MEASURES[:1])[0]
    axes = axes_of(data)
    if axes[across] == axes[up] and axes[up] != "point":
        raise ConfigError(f"--by = '{across},{up}' is not allowed: these axes run together; name axes of the grid")
    told = told_axes(data, (across, up))
    table = summarise(data, (measure,), (across, up, *told))
    groups = groups_of(table, told)
    (x, x_words), (y, y_words) = (positions(keys(table, n)) for n in (across, up))
    values = np.array([row.values[0][0] for row in table.rows])
    limits: dict[str, Any] = {"vmin": float(np.nanmin(values)), "vmax": float(np.nanmax(values))}
    far = far_beyond((measure,), values)
    if far:
        limits = {"norm": SymLogNorm(linthresh=1.0, linscale=1.5, base=10, **limits)}
    drawn: Any = None
    if axes[across] == "point":
        for number, (group, rows) in enumerate(groups.items()):
            known = [i for i in rows if np.isfinite(values[i])]
            drawn = ax.scatter(
                x[known], y[known], c=values[known], cmap=SHADES, s=6 * letters(), edgecolors=INK,
                linewidths=letters() / 25, marker=SERIES[number % len(SERIES)]["marker"],
                label=", ".join(group_words(data, told, group)), **limits,
            )  # fmt: skip
        for which, place, words in (("x", x, x_words), ("y", y, y_words)):
            set_scale(ax, which, place, words)
        if told:
            legend(ax)
    else:
        columns, levels = np.unique(x), np.unique(y)
        name_height = 0.075 * len(levels) * len(groups) if told else 0.0
        height = len(levels) + name_height  # of a plane with its name above it; the first is on top
        bottoms = [height * number for number in reversed(range(len(groups)))]
        if told:
            taller(ax)
        for bottom, (group, rows) in zip(bottoms, groups.items(), strict=True):
            grid = np.full((len(levels), len(columns)), np.nan)
            grid[np.searchsorted(levels, y[rows]), np.searchsorted(columns, x[rows])] = values[rows]
            # Cells of equal size, whatever the scale, with their values as ticks: nothing is claimed between points.
            drawn = ax.pcolormesh(
                np.arange(len(columns) + 1), bottom + np.arange(len(levels) + 1), np.ma.masked_invalid(grid),
                cmap=SHADES, edgecolors=PAPER, linewidth=letters() / 15, **limits,
            )  # fmt: skip
            _write_numbers(ax, grid, drawn, bottom, len(groups))
            ax.text(
                0, bottom + len(levels) + 0.15 * name_height, ", ".join(group_words(data, told, group)), va="bottom"
            )
        for which, distinct, words, starts in (("x", columns, x_words, [0.0]), ("y", levels, y_words, bottoms)):
            step = -(-len(distinct) * len(starts) // (8 if which == "y" and not told else 12 if told else 6))
            said = [plain(words[int(v)]) for v in distinct] if words else few_digits(distinct)
            ticks = [start + place + 0.5 for start in starts for place in range(0, len(distinct), step)]
            getattr(ax, f"set_{which}ticks")(ticks, said[::step] * len(starts))
        ax.set_ylim(0, height * len(groups))
        ax.tick_params(length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)
    ax.set(xlabel=axis_label(data, across), ylabel=axis_label(data, up))
    scale = colored_scale(ax, drawn, measure_label(data, measure))
    if far:
        ticks = [t for t in unit_ticks(float(np.nanmax(values))) if t >= np.nanmin(values)]
        scale.set_ticks(ticks, labels=[f"{t:g}" for t in ticks])
        scale.minorticks_off()
    title(ax, "Phase diagram", note(data, (across, up, *told)))
    return ax


def _write_numbers(ax: Axes, grid: np.ndarray, drawn: Any, bottom: float, planes: int) -> None:
    """Write numbers into the cells of a small plane, a cross in each empty one."""
    for (row, column), value in np.ndenumerate(grid):
        middle = (column + 0.5, bottom + row + 0.5)
        if np.isnan(value):
            ax.plot(*middle, marker="x", color=INK)
        elif grid.shape[1] <= 8 and grid.shape[0] * planes <= 12:
            light = float(np.dot(to_rgb(drawn.to_rgba(value)), (0.299, 0.587, 0.114))) > 0.5
            ax.text(*middle, f"{value:.2f}".replace("-0.00", "0.00"), ha="center", va="center",
                    color=INK if light else PAPER, fontsize=0.8 * letters())  # fmt: skip

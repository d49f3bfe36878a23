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
    keys,
    measure_label,
    note,
    positions,
    set_scale,
    unit_ticks,
)
from multiview.figures.stored import Results
from multiview.figures.style import INK, PAPER, SHADES, colored_scale, letters, plain, title
from multiview.parameters import ConfigError
from multiview.stores.tables import summarise


def plot_phase(results: Results, ax: Axes, measures: Sequence[str] = (), by: Sequence[str] = ()) -> Axes:
    """Draw a measure's mean over two axes of a sweep as shades, with its numbers where there is room.

    Points of a random or Sobol design are drawn where they lie. Points that are not computed stay empty and crossed.

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
    table = summarise(data, (measure,), (across, up))
    (x, x_words), (y, y_words) = (positions(keys(table, n)) for n in (across, up))
    values = np.array([row.values[0][0] for row in table.rows])
    limits: dict[str, Any] = {"vmin": float(np.nanmin(values)), "vmax": float(np.nanmax(values))}
    far = far_beyond((measure,), values)
    if far:
        limits = {"norm": SymLogNorm(linthresh=1.0, linscale=1.5, base=10, **limits)}
    drawn: Any
    if axes[across] == "point":
        known = np.isfinite(values)
        drawn = ax.scatter(x[known], y[known], c=values[known], cmap=SHADES, s=6 * letters(), edgecolors=INK,
                           linewidths=letters() / 25, **limits)  # fmt: skip
        for which, place, words in (("x", x, x_words), ("y", y, y_words)):
            set_scale(ax, which, place, words)
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
            said = [plain(words[int(v)]) for v in distinct] if words else few_digits(distinct)
            getattr(ax, f"set_{which}ticks")(np.arange(len(distinct))[::step] + 0.5, said[::step])
        ax.tick_params(length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)
    ax.set(xlabel=axis_label(data, across), ylabel=axis_label(data, up))
    scale = colored_scale(ax, drawn, measure_label(data, measure))
    if far:
        scale.set_ticks(
            unit_ticks(float(np.nanmax(values))), labels=[f"{t:g}" for t in unit_ticks(float(np.nanmax(values)))]
        )
        scale.minorticks_off()
    title(ax, "Phase diagram", note(data, (across, up)))
    return ax


def _write_numbers(ax: Axes, grid: np.ndarray, drawn: Any) -> None:
    """Write numbers into the cells of a small grid, a cross in each empty one."""
    for (row, column), value in np.ndenumerate(grid):
        if np.isnan(value):
            ax.plot(column + 0.5, row + 0.5, marker="x", color=INK)
        elif grid.shape[1] <= 8 and grid.shape[0] <= 12:
            light = float(np.dot(to_rgb(drawn.to_rgba(value)), (0.299, 0.587, 0.114))) > 0.5
            ax.text(column + 0.5, row + 0.5, f"{value:.2f}".replace("-0.00", "0.00"), ha="center", va="center",
                    color=INK if light else PAPER, fontsize=0.8 * letters())  # fmt: skip

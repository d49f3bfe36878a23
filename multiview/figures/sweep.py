"""A sweep as curves: means with bands of their intervals along one axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from multiview.figures.axes import (
    DEFAULT_MEASURES,
    axis_label,
    chosen_axes,
    far_beyond,
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
from multiview.figures.style import SERIES, legend, plain, title
from multiview.parameters import ConfigError
from multiview.stores.tables import summarise
from multiview.words import NETWORK_KINDS, name_of

MOST_LINES = len(SERIES)
LONG_LABEL = 26  # letters; two of them beside each other are wider than a column


def plot_sweep(results: Results, ax: Axes, measures: Sequence[str] = (), by: Sequence[str] = ()) -> Axes:
    """Draw means over seeds and replicates along one axis, with bands of their 95 % intervals; a line for each measure.

    With a second axis there is a line for each of its values too, and so there is for each value of an axis of words,
    such as `system`. Other axes are averaged over, and the note below the title says so.

    Args:
        results: the store of a sweep.
        ax: where to draw.
        measures: variables of the sweep; by default the test errors of single networks and of their ensemble, or of
            single networks alone if there are lines for values.
        by: the axis to draw along, and perhaps a second one; by default the longest.

    Returns:
        ax.
    """
    data = finished_sweep(results)
    chosen = chosen_axes(data, by, 1, 2)
    if not by:
        lines = [len(np.unique(data[n].values)) for n in (*chosen[1:], *told_axes(data, chosen))]
        few = math.prod(lines) * max(1, len(measures)) <= 6 and "point" not in data.dims
        chosen = chosen if few else chosen[:1]
    told = [*chosen[1:], *told_axes(data, chosen)]
    measures = tuple(measures) or (DEFAULT_MEASURES[:1] if told else DEFAULT_MEASURES)
    table = summarise(data, measures, [chosen[0], *told])
    groups = groups_of(table, told)
    if len(groups) * len(measures) > MOST_LINES:
        raise ConfigError(
            f"--by = {','.join([chosen[0], *told])!r} is not allowed here: it gives {len(groups) * len(measures)} "
            f"lines, at most {MOST_LINES} can be told apart"
        )
    place, words = positions(keys(table, chosen[0]))
    number = 0
    for group, rows in groups.items():
        for index, measure in enumerate(measures):
            rows.sort(key=lambda i: place[i])
            x, values = place[rows], np.array([table.rows[i].values[index] for i in rows])
            look = SERIES[number]
            said = group_words(data, told, group)
            if not told or len(measures) > 1:
                said.append(_line_name(measure))
            ax.fill_between(x, values[:, 1], values[:, 2], color=look["color"], alpha=0.22, linewidth=0)
            ax.plot(x, values[:, 0], **look, label=", ".join(said))
            number += 1
    set_scale(ax, "x", place, words)
    ax.set_xlabel(axis_label(data, chosen[0]))
    means = np.array([row.values for row in table.rows])[..., 0]
    if far_beyond(measures, means):
        ax.set_yscale("symlog", linthresh=1.0)
        ax.set_yticks(unit_ticks(ax.get_ylim()[1]), [f"{tick:g}" for tick in unit_ticks(ax.get_ylim()[1])])
        ax.set_yticks([], minor=True)
    errors = all(m.endswith("test_error") for m in measures)
    ax.set_ylabel("test error in units of μ" if errors else measure_label(data, measures[0]) if len(measures) == 1
                  else "value")  # fmt: skip
    title(ax, "Sweep", note(data, [chosen[0], *told]) or "means with 95 % intervals")
    longest = max(len(str(line.get_label())) for line in ax.lines)
    legend(ax, ncols=1 if number <= 2 or longest > LONG_LABEL else 2)
    return ax


def _line_name(measure: str) -> str:
    """Name a measure in the legend: test errors by the kind of network, such as "self-distilled students"."""
    kind = measure.removesuffix("test_error").removesuffix("_") or "single"
    known = measure.endswith("test_error") and (kind in NETWORK_KINDS or name_of(kind) != kind)
    return name_of(kind, plural=True) if known else plain(measure.replace("_", " "))

"""A sweep as curves: means with bands of their intervals along one axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from multiview.figures.axes import (
    DEFAULT_MEASURES,
    axis_label,
    chosen_axes,
    far_beyond,
    finished_sweep,
    keys,
    measure_label,
    note,
    positions,
    set_scale,
    unit_ticks,
)
from multiview.figures.stored import Results
from multiview.figures.style import SERIES, legend, plain, title
from multiview.parameters import ConfigError
from multiview.stores.tables import summarise
from multiview.words import NETWORK_KINDS, name_of

MOST_LINES = len(SERIES)


def plot_sweep(results: Results, ax: Axes, measures: Sequence[str] = (), by: Sequence[str] = ()) -> Axes:
    """Draw means over seeds and replicates along one axis, with bands of their 95 % intervals; a line for each measure.

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
    data = finished_sweep(results)
    chosen = chosen_axes(data, by, 1, 2)
    if not by and len(chosen) == 2:
        others = len(np.unique(data[chosen[1]].values))
        chosen = chosen[: 1 + ("point" not in data.dims and others * max(1, len(measures)) <= 6)]
    measures = tuple(measures) or (DEFAULT_MEASURES if len(chosen) == 1 else DEFAULT_MEASURES[:1])
    table = summarise(data, measures, chosen)
    groups = list(dict.fromkeys(keys(table, chosen[1]))) if len(chosen) > 1 else [None]
    if len(groups) * len(measures) > MOST_LINES:
        raise ConfigError(
            f"--by = {','.join(chosen)!r} is not allowed here: it gives {len(groups) * len(measures)} lines, "
            f"at most {MOST_LINES} can be told apart"
        )
    place, words = positions(keys(table, chosen[0]))
    number = 0
    for group in groups:
        for index, measure in enumerate(measures):
            rows = [
                i for i, row in enumerate(table.rows) if group is None or row.keys[table.by.index(chosen[1])] == group
            ]
            rows.sort(key=lambda i: place[i])
            x, values = place[rows], np.array([table.rows[i].values[index] for i in rows])
            look = SERIES[number]
            said = [] if group is None else [f"{axis_label(data, chosen[1]).rpartition('.')[2]} = {_value(group)}"]
            if group is None or len(measures) > 1:
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
    title(ax, "Sweep", note(data, chosen) or "means with 95 % intervals")
    legend(ax, ncols=1 if number <= 2 else 2)
    return ax


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else plain(value)


def _line_name(measure: str) -> str:
    """Name a measure in the legend: test errors by the kind of network, such as "self-distilled students"."""
    kind = measure.removesuffix("test_error").removesuffix("_") or "single"
    known = measure.endswith("test_error") and (kind in NETWORK_KINDS or name_of(kind) != kind)
    return name_of(kind, plural=True) if known else plain(measure.replace("_", " "))

"""Feature learning over time: Λ of the winning and the losing view of every class and network."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from multiview.config import Study
from multiview.figures.stored import Results, group_of, steps_of, study_of, values_of
from multiview.figures.style import INK, LOSER, WINNER, legend, letters, title
from multiview.theory import time_scales
from multiview.words import count

SHOWN = 200  # lines of each kind: more are a solid area, and a large file
SMALLEST = 1e-6  # of a logarithmic axis; an overlap of 0 is drawn there


def winner_and_loser(results: Results) -> tuple[np.ndarray, np.ndarray]:
    """Select Λ over time of the strongest view at the end and of the next one, of each finite network's classes.

    Returns:
        Steps [T] and overlaps [pairs, T, min(L, 2)], pairs of class and network.
    """
    data = group_of(results, "single", ("largest_overlap", "step", "finite"))
    overlap = values_of(data, "largest_overlap", "replicate", "seed", "class", "time", "view")
    overlap = overlap[values_of(data, "finite", "replicate", "seed") > 0]
    flat = overlap.reshape(-1, *overlap.shape[-2:])
    order = np.argsort(-flat[:, -1], axis=-1, kind="stable")[:, None, :2]
    return steps_of(data), np.take_along_axis(flat, np.broadcast_to(order, (*flat.shape[:2], order.shape[-1])), -1)


def clock_steps(study: Study) -> dict[str, float]:
    """Convert the theory's clocks to steps: views are learned, single-view samples memorised, second views learned."""
    clock, rate = time_scales(study), study.train.learning_rate
    found = {
        "views learned": clock.view,
        "memorised": clock.memorise,
        "second views": clock.view + clock.second,
    }
    return {name: time / rate for name, time in found.items() if math.isfinite(time)}


def mark_clocks(ax: Axes, study: Study, last: float, names: tuple[str, ...] = ()) -> None:
    """Draw vertical lines at the theory's clocks (those named, else all), as far as training went."""
    lines = (":", "-.", (0, (1, 3)))
    for (name, step), line in zip(clock_steps(study).items(), lines, strict=False):
        if step <= last and (not names or name in names):
            ax.axvline(step, color=INK, linewidth=letters() / 8, linestyle=line, label=f"theory: {name}")


def plot_dynamics(results: Results, ax: Axes) -> Axes:
    """Draw Λ of the winning and the losing view of each class and network on log time, with the theory's clocks.

    Thin lines are single pairs of class and network (evenly chosen, at most 200 of each kind); thick ones are
    medians over all.

    Args:
        results: the store of a study.
        ax: where to draw.

    Returns:
        ax.
    """
    study = study_of(results)
    step, pairs = winner_and_loser(results)
    chosen = np.unique(np.linspace(0, len(pairs) - 1, min(SHOWN, len(pairs))).round().astype(int))
    for index, (name, look) in list(enumerate((("winning view", WINNER), ("losing view", LOSER))))[: pairs.shape[-1]]:
        lines = np.maximum(pairs[..., index], SMALLEST)
        segments = [np.stack([step, line], -1) for line in lines[chosen]]
        ax.add_collection(
            LineCollection(segments, colors=look["color"], linewidths=letters() / 18, alpha=0.16, label=f"_{name}")
        )
        if len(lines):
            ax.plot(step, np.median(lines, 0), **look, linewidth=letters() / 3.8, label=f"{name} (median)")
    ax.set(xscale="log", yscale="log", xlabel="step (the start at the left edge)", ylabel="largest overlap Λ")
    if len(pairs):
        ax.set(xlim=(step[0], step[-1] * 1.08), ylim=(0.7 * np.maximum(pairs, SMALLEST).min(), 2 * pairs.max()))
    mark_clocks(ax, study, step[-1])
    networks = int(values_of(results["single"].to_dataset(), "finite", "replicate", "seed").sum())
    title(ax, "Views being learned", f"{count(networks, 'network')} × {count(study.data.num_classes, 'class')}")
    legend(ax)
    return ax


def describe_dynamics(results: Results) -> str:
    """Describe the figure in one sentence with its numbers."""
    _, pairs = winner_and_loser(results)
    if not len(pairs):
        return "No network stayed finite."
    first, last = np.median(pairs[:, 0], 0), np.median(pairs[:, -1], 0)
    loser = f"; the losing view goes from {first[1]:.2g} to {last[1]:.2g}" if pairs.shape[-1] > 1 else ""
    return (
        f"In the median over classes and networks the winning view grows from {first[0]:.2g} to {last[0]:.2g}{loser}."
    )

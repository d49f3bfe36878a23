"""Memorisation: how networks come to know the private noise of single-view samples."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from multiview.figures.dynamics import SHOWN, clock_steps, mark_clocks
from multiview.figures.stored import Results, group_of, steps_of, study_of, values_of
from multiview.figures.style import INK, LOSER, WINNER, legend, letters, title
from multiview.parameters import ConfigError
from multiview.words import count

_PARTS = (("single_view", "single-view samples", LOSER), ("multi_view", "multi-view samples", WINNER))


def fitted_step(results: Results) -> float:
    """Find the median step of the first record with training error 0; infinite where half of the networks have none."""
    data = group_of(results, "single", ("train_wrong", "step"))
    wrong = values_of(data, "train_wrong", "replicate", "seed", "time").reshape(-1, data.sizes["time"])
    first = np.where((wrong == 0).any(-1), steps_of(data)[(wrong == 0).argmax(-1)], np.inf)
    return float(np.median(first))


def plot_memorisation(results: Results, ax: Axes) -> Axes:
    """Draw the largest overlaps with the noise of multi-view and of single-view training samples on log time.

    Thin lines are networks, thick ones medians. Marked are the theory's clock of memory and the measured time at which
    the median network reaches training error 0.

    Args:
        results: the store of a study.
        ax: where to draw.

    Returns:
        ax.
    """
    names = tuple(f"noise_overlap_{part}" for part, *_ in _PARTS)
    data = group_of(results, "single", (*names, "step", "finite"))
    study, step = study_of(results), steps_of(data)
    finite = values_of(data, "finite", "replicate", "seed") > 0
    drawn = 0
    for name, (_, words, look) in zip(names, _PARTS, strict=True):
        lines = values_of(data, name, "replicate", "seed", "time")[finite]
        if not lines.any():  # those samples carry no noise in this representation
            continue
        drawn += 1
        lines = np.maximum(lines, 1e-6)
        for line in lines[:SHOWN]:
            ax.plot(step, line, color=look["color"], linestyle=look["linestyle"], linewidth=letters() / 18, alpha=0.3)
        ax.plot(step, np.median(lines, 0), **look, linewidth=letters() / 3.8, label=f"{words} (median)")
    if not drawn:
        raise ConfigError("no training sample carried noise: run multiview train --data.noise-norm 1 --out STORE")
    fitted = fitted_step(results)
    if np.isfinite(fitted):
        ax.axvline(fitted, color=INK, linewidth=letters() / 8, label="training error 0")
    mark_clocks(ax, study, step[-1], ("memorised",))
    ax.set(xscale="log", yscale="log", xlabel="step (the start at the left edge)",
           ylabel="largest overlap with noise", xlim=(step[0], step[-1] * 1.08))  # fmt: skip
    title(ax, "Single-view samples are memorised", count(int(finite.sum()), "network"))
    legend(ax)
    return ax


def describe_memorisation(results: Results) -> str:
    """Describe the figure in one sentence with its numbers."""
    step, clock = fitted_step(results), clock_steps(study_of(results)).get("memorised")
    first = f"reaches training error 0 by step {step:.0f}" if np.isfinite(step) else "never reaches training error 0"
    return f"The median network {first}" + (f"; the theory's clock says {clock:.0f}." if clock else ".")

"""The lottery of views: how far a view leads at the start, against how far it leads at the end."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from multiview.figures.stored import Results, group_of, study_of, values_of
from multiview.figures.style import BLUE, INK, QUIET, RED, SLATE, legend, letters, title
from multiview.measures.features import CLEAR_RATIO
from multiview.measures.lottery import decisive_margin, favourite_score
from multiview.parameters import ConfigError

FARTHEST = 1e4  # a lead beyond is drawn here: losers may stand at exactly 0


class Leads(NamedTuple):
    """Pairs of class and network of finite networks, one number each.

    Attributes:
        start: the favourite's score over the next one's, ≥ 1.
        end: the favourite's Λ at the end over the strongest other view's.
    """

    start: np.ndarray
    end: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """The favourite clearly won."""
        return self.end >= CLEAR_RATIO

    @property
    def wrong(self) -> np.ndarray:
        """Another view clearly won. (With more than two views it may lead a third one by less.)"""
        return self.end <= 1 / CLEAR_RATIO


def leads(results: Results) -> Leads:
    """Measure how far the view with the largest `favourite_score` leads, at the start and at the end.

    Raises:
        ConfigError: the store lacks the measures, or its classes have one view each.
    """
    data = group_of(results, "single", ("largest_overlap", "finite"))
    study = study_of(results)
    if study.data.num_views < 2:
        raise ConfigError("there is no lottery with one view: run multiview train --data.num-views 2 --out STORE")
    moments = values_of(results.to_dataset(), "view_moments", "replicate", "class", "view")[:, None]
    overlap = values_of(data, "largest_overlap", "replicate", "seed", "time", "class", "view")
    first, last = overlap[:, :, 0], overlap[:, :, -1]
    score = favourite_score(first, moments, study.network.relu_power)
    finite = values_of(data, "finite", "replicate", "seed") > 0
    score, last = (a[finite].reshape(-1, study.data.num_views) for a in (score, last))
    favourite = score.argmax(-1)[:, None]

    def lead(values: np.ndarray) -> np.ndarray:
        of_it = np.take_along_axis(values, favourite, -1)[:, 0]
        others = values.copy()
        np.put_along_axis(others, favourite, -np.inf, -1)
        ratio = of_it / np.maximum(others.max(-1), 1e-300)
        return np.clip(np.where(of_it > 0, ratio, 1.0), 1 / FARTHEST, FARTHEST)

    return Leads(lead(score), lead(last))


def plot_lottery(results: Results, ax: Axes) -> Axes:
    """Draw start against outcome: one mark for each class of each network.

    Across: how far the favourite of the start leads (its margin 1 + 1/log² m is shaded). Up: how far it leads at the
    end; above 2 it has clearly won, below 1/2 another view has.

    Args:
        results: the store of a study.
        ax: where to draw.

    Returns:
        ax.
    """
    study, found = study_of(results), leads(results)
    between = ~found.right & ~found.wrong
    for chosen, label, color, marker in (
        (found.right, "favourite won", BLUE, "o"),
        (between, "no clear winner", SLATE, "_"),
        (found.wrong, "another view won", RED, "x"),
    ):
        filled: dict[str, Any] = {"facecolors": "none", "edgecolors": color} if marker == "o" else {"color": color}
        ax.scatter(found.start[chosen], found.end[chosen], s=1.1 * letters(), marker=marker, linewidths=letters() / 11,
                   label=f"{label} ({chosen.sum()})", **filled)  # fmt: skip
    margin = decisive_margin(study.network.neurons_per_class)
    ax.axvspan(1, margin, color=QUIET, alpha=0.14, linewidth=0, label="undecided by the theory")
    for level in (CLEAR_RATIO, 1 / CLEAR_RATIO):
        ax.axhline(level, color=INK, linewidth=letters() / 15, linestyle=":")
    ax.set(xscale="log", yscale="log", xlabel="lead of the favourite at the start", ylabel="its lead at the end")
    ax.set_xlim(1, max(1.05 * found.start.max(initial=1.0), 1.05 * margin))
    ticks = [t for t in (1, 1.2, 1.5, 2, 3, 5, 10, 20, 50, 100, 1000) if t < ax.get_xlim()[1]]
    ax.set_xticks(ticks[:: 1 + len(ticks) // 7], minor=False)
    ax.set_xticks([], minor=True)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    clear = int(found.right.sum() + found.wrong.sum())
    share = f"{found.right.sum() / clear:.1%} of {clear} clear pairs" if clear else "no clear winner anywhere"
    title(ax, "The start names the view that wins", share)
    legend(ax)
    return ax


def describe_lottery(results: Results) -> str:
    """Describe the figure in one sentence with its numbers."""
    found = leads(results)
    right, wrong = int(found.right.sum()), int(found.wrong.sum())
    return f"The view that leads at the start wins {right} of {right + wrong} clear races of {len(found.start)} in all."

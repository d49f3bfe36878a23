"""Test errors in units of μ: measured with intervals, predicted for this size where known, and the paper's figures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from multiview.config import Study
from multiview.figures.stored import Results, claims_of, group_of, student_groups, study_of, values_of
from multiview.figures.style import BLUE, INK, ORANGE, QUIET, legend, letters, title
from multiview.measures.errors import ErrorCounts, error_interval
from multiview.parameters import ConfigError
from multiview.theory import paper_line
from multiview.words import NETWORK_KINDS, SAMPLE_KINDS, decimal, name_of


class Measured(NamedTuple):
    """The test error of one kind of network, in units of μ.

    Attributes:
        name: single, ensemble, distilled, …
        networks: the error of each [R, S].
        interval: 95 % interval of the mean.
        e_multi_view: mean error on multi-view samples.
        e_single_view: mean error on single-view samples.
        paper: the paper's figure.
        predicted: interval predicted for this size, if the store carries one.
    """

    name: str
    networks: np.ndarray
    interval: tuple[float, float]
    e_multi_view: float
    e_single_view: float
    paper: float
    predicted: tuple[float, float] | None

    @property
    def mean(self) -> float:
        """The mean error."""
        return float(self.networks.mean())


def positive_fraction(study: Study) -> float:
    """Look up μ, the unit of errors.

    Raises:
        ConfigError: it is 0.
    """
    if study.data.single_view_fraction <= 0:
        raise ConfigError(
            "errors are in units of μ, and data.single_view_fraction is 0 in this store: "
            "run multiview train --data.single-view-fraction 0.05 --out STORE"
        )
    return study.data.single_view_fraction


def measured_errors(results: Results) -> list[Measured]:
    """Compute the errors of single networks, their ensemble and each kind of student, in this order."""
    study = study_of(results)
    mu = positive_fraction(study)
    claims = claims_of(results)
    found = []
    group_of(results, "single", ("test_wrong_multi_view", "test_wrong_single_view"))
    for name in ("single", "ensemble", *student_groups(results)):
        if name == "ensemble":
            root = results.to_dataset()
            wrong = [values_of(root, f"ensemble_test_wrong_{kind}", "replicate")[:, None] for kind in SAMPLE_KINDS]
        else:
            data = group_of(results, name, ("test_wrong_multi_view", "test_wrong_single_view"))
            wrong = [values_of(data, f"test_wrong_{kind}", "replicate", "seed") for kind in SAMPLE_KINDS]
        counts = ErrorCounts(
            wrong[0].astype(int), wrong[1].astype(int), study.data.num_test_multi_view, study.data.num_test_single_view
        )
        claim = claims.get(f"{name}_error", {})
        predicted = tuple(map(float, claim["predicted"])) if "predicted" in claim else None
        found.append(
            Measured(
                name, counts.in_units_of_mu(mu), error_interval(counts, mu, study.seed),
                float(wrong[0].mean() / counts.num_multi_view), float(wrong[1].mean() / counts.num_single_view),
                paper_line(name, study.data.num_views), predicted,  # type: ignore[arg-type]
            )
        )  # fmt: skip
    return found


def plot_errors(results: Results, ax: Axes) -> Axes:
    """Draw test errors in units of μ of every kind of network, with 95 % intervals, and the paper's figures as lines.

    Small marks are single networks. A store with claims (`multiview verify` makes them) adds the predicted intervals.

    Args:
        results: the store of a study.
        ax: where to draw.

    Returns:
        ax.
    """
    bars = measured_errors(results)
    size = letters()
    for x, bar in enumerate(bars):
        once = x == 0
        if bar.predicted:
            low, high = bar.predicted
            half = max(high - low, 0.006) / 2
            ax.fill_between([x - 0.36, x + 0.36], (low + high) / 2 - half, (low + high) / 2 + half, color=ORANGE,
                            alpha=0.45, linewidth=0, label="predicted for this size" if once else None)  # fmt: skip
        ax.plot([x - 0.42, x + 0.42], [bar.paper, bar.paper], color=INK, linestyle="--", linewidth=size / 8,
                label="paper, many classes" if once else None)  # fmt: skip
        values = bar.networks.ravel()
        if len(values) > 1 and bar.name != "ensemble":
            # Spread by rank, so that the same store gives the same picture.
            spread = (np.arange(len(values)) + 0.5) / len(values) * 0.4 - 0.45
            ax.plot(x + spread, values, marker=".", markersize=size / 4, color=QUIET, alpha=0.5, linestyle="",
                    label="single runs" if once else None)  # fmt: skip
        distance = np.maximum(np.array([bar.mean - bar.interval[0], bar.interval[1] - bar.mean]), 0)[:, None]
        ax.errorbar(x + 0.1, bar.mean, distance, color=BLUE, marker="o", capsize=size / 2.5,
                    label="mean, 95 % interval" if once else None)  # fmt: skip
        ax.annotate(decimal(bar.mean), (x + 0.1, bar.mean), xytext=(size / 1.7, size / 3), textcoords="offset points",
                    fontsize=0.9 * size)  # fmt: skip
    ax.set_xticks(range(len(bars)), [_label(bar.name) for bar in bars])
    top = max(max(bar.interval[1], bar.paper, bar.networks.max()) for bar in bars)
    ax.set(ylabel="test error in units of μ", xlim=(-0.6, len(bars) - 0.4), ylim=(-0.03 * top, 1.1 * top))
    title(ax, "Test error", f"μ = {study_of(results).data.single_view_fraction:g}")
    legend(ax)
    return ax


def _label(name: str) -> str:
    """Write a kind of network in short lines."""
    if name in NETWORK_KINDS:
        return {"single": "single", "ensemble": "ensemble", "distilled": "distilled"}.get(name, "self-\ndistilled")
    return name_of(name).replace(" student, generation ", "\n× ").replace("self-", "self-\n")


def describe_errors(results: Results) -> str:
    """Describe the figure in one sentence with its numbers."""
    return "Test error in units of μ: " + ", ".join(
        f"{name_of(m.name)} {decimal(m.mean)} (paper {decimal(m.paper)})" for m in measured_errors(results)
    ) + "."  # fmt: skip

"""Error against the size of the ensemble, and the law that the lottery of views gives for it."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from multiview.figures.errors import positive_fraction
from multiview.figures.stored import Results, group_of, study_of, values_of
from multiview.figures.style import BLUE, INK, QUIET, legend, letters, title
from multiview.measures.errors import ErrorCounts, error_interval
from multiview.parameters import ConfigError
from multiview.theory import ensemble_error
from multiview.words import SAMPLE_KINDS, decimal


def errors_by_size(results: Results) -> dict[int, tuple[np.ndarray, tuple[float, float]]]:
    """Compute errors in units of μ of disjoint ensembles of each size [R, ensembles], with intervals of their means.

    Raises:
        ConfigError: the store lacks them.
    """
    study = study_of(results)
    mu = positive_fraction(study)
    group_of(results, "single", ())
    root = results.to_dataset()
    names = [f"ensemble_size_test_wrong_{kind}" for kind in SAMPLE_KINDS]
    if any(name not in root for name in ("ensemble_size", *names)):
        raise ConfigError("the store lacks errors by ensemble size: run multiview train --out STORE again")
    wrong = [values_of(root, name, "replicate", "size", "ensemble") for name in names]
    found = {}
    for index, size in enumerate(values_of(root, "ensemble_size", "size").astype(int)):
        groups = study.seeds // int(size)
        multi, single = (w[:, index, :groups].astype(int) for w in wrong)
        counts = ErrorCounts(multi, single, study.data.num_test_multi_view, study.data.num_test_single_view)
        found[int(size)] = (counts.in_units_of_mu(mu), error_interval(counts, mu, study.seed))
    return found


def plot_ensemble(results: Results, ax: Axes) -> Axes:
    """Draw the test error of ensembles of K networks, and the law in closed form (`theory.ensemble_error`).

    Args:
        results: the store of a study.
        ax: where to draw.

    Returns:
        ax.
    """
    study, found, size = study_of(results), errors_by_size(results), letters()
    sizes = np.array(list(found))
    for number, (errors, _) in found.items():
        ax.plot(np.full(errors.size, number), errors.ravel(), color=QUIET, alpha=0.5, marker=".", markersize=size / 4,
                linestyle="", label="ensembles" if number == sizes[0] else None)  # fmt: skip
    means = np.array([errors.mean() for errors, _ in found.values()])
    ends = np.array([interval for _, interval in found.values()]).T
    ax.errorbar(sizes, means, np.maximum([means - ends[0], ends[1] - means], 0), color=BLUE, marker="o",
                capsize=size / 3, label="mean, 95 % interval")  # fmt: skip
    every = np.arange(1, sizes[-1] + 1)
    ax.plot(every, [ensemble_error(study, int(k)) for k in every], color=INK, linestyle="--",
            label="law of the lottery")  # fmt: skip
    ax.set(xscale="log", xlabel="networks in the ensemble", ylabel="test error in units of μ")
    ax.set_xticks(sizes, [str(k) for k in sizes])
    ax.set_xticks([], minor=True)
    ax.set_ylim(bottom=min(-0.01, -0.02 * means.max()))
    title(ax, "Ensemble size", f"{study.seeds} networks for each of {study.replicates} training sets")
    legend(ax)
    return ax


def describe_ensemble(results: Results) -> str:
    """Describe the figure in one sentence with its numbers."""
    means = [f"{size} {decimal(float(errors.mean()))}" for size, (errors, _) in errors_by_size(results).items()]
    return "Mean test error in units of μ by size: " + ", ".join(means) + "."

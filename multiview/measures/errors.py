"""Test errors on multi-view and single-view data apart, combined in units of μ, with intervals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import betaincinv

BOOTSTRAP_SAMPLES = 4000


class ErrorCounts(NamedTuple):
    """Wrong test samples of networks, arrays [R, S] (replicates × seeds), and the sizes of the test sets.

    Attributes:
        multi_view: wrong multi-view samples.
        single_view: wrong single-view samples.
        num_multi_view: multi-view test samples per replicate.
        num_single_view: single-view test samples per replicate.
    """

    multi_view: np.ndarray
    single_view: np.ndarray
    num_multi_view: int
    num_single_view: int

    def in_units_of_mu(self, mu: float) -> np.ndarray:
        r"""$((1-\mu)\,e_m + \mu\,e_s)/\mu$ of each network, shape [R, S]."""
        return combine(self.multi_view / self.num_multi_view, self.single_view / self.num_single_view, mu)


def combine(e_multi: np.ndarray | float, e_single: np.ndarray | float, mu: float) -> np.ndarray:
    r"""Test error in units of μ: $((1-\mu)\,e_m + \mu\,e_s)/\mu$."""
    return np.asarray((1 - mu) / mu * e_multi + e_single)


def exact_interval(wrong: int, samples: int, confidence: float = 0.95) -> tuple[float, float]:
    """Compute the Clopper–Pearson interval of a binomial rate."""
    tail = (1 - confidence) / 2
    low = 0.0 if wrong <= 0 else float(betaincinv(wrong, samples - wrong + 1, tail))
    high = 1.0 if wrong >= samples else float(betaincinv(wrong + 1, samples - wrong, 1 - tail))
    return low, high


def exact_upper_bound(wrong: int, samples: int, confidence: float = 0.95) -> float:
    """Upper end of `exact_interval`."""
    return exact_interval(wrong, samples, confidence)[1]


def hierarchical_bootstrap(values: np.ndarray, seed: int = 0, confidence: float = 0.95) -> tuple[float, float]:
    """Bootstrap the interval of the mean of values [R, S]: replicates are drawn again, then seeds within each.

    Args:
        values: one number for each replicate and seed.
        seed: of the resampling.
        confidence: of the interval.

    Returns:
        Lower and upper end (percentiles).
    """
    rng = np.random.default_rng(seed)
    replicates, seeds = values.shape
    rows = rng.integers(0, replicates, (BOOTSTRAP_SAMPLES, replicates))
    columns = rng.integers(0, seeds, (BOOTSTRAP_SAMPLES, replicates, seeds))
    means = values[rows[:, :, None], columns].mean((1, 2))
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def error_interval(counts: ErrorCounts, mu: float, seed: int = 0) -> tuple[float, float]:
    """Bootstrap the 95 % interval of the mean error in units of μ.

    Hierarchical bootstrap over replicates and seeds, in which each network's errors are drawn again from their
    binomial law (test samples). A kind of data with no error at all adds its exact upper bound, from the
    independent test samples of the replicates.
    """
    rng = np.random.default_rng(seed)
    replicates, seeds = counts.multi_view.shape
    rows = rng.integers(0, replicates, (BOOTSTRAP_SAMPLES, replicates))[:, :, None]
    columns = rng.integers(0, seeds, (BOOTSTRAP_SAMPLES, replicates, seeds))
    drawn = []
    bound = []
    for wrong, samples in (
        (counts.multi_view, counts.num_multi_view),
        (counts.single_view, counts.num_single_view),
    ):
        rate = wrong / samples
        drawn.append(rng.binomial(samples, rate[rows, columns]) / samples)
        bound.append(exact_upper_bound(0, samples * replicates) if not wrong.any() else 0.0)
    means = combine(drawn[0], drawn[1], mu).mean((1, 2))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high + combine(bound[0], bound[1], mu))

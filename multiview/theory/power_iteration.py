"""The race of the views: moments, and tensor power iteration until one is learned (docs/theory.md, 5 and 6)."""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy.integrate import quad
from scipy.special import gammaln, ndtr, ndtri

from multiview.config import DataConfig, NetworkConfig, Study


def uniform_moment(interval: tuple[float, float], power: float) -> float:
    r"""$E[Z^q]$ for Z uniform on an interval."""
    low, high = interval
    if high - low < 1e-12 * max(high, 1e-300):
        return low**power
    return (high ** (power + 1) - low ** (power + 1)) / ((power + 1) * (high - low))


def split_factor(data: DataConfig, power: float) -> float:
    r"""$E[\sum_p z_p^q] / E[(\sum_p z_p)^q]$: how splitting over C_p patches lowers the moment.

    $C^{1-q}$ for an equal split; for a random split (uniform on the simplex)
    $C \cdot \Gamma(1+q)\Gamma(C)/\Gamma(C+q)$.
    """
    c = data.patches_per_feature
    if data.patch_split == "equal":
        return float(c ** (1 - power))
    return float(c * np.exp(gammaln(1 + power) + gammaln(c) - gammaln(c + power)))


def label_moment(data: DataConfig, power: float) -> float:
    r"""$E[\sum_p z_p^q]$ of a view of the label in a multi-view sample (mean over views)."""
    factors = data.view_strengths or (1.0,)
    return (
        uniform_moment(data.label_strength, power)
        * split_factor(data, power)
        * float(np.mean(np.power(factors, power)))
    )


def foreign_moment(data: DataConfig, power: float) -> float:
    r"""$E[\sum_p z_p^q]$ of a foreign feature in a multi-view sample."""
    return uniform_moment(data.foreign_strength, power) * split_factor(data, power)


@functools.lru_cache
def expected_maximum(neurons: int) -> float:
    r"""$E[\max_{r \le m} g_r^+]$ of m standard normal numbers: the start's Λ_0 in units of σ₀."""
    value, _ = quad(lambda x: 1 - ndtr(x) ** neurons, 0, np.inf)
    return float(value)


def phase(overlap: np.ndarray | float, power: float) -> np.ndarray:
    r"""$\phi(\Lambda) = \int_\Lambda d\lambda/\lambda^{q-1}$ up to a constant.

    It is $\Lambda^{-(q-2)}/(q-2)$, or $-\log\Lambda$ at q = 2.

    Tensor power iteration $d\Lambda/dt = a\,\Lambda^{q-1}$ runs down this phase at the constant rate a.
    """
    overlap = np.maximum(np.asarray(overlap, float), 1e-30)  # small enough never to win, large enough for any power
    if abs(power - 2) < 1e-9:
        return np.asarray(-np.log(overlap))
    return np.asarray(overlap ** (2 - power) / (power - 2))


def from_phase(value: np.ndarray | float, power: float) -> np.ndarray:
    """The overlap with a given phase: the inverse of `phase`; where the phase has run out, infinite (0 for q < 2)."""
    if abs(power - 2) < 1e-9:
        return np.asarray(np.exp(-value))
    inside = value * (power - 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(inside > 0, np.maximum(inside, 1e-300) ** (1 / (2 - power)), np.inf if power > 2 else 0.0)


def growth_rate(data: DataConfig, network: NetworkConfig) -> float:
    r"""The factor a of tensor power iteration $d\Lambda/dt = a\,\Lambda^{q-1}$.

    $a = \frac1k (1 - \frac1k) (1 - \mu (1 - \frac1L)(1 - \rho^q)) E[\sum_p z_p^q] / \varrho^{q-1}$, while the gradient
    is not yet dying: a multi-view sample shows the view in full, a single-view one with probability 1/L, else ρ of it.
    """
    k, q = data.num_classes, network.relu_power
    missing = data.single_view_fraction * (1 - 1 / data.num_views) * (1 - data.weak_view_strength**q)
    return (1 - 1 / k) / k * (1 - missing) * label_moment(data, q) / network.relu_threshold ** (q - 1)


def view_slowdown(study: Study) -> float:
    r"""How much longer a view's clock takes, by what options of training leave of the rate a (`growth_rate`).

    A share λ of a sample has λ of its target and $\lambda^q$ of its $\sum_p z_p^q$. So mixing leaves
    $E[\lambda^{q+1} + (1-\lambda)^{q+1}]$ of a, which is $2^{-q}$ at the midpoint and $2/(q+2)$ for uniform λ; patches
    dropped with probability p leave $1 - p$, labels smoothed by ε leave $1 - \epsilon$. Mixtures of two patches that
    hold the same view are left out.
    """
    q, train = study.network.relu_power, study.train
    left = {"none": 1.0, "uniform": 2 / (q + 2), "midpoint": 2**-q}[train.mixup]
    return 1 / (left * (1 - train.dropped_patches) * (1 - train.label_smoothing))


def tensor_power_time(start: np.ndarray | float, rate: float, power: float, threshold: float) -> np.ndarray:
    r"""Time in which $d\Lambda/dt = a\,\Lambda^{q-1}$ takes Λ from its start to the threshold ϱ.

    $t^* = (\Lambda(0)^{-(q-2)} - \varrho^{-(q-2)}) / (a (q-2))$; at q = 2 $\log(\varrho/\Lambda(0))/a$.

    Args:
        start: Λ(0).
        rate: a, see `growth_rate`.
        power: q.
        threshold: ϱ.

    Returns:
        t*; 0 where Λ(0) ≥ ϱ.
    """
    return np.asarray(np.maximum(phase(start, power) - phase(threshold, power), 0.0) / rate)


def tensor_power_loser(
    loser: np.ndarray | float, winner: np.ndarray | float, ratio: np.ndarray | float, power: float, threshold: float
) -> np.ndarray:
    r"""Overlap of the loser when the winner has reached ϱ.

    $\Lambda'(t^*)^{-(q-2)} = \Lambda'(0)^{-(q-2)} - \frac{S'}{S}(\Lambda(0)^{-(q-2)} - \varrho^{-(q-2)})$.

    Args:
        loser: Λ'(0).
        winner: Λ(0).
        ratio: S'/S.
        power: q.
        threshold: ϱ.

    Returns:
        Λ'(t*), at most ϱ.
    """
    left = phase(loser, power) - ratio * np.maximum(phase(winner, power) - phase(threshold, power), 0.0)
    return np.asarray(np.minimum(from_phase(np.maximum(left, phase(threshold, power)), power), threshold))


def step_size_lag(start: np.ndarray, end: np.ndarray | float, rate: np.ndarray | float, study: Study) -> np.ndarray:
    r"""Phase by which steps of size η lag behind the flow $\dot\Lambda = a \Lambda^{q-1}$ from start to end.

    One step changes the phase $\Lambda^{-(q-2)}/(q-2)$ by $-\eta a (1 - \frac{q-1}{2} \eta a \Lambda^{q-2} + \dots)$,
    so the lag is $\frac{q-1}{2} \eta a \log(\Lambda_{end}/\Lambda(0))$ to first order.
    """
    growth = np.log(np.maximum(end, 1e-30)) - np.log(np.maximum(start, 1e-30))  # float32 underflows below
    return (study.network.relu_power - 1) / 2 * study.train.learning_rate * rate * np.maximum(growth, 0.0)


def last_view_time(study: Study, networks: int | None = None) -> float:
    r"""Time until every class of all networks has learned a view: that of the smallest winning start.

    Of n = (networks · k) classes, each with the largest of Lm starts, the smallest has the median
    $\sigma_0 z$, $\Phi(z)^{Lm} = \log 2 / n$.

    Args:
        study: the configuration.
        networks: how many; by default all single networks, replicates · seeds.

    Returns:
        The time; infinite where that start is not positive.
    """
    data, network = study.data, study.network
    classes = (study.replicates * study.seeds if networks is None else networks) * data.num_classes
    z = ndtri((math.log(2) / classes) ** (1 / (data.num_views * network.neurons_per_class)))
    if z <= 0:
        return math.inf
    start = network.init_std * z
    return float(tensor_power_time(start, growth_rate(data, network), network.relu_power, network.relu_threshold))

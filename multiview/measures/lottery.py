"""The lottery: which view of each class the start favours, against which one was learned."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from multiview.measures.features import winners
from multiview.world.samples import MultiViewDataset


def view_moments(data: MultiViewDataset, num_classes: int, num_views: int, power: float) -> np.ndarray:
    r"""$S_{i,\ell} = E[1_{y=i} \sum_p z_p^q]$ over the (weighted) samples of a dataset.

    Args:
        data: a dataset with ground truth.
        num_classes: k.
        num_views: L.
        power: q.

    Returns:
        Array [k, L].
    """
    feature = np.asarray(data.patch_feature)
    own = (feature // num_views == np.asarray(data.labels)[:, None]) & (feature >= 0)
    value = np.asarray(data.weights, float)[:, None] * np.asarray(data.coefficients, float) ** power
    moments = np.zeros(num_classes * num_views)
    np.add.at(moments, feature[own], value[own])
    return moments.reshape(num_classes, num_views)


def single_view_counts(data: MultiViewDataset, num_classes: int, num_views: int) -> np.ndarray:
    """Count the single-view samples of each view, [k, L]."""
    single = np.asarray(data.is_single_view)
    cell = np.asarray(data.labels)[single] * num_views + np.asarray(data.chosen_view)[single]
    return np.bincount(cell, minlength=num_classes * num_views).reshape(num_classes, num_views)


def favourite_score(start: np.ndarray, moments: np.ndarray, power: float) -> np.ndarray:
    r"""Score of each view at the start, $\Lambda_{i,\ell}(0) S_{i,\ell}^{1/(q-2)}$; the favourite has the largest.

    For q ≤ 2 the exponent has no finite value; the stronger view wins, so the score is the moments alone.

    Args:
        start: Λ(0), shape [..., k, L].
        moments: S_{i,ℓ}, broadcastable to start.
        power: q.

    Returns:
        Scores, shape of start.
    """
    return start * moments ** (1 / (power - 2)) if power > 2 else start * 0 + moments


def decisive_margin(neurons: int) -> float:
    r"""By which factor the favourite has to lead for the theory to decide, $1 + 1/\log^2 m$."""
    return 1 + 1 / max(math.log(max(neurons, 2)), 1e-9) ** 2


class LotteryResult(NamedTuple):
    """Counts over (class, network) pairs of one or more networks.

    Attributes:
        right: clear pairs whose winner the start named.
        clear: pairs with one clear winner (overlap ratio ≥ 2).
        pairs: all pairs.
        undecided: pairs that the theory's margin 1 + 1/log² m leaves undecided at the start.
    """

    right: np.ndarray
    clear: np.ndarray
    pairs: np.ndarray
    undecided: np.ndarray


def lottery(start: np.ndarray, final: np.ndarray, moments: np.ndarray, power: float, neurons: int) -> LotteryResult:
    """Compare the view that the start favours (`favourite_score`) with the winner.

    Args:
        start: Λ(0), shape [S, k, L].
        final: Λ at the end, shape [S, k, L].
        moments: S_{i,ℓ}, shape [k, L].
        power: q.
        neurons: m, for the margin.

    Returns:
        Counts per network, arrays of shape [S].
    """
    score = favourite_score(start, moments, power)
    ordered = np.sort(score, -1)
    margin = decisive_margin(neurons)
    undecided = (
        ordered[..., -1] < margin * ordered[..., -2] if score.shape[-1] > 1 else np.zeros(score.shape[:-1], bool)
    )
    winner, clear = winners(final)
    right = (score.argmax(-1) == winner) & clear
    full = np.full(len(start), start.shape[1])
    return LotteryResult(right.sum(-1), clear.sum(-1), full, undecided.sum(-1))

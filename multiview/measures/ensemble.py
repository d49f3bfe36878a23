"""Ensembles: averages of networks' outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np


def average_logits(logits: np.ndarray, scale: float = 1.0) -> np.ndarray:
    r"""$c \cdot \frac1K \sum_a F^{(a)}$.

    Args:
        logits: logits of K networks [K, N, k].
        scale: the constant c (it changes soft outputs, not the predicted class).

    Returns:
        Logits of the ensemble [N, k].
    """
    with np.errstate(over="ignore"):  # what becomes infinite is counted as non-finite
        return scale * logits.mean(0)


def average_probabilities(logits: np.ndarray) -> np.ndarray:
    r"""Logarithm of the mean probability, $\log \frac1K \sum_a \mathrm{softmax}(F^{(a)})$, shape [N, k]."""
    with np.errstate(invalid="ignore"):  # of a network that is not finite, which is counted elsewhere
        probability = np.exp(logits - logits.max(-1, keepdims=True))
    probability /= probability.sum(-1, keepdims=True)
    return np.log(np.maximum(probability.mean(0), np.finfo(logits.dtype).tiny))


# How `verify` combines the single networks, by the name of the group that results.
ENSEMBLES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "ensemble": average_logits,
    "ensemble_probabilities": average_probabilities,
}


def by_group(outputs: np.ndarray, sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Outputs of groups of networks that were asked together, and of the ensembles of the group "single".

    Args:
        outputs: logits [S, N, k] of all networks, group after group.
        sizes: how many networks each group has.

    Returns:
        Logits of each group [S, N, k]; an ensemble is a group of one.
    """
    parts = np.split(outputs, np.cumsum(list(sizes.values()))[:-1])
    groups = dict(zip(sizes, parts, strict=True))
    ensembles = {n: combine(groups["single"])[None] for n, combine in ENSEMBLES.items()} if "single" in groups else {}
    return groups | ensembles


def ensemble_sizes(count: int) -> list[int]:
    """Sizes of the smaller ensembles that are tested: powers of two below the number of networks, and that number."""
    return [*(2**p for p in range(count.bit_length()) if 2**p < count), count]


def disjoint_ensembles(logits: np.ndarray) -> dict[str, np.ndarray]:
    """Logits of the ensembles of K networks each that can be made without using any twice.

    Args:
        logits: of the single networks [S, N, k].

    Returns:
        By name, `ensemble_of_K` for each of `ensemble_sizes`, logits [S // K, N, k].
    """
    count, *shape = logits.shape
    return {
        f"ensemble_of_{size}": logits[: count // size * size].reshape(count // size, size, *shape).mean(1)
        for size in ensemble_sizes(count)
    }

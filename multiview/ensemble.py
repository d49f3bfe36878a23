"""Ensembles: averages of networks' outputs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def average_logits(logits: np.ndarray, scale: float = 1.0) -> np.ndarray:
    r"""$c \cdot \frac1K \sum_a F^{(a)}$.

    Args:
        logits: logits of K networks [K, N, k].
        scale: the constant c (it changes soft outputs, not the predicted class).

    Returns:
        Logits of the ensemble [N, k].
    """
    return scale * logits.mean(0)


def average_probabilities(logits: np.ndarray) -> np.ndarray:
    r"""Logarithm of the mean probability, $\log \frac1K \sum_a \mathrm{softmax}(F^{(a)})$, shape [N, k]."""
    probability = np.exp(logits - logits.max(-1, keepdims=True))
    probability /= probability.sum(-1, keepdims=True)
    return np.log(np.maximum(probability.mean(0), np.finfo(logits.dtype).tiny))


# How `verify` combines the single networks, by the name of the group that results.
ENSEMBLES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "ensemble": average_logits,
    "ensemble_probabilities": average_probabilities,
}


def ensemble_sizes(count: int) -> list[int]:
    """Sizes of the smaller ensembles that are tested: powers of two below the number of networks, and that number."""
    return [*(2**p for p in range(count.bit_length()) if 2**p < count), count]


def disjoint_ensembles(logits: np.ndarray, size: int) -> np.ndarray:
    """Logits of the ensembles of `size` networks each that can be made without using any twice [S // size, N, k]."""
    groups = len(logits) // size
    return logits[: groups * size].reshape(groups, size, *logits.shape[1:]).mean(1)

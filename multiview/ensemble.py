"""Ensembles: averages of networks' outputs."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp


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
    log_probability = logits - logsumexp(logits, axis=-1, keepdims=True)
    return logsumexp(log_probability, axis=0) - np.log(len(logits))

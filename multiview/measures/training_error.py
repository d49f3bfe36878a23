"""Training error and loss of one network, from its logits."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int


def wrong_samples(logits: Float[Array, "n k"], labels: Int[Array, " n"]) -> Bool[Array, " n"]:
    r"""Which samples are wrong: $\arg\max_i F_i \ne y$."""
    return logits.argmax(-1).astype(labels.dtype) != labels


def weighted_error(wrong: Bool[Array, " n"], weights: Float[Array, " n"]) -> Float[Array, ""]:
    """Weight of the wrong samples."""
    return jnp.where(wrong, weights, 0).sum()


def cross_entropy(
    logits: Float[Array, "n k"], labels: Int[Array, " n"], weights: Float[Array, " n"]
) -> Float[Array, ""]:
    r"""Weighted cross-entropy $-\sum_n w_n \log \mathrm{softmax}_{y_n}(F(X_n))$."""
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1)[:, 0]
    return -(weights * picked).sum()

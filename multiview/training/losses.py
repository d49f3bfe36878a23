"""Objectives of training, as gradients in the logits (docs/theory.md, sections 4 and 6).

Training multiplies a logit gradient with the network's Jacobian. The one-sided distillation term of the paper is an
update rule on the logits and not the gradient of a loss; so all objectives are written as logit gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from multiview.config import DistillConfig


def cross_entropy_logit_gradient(
    logits: Float[Array, "n k"], labels: Int[Array, " n"] | Float[Array, "n k"], weights: Float[Array, " n"]
) -> Float[Array, "n k"]:
    r"""Compute the gradient of the weighted cross-entropy in the logits, $w_n (\mathrm{softmax}_i(F) - t_{n,i})$.

    Args:
        logits: F.
        labels: classes y [n], for which $t_{n,i} = 1[i = y_n]$, or targets t, distributions over classes [n, k].
        weights: sample weights w.

    Returns:
        The gradient [n, k].
    """
    targets = labels if labels.ndim == 2 else jax.nn.one_hot(labels, logits.shape[1], dtype=logits.dtype)
    return weights[:, None] * (jax.nn.softmax(logits) - targets)


def soft_outputs(
    logits: Float[Array, "... k"], temperature: float | Array, cap: float | Array
) -> Float[Array, "... k"]:
    r"""Compute the truncated soft outputs $\mathrm{softmax}_i(\min(F, c)/T)$.

    With $T = 1/\tau$ and $c = 1/\tau^2$ this is the paper's $\mathrm{softmax}_i(\min(\tau^2 F, 1)/\tau)$.

    Args:
        logits: F.
        temperature: T.
        cap: c, the largest value of a logit that counts.

    Returns:
        Probabilities, in the shape of the logits.
    """
    return jax.nn.softmax(jnp.minimum(logits, cap) / temperature)


def truncation(distill: DistillConfig, dtype: Any) -> tuple[float | Array, Array]:
    """Return the temperature T and the cap c of a distillation term; as `DistillConfig.cap`, but for traced numbers."""
    cap = jnp.where(distill.logit_cap > 0, distill.logit_cap, distill.temperature**2).astype(dtype)
    return distill.temperature, cap


def soft_cross_entropy(difference: Array) -> Array:
    r"""Return $p_i - t_i$: the gradient of $T$ times the cross-entropy at temperature T.

    Args:
        difference: soft outputs p of the student minus those of the teacher t, any shape.

    Returns:
        The term, in the same shape.
    """
    return difference


def one_sided(difference: Array) -> Array:
    """Return the negative part of `soft_cross_entropy`, by which the teacher never pushes a logit down."""
    return jnp.minimum(difference, 0.0)


# Objectives that depend on the difference of the truncated soft outputs alone, and act on logits below the cap.
TERMS: dict[str, Callable[[Array], Array]] = {"soft_cross_entropy": soft_cross_entropy, "one_sided": one_sided}


def _by_difference(
    term: Callable[[Array], Array], logits: Array, teacher_logits: Array, distill: DistillConfig
) -> Array:
    temperature, cap = truncation(distill, logits.dtype)
    difference = soft_outputs(logits, temperature, cap) - soft_outputs(teacher_logits, temperature, cap)
    return jnp.where(logits < cap, term(difference), 0.0)


# The words of `distill.objective`, functions of the student's logits, the teacher's and the configuration. A new one is
# a function here, its row, and its word in `config.distillation`.
OBJECTIVES: dict[str, Callable[[Array, Array, DistillConfig], Array]] = {
    name: partial(_by_difference, term) for name, term in TERMS.items()
}


def distillation_logit_gradient(
    logits: Float[Array, "n k"],
    teacher_logits: Float[Array, "n k"],
    weights: Float[Array, " n"],
    distill: DistillConfig,
) -> Float[Array, "n k"]:
    """Compute the logit gradient of the distillation term: its objective, weighted by the samples.

    The caller multiplies with the factor `distill.weight`.

    Args:
        logits: the student's logits F.
        teacher_logits: the teacher's logits, already multiplied by `teacher_scale`.
        weights: sample weights.
        distill: objective, temperature and cap.

    Returns:
        Gradient in the student's logits.
    """
    return weights[:, None] * OBJECTIVES[distill.objective](logits, teacher_logits, distill)

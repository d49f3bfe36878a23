"""End of training: after a number of steps, or later while a training sample is still wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int, Shaped

from multiview.measures.training_error import wrong_samples

State = TypeVar("State")


def count_wrong(logits: Float[Array, "n k"], labels: Int[Array, " n"]) -> Int[Array, ""]:
    """Count the samples whose largest logit is not that of their label."""
    return wrong_samples(logits, labels).sum(dtype=jnp.int32)


def until_fitted(
    step: Callable[[Any], Any],
    wrong: Callable[[Any], Shaped[Array, ""]],
    state: State,
    first: Array | int,
    last: Array | int,
    least: Array | int,
) -> tuple[State, Array]:
    """Take the steps `first` … `least` − 1, then continue while a sample is wrong, at most up to step `last` − 1.

    Args:
        step: function from a state to the next state.
        wrong: function from a state to the number of training samples that were wrong at its last evaluation.
        state: state before the first step.
        first: number of the first step.
        last: number of the step before which training ends at the latest.
        least: number of the step before which training ends if no sample is wrong.

    Returns:
        The state after training, and the number of the step that would come next.
    """

    def continues(carry: tuple[Array, Any]) -> Array:
        index, now = carry
        return (index < last) & ((index < least) | (wrong(now) > 0))

    def take_step(carry: tuple[Array, Any]) -> tuple[Array, Any]:
        index, now = carry
        return index + 1, step(now)

    index, state = jax.lax.while_loop(continues, take_step, (jnp.asarray(first, jnp.int32), state))
    return state, index

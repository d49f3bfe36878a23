"""Gradient descent for systems whose outputs are not those of one network; the same objectives as `training`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from multiview.config import DistillConfig
from multiview.training.step import logit_gradient
from multiview.world.patches import Patches
from multiview.world.task import Task

Outputs = Callable[[Any, Patches], Array]  # parameters and patches to logits [n, k]


class Descended(NamedTuple):
    """A system after gradient descent.

    Attributes:
        parameters: its parameters, as they were given.
        train_logits: logits on the training samples [N, k].
        train_wrong: wrong training samples.
        steps: steps taken.
    """

    parameters: Any
    train_logits: Float[Array, "n k"]
    train_wrong: Array
    steps: Array


def wrong_samples(logits: Float[Array, "... n k"], labels: Array) -> Array:
    """Number of samples whose largest logit is not that of their label [...]."""
    return (logits.argmax(-1).astype(labels.dtype) != labels).sum(-1, dtype=jnp.int32)


def descend(
    outputs: Outputs,
    parameters: Any,
    task: Task,
    learning_rate: float | Array,
    min_steps: int | Array,
    max_steps: int | Array,
    *,
    teacher_logits: Float[Array, "n k"] | None = None,
    distill: DistillConfig | None = None,
) -> Descended:
    r"""Full-batch gradient descent on the cross-entropy of `outputs`, until the training error is 0.

    At least `min_steps` steps are taken; after them the descent goes on while a training sample is wrong, up to
    `max_steps`: a system that then still has training errors has had the longer run that shows it.

    Args:
        outputs: a pure function of parameters and patches.
        parameters: the start, any pytree.
        task: the training samples.
        learning_rate: η.
        min_steps: the stopping rule where the training error is 0.
        max_steps: the stopping rule where it is not.
        teacher_logits: the scaled teacher on the training samples, with `distill`.
        distill: the distillation term.

    Returns:
        The system.
    """
    data = task.data

    def step(state: tuple[Array, Any, Array]) -> tuple[Array, Any, Array]:
        index, now, _ = state
        logits, pull_back = jax.vjp(lambda p: outputs(p, task.patches), now)
        (gradient,) = pull_back(logit_gradient(logits, jnp.ones((), bool), task, teacher_logits, distill))
        now = jax.tree.map(lambda p, g: p - learning_rate * g, now, gradient)
        return index + 1, now, wrong_samples(logits, data.labels)

    def goes_on(state: tuple[Array, Any, Array]) -> Array:
        index, _, wrong = state
        return (index < min_steps) | ((wrong > 0) & (index < max_steps))

    start = (jnp.zeros((), jnp.int32), parameters, jnp.zeros((), jnp.int32))
    steps, parameters, _ = jax.lax.while_loop(goes_on, step, start)
    logits = outputs(parameters, task.patches)
    return Descended(parameters, logits, wrong_samples(logits, data.labels), steps)

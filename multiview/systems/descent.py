"""Systems that are trained by plain gradient descent: `by_descent` makes one from a pure function that returns logits.

Networks of a block are trained one after another, so that each takes as many steps as it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int, Key

from multiview.config import DistillConfig, Study
from multiview.network.parameters import Parameters
from multiview.systems import network
from multiview.systems.protocol import Kept, Seen, Settings, Sizes, System
from multiview.training.forecast import Footprint, Shapes, Work
from multiview.training.step import logit_gradient
from multiview.training.stopping import count_wrong, until_fitted
from multiview.world.patches import DenseVectors, Patches, noise_shape
from multiview.world.patches import vectors as as_patches
from multiview.world.task import Task

PATIENCE = 16  # while the training error of a contrast is not 0, it trains up to 16 times `train.num_steps`

Outputs = Callable[[Any, Any, Patches, Settings], Float[Array, "n k"]]


class Descent(NamedTuple):
    """The state of gradient descent.

    Attributes:
        start: parameters before the first step, if outputs depend on them.
        parameters: current parameters, any pytree.
        wrong: number of training samples that were wrong before the last step.
        taken: steps taken since this phase of training began.
    """

    start: Any
    parameters: Any
    wrong: Int[Array, ...]
    taken: Int[Array, ...]


def descend(
    outputs: Callable[[Any, Patches], Float[Array, "n k"]],
    state: Descent,
    first: Array | int,
    last: Array | int,
    least: Array | int,
    task: Task,
    learning_rate: float | Array,
    teacher_logits: Float[Array, "n k"] | None = None,
    distill: DistillConfig | None = None,
) -> Descent:
    """Train by gradient descent on all samples, from step `least` on only while a training sample is wrong.

    Args:
        outputs: pure function from parameters and patches to logits.
        state: state before the first step.
        first: number of the first step.
        last: number of the step before which training ends at the latest.
        least: number of the step before which training ends if no training sample is wrong.
        task: the training samples.
        learning_rate: η.
        teacher_logits: the teacher's scaled logits on the training samples; None without a teacher.
        distill: the distillation term; None without a teacher.

    Returns:
        The state after training.
    """

    def step(s: Descent) -> Descent:
        logits, pull_back = jax.vjp(lambda p: outputs(p, task.patches), s.parameters)
        (gradient,) = pull_back(logit_gradient(logits, jnp.ones((), bool), task, teacher_logits, distill))
        parameters = jax.tree.map(lambda p, g: p - learning_rate * g, s.parameters, gradient)
        return s._replace(parameters=parameters, wrong=count_wrong(logits, task.data.labels))

    ended, index = until_fitted(step, lambda s: s.wrong, state, first, last, least)
    return ended._replace(taken=state.taken + index - first)


def as_vectors(task: Task, sizes: Sizes) -> DenseVectors:
    """Convert all samples to one part of vectors in the dtype of training; tracked noise stays apart from them."""
    part, dtype = as_patches(task.data, sizes.features), task.data.weights.dtype
    tracked = task.data.patches is None and any(noise_shape(p, 1, 1) is not None for p in task.patches)
    norm = part.noise_norm
    return DenseVectors(part.vectors.astype(dtype), norm.astype(dtype) if tracked and norm is not None else None)


def start_state(parameters: Any) -> Descent:
    """Make the state of one network before the first step."""
    zero = jnp.zeros((), jnp.int32)
    return Descent(parameters, parameters, zero, zero)


def by_descent(
    init: Callable[[Key[Array, ""], Task, Settings, Sizes], Any],
    outputs: Outputs,
    as_network: Callable[[Any], Parameters],
    *,
    rate: Callable[[Array, Settings], Array | float],
    vectors: bool = False,
    curvature: Callable[[Array, Task, Settings, Sizes], Array] = lambda key, task, settings, sizes: jnp.zeros(()),
    own: Callable[[Study, int], tuple[float, ...]] = lambda study, networks: (),
    keep: Callable[[Descent], Kept] = lambda state: (state.parameters, state.start),
    answer: Callable[[Kept, Key[Array, " b"], Task, Settings, Sizes], Float[Array, "b n k"]] | None = None,
    footprint: Callable[[Shapes, Study], Footprint] = network.footprint,
    work: Callable[[Shapes, Study], Work] = network.work,
    alone: bool = False,
) -> System:
    """Make a system that is trained by gradient descent, one network after another.

    Args:
        init: function from a typed key, the samples, settings and sizes to the start parameters of one network, any
            pytree.
        outputs: function from parameters, start parameters, patches and settings to the logits of one network.
        as_network: function from the parameters of a block to those that measures read: weights [B, D, k, m].
        rate: function from a network's curvature and settings to its step size.
        vectors: whether `outputs` gets all patches as one part of vectors, also in the limit of large d.
        curvature: function, called once, from a network's typed key, the samples, settings and sizes to a number that
            `rate` needs.
        own: see `System`.
        keep: function from the state of a block to the part that answering needs.
        answer: see `System`; by default `outputs` at the parameters and starts that `keep` keeps by default; no noise
            is drawn.
        footprint: see `System`; by default that of the network.
        work: see `System`; by default that of the network.
        alone: see `System`.

    Returns:
        The system.
    """

    def seen_by(task: Task, sizes: Sizes) -> Task:
        return Task(task.data, (as_vectors(task, sizes),)) if vectors else task

    @partial(jax.jit, static_argnames=("sizes",))
    def start(keys: Array, batch_keys: None, task: Task, settings: Settings, sizes: Sizes) -> tuple[Descent, Array]:
        seen = seen_by(task, sizes)

        def start_one(network: tuple[Array, Settings]) -> tuple[Descent, Array]:
            key, one = network
            return start_state(init(key, seen, one, sizes)), curvature(key, task, one, sizes)

        return jax.lax.map(start_one, (keys, settings))

    @partial(jax.jit, static_argnames=("sizes",))
    def advance(
        state: tuple[Descent, Array], first: Array, last: Array, least: Array, task: Task, teacher: Array | None,
        settings: Settings, sizes: Sizes,
    ) -> tuple[Descent, Array]:  # fmt: skip
        seen = seen_by(task, sizes)

        def train_one(network: tuple[tuple[Descent, Array], Array | None, Settings]) -> tuple[Descent, Array]:
            (now, curved), taught, one = network

            def logits(parameters: Any, patches: Patches) -> Array:
                return outputs(parameters, now.start, patches, one)

            step_size = rate(curved, one)
            return descend(logits, now, first, last, least, seen, step_size, taught, one.distill), curved

        return jax.lax.map(train_one, (state, teacher, settings))

    def answers(parameters: Any, starts: Any, task: Task, settings: Settings) -> Float[Array, "b n k"]:
        def answer_one(network: tuple[Any, Any, Settings]) -> Array:
            now, begin, one = network
            return outputs(now, begin, task.patches, one)

        return jax.lax.map(answer_one, (parameters, starts, settings))

    def look(state: tuple[Descent, Array], task: Task, settings: Settings, sizes: Sizes) -> Seen:
        now, seen = state[0], seen_by(task, sizes)
        return Seen(
            as_network(now.parameters), answers(now.parameters, now.start, seen, settings), seen, None, now.taken
        )

    @partial(jax.jit, static_argnames=("sizes",))
    def answer_by_outputs(
        kept: tuple[Any, Any], keys: Array, task: Task, settings: Settings, sizes: Sizes
    ) -> Float[Array, "b n k"]:
        return answers(*kept, seen_by(task, sizes), settings)

    return System(
        start, advance, look, lambda state, task, settings, sizes: keep(state[0]), answer or answer_by_outputs,
        footprint, work, resume=lambda state: (state[0]._replace(taken=jnp.zeros_like(state[0].taken)), state[1]),
        own=own, patience=PATIENCE, alone=alone,
    )  # fmt: skip

"""Systems that are trained by plain gradient descent: a pure function from parameters and patches to logits is enough.

`by_descent` makes the whole system of it. Networks of a block are trained one after another, so that each takes the
steps that it needs.
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

PATIENCE = 16  # a contrast whose training error is not 0 after its steps gets up to so many times as many

Outputs = Callable[[Any, Any, Patches, Settings], Float[Array, "n k"]]


class Descent(NamedTuple):
    """The state of gradient descent.

    Attributes:
        start: parameters before any step, where outputs depend on them.
        parameters: where they are now, any pytree.
        wrong: training samples that were wrong before the last step.
        taken: steps since this phase of training began.
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
    """Full-batch gradient descent on the cross-entropy of `outputs`; from step `least` on while a sample is wrong.

    Args:
        outputs: a pure function of parameters and patches.
        state: where to begin.
        first: number of the first step.
        last: where training ends at the latest.
        least: where it ends if no training sample is wrong.
        task: the training samples.
        learning_rate: η.
        teacher_logits: the scaled teacher on the training samples, with `distill`.
        distill: the distillation term.

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
    """All samples as one part of vectors in the dtype of training, their noise apart where any is tracked."""
    part, dtype = as_patches(task.data, sizes.features), task.data.weights.dtype
    tracked = task.data.patches is None and any(noise_shape(p, 1, 1) is not None for p in task.patches)
    norm = part.noise_norm
    return DenseVectors(part.vectors.astype(dtype), norm.astype(dtype) if tracked and norm is not None else None)


def begun(parameters: Any) -> Descent:
    """The state of one network before any step."""
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
        init: start parameters of one network from its typed key, the samples, settings and sizes; any pytree.
        outputs: logits of one network from its parameters, its start, patches and settings.
        as_network: parameters of a block as measures see them: weights [B, D, k, m].
        rate: step size of one network from its curvature and settings.
        vectors: whether `outputs` sees all patches as one part of vectors, in the limit of large d too.
        curvature: computed once from a network's typed key; what `rate` needs of its start.
        own: see `System`.
        keep: what answering needs, from the state of a block.
        answer: see `System`; by default `outputs` of what `keep` keeps by default, which reads no noise.
        footprint: see `System`; by default the network's.
        work: likewise.
        alone: see `System`.

    Returns:
        The system.
    """

    def seen_by(task: Task, sizes: Sizes) -> Task:
        return Task(task.data, (as_vectors(task, sizes),)) if vectors else task

    @partial(jax.jit, static_argnames=("sizes",))
    def start(keys: Array, batch_keys: None, task: Task, settings: Settings, sizes: Sizes) -> tuple[Descent, Array]:
        seen = seen_by(task, sizes)

        def one(given: tuple[Array, Settings]) -> tuple[Descent, Array]:
            key, of_network = given
            return begun(init(key, seen, of_network, sizes)), curvature(key, task, of_network, sizes)

        return jax.lax.map(one, (keys, settings))

    @partial(jax.jit, static_argnames=("sizes",))
    def advance(
        state: tuple[Descent, Array], first: Array, last: Array, least: Array, task: Task, teacher: Array | None,
        settings: Settings, sizes: Sizes,
    ) -> tuple[Descent, Array]:  # fmt: skip
        seen = seen_by(task, sizes)

        def one(given: tuple[tuple[Descent, Array], Array | None, Settings]) -> tuple[Descent, Array]:
            (now, curved), taught, of_network = given

            def logits(parameters: Any, patches: Patches) -> Array:
                return outputs(parameters, now.start, patches, of_network)

            step_size = rate(curved, of_network)
            return descend(logits, now, first, last, least, seen, step_size, taught, of_network.distill), curved

        return jax.lax.map(one, (state, teacher, settings))

    def answers(parameters: Any, starts: Any, task: Task, settings: Settings) -> Float[Array, "b n k"]:
        def one(given: tuple[Any, Any, Settings]) -> Array:
            now, begin, of_network = given
            return outputs(now, begin, task.patches, of_network)

        return jax.lax.map(one, (parameters, starts, settings))

    def look(state: tuple[Descent, Array], task: Task, settings: Settings, sizes: Sizes) -> Seen:
        now, seen = state[0], seen_by(task, sizes)
        return Seen(
            as_network(now.parameters), answers(now.parameters, now.start, seen, settings), seen, None, now.taken
        )

    @partial(jax.jit, static_argnames=("sizes",))
    def answer_alike(
        kept: tuple[Any, Any], keys: Array, task: Task, settings: Settings, sizes: Sizes
    ) -> Float[Array, "b n k"]:
        return answers(*kept, seen_by(task, sizes), settings)

    return System(
        start, advance, look, lambda state, task, settings, sizes: keep(state[0]), answer or answer_alike, footprint,
        work, resume=lambda state: (state[0]._replace(taken=jnp.zeros_like(state[0].taken)), state[1]),
        own=own, patience=PATIENCE, alone=alone,
    )  # fmt: skip

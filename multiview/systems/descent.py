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
from multiview.systems.protocol import Kept, Seen, Settings, Sizes, System
from multiview.training.memory import Footprint, Shapes, Work
from multiview.training.step import logit_gradient
from multiview.training.stopping import count_wrong, until_fitted
from multiview.world.patches import Patches
from multiview.world.task import Task

PATIENCE = 16  # a contrast whose training error is not 0 after its steps gets up to so many times as many

Outputs = Callable[[Any, Any, Patches, Settings], Float[Array, "n k"]]


class Descent(NamedTuple):
    """The state of gradient descent.

    Attributes:
        start: parameters before any step.
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


def begun(parameters: Any, networks: tuple[int, ...] = ()) -> Descent:
    """The state before any step; counts have the shape `networks`."""
    zero = jnp.zeros(networks, jnp.int32)
    return Descent(parameters, parameters, zero, zero)


def by_descent(
    init: Callable[[Key[Array, ""], Task, Settings, Sizes], Any],
    outputs: Outputs,
    as_network: Callable[[Any], Parameters],
    answer: Callable[[Kept, Key[Array, " b"], Task, Settings, Sizes], Float[Array, "b n k"]],
    footprint: Callable[[Shapes, Study], Footprint],
    work: Callable[[Shapes, Study], Work],
    *,
    rate: Callable[[Array, Settings], Array | float],
    curvature: Callable[[Array, Task, Settings, Sizes], Array] = lambda key, task, settings, sizes: jnp.zeros(()),
    own: Callable[[Study, int], tuple[float, ...]] = lambda study, networks: (),
    keep: Callable[[Descent], Kept] = lambda state: state.parameters,
    alone: bool = False,
) -> System:
    """Make a system that is trained by gradient descent, one network after another.

    Args:
        init: start parameters of one network from its typed key, the samples, settings and sizes; any pytree.
        outputs: logits of one network from its parameters, its start, patches and settings.
        as_network: parameters of a block as measures see them: weights [B, D, k, m].
        answer: see `System`.
        footprint: see `System`.
        work: see `System`.
        rate: step size of one network from its curvature and settings.
        curvature: what `rate` needs of a network's start, computed once from its typed key.
        own: see `System`.
        keep: what answering needs, from the state of a block.
        alone: see `System`.

    Returns:
        The system.
    """

    @partial(jax.jit, static_argnames=("sizes",))
    def start(keys: Array, batch_keys: None, task: Task, settings: Settings, sizes: Sizes) -> tuple[Descent, Array]:
        def one(given: tuple[Array, Settings]) -> tuple[Descent, Array]:
            key, of_network = given
            return begun(init(key, task, of_network, sizes)), curvature(key, task, of_network, sizes)

        return jax.lax.map(one, (keys, settings))

    @partial(jax.jit, static_argnames=("sizes",))
    def advance(
        state: tuple[Descent, Array], first: Array, last: Array, least: Array, task: Task, teacher: Array | None,
        settings: Settings, sizes: Sizes,
    ) -> tuple[Descent, Array]:  # fmt: skip
        def one(given: tuple[tuple[Descent, Array], Array | None, Settings]) -> tuple[Descent, Array]:
            (now, curved), taught, of_network = given

            def logits(parameters: Any, patches: Patches) -> Array:
                return outputs(parameters, now.start, patches, of_network)

            step_size = rate(curved, of_network)
            return descend(logits, now, first, last, least, task, step_size, taught, of_network.distill), curved

        return jax.lax.map(one, (state, teacher, settings))

    def look(state: tuple[Descent, Array], task: Task, settings: Settings, sizes: Sizes) -> Seen:
        def one(given: tuple[Descent, Settings]) -> Array:
            return outputs(given[0].parameters, given[0].start, task.patches, given[1])

        now = state[0]
        return Seen(as_network(now.parameters), jax.lax.map(one, (now, settings)), task, None, now.taken)

    return System(
        start, advance, look, lambda state, task, settings, sizes: keep(state[0]), answer, footprint, work,
        resume=lambda state: (state[0]._replace(taken=jnp.zeros_like(state[0].taken)), state[1]),
        own=own, patience=PATIENCE, alone=alone,
    )  # fmt: skip

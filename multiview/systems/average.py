r"""The average of K networks: one model $F = \frac1K \sum_a F^{(a)}$, trained jointly from one loss.

Section 8 of docs/theory.md. The K networks are the members; the mean of their outputs, their ensemble, is the average
itself. Recorded errors and losses are those of the average, because members are not trained to answer alone. Students
of a member are networks.

Step size: each member's gradient carries the factor $1/K$ of the average, so the step size is $K \eta$. A member then
moves exactly as a single network does at $\eta$ with the same residual.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from multiview.config import NetworkConfig
from multiview.network.outputs import logits
from multiview.network.parameters import Parameters, init_network
from multiview.systems import network
from multiview.systems.descent import PATIENCE, Descent, descend
from multiview.systems.protocol import Seen, Settings, Sizes, System
from multiview.world.patches import Patches
from multiview.world.task import Task


def average_outputs(members: Parameters, patches: Patches, network: NetworkConfig) -> Float[Array, "n k"]:
    r"""Compute the logits of the average, $\frac1K \sum_a F^{(a)}$.

    Args:
        members: the networks; every array has the leading axis K.
        patches: patches of the samples.
        network: configuration of all members, which belong to one study.

    Returns:
        Logits [n, k].
    """
    return jax.vmap(lambda p: logits(p, patches, network))(members).mean(0)


def _shared(settings: Settings) -> NetworkConfig:
    """Return the configuration that all members share, because they belong to one study."""
    return jax.tree.map(lambda a: a[0], settings.network)


@partial(jax.jit, static_argnames=("sizes",))
def _start(keys: Array, batch_keys: None, task: Task, settings: Settings, sizes: Sizes) -> Descent:
    def start_member(key: Array, member: NetworkConfig) -> Parameters:
        return init_network(key, task.patches, sizes.dimension, sizes.classes, member, task.data.weights.dtype)

    count = jnp.zeros(len(keys), jnp.int32)
    return Descent((), jax.vmap(start_member)(keys, settings.network), count, count)


@partial(jax.jit, static_argnames=("sizes",))
def _advance(
    state: Descent, first: Array, last: Array, least: Array, task: Task, teacher: None, settings: Settings, sizes: Sizes
) -> Descent:
    def outputs(members: Parameters, patches: Patches) -> Array:
        return average_outputs(members, patches, _shared(settings))

    (rates,) = settings.own
    whole = Descent((), state.parameters, state.wrong[0], state.taken[0])
    ended = descend(outputs, whole, first, last, least, task, rates[0])
    for_each_member = partial(jnp.broadcast_to, shape=state.taken.shape)
    return Descent(state.start, ended.parameters, for_each_member(ended.wrong), for_each_member(ended.taken))


def _look(state: Descent, task: Task, settings: Settings, sizes: Sizes) -> Seen:
    outputs = average_outputs(state.parameters, task.patches, _shared(settings))
    teaches = jax.vmap(lambda p, n: logits(p, task.patches, n))(state.parameters, settings.network)
    return Seen(state.parameters, outputs, task, teaches, state.taken)


def _keep(state: Descent, task: Task, settings: Settings, sizes: Sizes) -> Array:
    return state.parameters.weights


SYSTEM = System(
    _start, _advance, _look, _keep, network.answer, network.footprint, network.work,
    own=lambda study, networks: (study.train.learning_rate * networks,),
    patience=PATIENCE, joint=True, answered_together=network.SYSTEM.answered_together,
)  # fmt: skip

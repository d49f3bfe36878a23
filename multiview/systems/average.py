r"""Training the average: one model $F = \frac1K \sum_a F^{(a)}$ of K networks, trained jointly from one loss."""

from __future__ import annotations

from functools import partial

import jax
from jax import Array
from jaxtyping import Float, Key

from multiview.config import NetworkConfig, Study
from multiview.network.outputs import logits
from multiview.network.parameters import Parameters, init
from multiview.systems.descent import Descended, descend
from multiview.world.patches import Patches
from multiview.world.task import Task


def average_outputs(members: Parameters, patches: Patches, network: NetworkConfig) -> Float[Array, "n k"]:
    r"""Logits $\frac1K \sum_a F^{(a)}$ of the average, with the member axis leading in every array of `members`."""
    return jax.vmap(lambda p: logits(p, patches, network))(members).mean(0)


@partial(jax.jit, static_argnames=("dimension", "num_classes"))
def _train(
    keys: Key[Array, " members"],
    task: Task,
    network: NetworkConfig,
    rate: float,
    dimension: int,
    num_classes: int,
    min_steps: int,
    max_steps: int,
) -> Descended:
    def start(key: Array) -> Parameters:
        return init(key, task.patches, dimension, num_classes, network, task.data.weights.dtype)

    def outputs(members: Parameters, patches: Patches) -> Array:
        return average_outputs(members, patches, network)

    return descend(outputs, jax.vmap(start)(keys), task, rate, min_steps, max_steps)


def train_average(
    study: Study, task: Task, keys: Key[Array, " members"], *, min_steps: int, max_steps: int
) -> Descended:
    r"""Train the average of K networks by gradient descent.

    Step size: each member's gradient carries the factor $1/K$ of the average, so the rule is $K \eta$. While the
    residual is common to all, a member then moves exactly as a single network would at $\eta$.

    Args:
        study: configuration; its optimiser is not used.
        task: training samples.
        keys: typed keys of the members' starts [K], as for `batching.train_networks`.
        min_steps: steps, if the training error is 0 after them.
        max_steps: the longest run otherwise.

    Returns:
        The members, weights [K, D, k, m], with the average's logits on the training samples.
    """
    dimension = task.dimension(study.data.num_features)
    rate = study.train.learning_rate * len(keys)
    return _train(keys, task, study.network, rate, dimension, study.data.num_classes, min_steps, max_steps)

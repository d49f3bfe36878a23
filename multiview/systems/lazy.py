r"""A dial between feature learning and linearised training: the scale α of $\alpha (F_\theta - F_{\theta_0})$.

At α = 1 this is the network, but for its tiny start outputs. The larger α, the less the weights have to move, and for
α → ∞ training is that of the network linearised at its start (Chizat, Oyallon and Bach 2019).
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
from jax import Array
from jaxtyping import Float, Key

from multiview.config import NetworkConfig, Study
from multiview.network.outputs import logits
from multiview.network.parameters import Parameters, init
from multiview.parameters import ConfigError
from multiview.systems.descent import Descended, descend
from multiview.world.patches import Patches
from multiview.world.task import Task


def dial_outputs(
    now: Parameters, start: Parameters, patches: Patches, network: NetworkConfig, output_scale: float
) -> Float[Array, "n k"]:
    r"""Logits $\alpha (F_\theta - F_{\theta_0})$; on test samples both networks see the same noise overlaps."""
    return output_scale * (logits(now, patches, network) - logits(start, patches, network))


def learning_rate(study: Study, output_scale: float) -> float:
    r"""The step size rule of the dial, $\eta_\alpha = \eta / (\alpha\,(\Lambda_\alpha/\varrho)^{q-1})^2$.

    The tangent features at the end of training are α times those of an overlap $\Lambda_\alpha$, which is where one
    neuron's output $\alpha\Lambda^q/(q\varrho^{q-1})$ reaches $\log k$, at least σ₀ and at most ϱ. At α = 1 this
    is η; for α → ∞ it is η over $\alpha^2(\sigma_0/\varrho)^{2(q-1)}$.

    Args:
        study: gives η, q, ϱ, σ₀ and k.
        output_scale: α.

    Returns:
        The step size.

    Raises:
        ConfigError: α is not a finite number ≥ 1.
    """
    if not (math.isfinite(output_scale) and output_scale >= 1):
        raise ConfigError(f"output_scale = {output_scale!r} is not allowed: it must be a finite number ≥ 1")
    network = study.network
    q, threshold = network.relu_power, network.relu_threshold
    overlap = (q * threshold ** (q - 1) * math.log(study.data.num_classes) / output_scale) ** (1 / q)
    overlap = min(max(overlap, network.init_std), threshold) if output_scale > 1 else threshold
    return study.train.learning_rate / (output_scale * (overlap / threshold) ** (q - 1)) ** 2


def go_on(
    start: Parameters, now: Parameters, task: Task, network: NetworkConfig, output_scale: float, rate: float | Array,
    min_steps: int | Array, max_steps: int | Array, **teacher: Any,
) -> Descended:  # fmt: skip
    """Gradient descent of one network at an output scale, from `now` on; a teacher as for `descend`."""

    def outputs(parameters: Parameters, patches: Patches) -> Array:
        return dial_outputs(parameters, start, patches, network, output_scale)

    return descend(outputs, now, task, rate, min_steps, max_steps, **teacher)


@partial(jax.jit, static_argnames=("dimension", "num_classes"))
def _train(
    keys: Key[Array, " seeds"],
    task: Task,
    network: NetworkConfig,
    dimension: int,
    num_classes: int,
    min_steps: int,
    max_steps: int,
    output_scale: float,
    rate: float,
) -> tuple[Parameters, Descended]:
    def one(key: Array) -> tuple[Parameters, Descended]:
        start = init(key, task.patches, dimension, num_classes, network, task.data.weights.dtype)
        return start, go_on(start, start, task, network, output_scale, rate, min_steps, max_steps)

    return jax.lax.map(one, keys)


def train_at_scale(
    study: Study,
    task: Task,
    keys: Key[Array, " seeds"],
    output_scale: float,
    *,
    min_steps: int,
    max_steps: int,
) -> tuple[Parameters, Descended]:
    """Train networks at an output scale, by gradient descent at the rule's step size.

    Args:
        study: configuration; its optimiser is not used.
        task: training samples.
        keys: typed keys of the starts [S].
        output_scale: α ≥ 1.
        min_steps: steps, if the training error is 0 after them.
        max_steps: the longest run otherwise.

    Returns:
        Starts and trained networks, with a leading axis of seeds.

    Raises:
        ConfigError: α is not allowed.
    """
    rate = learning_rate(study, output_scale)
    dimension = task.dimension(study.data.num_features)
    k = study.data.num_classes
    return _train(keys, task, study.network, dimension, k, min_steps, max_steps, output_scale, rate)

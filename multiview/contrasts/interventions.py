r"""Changes to training that follow-up work proposes: mixup, dropped patches, smoothed labels, other optimisers.

A patch enters a neuron through $\langle w, x_p\rangle$ alone, so a mixture of two samples' patches has the mixture of
their pre-activations, in the limit of large d too: $\lambda\langle w, x_p\rangle + (1-\lambda)\langle w, x'_p\rangle$.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float, Key

from multiview.config import ConfigError, Study
from multiview.contrasts.descent import wrong_samples
from multiview.contrasts.linear import pre_activations
from multiview.network import Parameters, init, smoothed_relu
from multiview.representations import DenseVectors, vectors
from multiview.training import Task


class Intervention(NamedTuple):
    """What is changed; the defaults are plain gradient descent.

    Attributes:
        optimizer: gradient descent, or Adam. Adam depends on the axes: in the limit these are features and noise.
        learning_rate: of Adam; gradient descent has the study's.
        momentum: m of gradient descent, at step size η (1 − m), which keeps the clocks.
        weight_decay: λ, added to the gradient as λ w.
        label_smoothing: ε, the weight of the uniform distribution in the targets.
        mixup: mixed samples and targets: λ uniform, or always 1/2 (midpoint).
        dropped_patches: probability with which a patch is left out in a step.
    """

    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 0.0
    momentum: float = 0.0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    mixup: Literal["none", "uniform", "midpoint"] = "none"
    dropped_patches: float = 0.0


def check(intervention: Intervention) -> None:
    """Refuse values that mean nothing.

    Raises:
        ConfigError: a number outside its range, or Adam without a rate.
    """
    for name in ("momentum", "label_smoothing", "dropped_patches"):
        value = getattr(intervention, name)
        if not 0 <= value < 1:
            raise ConfigError(f"{name} = {value!r} is not allowed: it must be a number in [0, 1)")
    if not 0 <= intervention.weight_decay < float("inf"):
        raise ConfigError(f"weight_decay = {intervention.weight_decay!r} is not allowed: it must be a number ≥ 0")
    if intervention.optimizer == "adam" and not 0 < intervention.learning_rate < float("inf"):
        raise ConfigError(
            f"learning_rate = {intervention.learning_rate!r} is not allowed with adam: it must be a number > 0"
        )


def view_slowdown(intervention: Intervention, power: float) -> float:
    r"""How much longer a view's clock takes, by what is left of $E[\sum_p z_p^q]$ in a step.

    Mixing gives $E[\lambda^q + (1-\lambda)^q]$ of it, $2^{1-q}$ at the midpoint and $2/(q+1)$ for uniform λ; dropping
    patches with probability p gives $1 - p$.
    """
    left = {"none": 1.0, "uniform": 2 / (power + 1), "midpoint": 2 ** (1 - power)}[intervention.mixup]
    return 1 / (left * (1 - intervention.dropped_patches))


def make_optimizer(study: Study, intervention: Intervention) -> optax.GradientTransformation:
    """The optimiser of an intervention."""
    momentum = intervention.momentum
    if intervention.optimizer == "adam":
        moves = optax.adam(intervention.learning_rate)
    else:
        moves = optax.sgd(study.train.learning_rate * (1 - momentum), momentum or None)
    if intervention.weight_decay == 0:
        return moves
    return optax.chain(optax.add_decayed_weights(intervention.weight_decay), moves)


def _loss(
    parameters: Parameters, key: Array, part: DenseVectors, task: Task, study: Study, intervention: Intervention
) -> Array:
    """The weighted cross-entropy of one step's samples."""
    data, network, k = task.data, study.network, study.data.num_classes
    partner_key, mix_key, drop_key = jax.random.split(key, 3)
    pre = pre_activations(parameters.weights, parameters.noise[0], part)
    targets = jax.nn.one_hot(data.labels, k, dtype=pre.dtype)
    n, patches = pre.shape[:2]
    if intervention.mixup != "none":
        # A partner is drawn by its weight, so that rare samples stay as rare.
        partner = jax.random.choice(partner_key, n, (n,), p=data.weights / data.weights.sum())
        uniform = jax.random.uniform(mix_key, (n,), pre.dtype)
        share = uniform if intervention.mixup == "uniform" else jnp.full(n, 0.5, pre.dtype)
        pre = share[:, None, None, None] * pre + (1 - share)[:, None, None, None] * pre[partner]
        targets = share[:, None] * targets + (1 - share)[:, None] * targets[partner]
    if intervention.dropped_patches > 0:
        kept = jax.random.bernoulli(drop_key, 1 - intervention.dropped_patches, (n, patches))
        pre = pre * kept[..., None, None].astype(pre.dtype)
    smoothing = intervention.label_smoothing
    targets = (1 - smoothing) * targets + smoothing / k
    outputs = smoothed_relu(pre, network.relu_power, network.relu_threshold).sum((1, 3))
    return -(data.weights[:, None] * targets * jax.nn.log_softmax(outputs)).sum()


class Intervened(NamedTuple):
    """Networks after training with an intervention, leading axis seed.

    Attributes:
        parameters: weights [S, kL, k, m] and noise overlaps.
        memory: the optimiser's own state.
        train_wrong: wrong training samples, unchanged ones, of each network [S].
    """

    parameters: Parameters
    memory: Any
    train_wrong: Array


def begin(study: Study, task: Task, keys: Key[Array, " s"], intervention: Intervention) -> Intervened:
    """Starts, one for each key.

    Args:
        study: configuration, in a limit representation.
        task: training samples of `study.training_tasks`.
        keys: typed keys of the starts.
        intervention: the change.

    Raises:
        ConfigError: a value of the intervention is not allowed.
    """
    check(intervention)
    part, optimizer = vectors(task.data, study.data), make_optimizer(study, intervention)

    def one(key: Array) -> Intervened:
        dimension = part.vectors.shape[-1]
        start = init(key, (part,), dimension, study.data.num_classes, study.network, part.vectors.dtype)
        return Intervened(start, optimizer.init(start), jnp.zeros((), jnp.int32))

    return jax.vmap(one)(keys)


@partial(jax.jit, static_argnames=("study", "intervention"))
def go_on(
    study: Study, task: Task, keys: Key[Array, " s"], networks: Intervened, steps: Array, intervention: Intervention
) -> Intervened:
    """Train on.

    Args:
        study: configuration.
        task: training samples.
        keys: typed keys of what is random in the steps; new ones for each call.
        networks: from `begin` or an earlier call.
        steps: how many.
        intervention: the change.

    Returns:
        The networks.
    """
    part, optimizer = vectors(task.data, study.data), make_optimizer(study, intervention)

    def one(given: tuple[Array, Intervened]) -> Intervened:
        key, network = given

        def step(index: Array, state: tuple[Parameters, Any]) -> tuple[Parameters, Any]:
            now, memory = state
            gradient = jax.grad(_loss)(now, jax.random.fold_in(key, index), part, task, study, intervention)
            change, memory = optimizer.update(gradient, memory, now)
            return optax.apply_updates(now, change), memory

        now, memory = jax.lax.fori_loop(0, steps, step, (network.parameters, network.memory))
        pre = pre_activations(now.weights, now.noise[0], part)
        outputs: Float[Array, "n k"] = smoothed_relu(pre, study.network.relu_power, study.network.relu_threshold).sum(
            (1, 3)
        )
        return Intervened(now, memory, wrong_samples(outputs, task.data.labels).astype(jnp.int32))

    return jax.lax.map(one, (keys, networks))

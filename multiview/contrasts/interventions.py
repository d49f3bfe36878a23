r"""Changes to training that follow-up work proposes: mixup, dropped patches, smoothed labels, other optimisers.

A patch enters a neuron through $\langle w, x_p\rangle$ alone, so a mixture of two samples' patches has the mixture of
their pre-activations, in the limit of large d too: $\lambda\langle w, x_p\rangle + (1-\lambda)\langle w, x'_p\rangle$.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jaxtyping import Float, Key

from multiview import devices
from multiview.config import ConfigError, Study
from multiview.contrasts.descent import wrong_samples
from multiview.network import Parameters, init, logits
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


def _outputs(parameters: Parameters, part: DenseVectors, study: Study) -> Float[Array, "n k"]:
    """Logits on all samples, the last of which have noise; only theirs is tracked."""
    (noise,) = parameters.noise
    if noise is None or part.noise_norm is None:
        return logits(parameters, (part,), study.network)
    first = len(part.vectors) - len(noise)
    parts = DenseVectors(part.vectors[:first], None), DenseVectors(part.vectors[first:], part.noise_norm[first:])
    return logits(Parameters(parameters.weights, (None, noise)), parts, study.network)


def _mixed(
    parameters: Parameters, part: DenseVectors, share: Float[Array, " n"], partner: Array
) -> tuple[Parameters, DenseVectors]:
    """Mixtures of samples: vectors are mixed before the neurons see them, and so is the noise that is tracked."""
    (noise,) = parameters.noise
    n = len(part.vectors)
    vectors = share[:, None, None] * part.vectors + (1 - share)[:, None, None] * part.vectors[partner]
    if noise is None or part.noise_norm is None:
        return parameters, DenseVectors(vectors, None)
    first = n - len(noise)
    one_hot = jax.nn.one_hot(jnp.arange(n), n, dtype=share.dtype)
    mixing = share[:, None] * one_hot + (1 - share)[:, None] * one_hot[partner]
    mixed_noise = jnp.einsum("ns,spkm->npkm", mixing[:, first:], part.noise_norm[first:, :, None, None] * noise)
    return Parameters(parameters.weights, (mixed_noise,)), DenseVectors(vectors, jnp.ones_like(vectors[..., 0]))


def _loss(
    parameters: Parameters, key: Array, part: DenseVectors, task: Task, study: Study, intervention: Intervention
) -> Array:
    """The weighted cross-entropy of one step's samples."""
    data, k, dtype = task.data, study.data.num_classes, part.vectors.dtype
    partner_key, mix_key, drop_key = jax.random.split(key, 3)
    targets = jax.nn.one_hot(data.labels, k, dtype=dtype)
    n, patches = part.vectors.shape[:2]
    if intervention.mixup != "none":
        # A partner is drawn by its weight, so that rare samples stay as rare.
        partner = jax.random.choice(partner_key, n, (n,), p=data.weights / data.weights.sum())
        uniform = jax.random.uniform(mix_key, (n,), dtype)
        share = uniform if intervention.mixup == "uniform" else jnp.full(n, 0.5, dtype)
        parameters, part = _mixed(parameters, part, share, partner)
        targets = share[:, None] * targets + (1 - share)[:, None] * targets[partner]
    if intervention.dropped_patches > 0:
        kept = jax.random.bernoulli(drop_key, 1 - intervention.dropped_patches, (n, patches)).astype(dtype)
        norm = None if part.noise_norm is None else kept * part.noise_norm
        part = DenseVectors(kept[..., None] * part.vectors, norm)
    outputs = _outputs(parameters, part, study)
    smoothing = intervention.label_smoothing
    targets = (1 - smoothing) * targets + smoothing / k
    return -(data.weights[:, None] * targets * jax.nn.log_softmax(outputs)).sum()


class Intervened(NamedTuple):
    """Networks after training with an intervention, leading axis seed.

    Attributes:
        parameters: weights [S, kL, k, m] and the noise overlaps of the samples that have noise, which come last.
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
    first = int((np.asarray(task.data.noise_norms).max(1) == 0).cumprod().sum())
    return _begin(study, task, keys, intervention, first)


@partial(devices.jit_for_draws, static_argnames=("study", "intervention", "first"))
def _begin(study: Study, task: Task, keys: Key[Array, " s"], intervention: Intervention, first: int) -> Intervened:
    """Starts, with the noise of samples from number `first` on."""
    part, optimizer = vectors(task.data, study.data), make_optimizer(study, intervention)

    def one(key: Array) -> Intervened:
        dimension = part.vectors.shape[-1]
        start = init(key, (part,), dimension, study.data.num_classes, study.network, part.vectors.dtype)
        start = Parameters(start.weights, tuple(None if a is None else a[first:] for a in start.noise))
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
        outputs = _outputs(now, part, study)
        return Intervened(now, memory, wrong_samples(outputs, task.data.labels).astype(jnp.int32))

    return jax.lax.map(one, (keys, networks))

"""Training one network: the pure step and the loop. `systems.blocks` trains many."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float, Key

from multiview.config import DistillConfig, NetworkConfig, TrainConfig
from multiview.network.outputs import logits
from multiview.network.parameters import Parameters
from multiview.training.augmentation import Seen, changed
from multiview.training.losses import cross_entropy_logit_gradient, distillation_logit_gradient
from multiview.world.patches import Patches
from multiview.world.task import Task


def _let_values_be_traced(section: type) -> None:
    """Register a section of the configuration with JAX: fields declared `traced` are arguments of a compiled program,
    the others part of it. Studies that differ in traced fields alone share one program."""
    fields = dataclasses.fields(section)
    traced = [f.name for f in fields if f.metadata["traced"]]
    static = [f.name for f in fields if not f.metadata["traced"]]
    jax.tree_util.register_dataclass(section, data_fields=traced, meta_fields=static)


for _section in (NetworkConfig, TrainConfig, DistillConfig):
    _let_values_be_traced(_section)


class TrainingState(NamedTuple):
    """What the next step needs: the parameters, the optimiser's own state, and where mini-batches come from.

    Attributes:
        parameters: the network.
        optimizer_state: of optax, or of the flow.
        batch_key: the data of the key of all that steps draw: mini-batches, mixtures, dropped patches; else nothing.
    """

    parameters: Parameters
    optimizer_state: Any
    batch_key: Any = ()


def make_optimizer(train: TrainConfig) -> optax.GradientTransformation:
    """The named optax optimiser at the study's learning rate; "sgd" is plain gradient descent, or with momentum.

    Weight decay λ w is part of the gradient that the optimiser gets.
    """
    optimizer: optax.GradientTransformation
    if train.momentum > 0:
        optimizer = optax.sgd(train.learning_rate * (1 - train.momentum), train.momentum)
    else:
        optimizer = getattr(optax, train.optimizer)(train.learning_rate)
    return optax.chain(optax.add_decayed_weights(train.weight_decay), optimizer) if train.weight_decay else optimizer


def logit_gradient(
    outputs: Float[Array, "n k"],
    taught: Array,
    task: Task,
    teacher_logits: Float[Array, "n k"] | None,
    distill: DistillConfig | None,
    targets: Array | None = None,
) -> Float[Array, "n k"]:
    """The gradient of everything that trains, in the logits: cross-entropy, and the teacher's term where `taught`.

    Targets are the task's labels, unless others are given.
    """
    push = cross_entropy_logit_gradient(outputs, task.data.labels if targets is None else targets, task.data.weights)
    if distill is None or teacher_logits is None:
        return push
    term = distillation_logit_gradient(outputs, teacher_logits, task.data.weights, distill)
    return push + jnp.where(taught, distill.weight, 0.0).astype(push.dtype) * term


def mini_batch(weights: Float[Array, " n"], key: Key[Array, ""], index: Array, size: int) -> Float[Array, " n"]:
    r"""Sample weights of a step's mini-batch: $w_n N/B$ for B of the N samples, drawn without replacement, else 0.

    Their mean over batches is w, so the gradient's is the full one. All samples are evaluated, and a step costs what a
    full one does.

    Args:
        weights: w of all samples.
        key: of all mini-batches of this network.
        index: number of the step.
        size: B ≥ 1; more than N means all.

    Returns:
        Weights of this step.
    """
    count = weights.shape[0]
    size = min(size, count)
    drawn = jax.random.permutation(jax.random.fold_in(key, index), count) < size
    return jnp.where(drawn, weights * (count / size), 0)


def step(
    state: TrainingState,
    index: Array,
    task: Task,
    teacher_logits: Float[Array, "n k"] | None,
    network: NetworkConfig,
    train: TrainConfig,
    distill: DistillConfig | None,
) -> TrainingState:
    """One step, on all samples or on a mini-batch (`train.batch_size`).

    The logits' gradient is that of the cross-entropy, plus, once `index` has reached `distill.onset_step`,
    `distill.weight` times the distillation term. Without a teacher samples and targets are those that `train.mixup`,
    `train.dropped_patches` and `train.label_smoothing` make of them (`augmentation.changed`); with one they are plain,
    because it has answered the samples themselves. Momentum and weight decay act in every step.

    Args:
        state: parameters and optimiser state.
        index: number of the step.
        task: the training samples.
        teacher_logits: the (scaled) teacher on the same samples; None without a teacher.
        network: activation.
        train: optimiser and learning rate.
        distill: the distillation term; None without a teacher.

    Returns:
        The next state.
    """
    taught = jnp.asarray(False if distill is None else index >= distill.onset_step)
    key: Any = jax.random.wrap_key_data(state.batch_key) if train.draws else None
    if train.batch_size:
        weights = mini_batch(task.data.weights, key, jnp.asarray(index), train.batch_size)
        task = task._replace(data=dataclasses.replace(task.data, weights=weights))

    def plain(parameters: Parameters) -> tuple[Parameters, Patches]:
        return parameters, task.patches

    seen: Seen = plain
    targets = task.data.labels
    if teacher_logits is None:
        k = state.parameters.weights.shape[1]
        seen, targets = changed(task.patches, task.data, k, key, jnp.asarray(index), train)
    outputs, pull_back = jax.vjp(lambda p: logits(*seen(p), network), state.parameters)
    push = logit_gradient(outputs, taught, task, teacher_logits, distill, targets)
    (gradient,) = pull_back(push)
    updates, optimizer_state = make_optimizer(train).update(gradient, state.optimizer_state, state.parameters)
    return TrainingState(optax.apply_updates(state.parameters, updates), optimizer_state, state.batch_key)


def advance(
    state: TrainingState,
    first_step: Array | int,
    last_step: Array | int,
    task: Task,
    teacher_logits: Float[Array, "n k"] | None,
    network: NetworkConfig,
    train: TrainConfig,
    distill: DistillConfig | None,
) -> TrainingState:
    """Take the steps `first_step` … `last_step` − 1 on the device, without a word to the host."""
    return jax.lax.fori_loop(
        first_step,
        last_step,
        lambda index, s: step(s, index, task, teacher_logits, network, train, distill),
        state,
    )

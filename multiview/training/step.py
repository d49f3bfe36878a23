"""Training of one network by gradient descent: the pure step and its loop. `systems.blocks` trains many networks.

Section 4 of docs/theory.md.
"""

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
from multiview.training.augmentation import Seen, change_samples
from multiview.training.losses import cross_entropy_logit_gradient, distillation_logit_gradient
from multiview.training.optimizer import make_optimizer
from multiview.world.patches import Patches
from multiview.world.task import Task


def _let_values_be_traced(section: type) -> None:
    """Register a section of the configuration as a JAX pytree.

    Fields declared `traced` are arguments of a compiled program, all others are part of it. So studies that differ in
    traced fields only share one program.
    """
    fields = dataclasses.fields(section)
    traced = [f.name for f in fields if f.metadata["traced"]]
    static = [f.name for f in fields if not f.metadata["traced"]]
    jax.tree_util.register_dataclass(section, data_fields=traced, meta_fields=static)


for _section in (NetworkConfig, TrainConfig, DistillConfig):
    _let_values_be_traced(_section)


class TrainingState(NamedTuple):
    """The state of training: parameters, optimiser, and the key of random draws.

    Attributes:
        parameters: the network.
        optimizer_state: the state of the optax optimiser, or the `FlowState` of the gradient flow.
        batch_key: data of the key from which steps draw mini-batches, mixtures and dropped patches; () if they draw
            nothing.
        idle: overlap with a direction that no training sample has, in units of its start, and the optimiser's state for
            it; () where such overlaps stay what they were.
    """

    parameters: Parameters
    optimizer_state: Any
    batch_key: Any = ()
    idle: Any = ()


def logit_gradient(
    outputs: Float[Array, "n k"],
    taught: Array,
    task: Task,
    teacher_logits: Float[Array, "n k"] | None,
    distill: DistillConfig | None,
    targets: Array | None = None,
) -> Float[Array, "n k"]:
    """Compute the logit gradient of the whole objective: the cross-entropy, plus the distillation term if `taught`.

    Args:
        outputs: logits F.
        taught: whether distillation has started, a truth value [].
        task: the training samples.
        teacher_logits: the teacher's (scaled) logits on the training samples; None without a teacher.
        distill: the distillation term; None without a teacher.
        targets: labels [n] or distributions over classes [n, k]; by default the task's labels.

    Returns:
        The gradient [n, k].
    """
    push = cross_entropy_logit_gradient(outputs, task.data.labels if targets is None else targets, task.data.weights)
    if distill is None or teacher_logits is None:
        return push
    term = distillation_logit_gradient(outputs, teacher_logits, task.data.weights, distill)
    return push + jnp.where(taught, distill.weight, 0.0).astype(push.dtype) * term


def mini_batch(weights: Float[Array, " n"], key: Key[Array, ""], index: Array, size: int) -> Float[Array, " n"]:
    r"""Draw a mini-batch as sample weights: $w_n N/B$ for B of the N samples, drawn without replacement, else 0.

    The mean of these weights over batches is w, so the mean gradient is the full gradient. All samples are evaluated:
    a step costs as much as a step on all samples.

    Args:
        weights: weights w of all samples.
        key: typed key of all mini-batches of this network.
        index: number of the step.
        size: B ≥ 1; above N all samples are taken.

    Returns:
        Sample weights in this step [n].
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
    """Take one step, on all samples or on a mini-batch (`train.batch_size`).

    The logit gradient is that of the cross-entropy; from step `distill.onset_step` on, `distill.weight` times the
    distillation term is added. Without a teacher, samples and targets are changed by `train.mixup`,
    `train.dropped_patches` and `train.label_smoothing` (`augmentation.change_samples`). With a teacher they stay
    unchanged, because the teacher has answered the unchanged samples. Momentum and weight decay act in every step.

    Args:
        state: parameters and optimiser state.
        index: number of the step.
        task: the training samples.
        teacher_logits: the teacher's (scaled) logits on the training samples; None without a teacher.
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
        seen, targets = change_samples(task.patches, task.data, k, key, jnp.asarray(index), train)
    outputs, pull_back = jax.vjp(lambda p: logits(*seen(p), network), state.parameters)
    push = logit_gradient(outputs, taught, task, teacher_logits, distill, targets)
    (gradient,) = pull_back(push)
    optimizer, idle = make_optimizer(train), state.idle
    updates, optimizer_state = optimizer.update(gradient, state.optimizer_state, state.parameters)
    if idle:
        change, own = optimizer.update(jnp.zeros_like(idle[0]), idle[1], idle[0])
        idle = (optax.apply_updates(idle[0], change), own)
    return TrainingState(optax.apply_updates(state.parameters, updates), optimizer_state, state.batch_key, idle)


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
    """Take the steps `first_step` … `last_step` − 1 in one loop on the device; the arguments are those of `step`."""
    return jax.lax.fori_loop(
        first_step,
        last_step,
        lambda index, s: step(s, index, task, teacher_logits, network, train, distill),
        state,
    )

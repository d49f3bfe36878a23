r"""The paper's contrasts in the place of the network (`Study.system`), through all of a study.

- `average`: the mean of all networks' outputs, trained jointly (`contrasts.average`) with step size K η;
- `lazy`: networks at the output scale α (`contrasts.lazy_dial`), at `lazy_dial.learning_rate` but not above the next;
- `linearised`: networks linearised at their start (`contrasts.linearised`), at `linear.step_size`;
- `random_features`: second layers on frozen first ones (`contrasts.random_features`), at `linear.step_size`.

Start weights, training sets and test samples are those of the networks of the same seeds. So are overlaps with noise,
but for linear systems in the limit of large d, which see patches as vectors and draw their own.

From the labels systems take `train.num_steps` steps, students those of their onset, and up to `LONGER` times as many
while a training sample is wrong; the measure `gradient_evaluations` says how many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from multiview import streams
from multiview.config import DistillConfig, NetworkConfig, Study
from multiview.measures.recorded import record_measures
from multiview.measures.training_error import cross_entropy
from multiview.network.parameters import Parameters, init
from multiview.precision import in_own_precision
from multiview.systems import average, linear, linearised, random_features
from multiview.systems import lazy as lazy_dial
from multiview.training import blocks as batching
from multiview.training import devices, memory
from multiview.training.blocks import (
    Progress,
    Trained,
    block_logits,
    block_size,
    start_keys,
    train_networks,
)
from multiview.training.step import TrainingState
from multiview.world.patches import DenseVectors, of_type, vectors
from multiview.world.task import Task

LONGER = 16  # a system whose training error is not 0 after its steps gets up to so many times as many
# A linear student's step size is 1 + weight/T times smaller than without a teacher; it takes so many times the steps.
LINEAR_STUDENT_STEPS = 10


class Linear(NamedTuple):
    """A system that is linear in what it trains: its model, what training changed, its outputs on any samples."""

    model: Callable[..., Any]
    change: Callable[..., Array]
    outputs: Callable[..., Array]


LINEAR = {
    "linearised": Linear(linearised.tangent_model, linearised.weight_change, linearised.linearised_outputs),
    "random_features": Linear(
        random_features.random_feature_model, random_features.readout_change, random_features.random_feature_outputs
    ),
}


class LinearMemory(NamedTuple):
    """What answers and further training of linear members need, in the place of an optimiser's state.

    Attributes:
        weights: of the starts [S, D, k, m].
        change: what training changed, in the weights or in the second layer [S, …].
        dual: coefficients of the training samples [S, N, k].
    """

    weights: Array
    change: Array
    dual: Array


def train_members(
    study: Study, task: Task, keys: Array, steps: int, features: Array | None = None, progress: Progress | None = None
) -> Trained:
    """Train the system's members from the labels alone.

    Args:
        study: the configuration; `system` says which.
        task: training samples.
        keys: typed keys of the starts [S].
        steps: to take, up to `LONGER` times as many while a training sample is wrong.
        features: feature vectors in the dense representation, for the records.
        progress: see `batching.train_networks`.

    Returns:
        The members, with records of the start and the end. In their states a `LinearMemory`, or the start weights of
        lazy members, stands in the optimiser's place, and the starts' keys in that of the mini-batches'.

    Raises:
        ConfigError: a block does not fit the memory.
    """
    return _train(study, task, keys, steps, features, progress)


def own_phase(
    studies: Sequence[Study], task: Task, replicate: int, onset_step: int, *, generation: int = 0,
    features: Array | None = None, progress: Progress | None = None,
) -> Trained:  # fmt: skip
    """`distillation.own_phase` of the system's members, of one study."""
    (study,) = studies
    keys = start_keys(study, streams.STUDENT_START, replicate, range(study.students), generation)
    return _train(study, task, keys, onset_step, features, progress)


def distil(
    studies: Sequence[Study], task: Task, students: Trained, teacher_logits: np.ndarray,
    distill: Sequence[DistillConfig], *, features: Array | None = None, progress: Progress | None = None,
) -> Trained:  # fmt: skip
    """`distillation.distil` of the system's members, of one study."""
    keys = jax.random.wrap_key_data(jnp.asarray(students.state.batch_key))
    taught = students.state, teacher_logits, distill[0]
    return _train(studies[0], task, keys, distill[0].num_steps, features, progress, *taught)


@in_own_precision
def answers(study: Study, groups: Sequence[Trained], noise_keys: Array, test: Task) -> np.ndarray:
    """Logits of members on test samples, with fresh noise directions [S, n, k].

    Args:
        study: the configuration.
        groups: the members, group after group.
        noise_keys: typed keys of the noise [S].
        test: the samples.
    """
    kept = [g.state.optimizer_state for g in groups]
    if study.system == "lazy":
        # Training moves no weight along fresh directions: the same key is the same noise for start and end.
        moved = np.concatenate([g.weights for g in groups])
        now, start = (block_logits(study, w, noise_keys, test) for w in (moved, np.concatenate(kept)))
        return np.asarray(study.output_scale * (now - start))
    weights, change = (np.concatenate([getattr(m, name) for m in kept]) for name in ("weights", "change"))
    seen, k = _as_vectors(study, test), study.data.num_classes

    def one_block(indices: np.ndarray, real: int, device: jax.Device) -> Array:
        of_block = (weights[indices], change[indices], noise_keys[indices])
        with jax.default_matmul_precision(study.train.matrix_precision):
            return _linear_answers(study.system, of_block, seen, study.network, k)

    return np.asarray(devices.over_blocks(len(noise_keys), block_size(study.train), _at_a_time(0), one_block))


def _as_vectors(study: Study, task: Task) -> DenseVectors:
    return of_type(vectors(task.data, study.data), jnp.dtype(study.train.dtype))


@in_own_precision
def train_average(
    study: Study, task: Task, keys: Array, features: Array | None = None, progress: Progress | None = None
) -> Trained:
    """The members of one jointly trained average; the mean of their outputs, their ensemble, is the average itself.

    What is recorded of training at the end, errors and loss, is the average's: members alone are not trained to answer.
    """
    steps = study.train.num_steps
    _in_flight(study, task)
    begun = train_networks(study, task, keys, num_steps=0, features=features)
    with jax.default_matmul_precision(study.train.matrix_precision):
        joint = average.train_average(study, task, keys, min_steps=steps, max_steps=LONGER * steps)
    state = begun.state._replace(parameters=joint.parameters)
    ended = train_networks(study, task, None, resume=state, num_steps=0, features=features)
    records = {n: np.concatenate([begun.records[n], ended.records[n]], axis=1) for n in ended.records}
    labels, weights = task.data.labels, task.data.weights
    of_average = {
        "train_wrong": joint.train_wrong,
        "train_error": jnp.where(joint.train_logits.argmax(-1).astype(labels.dtype) != labels, weights, 0).sum(),
        "train_loss": cross_entropy(joint.train_logits, labels, weights),
    }
    for name, value in of_average.items():
        records[name][:, -1] = np.asarray(value)
    records["gradient_evaluations"] = np.tile([0, int(joint.steps)], (len(keys), 1))
    if progress is not None:
        progress(len(keys) * steps)
    return ended._replace(times=np.array([0, steps]), records=records)


def block_bytes(study: Study, task: Task) -> int:
    """Predicted peak memory while members train (`memory.linear_numbers`): those of a block follow one another, and
    those of an average train together."""
    if study.system == "average":
        return batching.block_bytes(study, task, study.seeds)
    (n, p), dimension = task.data.coefficients.shape, task.dimension(study.data.num_features)
    k, m, item = study.data.num_classes, study.network.neurons_per_class, jnp.dtype(study.train.dtype).itemsize
    tangents, noise = study.system != "random_features", task.data.patches is None
    numbers = memory.linear_numbers(n, p, dimension, k, m, tangents=tangents, noise=noise)
    kept = block_size(study.train) * memory.linear_state(n, dimension, k, m)
    vectors_and_samples = 2 * n * p * dimension
    block = round(item * (numbers + kept + vectors_and_samples))
    return block + (batching.block_bytes(study, task) if study.system == "lazy" else 0)


def memory_plan(study: Study, task: Task) -> str:
    """`batching.memory_plan` of the system's members.

    Raises:
        ConfigError: one block does not fit the budget.
    """
    size, at_once = block_size(study.train), _in_flight(study, task)
    if study.system == "average":
        size, at_once = study.seeds, 1
    return batching.plan_in_words(block_bytes(study, task), size, at_once)


def _in_flight(study: Study, task: Task) -> int:
    advice = "lower seeds or data.num_train" if study.system == "average" else "lower data.num_train"
    return _at_a_time(block_bytes(study, task), advice)


def _at_a_time(needed: int, advice: str = "") -> int:
    """Blocks in flight, if one fits. On the CPU one: two of these programs at once were seen to wait for ever (jax
    0.10, two cores), likely each for threads of XLA's pool that the other held."""
    at_once = devices.blocks_in_flight(needed, advice)
    return 1 if jax.default_backend() == "cpu" else at_once


@in_own_precision
def _train(
    study: Study, task: Task, keys: Array, steps: int, features: Array | None, progress: Progress | None,
    own: TrainingState | None = None, teacher_logits: np.ndarray | None = None, distill: DistillConfig | None = None,
) -> Trained:  # fmt: skip
    """Begin (without `own`) or go on with a teacher, block by block."""
    part, k = _as_vectors(study, task), study.data.num_classes
    dimension, times = task.dimension(study.data.num_features), np.array([0, steps])
    least = steps if own is None or study.system == "lazy" else LINEAR_STUDENT_STEPS * steps
    most = LONGER * steps if own is None else least
    shapes = k, dimension, study.data.num_views
    rate = lazy_dial.learning_rate(study, study.output_scale) if study.system == "lazy" else 0.0

    def one_block(indices: np.ndarray, real: int, device: jax.Device) -> Any:
        state, teacher = jax.tree.map(lambda a: a[indices], (own, teacher_logits))
        of_block = (keys[indices], state, teacher)
        given = task, part, features, study.network, distill, least, most
        with jax.default_matmul_precision(study.train.matrix_precision):
            if study.system == "lazy":
                found = _lazy_block(of_block, *given, study.output_scale, rate, *shapes)
            else:
                found = _linear_block(study.system, of_block, *given, *shapes)
        jax.block_until_ready(found)
        if progress is not None:
            progress(steps * real)
        return found

    in_flight = _in_flight(study, task)
    state, logits, records = devices.over_blocks(len(keys), block_size(study.train), in_flight, one_block)
    finite = np.isfinite(logits).all((1, 2)) & np.isfinite(state.parameters.weights).all((1, 2, 3))
    return Trained(state, logits, times, records, finite)


def _recorded(
    moments: Sequence[tuple[Parameters, Array]],
    task: Task,
    features: Array | None,
    num_views: int,
    steps: Array,
) -> dict[str, Array]:
    """The usual measures before and after, each of parameters and outputs, and the steps that were taken [T, …]."""
    taken = [record_measures(p, outputs, task, features, num_views) for p, outputs in moments]
    return jax.tree.map(lambda *a: jnp.stack(a), *taken) | {"gradient_evaluations": jnp.stack([0 * steps, steps])}


@partial(jax.jit, static_argnames=("system", "num_classes", "dimension", "num_views"))
def _linear_block(
    system: str, block: tuple[Any, Any, Any], task: Task, part: DenseVectors, features: Array | None,
    network: NetworkConfig, distill: DistillConfig | None, steps: int, longest: int, num_classes: int, dimension: int,
    num_views: int,
) -> Any:  # fmt: skip
    kind, seen = LINEAR[system], Task(task.data, (part,))
    labels, weights = task.data.labels, task.data.weights

    def one(given: tuple[Array, TrainingState | None, Array | None]) -> Any:
        key, state, teacher = given
        start = init(key, (part,), dimension, num_classes, network, weights.dtype)
        model = kind.model(start, part, network)
        before = jnp.zeros_like(model.start_logits) if state is None else state.optimizer_state.dual
        fitted = linear.fit(
            model, labels, weights, min_steps=steps, max_steps=longest, dual=before, teacher_logits=teacher,
            distill=distill,
        )  # fmt: skip

        def reached(dual: Array) -> Parameters:
            """The network's parameters where they are what is trained; frozen ones otherwise."""
            return linearised.moved(start, part, network, dual) if system == "linearised" else start

        moments = [(reached(before), linear.outputs(model, before)), (reached(fitted.dual), fitted.train_logits)]
        records = _recorded(moments, seen, features, num_views, fitted.steps)
        kept = LinearMemory(start.weights, kind.change(start, part, network, fitted.dual), fitted.dual)
        ended = TrainingState(Parameters(moments[1][0].weights, ()), kept, jax.random.key_data(key))
        return ended, fitted.train_logits, records

    return jax.lax.map(one, block)


@partial(jax.jit, static_argnames=("system", "num_classes"))
def _linear_answers(
    system: str, block: tuple[Array, Array, Array], part: DenseVectors, network: NetworkConfig, num_classes: int
) -> Array:
    def one(given: tuple[Array, Array, Array]) -> Array:
        weights, change, key = given
        fresh = init(key, (part,), weights.shape[0], num_classes, network, weights.dtype)
        return LINEAR[system].outputs(Parameters(weights, fresh.noise), change, part, network)

    return jax.lax.map(one, block)


@partial(jax.jit, static_argnames=("num_classes", "dimension", "num_views"))
def _lazy_block(
    block: tuple[Any, Any, Any], task: Task, part: DenseVectors, features: Array | None, network: NetworkConfig,
    distill: DistillConfig | None, steps: int, longest: int, output_scale: float, rate: float, num_classes: int,
    dimension: int, num_views: int,
) -> Any:  # fmt: skip
    weights = task.data.weights

    def one(given: tuple[Array, TrainingState | None, Array | None]) -> Any:
        key, state, teacher = given
        start = init(key, task.patches, dimension, num_classes, network, weights.dtype)
        before = start if state is None else state.parameters
        begin = init(key, (part,), dimension, num_classes, network, weights.dtype)
        tangents = linearised.tangent_model(begin, part, network)
        stable = linear.step_size(tangents.gram, weights, distill) / output_scale**2
        ended = lazy_dial.go_on(
            start, before, task, network, output_scale, jnp.minimum(rate, stable), steps, longest,
            teacher_logits=teacher, distill=distill,
        )  # fmt: skip
        outputs = lazy_dial.dial_outputs(before, start, task.patches, network, output_scale)
        moments = [(before, outputs), (ended.parameters, ended.train_logits)]
        records = _recorded(moments, task, features, num_views, ended.steps)
        now = TrainingState(ended.parameters, start.weights, jax.random.key_data(key))
        return now, ended.train_logits, records

    return jax.lax.map(one, block)

r"""The paper's contrasts in the place of the network (`Study.system`), through all of a study.

| system | what is trained | step size |
|---|---|---|
| `average` | the mean of all networks' outputs, jointly (`contrasts.average`) | K η |
| `lazy` | networks at the output scale α (`contrasts.lazy_dial`) | `lazy_dial.learning_rate`, at most the next row's |
| `linearised` | networks linearised at their start (`contrasts.linearised`) | `linear.step_size` |
| `random_features` | second layers on frozen first layers (`contrasts.random_features`) | `linear.step_size` |

Starts, training sets, test samples and test noise are those of the networks of the same seeds. Systems take
`train.num_steps` steps, and up to `LONGER` times as many while a training sample is wrong; the measure
`gradient_evaluations` says how many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from multiview import devices
from multiview.batching import Trained, block_logits, block_size, record_measures, train_networks
from multiview.config import DistillConfig, NetworkConfig, Study
from multiview.contrasts import average, lazy_dial, linear, linearised, random_features
from multiview.losses import cross_entropy
from multiview.network import Parameters, init
from multiview.representations import DenseVectors, vectors
from multiview.training import Task, TrainingState

LONGER = 16  # a system whose training error is not 0 after its steps gets up to so many times as many
# A linear student's step size is 1 + weight/T times smaller than without a teacher; it takes so many times the steps.
LINEAR_STUDENT_STEPS = 10
# Blocks in flight. Two of these programs at once can wait for each other for ever: each holds a thread of XLA's pool on
# the CPU while its products wait for one.
AT_A_TIME = 1


class Linear(NamedTuple):
    """A system that is linear in what it trains: its model, what training changed, its outputs on any samples."""

    model: Callable[..., linear.LinearModel]
    change: Callable[..., Array]
    outputs: Callable[..., Array]


LINEAR = {
    "linearised": Linear(linearised.tangent_model, linearised.weight_change, linearised.linearised_outputs),
    "random_features": Linear(
        random_features.random_feature_model, random_features.readout_change, random_features.random_feature_outputs
    ),
}


class Members(NamedTuple):
    """Trained members of a system.

    Attributes:
        trained: what a study keeps of them.
        memory: what their answers and further training need, arrays with leading axis S.
    """

    trained: Trained
    memory: Any


class LinearMemory(NamedTuple):
    """Of linear members: start weights [S, D, k, m], what training changed, dual coefficients [S, N, k]."""

    weights: Array
    change: Array
    dual: Array


class LazyMemory(NamedTuple):
    """Of lazy members: start weights [S, D, k, m], and the parameters now."""

    start: Array
    now: Parameters


def train_members(study: Study, task: Task, keys: Array, features: Array | None = None) -> Members:
    """Train the system's members from the labels alone.

    Args:
        study: the configuration; `system` says which.
        task: training samples.
        keys: typed keys of the starts [S].
        features: feature vectors in the dense representation, for the records.

    Returns:
        The members, with records of the start and the end.
    """
    return _train(study, task, keys, study.train.num_steps, features)


def teach(
    study: Study, task: Task, keys: Array, onset: int, teacher_logits: np.ndarray, distill: DistillConfig,
    features: Array | None = None,
) -> Members:  # fmt: skip
    """Students of the system's kind: `onset` steps from the labels, then `distill.num_steps` with the teacher.

    Args:
        study: the configuration.
        task: training samples.
        keys: typed keys of the starts [S].
        onset: steps before the teacher sets in.
        teacher_logits: scaled, on the training samples [S, N, k].
        distill: the distillation term.
        features: see `train_members`.
    """
    own = _train(study, task, keys, onset, features)
    return _train(study, task, keys, distill.num_steps, features, own, teacher_logits, distill)


def answers(study: Study, train: Task, memory: Any, noise_keys: Array, test: Task) -> np.ndarray:
    """Logits of members on test samples, with fresh noise directions [S, n, k].

    Args:
        study: the configuration.
        train: their training samples.
        memory: of the members; of several groups, joined.
        noise_keys: typed keys of the noise [S].
        test: the samples.
    """
    if isinstance(memory, LazyMemory):
        # Training moves no weight along fresh directions: the same key is the same noise for start and end.
        now, start = (block_logits(study, w, noise_keys, test) for w in (memory.now.weights, memory.start))
        return np.asarray(study.output_scale * (now - start))
    seen, k = vectors(test.data, study.data), study.data.num_classes

    def one_block(indices: np.ndarray, real: int, device: jax.Device) -> Array:
        of_block = jax.tree.map(lambda a: a[indices], (memory.weights, memory.change, noise_keys))
        return _linear_answers(study.system, of_block, seen, study.network, k)

    return np.asarray(devices.over_blocks(len(noise_keys), block_size(study.train), AT_A_TIME, one_block))


def joined(members: Sequence[Members]) -> Any:
    """The memories of several groups of members as one."""
    return jax.tree.map(lambda *a: jnp.concatenate(a), *[m.memory for m in members])


def train_average(study: Study, task: Task, keys: Array, features: Array | None = None) -> Trained:
    """The members of one jointly trained average; the mean of their outputs, their ensemble, is the average itself.

    What is recorded of training at the end, errors and loss, is the average's: members alone are not trained to answer.
    """
    steps = study.train.num_steps
    joint = average.train_average(study, task, keys, min_steps=steps, max_steps=LONGER * steps)
    begun = train_networks(study, task, keys, num_steps=0, features=features)
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
    return ended._replace(times=np.array([0, steps]), records=records)


def _train(
    study: Study, task: Task, keys: Array, steps: int, features: Array | None, own: Members | None = None,
    teacher_logits: np.ndarray | None = None, distill: DistillConfig | None = None,
) -> Members:  # fmt: skip
    """Begin (without `own`) or go on with a teacher, block by block."""
    part, k = vectors(task.data, study.data), study.data.num_classes
    dimension, longest = task.dimension(study.data.num_features), LONGER * steps if own is None else steps
    scale, rate = 1.0, 0.0
    if study.system == "lazy":
        scale, rate = study.output_scale, lazy_dial.learning_rate(study, study.output_scale)
    elif own is not None:
        steps, longest = LINEAR_STUDENT_STEPS * steps, LINEAR_STUDENT_STEPS * steps

    def one_block(indices: np.ndarray, real: int, device: jax.Device) -> Any:
        memory = None if own is None else jax.tree.map(lambda a: a[indices], own.memory)
        teacher = None if teacher_logits is None else jnp.asarray(teacher_logits[indices])
        of_block = (keys[indices], memory, teacher)
        if study.system == "lazy":
            return _lazy_block(
                of_block, task, part, features, study.network, distill, steps, longest, scale, rate, k, dimension,
                study.data.num_views,
            )  # fmt: skip
        return _linear_block(
            study.system, of_block, task, part, features, study.network, distill, steps, longest, k, dimension,
            study.data.num_views,
        )  # fmt: skip

    parameters, memory, logits, records = devices.over_blocks(len(keys), block_size(study.train), AT_A_TIME, one_block)
    finite = np.isfinite(logits).all((1, 2)) & np.isfinite(parameters.weights).all((1, 2, 3))
    times = np.array([0, distill.num_steps if distill else steps])
    trained = Trained(TrainingState(parameters, ()), logits, times, records, finite)
    return Members(trained, memory)


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

    def one(given: tuple[Array, LinearMemory | None, Array | None]) -> Any:
        key, memory, teacher = given
        start = init(key, (part,), dimension, num_classes, network, weights.dtype)
        model = kind.model(start, part, network)
        fitted = linear.fit(
            model, labels, weights, min_steps=steps, max_steps=longest, dual=None if memory is None else memory.dual,
            teacher_logits=teacher, distill=distill,
        )  # fmt: skip

        def reached(dual: Array) -> Parameters:
            """The network's parameters where they are what is trained; frozen ones otherwise."""
            if system != "linearised":
                return start
            return linearised.moved(start, part, network, dual)

        before = jnp.zeros_like(fitted.dual) if memory is None else memory.dual
        outputs = linear.outputs(model, before)
        moments = [(reached(before), outputs), (reached(fitted.dual), fitted.train_logits)]
        records = _recorded(moments, seen, features, num_views, fitted.steps)
        change = kind.change(start, part, network, fitted.dual)
        kept = LinearMemory(start.weights, change, fitted.dual)
        return Parameters(moments[1][0].weights, ()), kept, fitted.train_logits, records

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
    def one(given: tuple[Array, LazyMemory | None, Array | None]) -> Any:
        key, memory, teacher = given
        start = init(key, task.patches, dimension, num_classes, network, task.data.weights.dtype)
        before = start if memory is None else memory.now
        dtype = task.data.weights.dtype
        tangents = linearised.tangent_model(init(key, (part,), dimension, num_classes, network, dtype), part, network)
        stable = linear.step_size(tangents.gram, task.data.weights, distill) / output_scale**2
        ended = lazy_dial.go_on(
            start, before, task, network, output_scale, jnp.minimum(rate, stable), steps, longest,
            teacher_logits=teacher, distill=distill,
        )  # fmt: skip
        outputs = lazy_dial.dial_outputs(before, start, task.patches, network, output_scale)
        moments = [(before, outputs), (ended.parameters, ended.train_logits)]
        records = _recorded(moments, task, features, num_views, ended.steps)
        bare = Parameters(ended.parameters.weights, ())
        return bare, LazyMemory(start.weights, ended.parameters), ended.train_logits, records

    return jax.lax.map(one, block)

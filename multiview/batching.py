"""Many networks: one compiled program trains a block of seeds; blocks, records and progress are handled here.

A block always has `train.block_size` networks (short ones are padded), so a network's numbers never depend on
how many others were asked for: seed 7 is the same network, bit by bit, in any batch on one platform.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from multiview import streams
from multiview.analysis import features as feature_measures
from multiview.analysis.memorisation import largest_noise_overlaps
from multiview.config import DistillConfig, NetworkConfig, Study, TrainConfig
from multiview.losses import cross_entropy
from multiview.network import Parameters, feature_overlaps, init, logits
from multiview.training import Task, TrainingState, advance, make_optimizer

Recorder = Callable[[Parameters, Array, Task, Array | None, int], dict[str, Array]]
Progress = Callable[[int], None]  # called with the network-steps that were just finished


class Trained(NamedTuple):
    """A batch of trained networks, leading axis seed.

    Attributes:
        state: parameters and optimiser states, from which training can go on.
        train_logits: final logits on the training samples [S, N, k].
        times: steps at which measures were recorded [T].
        records: recorded measures, each [S, T, …].
        finite: whether every number of the network is finite [S].
    """

    state: TrainingState
    train_logits: np.ndarray
    times: np.ndarray
    records: dict[str, np.ndarray]
    finite: np.ndarray

    @property
    def weights(self) -> Array:
        """Weights or feature overlaps of all networks [S, D, k, m]."""
        return self.state.parameters.weights


def record_measures(
    parameters: Parameters, outputs: Array, task: Task, features: Array | None, num_views: int
) -> dict[str, Array]:
    """The measures recorded by default: Λ, Φ, largest foreign and noise overlaps, training error and loss.

    Without ground-truth features (a user's own dense data) only errors and loss are recorded.
    """
    wrong = outputs.argmax(-1).astype(task.data.labels.dtype) != task.data.labels
    measures = {
        "train_error": jnp.where(wrong, task.data.weights, 0).sum(),
        "train_wrong": wrong.sum(),
        "train_loss": cross_entropy(outputs, task.data.labels, task.data.weights),
    }
    overlaps = feature_overlaps(parameters.weights, features)
    if overlaps.shape[0] != overlaps.shape[1] * num_views:
        return measures
    multi, single = largest_noise_overlaps(parameters, task, features)
    return measures | {
        "largest_overlap": feature_measures.largest_overlap(overlaps, num_views),
        "total_overlap": feature_measures.total_overlap(overlaps, num_views),
        "largest_foreign_overlap": feature_measures.largest_foreign_overlap(overlaps, num_views),
        "noise_overlap_multi_view": multi,
        "noise_overlap_single_view": single,
    }


def record_steps(num_steps: int, num_records: int) -> np.ndarray:
    """Log-spaced steps from 0 to the last, without repeats."""
    if num_steps == 0:
        return np.array([0])
    spaced = np.geomspace(1, num_steps, max(2, num_records - 1))
    return np.unique(np.concatenate([[0], np.round(spaced), [num_steps]])).astype(int)


@partial(jax.jit, static_argnames=("network", "num_classes", "dimension", "train"))
def _start(
    keys: Array, task: Task, network: NetworkConfig, num_classes: int, dimension: int, train: TrainConfig
) -> TrainingState:
    def one(key: Array) -> TrainingState:
        parameters = init(key, task.patches, dimension, num_classes, network, jnp.dtype(train.dtype))
        return TrainingState(parameters, make_optimizer(train).init(parameters))

    return jax.vmap(one)(keys)


@partial(jax.jit, static_argnames=("network", "train", "distill"), donate_argnums=0)
def _advance(
    state: TrainingState,
    first: Array,
    last: Array,
    task: Task,
    teacher: Array | None,
    network: NetworkConfig,
    train: TrainConfig,
    distill: DistillConfig | None,
) -> TrainingState:
    def one(s: TrainingState, t: Array | None) -> TrainingState:
        return advance(s, first, last, task, t, network, train, distill)

    return jax.vmap(one, in_axes=(0, None if teacher is None else 0))(state, teacher)


@partial(jax.jit, static_argnames=("network", "num_views", "recorder"))
def _record(
    parameters: Parameters,
    task: Task,
    features: Array | None,
    network: NetworkConfig,
    num_views: int,
    recorder: Recorder,
) -> tuple[dict[str, Array], Array]:
    def one(p: Parameters) -> tuple[dict[str, Array], Array]:
        outputs = logits(p, task.patches, network)
        return recorder(p, outputs, task, features, num_views), outputs

    return jax.vmap(one)(parameters)


def start_keys(study: Study, stream: int, replicate: int, seeds: Sequence[int], generation: int = 0) -> Array:
    """Typed keys of the starts of the named seeds."""
    base = streams.stream(study.seed, stream, replicate, generation)
    return jax.vmap(lambda s: jax.random.fold_in(base, s))(jnp.asarray(seeds))


def train_networks(
    study: Study,
    task: Task,
    keys: Array | None,
    *,
    num_steps: int,
    features: Array | None = None,
    first_step: int = 0,
    resume: TrainingState | None = None,
    teacher_logits: np.ndarray | Array | None = None,
    distill: DistillConfig | None = None,
    recorder: Recorder = record_measures,
    record_at: Sequence[int] | np.ndarray | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train one network for each key, in blocks of `train.block_size`.

    Args:
        study: configuration.
        task: training samples.
        keys: typed keys of the starts [S]; None with `resume`.
        num_steps: steps to take.
        features: feature vectors in the dense representation, for the records.
        first_step: number of the first step (a student's own phase comes before).
        resume: states to go on from, instead of new starts.
        teacher_logits: scaled teacher logits on the training samples, [S, N, k].
        distill: distillation term, with a teacher.
        recorder: what to record; a pure function of one network, run on the device.
        record_at: when, as steps counted from this call's start; log-spaced by default.
        progress: called with the number of network-steps that were just finished, from any of the worker threads.

    Returns:
        The trained networks.
    """
    data, network, train = study.data, study.network, study.train
    if (keys is None) == (resume is None):
        raise ValueError("give either keys or resume")
    count = len(keys) if keys is not None else len(resume.parameters.weights)  # type: ignore[union-attr]
    size = train.block_size
    times = np.asarray(record_steps(num_steps, train.num_records) if record_at is None else record_at, int)
    dimension = data.patch_dim if task.data.patches is not None else data.num_features
    if task.data.patches is not None:
        dimension = int(task.data.patches.shape[-1])

    def train_block(begin: int) -> tuple[Any, ...]:
        indices = np.minimum(np.arange(begin, begin + size), count - 1)  # the last block repeats its last seed
        real = min(size, count - begin)
        if resume is not None:
            state = jax.tree.map(lambda a: a[indices], resume)
        else:
            state = _start(keys[indices], task, network, data.num_classes, dimension, train)  # type: ignore[index]
        teacher = None if teacher_logits is None else jnp.asarray(teacher_logits)[indices]
        now, recorded = 0, []
        outputs = jnp.zeros(())
        for target in times:
            if target > now:
                first, last = jnp.int32(first_step + now), jnp.int32(first_step + target)
                state = _advance(state, first, last, task, teacher, network, train, distill)
            measures, outputs = _record(state.parameters, task, features, network, data.num_views, recorder)
            outputs.block_until_ready()
            recorded.append(measures)
            if progress is not None:
                progress(int(target - now) * real)
            now = int(target)
        finite = jnp.stack([jnp.isfinite(a).reshape(size, -1).all(1) for a in jax.tree.leaves(state.parameters)]).all(0)
        finite &= jnp.isfinite(outputs).reshape(size, -1).all(1)
        stacked = jax.tree.map(lambda *a: np.stack([np.asarray(x) for x in a], axis=1), *recorded)
        return jax.tree.map(lambda a: a[:real], (state, np.asarray(outputs), stacked, np.asarray(finite)))

    with ThreadPoolExecutor(num_workers()) as pool:
        blocks = list(pool.map(train_block, range(0, count, size)))
    state = jax.tree.map(lambda *a: jnp.concatenate(a), *[b[0] for b in blocks])
    train_logits, records, finite = jax.tree.map(lambda *a: np.concatenate(a), *[b[1:] for b in blocks])
    return Trained(state, train_logits, times, records, finite)


def num_workers() -> int:
    """Blocks in flight: one for each core on the CPU, where a block alone leaves cores idle; one on an accelerator."""
    return (os.cpu_count() or 1) if jax.default_backend() == "cpu" else 1


@partial(jax.jit, static_argnames=("network",))
def _test_logits(weights: Array, keys: Array, task: Task, network: NetworkConfig) -> Array:
    def one(w: Array, key: Array) -> Array:
        # Test patches have fresh noise directions: overlaps N(0, σ₀²), never trained. `init` draws just those.
        fresh = init(key, task.patches, w.shape[0], w.shape[1], network, w.dtype)
        return logits(Parameters(w, fresh.noise), task.patches, network)

    return jax.vmap(one)(weights, keys)


def block_logits(study: Study, weights: Array, keys: Array, task: Task) -> np.ndarray:
    """Logits of all networks on one chunk of test samples [S, n, k], in blocks like training."""
    size = study.train.block_size

    def one_block(begin: int) -> np.ndarray:
        indices = np.minimum(np.arange(begin, begin + size), len(weights) - 1)
        values = _test_logits(weights[indices], keys[indices], task, study.network)
        return np.asarray(values)[: min(size, len(weights) - begin)]

    with ThreadPoolExecutor(num_workers()) as pool:
        return np.concatenate(list(pool.map(one_block, range(0, len(weights), size))))

"""Many networks: one compiled program trains a block of seeds; blocks, records and progress are handled here.

A block always has `train.block_size` networks (short ones are padded), so a network's numbers never depend on
how many others were asked for: seed 7 is the same network, bit by bit, in any batch on one platform. Every network
brings its own traced settings (rate, threshold, start, …) along the block axis, so points of a sweep share blocks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from multiview import streams
from multiview.config import DistillConfig, NetworkConfig, Study, TrainConfig
from multiview.measures.recorded import record_measures
from multiview.network.outputs import fresh_logits, logits
from multiview.network.parameters import Parameters, init
from multiview.precision import in_own_precision
from multiview.training import devices, memory
from multiview.training.flow import flow, start_flow
from multiview.training.step import TrainingState, advance, make_optimizer
from multiview.world.patches import DenseVectors
from multiview.world.task import Task

Recorder = Callable[[Parameters, Array, Task, Array | None, int], dict[str, Array]]
Progress = Callable[[int], None]  # called with the network-steps that were just finished


class Trained(NamedTuple):
    """A batch of trained networks, leading axis seed; NumPy arrays.

    Attributes:
        state: parameters and optimiser states, from which training can go on; weights alone unless they are kept.
        train_logits: final logits on the training samples [S, N, k].
        times: steps at which measures were recorded [T].
        records: recorded measures, each [S, T, …].
        finite: whether every number of the network is finite [S].

    Example:
        >>> import jax
        >>> import multiview as mv
        >>> study = mv.load_preset("smoke")
        >>> data = mv.training_set(study.seed, 0, study.data)
        >>> patches = mv.represent([data], study.data)[0]
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> trained = mv.train_networks(study, mv.Task(data, patches), keys, num_steps=10)
        >>> int(trained.times[-1]), trained.finite
        (10, array([ True,  True]))
    """

    state: TrainingState
    train_logits: np.ndarray
    times: np.ndarray
    records: dict[str, np.ndarray]
    finite: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """Weights or feature overlaps of all networks [S, D, k, m]."""
        return np.asarray(self.state.parameters.weights)


def record_steps(num_steps: int, num_records: int) -> np.ndarray:
    """Log-spaced steps from 0 to the last, without repeats."""
    if num_steps == 0:
        return np.array([0])
    spaced = np.geomspace(1, num_steps, max(2, num_records - 1))
    return np.unique(np.concatenate([[0], np.round(spaced), [num_steps]])).astype(int)


def recorded_steps(study: Study) -> np.ndarray:
    """Steps at which a study's single networks are recorded; its start and its end where a contrast takes their place.

    Args:
        study: the configuration.
    """
    train = study.train
    if study.system != "network":
        return np.array([0, train.num_steps])
    return record_steps(train.num_steps, train.num_records)


# The configuration of all networks, or of each. Those of one call may differ in traced numbers of the sections network,
# train and distill alone.
Each = Study | Sequence[Study]


def _settings(sections: Sequence[Any], dtype: str) -> Any:
    """One section of the configuration of every network: its traced numbers as arrays [S].

    They are arrays for networks with equal settings too, so that there is one program, and with it the same bits,
    whoever shares a block.
    """

    def stacked(*values: float) -> np.ndarray:
        with np.errstate(over="ignore"):
            return np.asarray(values, dtype if isinstance(values[0], float) else np.int32)

    return jax.tree.map(stacked, *sections)


def _of_networks(study: Each, count: int) -> Sequence[Study]:
    studies = [study] * count if isinstance(study, Study) else study
    if len(studies) != count:
        raise ValueError(f"{len(studies)} configurations for {count} networks")
    return studies


@partial(streams.jit_for_draws, static_argnames=("num_classes", "dimension"))
def _start(
    keys: Array,
    task: Task,
    network: NetworkConfig,
    num_classes: int,
    dimension: int,
    train: TrainConfig,
    batch_keys: Array | None = None,
) -> TrainingState:
    def one(key: Array, network: NetworkConfig, train: TrainConfig, batch_key: Array | None) -> TrainingState:
        parameters = init(key, task.patches, dimension, num_classes, network, jnp.dtype(train.dtype))
        if train.solver == "gradient_flow":
            return TrainingState(parameters, start_flow(parameters))
        batches = () if batch_key is None else jax.random.key_data(batch_key)
        return TrainingState(parameters, make_optimizer(train).init(parameters), batches)

    return jax.vmap(one)(keys, network, train, batch_keys)


@partial(jax.jit, donate_argnums=0)
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
    def one(
        s: TrainingState, t: Array | None, network: NetworkConfig, train: TrainConfig, distill: DistillConfig | None
    ) -> TrainingState:
        follow = flow if train.solver == "gradient_flow" else advance
        return follow(s, first, last, task, t, network, train, distill)

    with jax.default_matmul_precision(train.matrix_precision):
        return jax.vmap(one)(state, teacher, network, train, distill)


@partial(jax.jit, static_argnames=("num_views", "recorder"))
def _record(
    parameters: Parameters,
    task: Task,
    features: Array | None,
    network: NetworkConfig,
    train: TrainConfig,
    num_views: int,
    recorder: Recorder,
) -> tuple[dict[str, Array], Array, Array]:
    """What is recorded of each network of a block, its logits, and whether all its numbers are finite."""

    def one(p: Parameters, network: NetworkConfig) -> tuple[dict[str, Array], Array, Array]:
        outputs = logits(p, task.patches, network)
        finite = jnp.stack([jnp.isfinite(a).all() for a in jax.tree.leaves((p, outputs))]).all()
        return recorder(p, outputs, task, features, num_views), outputs, finite

    with jax.default_matmul_precision(train.matrix_precision):
        return jax.vmap(one)(parameters, network)


# Held while a block takes no step at all, so that one thread compiles and the others find the program made.
_compiling = threading.Lock()


def start_keys(study: Study, stream: int, replicate: int, seeds: Sequence[int], generation: int = 0) -> Array:
    """Typed keys of the starts of the named seeds."""
    base = streams.stream(study.seed, stream, replicate, generation)
    return jax.vmap(lambda s: jax.random.fold_in(base, s))(jnp.asarray(seeds))


@in_own_precision
def train_networks(
    study: Each,
    task: Task,
    keys: Array | None,
    *,
    num_steps: int,
    batch_keys: Array | None = None,
    features: Array | None = None,
    first_step: int = 0,
    resume: TrainingState | None = None,
    teacher_logits: np.ndarray | Array | None = None,
    distill: DistillConfig | Sequence[DistillConfig] | None = None,
    recorder: Recorder = record_measures,
    record_at: Sequence[int] | np.ndarray | None = None,
    progress: Progress | None = None,
    keep_state: bool = True,
) -> Trained:
    """Train one network for each key, in blocks of `train.block_size`, on all devices (`devices.using`).

    Args:
        study: configuration of all networks, or one for each, which differ in traced numbers alone.
        task: training samples.
        keys: typed keys of the starts [S]; None with `resume`.
        num_steps: steps to take.
        batch_keys: typed keys of all that steps draw [S], such as mini-batches; by default each start's own,
            `streams.BATCHES` folded in.
        features: feature vectors in the dense representation, for the records.
        first_step: number of the first step (a student's own phase comes before).
        resume: states to go on from, instead of new starts.
        teacher_logits: scaled teacher logits on the training samples, [S, N, k].
        distill: distillation term, with a teacher; one for all networks, or one for each.
        recorder: what to record; a pure function of one network, run on the device.
        record_at: when, as steps counted from this call's start; log-spaced by default.
        progress: called with the number of network-steps that were just finished, from any of the worker threads.
        keep_state: whether to keep what further training needs; noise overlaps are most of a network's memory.

    Returns:
        The trained networks.

    Raises:
        ConfigError: a block does not fit the memory.

    Example:
        >>> import jax
        >>> import multiview as mv
        >>> study = mv.load_preset("smoke")
        >>> data = mv.training_set(study.seed, 0, study.data)
        >>> patches = mv.represent([data], study.data)[0]
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> trained = mv.train_networks(study, mv.Task(data, patches), keys, num_steps=10)
        >>> trained.train_logits.shape == (2, study.data.num_train, study.data.num_classes)
        True
    """
    if (keys is None) == (resume is None):
        raise ValueError("give either keys or resume")
    count = len(keys) if keys is not None else len(resume.parameters.weights)  # type: ignore[union-attr]
    studies = _of_networks(study, count)
    data, train = studies[0].data, studies[0].train
    if train.changes_patches and not all(isinstance(part, DenseVectors) for part in task.patches):
        raise ValueError("the task has rows of patches: mixup and dropped patches need vectors (`training_tasks`)")
    if train.draws and keys is not None and batch_keys is None:
        batch_keys = jax.vmap(lambda key: jax.random.fold_in(key, streams.BATCHES))(keys)
    terms = [distill] * count if distill is None or isinstance(distill, DistillConfig) else distill
    settings = (
        _settings([s.network for s in studies], train.dtype),
        _settings([s.train for s in studies], train.dtype),
        _settings(terms, train.dtype),
    )
    times = np.asarray(record_steps(num_steps, train.num_records) if record_at is None else record_at, int)

    def train_block(indices: np.ndarray, real: int, device: jax.Device) -> tuple[Any, ...]:
        here = partial(jax.device_put, device=device)
        samples, vectors = here(task), here(features)
        own_network, own_train, own_distill = here(jax.tree.map(lambda a: a[indices], settings))
        if resume is not None:
            state = here(jax.tree.map(lambda a: a[indices], resume))
        else:
            own_keys = here(keys[indices])  # type: ignore[index]
            batches = here(batch_keys[indices]) if train.draws and batch_keys is not None else None
            dimension = task.dimension(data.num_features)
            state = _start(own_keys, samples, own_network, data.num_classes, dimension, own_train, batches)
        teacher = None if teacher_logits is None else here(jnp.asarray(np.asarray(teacher_logits)[indices]))

        def stretch(state: TrainingState, begin: int, end: int) -> TrainingState:
            first, last = jnp.int32(first_step + begin), jnp.int32(first_step + end)
            return _advance(state, first, last, samples, teacher, own_network, own_train, own_distill)

        with _compiling:
            state = stretch(state, 0, 0)
        now, recorded = 0, []
        outputs = finite = jnp.zeros(())
        for target in times:
            if target > now:
                state = stretch(state, now, target)
            measures, outputs, finite = _record(
                state.parameters, samples, vectors, own_network, own_train, data.num_views, recorder
            )
            if train.solver == "gradient_flow":
                measures = measures | {"gradient_evaluations": jnp.array(state.optimizer_state.evaluations)}
            outputs.block_until_ready()
            recorded.append(measures)
            if progress is not None:
                progress(int(target - now) * real)
            now = int(target)
        stacked = jax.tree.map(lambda *a: np.stack([np.asarray(x) for x in a], axis=1), *recorded)
        if not keep_state:
            state = TrainingState(state.parameters._replace(noise=()), ())
        return state, outputs, stacked, finite

    in_flight = _in_flight(studies[0], task)
    state, train_logits, records, finite = devices.over_blocks(count, block_size(train), in_flight, train_block)
    return Trained(state, train_logits, times, records, finite)


def block_size(train: TrainConfig) -> int:
    """Networks in a block: `train.block_size`, or where that is 0 two on the CPU and 64 on an accelerator."""
    return train.block_size or (2 if jax.default_backend() == "cpu" else 64)


def block_bytes(study: Study, task: Task, size: int | None = None) -> int:
    """Predicted peak memory of one block while it trains, from shapes alone (`memory.block_bytes`).

    Args:
        study: the configuration.
        task: training samples.
        size: networks in the block, by default `block_size`.
    """
    size, k, m = size or block_size(study.train), study.data.num_classes, study.network.neurons_per_class
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), size))
    network, train = (_settings([section] * size, study.train.dtype) for section in (study.network, study.train))
    state = jax.eval_shape(lambda x: _start(x, task, network, k, task.dimension(study.data.num_features), train), keys)
    vectors = sum(p.vectors.shape[0] * p.vectors.shape[1] for p in task.patches if isinstance(p, DenseVectors))
    slots = sum(p.coefficient.size for p in task.patches if not isinstance(p, DenseVectors))
    numbers = memory.kept_numbers(vectors, slots, k, m)
    if study.train.changes_patches:
        n, p, dimension = task.data.num_samples, study.data.num_patches, task.dimension(study.data.num_features)
        mixes_noise = study.train.mixup != "none" and any(a is not None for a in state.parameters.noise)
        numbers += memory.drawn_numbers(n, p, dimension, k * m if mixes_noise else 0)
    kept = size * jnp.dtype(study.train.dtype).itemsize * numbers
    return round(memory.block_bytes(_bytes(state), kept, _bytes(task)))


def _bytes(tree: Any) -> int:
    arrays = [a for a in jax.tree.leaves(tree) if hasattr(a, "dtype") and a.dtype.kind != "V"]
    return sum(a.size * a.dtype.itemsize for a in arrays)


def _in_flight(study: Study, task: Task) -> int:
    advice = "lower train.block_size, data.num_train or data.patch_dim"
    return devices.blocks_in_flight(block_bytes(study, task), advice)


def memory_plan(study: Study, task: Task) -> str:
    """One line that says how networks are trained together, and what memory that takes.

    Raises:
        ConfigError: one block does not fit the budget.
    """
    return plan_in_words(block_bytes(study, task), block_size(study.train), _in_flight(study, task))


def plan_in_words(block: int, size: int, at_once: int) -> str:
    """The line of `memory_plan`."""
    return (
        f"memory: about {devices.in_words(block)} for each block of {size} networks, "
        f"{at_once} at a time on {len(devices.training_devices())} device(s); "
        f"budget {devices.in_words(devices.memory_budget())}"
    )


@jax.jit
def _test_logits(weights: Array, keys: Array, task: Task, network: NetworkConfig, train: TrainConfig) -> Array:
    with jax.default_matmul_precision(train.matrix_precision):
        return jax.vmap(lambda w, key, n: fresh_logits(key, w, task.patches, n))(weights, keys, network)


@in_own_precision
def block_logits(study: Each, weights: np.ndarray | Array, keys: Array, task: Task) -> np.ndarray:
    """Logits of all networks on one chunk of test samples [S, n, k], in blocks of fixed size like training."""
    studies = _of_networks(study, len(weights))
    train = studies[0].train
    networks = _settings([s.network for s in studies], train.dtype)
    # A block is answered in milliseconds; rows store nothing for each neuron, so that more networks fit.
    size = block_size(train) * (1 if isinstance(task.patches[0], DenseVectors) else 4)

    def one_block(indices: np.ndarray, real: int, device: jax.Device) -> Array:
        here = partial(jax.device_put, device=device)
        own_network = here(jax.tree.map(lambda a: a[indices], networks))
        return _test_logits(here(weights[indices]), here(keys[indices]), here(task), own_network, train)

    in_flight = devices.blocks_in_flight(0, "")
    return np.asarray(devices.over_blocks(len(weights), size, in_flight, one_block))

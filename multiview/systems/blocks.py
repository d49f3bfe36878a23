"""Training and answering of many networks of any system, in blocks: one compiled program trains a block.

A block always has `train.block_size` networks; a shorter block is padded. So a network's numbers never depend on the
number of other networks: on one platform, seed 7 is the same network, bit by bit, in any batch. Every network has its
own traced settings (rate, threshold, start, …) along the block axis, so points of a sweep share blocks.
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
from multiview.config import DistillConfig, Study
from multiview.measures.recorded import record_measures
from multiview.network.parameters import Parameters
from multiview.settings import in_own_settings
from multiview.systems import table
from multiview.systems.block_plan import block_plan, block_size
from multiview.systems.protocol import Settings, Sizes, System
from multiview.training import devices
from multiview.world.patches import DenseVectors
from multiview.world.task import Task

Recorder = Callable[[Any, Array, Task, Array | None, int], dict[str, Array]]
Progress = Callable[[int], None]  # called with the number of network-steps that have just been finished


class Trained(NamedTuple):
    """A batch of trained networks, leading axis seed; NumPy arrays.

    Attributes:
        state: the state of training, from which it can be resumed; None unless it is kept.
        kept: the part of the state that answering needs.
        weights: weights or feature overlaps of all networks [S, D, k, m].
        train_logits: final logits on the training samples [S, N, k], from which students are taught.
        times: steps at which measures were recorded [T].
        records: recorded measures, each [S, T, …].
        finite: whether every number of the network is finite [S].

    Example:
        >>> import jax
        >>> import multiview as mv
        >>> study = mv.load_preset("smoke")
        >>> data = mv.World.of(study).train()
        >>> patches = mv.represent([data], study.data)[0]
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> trained = mv.train_networks(study, mv.Task(data, patches), keys, num_steps=10)
        >>> int(trained.times[-1]), trained.finite
        (10, array([ True,  True]))
    """

    state: Any
    kept: Any
    weights: np.ndarray
    train_logits: np.ndarray
    times: np.ndarray
    records: dict[str, np.ndarray]
    finite: np.ndarray


def record_steps(num_steps: int, num_records: int) -> np.ndarray:
    """Return the log-spaced steps at which measures are recorded, from 0 to `num_steps`, without repeats."""
    if num_steps == 0:
        return np.array([0])
    spaced = np.geomspace(1, num_steps, max(2, num_records - 1))
    return np.unique(np.concatenate([[0], np.round(spaced), [num_steps]])).astype(int)


# One configuration for all networks, or one for each; these may differ only in traced numbers of the sections network,
# train and distill.
StudyPerNetwork = Study | Sequence[Study]


def _stacked(sections: Sequence[Any], dtype: str) -> Any:
    """Stack one section of the configuration of every network: its traced numbers become arrays [S].

    They are arrays even if all networks have equal settings. So there is one compiled program, and a network has the
    same bits whatever networks share its block.
    """

    def stacked(*values: float) -> np.ndarray:
        with np.errstate(over="ignore"):
            return np.asarray(values, dtype if isinstance(values[0], float) else np.int32)

    return jax.tree.map(stacked, *sections)


def settings_of(
    studies: Sequence[Study], system: System, distill: Sequence[DistillConfig | None] | None = None
) -> Settings:
    """Stack the settings of networks into arrays [S].

    Args:
        studies: the configuration of each network.
        system: the system of all networks.
        distill: the distillation term of each network; None without a teacher.

    Returns:
        The settings.
    """
    dtype = studies[0].train.dtype
    return Settings(
        _stacked([s.network for s in studies], dtype),
        _stacked([s.train for s in studies], dtype),
        _stacked(distill or [None] * len(studies), dtype),
        _stacked([tuple(map(float, system.own(s, len(studies)))) for s in studies], dtype),
    )


def sizes_of(study: Study, task: Task) -> Sizes:
    """Return the sizes that compiled programs are made for."""
    return Sizes(study.data.num_classes, study.data.num_views, task.dimension(study.data.num_features))


def _study_per_network(study: StudyPerNetwork, count: int) -> Sequence[Study]:
    studies = [study] * count if isinstance(study, Study) else study
    if len(studies) != count:
        raise ValueError(f"{len(studies)} configurations for {count} networks")
    return studies


@partial(jax.jit, static_argnames=("system", "recorder", "sizes"))
def _record(
    state: Any,
    task: Task,
    features: Array | None,
    settings: Settings,
    *,
    system: System,
    recorder: Recorder,
    sizes: Sizes,
) -> tuple[dict[str, Array], Array, Array, Array]:
    """Return each network's measures, the logits that it teaches, whether its numbers are finite, and its weights."""
    seen = system.look(state, task, settings, sizes)

    def record_one(parameters: Parameters, outputs: Array) -> tuple[dict[str, Array], Array]:
        finite = jnp.stack([jnp.isfinite(a).all() for a in jax.tree.leaves((parameters, outputs))]).all()
        return recorder(parameters, outputs, seen.task, features, sizes.views), finite

    if system.alone:
        measures, finite = jax.lax.map(lambda network: record_one(*network), (seen.parameters, seen.outputs))
    else:
        measures, finite = jax.vmap(record_one, in_axes=(0, None if system.joint else 0))(seen.parameters, seen.outputs)
    if seen.evaluations is not None:
        measures = measures | {"gradient_evaluations": seen.evaluations}
    if seen.all_pairs_steps is not None:
        measures = measures | {"all_pairs_steps": seen.all_pairs_steps}
    return measures, seen.outputs if seen.teaches is None else seen.teaches, finite, seen.parameters.weights


@partial(jax.jit, static_argnames=("system", "sizes"))
def _keep(state: Any, task: Task, settings: Settings, *, system: System, sizes: Sizes) -> Any:
    return system.keep(state, task, settings, sizes)


# Held while a block takes zero steps, so that one thread compiles the program and the others reuse it.
_compiling = threading.Lock()


def start_keys(study: Study, stream: int, replicate: int, seeds: Sequence[int], generation: int = 0) -> Array:
    """Make the typed keys of the starts of networks.

    Args:
        study: gives the base seed.
        stream: number of the stream, `streams.START` or `streams.STUDENT_START`.
        replicate: number of the replicate.
        seeds: numbers of the networks.
        generation: generation of self-distilled students.

    Returns:
        Typed keys, one for each of `seeds`.
    """
    base = streams.stream(study.seed, stream, replicate, generation)
    return jax.vmap(lambda s: jax.random.fold_in(base, s))(jnp.asarray(seeds))


@in_own_settings
def train_networks(
    study: StudyPerNetwork,
    task: Task,
    keys: Array | None,
    *,
    num_steps: int,
    system: str | None = None,
    batch_keys: Array | None = None,
    features: Array | None = None,
    first_step: int = 0,
    resume: Any = None,
    teacher_logits: np.ndarray | Array | None = None,
    distill: DistillConfig | Sequence[DistillConfig] | None = None,
    recorder: Recorder | None = None,
    record_at: Sequence[int] | np.ndarray | None = None,
    progress: Progress | None = None,
    keep_state: bool = True,
) -> Trained:
    """Train one network for each key, in blocks of `train.block_size`, on all devices (`devices.using`).

    Systems with a patience above 1 (`System.patience`) continue after `num_steps` while a training sample is wrong,
    unless there is a teacher. Their last record is made after that.

    Args:
        study: one configuration for all networks, or one for each; these may differ in traced numbers only.
        task: training samples.
        keys: typed keys of the starts [S]; None with `resume`.
        num_steps: steps to take.
        system: name of the system to train; by default the study's.
        batch_keys: typed keys of the random draws in steps [S], such as mini-batches; by default the keys of the
            starts with `streams.BATCHES` folded in.
        features: feature vectors [kL, d] in the dense representation, for the records.
        first_step: number of the first step; students are trained without the teacher before it.
        resume: states of training to resume (`Trained.state`), instead of new starts.
        teacher_logits: the teacher's scaled logits on the training samples [S, N, k].
        distill: the distillation term if there is a teacher; one for all networks, or one for each.
        recorder: measures to record: a pure function of one network that runs on the device; by default
            `record_measures`.
        record_at: steps at which to record, counted from the start of this call; log-spaced by default.
        progress: function that is called, from any worker thread, with the number of network-steps that have just been
            finished.
        keep_state: whether to keep the state that further training needs; most of a state is noise overlaps.

    Returns:
        The trained networks.

    Raises:
        ConfigError: a block does not fit the memory.
        ValueError: both or neither of `keys` and `resume`, or patches that the study's options cannot change.

    Example:
        >>> import jax
        >>> import multiview as mv
        >>> study = mv.load_preset("smoke")
        >>> data = mv.World.of(study).train()
        >>> patches = mv.represent([data], study.data)[0]
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> trained = mv.train_networks(study, mv.Task(data, patches), keys, num_steps=10)
        >>> trained.train_logits.shape == (2, study.data.num_train, study.data.num_classes)
        True
    """
    if (keys is None) == (resume is None):
        raise ValueError("give either keys or resume")
    count = len(keys) if keys is not None else len(jax.tree.leaves(resume)[0])
    studies = _study_per_network(study, count)
    first, train = studies[0], studies[0].train
    if train.changes_patches and not all(isinstance(part, DenseVectors) for part in task.patches):
        raise ValueError("the task has rows of patches: mixup and dropped patches need vectors (`World.tasks`)")
    if train.draws and keys is not None and batch_keys is None:
        batch_keys = jax.vmap(lambda key: jax.random.fold_in(key, streams.BATCHES))(keys)
    functions = table.load(system or first.system)
    terms = [distill] * count if distill is None or isinstance(distill, DistillConfig) else distill
    settings, sizes = settings_of(studies, functions, terms), sizes_of(first, task)
    times = np.asarray(record_steps(num_steps, train.num_records) if record_at is None else record_at, int)
    scale = 1 if teacher_logits is None else functions.student_steps
    patient = functions.patience > 1 and teacher_logits is None
    measure = recorder or record_measures

    def train_block(indices: np.ndarray, real: int, device: jax.Device) -> tuple[Any, ...]:
        on_device = partial(jax.device_put, device=device)
        samples, vectors = on_device(task), on_device(features)
        block_settings = on_device(jax.tree.map(lambda a: a[indices], settings))
        if resume is not None:
            state = functions.resume(on_device(jax.tree.map(lambda a: a[indices], resume)))
        else:
            batches = on_device(batch_keys[indices]) if train.draws and batch_keys is not None else None
            state = functions.start(on_device(keys[indices]), batches, samples, block_settings, sizes)  # type: ignore[index]
        teacher = None if teacher_logits is None else on_device(jnp.asarray(np.asarray(teacher_logits)[indices]))

        def stretch(state: Any, begin: int, end: int, least: int) -> Any:
            first, last, enough = (jnp.int32(first_step + scale * n) for n in (begin, end, least))
            return functions.advance(state, first, last, enough, samples, teacher, block_settings, sizes)

        with _compiling:
            state = stretch(state, 0, 0, 0)
        now, recorded = 0, []
        teaches = finite = weights = jnp.zeros(())
        for target in times.tolist():
            if target > now:
                state = stretch(state, now, target, target)
            if patient and target == times[-1]:
                state = stretch(state, target, functions.patience * target, target)
            measures, teaches, finite, weights = _record(
                state, samples, vectors, block_settings, system=functions, recorder=measure, sizes=sizes
            )
            teaches.block_until_ready()
            recorded.append(measures)
            if progress is not None:
                progress(int(target - now) * real)
            now = int(target)
        stacked = jax.tree.map(lambda *a: np.stack([np.asarray(x) for x in a], axis=1), *recorded)
        kept = _keep(state, samples, block_settings, system=functions, sizes=sizes)
        return state if keep_state else None, kept, weights, teaches, stacked, finite

    def in_context(*block: Any) -> tuple[Any, ...]:
        with jax.default_matmul_precision(train.matrix_precision):
            return train_block(*block)

    size, in_flight = block_plan(first, task, count, system)
    state, kept, weights, train_logits, records, finite = devices.over_blocks(count, size, in_flight, in_context)
    return Trained(state, kept, weights, train_logits, times, records, finite)


@in_own_settings
def answer_networks(
    study: StudyPerNetwork, kept: Any, keys: Array, task: Task, system: str | None = None
) -> np.ndarray:
    """Compute the logits of all networks on one chunk of test samples, in blocks of fixed size as in training.

    Args:
        study: one configuration for all networks, or one for each.
        kept: the networks as `Trained.kept`, with the leading axis S.
        keys: typed keys from which the networks draw their overlaps with the samples' noise [S].
        task: the samples.
        system: name of the networks' system; by default the study's.

    Returns:
        Logits [S, n, k].

    Example:
        >>> import jax
        >>> import multiview as mv
        >>> study = mv.load_preset("smoke")
        >>> world = mv.World.of(study)
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> trained = mv.train_networks(study, world.tasks()[0], keys, num_steps=10)
        >>> chunk = next(world.held_out())
        >>> logits = mv.answer_networks(study, trained.kept, chunk.noise_keys(2), chunk.task)
        >>> logits.shape == (2, len(chunk.labels), study.data.num_classes)
        True
    """
    count = len(jax.tree.leaves(kept)[0])
    studies = _study_per_network(study, count)
    first, functions = studies[0], table.load(system or studies[0].system)
    settings, sizes = settings_of(studies, functions), sizes_of(first, task)
    # A block answers in milliseconds. Rows store nothing for each neuron, so more networks fit into the memory.
    rows = not isinstance(task.patches[0], DenseVectors)
    size = block_size(first.train) * (functions.answered_together if rows else 1)

    def one_block(indices: np.ndarray, real: int, device: jax.Device) -> Array:
        on_device = partial(jax.device_put, device=device)
        block_settings, block_kept = (on_device(jax.tree.map(lambda a: a[indices], tree)) for tree in (settings, kept))
        with jax.default_matmul_precision(first.train.matrix_precision):
            return functions.answer(block_kept, on_device(keys[indices]), on_device(task), block_settings, sizes)

    in_flight = 1 if functions.alone and jax.default_backend() == "cpu" else devices.blocks_in_flight(0, "")
    return np.asarray(devices.over_blocks(count, size, in_flight, one_block))

"""Run a study: for each replicate single networks, their ensemble, its students and self-distilled students."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from multiview import streams
from multiview.config import DistillConfig, Study
from multiview.measures.errors import ErrorCounts
from multiview.measures.lottery import view_moments
from multiview.parameters import ConfigError
from multiview.precision import in_own_precision
from multiview.studies.evaluation import error_counts, evaluate_points
from multiview.systems import contrasts as systems
from multiview.training.blocks import Trained, memory_plan, start_keys, train_networks
from multiview.training.distillation import distil, ensemble_teacher, own_phase, own_teachers
from multiview.words import self_distilled_name
from multiview.world.patches import represent
from multiview.world.samples import MultiViewDataset, training_set, world_features
from multiview.world.task import Task

Report = Callable[[str, int, int], None]  # what is being done, network-steps done, network-steps in all
Telling = Callable[[str, int], Callable[[int], None]]  # what begins, in which replicate; then network-steps done


class Group(NamedTuple):
    """Networks of one kind over all replicates: arrays [R, S, …].

    Attributes:
        weights: weights or, in the limit, feature overlaps [R, S, D, k, m].
        train_wrong: wrong training samples [R, S].
        train_error: weighted training error [R, S].
        finite: whether all numbers are finite [R, S].
        times: recorded steps [T], counted from the network's start.
        records: recorded measures, each [R, S, T, …].
        errors: test errors.
    """

    weights: np.ndarray
    train_wrong: np.ndarray
    train_error: np.ndarray
    finite: np.ndarray
    times: np.ndarray
    records: dict[str, np.ndarray]
    errors: ErrorCounts


class StudyResult(NamedTuple):
    """All that a study measured.

    Attributes:
        study: its configuration.
        groups: networks by kind: single, distilled, self_distilled, self_distilled_2, …
        ensembles: test errors of the ensembles by name, arrays [R, 1]; `ensemble_of_K`, K networks each, [R, S // K].
        moments: S_{i,ℓ} of each training set [R, k, L].
        dark_knowledge: share of pairs ordered right, one for each replicate [R].
        dropped_features: foreign features that found no patch, in the training sets.
        features: feature vectors in the dense representation, else None.
        seconds: wall time.

    Example:
        >>> import multiview as mv
        >>> result = mv.run_study(mv.load_preset("smoke"))
        >>> result.groups["single"].weights.ndim
        5
    """

    study: Study
    groups: dict[str, Group]
    ensembles: dict[str, ErrorCounts]
    moments: np.ndarray
    dark_knowledge: np.ndarray
    dropped_features: int
    features: np.ndarray | None
    seconds: float


def total_network_steps(study: Study, distillation: bool = True) -> int:
    """Network-steps of a whole study, for progress."""
    one = study.seeds * study.train.num_steps
    if distillation:
        onsets = {study.distill.onset_step, study.self_distill.onset_step}
        generations = study.self_distill.generations
        one += study.students * (sum(onsets) + (generations - 1) * study.self_distill.onset_step)
        one += study.students * (study.distill.num_steps + generations * study.self_distill.num_steps)
    return study.replicates * one


@in_own_precision
def training_tasks(study: Study, own_data: MultiViewDataset | None = None, row_multiple: int = 1) -> list[Task]:
    """The training samples of every replicate, in shapes that share one compiled program.

    Args:
        study: the configuration.
        own_data: a user's own training set for every replicate.
        row_multiple: see `represent`; a sweep pads, so that its points share shapes too. It changes no number.
    """
    dtype, as_vectors = jnp.dtype(study.train.dtype), study.train.changes_patches
    if own_data is not None:
        own_data = jax.tree.map(lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a, own_data)
        patches = represent([own_data], study.data, dtype, as_vectors=as_vectors)[0]
        return [Task(own_data, patches)] * study.replicates
    datasets = [training_set(study.seed, r, study.data, dtype) for r in range(study.replicates)]
    of_each = represent(datasets, study.data, dtype, row_multiple, as_vectors)
    return [Task(d, p) for d, p in zip(datasets, of_each, strict=True)]


@in_own_precision
def study_features(study: Study) -> Array | None:
    """The feature vectors of the study's world, or None in a limit representation."""
    return world_features(study.seed, study.data, jnp.dtype(study.train.dtype))


class Replicate(NamedTuple):
    """What one replicate of a study measured.

    Attributes:
        trained: its networks by kind, without the states that only training needs.
        wrong: wrong multi-view and single-view test samples of each kind and each ensemble.
        dark_knowledge: share of pairs ordered right.
        moments: S_{i,ℓ} of its training set [k, L].
        dropped_features: foreign features that found no patch.
    """

    trained: dict[str, Trained]
    wrong: dict[str, tuple[np.ndarray, np.ndarray]]
    dark_knowledge: float
    moments: np.ndarray
    dropped_features: int


def run_replicate(
    study: Study,
    replicate: int,
    task: Task,
    telling: Telling | None = None,
    *,
    features: Array | None = None,
    distillation: bool = True,
    own_teacher: np.ndarray | None = None,
) -> Replicate:
    """Train and evaluate one replicate: single networks, their ensembles, and students.

    Args:
        study: the configuration.
        replicate: its number.
        task: its training samples, of `training_tasks`.
        telling: called with what begins and the replicate; what it returns is called with network-steps done.
        features: of `study_features`.
        distillation: whether to train students.
        own_teacher: a user's own teacher logits [N, k], instead of the ensemble's.

    Returns:
        What was measured.
    """
    return run_replicates(
        [study], replicate, task, telling, features=features, distillation=distillation, own_teacher=own_teacher
    )[0]


@in_own_precision
def run_replicates(
    studies: Sequence[Study],
    replicate: int,
    task: Task,
    telling: Telling | None = None,
    *,
    features: Array | None = None,
    distillation: bool = True,
    own_teacher: np.ndarray | None = None,
) -> list[Replicate]:
    """`run_replicate` for several studies whose networks share blocks; each gets the numbers it gets alone, bit by bit.

    Args:
        studies: configurations that differ in traced numbers of their sections network, train and distill, and in how
            many networks and students they have: points of a sweep with equal `sweep.plan.batch_key`.
        replicate: see `run_replicate`, as the rest.
        task: the training samples of all.
        telling: called once for all studies.
        features: of all.
        distillation: whether to train students.
        own_teacher: of all.

    Returns:
        What was measured, study by study.
    """
    telling = telling or _quiet
    first = studies[0]
    if first.system != "network":
        return [_run_system(s, replicate, task, telling, features, distillation, own_teacher) for s in studies]
    counts = [s.seeds for s in studies]
    keys = jnp.concatenate([start_keys(s, streams.START, replicate, range(s.seeds)) for s in studies])
    singles = train_networks(
        [s for s in studies for _ in range(s.seeds)], task, keys, num_steps=first.train.num_steps, features=features,
        progress=telling(f"{sum(counts)} single networks", replicate), keep_state=False,
    )  # fmt: skip
    trained = [{"single": t} for t in _by_point(singles, counts)]
    if distillation:
        logits = [t["single"].train_logits for t in trained]
        students = _students(studies, task, replicate, logits, own_teacher, features, telling)
        for name, networks in students.items():
            for found, t in zip(trained, _by_point(networks, [s.students for s in studies]), strict=True):
                found[name] = t
    return _tested(studies, replicate, task, telling, features, trained)


def _tested(
    studies: Sequence[Study],
    replicate: int,
    task: Task,
    telling: Telling,
    features: Array | None,
    trained: Sequence[dict[str, Trained]],
    answer: Callable[[Array, Task], np.ndarray] | None = None,
) -> list[Replicate]:
    """Test what was trained for each study."""
    telling("testing", replicate)
    weights = [{n: t.weights for n, t in found.items()} for found in trained]
    tested = evaluate_points(studies, replicate, weights, features, answer)
    data, q = studies[0].data, studies[0].network.relu_power
    return [
        Replicate(
            {n: _without_state(t) for n, t in found.items()},
            wrong,
            dark,
            view_moments(task.data, data.num_classes, data.num_views, q),
            int(task.data.dropped_features.sum()),
        )
        for found, (wrong, dark) in zip(trained, tested, strict=True)
    ]


def _run_system(
    study: Study,
    replicate: int,
    task: Task,
    telling: Telling,
    features: Array | None,
    distillation: bool,
    own_teacher: np.ndarray | None,
) -> Replicate:
    """`run_replicate` where a contrast system takes the network's place.

    Students of an average are networks.
    """
    progress = telling(f"{study.seeds} members, system {study.system}", replicate)
    keys = start_keys(study, streams.START, replicate, range(study.seeds))
    if study.system == "average":
        trained = {"single": systems.train_average(study, task, keys, features, progress)}
    else:
        trained = {"single": systems.train_members(study, task, keys, study.train.num_steps, features, progress)}
    if distillation:
        logits = [trained["single"].train_logits]
        trained |= _students([study], task, replicate, logits, own_teacher, features, telling)

    def answer(noise_keys: Array, test: Task) -> np.ndarray:
        return systems.answers(study, list(trained.values()), noise_keys, test)

    of_system = None if study.system == "average" else answer
    return _tested([study], replicate, task, telling, features, [trained], of_system)[0]


def _by_point(networks: Trained, counts: Sequence[int]) -> list[Trained]:
    """Networks that were trained together, one batch for each point."""
    ends = np.cumsum(counts)
    return [
        networks._replace(
            state=jax.tree.map(lambda a, s=slice(end - n, end): a[s], networks.state),
            train_logits=networks.train_logits[end - n : end],
            records={name: values[end - n : end] for name, values in networks.records.items()},
            finite=networks.finite[end - n : end],
        )
        for n, end in zip(counts, ends, strict=True)
    ]


def _quiet(what: str, replicate: int) -> Callable[[int], None]:
    return lambda steps: None


def collect(study: Study, replicates: list[Replicate], features: Array | None, seconds: float) -> StudyResult:
    """Several replicates of one study as one result."""
    groups = {}
    for name in replicates[0].trained:
        runs = [r.trained[name] for r in replicates]
        records = jax.tree.map(lambda *a: np.stack(a), *[t.records for t in runs])
        groups[name] = Group(
            weights=np.stack([np.asarray(t.weights) for t in runs]),
            train_wrong=records["train_wrong"][:, :, -1],
            train_error=records["train_error"][:, :, -1],
            finite=np.stack([t.finite for t in runs]),
            times=runs[0].times + (0 if name == "single" else _onset(study, name)),
            records=records,
            errors=error_counts([r.wrong[name] for r in replicates], study),
        )
    ensembles = [n for n in replicates[0].wrong if n not in groups]
    return StudyResult(
        study=study,
        groups=groups,
        ensembles={n: error_counts([r.wrong[n] for r in replicates], study) for n in ensembles},
        moments=np.stack([r.moments for r in replicates]),
        dark_knowledge=np.array([r.dark_knowledge for r in replicates]),
        dropped_features=sum(r.dropped_features for r in replicates),
        features=None if features is None else np.asarray(features),
        seconds=seconds,
    )


@in_own_precision
def run_study(
    study: Study,
    report: Report | None = None,
    *,
    distillation: bool = True,
    own_data: MultiViewDataset | None = None,
    own_features: Array | None = None,
    own_teacher: np.ndarray | None = None,
) -> StudyResult:
    """Train and evaluate everything a study asks for.

    Args:
        study: the configuration.
        report: called with what is being trained and the network-steps done and in all.
        distillation: whether to train students.
        own_data: a user's own training set for every replicate, instead of the generator's.
        own_features: its feature vectors [kL, d], from which test samples are drawn; needed with dense patches.
        own_teacher: a user's own teacher logits on it [N, k], instead of the ensemble's.

    Returns:
        The result; a network that turned non-finite is marked in `Group.finite`.

    Raises:
        ConfigError: own dense data without its features.

    Example:
        >>> import multiview as mv
        >>> result = mv.run_study(mv.load_preset("smoke"))
        >>> sorted(result.groups)
        ['distilled', 'self_distilled', 'single']
    """
    if own_data is not None and own_data.patches is not None and own_features is None:
        raise ConfigError("data: array 'features' [kL, d] is missing; test samples of the same world are drawn from it")
    begin = time.perf_counter()
    total, done = total_network_steps(study, distillation), 0

    lock = threading.Lock()

    def telling(what: str, replicate: int) -> Callable[[int], None]:
        def progress(steps: int) -> None:
            nonlocal done
            with lock:
                done += steps
                if report is not None:
                    report(f"replicate {replicate + 1}/{study.replicates}: {what}", done, total)

        progress(0)
        return progress

    features = own_features if own_data is not None else study_features(study)
    tasks = training_tasks(study, own_data)
    if report is not None:
        plan = memory_plan if study.system == "network" else systems.memory_plan
        report(plan(study, tasks[0]), 0, total)
    replicates = [
        run_replicate(
            study, number, task, telling, features=features, distillation=distillation, own_teacher=own_teacher
        )
        for number, task in enumerate(tasks)
    ]
    return collect(study, replicates, features, time.perf_counter() - begin)


def _onset(study: Study, name: str) -> int:
    return (study.distill if name == "distilled" else study.self_distill).onset_step


def _without_state(trained: Trained) -> Trained:
    """Drop what only further training needs; noise overlaps are most of a network's memory."""
    parameters = trained.state.parameters._replace(noise=())
    return trained._replace(state=trained.state._replace(parameters=parameters, optimizer_state=()))


def _students(
    studies: Sequence[Study],
    task: Task,
    replicate: int,
    train_logits: Sequence[np.ndarray],
    own_teacher: np.ndarray | None,
    features: Array | None,
    telling: Telling,
) -> dict[str, Trained]:
    """Students of each kind, study after study; steps are common to all studies.

    They are of the system's own kind, but for an average, which has no single members to be students of its kind.
    """
    of_networks = studies[0].system in ("network", "average")
    begin, go_on = (own_phase, distil) if of_networks else (systems.own_phase, systems.distil)
    counts = [s.students for s in studies]
    each = [s for s in studies for _ in range(s.students)]
    total, distill, self_distill = len(each), studies[0].distill, studies[0].self_distill

    def first_phase(onset: int, generation: int = 0) -> Trained:
        progress = telling(f"{total} students, own views first", replicate)
        return begin(studies, task, replicate, onset, generation=generation, features=features, progress=progress)

    def taught(what: str, begun: Trained, teachers: list[np.ndarray], terms: list[DistillConfig]) -> Trained:
        progress = telling(f"{total} {what}", replicate)
        return go_on(each, task, begun, np.concatenate(teachers), terms, features=features, progress=progress)

    own = {onset: first_phase(onset) for onset in {distill.onset_step, self_distill.onset_step}}
    if own_teacher is None:
        teachers = [
            ensemble_teacher(outputs, s.students, s.distill) for outputs, s in zip(train_logits, studies, strict=True)
        ]
    else:
        teachers = [s.distill.teacher_scale * np.repeat(own_teacher[None], s.students, axis=0) for s in studies]
    terms = [s.distill for s in each]
    students = {"distilled": taught("students of the ensemble", own[distill.onset_step], teachers, terms)}
    for generation in range(self_distill.generations):
        onset = self_distill.onset_step
        begun = first_phase(onset, generation) if generation else own[onset]
        teachers = [
            own_teachers(outputs, s.students, s.self_distill) for outputs, s in zip(train_logits, studies, strict=True)
        ]
        trained = taught("self-distilled students", begun, teachers, [s.self_distill for s in each])
        students[self_distilled_name(generation)] = trained
        train_logits = np.split(trained.train_logits, np.cumsum(counts)[:-1])
    return students


def start_and_final_overlaps(result: StudyResult, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Λ at the first and last recorded time of a group, each [R, S, k, L]."""
    overlap = result.groups[name].records["largest_overlap"]
    return overlap[:, :, 0], overlap[:, :, -1]

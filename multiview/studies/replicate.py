"""Training and testing of one replicate of a study, or of several studies whose networks share blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from multiview import streams
from multiview.config import DistillConfig, Study
from multiview.measures.lottery import view_moments
from multiview.settings import in_own_settings
from multiview.studies.evaluation import evaluate_points
from multiview.studies.outcome import Replicate
from multiview.studies.students import distil, ensemble_teacher, own_phase, single_teachers
from multiview.systems.blocks import Recorder, Trained, answer_networks, start_keys, train_networks
from multiview.systems.table import load, students_of
from multiview.words import self_distilled_name
from multiview.world.task import Task
from multiview.world.world import World

# Called when a phase starts, with the phase in words and the number of the replicate. It returns a function that is
# called with the number of network-steps that have just been finished.
StartPhase = Callable[[str, int], Callable[[int], None]]


def run_replicate(study: Study, world: World, replicate: int, task: Task, **options: Any) -> Replicate:
    """Train and evaluate one replicate of one study; see `run_replicates`."""
    return run_replicates([study], world, replicate, task, **options)[0]


@in_own_settings
def run_replicates(
    studies: Sequence[Study],
    world: World,
    replicate: int,
    task: Task,
    *,
    start_phase: StartPhase | None = None,
    distillation: bool = True,
    teacher_logits: np.ndarray | None = None,
    recorder: Recorder | None = None,
) -> list[Replicate]:
    """Train and evaluate one replicate: single networks, their ensembles, and students.

    Networks of several studies share blocks; the results of each study are those that it has alone, bit by bit.

    Args:
        studies: configurations that may differ only in traced numbers of the sections network, train and distill and in
            the numbers of networks and students: points of a sweep with equal `sweeps.plan.batch_key`.
        world: the world that draws the samples.
        replicate: number of the replicate.
        task: training samples of the replicate, from `training_tasks`.
        start_phase: reports progress, see `StartPhase`; called once for all studies.
        distillation: whether to train students.
        teacher_logits: logits of a user's own teacher on the training samples [N, k], instead of the ensemble's.
        recorder: measures to record, see `train_networks`.

    Returns:
        The result of each study.
    """
    first = studies[0]
    if len(studies) > 1 and load(first.system).joint:  # a block holds all networks of one study
        return [
            result
            for study in studies
            for result in run_replicates(
                [study], world, replicate, task, start_phase=start_phase, distillation=distillation,
                teacher_logits=teacher_logits, recorder=recorder,
            )
        ]  # fmt: skip
    begin, features = start_phase or _silent, world.features
    counts = [s.seeds for s in studies]
    keys = jnp.concatenate([start_keys(s, streams.START, replicate, range(s.seeds)) for s in studies])
    singles = train_networks(
        [s for s in studies for _ in range(s.seeds)], task, keys, num_steps=first.train.num_steps, features=features,
        recorder=recorder, progress=begin(f"{sum(counts)} single networks", replicate), keep_state=False,
    )  # fmt: skip
    trained = [{"single": t} for t in _by_point(singles, counts)]
    if distillation:
        logits = [t["single"].train_logits for t in trained]
        students = _students(studies, task, replicate, logits, teacher_logits, features, recorder, begin)
        for name, networks in students.items():
            for groups, t in zip(trained, _by_point(networks, [s.students for s in studies]), strict=True):
                groups[name] = t
    begin("testing", replicate)
    return _tested(studies, world, replicate, task, trained)


def _tested(
    studies: Sequence[Study],
    world: World,
    replicate: int,
    task: Task,
    trained: Sequence[dict[str, Trained]],
) -> list[Replicate]:
    """Test the trained networks of each study."""
    networks = [
        (study, students_of(study.system) if name != "single" else study.system, t)
        for study, groups in zip(studies, trained, strict=True)
        for name, t in groups.items()
    ]

    def answer(keys: Array, test: Task) -> np.ndarray:
        """Compute the logits of all groups of networks, in order; groups of the same system are answered together."""
        indices = np.split(np.arange(len(keys)), np.cumsum([len(t.finite) for _, _, t in networks])[:-1])
        logits: list[Any] = [None] * len(networks)
        for system in dict.fromkeys(name for _, name, _ in networks):
            groups = [i for i, (_, name, _) in enumerate(networks) if name == system]
            study_per_network = [networks[i][0] for i in groups for _ in indices[i]]
            kept = jax.tree.map(lambda *a: np.concatenate(a), *(networks[i][2].kept for i in groups))
            system_keys = keys[np.concatenate([indices[i] for i in groups])]
            answers = answer_networks(study_per_network, kept, system_keys, test, system)
            ends = np.cumsum([len(indices[i]) for i in groups])[:-1]
            for i, group_logits in zip(groups, np.split(answers, ends), strict=True):
                logits[i] = group_logits
        return np.concatenate(logits)

    weights = [{n: t.weights for n, t in groups.items()} for groups in trained]
    tested = evaluate_points(studies, world, replicate, weights, answer)
    data, q = studies[0].data, studies[0].network.relu_power
    return [
        Replicate(
            {n: t._replace(state=None) for n, t in groups.items()},
            wrong,
            dark,
            view_moments(task.data, data.num_classes, data.num_views, q),
            int(task.data.dropped_features.sum()),
        )
        for groups, (wrong, dark) in zip(trained, tested, strict=True)
    ]


def _by_point(networks: Trained, counts: Sequence[int]) -> list[Trained]:
    """Split networks that were trained together into those of each study."""
    ends = np.cumsum(counts)
    shared = networks.times  # has no axis of networks
    return [
        jax.tree.map(lambda a, part=slice(end - n, end): a[part], networks)._replace(times=shared)
        for n, end in zip(counts, ends, strict=True)
    ]


def _silent(phase: str, replicate: int) -> Callable[[int], None]:
    return lambda steps: None


def _students(
    studies: Sequence[Study],
    task: Task,
    replicate: int,
    train_logits: Sequence[np.ndarray],
    teacher_logits: np.ndarray | None,
    features: Array | None,
    recorder: Recorder | None,
    begin: StartPhase,
) -> dict[str, Trained]:
    """Train the students of each kind, for all studies together; their numbers of steps are equal."""
    counts = [s.students for s in studies]
    study_per_student = [s for s in studies for _ in range(s.students)]
    total, distill, self_distill = len(study_per_student), studies[0].distill, studies[0].self_distill

    def first_phase(onset: int, generation: int = 0) -> Trained:
        return own_phase(
            studies, task, replicate, onset, generation=generation, features=features, recorder=recorder,
            progress=begin(f"{total} students, own views first", replicate),
        )  # fmt: skip

    def taught(kind: str, alone: Trained, teachers: list[np.ndarray], terms: list[DistillConfig]) -> Trained:
        return distil(
            study_per_student, task, alone, np.concatenate(teachers), terms, features=features, recorder=recorder,
            progress=begin(f"{total} {kind}", replicate),
        )  # fmt: skip

    before_onset = {onset: first_phase(onset) for onset in {distill.onset_step, self_distill.onset_step}}
    if teacher_logits is None:
        teachers = [
            ensemble_teacher(outputs, s.students, s.distill) for outputs, s in zip(train_logits, studies, strict=True)
        ]
    else:
        teachers = [s.distill.teacher_scale * np.repeat(teacher_logits[None], s.students, axis=0) for s in studies]
    terms = [s.distill for s in study_per_student]
    ensemble_students = taught("students of the ensemble", before_onset[distill.onset_step], teachers, terms)
    students = {"distilled": ensemble_students}
    for generation in range(self_distill.generations):
        onset = self_distill.onset_step
        alone = first_phase(onset, generation) if generation else before_onset[onset]
        teachers = [
            single_teachers(outputs, s.students, s.self_distill)
            for outputs, s in zip(train_logits, studies, strict=True)
        ]
        terms = [s.self_distill for s in study_per_student]
        trained = taught("self-distilled students", alone, teachers, terms)
        students[self_distilled_name(generation)] = trained
        train_logits = np.split(trained.train_logits, np.cumsum(counts)[:-1])
    return students

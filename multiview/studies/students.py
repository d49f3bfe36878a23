"""Students: first their own views from the labels, then the teacher's through its soft outputs.

The teacher is the ensemble (distillation) or one single network (self-distillation). A student's own phase does
not depend on the teacher, so students of both kinds can share it.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from multiview import streams
from multiview.config import DistillConfig, Study
from multiview.measures.ensemble import average_logits
from multiview.parameters import ConfigError
from multiview.systems.blocks import Progress, Recorder, StudyPerNetwork, Trained, start_keys, train_networks
from multiview.systems.table import students_of
from multiview.world.arrays import TEACHER, check_array
from multiview.world.files import load_npz
from multiview.world.task import Task


def ensemble_teacher(train_logits: np.ndarray, students: int, distill: DistillConfig) -> np.ndarray:
    """The scaled average of K networks' logits, once for each student: [students, N, k]."""
    return np.repeat(average_logits(train_logits, distill.teacher_scale)[None], students, axis=0)


def single_teachers(train_logits: np.ndarray, students: int, distill: DistillConfig) -> np.ndarray:
    """Teacher of student a is network a (modulo their number), scaled: [students, N, k]."""
    return distill.teacher_scale * train_logits[np.arange(students) % len(train_logits)]


def load_teacher(path: str, num_samples: int, num_classes: int) -> np.ndarray:
    """A user's own teacher: array `logits` [N, k] of an .npz.

    Raises:
        ConfigError: the file is unreadable or its logits do not fit the training set.
    """
    arrays = load_npz(path)
    if "logits" not in arrays:
        raise ConfigError(f"{path}: array 'logits' [{num_samples}, {num_classes}] is missing")
    return check_array(path, "logits", arrays["logits"], TEACHER, {"N": num_samples, "k": num_classes})


def own_phase(
    study: StudyPerNetwork,
    task: Task,
    replicate: int,
    onset_step: int,
    *,
    generation: int = 0,
    features: Array | None = None,
    recorder: Recorder | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train students before distillation starts: fresh starts, cross-entropy alone for `onset_step` steps.

    Those of several points of a sweep follow each other.
    """
    points = [study] if isinstance(study, Study) else study
    starts = [start_keys(s, streams.STUDENT_START, replicate, range(s.students), generation) for s in points]
    each = [s for s in points for _ in range(s.students)]
    return train_networks(
        each, task, jnp.concatenate(starts), num_steps=onset_step, system=students_of(points[0].system),
        features=features, recorder=recorder, progress=progress,
    )  # fmt: skip


def distil(
    study: StudyPerNetwork,
    task: Task,
    students: Trained,
    teacher_logits: np.ndarray,
    distill: DistillConfig | Sequence[DistillConfig],
    *,
    features: Array | None = None,
    recorder: Recorder | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Go on training `students` with a teacher, from step `distill.onset_step` on.

    Args:
        study: configuration of all students, or one for each.
        task: training samples.
        students: networks after their own phase.
        teacher_logits: scaled teacher logits [students, N, k].
        distill: the distillation term of all, or one for each; its steps are common to all.
        features: feature vectors in the dense representation, for the records.
        recorder: see `train_networks`.
        progress: see `train_networks`.

    Returns:
        The students.
    """
    schedule = distill if isinstance(distill, DistillConfig) else distill[0]
    system = (study if isinstance(study, Study) else study[0]).system
    return train_networks(
        study, task, None, resume=jax.tree.map(jnp.asarray, students.state), num_steps=schedule.num_steps,
        system=students_of(system), first_step=schedule.onset_step, teacher_logits=teacher_logits, distill=distill,
        features=features, recorder=recorder, progress=progress,
    )  # fmt: skip

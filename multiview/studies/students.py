"""Students: first they learn their own views from the labels, then the teacher's views from its soft outputs.

Section 6 of docs/theory.md. The teacher is the ensemble (distillation) or a single network (self-distillation). The
phase before distillation starts does not depend on the teacher, so students of both kinds can share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
    """Compute the teacher of distillation: the average of K networks' logits, times `teacher_scale`.

    Args:
        train_logits: logits of the networks on the training samples [K, N, k].
        students: number of students.
        distill: gives `teacher_scale`.

    Returns:
        The teacher's logits, repeated for each student [students, N, k].
    """
    return np.repeat(average_logits(train_logits, distill.teacher_scale)[None], students, axis=0)


def single_teachers(train_logits: np.ndarray, students: int, distill: DistillConfig) -> np.ndarray:
    """Compute the teachers of self-distillation: network a modulo S teaches student a, times `teacher_scale`.

    Args:
        train_logits: logits of the networks on the training samples [S, N, k].
        students: number of students.
        distill: gives `teacher_scale`.

    Returns:
        The teacher's logits for each student [students, N, k].
    """
    return distill.teacher_scale * train_logits[np.arange(students) % len(train_logits)]


def load_teacher(path: str, num_samples: int, num_classes: int) -> np.ndarray:
    """Read a user's own teacher: the array `logits` [N, k] of an .npz file.

    Args:
        path: the file.
        num_samples: N.
        num_classes: k.

    Returns:
        The logits.

    Raises:
        ConfigError: the file is unreadable or its logits do not fit the training set.
    """
    arrays = load_npz(path)
    if "logits" not in arrays:
        raise ConfigError(f"{path}: array 'logits' [{num_samples}, {num_classes}] is missing")
    return check_teacher(path, arrays["logits"], num_samples, num_classes)


def check_teacher(where: str, logits: Any, num_samples: int, num_classes: int, dtype: Any = np.float32) -> np.ndarray:
    """Check a user's own teacher.

    Args:
        where: start of a message.
        logits: of the teacher on the training samples [N, k].
        num_samples: N.
        num_classes: k.
        dtype: dtype of training.

    Returns:
        The logits in this dtype.

    Raises:
        ConfigError: they do not fit the training set, or are probabilities.
    """
    sizes = {"N": num_samples, "k": num_classes}
    logits = check_array(where, "logits", np.asarray(logits), TEACHER, sizes, dtype=dtype)
    if (logits >= 0).all() and np.allclose(logits.sum(axis=1), 1, rtol=0, atol=1e-2):
        raise ConfigError(f"{where}: logits are probabilities: ≥ 0, each row sums to 1; give their logarithms")
    return logits


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
    """Train students before distillation starts: from new starts, on the cross-entropy only, for `onset_step` steps.

    Args:
        study: the configuration, or those of several points of a sweep.
        task: training samples.
        replicate: number of the replicate.
        onset_step: number of steps before distillation starts.
        generation: generation of self-distilled students, from 0.
        features: feature vectors [kL, d] in the dense representation, for the records.
        recorder: see `train_networks`.
        progress: see `train_networks`.

    Returns:
        The students, point after point.
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
    """Continue training students with a teacher, from step `distill.onset_step` on.

    Args:
        study: one configuration for all students, or one for each.
        task: training samples.
        students: networks as they are when distillation starts, from `own_phase`.
        teacher_logits: the teacher's scaled logits [students, N, k].
        distill: one distillation term for all students, or one for each, with equal numbers of steps.
        features: feature vectors in the dense representation, for the records.
        recorder: see `train_networks`.
        progress: see `train_networks`.

    Returns:
        The trained students.
    """
    schedule = distill if isinstance(distill, DistillConfig) else distill[0]
    system = (study if isinstance(study, Study) else study[0]).system
    return train_networks(
        study, task, None, resume=jax.tree.map(jnp.asarray, students.state), num_steps=schedule.num_steps,
        system=students_of(system), first_step=schedule.onset_step, teacher_logits=teacher_logits, distill=distill,
        features=features, recorder=recorder, progress=progress,
    )  # fmt: skip

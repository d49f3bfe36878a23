"""A whole study: for each replicate single networks, their ensemble, its students and self-distilled students."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from multiview.config import Study
from multiview.settings import in_own_settings
from multiview.studies.outcome import StudyResult, collect
from multiview.studies.replicate import run_replicate
from multiview.studies.students import check_teacher
from multiview.systems.block_plan import memory_plan
from multiview.systems.blocks import Recorder
from multiview.world.task import Task
from multiview.world.world import World

ProgressCallback = Callable[[str, int, int], None]  # current phase, network-steps done, network-steps in total


def total_network_steps(study: Study, distillation: bool = True) -> int:
    """Count the network-steps of a whole study, for progress."""
    steps = study.seeds * study.train.num_steps
    if distillation:
        onsets = {study.distill.onset_step, study.self_distill.onset_step}
        generations = study.self_distill.generations
        steps += study.students * (sum(onsets) + (generations - 1) * study.self_distill.onset_step)
        steps += study.students * (study.distill.num_steps + generations * study.self_distill.num_steps)
    return study.replicates * steps


def training_tasks(study: Study, world: World | None = None, row_multiple: int = 1) -> list[Task]:
    """Draw the training samples of every replicate, in shapes that share one compiled program; see `World.tasks`."""
    world = World.of(study) if world is None else world
    return world.tasks(
        study.replicates, row_multiple, study.train.changes_patches, with_pairs=study.train.solver == "multirate"
    )


@in_own_settings
def run_study(
    study: Study,
    report: ProgressCallback | None = None,
    *,
    world: World | None = None,
    distillation: bool = True,
    teacher_logits: np.ndarray | None = None,
    recorder: Recorder | None = None,
) -> StudyResult:
    """Train and evaluate all networks, ensembles and students of a study.

    Args:
        study: the configuration.
        report: function that is called with the current phase in words, network-steps done and network-steps in total.
        world: the world that draws the samples, such as an `OwnWorld`; by default `World.of(study)`.
        distillation: whether to train students.
        teacher_logits: logits of a user's own teacher on the training samples [N, k], instead of the ensemble's.
        recorder: measures to record over time: a pure function of one network that runs on the device; by default
            `record_measures`.

    Returns:
        The result; networks that turned non-finite are marked in `Group.finite`.

    Raises:
        ConfigError: one block of networks does not fit the memory, or the world is of another configuration.

    Example:
        >>> import multiview as mv
        >>> result = mv.run_study(mv.load_preset("smoke"))
        >>> sorted(result.groups)
        ['distilled', 'self_distilled', 'single']
    """
    world = World.of(study) if world is None else world
    world.check_study(study)
    begin = time.perf_counter()
    total, done = total_network_steps(study, distillation), 0

    lock = threading.Lock()

    def start_phase(phase: str, replicate: int) -> Callable[[int], None]:
        def progress(steps: int) -> None:
            nonlocal done
            with lock:
                done += steps
                if report is not None:
                    report(f"replicate {replicate + 1}/{study.replicates}: {phase}", done, total)

        progress(0)
        return progress

    tasks = training_tasks(study, world)
    if teacher_logits is not None:
        num_samples = tasks[0].data.num_samples
        dtype = np.dtype(study.train.dtype)
        teacher_logits = check_teacher("teacher_logits", teacher_logits, num_samples, study.data.num_classes, dtype)
    if report is not None:
        report(memory_plan(study, tasks[0]), 0, total)
    options: dict[str, Any] = {
        "start_phase": start_phase, "distillation": distillation, "teacher_logits": teacher_logits, "recorder": recorder
    }  # fmt: skip
    replicates = [run_replicate(study, world, number, task, **options) for number, task in enumerate(tasks)]
    return collect(study, replicates, world.features, time.perf_counter() - begin)

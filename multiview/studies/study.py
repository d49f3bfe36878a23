"""Run a study: for each replicate single networks, their ensemble, its students and self-distilled students."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from multiview.config import Study
from multiview.parameters import ConfigError
from multiview.precision import in_own_precision
from multiview.studies.outcome import StudyResult, collect
from multiview.studies.replicate import run_replicate
from multiview.systems.blocks import Recorder, memory_plan
from multiview.world.patches import represent
from multiview.world.samples import MultiViewDataset, training_set, world_features
from multiview.world.task import Task

ProgressCallback = Callable[[str, int, int], None]  # what is being done, network-steps done, network-steps in all


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


@in_own_precision
def run_study(
    study: Study,
    report: ProgressCallback | None = None,
    *,
    distillation: bool = True,
    own_data: MultiViewDataset | None = None,
    own_features: Array | None = None,
    own_teacher: np.ndarray | None = None,
    recorder: Recorder | None = None,
) -> StudyResult:
    """Train and evaluate everything a study asks for.

    Args:
        study: the configuration.
        report: called with what is being trained and the network-steps done and in all.
        distillation: whether to train students.
        own_data: a user's own training set for every replicate, instead of the generator's.
        own_features: its feature vectors [kL, d], from which test samples are drawn; needed with dense patches.
        own_teacher: a user's own teacher logits on it [N, k], instead of the ensemble's.
        recorder: what to record of each network over time, a pure function of one network that runs on the device;
            `record_measures` by default.

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

    def start_phase(what: str, replicate: int) -> Callable[[int], None]:
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
        report(memory_plan(study, tasks[0]), 0, total)
    replicates = [
        run_replicate(
            study,
            number,
            task,
            start_phase=start_phase,
            features=features,
            distillation=distillation,
            own_teacher=own_teacher,
            recorder=recorder,
        )
        for number, task in enumerate(tasks)
    ]
    return collect(study, replicates, features, time.perf_counter() - begin)

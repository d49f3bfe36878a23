"""What a study or a sweep will cost: activations, seconds and bytes, from shapes alone."""

from __future__ import annotations

import os

from multiview.config import Study
from multiview.systems.table import load, students_of
from multiview.training import forecast

# Activations that steps pass per second, forward and back, with two cores. Measured: 1.1·10⁹ for `smoke`, 0.9 for
# `reference`, 1.8 for `dense`, 0.4 for 400 samples with noise. Only the first estimate rests on it; a sweep that runs
# measures its own speed.
ACTIVATIONS_PER_SECOND = 1e9
STUDY_SECONDS = 15  # of a study's own: its programs are compiled or read back, its prediction is made
PROCESS_BYTES = 500e6  # an interpreter with JAX and its compiled programs
CPU_BLOCK = 2  # `systems.blocks.block_size` on the CPU; a test holds them equal


def seconds_for(activations: float) -> float:
    """Convert activations to seconds on this machine."""
    return 2 / min(os.cpu_count() or 1, 2) * activations / ACTIVATIONS_PER_SECOND


def expected_seconds(study: Study, students: bool) -> float:
    """A rough guess, before anything is known, of what one study takes on this machine."""
    return STUDY_SECONDS + seconds_for(study.replicates * activations(study, students))


def activations(study: Study, students: bool) -> float:
    """Predicted activations of one replicate, by each system's own formula."""
    shapes = forecast.expected_shapes(study)
    single = load(study.system).work(shapes, study)
    total = study.seeds * (single.once + study.train.num_steps * single.step + single.answer)
    if not students:
        return total
    system, generations = load(students_of(study.system)), study.self_distill.generations
    one = system.work(shapes, study)
    own = study.distill.onset_step + study.self_distill.onset_step * generations
    taught = study.distill.num_steps + study.self_distill.num_steps * generations
    steps = own + system.student_steps * taught
    return total + study.students * ((1 + generations) * (one.once + one.answer) + steps * one.step)


def worker_bytes(study: Study) -> float:
    """Predict the bytes of one worker process: blocks in flight on the CPU, at the number of patches that is expected.

    An accelerator has memory of its own.
    """
    shapes = forecast.expected_shapes(study)

    def in_flight(name: str) -> float:
        system = load(name)
        size, at_once = study.train.block_size or CPU_BLOCK, os.cpu_count() or 1
        if system.joint:
            size = study.seeds
        block = forecast.training_bytes(shapes, study, system.footprint, size)
        return block * (1 if system.joint or system.alone else at_once)

    return PROCESS_BYTES + max(in_flight(study.system), in_flight(students_of(study.system)))

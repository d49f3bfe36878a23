"""Predicted cost of a study or a sweep: activations, seconds and bytes, from shapes alone."""

from __future__ import annotations

from multiview import machine
from multiview.config import Study
from multiview.systems.table import load, students_of
from multiview.training import forecast

# Activations a second in training, forward and backward pass together, on two cores. Measured: 1.1·10⁹ for `smoke`,
# 0.9·10⁹ for `reference`, 1.8·10⁹ for `dense`, 0.4·10⁹ for 400 samples with noise. Only the first estimate uses this
# number; a running sweep measures its own speed.
ACTIVATIONS_PER_SECOND = 1e9
STUDY_SECONDS = 15  # once for each study: compiling its programs or reading them back, and making its prediction
PROCESS_BYTES = 500e6  # an interpreter with JAX and its compiled programs
CPU_BLOCK = 2  # equals `block_plan.block_size` on the CPU (tested)


def seconds_for(activations: float) -> float:
    """Convert activations to seconds on this machine."""
    return 2 / min(machine.processors(), 2) * activations / ACTIVATIONS_PER_SECOND


def expected_seconds(study: Study, students: bool) -> float:
    """Estimate roughly, before any measurement, the seconds that one study takes on this machine."""
    return STUDY_SECONDS + seconds_for(study.replicates * activations(study, students))


def activations(study: Study, students: bool) -> float:
    """Predict the activations of one replicate of a study, from the work formula of its system.

    Args:
        study: the configuration.
        students: whether students are trained too.

    Returns:
        Number of activations, training and answering together.
    """
    shapes = forecast.expected_shapes(study)
    single = load(study.system).work(shapes, study)
    total = study.seeds * (single.once + study.train.num_steps * single.step + single.answer)
    if not students:
        return total
    system, generations = load(students_of(study.system)), study.self_distill.generations
    student = system.work(shapes, study)
    alone = study.distill.onset_step + study.self_distill.onset_step * generations
    taught = study.distill.num_steps + study.self_distill.num_steps * generations
    steps = alone + system.student_steps * taught
    return total + study.students * ((1 + generations) * (student.once + student.answer) + steps * student.step)


def worker_bytes(study: Study) -> float:
    """Predict the memory in bytes of one worker process: all blocks in flight on the CPU, at the expected shapes.

    The memory of an accelerator is not part of it.
    """
    shapes = forecast.expected_shapes(study)

    def in_flight(name: str) -> float:
        system = load(name)
        size, at_once = study.train.block_size or CPU_BLOCK, machine.processors()
        if system.joint:
            size = study.seeds
        block = forecast.training_bytes(shapes, study, system.footprint, size)
        return block * (1 if system.joint or system.alone else at_once)

    return PROCESS_BYTES + max(in_flight(study.system), in_flight(students_of(study.system)))

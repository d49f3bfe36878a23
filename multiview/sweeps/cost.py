"""What a study or a sweep will cost: activations, seconds and bytes, from shapes alone."""

from __future__ import annotations

import os

from multiview.config import Study
from multiview.systems.table import load, students_of
from multiview.training import memory
from multiview.training.memory import expected_slots

# Activations that steps pass per second, forward and back, with two cores. Measured: 1.1·10⁹ for `smoke`, 0.9 for
# `reference`, 1.8 for `dense`, 0.4 for 400 samples with noise. Only the first estimate rests on it; a sweep that runs
# measures its own speed.
ACTIVATIONS_PER_SECOND = 1e9
TEST_SHARE = 0.4  # a test is a forward pass, about 0.4 of a step
STUDY_SECONDS = 15  # of a study's own: its programs are compiled or read back, its prediction is made
PROCESS_BYTES = 500e6  # an interpreter with JAX and its compiled programs


CPU_BLOCK = 2  # `batching.block_size` on the CPU, known here without starting JAX; a test holds them equal


def seconds_for(activations: float) -> float:
    return 2 / min(os.cpu_count() or 1, 2) * activations / ACTIVATIONS_PER_SECOND


def expected_seconds(study: Study, students: bool) -> float:
    """A rough guess, before anything is known, of what one study takes on this machine."""
    return STUDY_SECONDS + seconds_for(study.replicates * activations(study, students))


def activations(study: Study, students: bool) -> float:
    """Predicted activations of one replicate, with dense products counted by their multiplications."""
    data = study.data
    steps = study.seeds * study.train.num_steps
    tested = study.seeds
    if students:
        onset = study.distill.onset_step + study.self_distill.onset_step * study.self_distill.generations
        own = study.distill.num_steps + study.self_distill.num_steps * study.self_distill.generations
        steps += study.students * (onset + own)
        tested += study.students * (1 + study.self_distill.generations)
    each, noisy = _each_patch(study)
    if data.representation != "limit_single_view_noise":
        trained, test = data.num_train * noisy, (data.num_test_multi_view + data.num_test_single_view) * noisy
    else:
        trained = (data.num_train - data.num_single_view_train) * each + data.num_single_view_train * noisy
        test = data.num_test_multi_view * each + data.num_test_single_view * noisy
    if study.train.changes_patches and data.representation != "dense":  # every patch, as a vector, on every neuron
        of_vector = data.num_classes * study.network.neurons_per_class * max(1.0, data.num_features / 8)
        return steps * data.num_train * data.num_patches * of_vector + expected_slots(data, TEST_SHARE * tested * test)
    return expected_slots(data, steps * trained + TEST_SHARE * tested * test)


def _each_patch(study: Study) -> tuple[float, float]:
    """Activations of one patch, without noise and with it: without noise, features of other classes are summed in
    closed form (`network`), and only its own class's neurons are evaluated."""
    data, m = study.data, study.network.neurons_per_class
    if data.representation == "dense":
        return (data.num_classes * m * max(1.0, data.patch_dim / 8),) * 2
    quiet = m + 2.0 * data.num_classes
    return quiet, quiet if data.noise_norm == 0 else float(data.num_classes * m)


def worker_bytes(study: Study) -> float:
    """Predict the bytes of one worker process: blocks in flight on the CPU, at the number of patches that is expected.

    An accelerator has memory of its own.
    """
    shapes = memory.expected_shapes(study)

    def in_flight(name: str) -> float:
        system = load(name)
        size, at_once = study.train.block_size or CPU_BLOCK, os.cpu_count() or 1
        if system.joint:
            size = study.seeds
        block = memory.training_bytes(shapes, study, system.footprint, size)
        return block * (1 if system.joint or system.alone else at_once)

    return PROCESS_BYTES + max(in_flight(study.system), in_flight(students_of(study.system)))

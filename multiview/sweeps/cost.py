"""What a study or a sweep will cost: activations, seconds and bytes, from shapes alone."""

from __future__ import annotations

import os

from multiview.config import Study
from multiview.training import memory

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


def _slots(study: Study, samples: float) -> float:
    """Patches that act on a network, in so many samples."""
    data = study.data
    if data.representation == "dense" or data.feature_noise > 0 or data.background_noise_norm > 0:
        return samples * data.num_patches
    features = data.num_views * (1 + (data.num_classes - 1) * min(1.0, data.feature_sparsity / data.num_classes))
    return samples * min(data.num_patches, features * data.patches_per_feature)


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
        return steps * data.num_train * data.num_patches * of_vector + _slots(study, TEST_SHARE * tested * test)
    return _slots(study, steps * trained + TEST_SHARE * tested * test)


def _each_patch(study: Study) -> tuple[float, float]:
    """Activations of one patch, without noise and with it: without noise, features of other classes are summed in
    closed form (`network`), and only its own class's neurons are evaluated."""
    data, m = study.data, study.network.neurons_per_class
    if data.representation == "dense":
        return (data.num_classes * m * max(1.0, data.patch_dim / 8),) * 2
    quiet = m + 2.0 * data.num_classes
    return quiet, quiet if data.noise_norm == 0 else float(data.num_classes * m)


def worker_bytes(study: Study) -> float:
    """Predicted bytes of one worker process: the blocks in flight on the CPU (`memory.block_bytes`), at the number of
    patches that is expected; an accelerator has memory of its own."""
    data, train = study.data, study.train
    k, m = data.num_classes, study.network.neurons_per_class
    item = 8 if train.dtype == "float64" else 4
    as_vectors = data.representation == "dense" or data.feature_noise > 0 or train.changes_patches
    dimension = data.patch_dim if data.representation == "dense" else data.num_features
    tracked = (
        0.0 if data.representation == "dense" or data.noise_norm + data.background_noise_norm == 0 else data.num_train
    )
    if data.representation == "limit_single_view_noise":
        tracked = min(tracked, data.num_single_view_train)
    patches, slots = data.num_train * data.num_patches, _slots(study, data.num_train)
    parameters = (dimension + (tracked * data.num_patches if as_vectors else _slots(study, tracked))) * k * m
    kept = memory.kept_numbers(patches, 0, k, m) if as_vectors else memory.kept_numbers(0, slots, k, m)
    if train.changes_patches:
        of_mixtures = k * m if train.mixup != "none" and tracked else 0
        kept += memory.drawn_numbers(data.num_train, data.num_patches, dimension, of_mixtures)
    # Beside the parameters a solver or optimiser keeps so many numbers for each of them, seldom more than Adam's two.
    beside = 4 if train.solver == "gradient_flow" else 2 if train.optimizer != "sgd" else 1 if train.momentum else 0
    samples = item * patches * (dimension if as_vectors else 4)

    def block(networks: int) -> float:
        return memory.block_bytes(item * networks * (1 + beside) * parameters, item * networks * kept, samples)

    size, at_once = train.block_size or CPU_BLOCK, os.cpu_count() or 1
    if study.system == "network":
        return PROCESS_BYTES + at_once * block(size)
    if study.system == "average":  # its students are networks
        return PROCESS_BYTES + max(block(study.seeds), at_once * block(size))
    tangents, noise = study.system != "random_features", data.representation != "dense"
    numbers = memory.linear_numbers(data.num_train, data.num_patches, dimension, k, m, tangents=tangents, noise=noise)
    numbers += size * memory.linear_state(data.num_train, dimension, k, m) + 2 * patches * dimension
    return PROCESS_BYTES + item * numbers + (block(size) if study.system == "lazy" else 0)

"""The finite-size prediction: what ideal winners would score at this configuration, before anything is trained.

Many studies of this size are drawn from the sampling law alone. Starts are random; `theory.ideal_overlaps` turns each
start into what it ideally learns; the ideal networks then answer fresh test samples of this configuration. The 2.5 %
and 97.5 % quantiles over those studies are the predicted interval.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from multiview import streams, theory
from multiview.config import DistillConfig, NetworkConfig, Study
from multiview.measures.dark_knowledge import classes_present, ordered_share
from multiview.measures.ensemble import by_group
from multiview.measures.errors import combine
from multiview.measures.features import learned_views
from multiview.network.activation import activation_of
from multiview.settings import in_own_settings
from multiview.theory.extremes import solvable
from multiview.words import SAMPLE_KINDS, self_distilled_name
from multiview.world.samples import MultiViewDataset
from multiview.world.world import World

# Simulated studies: enough for 2.5 % quantiles to be interpolated between extremes, in a few seconds.
NUM_STUDIES = 60
# Test sets that the simulated replicates draw from, and samples of each kind in them.
NUM_TEST_SETS = 8
TEST_SAMPLES = 1000
# Their streams lie beyond any study's own replicates.
FIRST_TEST_SET = 1_000_000


TrainingSet = tuple[np.ndarray, np.ndarray]  # moments and single-view counts, of `theory.drawn_training_set`


class Prediction(NamedTuple):
    """A predicted value: its mean and its 95 % interval over simulated studies."""

    mean: float
    low: float
    high: float


@partial(jax.jit, static_argnames="network")
def ideal_logits(overlaps: Array, data: MultiViewDataset, network: NetworkConfig) -> Array:
    """Logits of networks with one neuron for each view and no overlap with anything else.

    Args:
        overlaps: Λ, shape [S, k, L].
        data: samples; their noise is not seen.
        network: activation.

    Returns:
        Logits [S, n, k].
    """
    seeds, k, views = overlaps.shape
    of_feature = jnp.pad(overlaps.reshape(seeds, -1), ((0, 0), (0, 1)))  # index −1, the background, has overlap 0
    values = activation_of(network).value(data.coefficients * of_feature[:, data.patch_feature], network.relu_threshold)
    # Sum over the patches of each class: one segment for each class of each sample, and one for the background.
    samples = data.num_samples
    of_class = jnp.where(data.patch_feature < 0, k, data.patch_feature // views)
    segment = (of_class + (k + 1) * jnp.arange(samples)[:, None]).reshape(-1)
    sums = jax.ops.segment_sum(values.reshape(seeds, -1).T, segment, (k + 1) * samples)
    return sums.reshape(samples, k + 1, seeds)[:, :k].transpose(2, 0, 1)


def predicted_networks(study: Study, num_studies: int = NUM_STUDIES) -> int:
    """Count the ideal networks that `predict_study` draws; each takes about as long as one step of one network."""
    students = study.students * (1 + study.self_distill.generations)
    return num_studies * study.replicates * (study.seeds + students)


@in_own_settings
@solvable
def predict_study(
    study: Study, num_studies: int = NUM_STUDIES, progress: Callable[[int], None] | None = None
) -> dict[str, Prediction]:
    """Predict the errors in units of μ, and the dark knowledge, of a study of this size.

    A distilled student ideally has every view that some network of the ensemble has and for which a neuron of
    its own starts positive; a self-distilled student its own views and its teacher's. Views learned from traces
    stand at `theory.taught_overlap`.

    Args:
        study: the configuration; its seeds, replicates and students set the width of the intervals.
        num_studies: how many studies are drawn.
        progress: called with the number of ideal networks that were just tested.

    Returns:
        Predictions by name, which are single, ensemble, distilled, self_distilled (with a suffix _g for later
        generations) and dark_knowledge.

    Example:
        >>> import multiview as mv
        >>> sorted(mv.predict_study(mv.load_preset("smoke"), num_studies=10))
        ['dark_knowledge', 'distilled', 'ensemble', 'ensemble_probabilities', 'self_distilled', 'single']
    """
    data, network = study.data, study.network
    rng = np.random.default_rng([study.seed, streams.PREDICTION])
    # What ideal networks answer are strengths of features, so the dense representation is not needed.
    law = dataclasses.replace(data, representation="limit") if data.representation == "dense" else data
    world = World(law, study.seed)
    test_sets = [
        [world.test(kind, TEST_SAMPLES, FIRST_TEST_SET + i) for kind in SAMPLE_KINDS] for i in range(NUM_TEST_SETS)
    ]
    at_cap = theory.overlap_at_cap(study, study.self_distill)

    def starts(count: int) -> np.ndarray:
        shape = (count, data.num_classes, data.num_views, network.neurons_per_class)
        return network.init_std * rng.standard_normal(shape, np.float32).max(-1).clip(0)

    values: dict[str, list[float]] = {}
    for index in range(num_studies * study.replicates):
        training_set = theory.drawn_training_set(rng, study)

        def alone(begun: np.ndarray, distill: DistillConfig, of: TrainingSet = training_set) -> np.ndarray:
            return theory.student_alone(begun, of[0], study, distill, of[1])

        single = theory.ideal_overlaps(starts(study.seeds), training_set[0], study, training_set[1])
        begun, known = starts(study.students), np.asarray(learned_views(single).any(0))
        distilled = theory.lesson(alone(begun, study.distill), known, study, study.distill)
        groups = {"single": single, "distilled": distilled.overlap}
        teacher = theory.Lesson(single, np.zeros(single.shape[:-1]))
        for generation in range(study.self_distill.generations):
            if generation:
                begun = starts(study.students)
            teacher = theory.Lesson(*(a[np.arange(study.students) % len(a)] for a in teacher))
            known = learned_views(teacher.overlap) | (teacher.overlap >= at_cap)
            own = alone(begun, study.self_distill)
            teacher = theory.lesson(own, known, study, study.self_distill, teacher.captured)
            groups[self_distilled_name(generation)] = teacher.overlap
        everyone = jnp.asarray(np.concatenate(list(groups.values())), jnp.float32)
        sizes = {n: len(group) for n, group in groups.items()}
        errors: dict[str, list[float]] = {}
        for kind, samples in zip(SAMPLE_KINDS, test_sets[index % NUM_TEST_SETS], strict=True):
            labels = np.asarray(samples.labels)
            outputs = by_group(np.asarray(ideal_logits(everyone, samples, network)), sizes)
            for name, values_of in outputs.items():
                errors.setdefault(name, []).append(float((values_of.argmax(-1) != labels).mean()))
            if kind == "multi_view":
                present = classes_present(samples, data.num_classes, data.num_views)
                values.setdefault("dark_knowledge", []).append(ordered_share(outputs["ensemble"][0], present, labels))
        for name, (multi, single_view) in errors.items():
            error = combine(np.array(multi), np.array(single_view), data.single_view_fraction)
            values.setdefault(name, []).append(float(error))
        if progress is not None:
            progress(len(everyone))
    result = {}
    for name, numbers in values.items():
        means = np.array(numbers).reshape(num_studies, study.replicates).mean(1)
        result[name] = Prediction(float(means.mean()), *(float(x) for x in np.quantile(means, [0.025, 0.975])))
    return result

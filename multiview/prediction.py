"""The finite-size prediction: what ideal winners would score at this configuration, before anything is trained.

Many studies of this size are drawn from the sampling law alone. Starts are random; the closed forms of
`theory.ideal_overlaps` turn each start into what it ideally learns; the ideal networks then answer fresh test
samples of this configuration. The 2.5 % and 97.5 % quantiles over those studies are the predicted interval.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from multiview import theory
from multiview.analysis.errors import combine
from multiview.analysis.features import learned_views
from multiview.config import Study
from multiview.data import Kind
from multiview.evaluation import evaluate, held_out_chunks

# Simulated studies: enough for 2.5 % quantiles to be interpolated between extremes, in a few seconds.
NUM_STUDIES = 40
# Test sets that the simulated replicates draw from, and samples of each kind in them.
NUM_TEST_SETS = 8
TEST_SAMPLES = 1000
KINDS: tuple[Kind, ...] = ("multi_view", "single_view")


class Prediction(NamedTuple):
    """A predicted value: its mean and its 95 % interval over simulated studies."""

    mean: float
    low: float
    high: float


def _moments(rng: np.random.Generator, study: Study) -> np.ndarray:
    """Empirical S_{i,ℓ} (up to a constant) of one training set's multi-view samples [k, L]."""
    data, q = study.data, study.network.relu_power
    if data.representation == "limit_single_view_noise":
        num_multi = data.num_train - data.num_single_view_train
    else:
        num_multi = round(data.num_train * (1 - data.single_view_fraction))
    factors = np.power(data.view_strengths or (1.0,) * data.num_views, q)
    counts = rng.multinomial(max(num_multi, 1), np.full(data.num_classes, 1 / data.num_classes))
    moments = np.empty((data.num_classes, data.num_views))
    for i, count in enumerate(np.maximum(counts, 1)):
        draws = rng.uniform(*data.label_strength, (count, data.num_views))
        moments[i] = (draws**q).mean(0) * factors
    return moments


def ideal_weights(overlaps: np.ndarray) -> np.ndarray:
    """Networks with one neuron for each view that hold exactly these overlaps: [S, k, L] to [S, kL, k, L]."""
    seeds, k, views = overlaps.shape
    weights = np.zeros((seeds, k, views, k, views), np.float32)
    i, view = np.meshgrid(np.arange(k), np.arange(views), indexing="ij")
    weights[:, i, view, i, view] = overlaps[:, i, view]
    return weights.reshape(seeds, k * views, k, views)


def predict(study: Study, num_studies: int = NUM_STUDIES) -> dict[str, Prediction]:
    """Predicted errors in units of μ (and dark knowledge) of a study of this size.

    A distilled student ideally has every view that some network of the ensemble has and for which a neuron of
    its own starts positive; a self-distilled student its own views and its teacher's.

    Args:
        study: the configuration; its seeds, replicates and students set the width of the intervals.
        num_studies: how many studies are drawn.

    Returns:
        Predictions by name: single, ensemble, distilled, self_distilled (with a suffix _g for later
        generations) and dark_knowledge.
    """
    data, network = study.data, study.network
    rng = np.random.default_rng([study.seed, 7])
    # Ideal networks live in the limit of large d, whatever the representation of the study.
    limit = dataclasses.replace(
        study,
        data=dataclasses.replace(
            data,
            representation="limit_single_view_noise",
            noise_norm=0.0,
            background_noise_norm=0.0,
            feature_noise=0.0,
            num_single_view_train=0,
        ),
        network=dataclasses.replace(network, neurons_per_class=data.num_views),
        train=dataclasses.replace(study.train, block_size=study.students, dtype="float32"),
    )
    # Test streams beyond the study's own replicates.
    test_sets = [
        {kind: list(held_out_chunks(limit, 10_000 + i, kind, TEST_SAMPLES)) for kind in KINDS}
        for i in range(NUM_TEST_SETS)
    ]
    full = theory.winner_overlap(study, study.train.learning_rate * study.train.num_steps)

    def starts(count: int) -> np.ndarray:
        shape = (count, data.num_classes, data.num_views, network.neurons_per_class)
        return network.init_std * rng.standard_normal(shape, np.float32).max(-1).clip(0)

    values: dict[str, list[list[float]]] = {}
    for index in range(num_studies * study.replicates):
        moments = _moments(rng, study)
        single = theory.ideal_overlaps(starts(study.seeds), moments, study)
        groups = {"single": single}
        begun = starts(study.students)
        own = theory.ideal_overlaps(begun, moments, study)
        known = learned_views(single)
        groups["distilled"] = np.where((begun > 0) & known.any(0), full, own)
        teacher, student = known[np.arange(study.students) % study.seeds], (begun, own)
        for generation in range(study.self_distill.generations):
            if generation:
                begun = starts(study.students)
                student = (begun, theory.ideal_overlaps(begun, moments, study))
            taught = np.where((student[0] > 0) & teacher, full, student[1])
            groups[self_distilled_name(generation)] = taught
            teacher = learned_views(taught)
        networks = {name: jnp.asarray(ideal_weights(overlaps)) for name, overlaps in groups.items()}
        wrong, dark = evaluate(limit, 0, networks, chunks=test_sets[index % NUM_TEST_SETS])
        for name, (multi, single_view) in wrong.items():
            error = combine(multi / TEST_SAMPLES, single_view / TEST_SAMPLES, data.single_view_fraction)
            values.setdefault(name, []).append([float(error.mean())])
        values.setdefault("dark_knowledge", []).append([dark])
    result = {}
    for name, numbers in values.items():
        means = np.array(numbers).reshape(num_studies, study.replicates).mean(1)
        result[name] = Prediction(float(means.mean()), *(float(x) for x in np.quantile(means, [0.025, 0.975])))
    return result


def self_distilled_name(generation: int) -> str:
    """Group name of a self-distillation generation: self_distilled, self_distilled_2, …"""
    return "self_distilled" if generation == 0 else f"self_distilled_{generation + 1}"

"""What the contrasts' experiments are made of: boosting, Gaussian inputs, the law of the ensemble's size."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import boosting, gaussian
from multiview import streams, theory
from multiview.config import replace
from multiview.network.activation import smoothed_relu
from multiview.parameters import ConfigError
from multiview.systems.blocks import start_keys


def test_boosting_gives_wrong_samples_the_error_of_guessing():
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    wrong = np.array([True, False, False, True])
    new, vote = boosting.reweight(weights, wrong, 4)
    assert new.sum() == pytest.approx(1)
    assert new[wrong].sum() == pytest.approx(3 / 4)
    assert vote == pytest.approx(np.log(0.5 / 0.5) + np.log(3))
    assert new[0] / new[3] == pytest.approx(0.25)
    same, vote = boosting.reweight(weights, np.zeros(4, bool), 4)
    assert vote == np.inf
    np.testing.assert_allclose(same, weights)
    with pytest.raises(ConfigError, match=r"weighted training error = 0\.9"):
        boosting.reweight(weights, np.array([False, True, True, True]), 4)


def test_votes_are_counted_by_class():
    outputs = np.array([[[1.0, 2.0]], [[3.0, 0.0]], [[0.0, 1.0]]])
    np.testing.assert_allclose(boosting.vote(outputs, np.array([1.0, 2.5, 1.0])), [[2.5, 2.0]])


def test_boosting_ends_at_training_error_0_and_goes_on_above_it(tiny, task):
    keys = start_keys(tiny, streams.START, 0, range(2))
    trained = boosting.boost(replace(tiny, {"train.num_steps": 400}), task, keys)
    assert trained.nothing_left
    assert len(trained.weights) == len(trained.votes) == 1
    assert "round 1" in trained.reason
    hard = dataclasses.replace(task.data, labels=task.data.labels.at[0].set((task.data.labels[0] + 1) % 4))
    weak = boosting.boost(replace(tiny, {"train.num_steps": 30}), task._replace(data=hard), keys)
    assert not weak.nothing_left
    assert weak.errors[0] > 0


def test_gaussian_inputs_have_no_structure_and_every_label(tiny):
    study = replace(tiny, {"data.representation": "dense", "data.patch_dim": 12})
    teacher = gaussian.labelling_network(jax.random.key(0), study)
    sample = gaussian.gaussian_task(jax.random.key(1), teacher, study, 400)
    assert sample.data.patches.shape == (400, tiny.data.num_patches, 12)
    assert set(np.asarray(sample.data.labels).tolist()) == set(range(tiny.data.num_classes))
    norms = (np.asarray(sample.data.patches) ** 2).sum(-1)
    assert norms.mean() == pytest.approx(1, abs=5 * norms.std() / np.sqrt(norms.size))
    assert float(sample.data.weights.sum()) == pytest.approx(1)
    with pytest.raises(ConfigError, match=r"data\.representation = 'limit_single_view_noise'"):
        gaussian.gaussian_task(jax.random.key(1), teacher, tiny, 4)
    with pytest.raises(ConfigError, match="num_samples = 0"):
        gaussian.gaussian_task(jax.random.key(1), teacher, study, 0)


def test_law_of_ensemble_size(tiny):
    """K = 1 is the single network's error, large K has none, and the sum is that of a direct simulation."""
    k, s = 6, 2.0
    study = replace(tiny, {"data.num_classes": k, "data.num_patches": 13, "data.feature_sparsity": s})
    assert theory.ensemble_error(study, 1) == pytest.approx(0.5 * (1 - (1 - s / k) ** (k - 1)))
    assert theory.ensemble_error(study, 64) < 1e-3
    size, draws, rng = 3, 200_000, np.random.default_rng(0)
    data, overlap = study.data, theory.winner_overlap(study, study.train.learning_rate * study.train.num_steps)

    def activation(strength):
        return np.asarray(smoothed_relu(jnp.float32(strength * overlap), study.network.relu_power,
                                        study.network.relu_threshold)).item()  # fmt: skip

    label = np.mean(data.label_strength)
    foreign = data.single_view_foreign_strength * np.mean(data.single_view_foreign_ratio)
    view_of = rng.integers(0, 2, (draws, size, k))  # the view that each network knows of each class
    is_present = rng.random((draws, k, 2)) < s / k
    here = np.take_along_axis(is_present[:, None], view_of[..., None], -1)[..., 0].mean(1) * activation(foreign)
    share = (view_of[:, :, 0] == 0).mean(1)
    own = share * activation(label) + (1 - share) * activation(data.weak_view_strength * label)
    wrong = (here[:, 1:].max(-1) > own).mean()
    assert theory.ensemble_error(study, size) == pytest.approx(wrong, abs=4 * np.sqrt(wrong / draws) + 1e-6)

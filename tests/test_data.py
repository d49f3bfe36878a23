"""The sampling law has the distribution of section 3 of docs/theory.md."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from multiview.config import DataConfig
from multiview.theory import split_factor
from multiview.world.law import orthonormal_features, sample_dataset
from multiview.world.samples import MultiViewDataset

P_VALUE = 1e-4  # see conftest
SIGMAS = 4.5  # two-sided p-value of 7e-6 for a normal mean
N = 3000
K = 5


def world(**changes) -> DataConfig:
    """Five classes, room for every foreign feature; strengths of views far apart, so that a mix-up shows."""
    values = {
        "num_classes": K,
        "num_views": 2,
        "feature_sparsity": 2.0,
        "single_view_fraction": 0.2,
        "label_strength": (1.0, 1.5),
        "foreign_strength": (0.3, 0.4),
        "weak_view_strength": 0.1,
        "single_view_foreign_strength": 0.28,
        "single_view_foreign_ratio": (0.5, 1.0),
        "noise_norm": 0.6,
        "background_noise_norm": 0.2,
    } | changes
    values.setdefault("num_patches", values["num_views"] * K * values.get("patches_per_feature", 1))
    return DataConfig(**values)


@pytest.fixture(scope="module")
def draw():
    """Samples by configuration, kind and number: drawn once."""
    cache: dict = {}

    def get(config: DataConfig, kind: str = "mixture", n: int = N, key: int = 0) -> MultiViewDataset:
        if (config, kind, n, key) not in cache:
            cache[config, kind, n, key] = sample_dataset(jax.random.key(key), config, n, kind)
        return cache[config, kind, n, key]

    return get


def totals(data: MultiViewDataset, config: DataConfig) -> tuple[np.ndarray, np.ndarray]:
    """Σ_p z_p and the number of patches of every feature in every sample, each [N, k, L]."""
    feature, z = np.asarray(data.patch_feature), np.asarray(data.coefficients, float)
    n = np.broadcast_to(np.arange(len(feature))[:, None], feature.shape)
    strength, count = (np.zeros((len(feature), config.num_features)) for _ in range(2))
    used = feature >= 0
    np.add.at(strength, (n[used], feature[used]), z[used])
    np.add.at(count, (n[used], feature[used]), 1)
    shape = (len(feature), config.num_classes, config.num_views)
    return strength.reshape(shape), count.reshape(shape)


def own_and_foreign(data: MultiViewDataset, config: DataConfig):
    """Strengths of the label's views [N, L], of present foreign features, and the mask of foreign features there."""
    strength, count = totals(data, config)
    is_label = np.arange(config.num_classes)[None] == np.asarray(data.labels)[:, None]
    foreign = ~is_label[:, :, None] & (count > 0)
    return strength[is_label], strength[foreign], foreign


def assert_uniform(values: np.ndarray, low: float, high: float) -> None:
    """All values in the interval (up to rounding), and uniform there by Kolmogorov-Smirnov."""
    rounding = 4 * np.finfo(np.float32).eps * max(high, 1)
    assert values.min() >= low - rounding
    assert values.max() <= high + rounding
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > P_VALUE


def test_labels_are_uniform(draw):
    counts = np.bincount(np.asarray(draw(world()).labels), minlength=K)
    assert len(counts) == K
    assert stats.chisquare(counts).pvalue > P_VALUE


@pytest.mark.parametrize("views", [1, 2, 3])
def test_multi_view_samples_hold_every_view_of_the_label_at_its_strength(draw, views):
    config = world(num_views=views)
    own, _, _ = own_and_foreign(draw(config, "multi_view"), config)
    assert own.shape == (N, views)
    for view in range(views):
        assert_uniform(own[:, view], 1.0, 1.5)


def test_view_strengths_scale_each_view(draw):
    config = world(view_strengths=(1.0, 2.0))
    own, _, _ = own_and_foreign(draw(config, "multi_view"), config)
    assert_uniform(own[:, 0], 1.0, 1.5)
    assert_uniform(own[:, 1], 2.0, 3.0)


@pytest.mark.parametrize("views", [1, 2, 3])
def test_single_view_samples_hold_one_view_strongly_and_the_others_weakly(draw, views):
    config = world(num_views=views)
    data = draw(config, "single_view")
    own, _, _ = own_and_foreign(data, config)
    chosen = np.arange(views)[None] == np.asarray(data.chosen_view)[:, None]
    assert chosen.sum() == N
    assert_uniform(own[chosen], 1.0, 1.5)
    if views > 1:
        assert_uniform(own[~chosen], 0.1, 0.15)


@pytest.mark.parametrize(("kind", "low", "high"), [("multi_view", 0.3, 0.4), ("single_view", 0.14, 0.28)])
def test_foreign_strengths(draw, kind, low, high):
    config = world()
    _, foreign, _ = own_and_foreign(draw(config, kind), config)
    assert_uniform(foreign, low, high)


@pytest.mark.parametrize("views", [1, 2, 3])
def test_each_foreign_feature_joins_with_probability_s_over_k(draw, views):
    config = world(num_views=views)
    data = draw(config, "multi_view")
    _, _, foreign = own_and_foreign(data, config)
    p = config.feature_sparsity / K
    trials = np.array([(np.asarray(data.labels) != j).sum() for j in range(K)])[:, None]
    z = (foreign.sum(0) - trials * p) / np.sqrt(trials * p * (1 - p))
    assert z.shape == (K, views)
    assert np.abs(z).max() < SIGMAS
    # Joins are independent: the number in a sample is binomial, so its variance is.
    number = foreign.sum((1, 2))
    m = views * (K - 1)
    expected = N * stats.binom(m, p).pmf(np.arange(m + 1))
    assert stats.chisquare(np.bincount(number, minlength=m + 1), expected).pvalue > P_VALUE
    assert int(data.dropped_features.sum()) == 0


@pytest.mark.parametrize("views", [2, 3])
def test_chosen_view_is_uniform_and_independent_of_the_label(draw, views):
    data = draw(world(num_views=views), "single_view")
    table = np.zeros((K, views))
    np.add.at(table, (np.asarray(data.labels), np.asarray(data.chosen_view)), 1)
    assert stats.chisquare(table.ravel()).pvalue > P_VALUE


def test_mixture_has_single_view_samples_with_probability_mu_and_pure_kinds_have_all_or_none(draw):
    config = world()
    data = draw(config)
    single = np.asarray(data.is_single_view)
    assert stats.binomtest(int(single.sum()), N, 0.2).pvalue > P_VALUE
    np.testing.assert_array_equal(np.asarray(data.chosen_view) >= 0, single)
    own, _, _ = own_and_foreign(data, config)
    np.testing.assert_array_equal(own.min(1) < 0.5, single)
    assert not draw(config, "multi_view").is_single_view.any()
    assert draw(config, "single_view").is_single_view.all()


@pytest.mark.parametrize("split", ["equal", "random"])
def test_every_present_feature_takes_its_patches_and_they_sum_to_its_strength(draw, split):
    config = world(patches_per_feature=3, patch_split=split)
    data = draw(config, "multi_view")
    strength, count = totals(data, config)
    assert set(np.unique(count)) == {0.0, 3.0}
    own, foreign, _ = own_and_foreign(data, config)
    assert_uniform(own.ravel(), 1.0, 1.5)
    assert_uniform(foreign, 0.3, 0.4)
    # How evenly: E[Σ z²] / E[(Σ z)²] is the closed form of theory.split_factor.
    squares = np.zeros((N, config.num_features))
    feature = np.asarray(data.patch_feature)
    n, p = np.nonzero(feature >= 0)
    np.add.at(squares, (n, feature[n, p]), np.asarray(data.coefficients, float)[n, p] ** 2)
    present = count.reshape(N, -1) > 0
    share = squares[present] / strength.reshape(N, -1)[present] ** 2
    if split == "equal":
        np.testing.assert_allclose(share, 1 / 3, rtol=1e-5)
    else:
        error = share.std() / math.sqrt(len(share))
        assert abs(share.mean() - split_factor(config, 2.0)) < SIGMAS * error


def test_positions_are_uniform(draw):
    config = world(num_patches=12)
    feature = np.asarray(draw(config, "multi_view").patch_feature)
    labels = np.asarray(draw(config, "multi_view").labels)
    n, place = np.nonzero(feature == 2 * labels[:, None])
    assert len(n) == N
    assert stats.chisquare(np.bincount(place, minlength=12)).pvalue > P_VALUE
    # The two views of the label lie independently: any ordered pair of different places is as likely.
    _, other = np.nonzero(feature == 2 * labels[:, None] + 1)
    table = np.zeros((12, 12))
    np.add.at(table, (place, other), 1)
    assert np.trace(table) == 0
    assert stats.chisquare(table[~np.eye(12, dtype=bool)]).pvalue > P_VALUE


def test_foreign_features_without_room_are_dropped_at_random_and_counted(draw):
    config = world(num_patches=5, feature_sparsity=3.0)
    data = draw(config, "multi_view")
    own, strength, foreign = own_and_foreign(data, config)
    dropped, kept = np.asarray(data.dropped_features), foreign.sum((1, 2))
    assert own.min() >= 1.0 - 1e-6  # the label's views are never dropped
    assert_uniform(strength, 0.3, 0.4)
    # Kept and dropped together are the binomial number that joined; no more are dropped than need be.
    expected = N * stats.binom(8, 0.6).pmf(np.arange(9))
    assert stats.chisquare(np.bincount(kept + dropped, minlength=9), expected).pvalue > P_VALUE
    np.testing.assert_array_equal(kept, np.minimum(kept + dropped, 3))
    # At random: given the label every foreign feature is kept equally often.
    for label in range(K):
        per_feature = np.delete(foreign[np.asarray(data.labels) == label].sum(0), label, 0).ravel()
        assert stats.chisquare(per_feature).pvalue > P_VALUE


def test_patches_left_over_by_patches_per_feature_are_background(draw):
    config = world(num_patches=32, patches_per_feature=3)
    data = draw(config, "multi_view", 200)
    empty = np.asarray(data.patch_feature) < 0
    assert (empty.sum(1) >= 2).all()
    assert (np.asarray(data.coefficients)[empty] == 0).all()
    assert (np.asarray(data.coefficients)[~empty] > 0).all()


def test_noise_norms_of_feature_and_background_patches(draw):
    data = draw(world(num_patches=14))
    norms, feature = np.asarray(data.noise_norms), np.asarray(data.patch_feature)
    assert (norms[feature >= 0] == np.float32(0.6)).all()
    assert (norms[feature < 0] == np.float32(0.2)).all()
    assert (feature < 0).any()


def test_features_are_orthonormal_and_differ_by_key():
    config = world(patch_dim=40)
    features = np.asarray(orthonormal_features(jax.random.key(0), config))
    assert features.shape == (10, 40)
    np.testing.assert_allclose(features @ features.T, np.eye(10), atol=40 * np.finfo(np.float32).eps)
    other = np.asarray(orthonormal_features(jax.random.key(1), config))
    assert np.abs(features - other).max() > 0.1


@pytest.fixture(scope="module")
def dense():
    """Dense patches with their features."""
    config = world(patch_dim=40, num_patches=14)
    features = orthonormal_features(jax.random.key(1), config)
    return config, np.asarray(features, float), sample_dataset(jax.random.key(2), config, 300, "mixture", features)


def test_dense_patches_are_feature_plus_gaussian_noise_of_the_right_norm(dense):
    config, features, data = dense
    rows = np.concatenate([features, np.zeros((1, 40))])[np.asarray(data.patch_feature)]
    noise = np.asarray(data.patches, float) - np.asarray(data.coefficients, float)[..., None] * rows
    background = np.asarray(data.patch_feature) < 0
    for mask, norm in ((~background, config.noise_norm), (background, config.background_noise_norm)):
        square = (noise[mask] ** 2).sum(-1)
        # |ξ|² is ν²/d times chi-square of d degrees: its variance is 2 ν⁴/d.
        error = norm**2 * math.sqrt(2 / 40 / len(square))
        assert abs(square.mean() - norm**2) < SIGMAS * error
        coordinates = noise[mask].ravel()[:20000]
        assert stats.kstest(coordinates, stats.norm(scale=norm / math.sqrt(40)).cdf).pvalue > P_VALUE


@pytest.mark.parametrize("vectors", [False, True])
def test_feature_noise_lies_in_its_interval_and_in_the_vectors(vectors):
    config = world(patch_dim=12, feature_noise=0.05, noise_norm=0.0, background_noise_norm=0.0)
    features = orthonormal_features(jax.random.key(1), config) if vectors else None
    data = sample_dataset(jax.random.key(3), config, 200, "multi_view", features)
    alpha = np.asarray(data.feature_noise, float)
    assert alpha.shape == (200, 10, 10)
    assert_uniform(alpha.ravel()[:10000], 0.0, 0.05)
    if vectors:
        z = np.asarray(data.coefficients, float)[..., None] * (
            np.asarray(data.patch_feature)[..., None] == np.arange(10)
        )
        overlaps = np.asarray(data.patches, float) @ np.asarray(features, float).T
        np.testing.assert_allclose(overlaps, z + alpha, atol=2e-6)
        # Without Gaussian noise nothing lies outside the span of the features.
        outside = np.asarray(data.patches, float) - overlaps @ np.asarray(features, float)
        assert np.abs(outside).max() < 2e-6


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"patch_split": "random", "patches_per_feature": 2, "feature_noise": 0.1}])
def test_more_samples_never_change_those_before(changes):
    """So numbers of samples are rounded up where they are drawn; every array but the weights."""
    config = dataclasses.replace(DataConfig(), representation="limit", num_patches=20, **changes)
    few, many = (sample_dataset(jax.random.key(3), config, n, "mixture") for n in (37, 600))
    for field in dataclasses.fields(few):
        value, other = getattr(few, field.name), getattr(many, field.name)
        if value is not None and field.name != "weights":
            np.testing.assert_allclose(value, other[:37], rtol=1e-6)  # logarithms of a random split may round apart
    np.testing.assert_allclose(few.weights, 1 / 37, rtol=1e-6)


def test_types_of_arrays():
    """Strengths are float32 unless asked otherwise, indices int32."""
    data = sample_dataset(jax.random.key(0), world(), 5)
    assert data.coefficients.dtype == jnp.float32
    assert data.labels.dtype == jnp.int32

"""The generator has the distribution of section 3 of docs/theory.md, and data sets survive files."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from multiview import streams
from multiview.config import DataConfig, NetworkConfig, replace
from multiview.network.parameters import init
from multiview.parameters import ConfigError
from multiview.studies.evaluation import held_out_chunks
from multiview.studies.study import training_tasks
from multiview.theory import split_factor
from multiview.world.files import load_dataset, save_dataset
from multiview.world.make import make_multiview
from multiview.world.patches import represent
from multiview.world.samples import (
    MultiViewDataset,
    held_out_set,
    orthonormal_features,
    sample_dataset,
    training_set,
    world_features,
)

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


def test_make_multiview_shapes_types_and_reproducibility():
    config = world(patch_dim=12)
    x, y = make_multiview(30, config=config, random_state=3)
    assert (x.shape, x.dtype) == ((30, 120), np.float32)
    assert (y.shape, y.dtype) == ((30,), np.int64)
    again, labels = make_multiview(30, config=config, random_state=3, flatten=False)
    assert again.shape == (30, 10, 12)
    np.testing.assert_array_equal(again.reshape(30, -1), x)
    np.testing.assert_array_equal(labels, y)
    other, _ = make_multiview(30, config=config, random_state=4)
    assert np.abs(other - x).max() > 0.1
    one, _ = make_multiview(30, config=config)
    two, _ = make_multiview(30, config=config)
    assert np.abs(one - two).max() > 0.1


@pytest.mark.parametrize("count", [0, -1, 2.5, True, "7"])
def test_make_multiview_refuses_a_bad_number_of_samples(count):
    with pytest.raises(ConfigError, match="n_samples"):
        make_multiview(count)


def test_make_multiview_refuses_too_small_a_dimension():
    with pytest.raises(ConfigError, match=r"patch_dim = 9 .* 10"):
        make_multiview(5, config=world(patch_dim=9))


def test_weights_of_noise_on_single_view_samples_only():
    """N − N_s multi-view samples of weight 1 − μ without noise, N_s single-view ones of weight μ with noise."""
    config = world(representation="limit_single_view_noise", num_train=40, num_single_view_train=8)
    data = training_set(0, 0, config)
    single, weights = np.asarray(data.is_single_view), np.asarray(data.weights, float)
    assert single.sum() == 8
    assert len(single) == 40
    # Rounding of a sum of N float32 numbers.
    assert weights.sum() == pytest.approx(1, abs=40 * 6e-8)
    assert weights[single].sum() == pytest.approx(0.2, abs=40 * 6e-8)
    assert np.ptp(weights[single]) == 0
    assert np.ptp(weights[~single]) == 0
    assert (np.asarray(data.noise_norms)[~single] == 0).all()
    assert (np.asarray(data.noise_norms)[single] > 0).all()


def test_multi_view_samples_have_equal_classes_where_they_stand_for_a_much_larger_set():
    config = world(representation="limit_single_view_noise", num_train=48, num_single_view_train=8)
    data = training_set(0, 0, config)
    multi = np.asarray(data.labels)[~np.asarray(data.is_single_view)]
    assert np.bincount(multi).tolist() == [8] * K


def test_noise_on_single_view_samples_only_without_single_view_samples():
    config = world(representation="limit_single_view_noise", num_train=40, num_single_view_train=0)
    data = training_set(0, 0, config)
    assert data.num_samples == 40
    assert not data.is_single_view.any()
    assert float(data.weights.sum()) == pytest.approx(1, abs=40 * 6e-8)


def test_mixture_weights_are_equal_and_sum_to_one():
    data = training_set(0, 0, world(num_train=40))
    assert np.ptp(np.asarray(data.weights)) == 0
    assert float(data.weights.sum()) == pytest.approx(1, abs=40 * 6e-8)


def same(a: MultiViewDataset, b: MultiViewDataset) -> bool:
    leaves_a, leaves_b = jax.tree.leaves(a), jax.tree.leaves(b)
    return len(leaves_a) == len(leaves_b) and all(np.array_equal(x, y) for x, y in zip(leaves_a, leaves_b, strict=True))


def test_more_replicates_never_change_earlier_training_sets(tiny):
    one = training_tasks(replace(tiny, {"replicates": 1}))
    three = training_tasks(replace(tiny, {"replicates": 3}))
    assert same(one[0].data, three[0].data)
    assert not same(three[0].data, three[1].data)
    assert not same(three[1].data, three[2].data)


def test_more_test_samples_never_change_earlier_ones_or_the_training_set(tiny):
    few = [t.data for t in held_out_chunks(tiny, 0, "single_view", 1000)]
    many = [t.data for t in held_out_chunks(tiny, 0, "single_view", 2000)]
    assert [d.num_samples for d in many] == [1000, 1000]
    assert same(few[0], many[0])
    assert not same(many[0], many[1])
    bigger = dataclasses.replace(tiny.data, num_test_multi_view=7, num_test_single_view=9)
    assert same(training_set(0, 0, tiny.data), training_set(0, 0, bigger))


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


def test_test_sets_differ_from_training_sets_and_between_replicates_seeds_and_kinds():
    config = world()
    train = training_set(0, 0, dataclasses.replace(config, num_train=N))
    sets = [
        held_out_set(seed, replicate, config, kind, N, chunk)
        for seed, replicate, kind, chunk in [
            (0, 0, "mixture", 0), (0, 0, "mixture", 1), (0, 1, "mixture", 0), (1, 0, "mixture", 0),
            (0, 0, "multi_view", 0), (0, 0, "single_view", 0),
        ]
    ]  # fmt: skip
    coefficients = {np.asarray(d.coefficients).tobytes() for d in [train, *sets]}
    assert len(coefficients) == 7


def test_streams_never_share_a_key():
    names = [getattr(streams, n) for n in dir(streams) if n.isupper()]
    assert len(set(names)) == len(names)
    keys = [streams.stream(s, n, i) for s in (0, 1) for n in names for i in (0, 1)]
    words = {np.asarray(jax.random.key_data(k)).tobytes() for k in keys}
    assert len(words) == len(keys)


def test_replicates_share_shapes(tiny, tiny_noisy):
    """`represent` promises shapes that several data sets share, so that one compiled program serves all of them."""
    for study in (tiny, tiny_noisy):
        tasks = training_tasks(replace(study, {"replicates": 12}))
        shapes = {tuple(a.shape for a in jax.tree.leaves(task.patches)) for task in tasks}
        assert len(shapes) == 1


def test_file_round_trip(tmp_path, dense):
    config, features, data = dense
    config = dataclasses.replace(config, representation="dense")
    save_dataset(tmp_path / "data.npz", data, features.astype(np.float32), "a description")
    loaded, vectors = load_dataset(tmp_path / "data.npz", config)
    assert same(loaded, data)
    np.testing.assert_array_equal(vectors, features)
    with np.load(tmp_path / "data.npz") as file:
        np.testing.assert_array_equal(file["features"], features)
        assert str(file["description"]) == "a description"
    assert [p.name for p in tmp_path.iterdir()] == ["data.npz"]


def test_file_round_trip_in_the_limit_with_feature_noise(tmp_path):
    config = world(feature_noise=0.01)
    data = sample_dataset(jax.random.key(0), config, 7)
    save_dataset(tmp_path / "data.npz", data)
    loaded, features = load_dataset(tmp_path / "data.npz", config)
    assert loaded.patches is None
    assert features is None
    assert same(loaded, data)


def test_a_failing_save_leaves_nothing(tmp_path, monkeypatch, draw):
    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="disk full"):
        save_dataset(tmp_path / "data.npz", draw(world()))
    assert list(tmp_path.iterdir()) == []


def test_own_data_of_patches_and_labels_alone(tmp_path, random):
    patches = random.standard_normal((6, 3, 8))
    labels = np.array([0, 1, 2, 3, 4, 0])
    np.savez(tmp_path / "own.npz", patches=patches, labels=labels)
    data, features = load_dataset(tmp_path / "own.npz", world(representation="dense"))
    assert features is None
    np.testing.assert_array_equal(data.labels, labels)
    np.testing.assert_array_equal(data.patches, patches.astype(np.float32))
    assert float(data.weights.sum()) == pytest.approx(1, abs=1e-6)
    (part,) = represent([data], world())[0]
    np.testing.assert_array_equal(part.vectors, data.patches)


GOOD = {"patches": np.zeros((2, 3, 8)), "labels": np.array([0, 1])}
FULL = GOOD | {
    "is_single_view": np.zeros(2, bool),
    "chosen_view": np.full(2, -1),
    "patch_feature": np.zeros((2, 3), int),
    "coefficients": np.ones((2, 3)),
    "noise_norms": np.ones((2, 3)),
    "weights": np.full(2, 0.5),
    "dropped_features": np.zeros(2, int),
}


@pytest.mark.parametrize(
    ("arrays", "named"),
    [
        ({}, "labels"),
        ({"labels": GOOD["labels"]}, "patches"),
        (GOOD | {"labels": np.array([0, 5])}, "labels"),
        (GOOD | {"labels": np.array([-1, 0])}, "labels"),
        (GOOD | {"labels": np.array([0.0, 1.0])}, "labels"),
        (GOOD | {"labels": np.array([[0, 1]])}, "labels"),
        (GOOD | {"labels": np.array([], int)}, "labels"),
        (GOOD | {"patches": np.zeros((3, 3, 8))}, "patches"),
        (GOOD | {"patches": np.zeros((2, 24))}, "patches"),
        (GOOD | {"patches": np.full((2, 3, 8), np.nan)}, "patches"),
        (GOOD | {"patches": np.full((2, 3, 8), "x")}, "patches"),
        ({n: v for n, v in FULL.items() if n != "noise_norms"}, "noise_norms"),
        (FULL | {"weights": np.ones(3)}, "weights"),
        (FULL | {"weights": np.array([np.nan, 1.0])}, "weights"),
        (FULL | {"coefficients": np.ones(2)}, "coefficients"),
        (FULL | {"coefficients": np.full((2, 3), np.inf)}, "coefficients"),
        (FULL | {"patch_feature": np.full((2, 3), 99)}, "patch_feature"),
        (FULL | {"features": np.ones((9, 8))}, "features"),
    ],
)
def test_bad_files_are_refused_and_the_array_is_named(tmp_path, arrays, named):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ConfigError, match=named):
        load_dataset(tmp_path / "bad.npz", world(representation="dense"))


def test_complete_file_is_accepted(tmp_path):
    """The counterpart of the test above: its arrays are refused for what is wrong with them alone."""
    np.savez(tmp_path / "good.npz", **FULL)
    assert load_dataset(tmp_path / "good.npz", world(representation="dense"))[0].num_samples == 2


def test_a_file_with_pickled_objects_is_refused(tmp_path):
    np.savez(tmp_path / "bad.npz", labels=np.array([object()]))
    with pytest.raises(ConfigError):
        load_dataset(tmp_path / "bad.npz", world())


def test_types_of_arrays():
    """Strengths are float32 unless asked otherwise, indices int32."""
    data = sample_dataset(jax.random.key(0), world(), 5)
    assert data.coefficients.dtype == jnp.float32
    assert data.labels.dtype == jnp.int32


@pytest.mark.parametrize("representation", ["dense", "limit_single_view_noise"])
def test_double_precision_means_the_same_world(representation):
    """Another dtype changes arithmetic alone: the same samples, features and starts, up to rounding."""
    config = world(
        representation=representation, num_train=40, num_single_view_train=8, patch_split="random",
        patches_per_feature=2, num_patches=24, feature_noise=0.01, patch_dim=32,
    )  # fmt: skip

    def drawn(dtype: str) -> list[np.ndarray]:
        features = world_features(3, config, dtype)
        train = training_set(3, 1, config, dtype)
        test = held_out_set(3, 1, config, "single_view", 50, 0, features, dtype)
        (patches,) = represent([train], config, dtype)
        dimension = config.patch_dim if representation == "dense" else config.num_features
        start = init(jax.random.key(5), patches, dimension, K, NetworkConfig(), dtype)
        return [np.asarray(a) for a in jax.tree.leaves((features, train, test, start))]

    single = drawn("float32")
    with jax.enable_x64(True):
        double = drawn("float64")
    for a, b in zip(single, double, strict=True):
        if np.issubdtype(a.dtype, np.floating):
            assert (a.dtype, b.dtype) == (np.float32, np.float64)
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        else:
            assert a.dtype == b.dtype
            assert (a == b).all()

"""A user's data: sets survive files, and every array is checked by one table as what it becomes in training."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest
from worlds import CONFIG, same

from multiview.files import OutputError
from multiview.parameters import ConfigError
from multiview.world.files import load_dataset, save_dataset
from multiview.world.law import sample_dataset
from multiview.world.own import OwnWorld
from multiview.world.patches import represent
from multiview.world.samples import MultiViewDataset
from multiview.world.world import World

DENSE = dataclasses.replace(CONFIG, representation="dense")


def test_file_round_trip(tmp_path):
    world = World(dataclasses.replace(DENSE, num_train=30))
    save_dataset(tmp_path / "data.npz", world.train(), world.features, "a description")
    loaded, vectors = load_dataset(tmp_path / "data.npz", DENSE)
    assert same(loaded, world.train())
    np.testing.assert_array_equal(vectors, world.features)
    with np.load(tmp_path / "data.npz") as file:
        np.testing.assert_array_equal(file["features"], world.features)
        assert str(file["description"]) == "a description"
    assert [p.name for p in tmp_path.iterdir()] == ["data.npz"]


def test_file_round_trip_in_the_limit_with_feature_noise(tmp_path):
    config = dataclasses.replace(CONFIG, feature_noise=0.01)
    data = sample_dataset(jax.random.key(0), config, 7)
    save_dataset(tmp_path / "data.npz", data)
    loaded, features = load_dataset(tmp_path / "data.npz", config)
    assert loaded.patches is None
    assert features is None
    assert same(loaded, data)


def test_a_failing_save_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OutputError, match="disk full"):
        save_dataset(tmp_path / "data.npz", World(CONFIG).train())
    assert list(tmp_path.iterdir()) == []


def test_own_data_of_patches_and_labels_alone(tmp_path, random):
    patches = random.standard_normal((6, 3, 8))
    labels = np.array([0, 1, 2, 3, 4, 0])
    np.savez(tmp_path / "own.npz", patches=patches, labels=labels)
    data, features = load_dataset(tmp_path / "own.npz", DENSE)
    assert features is None
    np.testing.assert_array_equal(data.labels, labels)
    np.testing.assert_array_equal(data.patches, patches.astype(np.float32))
    assert float(data.weights.sum()) == pytest.approx(1, abs=1e-6)
    (part,) = represent([data], CONFIG)[0]
    np.testing.assert_array_equal(part.vectors, data.patches)


GOOD = {"patches": np.zeros((2, 3, 12)), "labels": np.array([0, 1])}
FULL = GOOD | {
    "is_single_view": np.zeros(2, bool),
    "chosen_view": np.full(2, -1),
    "patch_feature": np.zeros((2, 3), int),
    "coefficients": np.ones((2, 3)),
    "noise_norms": np.ones((2, 3)),
    "weights": np.full(2, 0.5),
    "dropped_features": np.zeros(2, int),
    "features": np.eye(10, 12),
}
WRONG = [
    (FULL | {"labels": np.array([0, 5])}, "labels has values in 0…5; 0…4"),
    (FULL | {"labels": np.array([-1, 0])}, "labels has values in −1…0; 0…4"),
    (FULL | {"labels": np.array([0.0, 1.0])}, "labels .* whole numbers"),
    (FULL | {"labels": np.array([[0, 1]])}, "labels"),
    (FULL | {"labels": np.array([2**32, 0])}, "labels has values in"),
    (FULL | {"patches": np.zeros((3, 3, 12))}, r"patches .* \[2, P, d\]"),
    (FULL | {"patches": np.zeros((2, 24))}, "patches"),
    (FULL | {"patches": np.full((2, 3, 12), np.nan)}, "patches .* not finite"),
    (FULL | {"patches": np.full((2, 3, 12), 1e39)}, "patches .* not finite in float32"),
    (FULL | {"patches": np.full((2, 3, 12), 1j)}, "patches .* complex"),
    (FULL | {"weights": np.ones(3)}, "weights"),
    (FULL | {"weights": np.ones(2)}, "weights sum to 2; they must sum to 1"),
    (FULL | {"weights": np.array([-0.5, 1.5])}, "weights has values in −0.5…1.5; ≥ 0"),
    (FULL | {"weights": np.array([np.nan, 1.0])}, "weights"),
    (FULL | {"coefficients": np.ones(2)}, "coefficients"),
    (FULL | {"coefficients": np.ones((2, 4))}, r"coefficients .* \[2, 3\]"),
    (FULL | {"coefficients": np.full((2, 3), np.inf)}, "coefficients .* not finite"),
    (FULL | {"coefficients": np.full((2, 3), 1e39)}, "coefficients .* not finite in float32"),
    (FULL | {"coefficients": -np.ones((2, 3))}, "coefficients has values in −1.0…−1.0; ≥ 0"),
    (FULL | {"patch_feature": np.full((2, 3), 99)}, "patch_feature has values in 99…99; −1…9"),
    (FULL | {"patch_feature": np.full((2, 3), -1)}, "coefficients are not 0 where patch_feature is −1"),
    (FULL | {"noise_norms": -np.ones((2, 3))}, "noise_norms has values in"),
    (FULL | {"is_single_view": np.full(2, 0.5)}, "is_single_view .* truth values"),
    (FULL | {"is_single_view": np.ones(2, bool)}, "chosen_view must be ≥ 0"),
    (FULL | {"chosen_view": np.full(2, 2)}, "chosen_view has values in 2…2; −1…1"),
    (FULL | {"dropped_features": np.full(2, -1)}, "dropped_features has values in"),
    (FULL | {"feature_noise": np.zeros((2, 3, 9))}, r"feature_noise .* \[2, 3, 10\]"),
    (FULL | {"features": np.ones((9, 12))}, r"features .* \[10, 12\]"),
    (FULL | {"features": np.full((10, 12), 1e39)}, "features .* not finite"),
    (FULL | {"features": 2 * np.eye(10, 12)}, "features are not orthonormal, a scalar product is off by 3"),
    (FULL | {"features": np.eye(10, 12) + 1e-3 * np.eye(10, 12, 1)}, "features are not orthonormal.* by 0.001"),
]


@pytest.mark.parametrize(
    ("arrays", "named"),
    [
        ({}, "labels"),
        ({"labels": GOOD["labels"]}, "patches"),
        (GOOD | {"labels": np.array([], int)}, "labels"),
        (GOOD | {"patches": np.zeros(())}, "patches"),
        (GOOD | {"patches": np.full((2, 3, 12), "x")}, "patches"),
        ({n: v for n, v in FULL.items() if n != "noise_norms"}, r"'noise_norms' \[2, 3\] is missing"),
        *WRONG,
    ],
)
def test_bad_files_are_refused_and_the_array_is_named(tmp_path, arrays, named):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ConfigError, match=named) as caught:
        load_dataset(tmp_path / "bad.npz", DENSE)
    assert str(caught.value).startswith(str(tmp_path / "bad.npz"))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(("arrays", "named"), WRONG)
def test_a_world_of_own_arrays_refuses_the_same(arrays, named):
    features = arrays["features"]
    samples = MultiViewDataset(**{n: a for n, a in arrays.items() if n != "features"})
    with pytest.raises(ConfigError, match=named) as caught:
        OwnWorld(DENSE, samples=samples, own_features=features)
    assert str(caught.value).startswith("data: ")


def test_own_arrays_are_what_they_become_in_training():
    """Lists, bytes in the other order, integers for numbers and for truth values."""
    base = World(CONFIG).train()
    other = dataclasses.replace(
        base,
        labels=np.asarray(base.labels).tolist(),
        coefficients=np.asarray(base.coefficients).astype(">f8"),
        is_single_view=np.asarray(base.is_single_view).astype(np.uint8),
        patch_feature=np.asarray(base.patch_feature).astype(">i8"),
        noise_norms=np.ma.masked_array(base.noise_norms, False),
    )
    made = OwnWorld(CONFIG, samples=other).train()
    assert same(made, base)
    assert [a.dtype for a in jax.tree.leaves(made)] == [a.dtype for a in jax.tree.leaves(base)]


@pytest.mark.usefixtures("unchecked")
def test_masked_arrays_and_other_things_than_a_dataset_are_refused():
    base = World(CONFIG).train()
    hidden = np.ma.masked_less(np.asarray(base.coefficients), 0.5)
    with pytest.raises(ConfigError, match="data: coefficients is masked in places"):
        OwnWorld(CONFIG, samples=dataclasses.replace(base, coefficients=hidden))
    for samples in ({"labels": [1]}, None, "own.npz"):
        with pytest.raises(ConfigError, match=r"data = .*MultiViewDataset"):
            OwnWorld(CONFIG, samples=samples)


def test_numbers_too_large_for_float32_are_kept_in_double_precision():
    samples = MultiViewDataset(
        **{n: a for n, a in FULL.items() if n != "features"} | {"patches": np.full((2, 3, 12), 1e39)}
    )
    assert OwnWorld(DENSE, 0, "float64", samples=samples, own_features=FULL["features"]).train().num_samples == 2


def test_complete_file_is_accepted(tmp_path):
    """The counterpart of the tests above: their arrays are refused for what is wrong with them alone."""
    np.savez(tmp_path / "good.npz", **FULL)
    data, features = load_dataset(tmp_path / "good.npz", DENSE)
    assert OwnWorld(DENSE, samples=data, own_features=features).train().num_samples == 2


def test_weights_that_sum_to_one_up_to_rounding_are_accepted():
    """Float32 weights divided by their own sum, as a user does."""
    world = World(dataclasses.replace(CONFIG, num_train=5000))
    data = world.train()
    weights = data.weights * np.random.default_rng(0).uniform(0.1, 1.0, 5000).astype(np.float32)
    OwnWorld(CONFIG, samples=dataclasses.replace(data, weights=weights / weights.sum()))


def test_dense_patches_and_representation_belong_together(tmp_path):
    np.savez(tmp_path / "dense.npz", **FULL)
    with pytest.raises(ConfigError, match=r"representation = 'limit' .* must be dense"):
        load_dataset(tmp_path / "dense.npz", CONFIG)
    np.savez(tmp_path / "limit.npz", **{n: a for n, a in FULL.items() if n not in ("patches", "features")})
    with pytest.raises(ConfigError, match=r"representation = 'dense' .* must be limit"):
        load_dataset(tmp_path / "limit.npz", DENSE)


def test_a_file_with_pickled_objects_is_refused(tmp_path):
    np.savez(tmp_path / "bad.npz", labels=np.array([object()]))
    with pytest.raises(ConfigError):
        load_dataset(tmp_path / "bad.npz", CONFIG)

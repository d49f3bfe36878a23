"""Data as arrays for other libraries, by scikit-learn's conventions, and the worlds they come from."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from worlds import CONFIG, KINDS, K, assert_disjoint

from multiview.commands.main import main
from multiview.config import Study, replace
from multiview.parameters import ConfigError
from multiview.studies.study import run_study
from multiview.world.make import make_multiview
from multiview.world.own import OwnWorld
from multiview.world.world import World


def test_make_multiview_shapes_types_and_reproducibility():
    x, y = make_multiview(30, config=CONFIG, random_state=3)
    assert (x.shape, x.dtype) == ((30, 144), np.float32)
    assert (y.shape, y.dtype) == ((30,), np.int64)
    again, labels = make_multiview(30, config=CONFIG, random_state=3, flatten=False)
    assert again.shape == (30, 12, 12)
    np.testing.assert_array_equal(again.reshape(30, -1), x)
    np.testing.assert_array_equal(labels, y)
    one, _ = make_multiview(30, config=CONFIG)
    two, _ = make_multiview(30, config=CONFIG)
    assert_disjoint([x, one, two, make_multiview(30, config=CONFIG, random_state=4)[0]])


def test_splits_and_kinds_of_one_random_state_are_fresh_samples_of_one_world():
    drawn = {
        (split, kind): make_multiview(40, config=CONFIG, kind=kind, split=split, random_state=0)
        for split in ("train", "test")
        for kind in KINDS
    }
    assert_disjoint([x for x, _ in drawn.values()])
    # Of one world: every sample's first view lies along the same feature.
    features = World(dataclasses.replace(CONFIG, representation="dense"), 0).features
    for x, y in (pair for (_, kind), pair in drawn.items() if kind == "multi_view"):
        overlaps = (x.reshape(40, 12, 12) @ np.asarray(features).T).max(1)  # [sample, feature]
        # Strength ≥ 1 with noise of norm 0.6 / √12 along any direction: five standard deviations.
        assert (overlaps[np.arange(40), 2 * y] > 1 - 5 * 0.6 / np.sqrt(12)).all()


def test_the_returned_world_holds_the_truth_and_draws_fresh_test_sets():
    x, y, world = make_multiview(30, config=CONFIG, random_state=5, return_world=True)
    truth = world.train()
    np.testing.assert_array_equal(truth.patches.reshape(30, -1), x)
    np.testing.assert_array_equal(truth.labels, y)
    expected, labels = make_multiview(20, config=CONFIG, random_state=5, kind="single_view", split="test")
    test = world.test("single_view", 20)
    np.testing.assert_array_equal(test.patches.reshape(20, -1), expected)
    np.testing.assert_array_equal(test.labels, labels)
    assert test.is_single_view.all()
    *_, tested = make_multiview(20, config=CONFIG, random_state=5, split="test", return_world=True)
    assert_disjoint([x, expected, tested.train().patches.reshape(-1, 144)])
    np.testing.assert_array_equal(tested.features, world.features)


@pytest.mark.parametrize("make", [np.random.RandomState, np.random.default_rng])
def test_a_random_state_object_is_drawn_from(make):
    state = make(7)
    one, two = (make_multiview(10, config=CONFIG, random_state=state)[0] for _ in range(2))
    assert_disjoint([one, two])
    np.testing.assert_array_equal(one, make_multiview(10, config=CONFIG, random_state=make(7))[0])


def test_integers_are_no_others_and_of_any_type():
    seeds = [0, 1, 2**31 - 1, 2**31, 2**32 - 1]
    assert_disjoint([make_multiview(10, config=CONFIG, random_state=seed)[0] for seed in seeds])
    np.testing.assert_array_equal(
        make_multiview(10, config=CONFIG, random_state=np.uint32(2**32 - 1))[0],
        make_multiview(10, config=CONFIG, random_state=2**32 - 1)[0],
    )


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("state", [-1, 2**32, 2**63, 1.0, True, "0", np.array([1, 2]), object()])
def test_any_other_random_state_is_one_line(state):
    with pytest.raises(ConfigError, match=r"random_state = .*None, 0 … 2³²−1, a NumPy RandomState or Generator") as e:
        make_multiview(5, random_state=state)
    assert len(str(e.value).splitlines()) == 1


def test_drawing_leaves_numpys_own_state_alone():
    before = np.random.get_state()  # noqa: NPY002
    make_multiview(5, config=CONFIG)
    after = np.random.get_state()  # noqa: NPY002
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("count", [0, -1, 2.5, True, "7"])
def test_make_multiview_refuses_a_bad_number_of_samples(count):
    with pytest.raises(ConfigError, match="n_samples"):
        make_multiview(count)


@pytest.mark.usefixtures("unchecked")
def test_make_multiview_refuses_too_small_a_dimension_and_another_split():
    with pytest.raises(ConfigError, match=r"patch_dim = 9 .* 10"):
        make_multiview(5, config=dataclasses.replace(CONFIG, patch_dim=9))
    with pytest.raises(ConfigError, match=r"split = 'valid' .* train, test"):
        make_multiview(5, split="valid")
    with pytest.raises(ConfigError, match="config = 'smoke'"):
        make_multiview(5, config="smoke")


def test_generated_files_of_one_seed_share_no_sample(tmp_path):
    words = ["--preset=smoke", "--samples=30", "--data.patch-dim=40", "--seed=4"]
    arrays = []
    for split, kind in itertools.product(("train", "test"), KINDS):
        path = tmp_path / f"{split}-{kind}.npz"
        assert main(["generate", *words, f"--out={path}", f"--kind={kind}", f"--split={split}"]) == 0
        with np.load(path) as file:
            arrays.append({name: file[name] for name in file.files})
    assert_disjoint([a["patches"] for a in arrays])
    assert len({a["features"].tobytes() for a in arrays}) == 1


def test_the_world_of_own_data_trains_on_it_and_tests_on_the_law():
    x, _, world = make_multiview(30, config=CONFIG, random_state=5, return_world=True)
    assert isinstance(world, OwnWorld)
    first, second = world.tasks(2)
    np.testing.assert_array_equal(first.patches[0].vectors.reshape(30, -1), x)
    assert first is second
    study = replace(Study(), {"data.num_classes": K})
    with pytest.raises(ConfigError, match="data: array 'features'"):
        OwnWorld(world.config, samples=world.train())
    with pytest.raises(ConfigError, match=r"data.patch_dim = .* 12 as in the world"):
        run_study(study, world=world)
    with pytest.raises(ConfigError, match=r"train.dtype = 'float64'"):
        run_study(replace(Study(data=world.config), {"train.dtype": "float64"}), world=world)
    assert OwnWorld.of(
        dataclasses.replace(study, data=world.config), samples=world.train(), own_features=world.features
    ).dtype == "float32"  # fmt: skip

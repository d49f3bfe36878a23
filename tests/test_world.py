"""Worlds: named splits that share no sample, streams that more samples do not move, and arrays for other libraries."""

from __future__ import annotations

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from worlds import CONFIG, KINDS, K, assert_disjoint, same

from multiview import streams
from multiview.commands.main import main
from multiview.config import DataConfig, NetworkConfig, Study
from multiview.measures.features import learned_views
from multiview.network.outputs import logits
from multiview.network.parameters import Parameters, init_network
from multiview.parameters import ConfigError
from multiview.studies.evaluation import count_test_errors
from multiview.world.make import make_multiview
from multiview.world.patches import represent
from multiview.world.world import CHUNK, World

# Splits.


@pytest.mark.parametrize("representation", ["dense", "limit", "limit_single_view_noise"])
def test_no_two_draws_of_one_world_share_a_sample(representation):
    world = World(dataclasses.replace(CONFIG, representation=representation, num_train=60), seed=3)
    sets = [world.train(replicate) for replicate in range(3)]
    for kind, replicate in itertools.product(KINDS, range(2)):
        sets.append(world.test(kind, CHUNK + 60, replicate))
        if kind != "mixture":
            sets.append(world.sample(60, kind, "train", replicate))
    assert_disjoint([d.coefficients if d.patches is None else d.patches for d in sets])


def test_another_seed_is_another_world():
    worlds = [World(dataclasses.replace(CONFIG, representation="dense"), seed) for seed in (0, 1, 2**31, 2**32 - 1)]
    assert_disjoint([world.train().patches for world in worlds])
    assert_disjoint([world.features for world in worlds])


def test_held_out_chunks_are_the_test_set_and_number_themselves():
    world = World(CONFIG, seed=2)
    sizes = {"single_view": CHUNK + 7, "mixture": 5}
    chunks = list(world.held_out(1, sizes))
    assert [(c.kind, c.number, len(c.labels)) for c in chunks] == [
        ("single_view", 0, CHUNK),
        ("single_view", 1, 7),
        ("mixture", 0, 5),
    ]
    together = world.test("single_view", CHUNK + 7, replicate=1)
    np.testing.assert_array_equal(together.labels, np.concatenate([c.labels for c in chunks[:2]]))
    np.testing.assert_array_equal(together.coefficients, np.concatenate([c.task.data.coefficients for c in chunks[:2]]))
    assert float(together.weights.sum()) == pytest.approx(1, abs=1e-4)
    assert {c.kind for c in world.held_out()} == {"multi_view", "single_view"}


def test_noise_keys_are_those_of_the_index_and_shared_by_no_chunk():
    chunks = list(World(CONFIG).held_out(0, {"multi_view": CHUNK + 1, "single_view": 1, "mixture": 1}))
    words = [jax.random.key_data(c.noise_keys(4)) for c in chunks]
    assert len({np.asarray(w).tobytes() for w in np.concatenate(words)}) == 4 * len(chunks)
    np.testing.assert_array_equal(
        np.asarray(words[0])[[2, 0]], jax.random.key_data(chunks[0].noise_keys(np.array([2, 0])))
    )


def test_wrong_samples_are_counted_by_kind_for_anything_that_answers():
    """What always answers class 0 is wrong on all others, and what is told the label on none."""
    world = World(CONFIG, seed=1)
    sizes = {"multi_view": CHUNK + 200, "single_view": 300}

    def answer(chunk):
        zero, right = np.eye(K)[np.zeros(len(chunk.labels), int)], np.eye(K)[chunk.labels]
        return {"both": np.stack([zero, right]), "right": right[None]}

    wrong = count_test_errors(world, 0, answer, sizes)
    expected = [(np.asarray(world.test(kind, size).labels) != 0).sum() for kind, size in sizes.items()]
    np.testing.assert_array_equal(wrong["both"], [expected, [0, 0]])
    np.testing.assert_array_equal(wrong["right"], [[0, 0]])


def test_more_replicates_never_change_earlier_training_sets(tiny):
    one, three = (World.of(tiny).tasks(number) for number in (1, 3))
    assert same(one[0].data, three[0].data)
    assert not same(three[0].data, three[1].data)
    assert not same(three[1].data, three[2].data)


def test_more_test_samples_never_change_earlier_ones_or_the_training_set(tiny):
    few = [c.task.data for c in World.of(tiny).held_out(0, {"single_view": 1000})]
    many = [c.task.data for c in World.of(tiny).held_out(0, {"single_view": 2000})]
    assert [d.num_samples for d in many] == [1000, 1000]
    assert same(few[0], many[0])
    assert not same(many[0], many[1])
    bigger = dataclasses.replace(tiny.data, num_test_multi_view=7, num_test_single_view=9)
    assert same(World(tiny.data).train(), World(bigger).train())


def test_streams_never_share_a_key():
    names = [getattr(streams, n) for n in dir(streams) if n.isupper()]
    assert len(set(names)) == len(names)
    keys = [streams.stream(s, n, i) for s in (0, 1) for n in names for i in (0, 1)]
    words = {np.asarray(jax.random.key_data(k)).tobytes() for k in keys}
    assert len(words) == len(keys)


def test_replicates_share_shapes(tiny, tiny_noisy):
    """`represent` promises shapes that several data sets share, so that one compiled program serves all of them."""
    for study in (tiny, tiny_noisy):
        tasks = World.of(study).tasks(12)
        shapes = {tuple(a.shape for a in jax.tree.leaves(task.patches)) for task in tasks}
        assert len(shapes) == 1


# The training set.


def test_weights_of_noise_on_single_view_samples_only():
    """N − N_s multi-view samples of weight 1 − μ without noise, N_s single-view ones of weight μ with noise."""
    config = dataclasses.replace(
        CONFIG, representation="limit_single_view_noise", num_train=40, num_single_view_train=8
    )
    data = World(config).train()
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
    config = dataclasses.replace(
        CONFIG, representation="limit_single_view_noise", num_train=48, num_single_view_train=8
    )
    data = World(config).train()
    multi = np.asarray(data.labels)[~np.asarray(data.is_single_view)]
    assert np.bincount(multi).tolist() == [8] * K


def test_noise_on_single_view_samples_only_without_single_view_samples():
    config = dataclasses.replace(
        CONFIG, representation="limit_single_view_noise", num_train=40, num_single_view_train=0
    )
    data = World(config).train()
    assert data.num_samples == 40
    assert not data.is_single_view.any()
    assert float(data.weights.sum()) == pytest.approx(1, abs=40 * 6e-8)


def test_mixture_weights_are_equal_and_sum_to_one():
    data = World(dataclasses.replace(CONFIG, num_train=40)).train()
    assert np.ptp(np.asarray(data.weights)) == 0
    assert float(data.weights.sum()) == pytest.approx(1, abs=40 * 6e-8)


@pytest.mark.slow
@pytest.mark.parametrize("representation", ["dense", "limit_single_view_noise"])
def test_double_precision_means_the_same_world(representation):
    """Another dtype changes arithmetic alone: the same samples, features and starts, up to rounding."""
    config = dataclasses.replace(
        CONFIG, representation=representation, num_train=40, num_single_view_train=8, patch_split="random",
        patches_per_feature=2, num_patches=24, feature_noise=0.01, patch_dim=32,
    )  # fmt: skip

    def drawn(dtype: str) -> list[np.ndarray]:
        world = World(config, 3, dtype)
        train, test = world.train(1), world.test("single_view", 50, 1)
        with jax.enable_x64(dtype == "float64"):
            (patches,) = represent([train], config, dtype)
            dimension = config.patch_dim if representation == "dense" else config.num_features
            start = init_network(jax.random.key(5), patches, dimension, K, NetworkConfig(), dtype)
        return [np.asarray(a) for a in jax.tree.leaves((world.features, train, test, start))]

    for a, b in zip(drawn("float32"), drawn("float64"), strict=True):
        if np.issubdtype(a.dtype, np.floating):
            assert (a.dtype, b.dtype) == (np.float32, np.float64)
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        else:
            assert a.dtype == b.dtype
            assert (a == b).all()


@pytest.mark.parametrize("representation", ["dense", "limit"])
def test_probes_ask_for_one_view_each(representation):
    """A network whose neurons lie along the first views alone answers them, no other probe and not the empty one."""
    world = World(dataclasses.replace(CONFIG, representation=representation))
    probes = world.probes()
    weights = np.zeros((2 * K, K, 1), np.float32)
    weights[2 * np.arange(K), np.arange(K), 0] = 2.0
    if world.features is not None:
        weights = np.einsum("fd,fkm->dkm", world.features, weights)
    parameters = Parameters(jnp.asarray(weights), (None,) * len(probes.patches))
    outputs = np.asarray(logits(parameters, probes.patches, NetworkConfig()))
    assert outputs.shape == (2 * K + 1, K)
    own = outputs[:-1].reshape(K, 2, K)[np.arange(K), :, np.arange(K)]
    np.testing.assert_array_equal(learned_views(own), np.tile([True, False], (K, 1)))
    np.testing.assert_array_equal(outputs[-1], 0)
    np.testing.assert_array_equal(probes.data.labels[:-1], np.repeat(np.arange(K), 2))


# Values are refused by the world as on the command line.

BAD = [
    ("noise_norm", float("nan")), ("noise_norm", -1.0), ("single_view_fraction", 2.0), ("num_train", 0),
    ("num_patches", 2), ("view_strengths", (1.0,)), ("num_classes", 2.5), ("feature_sparsity", 99.0),
]  # fmt: skip


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_distribution_is_the_same_line_from_every_door(name, value, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = dataclasses.replace(DataConfig(), **{name: value})
    lines = set()
    for door in (World, lambda c: make_multiview(5, config=c), lambda c: Study(data=c)):
        with pytest.raises(ConfigError) as caught:
            door(config)
        lines.add(str(caught.value))
    words = {
        n: ",".join(map(str, v)) if isinstance(v, tuple) else str(v) for n, v in dataclasses.asdict(config).items()
    }
    given = [f"--data.{n.replace('_', '-')}={word}" for n, word in words.items() if word]
    assert main(["generate", "--out=a.npz", *given]) == 2
    (line,) = lines
    assert f"data.{name}" in line
    # Where a value is of no right type, the command line shows the word that it got.
    assert line.replace(f"= {value!r}", f"= {words[name]!r}") in capsys.readouterr().err.replace(
        f"= {value!r}", f"= {words[name]!r}"
    )


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind", ["multi-view", "", None, 1, ["mixture"], np.array(["mixture", "a"])])
def test_a_kind_that_there_is_not(kind):
    for call in (
        lambda: make_multiview(5, kind=kind),
        lambda: World().test(kind, 5),
        lambda: World().sample(5, kind),
        lambda: next(World().held_out(0, {kind if isinstance(kind, str) else str(kind): 5})),
    ):
        with pytest.raises(ConfigError, match=r"kind = .* mixture, multi_view, single_view"):
            call()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("seed", [-1, 2**32, 2**63, 0.5, True, "0", None])
def test_a_seed_that_would_be_another_seed_s_world_is_refused(seed):
    with pytest.raises(ConfigError, match=r"seed = .* 2³²−1"):
        World(seed=seed)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("number", [-1, 2**32, 0.5, True, "0", None])
def test_a_replicate_that_would_be_another_s_samples_is_refused(number):
    world = World(CONFIG)
    for call in (
        lambda: world.train(number),
        lambda: world.test("mixture", 5, number),
        lambda: world.sample(5, "single_view", "train", number),
        lambda: next(world.held_out(number)),
    ):
        with pytest.raises(ConfigError, match=r"replicate = .* 2³²−1"):
            call()
    if number != 2**32:
        with pytest.raises(ConfigError, match=r"replicates = .* whole number ≥ 1"):
            world.tasks(number)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("size", [-3, 2.5, True, None, "7"])
def test_a_size_of_a_test_set_that_is_no_number_is_refused(size):
    with pytest.raises(ConfigError, match=r"sizes\['mixture'\] = .* whole number ≥ 0"):
        next(World(CONFIG).held_out(0, {"mixture": size}))
    assert list(World(CONFIG).held_out(0, {"mixture": 0})) == []

"""Multirate steps: the same training as by steps of all pairs, whoever shares the block and whenever somebody looks."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import multiview
from multiview import streams
from multiview.config import replace
from multiview.parameters import ConfigError
from multiview.studies.students import distil, ensemble_teacher, own_phase
from multiview.studies.study import run_study, training_tasks
from multiview.systems import network
from multiview.systems.block_plan import block_bytes, memory_plan
from multiview.systems.blocks import settings_of, sizes_of, start_keys, train_networks
from multiview.training import losses
from multiview.world.task import Task
from multiview.world.world import World

STEPS = 800
ROUNDING = 64 * 2.0**-24  # of hundreds of steps, relative to the largest number
SMALL = {
    "train.solver": "multirate", "data.num_classes": 6, "data.num_patches": 12, "data.num_train": 76,
    "data.num_single_view_train": 16, "network.init_std": 0.0015, "train.learning_rate": 4.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def study(tiny):
    """A start so small that dormant pairs stay dormant."""
    return replace(tiny, SMALL)


@pytest.fixture(scope="module")
def task(study) -> Task:
    return training_tasks(study)[0]


def train(study, task, seeds=(0, 1, 2), steps=STEPS, **options):
    keys = start_keys(study, streams.START, 0, seeds)
    return train_networks(study, task, keys, num_steps=steps, **{"record_at": [0, steps], **options})


@pytest.fixture(scope="module")
def trained(study, task):
    return train(study, task)


def test_it_is_the_training_by_steps_of_all_pairs(study, task, trained):
    """Each is off from double precision by rounding, and multirate steps by no more than steps of all pairs."""
    assert (trained.records["all_pairs_steps"] == 0).all()
    assert (trained.records["largest_overlap"][:, -1] > 0.5).any()  # a view has been learned on the way
    plain = train(replace(study, {"train.solver": "gradient_descent"}), task)
    double = replace(study, {"train.solver": "gradient_descent", "train.dtype": "float64"})
    exact = train(double, training_tasks(double)[0])
    own = np.repeat(np.eye(study.data.num_classes, dtype=bool), study.data.num_views, axis=0)
    for chosen, slack in ((own, 2), (~own, 3)):
        one, other = (np.sqrt(((t.weights - exact.weights)[:, chosen] ** 2).mean()) for t in (trained, plain))
        assert one < slack * other
    spread = np.abs(plain.train_logits - exact.train_logits).max()
    assert np.abs(trained.train_logits - exact.train_logits).max() < 3 * spread


def assert_same(one, index, other, position):
    for a, b in zip(jax.tree.leaves(one.state), jax.tree.leaves(other.state), strict=True):
        np.testing.assert_array_equal(a[index], b[position])
    np.testing.assert_array_equal(one.train_logits[index], other.train_logits[position])
    for name in set(one.records) & set(other.records):
        np.testing.assert_array_equal(one.records[name][index, -1], other.records[name][position, -1])


@pytest.mark.bits
@pytest.mark.slow
def test_a_network_is_the_same_in_any_block_and_whenever_it_is_looked_at(study, task):
    three = train(study, task)
    assert_same(train(study, task, (2,)), 0, three, 2)
    assert_same(train(study, task, (5, 1, 0, 2, 7)), 3, three, 2)
    looked = train(study, task, record_at=[0, 1, 7, 8, 9, 31, 177, STEPS])
    for seed in range(3):
        assert_same(looked, seed, three, seed)
    first = train(study, task, steps=61)
    second = train_networks(
        study, task, None, num_steps=STEPS - 61, first_step=61, resume=first.state, record_at=[STEPS - 61]
    )
    for seed in range(3):
        assert_same(second, seed, three, seed)


@pytest.mark.bits
@pytest.mark.slow
def test_longer_tables_change_rounding_alone(study, task):
    padded = training_tasks(study, row_multiple=64)[0]
    shapes = [[a.shape for a in jax.tree.leaves(t.pairs)] for t in (task, padded)]
    assert shapes[0] != shapes[1]
    one, other = train(study, task), train(study, padded)
    size = np.abs(one.weights).max()
    np.testing.assert_allclose(one.weights, other.weights, rtol=0, atol=ROUNDING * size)
    np.testing.assert_allclose(
        one.train_logits, other.train_logits, rtol=0, atol=ROUNDING * np.abs(one.train_logits).max()
    )


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["soft_cross_entropy", "one_sided"])
def test_students_learn_as_by_steps_of_all_pairs(study, task, trained, objective):
    """A few steps, before the sharp edge of the cap has amplified rounding."""
    term = replace(study, {"distill.objective": objective, "distill.num_steps": 8, "distill.temperature": 0.5}).distill
    teacher = ensemble_teacher(trained.train_logits, study.students, term)
    ends = []
    for solver in ("multirate", "gradient_descent"):
        own = replace(study, {"train.solver": solver})
        ends.append(distil(own, task, own_phase(own, task, 0, STEPS), teacher, term))
    alone = train_networks(
        study, task, start_keys(study, streams.STUDENT_START, 0, range(study.students)), num_steps=STEPS + 8
    )
    for numbers in ("train_logits", "weights"):
        one, other, untaught = (getattr(t, numbers) for t in (*ends, alone))
        rounding = ROUNDING * np.abs(other).max()
        taught = np.abs(other - untaught).max()
        assert taught > 100 * rounding
        np.testing.assert_allclose(one, other, rtol=0, atol=rounding + 1e-3 * taught)


@pytest.mark.slow
def test_a_teacher_whose_objective_it_does_not_cover_teaches_by_steps_of_all_pairs(study, task, trained, monkeypatch):
    monkeypatch.delitem(losses.TERMS, "one_sided")
    term = replace(study, {"distill.objective": "one_sided", "distill.num_steps": 7}).distill
    teacher = ensemble_teacher(trained.train_logits, study.students, term)
    students = distil(study, task, own_phase(study, task, 0, 60), teacher, term)
    assert "all_pairs_steps" not in students.records
    plain = replace(study, {"train.solver": "gradient_descent"})
    other = distil(plain, task, own_phase(plain, task, 0, 60), teacher, term)
    np.testing.assert_allclose(students.weights, other.weights, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_where_all_pairs_grow_all_are_stepped_and_counted(tiny):
    """The tiny study's start is large; a few steps, as rounding grows fast there."""
    large = replace(tiny, {"network.init_std": 0.3, "train.solver": "multirate"})
    task = training_tasks(large)[0]
    one = train(large, task, steps=20)
    assert (one.records["all_pairs_steps"][:, -1] == 20).all()
    other = train(replace(large, {"train.solver": "gradient_descent"}), task, steps=20)
    np.testing.assert_allclose(one.weights, other.weights, rtol=0, atol=1e-4 * np.abs(other.weights).max())


@pytest.mark.slow
def test_blocks_go_on_after_a_pause(study, task):
    """A pair that grows and shrinks again costs a pause, not the rest of the training."""
    larger = replace(study, {"network.init_std": 0.03, "train.num_steps": 600})
    one = train(larger, task, steps=600)
    counted = one.records["all_pairs_steps"][:, -1]
    assert (counted > 0).any()
    assert (counted < 600).any()
    other = train(replace(larger, {"train.solver": "gradient_descent"}), task, steps=600)
    np.testing.assert_allclose(one.records["largest_overlap"], other.records["largest_overlap"], rtol=1e-3, atol=1e-4)


def test_a_network_that_turns_non_finite_ends_and_is_marked(study, task):
    ended = train(replace(study, {"train.learning_rate": 1e30}), task, steps=300)
    assert not ended.finite.any()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"data.representation": "limit"}, "limit_single_view_noise"),
        pytest.param({"data.background_noise_norm": 0.1}, "noise on features alone", marks=pytest.mark.slow),
        pytest.param(
            {"data.patches_per_feature": 2, "data.num_patches": 24}, "one patch a feature", marks=pytest.mark.slow
        ),
        pytest.param({"train.dtype": "float64"}, "single precision", marks=pytest.mark.slow),
    ],
)
def test_what_it_does_not_cover_is_said_and_trained_by_steps_of_all_pairs(study, options, reason):
    other = replace(study, options)
    task = training_tasks(other)[0]
    assert reason in memory_plan(other, task)
    end = train(other, task, (0,), steps=3)
    assert "all_pairs_steps" not in end.records
    plain = replace(other, {"train.solver": "gradient_descent"})
    np.testing.assert_array_equal(end.weights, train(plain, training_tasks(plain)[0], (0,), steps=3).weights)


def test_options_of_a_step_are_refused_with_it():
    with pytest.raises(ConfigError, match=r"train.momentum = 0.9 is not allowed: .* train.solver = 'multirate'"):
        multiview.Study(train=multiview.TrainConfig(solver="multirate", momentum=0.9))


@pytest.mark.slow
def test_a_study_comes_out_as_by_steps_of_all_pairs(study):
    """Wrong test samples of both, which differ where a logit is a tie but for rounding."""
    own = replace(study, {"replicates": 1, "train.num_steps": STEPS})
    one, other = run_study(own), run_study(replace(own, {"train.solver": "gradient_descent"}))
    for kind, group in one.groups.items():
        for name in ("multi_view", "single_view"):
            a, b = (np.asarray(getattr(g.errors, name)) for g in (group, other.groups[kind]))
            assert np.abs(a - b).max() <= 0.02 * own.data.num_test_multi_view, kind


def test_tables_hold_each_live_pair_once(study):
    """Every single-view patch stands under its feature, and foreign ones under their pair with the label."""
    world = World.of(study)
    data, pairs = world.train(), world.tasks(with_pairs=True)[0].pairs
    first = study.data.num_train - study.data.num_single_view_train
    feature, z = np.asarray(data.patch_feature)[first:], np.asarray(data.coefficients)[first:]
    labels = np.asarray(data.labels)[first:]
    expected = sorted((n, f, x) for n in range(len(labels)) for f, x in zip(feature[n], z[n], strict=True) if x > 0)
    noisy = pairs.noisy
    found = sorted(
        zip(noisy.sample.tolist(), noisy.feature.tolist(), np.asarray(noisy.coefficient).tolist(), strict=True)
    )
    assert found == expected
    t, f = np.nonzero(np.asarray(noisy.own.coefficient))
    patch = np.asarray(noisy.own.patch)[t, f]
    assert sorted(patch.tolist()) == list(range(len(expected)))
    assert (np.asarray(noisy.feature)[patch] == f).all()
    t, u = np.nonzero(np.asarray(noisy.foreign.coefficient))
    patch = np.asarray(noisy.foreign.patch)[t, u]
    views = study.data.num_views
    foreign = [j for j, (n, f, _) in enumerate(expected) if f // views != labels[n]]
    assert sorted(patch.tolist()) == foreign
    assert (np.asarray(noisy.foreign_feature)[u] == np.asarray(noisy.feature)[patch]).all()
    assert (np.asarray(noisy.foreign_class)[u] == labels[np.asarray(noisy.sample)[patch]]).all()


@pytest.mark.bits
@pytest.mark.release
@pytest.mark.parametrize("preset", ["smoke", "reference"])
def test_the_forecast_of_memory_is_within_a_fifth_of_what_the_compiler_allots(preset):
    study = replace(multiview.load_preset(preset), {"train.solver": "multirate", "replicates": 1})
    task = training_tasks(study)[0]
    size = 2
    settings = settings_of([study] * size, network.SYSTEM)
    keys = start_keys(study, streams.START, 0, range(size))
    state = network.SYSTEM.start(keys, None, task, settings, sizes_of(study, task))
    program = network._multirate_steps.lower(state, np.int32(0), task, None, settings, all_pairs=False).compile()
    found = program.memory_analysis()
    allotted = found.argument_size_in_bytes + found.temp_size_in_bytes
    assert 0.8 * allotted < block_bytes(study, task, size) < 1.2 * allotted

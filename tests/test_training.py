"""Blocks of networks: each is its own network, bit by bit; training resumes; failures are marked."""

from __future__ import annotations

import functools
import math
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from multiview import streams
from multiview.config import Study, TrainConfig, replace
from multiview.config.training import CONTRIBUTED_OPTIMIZERS, OPTIMIZERS
from multiview.measures.training_error import cross_entropy
from multiview.network.outputs import logits
from multiview.network.parameters import Parameters
from multiview.studies.students import distil, own_phase
from multiview.studies.study import run_study, training_tasks
from multiview.systems.blocks import Trained, record_steps, start_keys, train_networks
from multiview.training.optimizer import make_optimizer
from multiview.training.step import mini_batch
from multiview.verdicts.claims import check_claims
from multiview.verdicts.prediction import Prediction
from multiview.world.task import Task

pytestmark = pytest.mark.bits
STEPS = 60


@pytest.fixture(scope="module", params=["noise on single-view samples", "noise everywhere"])
def world(request, tiny, tiny_noisy) -> tuple[Study, Task]:
    study = tiny if request.param == "noise on single-view samples" else tiny_noisy
    return study, training_tasks(replace(study, {"replicates": 1}))[0]


def train(world: tuple[Study, Task], seeds: list[int], steps: int = STEPS, **options) -> Trained:
    study, task = world
    keys = start_keys(study, streams.START, 0, seeds)
    return train_networks(study, task, keys, num_steps=steps, **options)


@pytest.fixture(scope="module")
def five(world) -> Trained:
    """Seeds 0 … 4 together (block size 4: one full block, one padded)."""
    return train(world, [0, 1, 2, 3, 4])


def assert_same_network(one: Trained, index: int, other: Trained, position: int) -> None:
    """Every number of two networks is the same, bit by bit: parameters, logits and records."""
    leaves = zip(jax.tree.leaves(one.state), jax.tree.leaves(other.state), strict=True)
    assert all(np.array_equal(a[index], b[position]) for a, b in leaves)
    assert np.array_equal(one.train_logits[index], other.train_logits[position])
    assert one.records.keys() == other.records.keys()
    assert all(np.array_equal(one.records[n][index], other.records[n][position]) for n in one.records)


@pytest.mark.parametrize("seed", [3, pytest.param(4, marks=pytest.mark.slow)])
def test_a_seed_trained_alone_is_bitwise_the_seed_in_a_batch(world, five, seed):
    alone = train(world, [seed])
    assert alone.weights.shape[0] == 1
    assert_same_network(alone, 0, five, seed)


def test_more_seeds_never_change_earlier_ones_whatever_their_order(world, five):
    nine = train(world, [6, 2, 0, 5, 1, 4, 8, 7, 3])
    for position, seed in enumerate([6, 2, 0, 5, 1, 4, 8, 7, 3]):
        if seed < 5:
            assert_same_network(five, seed, nine, position)


def test_seeds_differ_and_training_learns(five):
    weights = np.asarray(five.weights)
    assert all(np.abs(weights[0] - weights[s]).max() > 1e-3 for s in range(1, 5))
    loss = five.records["train_loss"]
    assert (loss[:, -1] < 0.9 * loss[:, 0]).all()


def test_two_phases_are_one_run(world, five):
    """20 steps, then 40 more from the state: bitwise 60 steps."""
    study, task = world
    first = train(world, [0, 1, 2, 3, 4], steps=20)
    second = train_networks(study, task, None, num_steps=STEPS - 20, first_step=20, resume=first.state)
    for a, b in zip(jax.tree.leaves(second.state), jax.tree.leaves(five.state), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(second.train_logits, five.train_logits)


def test_own_phase_then_teacher_is_one_run_with_the_teacher_from_the_onset_on(tiny):
    task = training_tasks(tiny)[0]
    students = own_phase(tiny, task, 0, tiny.distill.onset_step)
    teacher = np.roll(students.train_logits, 1, axis=0) * 3
    two = distil(tiny, task, students, teacher, tiny.distill)
    keys = start_keys(tiny, streams.STUDENT_START, 0, range(tiny.students))
    one = train_networks(
        tiny, task, keys, num_steps=tiny.distill.onset_step + tiny.distill.num_steps,
        teacher_logits=teacher, distill=tiny.distill,
    )  # fmt: skip
    # Two compiled programs: equal up to rounding of weights of order 1 over 40 steps.
    np.testing.assert_allclose(two.weights, one.weights, rtol=1e-4, atol=1e-5)
    alone = train_networks(tiny, task, keys, num_steps=tiny.distill.onset_step + tiny.distill.num_steps)
    assert np.abs(np.asarray(alone.weights) - np.asarray(two.weights)).max() > 1e-3  # the teacher does teach


def test_one_step_is_gradient_descent_on_the_cross_entropy(world):
    study, task = world
    before, after = train(world, [0], steps=0), train(world, [0], steps=1)

    def loss(parameters: Parameters) -> jax.Array:
        return cross_entropy(logits(parameters, task.patches, study.network), task.data.labels, task.data.weights)

    first = jax.tree.map(lambda a: jnp.asarray(a)[0], before.state.parameters)
    gradient = jax.jit(jax.grad(loss))(first)
    expected = jax.tree.map(lambda w, g: w - study.train.learning_rate * g, first, gradient)
    last = jax.tree.map(lambda a: a[0], after.state.parameters)
    assert np.abs(np.asarray(last.weights - first.weights)).max() > 0
    for a, b in zip(jax.tree.leaves(last), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_mini_batches_average_to_the_full_weights(random):
    """B of N samples, each as often as any other, and their mean weights are the full ones; B ≥ N is the full batch."""
    weights, key = jnp.asarray(random.uniform(0.5, 1.0, 7), jnp.float32), jax.random.key(1)
    drawn = np.asarray(jax.vmap(lambda i: mini_batch(weights, key, i, 3))(jnp.arange(4000)))
    assert ((drawn > 0).sum(1) == 3).all()
    share = (drawn > 0).mean(0)
    assert np.allclose(share, 3 / 7, atol=4 * math.sqrt(3 / 7 * 4 / 7 / 4000))
    assert np.allclose(drawn.max(0), np.asarray(weights) * 7 / 3, rtol=1e-6)
    for size in (7, 9):
        assert np.array_equal(mini_batch(weights, key, jnp.int32(0), size), weights)


@pytest.mark.slow
def test_mini_batches_come_from_a_stream_of_their_own(tiny):
    """The same start and batches give the same network, whoever else is trained; other batches another, no other start;
    a batch of all samples is gradient descent."""
    task = training_tasks(replace(tiny, {"replicates": 1}))[0]
    world = replace(tiny, {"train.batch_size": 8}), task
    three = train(world, [0, 1, 2])
    assert_same_network(train(world, [1]), 0, three, 1)
    other = jax.random.split(jax.random.key(5), 3)
    others = train(world, [0, 1, 2], batch_keys=other)
    overlaps, of_others = (t.records["largest_overlap"] for t in (three, others))
    assert np.array_equal(overlaps[:, 0], of_others[:, 0])
    assert not np.allclose(overlaps[:, -1], of_others[:, -1], rtol=1e-3)
    half = train(world, [0, 1, 2], STEPS // 2)
    rest = train_networks(world[0], task, None, resume=half.state, num_steps=STEPS // 2, first_step=STEPS // 2)
    assert np.array_equal(rest.weights, three.weights)
    everything = train((replace(tiny, {"train.batch_size": tiny.data.num_train}), task), [0, 1, 2])
    assert np.array_equal(everything.weights, train((tiny, task), [0, 1, 2]).weights)


def test_records_have_leading_seed_and_time_and_end_at_the_last_step(world, five):
    study, task = world
    np.testing.assert_array_equal(five.times, record_steps(STEPS, study.train.num_records))
    times = len(five.times)
    shapes = {name: value.shape for name, value in five.records.items()}
    assert shapes["largest_overlap"] == shapes["total_overlap"] == (5, times, 4, 2)
    assert shapes["train_error"] == shapes["train_loss"] == (5, times)
    assert all(shape[:2] == (5, times) for shape in shapes.values())
    assert five.train_logits.shape == (5, 40, 4)
    assert five.finite.tolist() == [True] * 5
    # The last record is of the final network, from its own logits.
    wrong = five.train_logits.argmax(-1) != np.asarray(task.data.labels)
    np.testing.assert_array_equal(five.records["train_wrong"][:, -1], wrong.sum(-1))
    weighted = (wrong * np.asarray(task.data.weights)).sum(-1)
    np.testing.assert_allclose(five.records["train_error"][:, -1], weighted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("steps", "records"), [(0, 5), (1, 2), (7, 40), (1500, 40), (1500, 2)])
def test_record_steps_start_at_0_end_at_the_last_and_increase(steps, records):
    times = record_steps(steps, records)
    assert times[0] == 0
    assert times[-1] == steps
    assert (np.diff(times) > 0).all()
    assert len(times) <= max(records, 3)


def test_records_do_not_change_the_training(world, five):
    """Measures are read-only: recording elsewhere gives the same networks."""
    sparse = train(world, [0, 1, 2, 3, 4], record_at=[0, 13, STEPS])
    assert sparse.times.tolist() == [0, 13, STEPS]
    np.testing.assert_array_equal(sparse.weights, five.weights)


def test_progress_adds_up_to_the_steps_of_the_networks_asked_for(world):
    told: list[int] = []
    train(world, [0, 1, 2, 3, 4], steps=20, progress=told.append)
    assert sum(told) == 5 * 20


def test_keys_and_resume_exclude_each_other(world):
    study, task = world
    with pytest.raises(ValueError, match="keys or resume"):
        train_networks(study, task, None, num_steps=1)


@pytest.mark.usefixtures("standard_promotion")
def test_an_optimiser_takes_arguments_of_its_own():
    """A step of Adam that remembers nothing, b1 = b2 = 0, is one of the gradient's sign."""
    make = functools.partial(TrainConfig, learning_rate=0.5)
    gradient = Parameters(jnp.array([[[-3.0, 2.0, 1e-3]]], jnp.float32), ())
    for name in ("adam(b1=0, b2=0, eps=1e-12)", "prodigy(eps=1e-6,safeguard_warmup=True)", "novograd(b1=.9)"):
        optimizer = make_optimizer(make(optimizer=name))
        step, _ = optimizer.update(gradient, optimizer.init(gradient), gradient)
        assert np.isfinite(step.weights).all()
        if name.startswith("adam"):
            np.testing.assert_allclose(step.weights, -0.5 * np.sign(gradient.weights), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("standard_promotion")
def test_another_optimiser_trains(tiny):
    study = replace(tiny, {"train.optimizer": "adam", "train.learning_rate": 0.02})
    trained = train((study, training_tasks(study)[0]), [0, 1])
    loss = trained.records["train_loss"]
    assert (loss[:, -1] < 0.5 * loss[:, 0]).all()
    assert trained.finite.all()
    # It is another optimiser: after one step every weight has moved by about the learning rate.
    one = train((study, training_tasks(study)[0]), [0], steps=1)
    start = train((study, training_tasks(study)[0]), [0], steps=0)
    moved = np.abs(np.asarray(one.weights - start.weights))
    assert np.median(moved[moved > 0]) == pytest.approx(0.02, rel=0.1)


@pytest.mark.slow
def test_replicate_0_is_the_same_network_with_other_replicates(tiny_noisy):
    """Rows padded for shapes shared with other replicates change a network by rounding only."""
    one = training_tasks(replace(tiny_noisy, {"replicates": 1}))[0]
    many = training_tasks(replace(tiny_noisy, {"replicates": 6}))[0]
    a, b = train((tiny_noisy, one), [0, 1]), train((tiny_noisy, many), [0, 1])
    np.testing.assert_allclose(a.records["largest_overlap"], b.records["largest_overlap"], rtol=1e-4, atol=1e-5)


NO_PREDICTIONS = {
    name: Prediction(0.5, 0.0, 1.0)
    for name in ("single", "ensemble", "ensemble_probabilities", "distilled", "self_distilled", "dark_knowledge")
}


@pytest.mark.filterwarnings("error")
def test_a_run_that_turns_non_finite_is_marked_and_counted(tiny):
    """A huge step breaks networks (or kills all their neurons); the study ends, says so, and warns of nothing."""
    study = replace(tiny, {"train.learning_rate": 3e38, "replicates": 1})
    result = run_study(study, distillation=False)
    group = result.groups["single"]
    broken = int((~group.finite).sum())
    assert broken > 0
    assert not (group.finite & ~np.isfinite(group.weights).all((2, 3, 4))).any()
    claims = {c.id: c for c in check_claims(result, NO_PREDICTIONS)}
    claim = claims["train_error_single"]
    assert claim.non_finite == broken
    assert f"{broken} of {study.seeds} runs non-finite" in claim.note
    assert claims["single_error"].non_finite == broken
    assert claim.verdict == "fails"


def test_finite_runs_are_not_marked(tiny_result):
    assert all(group.finite.all() for group in tiny_result.groups.values())
    claims = {c.id: c for c in check_claims(tiny_result, NO_PREDICTIONS)}
    assert all(c.non_finite == 0 for c in claims.values())


PRECISION = """
import jax, jax.numpy as jnp, numpy as np, sys, json
jax.config.update("jax_enable_x64", True)  # for what this script itself casts
from multiview import streams
from multiview.measures.features import winners
from multiview.systems.blocks import start_keys, train_networks
from multiview.config import Study, TrainConfig, replace
from multiview.config.training import CONTRIBUTED_OPTIMIZERS, OPTIMIZERS
from multiview.studies.study import training_tasks

single = replace(Study(), json.loads(sys.argv[1]))
double = replace(single, {"train.dtype": "float64"})
task = training_tasks(single)[0]
keys = start_keys(single, streams.START, 0, range(4))
def cast(tree):
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree)
begun = train_networks(single, task, keys, num_steps=0)
assert begun.weights.dtype == jnp.float32
steps = single.train.num_steps
one = train_networks(single, task, None, num_steps=steps, resume=begun.state)
two = train_networks(double, cast(task), None, num_steps=steps, resume=cast(begun.state))
assert two.weights.dtype == jnp.float64 and one.weights.dtype == jnp.float32
own = train_networks(double, cast(task), keys, num_steps=0)
assert own.weights.dtype == jnp.float64 and own.finite.all()
a, b = one.records["largest_overlap"][:, -1], two.records["largest_overlap"][:, -1]
clear = winners(b)[1]
print(json.dumps([float(np.abs(a - b).max() / b.max()), winners(a)[0][clear].tolist(), winners(b)[0][clear].tolist()]))
"""


@pytest.mark.slow
def test_single_and_double_precision_agree_on_who_wins(tiny):
    """The same start, trained in float32 and in float64 (a subprocess: precision is global in JAX)."""
    import json

    from conftest import TINY

    out = subprocess.run(
        [sys.executable, "-c", PRECISION, json.dumps(TINY | {"train.num_steps": 200})],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert out.returncode == 0, out.stderr[-2000:]
    difference, single, double = json.loads(out.stdout.splitlines()[-1])
    assert len(double) >= 4  # of 16 classes enough have a clear winner
    assert single == double
    assert 0 < difference < 1e-2


@pytest.mark.parametrize("name", [*OPTIMIZERS, *CONTRIBUTED_OPTIMIZERS])
def test_every_optimiser_that_is_accepted_descends_with_a_gradient_alone(name):
    rate = 1.0 if name in ("dadapt_adamw", "dog", "dowg", "prodigy") else 0.02  # those find their own step size
    optimizer = make_optimizer(TrainConfig(optimizer=name, learning_rate=rate))
    weights = jnp.linspace(-1, 1, 24).reshape(2, 3, 4)

    def loss(w):
        return ((w - 0.3) ** 2).sum()

    def step(_, state):
        w, own = state
        updates, own = optimizer.update(jax.grad(loss)(w), own, w)
        return optax.apply_updates(w, updates), own

    with jax.numpy_dtype_promotion("standard"):  # that of users; not all of optax is stricter
        after, _ = jax.lax.fori_loop(0, 300, step, (weights, optimizer.init(weights)))
    assert loss(after) < loss(weights)

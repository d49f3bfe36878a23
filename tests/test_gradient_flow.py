"""The gradient flow: the limit of gradient descent, in fewer evaluations, with jumps, failures and bad input."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from multiview import streams
from multiview.config import Study, replace
from multiview.network.outputs import overlap_sizes
from multiview.network.parameters import Parameters
from multiview.parameters import ConfigError
from multiview.studies.students import distil, own_phase
from multiview.studies.study import training_tasks
from multiview.systems.blocks import Trained, start_keys, train_networks
from multiview.theory import growth_rate, tensor_power_time
from multiview.training.flow import _mean_slope

FLOW = {"train.solver": "gradient_flow"}


def train(study: Study, seeds: int = 2, **options) -> Trained:
    keys = start_keys(study, streams.START, 0, range(seeds))
    task = training_tasks(replace(study, {"replicates": 1}))[0]
    return train_networks(study, task, keys, **({"num_steps": study.train.num_steps} | options))


def difference(one: Trained, other: Trained) -> float:
    """Of the parameters, relative, largest over networks; norms over features and noise directions together."""

    def flat(trained: Trained) -> np.ndarray:
        leaves = jax.tree.leaves(trained.state.parameters)
        return np.concatenate([np.asarray(a, float).reshape(len(a), -1) for a in leaves], axis=1)

    a, b = flat(one), flat(other)
    return float((np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)).max())


def evaluations(trained: Trained) -> np.ndarray:
    return trained.records["gradient_evaluations"][:, -1]


@pytest.fixture(
    scope="module", params=[pytest.param("noise on single-view samples", marks=pytest.mark.slow), "noise everywhere"]
)
def study(request, tiny, tiny_noisy) -> Study:
    return replace(tiny if request.param == "noise on single-view samples" else tiny_noisy, FLOW)


@pytest.fixture(scope="module")
def exact(study) -> Trained:
    return train(replace(study, {"train.flow_tolerance": 1e-4}))


@pytest.mark.slow
def test_it_is_the_limit_of_gradient_descent_at_first_order(study, exact):
    """Gradient descent of step η/n to the same time differs from the flow by O(1/n)."""
    n = np.array([16, 64])
    errors = []
    for of_step in n:
        changes = {
            "train.solver": "gradient_descent",
            "train.learning_rate": study.train.learning_rate / of_step,
            "train.num_steps": study.train.num_steps * int(of_step),
        }
        errors.append(difference(train(replace(study, changes)), exact))
    # The error is a h + b h²; with b h/a = 1/16 at the larger step the order is off by log₄(1 + 1/16) = 0.04; b may be
    # thrice that.
    assert errors[1] < 1 / 64
    order = -np.log(errors[1] / errors[0]) / np.log(n[1] / n[0])
    assert 0.85 < order < 1.15


def test_error_and_cost_follow_the_tolerance(study, exact):
    """The local error is of third order of the step, so evaluations grow about like tolerance^(-1/3)."""
    loose = train(replace(study, {"train.flow_tolerance": 0.1}))
    fine = train(replace(study, {"train.flow_tolerance": 0.001}))
    assert difference(fine, exact) < 0.1 * difference(loose, exact)
    growth = evaluations(fine) / evaluations(loose)
    assert (growth > 2).all()
    assert (growth < 100 ** (1 / 3) * 1.3).all()


@pytest.mark.slow
def test_the_plateau_is_that_of_tensor_power_iteration(tiny):
    """One view a class, equal strengths, no foreign features: Λ grows by the closed form."""
    changes = {
        "data.num_views": 1, "data.num_classes": 6, "data.num_train": 40, "data.num_single_view_train": 4,
        "data.feature_sparsity": 0.0, "data.label_strength": [1.0, 1.0], "data.single_view_fraction": 0.0,
        "network.init_std": 0.002, "train.num_steps": 1000, "train.flow_tolerance": 1e-4,
    }  # fmt: skip
    study = replace(tiny, FLOW | changes)
    rate = growth_rate(study.data, study.network) * study.train.learning_rate
    probe = train(study, num_steps=0)
    start = probe.records["largest_overlap"][:, 0, :, 0]
    first = start.max()
    time = round(float(tensor_power_time(first, rate, study.network.relu_power, 10 * first)))
    expected = 1 / (1 / first - rate * time)  # the same closed form at a whole number of steps, q = 3
    trained = train(study, record_at=[0, time])
    reached = trained.records["largest_overlap"][:, -1, :, 0].max()
    assert reached == pytest.approx(expected, rel=0.01)  # neglected are logits, of order Λ^q
    # Growth by 10 in a polynomially slow plateau takes some ten steps of three evaluations, however long it lasts.
    usual = train(replace(study, {"train.flow_tolerance": Study().train.flow_tolerance}), record_at=[0, time])
    assert evaluations(usual).max() < time / 3


def test_records_cost_no_evaluations_and_do_not_change_the_network(study):
    fine = replace(study, {"train.flow_tolerance": 0.01})
    few, many = train(fine, record_at=[0, 60]), train(fine, record_at=[0, 1, 2, 3, 10, 11, 12, 30, 60])
    np.testing.assert_array_equal(few.weights, many.weights)
    np.testing.assert_array_equal(evaluations(few), evaluations(many))
    assert (np.diff(many.records["train_loss"]) < 0).all()  # as along a flow


def test_interpolated_records_are_those_of_a_shorter_run(study, exact):
    """Whether time 30 is inside a step or the end, the network there is the same, to the accuracy of the method."""
    tight = replace(study, {"train.flow_tolerance": 1e-4, "train.num_steps": 30})
    records = train(replace(study, {"train.flow_tolerance": 1e-4}), record_at=[0, 30, 60]).records
    shorter = train(tight, record_at=[0, 30]).records
    np.testing.assert_allclose(records["largest_overlap"][:, 1], shorter["largest_overlap"][:, 1], rtol=1e-3)


def test_two_phases_are_one_run(study):
    one, first = train(study), train(study, num_steps=20)
    task = training_tasks(replace(study, {"replicates": 1}))[0]
    second = train_networks(study, task, None, num_steps=40, first_step=20, resume=first.state)
    np.testing.assert_array_equal(one.weights, second.weights)


@pytest.mark.release
def test_a_teacher_sets_in_by_a_restart(study):
    """With the onset inside a run, or between two: the same students, near those of small steps of descent."""
    study = replace(study, {"train.flow_tolerance": 0.001})
    task = training_tasks(replace(study, {"replicates": 1}))[0]
    onset, steps = study.distill.onset_step, study.distill.num_steps
    students = own_phase(study, task, 0, onset)
    teacher = np.roll(students.train_logits, 1, axis=0) * 3
    two = distil(study, task, students, teacher, study.distill)
    keys = start_keys(study, streams.STUDENT_START, 0, range(study.students))
    options = {"num_steps": onset + steps, "teacher_logits": teacher}
    one = train_networks(study, task, keys, distill=study.distill, **options)
    # The own phase ends inside a step and is interpolated there: equal to the accuracy of the method.
    assert difference(one, two) < 0.02
    # Descent in steps of η/16, with the onset at the same time.
    slow = {
        "train.solver": "gradient_descent", "train.learning_rate": study.train.learning_rate / 16,
        "distill.onset_step": 16 * onset, "distill.num_steps": 16 * steps,
    }  # fmt: skip
    small = replace(study, slow)
    descent = train_networks(
        small, task, keys, distill=small.distill, **(options | {"num_steps": 16 * (onset + steps)})
    )
    untaught = train_networks(study, task, keys, num_steps=onset + steps)
    assert difference(one, descent) < 0.05
    assert difference(untaught, descent) > 4 * difference(one, descent)


@pytest.mark.slow
def test_a_network_that_cannot_be_followed_ends_and_is_marked(tiny):
    """The field overflows: the integrator gives up instead of shrinking its steps for ever; records go on."""
    trained = train(replace(tiny, FLOW | {"train.learning_rate": 3e38}))
    assert not trained.finite.any()
    assert np.isnan(trained.weights).all()
    assert evaluations(trained).max() < 100


def test_a_broken_network_leaves_its_neighbour_alone(study):
    """One start that is not a number, in one block with a good one."""
    task = training_tasks(replace(study, {"replicates": 1}))[0]
    start = train(study, num_steps=0).state
    weights = np.array(start.parameters.weights)
    weights[1, 0] = np.nan

    def resumed(values: np.ndarray) -> Trained:
        parameters = Parameters(values, start.parameters.noise)
        state = start._replace(
            parameters=parameters, optimizer_state=start.optimizer_state._replace(before=parameters, front=parameters)
        )
        return train_networks(study, task, None, num_steps=60, resume=state)

    broken, whole = resumed(weights), train(study)
    assert broken.finite.tolist() == [True, False]
    np.testing.assert_array_equal(broken.weights[0], whole.weights[0])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train.optimizer": "adam"}, "train.optimizer = 'adam' is not allowed: it must be sgd"),
        ({"train.flow_tolerance": 0.0}, "train.flow_tolerance = 0.0 is not allowed"),
        ({"train.flow_tolerance": 2.0}, "train.flow_tolerance = 2.0 is not allowed"),
        ({"train.solver": "flow"}, "train.solver = 'flow' is not allowed: it must be one of gradient_descent"),
    ],
)
def test_bad_input_is_one_line_that_names_the_field(changes, words):
    with pytest.raises(ConfigError) as caught:
        replace(Study(), FLOW | changes)
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_a_damped_step_is_heuns_to_second_order_and_rests_where_heuns_runs_away():
    """For the decay s = −z/h·u of one step, Heun's factor 1 − z + z²/2 grows with z; the damped one stays within 1."""
    z = np.array([1e-2, 1e-1, 1.0, 3.0, 100.0])
    factor = 1 - z * np.asarray(
        _mean_slope(jnp.ones(5), jnp.asarray(1 - z, jnp.float32))
    )  # of u, where u = 1 and s = −z u
    np.testing.assert_allclose(factor[:2], np.exp(-z[:2]), atol=2 * z[1] ** 3)
    assert (np.abs(factor) < 1.0).all()
    np.testing.assert_allclose(_mean_slope(jnp.ones(3), jnp.array([1.0, 1.5, 3.0])), [1.0, 1.25, 2.0])  # Heun's itself


def test_an_error_of_noise_counts_by_what_it_changes_in_its_patch(study):
    """Where a patch's feature outweighs its noise, the noise overlap is as large as the feature makes it."""
    task = training_tasks(replace(study, {"replicates": 1}))[0]
    parameters = jax.tree.map(lambda a: jnp.asarray(a[0]), train(study, num_steps=0).state.parameters)
    grown = parameters._replace(weights=parameters.weights + 5.0)
    small, large = (jax.tree.leaves(overlap_sizes(p, task.patches).noise)[0] for p in (parameters, grown))
    (own,) = [np.abs(a) for a in jax.tree.leaves(parameters.noise)]
    assert (small >= own).all()
    part = next(p for p in task.patches if hasattr(p, "noise_norm"))
    acts = np.broadcast_to(np.asarray(part.coefficient) > 0.05, large.shape)
    assert (np.asarray(large)[acts] > 20 * own.mean()).all()

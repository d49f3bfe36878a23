"""Contrast systems: the average of one is the network, linearised systems are first order, boosting weighs up."""

from __future__ import annotations

import dataclasses
import re
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import boosting, gaussian
from multiview import streams, theory
from multiview.commands.main import main
from multiview.config import DistillConfig, Study, replace
from multiview.network.activation import smoothed_relu
from multiview.network.outputs import logits
from multiview.network.parameters import init_network
from multiview.parameters import ConfigError
from multiview.stores.store import open_results
from multiview.studies.study import run_study, training_tasks
from multiview.sweeps.cost import PROCESS_BYTES, worker_bytes
from multiview.systems import lazy, linear, linearised, random_features, table
from multiview.systems.block_plan import block_bytes
from multiview.systems.blocks import settings_of, sizes_of, start_keys, train_networks
from multiview.systems.descent import descend, start_state
from multiview.training import devices
from multiview.world.own import OwnWorld
from multiview.world.patches import vectors


@pytest.fixture(scope="module")
def task(tiny):
    return training_tasks(tiny)[0]


@pytest.fixture(scope="module")
def start(tiny, task):
    """Patches as vectors with noise apart, and a start on them."""
    part = vectors(task.data, tiny.data.num_features)
    return part, init_network(
        jax.random.key(1), (part,), tiny.data.num_features, tiny.data.num_classes, tiny.network, "float32"
    )


def test_average_of_one_network_is_that_network(tiny, task):
    """K = 1: same step size, same logits after training."""
    keys = start_keys(tiny, streams.START, 0, range(1))
    one = train_networks(tiny, task, keys, num_steps=60, system="average")
    steps = int(one.records["gradient_evaluations"][0, -1])
    network = train_networks(tiny, task, keys, num_steps=steps, record_at=[steps])
    np.testing.assert_allclose(one.train_logits, network.train_logits, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(one.weights, network.weights, rtol=1e-3, atol=1e-5)


def test_members_of_an_average_start_like_single_networks_at_their_step_size(tiny, task):
    """While logits are far below 1 the residual is common, so at K·η each member moves as a single network at η."""
    keys = start_keys(tiny, streams.START, 0, range(3))
    together, alone = (
        train_networks(tiny, task, keys, num_steps=3, record_at=[0, 3, 4], system=s) for s in ("average", "network")
    )
    for name in ("largest_overlap", "total_overlap"):
        np.testing.assert_allclose(together.records[name][:, 1], alone.records[name][:, 1], atol=2e-5)


def test_plain_outputs_are_the_network(tiny, task, start):
    part, parameters = start
    expected = logits(parameters, (part,), tiny.network)
    np.testing.assert_allclose(linearised.plain_outputs(parameters, part, tiny.network), expected, rtol=1e-5, atol=1e-9)


def test_linearised_network_is_the_network_to_first_order(tiny, start):
    """The difference falls like the square of the step, and does not vanish."""
    part, parameters = start
    direction = tiny.network.init_std * jax.random.normal(jax.random.key(2), parameters.weights.shape)
    errors = []
    for scale in (1.0, 0.1):
        full = linearised.plain_outputs(parameters._replace(weights=parameters.weights + scale * direction), part,
                                        tiny.network)  # fmt: skip
        flat = linearised.linearised_outputs(parameters, scale * direction, part, tiny.network)
        errors.append(float(jnp.abs(full - flat).max()))
    assert 0 < errors[1] < 0.05 * errors[0]


def test_gram_matrices_are_those_of_jax_gradients(tiny, start):
    """G_i[n, p] = ⟨∇F_i(X_n), ∇F_i(X_p)⟩ over weights and noise overlaps alike."""
    part, parameters = start
    model = linearised.tangent_model(parameters, part, tiny.network)
    jacobian = jax.jacrev(lambda p: linearised.plain_outputs(p, part, tiny.network)[:, 1])(parameters)
    flat = jnp.concatenate([a.reshape(len(a), -1) for a in jax.tree.leaves(jacobian)], axis=1)
    np.testing.assert_allclose(model.gram[1], flat @ flat.T, rtol=1e-3, atol=1e-9)


def test_a_dual_step_is_a_gradient_step(tiny, task, start):
    """What training in the dual changes in the weights is one step of gradient descent on the linearised network."""
    part, parameters = start
    model = linearised.tangent_model(parameters, part, tiny.network)
    labels, weights = task.data.labels, task.data.weights
    fitted = linear.fit(model, task, min_steps=1, max_steps=1)
    rate = linear.step_size(linear.largest_curvature(model.gram, weights))

    def loss(change):
        outputs = linearised.linearised_outputs(parameters, change, part, tiny.network)
        picked = jnp.take_along_axis(jax.nn.log_softmax(outputs), labels[:, None], 1)[:, 0]
        return -(weights * picked).sum()

    expected = -rate * jax.grad(loss)(jnp.zeros_like(parameters.weights))
    change = linearised.weight_change(parameters, part, tiny.network, fitted.dual)
    np.testing.assert_allclose(change, expected, rtol=1e-3, atol=1e-4 * float(jnp.abs(expected).max()))


def test_random_features_fit_and_predict_alike(tiny, task, start):
    """The readout recovered from the dual gives the training logits; at the start they are the network's."""
    part, parameters = start
    model = random_features.random_feature_model(parameters, part, tiny.network)
    np.testing.assert_allclose(model.start_logits, linearised.plain_outputs(parameters, part, tiny.network), rtol=1e-5)
    fitted = linear.fit(model, task, min_steps=50, max_steps=50)
    change = random_features.readout_change(parameters, part, tiny.network, fitted.dual)
    outputs = random_features.random_feature_outputs(parameters, change, part, tiny.network)
    np.testing.assert_allclose(outputs, fitted.train_logits, rtol=1e-2, atol=1e-2)


def test_step_size_undoes_the_scale_of_the_features(tiny, start):
    """Below ϱ, tangent features scale as σ₀^(q−1): the step size with its −2nd power, and logits not at all."""
    part, parameters = start
    small = jax.tree.map(lambda a: 0.1 * a, parameters)
    weights = jnp.full(len(part.vectors), 1 / len(part.vectors))
    rates = [
        float(linear.step_size(linear.largest_curvature(linearised.tangent_model(p, part, tiny.network).gram, weights)))
        for p in (small, parameters)
    ]
    assert rates[0] / rates[1] == pytest.approx(0.1 ** (-2 * (tiny.network.relu_power - 1)), rel=1e-3)
    distill = DistillConfig(weight=3.0, temperature=0.5)
    curvature = linear.largest_curvature(jnp.eye(4)[None], jnp.ones(4))
    assert float(linear.step_size(curvature)) == pytest.approx(2.0)
    assert float(linear.step_size(curvature, distill)) == pytest.approx(2.0 / 7)


def test_loss_of_a_linear_model_falls_and_a_longer_run_is_taken_while_samples_are_wrong(tiny, task, start):
    part, parameters = start
    model = linearised.tangent_model(parameters, part, tiny.network)
    labels, weights = task.data.labels, task.data.weights
    losses = []
    for steps in (1, 2, 4, 8, 16):
        outputs = linear.fit(model, task, min_steps=steps, max_steps=steps).train_logits
        losses.append(-float((weights * jax.nn.log_softmax(outputs)[jnp.arange(len(labels)), labels]).sum()))
    assert np.all(np.diff(losses) < 0)
    fitted = linear.fit(model, task, min_steps=1, max_steps=4000)
    assert 1 < int(fitted.steps) < 4000
    assert (fitted.train_logits.argmax(-1) == labels).all()


def test_average_of_equal_linear_models_is_the_model(tiny, start):
    part, parameters = start
    model = linearised.tangent_model(parameters, part, tiny.network)
    twice = jax.tree.map(lambda a: jnp.stack([a, a]), model)
    for one, other in zip(linear.average_model(twice), model, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_descent_stops_where_it_is_told(task):
    """A system that cannot learn takes the longer run; one whose samples are all right stops at the shorter."""
    k = int(task.data.labels.max()) + 1
    right = jax.nn.one_hot(task.data.labels, k)
    stuck = descend(lambda p, _: p * jnp.ones((len(right), k)), start_state(jnp.ones(())), 0, 9, 3, task, 1.0)
    done = descend(lambda p, _: p * right, start_state(jnp.ones(())), 0, 9, 3, task, 1.0)
    assert (int(stuck.taken), int(done.taken)) == (9, 3)
    assert int(stuck.wrong) > 0 == int(done.wrong)


def test_stretches_of_descent_are_one_descent(task):
    """Records cut training into stretches; they change no number, and patience begins after the last."""
    k = int(task.data.labels.max()) + 1
    right = jax.nn.one_hot(task.data.labels, k)

    def outputs(p, _):
        return p * right

    whole = descend(outputs, start_state(jnp.zeros(())), 0, 9, 9, task, 1.0)
    half = descend(outputs, start_state(jnp.zeros(())), 0, 4, 4, task, 1.0)
    both = descend(outputs, half, 4, 9, 9, task, 1.0)
    assert float(both.parameters) == float(whole.parameters) > float(half.parameters)
    assert int(both.taken) == int(whole.taken) == 9


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


def test_lazy_dial_is_the_network_at_1_and_linear_far_above(tiny, task):
    """α = 1: logits of the network less its start's. α → ∞: overlaps hardly move. Step sizes follow the rule."""
    keys = start_keys(tiny, streams.START, 0, range(1))
    study = replace(tiny, {"system": "lazy", "output_scale": 1.0})
    one = train_networks(study, task, keys, num_steps=20, record_at=[0, 20, 21])
    network = train_networks(tiny, task, keys, num_steps=20, record_at=[0, 20, 21])
    for name in ("largest_overlap", "total_overlap"):
        np.testing.assert_allclose(one.records[name][:, 1], network.records[name][:, 1], rtol=2e-3, atol=2e-5)
    far = replace(study, {"output_scale": 1e9})
    overlap = train_networks(far, task, keys, num_steps=20, record_at=[0, 20, 21]).records["largest_overlap"][0]
    moved = np.abs(overlap[1] - overlap[0]).max()
    assert 0 < moved < 0.1 * tiny.network.init_std
    s = (tiny.network.init_std / tiny.network.relu_threshold) ** (tiny.network.relu_power - 1)
    assert lazy.learning_rate(far) == pytest.approx(tiny.train.learning_rate / (1e9 * s) ** 2)
    assert lazy.learning_rate(study) == tiny.train.learning_rate


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


SYSTEMS = tuple(name for name in table.SYSTEMS if name != "network")


@pytest.mark.parametrize(
    "system",
    ["linearised", *(pytest.param(s, marks=pytest.mark.slow) for s in ("average", "lazy", "random_features"))],
)
def test_a_system_goes_through_a_whole_study(tiny, system):
    """Singles, ensembles, students of both kinds, records, progress up to the end."""
    short = {"train.num_steps": 40, "distill.num_steps": 20, "self_distill.num_steps": 20, "replicates": 1}
    study = replace(tiny, {"system": system, "data.num_test_multi_view": 60, "data.num_test_single_view": 60, **short})
    told = []
    result = run_study(study, lambda what, done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]
    assert set(result.groups) == {"single", "distilled", "self_distilled"}
    for name, group in result.groups.items():
        count = study.seeds if name == "single" else study.students
        assert group.errors.multi_view.shape == (1, count)
        assert group.finite.all()
        assert len(group.times) == group.records["largest_overlap"].shape[2]
    assert result.ensembles["ensemble"].multi_view.shape == (1, 1)


def test_the_dial_at_1_is_the_network_of_the_same_seeds(tiny):
    """Test errors and final overlaps, but for the start's tiny outputs, where neither needs the longer run."""
    study = replace(tiny, {"replicates": 1, "train.num_steps": 150})
    network, lazy = (run_study(replace(study, {"system": s}), distillation=False) for s in ("network", "lazy"))
    one, other = (r.groups["single"] for r in (network, lazy))
    assert (other.records["gradient_evaluations"][:, :, -1] == 150).all()
    np.testing.assert_allclose(
        one.records["largest_overlap"][:, :, -1], other.records["largest_overlap"][:, :, -1], rtol=0.02, atol=1e-4
    )
    assert np.abs(one.errors.single_view - other.errors.single_view).max() <= 0.05 * one.errors.num_single_view


def test_the_mean_of_an_average_s_members_is_the_average(tiny, task):
    """Training errors recorded are those of the average, and its members' mean logits are its logits."""
    study = replace(tiny, {"system": "average", "train.num_steps": 30})
    members = train_networks(study, task, start_keys(study, streams.START, 0, range(3)), num_steps=30)
    wrong = (members.train_logits.mean(0).argmax(-1) != np.asarray(task.data.labels)).sum()
    assert (members.records["train_wrong"][:, -1] == wrong).all()
    assert (members.train_logits.argmax(-1) != np.asarray(task.data.labels)).sum(-1).max() >= wrong


def test_members_of_linear_systems_answer_training_samples_as_they_were_fitted(tiny, task):
    """The weights after training are those of the dual: linear in them, the outputs are the fitted logits again."""
    study = replace(tiny, {"system": "linearised", "train.num_steps": 30})
    keys = start_keys(study, streams.START, 0, range(2))
    members = train_networks(study, task, keys, num_steps=30)
    part = vectors(task.data, study.data.num_features)
    begin = init_network(keys[1], (part,), study.data.num_features, study.data.num_classes, study.network, "float32")
    ended = linearised.moved(begin, part, study.network, jnp.asarray(members.state.dual[1]))
    np.testing.assert_allclose(ended.weights, members.weights[1], rtol=1e-5, atol=1e-7)

    def outputs(parameters):
        return linearised.plain_outputs(parameters, part, study.network)

    step = jax.tree.map(jnp.subtract, ended, begin)
    value, change = jax.jvp(outputs, (begin,), (step,))
    np.testing.assert_allclose(value + change, members.train_logits[1], rtol=1e-3, atol=1e-4)


@pytest.mark.bits
@pytest.mark.parametrize("system", ["lazy", "linearised"])
def test_seed_1_is_the_same_member_in_any_batch(tiny, task, system):
    study = replace(tiny, {"system": system, "train.num_steps": 10})
    few, many = (
        train_networks(study, task, start_keys(study, streams.START, 0, range(n)), num_steps=10) for n in (2, 5)
    )
    np.testing.assert_array_equal(few.weights[1], many.weights[1])
    np.testing.assert_array_equal(few.train_logits[1], many.train_logits[1])


@pytest.mark.bits
@pytest.mark.parametrize("system", ["lazy", *(pytest.param(s, marks=pytest.mark.slow) for s in SYSTEMS if s != "lazy")])
def test_records_change_no_number_of_a_system(tiny, task, system):
    study = replace(tiny, {"system": system})
    keys = start_keys(study, streams.START, 0, range(2))
    few, many = (train_networks(study, task, keys, num_steps=12, record_at=at) for at in ([0, 12], [0, 3, 7, 12]))
    np.testing.assert_array_equal(few.weights, many.weights)
    np.testing.assert_array_equal(few.train_logits, many.train_logits)
    for name, values in few.records.items():
        np.testing.assert_array_equal(values[:, -1], many.records[name][:, -1])


@pytest.mark.parametrize("system", ["lazy", *(pytest.param(s, marks=pytest.mark.slow) for s in SYSTEMS if s != "lazy")])
def test_a_system_trains_in_double_precision_on_samples_of_single(tiny, task, system):
    """A user's own dataset is read in float32."""
    study = replace(tiny, {"system": system, "train.dtype": "float64", "train.num_steps": 5, "replicates": 1})
    keys = start_keys(study, streams.START, 0, range(1))
    members = train_networks(study, training_tasks(study, OwnWorld.of(study, samples=task.data))[0], keys, num_steps=5)
    assert {a.dtype for a in (members.weights, members.train_logits)} == {np.dtype("float64")}


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_budget_too_small_for_a_system_is_one_line(tiny, system):
    study = replace(tiny, {"system": system, "replicates": 1})
    with devices.using(memory=10_000), pytest.raises(ConfigError, match=r"--memory = 10 kB .* takes about [^\n]*$"):
        run_study(study, distillation=False)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(
    "changes", [{}, {"data.representation": "dense", "data.patch_dim": 64}], ids=["limit", "dense"]
)
def test_a_sweep_expects_the_memory_that_a_system_takes(tiny, system, changes):
    study = replace(tiny, {"system": system, "data.num_train": 400, "data.num_single_view_train": 60} | changes)
    study = replace(study, {"seeds": 200, "replicates": 1})
    expected = worker_bytes(study) - PROCESS_BYTES
    assert expected == pytest.approx(block_bytes(study, training_tasks(study)[0]), rel=0.4)


@pytest.mark.slow
@pytest.mark.parametrize("system", ["lazy", "linearised", "random_features"])
@pytest.mark.parametrize(
    "changes",
    [
        {"data.representation": "dense", "data.patch_dim": 64},
        {"data.num_train": 300},
    ],
    ids=["dense", "samples"],
)
def test_memory_of_a_system_is_predicted_from_above_and_within_three_times(tiny, system, changes):
    """Against what the compiler allots, of a block of 2."""
    study = replace(tiny, {"system": system, "replicates": 1} | changes)
    (task,) = training_tasks(study)
    of, sizes = table.load(system), sizes_of(study, task)
    settings = settings_of([study] * 2, of)
    keys = start_keys(study, streams.START, 0, range(2))
    state = jax.eval_shape(lambda k: of.start(k, None, task, settings, sizes), keys)
    programs = [
        of.start.lower(keys, None, task, settings, sizes),
        of.advance.lower(state, *map(jnp.int32, (0, 5, 5)), task, None, settings, sizes),
    ]
    used = 0
    for program in programs:
        m = program.compile().memory_analysis()
        used = max(used, m.temp_size_in_bytes + m.argument_size_in_bytes + m.output_size_in_bytes)
    assert used <= block_bytes(study, task) <= 3 * used


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"system": "ntk"}, "system = 'ntk' is not allowed: it must be one of network, average, lazy"),
        ({"output_scale": 2.0}, "output_scale = 2.0 is not allowed: it must be 1 with system = 'network'"),
        ({"system": "lazy", "output_scale": 0.5}, "output_scale = 0.5 is not allowed: it must be a number ≥ 1"),
        (
            {"system": "linearised", "train.optimizer": "adam"},
            "train.optimizer = 'adam' is not allowed: it must be sgd",
        ),
        ({"system": "average", "train.solver": "gradient_flow"}, "train.solver = 'gradient_flow' is not allowed"),
        ({"system": "lazy", "train.batch_size": 2}, "train.batch_size = 2 is not allowed: it must be 0 with system"),
    ],
)
def test_bad_systems_are_one_line(changes, words):
    with pytest.raises(ConfigError) as caught:
        replace(Study(), changes)
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


@pytest.fixture
def linear_classifier(monkeypatch):
    """The system of docs/howto/add-a-system.md, from the page itself: its file and its line of the table."""
    page = (Path(__file__).parents[1] / "docs" / "howto" / "add-a-system.md").read_text(encoding="utf-8")
    block, row = re.search(r"```python\n(.*?)```.*?```text\n(.*?)```", page, re.DOTALL).groups()
    module = types.ModuleType("multiview.systems.linear_classifier")
    exec(compile(block, "linear_classifier.py", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    entry = eval("{" + row + "}", {"Entry": table.Entry})
    for name, line in entry.items():
        monkeypatch.setitem(table.SYSTEMS, name, line)


def test_a_system_is_one_file_and_one_line_train_sweep_report_and_forecast_know_it(
    linear_classifier, flags, empty, capsys
):
    """Of the linear classifier both views of each class are learned alike: there is no race."""
    words = [*flags, "--system=linear_classifier", "--replicates=1", "--train.num-steps=400"]
    assert main(["train", *words, "--out", "one.zarr"]) == 0
    overlap = open_results("one.zarr")["single"]["largest_overlap"].values[0, :, -1]
    assert (overlap.min(-1) > 0.5 * overlap.max(-1)).all()
    assert main(["report", "one.zarr", "--out", "one.html"]) == 0
    over = [*flags, "--replicates=1", "--over", "system=network,linear_classifier", "--out", "two.zarr"]
    assert main(["sweep", *over, "--dry-run"]) == 0
    assert "of memory a process" in capsys.readouterr().out
    assert main(["sweep", *over, "--quiet"]) == 0
    assert set(open_results("two.zarr")["system"].values) == {"network", "linear_classifier"}

"""Options of training: without them the plain program, with mixup mixtures; every part of the package knows them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sweeping import small

import multiview
from multiview import streams
from multiview.config import Study, replace
from multiview.measures.training_error import cross_entropy
from multiview.network.activation import smoothed_relu
from multiview.network.outputs import logits
from multiview.network.parameters import init_network
from multiview.parameters import ConfigError
from multiview.studies.study import run_study, training_tasks
from multiview.systems.blocks import answer_networks, start_keys, train_networks
from multiview.training.augmentation import Mixing, change_samples, draw_mixing, drop_patches, mix_samples
from multiview.training.losses import cross_entropy_logit_gradient
from multiview.training.optimizer import make_optimizer
from multiview.training.step import TrainingState, advance, step
from multiview.world.patches import represent
from multiview.world.world import World

MIDPOINT = {"train.mixup": "midpoint"}


def one_task(study):
    return training_tasks(replace(study, {"replicates": 1}))[0]


def train(study, seeds, steps=30, task=None, **options):
    keys = start_keys(study, streams.START, 0, seeds)
    return train_networks(study, task or one_task(study), keys, num_steps=steps, **options)


@pytest.fixture(scope="module")
def task(tiny):
    """Training samples as vectors: a part without noise and one with it."""
    task = one_task(replace(tiny, MIDPOINT))
    assert [part.noise_norm is None for part in task.patches] == [True, False]
    return task


@pytest.fixture(scope="module")
def parameters(tiny, task):
    """A network whose start is large enough to tell samples apart."""
    k = tiny.data.num_classes
    start = init_network(jax.random.key(1), task.patches, tiny.data.num_features, k, tiny.network, "float32")
    return jax.tree.map(lambda a: 30 * a, start)


@pytest.mark.slow
@pytest.mark.bits
def test_without_options_steps_are_those_of_the_plain_program(tiny):
    """Bit by bit."""
    task = one_task(tiny)

    @jax.jit
    def plain(state):
        outputs, pull_back = jax.vjp(lambda p: logits(p, task.patches, tiny.network), state.parameters)
        (gradient,) = pull_back(cross_entropy_logit_gradient(outputs, task.data.labels, task.data.weights))
        optimizer = optax.sgd(tiny.train.learning_rate)
        updates, after = optimizer.update(gradient, state.optimizer_state, state.parameters)
        return TrainingState(optax.apply_updates(state.parameters, updates), after)

    k = tiny.data.num_classes
    start = init_network(jax.random.key(1), task.patches, tiny.data.num_features, k, tiny.network, "float32")
    state = TrainingState(start, make_optimizer(tiny.train).init(start))
    ours = jax.jit(lambda s, i: step(s, i, task, None, tiny.network, tiny.train, None))
    one = other = state
    for index in range(5):
        one, other = ours(one, jnp.int32(index)), plain(other)
    assert np.abs(np.asarray(one.parameters.weights - start.weights)).max() > 1e-3
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_vectors_are_the_same_samples_as_rows(tiny):
    """The same overlaps by either, from the same starts; without noise, which starts in another order."""
    quiet = replace(tiny, {"data.noise_norm": 0.0})
    rows = one_task(quiet)
    vectors = rows._replace(patches=represent([rows.data], quiet.data, as_vectors=True)[0])
    ours, theirs = (train(quiet, [0, 1], task=samples) for samples in (vectors, rows))
    np.testing.assert_allclose(ours.weights, theirs.weights, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(ours.train_logits, theirs.train_logits, rtol=1e-3, atol=1e-4)


def of_mixtures(parameters, task, mixing, network):
    """Logits of mixtures, from pre-activations of each sample by itself."""
    pre = []
    for part, noise in zip(task.patches, parameters.noise, strict=True):
        of_part = jnp.einsum("npd,dkm->npkm", part.vectors, parameters.weights)
        pre.append(of_part if noise is None else of_part + part.noise_norm[..., None, None] * noise)
    whole, share = jnp.concatenate(pre), mixing.share[:, None, None, None]
    both = share * whole + (1 - share) * whole[mixing.partner]
    return smoothed_relu(both, network.relu_power, network.relu_threshold).sum((1, 3))


@pytest.mark.slow
def test_mixtures_have_the_mixture_of_the_pre_activations(tiny, task, parameters):
    """Logits, and gradients in the network's own overlaps, noise included."""
    mixing = draw_mixing(jax.random.key(2), task.data.weights, "uniform")
    values, pull = jax.vjp(lambda p: logits(*mix_samples(p, task.patches, mixing), tiny.network), parameters)
    expected, expected_pull = jax.vjp(lambda p: of_mixtures(p, task, mixing, tiny.network), parameters)
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-6)
    push = jax.random.normal(jax.random.key(3), values.shape)
    for a, b in zip(jax.tree.leaves(pull(push)), jax.tree.leaves(expected_pull(push)), strict=True):
        assert np.abs(b).max() > 0
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_a_sample_mixed_with_itself_is_itself(tiny, task, parameters):
    n = task.data.num_samples
    alone = Mixing(jnp.full(n, 0.3), jnp.arange(n))
    np.testing.assert_allclose(
        logits(*mix_samples(parameters, task.patches, alone), tiny.network),
        logits(parameters, task.patches, tiny.network),
        rtol=1e-4, atol=1e-6,
    )  # fmt: skip


def test_partners_are_drawn_by_weight(task):
    weights = task.data.weights.at[:10].set(0.0)
    drawn = jax.vmap(lambda key: draw_mixing(key, weights, "midpoint"))(jax.random.split(jax.random.key(0), 400))
    counts = np.bincount(np.asarray(drawn.partner).reshape(-1), minlength=len(weights)) / drawn.partner.size
    assert (counts[:10] == 0).all()
    np.testing.assert_allclose(counts, weights / weights.sum(), atol=0.01)
    assert (np.asarray(drawn.share) == 0.5).all()
    uniform = np.asarray(draw_mixing(jax.random.key(0), jnp.ones(4000), "uniform").share)
    assert uniform.mean() == pytest.approx(0.5, abs=0.03)
    assert uniform.std() == pytest.approx(12**-0.5, abs=0.02)


def test_draws_are_the_same_in_double_precision(tiny, task, parameters):
    train = replace(tiny, {"train.mixup": "uniform", "train.dropped_patches": 0.3}).train

    def drawn(samples, parameters):
        seen, targets = change_samples(samples.patches, samples.data, 4, jax.random.key(0), jnp.int32(1), train)
        return seen(parameters)[1][0].vectors, targets

    single = drawn(task, parameters)
    with jax.enable_x64(True):
        given = jax.tree.map(lambda a: a.astype("float64") if a.dtype == "float32" else a, (task, parameters))
        for one, other in zip(single, drawn(*given), strict=True):
            assert other.dtype == np.float64
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_kept_and_dropped_patches_add_up_to_the_sample(tiny, task, parameters):
    shape = (task.data.num_samples, tiny.data.num_patches)
    kept = jax.random.bernoulli(jax.random.key(4), 0.6, shape).astype("float32")
    halves = [logits(parameters, drop_patches(task.patches, mask), tiny.network) for mask in (kept, 1 - kept)]
    assert min(np.abs(half).max() for half in halves) > 0.01
    np.testing.assert_allclose(sum(halves), logits(parameters, task.patches, tiny.network), rtol=1e-4, atol=1e-5)


def test_patches_are_dropped_as_often_as_asked_and_afresh_in_each_step(tiny, task, parameters):
    train = replace(tiny, {"train.dropped_patches": 0.3}).train
    key, counts = jax.random.key(0), []
    for index in range(20):
        seen, targets = change_samples(task.patches, task.data, 4, key, jnp.int32(index), train)
        assert targets is task.data.labels
        _, patches = seen(parameters)
        counts.append([float((p.vectors != 0).sum()) for p in patches])
    whole = sum(float((p.vectors != 0).sum()) for p in task.patches)
    assert np.sum(counts) / (20 * whole) == pytest.approx(0.7, abs=0.02)
    assert len({tuple(c) for c in counts}) > 10


def test_smoothed_labels_are_a_mixture_with_the_uniform_distribution(tiny, task, parameters):
    smooth = replace(tiny, {"train.label_smoothing": 0.2}).train
    _, targets = change_samples(task.patches, task.data, 4, None, jnp.int32(0), smooth)
    outputs, weights = logits(parameters, task.patches, tiny.network), task.data.weights

    def loss(outputs):
        uniform = -(weights * jax.nn.log_softmax(outputs).mean(-1)).sum()
        return 0.8 * cross_entropy(outputs, task.data.labels, weights) + 0.2 * uniform

    ours = cross_entropy_logit_gradient(outputs, targets, weights)
    np.testing.assert_allclose(ours, jax.grad(loss)(outputs), rtol=1e-4, atol=1e-7)


def test_weight_decay_and_momentum_are_those_of_the_books(tiny):
    """w₁ = w₀ − η (g + λ w₀), noise overlaps too; then v ← m v + g at η (1 − m)."""
    task, eta = one_task(tiny), tiny.train.learning_rate
    k = tiny.data.num_classes
    start = init_network(jax.random.key(1), task.patches, tiny.data.num_features, k, tiny.network, "float32")

    @jax.jit
    def gradient(p):
        return jax.grad(
            lambda p: cross_entropy(logits(p, task.patches, tiny.network), task.data.labels, task.data.weights)
        )(p)

    def steps(changes, count):
        options = replace(tiny, changes).train
        state = TrainingState(start, make_optimizer(options).init(start))
        return advance(state, 0, count, task, None, tiny.network, options, None).parameters

    def same(ours, expected):
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7)

    first = gradient(start)
    same(steps({"train.weight_decay": 0.01}, 1), jax.tree.map(lambda w, g: w - eta * (g + 0.01 * w), start, first))
    one = jax.tree.map(lambda w, g: w - eta * 0.4 * g, start, first)
    two = jax.tree.map(lambda w, g, h: w - eta * 0.4 * (0.6 * g + h), one, first, gradient(one))
    same(steps({"train.momentum": 0.6}, 2), two)


@pytest.mark.slow
@pytest.mark.usefixtures("standard_promotion")
@pytest.mark.parametrize(
    ("changes", "slower"),
    [
        ({"train.weight_decay": 0.01}, lambda w, v: (w - 8 * 0.01 * w, v)),
        (
            {"train.weight_decay": 0.01, "train.momentum": 0.6},
            lambda w, v: (w - 8 * 0.4 * (0.6 * v + 0.01 * w), 0.6 * v + 0.01 * w),
        ),
        ({"train.optimizer": "adamw(weight_decay=0.01)"}, lambda w, v: (w - 8 * 0.01 * w, v)),
        ({"train.optimizer": "lion(weight_decay=0.01)"}, lambda w, v: (w - 8 * 0.01 * w, v)),
    ],
)
def test_fresh_noise_of_test_samples_has_decayed_with_the_weights(tiny, changes, slower):
    """In the limit: by what is left of a weight that no training sample moves, in both phases of training."""
    study = replace(tiny, {"data.representation": "limit", "train.num_records": 2, **changes})
    begun = train(study, [0, 1], 4)
    trained = train_networks(study, one_task(study), None, resume=begun.state, num_steps=3, first_step=4)
    left, speed = 1.0, 0.0
    for _ in range(7):
        left, speed = slower(left, speed)
    weights, share = trained.kept
    np.testing.assert_array_equal(weights, trained.weights)
    np.testing.assert_allclose(share, [left, left], rtol=1e-5)
    chunk = next(World.of(study).held_out(0, {"single_view": 20}))
    quieter = replace(study, {"network.init_std": study.network.init_std * float(share[0])})
    answers = [
        answer_networks(how, kept, chunk.noise_keys(2), chunk.task)
        for how, kept in ((study, trained.kept), (quieter, weights), (study, weights))
    ]
    np.testing.assert_allclose(answers[0], answers[1], rtol=1e-5, atol=1e-7)
    assert np.abs(answers[0] - answers[2]).max() > 1e-5


ALL = {
    "train.mixup": "uniform", "train.dropped_patches": 0.2, "train.label_smoothing": 0.1, "train.weight_decay": 1e-4,
    "train.momentum": 0.5, "train.batch_size": 20,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.bits
def test_a_network_is_the_same_in_any_block_and_when_it_is_resumed(tiny):
    study = replace(tiny, ALL)
    task = one_task(study)
    three, alone = train(study, [0, 1, 7], task=task), train(study, [7], task=task)
    for a, b in zip(jax.tree.leaves(alone.state), jax.tree.leaves(three.state), strict=True):
        assert np.array_equal(a[0], b[2])
    half = train(study, [0, 1, 7], 15, task)
    rest = train_networks(study, task, None, resume=half.state, num_steps=15, first_step=15)
    assert np.array_equal(rest.weights, three.weights)
    other = train(study, [0, 1, 7], task=task, batch_keys=jax.random.split(jax.random.key(5), 3))
    assert np.array_equal(other.records["largest_overlap"][:, 0], three.records["largest_overlap"][:, 0])
    assert not np.allclose(other.weights, three.weights, rtol=1e-3)


def test_noise_records_are_those_of_the_label(tiny, task):
    """Of vectors in two parts, the first without noise."""
    trained = train(replace(tiny, MIDPOINT), [0], 5, task, record_at=[5])
    noise = np.asarray(trained.state.parameters.noise[1][0])  # [s, P, k, m]
    first = len(task.patches[0].vectors)
    labels = np.asarray(task.data.labels)[first:]
    of_label = noise[np.arange(len(noise)), :, labels] * np.asarray(task.patches[1].noise_norm)[..., None]
    assert np.asarray(task.data.is_single_view)[first:].all()
    assert trained.records["noise_overlap_single_view"][0, 0] == pytest.approx(of_label.max(), rel=1e-5)
    assert trained.records["noise_overlap_multi_view"][0, 0] == 0


@pytest.mark.slow
def test_under_a_teacher_steps_are_plain_but_decay_and_momentum_go_on(tiny, task):
    """It has answered the samples themselves."""
    study = replace(tiny, ALL | {"train.batch_size": 0})
    begun = train(study, [0, 1], 10, task)
    teacher = np.asarray(begun.train_logits) * 3
    plain = replace(study, {"train.mixup": "none", "train.dropped_patches": 0.0, "train.label_smoothing": 0.0})

    def taught(how, state):
        return train_networks(
            how, task, None, resume=state, num_steps=10, first_step=tiny.distill.onset_step,
            teacher_logits=teacher, distill=tiny.distill,
        ).weights  # fmt: skip

    without_key = begun.state._replace(batch_key=())
    ours = taught(study, begun.state)
    np.testing.assert_allclose(ours, taught(plain, without_key), rtol=1e-4, atol=1e-6)
    undecayed = replace(plain, {"train.weight_decay": 0.0})
    state = without_key._replace(optimizer_state=without_key.optimizer_state[1], idle=())
    assert np.abs(ours - taught(undecayed, state)).max() > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes", [{}, {"data.representation": "dense", "data.patch_dim": 16}], ids=["limit", "dense"]
)
def test_a_whole_study_runs_with_all_of_them(tiny, changes):
    """Students, tests and records included; half of what is trained learns something."""
    result = run_study(replace(tiny, ALL | {"replicates": 1, "seeds": 2, "students": 2} | changes))
    for group in result.groups.values():
        assert group.finite.all()
        assert (
            group.records["total_overlap"][..., -1, :, :] > group.records["total_overlap"][..., 0, :, :]
        ).mean() > 0.5


@pytest.mark.parametrize(
    "over", [pytest.param("train.weight_decay=0,0.001", marks=pytest.mark.slow), "train.mixup=none,midpoint"]
)
def test_a_sweep_over_an_option_runs_and_stores(tmp_path, over):
    outcome = multiview.run_sweep(replace(small(), {"replicates": 1}), [over], tmp_path / "a")
    assert (outcome.done, outcome.failed) == (2, 0)
    data = multiview.open_results(tmp_path / "a")
    name = over.partition("=")[0].removeprefix("train.")
    assert data.sizes[name] == 2
    last = data["largest_overlap"].isel(time=-1).values
    assert np.abs(last[0] - last[1]).max() > 1e-4
    (alone,) = run_study(
        replace(small(), {"replicates": 1, f"train.{name}": over.rpartition(",")[2]}), distillation=False
    ).groups.values()
    np.testing.assert_allclose(last[1], alone.records["largest_overlap"][:, :, -1], rtol=1e-3, atol=1e-5)


def test_rows_are_refused_where_other_patches_must_take_their_place(tiny):
    with pytest.raises(ValueError, match="need vectors"):
        train(replace(tiny, MIDPOINT), [0], 1, one_task(tiny))


@pytest.mark.parametrize(
    ("field", "value", "default"),
    [
        ("mixup", "midpoint", "none"), ("dropped_patches", 0.1, "0.0"), ("label_smoothing", 0.1, "0.0"),
        ("weight_decay", 0.1, "0.0"), ("momentum", 0.1, "0.0"),
    ],
)  # fmt: skip
def test_none_of_them_goes_along_the_flow(field, value, default):
    line = f"train.{field} = {value!r} is not allowed: it must be {default} with train.solver = 'gradient_flow'"
    with pytest.raises(ConfigError, match=line):
        replace(Study(), {"train.solver": "gradient_flow", f"train.{field}": value})

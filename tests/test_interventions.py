"""Interventions: plain descent is the network's own training, mixtures are mixtures, and bad values are refused."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from multiview import streams
from multiview.batching import start_keys, train_networks
from multiview.config import ConfigError, replace
from multiview.contrasts.interventions import Intervention, _loss, begin, go_on, view_slowdown
from multiview.losses import cross_entropy
from multiview.network import init, logits
from multiview.representations import vectors
from multiview.study import training_tasks


@pytest.fixture(scope="module")
def task(tiny):
    return training_tasks(tiny)[0]


@pytest.fixture(scope="module")
def start(tiny, task):
    """Patches as vectors, and a network whose start is large enough to tell samples apart."""
    part = vectors(task.data, tiny.data)
    parameters = init(
        jax.random.key(1), (part,), tiny.data.num_features, tiny.data.num_classes, tiny.network, "float32"
    )
    return part, jax.tree.map(lambda a: 30 * a, parameters)


def trained(study, task, intervention, steps=40, seeds=2):
    """Networks after so many steps; optax promotes integers to numbers."""
    keys = start_keys(study, streams.START, 0, range(seeds))
    with jax.numpy_dtype_promotion("standard"):
        state = begin(study, task, keys, intervention)
        return go_on(study, task, jax.random.split(jax.random.key(5), seeds), state, jnp.int32(steps), intervention)


def test_no_intervention_is_gradient_descent(tiny):
    """The same overlaps as by the package's own training, from the same starts; without noise, whose order differs."""
    tiny = replace(tiny, {"data.noise_norm": 0.0})
    task = training_tasks(tiny)[0]
    ours = trained(tiny, task, Intervention())
    keys = start_keys(tiny, streams.START, 0, range(2))
    theirs = train_networks(tiny, task, keys, num_steps=40, record_at=[40])
    np.testing.assert_allclose(ours.parameters.weights, theirs.weights, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(ours.train_wrong, theirs.records["train_wrong"][:, -1])


def test_loss_without_intervention_is_the_cross_entropy(tiny, task, start):
    part, parameters = start
    expected = cross_entropy(logits(parameters, (part,), tiny.network), task.data.labels, task.data.weights)
    value = _loss(parameters, jax.random.key(0), part, task, tiny, Intervention())
    assert float(value) == pytest.approx(float(expected), rel=1e-5)


def test_smoothed_labels_are_a_mixture_with_the_uniform_distribution(tiny, task, start):
    part, parameters = start
    outputs = jax.nn.log_softmax(logits(parameters, (part,), tiny.network))
    plain = cross_entropy(outputs, task.data.labels, task.data.weights)
    uniform = -(task.data.weights * outputs.mean(-1)).sum()
    value = _loss(parameters, jax.random.key(0), part, task, tiny, Intervention(label_smoothing=0.2))
    assert float(value) == pytest.approx(float(0.8 * plain + 0.2 * uniform), rel=1e-5)


def test_mixing_a_sample_with_itself_changes_nothing(tiny, task, start):
    """All the weight on one sample: every partner is that sample."""
    part, parameters = start
    import dataclasses

    data = dataclasses.replace(task.data, weights=jnp.zeros_like(task.data.weights).at[3].set(1.0))
    alone = task._replace(data=data)
    values = [
        float(_loss(parameters, jax.random.key(0), part, alone, tiny, Intervention(mixup=kind)))
        for kind in ("none", "uniform", "midpoint")
    ]
    np.testing.assert_allclose(values, values[0], rtol=1e-5)


def test_mixup_differs_from_plain_and_from_key_to_key(tiny, task, start):
    part, parameters = start
    midpoint = Intervention(mixup="midpoint")
    plain, one, other = (
        float(_loss(parameters, jax.random.key(key), part, task, tiny, how))
        for key, how in ((0, Intervention()), (0, midpoint), (1, midpoint))
    )
    assert len({plain, one, other}) == 3


def test_dropping_most_patches_leaves_little_output(tiny, task, start):
    """With nearly all patches gone the loss is that of no output, log k."""
    part, parameters = start
    value = _loss(parameters, jax.random.key(0), part, task, tiny, Intervention(dropped_patches=0.999))
    assert float(value) == pytest.approx(float(np.log(tiny.data.num_classes)), abs=0.02)


def test_weight_decay_shrinks_and_momentum_keeps_the_clock(tiny, task):
    plain = np.asarray(trained(tiny, task, Intervention(), 20).parameters.weights)
    early = np.asarray(trained(tiny, task, Intervention(), 6).parameters.weights)  # before anything takes off
    decayed = np.asarray(trained(tiny, task, Intervention(weight_decay=5e-3), 20).parameters.weights)
    assert np.linalg.norm(decayed) < 0.9 * np.linalg.norm(plain)
    with_momentum = trained(tiny, task, Intervention(momentum=0.5), 7).parameters.weights
    np.testing.assert_allclose(with_momentum, early, rtol=0.25, atol=2e-3)
    assert np.abs(early - trained(tiny, task, Intervention(), 1).parameters.weights).max() > 5e-3


def test_adam_moves_all_weights_alike(tiny, task):
    """After one step every weight with a gradient has moved by the rate."""
    keys = start_keys(tiny, streams.START, 0, range(1))
    adam = Intervention(optimizer="adam", learning_rate=1e-3)
    before = begin(tiny, task, keys, adam)
    with jax.numpy_dtype_promotion("standard"):
        after = go_on(tiny, task, keys, before, jnp.int32(1), adam)
    moved = np.abs(np.asarray(after.parameters.weights - before.parameters.weights))
    assert moved.max() <= 1.01e-3
    assert np.median(moved[moved > 0]) == pytest.approx(1e-3, rel=0.05)


def test_slowdown_is_what_mixing_leaves_of_a_power():
    """Against numerical integration, at q = 3."""
    share = (np.arange(10_000) + 0.5) / 10_000
    assert view_slowdown(Intervention(mixup="uniform"), 3.0) == pytest.approx(
        1 / (share**3 + (1 - share) ** 3).mean(), rel=1e-6
    )
    assert view_slowdown(Intervention(mixup="midpoint"), 3.0) == pytest.approx(4)
    assert view_slowdown(Intervention(dropped_patches=0.5), 3.0) == pytest.approx(2)


@pytest.mark.parametrize(
    ("intervention", "message"),
    [
        (Intervention(momentum=1.0), "momentum = 1.0 is not allowed"),
        (Intervention(dropped_patches=-0.1), "dropped_patches = -0.1 is not allowed"),
        (Intervention(label_smoothing=float("nan")), "label_smoothing = nan is not allowed"),
        (Intervention(weight_decay=-1.0), "weight_decay = -1.0 is not allowed"),
        (Intervention(optimizer="adam"), "learning_rate = 0.0 is not allowed with adam"),
    ],
)
def test_bad_values_are_refused(tiny, task, intervention, message):
    with pytest.raises(ConfigError, match=message):
        begin(tiny, task, start_keys(tiny, streams.START, 0, range(1)), intervention)

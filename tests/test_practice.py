"""The practice experiment's convolutional network and its linear systems: closed forms and equivalences."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.real_images import convolutional as conv
from experiments.real_images import linear
from experiments.real_images.images import Images, half, split
from multiview.parameters import ConfigError

ROOT = Path(__file__).parent.parent
RECIPE = conv.Recipe(channels=(3, 4), steps=5, longest=5)
RATE = 3e-3


@pytest.fixture
def small(random):
    """Twelve images of 8 × 8 pixels, three classes."""
    return Images(random.normal(size=(12, 8, 8, 2)).astype(np.float32), np.arange(12, dtype=np.int32) % 3, 3)


@pytest.mark.slow
def test_gram_matrices_are_those_of_all_tangents_held_whole_or_in_parts(small, monkeypatch):
    """By automatic derivatives of all weights at once; and its parts act as the whole."""
    x = jnp.asarray(small.pixels)
    begin = conv.start(jax.random.key(0), x.shape[1:], 3, RECIPE)
    tangents = jax.jit(jax.jacrev(lambda w: conv.outputs(w, x).reshape(-1)))(begin)
    flat = jnp.concatenate([t.reshape(36, -1) for t in jax.tree.leaves(tangents)], 1)
    whole = linear.linear_model("lazy", begin, x)
    np.testing.assert_allclose(whole.gram, flat @ flat.T, rtol=1e-4, atol=1e-4)
    monkeypatch.setattr(linear, "LARGEST_GRAM", 10)
    parts = jax.jit(lambda *given: linear.linear_model.__wrapped__("lazy", *given))(begin, x)  # compiled anew
    assert isinstance(parts.gram, linear.TangentGram)
    dual = jnp.asarray(np.random.default_rng(0).normal(size=(12, 3)), jnp.float32)
    expected = linear._apply(whole.gram, dual)
    np.testing.assert_allclose(linear._apply(parts.gram, dual), expected, rtol=1e-3, atol=1e-3)
    twice = linear.average_model([parts, parts])
    np.testing.assert_allclose(linear._apply(twice.gram, dual), expected, rtol=1e-3, atol=1e-3)


def test_split_has_equal_classes_and_no_image_twice(small):
    named = small._replace(pixels=np.arange(12, dtype=np.float32)[:, None, None, None] * np.ones((1, 8, 8, 1)))
    train, test = split(named, 6, 100, seed=1)
    assert np.bincount(train.labels).tolist() == [2, 2, 2]
    assert len(test.labels) == 6
    values = np.concatenate([train.pixels, test.pixels])[:, 0, 0, 0]
    assert len(np.unique(values)) == 12
    assert train.pixels.mean() == pytest.approx(0, abs=1e-5)
    assert train.pixels.std() == pytest.approx(1, abs=1e-5)
    with pytest.raises(ConfigError, match="num_train = 12"):
        split(named, 12, 1, seed=1)


def test_halves_join_to_the_whole(small):
    left, right = half(small, "left"), half(small, "right")
    assert (left.pixels[:, :, 4:] == 0).all()
    np.testing.assert_array_equal(left.pixels + right.pixels, small.pixels)


def test_neighbourhoods_make_a_convolution(random):
    """Against JAX's own convolution."""
    x = jnp.asarray(random.normal(size=(2, 5, 6, 3)), jnp.float32)
    kernel = jnp.asarray(random.normal(size=(3, 3, 3, 4)), jnp.float32)
    expected = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    np.testing.assert_allclose(conv._neighbourhoods(x) @ kernel.reshape(27, 4), expected, atol=1e-4)


@pytest.mark.slow
def test_linear_systems_are_the_network_before_training(small):
    x = jnp.asarray(small.pixels)
    begin = conv.start(jax.random.key(0), x.shape[1:], 3, RECIPE)
    for system in ("lazy", "random_features"):
        found = linear.linear_logits(system, begin, jnp.zeros((12, 3)), x, x[:5])
        np.testing.assert_allclose(found, conv.outputs(begin, x[:5]), atol=1e-5)


@pytest.mark.slow
def test_linearised_network_moves_along_the_gradients(small):
    """A tiny dual coefficient moves the network itself as it moves the linear system, to first order."""
    x = jnp.asarray(small.pixels)
    begin = conv.start(jax.random.key(0), x.shape[1:], 3, RECIPE)
    dual = jnp.asarray(np.random.default_rng(0).normal(size=(12, 3)), jnp.float32)
    (direction,) = jax.vjp(lambda w: conv.outputs(w, x), begin)[1](dual)
    errors = []
    for scale in (1e-2, 1e-3):
        now = jax.tree.map(lambda a, b, s=scale: a + s * b, begin, direction)
        flat = linear.linear_logits("lazy", begin, scale * dual, x, x)
        errors.append(float(jnp.abs(conv.outputs(now, x) - flat).max()))
    assert 0 < errors[1] < 0.2 * errors[0]


@pytest.mark.parametrize("system", ["lazy", "random_features"])
def test_gram_matrices_give_the_logits_of_training_images(small, system):
    x = jnp.asarray(small.pixels)
    begin = conv.start(jax.random.key(0), x.shape[1:], 3, RECIPE)
    model = linear.linear_model(system, begin, x)
    dual = jnp.asarray(np.random.default_rng(0).normal(size=(12, 3)), jnp.float32)
    found = model.start_logits + linear._apply(model.gram, dual)
    np.testing.assert_allclose(found, linear.linear_logits(system, begin, dual, x, x), rtol=1e-3, atol=1e-3)
    largest = linear.largest_eigenvalue(model.gram, dual.shape)
    assert float(largest) == pytest.approx(np.linalg.eigvalsh(model.gram)[-1], rel=1e-2)


@pytest.mark.slow
def test_convex_fits_end_at_the_optimum_of_the_objective():
    """With random labels and few features errors stay, and the gradient has gone: against scipy's minimiser."""
    from scipy.optimize import minimize

    labels = jnp.asarray([0, 0, 1, 1, 2, 2, 0, 1, 2, 0, 1, 2], jnp.int32)
    features = np.random.default_rng(1).normal(size=(12, 2))
    model = linear.LinearModel(jnp.zeros((12, 3)), jnp.asarray(features @ features.T, jnp.float32))
    done = linear.fit(model, labels, RECIPE, 0.0, jnp.zeros((12, 3)), min_steps=50, max_steps=500)

    @jax.value_and_grad
    def loss(theta):
        logits = jnp.asarray(features, jnp.float32) @ theta.reshape(2, 3)
        return conv.objective(logits, labels, jnp.zeros((12, 3)), 0.0, 1.0)

    def plain(theta):
        value, slope = loss(jnp.asarray(theta, jnp.float32))
        return float(value), np.asarray(slope, float)

    assert int(done.train_wrong) > 0
    assert int(done.steps) == 500
    assert float(done.gradient_left) < linear.SMALL_GRADIENT
    ours = float(conv.objective(done.train_logits, labels, jnp.zeros((12, 3)), 0.0, 1.0))
    assert ours == pytest.approx(minimize(plain, np.zeros(6), jac=True, tol=1e-5).fun, abs=1e-4)


def test_fits_stop_when_nothing_is_wrong(small):
    x, y = jnp.asarray(small.pixels), jnp.asarray(small.labels)
    begin = conv.start(jax.random.key(0), x.shape[1:], 3, RECIPE)
    model = linear.linear_model("lazy", begin, x)
    done = linear.fit(model, y, RECIPE, 0.0, jnp.zeros((12, 3)), min_steps=2, max_steps=3000)
    assert int(done.train_wrong) == 0
    assert 2 <= int(done.steps) < 3000
    same = linear.average_model([model, model])
    np.testing.assert_allclose(same.gram, model.gram, rtol=1e-6)


@pytest.mark.slow
def test_networks_do_not_depend_on_company_and_averages_of_one_are_networks(standard_promotion, small):
    x, y = jnp.asarray(small.pixels), jnp.asarray(small.labels)
    keys = jax.random.split(jax.random.key(3), 2)
    two, one = conv.train(keys[:, None], x, y, 3, RECIPE, RATE), conv.train(keys[1:, None], x, y, 3, RECIPE, RATE)
    np.testing.assert_allclose(two.weights.first[0][1], one.weights.first[0][0], atol=1e-5)
    np.testing.assert_allclose(conv.logits_of(one.weights, x)[0], one.train_logits[0], atol=1e-5)
    twins = conv.train(jnp.stack([keys[1], keys[1]])[None], x, y, 3, RECIPE, RATE)
    np.testing.assert_allclose(twins.train_logits, one.train_logits, rtol=1e-2, atol=1e-3)


@pytest.mark.slow
def test_longer_runs_end_without_training_errors(standard_promotion, small):
    """Steps are counted, the longest run is not exceeded, and what is reported belongs to the weights returned."""
    x, y = jnp.asarray(small.pixels), jnp.asarray(small.labels)
    key = jax.random.split(jax.random.key(3), 1)[:, None]
    recipe = RECIPE._replace(steps=1, longest=400)
    slow = conv.train(key, x, y, 3, recipe, 1e-7)
    assert (int(slow.steps[0]), int(slow.train_wrong[0]) > 0) == (400, True)
    long = conv.train(key, x, y, 3, recipe, 1e-2)
    assert 1 < int(long.steps[0]) < 400
    assert int(long.train_wrong[0]) == 0
    assert int(conv.wrong_images(conv.logits_of(long.weights, x)[0], y)) == 0


def test_objective_without_weight_is_cross_entropy_and_its_minimum_is_the_teacher():
    logits = jnp.array([[1.0, 2.0, 0.5]])
    labels = jnp.array([1], jnp.int32)
    alone = conv.objective(logits, labels, logits, 0.0, 4.0)
    assert float(alone) == pytest.approx(float(-jax.nn.log_softmax(logits)[0, 1]), rel=1e-6)

    def soft(z):
        return conv.objective(z, labels, logits, 2.0, 3.0) - conv.objective(z, labels, logits, 0.0, 3.0)

    np.testing.assert_allclose(jax.grad(soft)(logits), 0, atol=1e-5)
    assert float(soft(logits)) < float(soft(logits[:, ::-1]))

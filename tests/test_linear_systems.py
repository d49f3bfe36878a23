"""Linear systems: linearised networks and random features, and the dual in which they are fitted."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from multiview import streams
from multiview.config import DistillConfig, replace
from multiview.network.outputs import logits
from multiview.network.parameters import init_network
from multiview.systems import linear, linearised, random_features
from multiview.systems.blocks import start_keys, train_networks
from multiview.world.patches import vectors


@pytest.fixture(scope="module")
def start(tiny, task):
    """Patches as vectors with noise apart, and a start on them."""
    part = vectors(task.data, tiny.data.num_features)
    return part, init_network(
        jax.random.key(1), (part,), tiny.data.num_features, tiny.data.num_classes, tiny.network, "float32"
    )


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

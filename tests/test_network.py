"""Logits of the network in every layout: those of a loop over patches."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from layouts import (
    NETWORK,
    fresh_logits,
    logits,
    make,
    reference_activation,
    reference_logits,
    scaled,
    start,
    world,
)
from scipy import stats

from multiview.measures.training_error import cross_entropy
from multiview.network.parameters import Parameters
from multiview.world.patches import DenseVectors, NoiselessRows, NoisyRows, represent

P_VALUE = 1e-4


@pytest.mark.parametrize(
    ("changes", "noisy"),
    [
        ({}, False),
        ({"noise_norm": 0.7}, True),
        ({"noise_norm": 0.7, "background_noise_norm": 0.4}, True),
        ({"background_noise_norm": 0.4}, True),
        ({"patches_per_feature": 2, "num_patches": 9, "patch_split": "random", "noise_norm": 0.3}, True),
    ],
    ids=["no noise", "noise", "noise everywhere", "background noise alone", "split features"],
)
def test_row_layout_gives_the_logits_of_a_loop_over_patches(changes, noisy):
    config = world(**changes)
    data, patches = make(config)
    (part,) = patches
    assert isinstance(part, NoisyRows if noisy else NoiselessRows)
    parameters = start(patches, config.num_features)
    assert (parameters.noise[0] is not None) == noisy
    expected = reference_logits(parameters, part, data, config)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(logits(parameters, patches, NETWORK), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("largest", [0.3, 0.99, 1.2, 4.0])
def test_foreign_overlaps_on_both_sides_of_the_threshold(largest):
    """Below ϱ the sum over neurons is taken in closed form, above it pair by pair: never another function."""
    config = world()
    data, patches = make(config)
    parameters = scaled(start(patches, config.num_features), patches[0], largest)
    expected = reference_logits(parameters, patches[0], data, config)
    np.testing.assert_allclose(logits(parameters, patches, NETWORK), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.bits
def test_a_network_in_a_batch_does_not_see_whether_its_neighbour_needs_every_pair():
    config = world()
    data, patches = make(config)
    quiet, loud = (scaled(start(patches, config.num_features, key=key), patches[0], x) for key, x in ((5, 0.3), (6, 4)))

    @jax.jit
    def both(batch: Parameters) -> tuple[jax.Array, jax.Array]:
        def one(p: Parameters) -> tuple[jax.Array, jax.Array]:
            def loss(q: Parameters) -> jax.Array:
                return cross_entropy(logits(q, patches, NETWORK), data.labels, data.weights)

            return logits(p, patches, NETWORK), jax.grad(loss)(p).weights

        return jax.vmap(one)(batch)

    stack = lambda *p: jax.tree.map(lambda *a: jnp.stack(a), *p)  # noqa: E731
    together, apart = both(stack(quiet, loud)), both(stack(quiet, quiet))
    for mixed, alone in zip(together, apart, strict=True):
        np.testing.assert_array_equal(mixed[0], alone[0])
    for alone, mixed in zip(both(stack(loud, loud)), together, strict=True):
        np.testing.assert_array_equal(alone[1], mixed[1])


def test_padding_rows_change_no_logit():
    """Rows padded for shapes shared with other data sets answer with 0."""
    config = world(noise_norm=0.7)
    data, patches = make(config)
    padded = represent([data], config, row_multiple=64)[0]
    assert padded[0].feature.shape[0] == 64
    parameters = start(patches, config.num_features)
    (noise,) = parameters.noise
    filler = jnp.full((*noise.shape[:-1], 64 - noise.shape[-1]), 7.0)
    more = parameters._replace(noise=(jnp.concatenate([noise, filler], axis=-1),))
    np.testing.assert_allclose(
        logits(more, padded, NETWORK), logits(parameters, patches, NETWORK), rtol=1e-5, atol=1e-6
    )


def test_noiseless_and_noisy_groups_of_samples_keep_their_order():
    """Multi-view samples without noise and single-view ones with it are two parts, in the order of the data set."""
    config = world(noise_norm=0.7)
    data, _ = make(config)
    quiet = dataclasses.replace(data, noise_norms=jnp.where(jnp.arange(12)[:, None] < 7, 0.0, data.noise_norms))
    patches = represent([quiet], config)[0]
    assert [type(p) for p in patches] == [NoiselessRows, NoisyRows]
    parameters = start(patches, config.num_features)
    together = logits(parameters, patches, NETWORK)
    head = jax.tree.map(lambda a: a[:7], quiet)
    alone = represent([head], config)[0]
    expected = logits(Parameters(parameters.weights, (None,)), alone, NETWORK)
    np.testing.assert_allclose(together[:7], expected, rtol=1e-5, atol=1e-6)
    tail = jax.tree.map(lambda a: a[7:], quiet)
    alone = represent([tail], config)[0]
    expected = logits(Parameters(parameters.weights, parameters.noise[1:]), alone, NETWORK)
    np.testing.assert_allclose(together[7:], expected, rtol=1e-5, atol=1e-6)


def test_feature_noise_is_part_of_every_patch():
    """With γ > 0 every patch holds all features: pre-activation Σ_v (z 1[v = v_p] + α_v) U_v + ν A."""
    config = world(feature_noise=0.2, noise_norm=0.5, background_noise_norm=0.1)
    data, patches = make(config)
    (part,) = patches
    assert isinstance(part, DenseVectors)
    parameters = start(patches, config.num_features)
    weights, noise = np.asarray(parameters.weights, float), np.asarray(parameters.noise[0], float)
    alpha, feature = np.asarray(data.feature_noise, float), np.asarray(data.patch_feature)
    vectors = alpha + np.asarray(data.coefficients, float)[..., None] * (feature[..., None] == np.arange(8))
    pre = np.einsum("npf,fkm->npkm", vectors, weights) + np.asarray(data.noise_norms, float)[..., None, None] * noise
    expected = reference_activation(pre, 3.0, 0.8).sum((1, 3))
    np.testing.assert_allclose(logits(parameters, patches, NETWORK), expected, rtol=1e-5, atol=1e-6)


def test_start_is_gaussian_of_init_std_weights_and_noise_apart():
    config = world(noise_norm=0.7, background_noise_norm=0.4)
    _, patches = make(config, 40)
    network = dataclasses.replace(NETWORK, neurons_per_class=40)
    parameters = start(patches, config.num_features, network)
    noise = np.asarray(parameters.noise[0])
    assert noise.shape == (40, 4, *patches[0].coefficient.shape)
    for values in (np.asarray(parameters.weights).ravel(), noise.ravel()[:20000]):
        assert stats.kstest(values, stats.norm(scale=0.5).cdf).pvalue > P_VALUE
    assert not np.array_equal(np.asarray(parameters.weights).ravel()[:100], noise.ravel()[:100])
    again = start(patches, config.num_features, network)
    np.testing.assert_array_equal(parameters.weights, again.weights)
    other = start(patches, config.num_features, network, key=6)
    assert np.abs(np.asarray(parameters.weights - other.weights)).max() > 0.1


@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_fresh_logits_are_those_of_the_same_noise_kept_in_memory(noise):
    """Drawn neuron by neuron from the part's key, never stored: the same function of the same numbers."""
    config = world(noise_norm=noise)
    _, patches = make(config)
    (part,) = patches
    weights = 0.6 * jax.random.normal(jax.random.key(1), (config.num_features, config.num_classes, 3))
    key = jax.random.key(2)
    kept = None
    if noise:
        (part_key,) = jax.random.split(key, 1)
        shape = (config.num_classes, *part.noise_norm.shape)
        kept = jnp.stack(
            [NETWORK.init_std * jax.random.normal(jax.random.fold_in(part_key, r), shape) for r in range(3)]
        )
    expected = logits(Parameters(weights, (kept,)), patches, NETWORK)
    np.testing.assert_allclose(fresh_logits(key, weights, patches, NETWORK), expected, rtol=1e-5, atol=1e-6)
    other = fresh_logits(jax.random.key(3), weights, patches, NETWORK)
    assert bool(jnp.allclose(other, expected, atol=1e-3)) == (noise == 0.0)

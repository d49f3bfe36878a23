"""Gradients of the network: against differences, and dense against the limit."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from layouts import (
    NETWORK,
    logits,
    make,
    places,
    scaled,
    start,
    world,
)

import multiview.training.step  # noqa: F401 (where JAX learns which settings are arguments of a program)
from multiview.config import DataConfig
from multiview.measures.training_error import cross_entropy
from multiview.network.parameters import Parameters, feature_overlaps
from multiview.world.patches import NoisyRows, Patches, represent
from multiview.world.samples import MultiViewDataset


def explicit(config: DataConfig, n: int) -> tuple[MultiViewDataset, Patches, Patches, np.ndarray, np.ndarray]:
    """The same samples twice: in the limit, and as vectors whose noise directions are exactly orthonormal."""
    data, limit = make(config, n)
    features_and_noise = config.num_features + n * config.num_patches
    basis = np.linalg.qr(np.random.default_rng(1).standard_normal((features_and_noise + 3,) * 2))[0]
    features, directions = basis[: config.num_features], basis[config.num_features : features_and_noise]
    directions = directions.reshape(n, config.num_patches, -1)
    rows = np.concatenate([features, 0 * features[:1]])[np.asarray(data.patch_feature)]
    patches = np.asarray(data.coefficients, float)[..., None] * rows
    patches = patches + np.asarray(data.noise_norms, float)[..., None] * directions
    if data.feature_noise is not None:
        patches = patches + np.asarray(data.feature_noise, float) @ features
    dense = represent([dataclasses.replace(data, patches=jnp.asarray(patches, jnp.float32))], config)[0]
    return data, limit, dense, features, directions


@pytest.mark.parametrize(
    "changes",
    [
        {"noise_norm": 0.7},
        {"noise_norm": 0.7, "background_noise_norm": 0.5},
        {"noise_norm": 0.6, "background_noise_norm": 0.5, "feature_noise": 0.1},
    ],
    ids=["noise", "background noise", "feature noise"],
)
def test_dense_with_orthogonal_noise_is_the_limit_logits_and_gradients(changes):
    """w and (U, A) = (⟨w, v⟩, ⟨w, ξ⟩/ν) are one network: equal logits, and gradients that map the same way."""
    config = world(**changes)
    data, limit, dense, features, directions = explicit(config, 6)
    dense_start = start(dense, features.shape[1])
    w = np.asarray(dense_start.weights, float)
    overlaps = jnp.asarray(np.einsum("fd,dkm->fkm", features, w), jnp.float32)
    np.testing.assert_allclose(
        feature_overlaps(dense_start.weights, jnp.asarray(features, jnp.float32)), overlaps, atol=1e-6
    )
    private = np.einsum("npd,dkm->npkm", directions, w)
    (part,) = limit
    if isinstance(part, NoisyRows):
        where = places(part, data, config.num_features)
        used = where[..., 0] >= 0
        assert (used == (np.asarray(data.noise_norms) > 0)).all()
        noise = np.zeros((3, 4, *part.coefficient.shape), np.float32)
        noise[:, :, where[used][:, 0], where[used][:, 1]] = private[used].transpose(2, 1, 0)
    else:
        noise = private.astype(np.float32)
    limit_start = Parameters(overlaps, (jnp.asarray(noise),))
    np.testing.assert_allclose(
        logits(limit_start, limit, NETWORK), logits(dense_start, dense, NETWORK), rtol=2e-5, atol=2e-6
    )

    def loss(parameters: Parameters, patches: Patches) -> jax.Array:
        return cross_entropy(logits(parameters, patches, NETWORK), data.labels, data.weights)

    dense_gradient = np.asarray(jax.grad(loss)(dense_start, dense).weights, float)
    limit_gradient = jax.grad(loss)(limit_start, limit)
    assert np.abs(dense_gradient).max() > 1e-2
    np.testing.assert_allclose(
        limit_gradient.weights, np.einsum("fd,dkm->fkm", features, dense_gradient), rtol=1e-4, atol=2e-6
    )
    expected = np.einsum("npd,dkm->npkm", directions, dense_gradient)
    found = np.asarray(limit_gradient.noise[0])
    if isinstance(part, NoisyRows):
        found_at = np.zeros_like(expected)
        found_at[used] = found[:, :, where[used][:, 0], where[used][:, 1]].transpose(2, 1, 0)
        assert np.count_nonzero(np.abs(found).max((0, 1))) <= used.sum()  # empty slots get none
        expected, found = expected * used[..., None, None], found_at
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-6)


def double(tree):
    return jax.tree.map(lambda a: a.astype(jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree)


@pytest.mark.parametrize(
    "representation", ["rows", "large foreign overlaps", "rows with noise", "vectors of features", "dense"]
)
@pytest.mark.parametrize("q", [1.5, 3.0])
def test_gradients_agree_with_central_differences_in_double_precision(representation, q):
    changes = {
        "rows": {},
        "large foreign overlaps": {},
        "rows with noise": {"noise_norm": 0.7, "background_noise_norm": 0.4},
        "vectors of features": {"noise_norm": 0.7, "feature_noise": 0.1},
        "dense": {"noise_norm": 0.7, "background_noise_norm": 0.4},
    }[representation]
    config = world(**changes)
    if representation == "dense":
        _, _, patches, features, _ = explicit(config, 5)
        dimension = features.shape[1]
    else:
        _, patches = make(config, 5)
        dimension = config.num_features
    network = dataclasses.replace(NETWORK, relu_power=q)
    parameters = start(patches, dimension)
    if representation == "rows" or "large" in representation:
        parameters = scaled(parameters, patches[0], 0.5 if representation == "rows" else 3.0)
    push = np.random.default_rng(3).standard_normal((5, 4))
    with jax.enable_x64(True):
        patches, parameters = double(patches), double(parameters)

        @jax.jit
        @jax.value_and_grad
        def value(p: Parameters) -> jax.Array:
            return (logits(p, patches, network) * push).sum()

        parameters = jax.tree.map(np.asarray, parameters)
        gradient = value(parameters)[1]
        leaves, tree = jax.tree.flatten(parameters)
        rng = np.random.default_rng(4)
        for index in range(len(leaves)):
            direction = [np.zeros_like(x) for x in leaves]
            direction[index] = rng.standard_normal(leaves[index].shape)
            direction = jax.tree.unflatten(tree, direction)
            ahead, _ = value(jax.tree.map(lambda x, d: x + 1e-6 * d, parameters, direction))
            behind, _ = value(jax.tree.map(lambda x, d: x - 1e-6 * d, parameters, direction))
            difference = (float(ahead) - float(behind)) / 2e-6
            inner = np.vdot(np.asarray(jax.tree.leaves(gradient)[index]), jax.tree.leaves(direction)[index])
            assert abs(difference) > 1e-3
            # Truncation is step² times third derivatives; q = 1.5 has an unbounded curvature at 0, hence the room.
            assert inner == pytest.approx(difference, rel=1e-6 if q >= 2 else 1e-4)

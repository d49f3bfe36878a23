"""Activation, logits and gradients: against their definitions, against differences, dense against the limit."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import multiview.training.step  # noqa: F401 (where JAX learns which settings are arguments of a program)
from multiview.config import DataConfig, NetworkConfig
from multiview.measures.training_error import cross_entropy
from multiview.network import outputs
from multiview.network import parameters as parameters_of_network
from multiview.network.parameters import Parameters, feature_overlaps
from multiview.world.law import sample_dataset
from multiview.world.patches import DenseVectors, NoiselessRows, NoisyRows, Patches, represent
from multiview.world.samples import MultiViewDataset

logits, fresh_logits = jax.jit(outputs.logits), jax.jit(outputs.fresh_logits)
init_network = jax.jit(parameters_of_network.init_network, static_argnames=("dimension", "num_classes", "dtype"))

P_VALUE = 1e-4
POWERS = [1.0, 1.5, 2.0, 3.0, 4.0]
EPS = float(np.finfo(np.float32).eps)


def reference_activation(x: np.ndarray, q: float, threshold: float) -> np.ndarray:
    """The three pieces of section 4, literally."""
    x = np.asarray(x, float)
    bent = np.clip(x, 0, None) ** q / (q * threshold ** (q - 1))
    return np.where(x <= 0, 0.0, np.where(x <= threshold, bent, x - (1 - 1 / q) * threshold))


def world(**changes) -> DataConfig:
    values = {
        "num_classes": 4, "num_views": 2, "num_patches": 7, "feature_sparsity": 1.5, "single_view_fraction": 0.3,
        "noise_norm": 0.0, "background_noise_norm": 0.0, "patch_dim": 64,
    } | changes  # fmt: skip
    return DataConfig(**values)


NETWORK = NetworkConfig(neurons_per_class=3, relu_power=3.0, relu_threshold=0.8, init_std=0.5)


@functools.cache
def drawn(config: DataConfig) -> MultiViewDataset:
    return sample_dataset(jax.random.key(0), config, 40)


def make(config: DataConfig, n: int = 12) -> tuple[MultiViewDataset, Patches]:
    """Samples of a configuration. Norms of the noise are set afterwards, so that few programs are compiled."""
    data = drawn(dataclasses.replace(config, noise_norm=0.0, background_noise_norm=0.0))
    norms = jnp.where(data.patch_feature >= 0, config.noise_norm, config.background_noise_norm).astype(jnp.float32)
    data = jax.tree.map(lambda a: a[:n], dataclasses.replace(data, noise_norms=norms))
    return data, represent([data], config)[0]


def start(patches: Patches, dimension: int, network: NetworkConfig = NETWORK, key: int = 5) -> Parameters:
    return init_network(jax.random.key(key), patches, dimension, 4, network, "float32")


def places(part: NoisyRows, data: MultiViewDataset, num_features: int) -> np.ndarray:
    """Slot and row of every patch [N, P, 2], found from (feature, coefficient); −1 where a patch has no slot.

    Strengths are continuous, so no two feature patches agree; background patches of one sample are interchangeable.
    """
    part, data = jax.tree.map(np.asarray, (part, data))
    feature, z = data.patch_feature, data.coefficients
    length, rows = part.coefficient.shape
    out = np.full((*feature.shape, 2), -1)
    for n in range(len(feature)):
        slots = [divmod(int(s), rows) for s in part.slot[n] if s < rows * length]
        free = {(t, r): (int(part.feature[r]), float(part.coefficient[t, r])) for t, r in slots}
        assert len(free) == len(slots)
        assert all(int(part.sample[place]) == n for place in free)
        for p in range(feature.shape[1]):
            wanted = (int(feature[n, p]) if feature[n, p] >= 0 else num_features, float(z[n, p]))
            match = [place for place, value in free.items() if value == wanted]
            if match:
                del free[match[0]]
                out[n, p] = match[0]
        assert not free  # nothing in the rows that is not in the data
    return out


def reference_logits(
    parameters: Parameters, part: NoisyRows | NoiselessRows, data: MultiViewDataset, config: DataConfig
) -> np.ndarray:
    """F_i = Σ_r Σ_p act(z U + ν A), patch by patch."""
    weights = np.asarray(parameters.weights, float)
    (noise,) = parameters.noise
    where = None if noise is None else places(part, data, config.num_features)
    noise, part, data = jax.tree.map(np.asarray, (noise, part, data))
    out = np.zeros((data.num_samples, 4))
    for n in range(data.num_samples):
        for p in range(config.num_patches):
            feature, z, norm = (
                int(data.patch_feature[n, p]),
                float(data.coefficients[n, p]),
                float(data.noise_norms[n, p]),
            )
            pre = z * weights[feature] if feature >= 0 else np.zeros(weights.shape[1:])
            if norm > 0:
                slot, row = where[n, p]
                assert row >= 0
                assert float(part.noise_norm[slot, row]) == norm
                pre = pre + norm * np.asarray(noise, float)[:, :, slot, row].T
            out[n] += reference_activation(pre, NETWORK.relu_power, NETWORK.relu_threshold).sum(-1)
    return out


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


def scaled(parameters: Parameters, part: NoiselessRows, largest: float) -> Parameters:
    """The same start with its largest foreign pre-activation set, in units of ϱ."""
    weights = np.array(parameters.weights)
    foreign = weights * (np.arange(8)[:, None] // 2 != np.arange(4))[..., None]
    factor = largest * NETWORK.relu_threshold / (foreign.max() * float(part.table.max()))
    return parameters._replace(weights=jnp.asarray(np.where(foreign != 0, factor, 3.0) * weights, jnp.float32))


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

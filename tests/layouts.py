"""Shared by the tests of the network: samples in every layout, a start on them, logits by a loop over patches."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

import multiview.training.step  # noqa: F401 (where JAX learns which settings are arguments of a program)
from multiview.config import DataConfig, NetworkConfig
from multiview.network import outputs
from multiview.network import parameters as parameters_of_network
from multiview.network.parameters import Parameters
from multiview.world.law import sample_dataset
from multiview.world.patches import NoiselessRows, NoisyRows, Patches, represent
from multiview.world.samples import MultiViewDataset

logits = jax.jit(outputs.logits)
fresh_logits = jax.jit(outputs.fresh_logits)
init_network = jax.jit(parameters_of_network.init_network, static_argnames=("dimension", "num_classes", "dtype"))


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


def scaled(parameters: Parameters, part: NoiselessRows, largest: float) -> Parameters:
    """The same start with its largest foreign pre-activation set, in units of ϱ."""
    weights = np.array(parameters.weights)
    foreign = weights * (np.arange(8)[:, None] // 2 != np.arange(4))[..., None]
    factor = largest * NETWORK.relu_threshold / (foreign.max() * float(part.table.max()))
    return parameters._replace(weights=jnp.asarray(np.where(foreign != 0, factor, 3.0) * weights, jnp.float32))

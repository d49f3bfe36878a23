"""Logits of the two-layer smoothed-ReLU network, one function for both representations.

F_i(X) = Σ_{r ≤ m} Σ_{p ≤ P} act(⟨w_{i,r}, x_p⟩): second layer 1, no bias (docs/theory.md, section 4).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key

from multiview.config import NetworkConfig
from multiview.network.activation import activation_of
from multiview.network.noiseless import noiseless_logits
from multiview.network.noisy import noisy_logits, noisy_sum
from multiview.network.parameters import Parameters, init_network
from multiview.network.rows import overlaps_of_rows
from multiview.network.vectors import vector_logits
from multiview.world.patches import NoiselessRows, NoisyRows, Patches


def logits(parameters: Parameters, patches: Patches, network: NetworkConfig) -> Float[Array, "n k"]:
    """Compute the logits F of all samples, in either representation, with a hand-written reverse pass.

    Args:
        parameters: the network.
        patches: parts that cover the samples in order.
        network: gives q and ϱ.

    Returns:
        F, shape [N, k].

    Example:
        >>> import jax
        >>> import multiview as mv
        >>> study = mv.load_preset("smoke")
        >>> data = mv.World.of(study).train()
        >>> patches = mv.represent([data], study.data)[0]
        >>> features, classes = study.data.num_features, study.data.num_classes
        >>> network = mv.init_network(jax.random.key(0), patches, features, classes, study.network, "float32")
        >>> mv.logits(network, patches, study.network).shape == (study.data.num_train, classes)
        True
    """
    outputs = []
    activation = activation_of(network)
    threshold = jnp.asarray(network.relu_threshold, parameters.weights.dtype)
    for part, noise in zip(patches, parameters.noise, strict=True):
        if isinstance(part, NoiselessRows):
            part_logits = noiseless_logits(activation, threshold, parameters.weights, part)
        elif isinstance(part, NoisyRows):
            part_logits = noisy_logits(activation, threshold, parameters.weights, noise, part)
        else:
            part_logits = vector_logits(activation, threshold, parameters.weights, noise, part)
        outputs.append(part_logits)
    return jnp.concatenate(outputs) if len(outputs) > 1 else outputs[0]


def overlap_sizes(parameters: Parameters, patches: Patches) -> Parameters:
    """Compute the size of each overlap, the unit in which its integration error is measured.

    An error in a noise overlap matters by how much it changes the pre-activation of its patch. So the size of a noise
    overlap is at least that of z·⟨w, v⟩/ν, the part of the patch's feature. This holds in rows; dense vectors have no
    overlap with a single feature.

    Args:
        parameters: the network.
        patches: the training patches.

    Returns:
        Sizes, in the shape of the parameters.
    """
    weights = jnp.abs(parameters.weights)
    noise: list[Array | None] = []
    for part, overlaps in zip(patches, parameters.noise, strict=True):
        size = None if overlaps is None else jnp.abs(overlaps)
        if size is not None and isinstance(part, NoisyRows):
            share = jnp.where(
                part.noise_norm > 0, part.coefficient / jnp.where(part.noise_norm > 0, part.noise_norm, 1), 0
            )
            size = jnp.maximum(size, overlaps_of_rows(weights, part.feature)[:, :, None] * share)
        noise.append(size)
    return Parameters(weights, tuple(noise))


def fresh_logits(
    key: Key[Array, ""], weights: Float[Array, "d k m"], patches: Patches, network: NetworkConfig
) -> Float[Array, "n k"]:
    """Compute the logits of test samples; in the limit, their noise overlaps are drawn from N(0, σ₀²).

    With weight decay a caller hands in what is left of σ₀ (`systems.network.answer`): overlaps with directions that no
    training sample has decay too. The overlaps are drawn neuron by neuron when they are needed and never stored, which
    is faster than reading memory.

    Args:
        key: the network's typed key for these overlaps.
        weights: weights of the network.
        patches: patches of the samples.
        network: gives q, ϱ, m and σ₀.

    Returns:
        F, shape [N, k].
    """
    features, k, _ = weights.shape
    activation, threshold = activation_of(network), jnp.asarray(network.relu_threshold, weights.dtype)
    outputs = []
    for part, part_key in zip(patches, jax.random.split(key, len(patches)), strict=True):
        if isinstance(part, NoisyRows):
            shape = (k, *part.noise_norm.shape)

            def noise_of(neuron: Any, key: Array = part_key, shape: tuple[int, ...] = shape) -> Array:
                drawn = jax.random.normal(jax.random.fold_in(key, neuron), shape, jnp.float32)
                return network.init_std * drawn.astype(weights.dtype)

            outputs.append(noisy_sum(activation, threshold, weights, noise_of, part))
        else:
            noise = init_network(part_key, (part,), features, k, network, weights.dtype).noise
            outputs.append(logits(Parameters(weights, noise), (part,), network))
    return jnp.concatenate(outputs) if len(outputs) > 1 else outputs[0]

r"""The network linearised at its start (neural tangent kernel), trained by gradient descent.

$F^{\text{lin}}(X) = F_{\theta_0}(X) + \langle \nabla F_{\theta_0}(X), \theta - \theta_0 \rangle$. Section 8 of
docs/theory.md. Each neuron belongs to one class, so class i has its own features: slopes
$\mathrm{act}'(\langle w_{i,r}, x_p\rangle)$ times patches.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from multiview.config import NetworkConfig
from multiview.network.activation import activation_of
from multiview.network.parameters import Parameters
from multiview.systems.linear import LinearModel, linear_system, pre_activations
from multiview.world.patches import DenseVectors


def plain_outputs(parameters: Parameters, part: DenseVectors, network: NetworkConfig) -> Float[Array, "n k"]:
    """Compute the network's logits in plain operations, which `jax.jvp` and `jax.linearize` can differentiate."""
    pre = pre_activations(parameters.weights, parameters.noise[0], part)
    return activation_of(network).value(pre, network.relu_threshold).sum((1, 3))


def tangent_features(start: Parameters, part: DenseVectors, network: NetworkConfig) -> Float[Array, "n k d m"]:
    r"""Compute the tangent features of all samples, $\sum_p \mathrm{act}'(\langle w_{i,r}, x_p\rangle)\,x_p$."""
    slope = _slope(start, part, network)
    return jnp.einsum("npkm,npd->nkdm", slope, part.vectors)


def tangent_model(start: Parameters, part: DenseVectors, network: NetworkConfig) -> LinearModel:
    r"""Make the linear model of the linearised network on its training samples.

    In the limit of large d, overlaps with private noise directions are parameters too. No two samples share a
    direction, so these parameters add $\sum_{p,r} (\nu_p\,\mathrm{act}')^2$ to the diagonal of the Gram matrices.

    Args:
        start: the network's start.
        part: the training samples' patches.
        network: gives q and ϱ.

    Returns:
        Start logits and Gram matrices.
    """
    features = tangent_features(start, part, network)
    gram = jnp.einsum("nkdm,pkdm->knp", features, features)
    if start.noise[0] is not None and part.noise_norm is not None:
        memory = ((_slope(start, part, network) * part.noise_norm[..., None, None]) ** 2).sum((1, 3))
        gram = gram + memory.T[:, :, None] * jnp.eye(len(memory), dtype=gram.dtype)
    return LinearModel(plain_outputs(start, part, network), gram)


def weight_change(
    start: Parameters, part: DenseVectors, network: NetworkConfig, dual: Float[Array, "n k"]
) -> Float[Array, "d k m"]:
    r"""Compute the change of the weights, $\theta - \theta_0 = \sum_n \alpha_n \nabla F_{\theta_0}(X_n)$."""
    slope = _slope(start, part, network)
    return jnp.einsum("npkm,npd,nk->dkm", slope, part.vectors, dual)


def moved(start: Parameters, part: DenseVectors, network: NetworkConfig, dual: Float[Array, "n k"]) -> Parameters:
    """Compute the parameters θ after training, including the overlaps with the training samples' noise directions."""
    noise: Array | None = start.noise[0]
    if noise is not None and part.noise_norm is not None:
        step = _slope(start, part, network) * part.noise_norm[..., None, None]
        noise = noise + step * dual[:, None, :, None]
    return Parameters(start.weights + weight_change(start, part, network, dual), (noise,))


def linearised_outputs(
    at: Parameters, change: Float[Array, "d k m"], part: DenseVectors, network: NetworkConfig
) -> Float[Array, "n k"]:
    """Compute the logits on any samples: the start's logits plus their directional derivative along `change`.

    Args:
        at: the start's weights and its overlaps with these samples' noise directions; on test samples these are fresh
            directions, along which training changed nothing.
        change: change of the weights, from `weight_change`.
        part: the samples' patches.
        network: gives q and ϱ.

    Returns:
        Logits [n, k].
    """

    def outputs(weights: Array) -> Array:
        return plain_outputs(Parameters(weights, at.noise), part, network)

    value, derivative = jax.jvp(outputs, (at.weights,), (change,))
    return value + derivative


def _slope(start: Parameters, part: DenseVectors, network: NetworkConfig) -> Float[Array, "n p k m"]:
    pre = pre_activations(start.weights, start.noise[0], part)
    return activation_of(network).slope(pre, network.relu_threshold)


SYSTEM = linear_system(tangent_model, moved, weight_change, linearised_outputs, tangents=True)

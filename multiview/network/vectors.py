"""Logits of patches as dense vectors."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from multiview.network.activation import Activation
from multiview.world.patches import DenseVectors


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def vector_logits(
    activation: Activation, threshold: Array, weights: Array, noise: Array | None, part: DenseVectors
) -> Array:
    """Compute the logits of samples whose patches are dense vectors.

    Args:
        activation: activation of the neurons.
        threshold: ϱ.
        weights: weights [d, k, m].
        noise: overlaps with noise directions apart from the vectors [n, p, k, m]; None if there are none.
        part: the samples' patches.

    Returns:
        Logits [n, k].
    """
    return _vector_forward(activation, threshold, weights, noise, part)[0]


def _vector_forward(
    activation: Activation, threshold: Array, weights: Array, noise: Array | None, part: DenseVectors
) -> tuple[Array, tuple[Array, Array, Array, DenseVectors, bool]]:
    pre = jnp.einsum("npd,dkm->npkm", part.vectors, weights)
    if noise is not None and part.noise_norm is not None:
        pre = pre + part.noise_norm[..., None, None] * noise
    # The sum over neurons is a product with ones: a plain reduction is far slower on the CPU.
    per_patch = jnp.einsum("npkm,m->npk", activation.value(pre, threshold), jnp.ones(pre.shape[-1], pre.dtype))
    return per_patch.sum(1), (pre, threshold, weights, part, noise is not None)


def _vector_reverse(
    activation: Activation, saved: tuple[Array, Array, Array, DenseVectors, bool], cotangent: Array
) -> tuple[None, Array, Array | None, None]:
    pre, threshold, _, part, noisy = saved
    pre_gradient = activation.slope(pre, threshold) * cotangent[:, None, :, None]
    noise_gradient = part.noise_norm[..., None, None] * pre_gradient if noisy and part.noise_norm is not None else None
    return None, jnp.einsum("npd,npkm->dkm", part.vectors, pre_gradient), noise_gradient, None


vector_logits.defvjp(_vector_forward, _vector_reverse)

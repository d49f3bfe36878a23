"""Logits of patches as dense vectors."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from multiview.network.activation import smoothed_relu, smoothed_relu_slope
from multiview.world.patches import DenseVectors

# --- Dense vectors. ---


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def vector_logits(power: float, threshold: Array, weights: Array, noise: Array | None, part: DenseVectors) -> Array:
    return _vector_forward(power, threshold, weights, noise, part)[0]


def _vector_forward(
    power: float, threshold: Array, weights: Array, noise: Array | None, part: DenseVectors
) -> tuple[Array, tuple[Array, Array, Array, DenseVectors, bool]]:
    pre = jnp.einsum("npd,dkm->npkm", part.vectors, weights)
    if noise is not None and part.noise_norm is not None:
        pre = pre + part.noise_norm[..., None, None] * noise
    # Summed over neurons as a product with ones: a plain reduction is far slower on the CPU.
    per_patch = jnp.einsum("npkm,m->npk", smoothed_relu(pre, power, threshold), jnp.ones(pre.shape[-1], pre.dtype))
    return per_patch.sum(1), (pre, threshold, weights, part, noise is not None)


def _vector_reverse(
    power: float, saved: tuple[Array, Array, Array, DenseVectors, bool], cotangent: Array
) -> tuple[None, Array, Array | None, None]:
    pre, threshold, _, part, noisy = saved
    pre_gradient = smoothed_relu_slope(pre, power, threshold) * cotangent[:, None, :, None]
    noise_gradient = part.noise_norm[..., None, None] * pre_gradient if noisy and part.noise_norm is not None else None
    return None, jnp.einsum("npd,npkm->dkm", part.vectors, pre_gradient), noise_gradient, None


vector_logits.defvjp(_vector_forward, _vector_reverse)

"""The two-layer smoothed-ReLU network: activation, start and logits, one function for both representations.

F_i(X) = Σ_{r ≤ m} Σ_{p ≤ P} act(⟨w_{i,r}, x_p⟩): second layer 1, no bias (docs/theory.md, section 4).
"""

from __future__ import annotations

import functools
import operator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key

from multiview.config import NetworkConfig
from multiview.representations import DenseVectors, FeatureRows, Patches, noise_shape


class Parameters(NamedTuple):
    """A network's state.

    Attributes:
        weights: [D, k, m]. In the limit D = kL and entry (j·L+ℓ, i, r) is the overlap ⟨w_{i,r}, v_{j,ℓ}⟩; in the
            dense representation D = d and they are the weights themselves.
        noise: for each part of the training patches the overlaps ⟨w_{i,r}, ξ⟩/ν with private noise directions,
            or None where none are tracked.
    """

    weights: Float[Array, "d k m"]
    noise: tuple[Array | None, ...]


def _power(x: Array, exponent: float) -> Array:
    return jax.lax.integer_pow(x, int(exponent)) if float(exponent).is_integer() else x**exponent


def smoothed_relu(x: Array, power: float, threshold: float) -> Array:
    r"""Smoothed ReLU.

    $0$ for $x \le 0$; $x^q / (q \varrho^{q-1})$ for $0 \le x \le \varrho$; $x - (1 - 1/q)\varrho$ above. Value and
    slope are continuous (for q > 1).

    Args:
        x: pre-activations, any shape.
        power: q ≥ 1.
        threshold: ϱ > 0.

    Returns:
        Activations, shape of x.
    """
    bent = jnp.clip(x, 0.0, threshold)
    return _power(bent, power) * (1.0 / (power * threshold ** (power - 1))) + jnp.maximum(x - threshold, 0.0)


def smoothed_relu_slope(x: Array, power: float, threshold: float) -> Array:
    r"""Derivative of `smoothed_relu`: $\min(\max(x, 0)/\varrho, 1)^{q-1}$; 0 for x ≤ 0 also at q = 1, plain ReLU."""
    if power == 1:
        return (x > 0).astype(x.dtype)
    return _power(jnp.clip(x, 0.0, threshold) * (1.0 / threshold), power - 1)


def init(
    key: Key[Array, ""], patches: Patches, dimension: int, num_classes: int, network: NetworkConfig, dtype: Any
) -> Parameters:
    """A random start w ~ N(0, σ₀² I), in either representation.

    In the limit both kinds of overlaps are independent N(0, σ₀²).

    Args:
        key: the network's own typed key.
        patches: the training patches, whose tracked noise gets its start overlaps here.
        dimension: D of the patches: d, or kL in the limit.
        num_classes: k.
        network: gives m and σ₀.
        dtype: of the parameters; the draws are those of float32, so that another dtype means the same start.

    Returns:
        Parameters.
    """
    weight_key, *noise_keys = jax.random.split(key, 1 + len(patches))
    m = network.neurons_per_class

    def normal(normal_key: Key[Array, ""], shape: tuple[int, ...]) -> Array:
        return network.init_std * jax.random.normal(normal_key, shape, jnp.float32).astype(dtype)

    noise: list[Array | None] = []
    for part, noise_key in zip(patches, noise_keys, strict=True):
        shape = noise_shape(part, num_classes, m)
        noise.append(None if shape is None else normal(noise_key, shape))
    return Parameters(normal(weight_key, (dimension, num_classes, m)), tuple(noise))


def logits(parameters: Parameters, patches: Patches, network: NetworkConfig) -> Float[Array, "n k"]:
    """Logits F of all samples, in either representation, with a hand-written reverse pass.

    Args:
        parameters: the network.
        patches: parts that cover the samples in order.
        network: gives q and ϱ.

    Returns:
        F, shape [N, k].
    """
    outputs = []
    for part, noise in zip(patches, parameters.noise, strict=True):
        function = _row_logits if isinstance(part, FeatureRows) else _vector_logits
        outputs.append(function(network.relu_power, network.relu_threshold, parameters.weights, noise, part))
    return jnp.concatenate(outputs) if len(outputs) > 1 else outputs[0]


def _overlaps_of_rows(weights: Array, rows: FeatureRows) -> Array:
    """Feature overlaps of each row's feature [R, k, m]; the zero row stands for the background."""
    return jnp.concatenate([weights, jnp.zeros_like(weights[:1])])[rows.feature]


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _row_logits(power: float, threshold: float, weights: Array, noise: Array | None, rows: FeatureRows) -> Array:
    overlaps = _overlaps_of_rows(weights, rows)
    z = rows.coefficient[:, None, :]
    total = jnp.zeros((), weights.dtype)
    # Unrolled over neurons: XLA on the CPU turns this sum into vector code, a reduction it does not.
    for r in range(weights.shape[-1]):
        pre = overlaps[:, :, r, None] * z
        if noise is not None and rows.noise_norm is not None:
            pre = pre + rows.noise_norm[:, None, :] * noise[:, :, r, :]
        total = total + smoothed_relu(pre, power, threshold)
    per_slot = total.transpose(0, 2, 1).reshape(-1, weights.shape[1])
    of_patch = jnp.concatenate([per_slot, jnp.zeros_like(per_slot[:1])])[rows.slot]
    return functools.reduce(operator.add, [of_patch[:, p] for p in range(rows.slot.shape[1])])


def _row_logits_forward(
    power: float, threshold: float, weights: Array, noise: Array | None, rows: FeatureRows
) -> tuple[Array, tuple[Array, Array | None, FeatureRows]]:
    return _row_logits(power, threshold, weights, noise, rows), (weights, noise, rows)


def _row_logits_reverse(
    power: float, threshold: float, saved: tuple[Array, Array | None, FeatureRows], cotangent: Array
) -> tuple[Array, Array | None, None]:
    # Recomputing the pre-activations is cheaper than storing and reading them.
    weights, noise, rows = saved
    overlaps = _overlaps_of_rows(weights, rows)
    g = cotangent[rows.sample].transpose(0, 2, 1)  # [R, k, T]
    z = rows.coefficient
    noise_gradient = None
    if noise is not None and rows.noise_norm is not None:
        norm = rows.noise_norm[:, None, None, :]
        pre = overlaps[..., None] * z[:, None, None, :] + norm * noise
        pre_gradient = smoothed_relu_slope(pre, power, threshold) * g[:, :, None, :]
        noise_gradient = norm * pre_gradient
        row_gradient = jnp.einsum("rkmt,rt->rkm", pre_gradient, z)
    else:
        zg = z[:, None, :] * g
        row_gradient = jnp.zeros_like(overlaps)
        for t in range(z.shape[1]):
            row_gradient += smoothed_relu_slope(overlaps * z[:, t, None, None], power, threshold) * zg[:, :, t, None]
    of_feature = jax.nn.one_hot(rows.feature, weights.shape[0], dtype=weights.dtype)
    return jnp.einsum("rf,rkm->fkm", of_feature, row_gradient), noise_gradient, None


_row_logits.defvjp(_row_logits_forward, _row_logits_reverse)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _vector_logits(power: float, threshold: float, weights: Array, noise: Array | None, part: DenseVectors) -> Array:
    return _vector_logits_forward(power, threshold, weights, noise, part)[0]


def _vector_logits_forward(
    power: float, threshold: float, weights: Array, noise: Array | None, part: DenseVectors
) -> tuple[Array, tuple[Array, Array, DenseVectors, bool]]:
    pre = jnp.einsum("npd,dkm->npkm", part.vectors, weights)
    if noise is not None and part.noise_norm is not None:
        pre = pre + part.noise_norm[..., None, None] * noise
    # Summed over neurons as a product with ones: a plain reduction is far slower on the CPU.
    per_patch = jnp.einsum("npkm,m->npk", smoothed_relu(pre, power, threshold), jnp.ones(pre.shape[-1], pre.dtype))
    return per_patch.sum(1), (pre, weights, part, noise is not None)


def _vector_logits_reverse(
    power: float, threshold: float, saved: tuple[Array, Array, DenseVectors, bool], cotangent: Array
) -> tuple[Array, Array | None, None]:
    pre, _, part, noisy = saved
    pre_gradient = smoothed_relu_slope(pre, power, threshold) * cotangent[:, None, :, None]
    noise_gradient = part.noise_norm[..., None, None] * pre_gradient if noisy and part.noise_norm is not None else None
    return jnp.einsum("npd,npkm->dkm", part.vectors, pre_gradient), noise_gradient, None


_vector_logits.defvjp(_vector_logits_forward, _vector_logits_reverse)


def feature_overlaps(weights: Float[Array, "d k m"], features: Float[Array, "f d"] | None) -> Float[Array, "f k m"]:
    """Overlaps ⟨w_{i,r}, v_{j,ℓ}⟩ of every neuron with every feature, in either representation."""
    return weights if features is None else jnp.einsum("fd,dkm->fkm", features, weights)

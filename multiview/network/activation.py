"""The smoothed ReLU: value and slope."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array


def raised_to(x: Array, exponent: float) -> Array:
    return jax.lax.integer_pow(x, int(exponent)) if float(exponent).is_integer() else x**exponent


def smoothed_relu(x: Array, power: float, threshold: float | Array) -> Array:
    r"""Smoothed ReLU.

    $0$ for $x \le 0$; $x^q / (q \varrho^{q-1})$ for $0 \le x \le \varrho$; $x - (1 - 1/q)\varrho$ above. Value and
    slope are continuous (for q > 1).

    Args:
        x: pre-activations, any shape.
        power: q ≥ 1.
        threshold: ϱ > 0.

    Returns:
        Activations, shape of x.

    Example:
        >>> import jax.numpy as jnp
        >>> import multiview as mv
        >>> mv.smoothed_relu(jnp.array([-1.0, 0.0, 1.0, 2.0]), 2.0, 1.0)
        Array([0. , 0. , 0.5, 1.5], dtype=float32)
    """
    bent = jnp.clip(x, 0.0, threshold)
    return raised_to(bent, power) * (1.0 / (power * threshold ** (power - 1))) + jnp.maximum(x - threshold, 0.0)


def smoothed_relu_slope(x: Array, power: float, threshold: float | Array) -> Array:
    r"""Derivative of `smoothed_relu`: $\min(\max(x, 0)/\varrho, 1)^{q-1}$; 0 for x ≤ 0 also at q = 1, plain ReLU."""
    if power == 1:
        return (x > 0).astype(x.dtype)
    return raised_to(jnp.clip(x, 0.0, threshold) * (1.0 / threshold), power - 1)

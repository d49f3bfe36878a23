"""Activations: each is an object with a name, its value and slope in compiled programs, and both in NumPy.

To add an activation, write its class in this file, give it a row in `ACTIVATIONS`, and its name a parameter in
`config`. Functions import JAX when they are called, so that closed forms (`theory`) start without it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from multiview.config import NetworkConfig

if TYPE_CHECKING:
    from jax import Array
else:
    Array = Any


def raised_to(x: Array, exponent: float) -> Array:
    """Raise x to a power, by repeated multiplication if the exponent is a whole number."""
    import jax

    return jax.lax.integer_pow(x, int(exponent)) if float(exponent).is_integer() else x**exponent


def smoothed_relu(x: Array, power: float, threshold: float | Array) -> Array:
    r"""Compute the smoothed ReLU (docs/theory.md, section 4).

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
    import jax.numpy as jnp

    bent = jnp.clip(x, 0.0, threshold)
    return raised_to(bent, power) * (1.0 / (power * threshold ** (power - 1))) + jnp.maximum(x - threshold, 0.0)


def smoothed_relu_slope(x: Array, power: float, threshold: float | Array) -> Array:
    r"""Differentiate `smoothed_relu`: $\min(\max(x, 0)/\varrho, 1)^{q-1}$; it is 0 at x ≤ 0 for q = 1 too."""
    import jax.numpy as jnp

    if power == 1:
        return (x > 0).astype(x.dtype)
    return raised_to(jnp.clip(x, 0.0, threshold) * (1.0 / threshold), power - 1)


class Activation(Protocol):
    """Protocol of an activation: what kernels, linearisations and closed forms need.

    An instance is hashable and holds static values; the threshold ϱ is an argument, because networks of one compiled
    program differ in it.
    """

    name: ClassVar[str]

    @property
    def power(self) -> float | None:
        """The q of an activation that is $x^q/(q\\varrho^{q-1})$ for 0 ≤ x ≤ ϱ and 0 below; None for any other.

        With it, neurons that stay below ϱ add up in closed form (`noiseless`), which is much faster.
        """
        ...

    def value(self, x: Array, threshold: float | Array) -> Array:
        """Compute the activations of pre-activations x, shape of x."""
        ...

    def slope(self, x: Array, threshold: float | Array) -> Array:
        """Compute the derivatives at pre-activations x, shape of x."""
        ...

    def numbers(self, x: np.ndarray | float, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """Compute value and slope in NumPy's double precision, for closed forms."""
        ...


@dataclasses.dataclass(frozen=True)
class SmoothedRelu:
    """The smoothed ReLU of power q (`smoothed_relu`)."""

    name: ClassVar[str] = "smoothed_relu"
    power: float

    def value(self, x: Array, threshold: float | Array) -> Array:
        """See `Activation.value`."""
        return smoothed_relu(x, self.power, threshold)

    def slope(self, x: Array, threshold: float | Array) -> Array:
        """See `Activation.slope`."""
        return smoothed_relu_slope(x, self.power, threshold)

    def numbers(self, x: np.ndarray | float, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """See `Activation.numbers`."""
        bent = np.clip(x, 0.0, threshold)
        value = bent**self.power / (self.power * threshold ** (self.power - 1)) + np.maximum(x - threshold, 0.0)
        return np.asarray(value), np.where(bent > 0, (bent / threshold) ** (self.power - 1), 0.0)


ACTIVATIONS: Mapping[str, Callable[[NetworkConfig], Activation]] = {
    SmoothedRelu.name: lambda network: SmoothedRelu(network.relu_power),
}


def activation_of(network: NetworkConfig) -> Activation:
    """Make the activation of a network."""
    return ACTIVATIONS["smoothed_relu"](network)

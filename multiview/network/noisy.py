"""Logits of rows with noise, in which every neuron has its own overlap with the noise of every patch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax import Array
from jaxtyping import Float

from multiview.network.activation import Activation
from multiview.network.rows import (
    at_slots,
    overlaps_of_rows,
    row_sums,
    sum_over_neurons,
    sum_over_patches,
    sum_over_rows,
)
from multiview.world.patches import NoisyRows


def noisy_sum(
    activation: Activation, threshold: Array, weights: Array, noise_of: Callable[[Any], Array], rows: NoisyRows
) -> Float[Array, "n k"]:
    """Compute the logits of samples with noise, whose overlaps a function returns neuron by neuron.

    Args:
        activation: activation of the neurons.
        threshold: ϱ.
        weights: overlaps of neurons with features [kL, k, m].
        noise_of: function from r to the overlaps of the r-th neuron of each class with the noise directions of all
            patches [k, T, R].
        rows: the samples' patches.

    Returns:
        Logits [n, k].
    """
    overlaps = overlaps_of_rows(weights, rows.feature)

    def neuron_term(r: Any) -> Array:
        pre = overlaps[r][:, None] * rows.coefficient + rows.noise_norm * noise_of(r)
        return activation.value(pre, threshold)

    return sum_over_patches(sum_over_neurons(len(overlaps), neuron_term), rows.slot)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def noisy_logits(activation: Activation, threshold: Array, weights: Array, noise: Array, rows: NoisyRows) -> Array:
    """Compute the logits of samples with noise from their stored overlaps, with a hand-written reverse pass.

    Args:
        activation: activation of the neurons.
        threshold: ϱ.
        weights: overlaps of neurons with features [kL, k, m].
        noise: overlaps of neurons with the noise directions of all patches [m, k, T, R].
        rows: the samples' patches.

    Returns:
        Logits [n, k].
    """
    return noisy_sum(activation, threshold, weights, lambda r: noise[r], rows)


def _noisy_forward(
    activation: Activation, threshold: Array, weights: Array, noise: Array, rows: NoisyRows
) -> tuple[Array, tuple[Array, Array, Array, NoisyRows]]:
    return noisy_logits(activation, threshold, weights, noise, rows), (threshold, weights, noise, rows)


def _noisy_reverse(
    activation: Activation, saved: tuple[Array, Array, Array, NoisyRows], cotangent: Array
) -> tuple[None, Array, Array, None]:
    # Recomputing the pre-activations is cheaper than storing and reading them.
    threshold, weights, noise, rows = saved
    overlaps = overlaps_of_rows(weights, rows.feature)
    z, norm = rows.coefficient, rows.noise_norm
    g = at_slots(cotangent, rows.sample)
    row_values = row_sums(overlaps, activation, threshold, z, g * z, norm, noise)
    pre = overlaps[:, :, None] * z + norm * noise
    noise_gradient = activation.slope(pre, threshold) * (g * norm)
    return None, sum_over_rows(row_values, rows.feature, len(weights)), noise_gradient, None


noisy_logits.defvjp(_noisy_forward, _noisy_reverse)

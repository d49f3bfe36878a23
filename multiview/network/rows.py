"""Sums over rows of patches, shared by rows with and without noise."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental.layout import Layout, with_layout_constraint

from multiview.network.activation import Activation


def _in_order(x: Array) -> Array:
    """Keep the memory layout of an array: last axis innermost.

    Otherwise XLA on the CPU lets gathers choose the layout, or computes their operands inside the gathers, and vector
    instructions are lost.
    """
    return with_layout_constraint(x, Layout(major_to_minor=tuple(range(x.ndim))))


def overlaps_of_rows(weights: Array, feature: Array) -> Array:
    """Return the overlaps with each row's feature [m, k, R]; background rows get 0."""
    return _in_order(jnp.concatenate([weights, jnp.zeros_like(weights[:1])])[feature].transpose(2, 1, 0))


def sum_over_rows(row_values: Array, feature: Array, num_features: int) -> Array:
    """Sum over the rows of each feature: [m, k, R] to [kL, k, m].

    Rows are sorted by feature. That helps the CPU; XLA's code for sorted rows takes minutes to compile on a GPU.
    """
    row_values = _in_order(row_values.transpose(2, 1, 0))
    by_feature = partial(jax.ops.segment_sum, row_values, feature, num_features + 1)
    return jax.lax.platform_dependent(cpu=partial(by_feature, indices_are_sorted=True), default=by_feature)[:-1]


def at_slots(values: Array, sample: Array) -> Array:
    """Copy values of samples [n, k] to the slots of their patches [k, T, R]."""
    k = values.shape[1]
    return _in_order(values.reshape(-1)[sample * k + jnp.arange(k, dtype=sample.dtype)[:, None, None]])


def sum_over_neurons(neurons: int, neuron_term: Callable[[Any], Array]) -> Array:
    """Compute Σ_r neuron_term(r) in a loop over neurons.

    XLA on the CPU does not vectorise a plain reduction of this kind. It moves an unrolled sum into the gathers that
    follow, and computes it element by element.
    """
    first = neuron_term(0)
    return jax.lax.fori_loop(1, neurons, lambda r, total: total + neuron_term(r), first)


def sum_over_patches(slot_values: Array, slot: Array) -> Array:
    """Sum over the patches of each sample: [k, T, R] and slots [n, P] give [n, k]; unrolled for the CPU alone.

    An accelerator sums fast by itself, and its compiler takes minutes over hundreds of unrolled terms.
    """
    flat = slot_values.reshape(slot_values.shape[0], -1)
    flat = jnp.concatenate([flat, jnp.zeros_like(flat[:, :1])], axis=1)

    def unrolled() -> Array:
        return reduce(operator.add, [flat[:, slot[:, p]] for p in range(slot.shape[1])]).T

    return jax.lax.platform_dependent(cpu=unrolled, default=lambda: flat[:, slot].sum(-1).T)


def row_sums(
    overlaps: Array,
    activation: Activation,
    threshold: Array,
    z: Array,
    zg: Array,
    norm: Array | None,
    noise: Array | None,
) -> Array:
    """Compute Σ_t slope(pre_t) z_t g_t for each row; on the CPU unrolled over the T slots, so that rows are vectorised.

    Args:
        overlaps: overlaps with each row's feature [..., R].
        activation: activation of the neurons.
        threshold: ϱ.
        z: coefficient of each slot [T, R].
        zg: z times the gradient in the logits, for each slot [..., T, R].
        norm: ν of each slot [T, R]; None without noise.
        noise: noise overlaps [m, k, T, R]; None without noise.

    Returns:
        Sums in the shape of `overlaps`.
    """

    def unrolled() -> Array:
        total = jnp.zeros((), overlaps.dtype)
        for t in range(z.shape[0]):
            pre = overlaps * z[t]
            if noise is not None and norm is not None:
                pre = pre + norm[t] * noise[:, :, t]
            total = total + activation.slope(pre, threshold) * zg[..., t, :]
        return _in_order(total)

    def reduced() -> Array:
        pre = overlaps[..., None, :] * z
        if noise is not None and norm is not None:
            pre = pre + norm * noise
        return (activation.slope(pre, threshold) * zg).sum(-2)

    return jax.lax.platform_dependent(cpu=unrolled, default=reduced)

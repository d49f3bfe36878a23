"""Sums over rows of patches, shared by rows with and without noise."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental.layout import Layout, with_layout_constraint

from multiview.network.activation import Activation


def _in_order(x: Array) -> Array:
    """The same array, laid out in memory as it is written, last axis innermost. XLA on the CPU otherwise lets gathers
    choose the layout, or computes their operands inside them, and vector instructions are lost."""
    return with_layout_constraint(x, Layout(major_to_minor=tuple(range(x.ndim))))


def overlaps_of_rows(weights: Array, feature: Array) -> Array:
    """Overlaps of each row's feature [m, k, R]; the zero row stands for the background."""
    return _in_order(jnp.concatenate([weights, jnp.zeros_like(weights[:1])])[feature].transpose(2, 1, 0))


def sum_over_rows(of_row: Array, feature: Array, num_features: int) -> Array:
    """Sum over the rows of each feature: [m, k, R] to [kL, k, m]."""
    of_row = _in_order(of_row.transpose(2, 1, 0))
    return jax.ops.segment_sum(of_row, feature, num_features + 1, indices_are_sorted=True)[:-1]


def at_slots(of_sample: Array, sample: Array) -> Array:
    """Values [n, k] of the sample in each slot, [k, T, R]."""
    k = of_sample.shape[1]
    return _in_order(of_sample.reshape(-1)[sample * k + jnp.arange(k, dtype=sample.dtype)[:, None, None]])


def sum_over_neurons(neurons: int, of_neuron: Callable[[Any], Array]) -> Array:
    """Σ_r of_neuron(r), in a loop: XLA on the CPU neither vectorises such a reduction nor, when it is unrolled,
    keeps it out of the gathers that follow, which would then compute it element by element."""
    first = of_neuron(0)
    return jax.lax.fori_loop(1, neurons, lambda r, total: total + of_neuron(r), first)


def sum_over_patches(of_slot: Array, slot: Array) -> Array:
    """Sum over the patches of each sample: [k, T, R] and slots [n, P] give [n, k]."""
    flat = of_slot.reshape(of_slot.shape[0], -1)
    flat = jnp.concatenate([flat, jnp.zeros_like(flat[:, :1])], axis=1)
    return functools.reduce(operator.add, [flat[:, slot[:, p]] for p in range(slot.shape[1])]).T


def row_sums(
    overlaps: Array,
    activation: Activation,
    threshold: Array,
    z: Array,
    zg: Array,
    norm: Array | None,
    noise: Array | None,
) -> Array:
    """Σ_t slope(pre) z g of each row: [..., R] overlaps, unrolled over the T slots, which XLA vectorises over rows."""
    total = jnp.zeros((), overlaps.dtype)
    for t in range(z.shape[0]):
        pre = overlaps * z[t]
        if noise is not None and norm is not None:
            pre = pre + norm[t] * noise[:, :, t]
        total = total + activation.slope(pre, threshold) * zg[..., t, :]
    return _in_order(total)

"""Logits of rows without noise, in which a patch is one number: neurons below ϱ add up in closed form.

While ⟨w, v⟩ z ≤ ϱ the activation is a pure power (`Activation.power`), and
Σ_r act(⟨w_r, v⟩ z) = z^q Σ_r [⟨w_r, v⟩]_+^q / (q ϱ^{q−1}): two small matrix products for all features of other
classes, whose overlaps stay far below ϱ in the theory's regime. Overlaps with a class's own features grow beyond ϱ and
are evaluated neuron by neuron. If a foreign overlap reaches ϱ after all, every pair is evaluated: the result is always
exact, only the speed differs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from multiview.network.activation import Activation, raised_to
from multiview.network.rows import (
    at_slots,
    overlaps_of_rows,
    row_sums,
    sum_over_neurons,
    sum_over_patches,
    sum_over_rows,
)
from multiview.world.patches import NoiselessRows


def _own_overlaps(weights: Array) -> Array:
    """Return the overlaps of each class's neurons with its own features [kL, m]."""
    features, k, m = weights.shape
    classes = jnp.arange(k)
    return weights.reshape(k, features // k, k, m)[classes, :, classes].reshape(features, m)


def _own_class(weights: Array) -> Array:
    """Mark with 1 the class of each feature [kL, k]."""
    features, k, _ = weights.shape
    return jnp.repeat(jnp.eye(k, dtype=weights.dtype), features // k, axis=0)


def _foreign_gain(power: float, threshold: Array, weights: Array) -> Array:
    """Compute Σ_r [⟨w_{i,r}, v_f⟩]_+^q / (q ϱ^{q−1}) for features of other classes, 0 for own ones [kL, k]."""
    powers = raised_to(jnp.maximum(weights, 0.0), power)
    total = jnp.einsum("fkm,m->fk", powers, jnp.ones(weights.shape[-1], weights.dtype))
    return total * (1 - _own_class(weights)) / (power * threshold ** (power - 1))


def _some_foreign_overlap_is_large(power: float, threshold: Array, gain: Array, table: Array) -> Array:
    """Say whether a foreign pre-activation may exceed ϱ; false only if none does (a sum bounds its largest term)."""
    if power == 1:  # plain ReLU is its own power on both sides of ϱ
        return jnp.zeros((), bool)
    return gain.max() * power * raised_to(table.max(), power) > threshold


def _noiseless_quick(
    activation: Activation, power: float, threshold: Array, weights: Array, gain: Array, rows: NoiselessRows
) -> Array:
    own = overlaps_of_rows(_own_overlaps(weights)[:, None], rows.feature)[:, 0]  # [m, R]

    def neuron_term(r: Any) -> Array:
        return activation.value(own[r] * rows.coefficient, threshold)

    slot_values = jnp.append(sum_over_neurons(len(own), neuron_term).reshape(-1), jnp.zeros((), weights.dtype))
    return raised_to(rows.table, power).sum(-1) @ gain + slot_values[rows.slot].sum(-1) @ _own_class(weights)


def _noiseless_exact(activation: Activation, threshold: Array, weights: Array, rows: NoiselessRows) -> Array:
    overlaps = overlaps_of_rows(weights, rows.feature)

    def neuron_term(r: Any) -> Array:
        return activation.value(overlaps[r][:, None] * rows.coefficient, threshold)

    return sum_over_patches(sum_over_neurons(len(overlaps), neuron_term), rows.slot.reshape(len(rows.slot), -1))


def _noiseless_quick_gradient(
    activation: Activation, power: float, threshold: Array, weights: Array, cotangent: Array, rows: NoiselessRows
) -> Array:
    own_class = _own_class(weights)
    features, k, _ = weights.shape
    gain_gradient = raised_to(rows.table, power).sum(-1).T @ cotangent * (1 - own_class)
    foreign = gain_gradient[..., None] * activation.slope(weights, threshold)
    own = overlaps_of_rows(_own_overlaps(weights)[:, None], rows.feature)[:, 0]  # [m, R]
    row_class = jnp.minimum(rows.feature // (features // k), k - 1)
    zg = rows.coefficient * cotangent[rows.sample, row_class]
    row_values = row_sums(own, activation, threshold, rows.coefficient, zg, None, None)
    return foreign + own_class[..., None] * sum_over_rows(row_values[:, None], rows.feature, features)


def _noiseless_exact_gradient(
    activation: Activation, threshold: Array, weights: Array, cotangent: Array, rows: NoiselessRows
) -> Array:
    overlaps = overlaps_of_rows(weights, rows.feature)
    z, zg = rows.coefficient, at_slots(cotangent, rows.sample) * rows.coefficient

    def add_slot(t: Any, total: Array) -> Array:  # a loop: this is seldom needed, so it should compile fast
        return total + activation.slope(overlaps * z[t], threshold) * zg[:, t]

    row_values = jax.lax.fori_loop(0, len(z), add_slot, jnp.zeros_like(overlaps))
    return sum_over_rows(row_values, rows.feature, len(weights))


def _exactly_where_needed(needed: Array, quick: Array, exact: Callable[..., Array], *operands: Any) -> Array:
    """Return `exact(*operands)` where it is needed, else `quick`.

    In a batch, `exact` is computed only if some network needs it, and its result is used only for networks that need
    it: so no network's numbers depend on the others of the batch.
    """

    @jax.custom_batching.custom_vmap
    def choose(needed: Array, quick: Array, *operands: Any) -> Array:
        return jax.lax.cond(needed, lambda: exact(*operands), lambda: quick)

    @choose.def_vmap
    def choose_in_batch(size: int, batched: Any, needed: Array, quick: Array, *operands: Any) -> tuple[Array, bool]:
        axes = [jax.tree.map(lambda b: 0 if b else None, b) for b in batched[2:]]
        needed = jnp.broadcast_to(needed, (size,))

        def some() -> Array:
            mask = needed.reshape(-1, *[1] * (quick.ndim - 1))
            return jnp.where(mask, jax.vmap(exact, in_axes=axes)(*operands), quick)

        return jax.lax.cond(needed.any(), some, lambda: quick), True

    return choose(needed, quick, *operands)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def noiseless_logits(
    activation: Activation, threshold: Array, weights: Array, rows: NoiselessRows
) -> Float[Array, "n k"]:
    """Compute the logits of samples whose patches carry no noise.

    Args:
        activation: activation of the neurons.
        threshold: ϱ.
        weights: overlaps of neurons with features [kL, k, m].
        rows: the samples' patches.

    Returns:
        Logits [n, k].
    """
    return _noiseless_forward(activation, threshold, weights, rows)[0]


def _noiseless_forward(
    activation: Activation, threshold: Array, weights: Array, rows: NoiselessRows
) -> tuple[Array, tuple[Array | None, Array, Array, NoiselessRows]]:
    exact, power = partial(_noiseless_exact, activation), activation.power
    if power is None:
        return exact(threshold, weights, rows), (None, threshold, weights, rows)
    gain = _foreign_gain(power, threshold, weights)
    needed = _some_foreign_overlap_is_large(power, threshold, gain, rows.table)
    quick = _noiseless_quick(activation, power, threshold, weights, gain, rows)
    return _exactly_where_needed(needed, quick, exact, threshold, weights, rows), (needed, threshold, weights, rows)


def _noiseless_reverse(
    activation: Activation, saved: tuple[Array | None, Array, Array, NoiselessRows], cotangent: Array
) -> tuple[None, Array, None]:
    needed, threshold, weights, rows = saved
    exact, power = partial(_noiseless_exact_gradient, activation), activation.power
    if power is None or needed is None:
        return None, exact(threshold, weights, cotangent, rows), None
    quick = _noiseless_quick_gradient(activation, power, threshold, weights, cotangent, rows)
    return None, _exactly_where_needed(needed, quick, exact, threshold, weights, cotangent, rows), None


noiseless_logits.defvjp(_noiseless_forward, _noiseless_reverse)

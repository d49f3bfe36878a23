"""The two-layer smoothed-ReLU network: activation, start and logits, one function for both representations.

F_i(X) = Σ_{r ≤ m} Σ_{p ≤ P} act(⟨w_{i,r}, x_p⟩): second layer 1, no bias (docs/theory.md, section 4).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Float, Key

from multiview.config import NetworkConfig
from multiview.representations import DenseVectors, NoiselessRows, NoisyRows, Patches, noise_shape


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
    """
    bent = jnp.clip(x, 0.0, threshold)
    return _power(bent, power) * (1.0 / (power * threshold ** (power - 1))) + jnp.maximum(x - threshold, 0.0)


def smoothed_relu_slope(x: Array, power: float, threshold: float | Array) -> Array:
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
        if shape is not None and isinstance(part, NoisyRows):
            # Drawn row by row, so that padding for the sake of shared shapes changes no start.
            noise.append(normal(noise_key, (shape[3], shape[1], shape[0], shape[2])).transpose(2, 1, 3, 0))
        else:
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
    threshold = jnp.asarray(network.relu_threshold, parameters.weights.dtype)
    for part, noise in zip(patches, parameters.noise, strict=True):
        if isinstance(part, NoiselessRows):
            of_part = _noiseless_logits(network.relu_power, threshold, parameters.weights, part)
        elif isinstance(part, NoisyRows):
            of_part = _noisy_logits(network.relu_power, threshold, parameters.weights, noise, part)
        else:
            of_part = _vector_logits(network.relu_power, threshold, parameters.weights, noise, part)
        outputs.append(of_part)
    return jnp.concatenate(outputs) if len(outputs) > 1 else outputs[0]


def overlap_sizes(parameters: Parameters, patches: Patches) -> Parameters:
    """How large each overlap is for the purposes of its error.

    An error in a noise overlap counts by what it changes in its patch, so there the feature of the patch counts too, by
    the absolute value of z·⟨w, v⟩/ν (in rows; dense vectors have no overlap with one feature).

    Args:
        parameters: the network.
        patches: the training patches.

    Returns:
        Sizes, in the shape of the parameters.
    """
    weights = jnp.abs(parameters.weights)
    noise: list[Array | None] = []
    for part, overlaps in zip(patches, parameters.noise, strict=True):
        size = None if overlaps is None else jnp.abs(overlaps)
        if size is not None and isinstance(part, NoisyRows):
            share = jnp.where(
                part.noise_norm > 0, part.coefficient / jnp.where(part.noise_norm > 0, part.noise_norm, 1), 0
            )
            size = jnp.maximum(size, _overlaps_of_rows(weights, part.feature)[:, :, None] * share)
        noise.append(size)
    return Parameters(weights, tuple(noise))


def fresh_logits(
    key: Key[Array, ""], weights: Float[Array, "d k m"], patches: Patches, network: NetworkConfig
) -> Float[Array, "n k"]:
    """Logits of samples that were never trained on, in the limit with fresh noise overlaps N(0, σ₀²).

    They are drawn neuron by neuron where they are used and never stored, which is also faster than memory.

    Args:
        key: the network's own typed key for this noise.
        weights: of the network.
        patches: of the samples.
        network: gives q, ϱ, m and σ₀.

    Returns:
        F, shape [N, k].
    """
    features, k, _ = weights.shape
    threshold = jnp.asarray(network.relu_threshold, weights.dtype)
    outputs = []
    for part, part_key in zip(patches, jax.random.split(key, len(patches)), strict=True):
        if isinstance(part, NoisyRows):
            shape = (k, *part.noise_norm.shape)

            def noise_of(neuron: Any, key: Array = part_key, shape: tuple[int, ...] = shape) -> Array:
                drawn = jax.random.normal(jax.random.fold_in(key, neuron), shape, jnp.float32)
                return network.init_std * drawn.astype(weights.dtype)

            outputs.append(_noisy_sum(network.relu_power, threshold, weights, noise_of, part))
        else:
            noise = init(part_key, (part,), features, k, network, weights.dtype).noise
            outputs.append(logits(Parameters(weights, noise), (part,), network))
    return jnp.concatenate(outputs) if len(outputs) > 1 else outputs[0]


# --- Rows with noise: every neuron sees every patch differently. ---


def _in_order(x: Array) -> Array:
    """The same array, laid out in memory as it is written, last axis innermost. XLA on the CPU otherwise lets gathers
    choose the layout, or computes their operands inside them, and vector instructions are lost."""
    return with_layout_constraint(x, Layout(major_to_minor=tuple(range(x.ndim))))


def _overlaps_of_rows(weights: Array, feature: Array) -> Array:
    """Overlaps of each row's feature [m, k, R]; the zero row stands for the background."""
    return _in_order(jnp.concatenate([weights, jnp.zeros_like(weights[:1])])[feature].transpose(2, 1, 0))


def _sum_over_rows(of_row: Array, feature: Array, num_features: int) -> Array:
    """Sum over the rows of each feature: [m, k, R] to [kL, k, m]."""
    of_row = _in_order(of_row.transpose(2, 1, 0))
    return jax.ops.segment_sum(of_row, feature, num_features + 1, indices_are_sorted=True)[:-1]


def _at_slots(of_sample: Array, sample: Array) -> Array:
    """Values [n, k] of the sample in each slot, [k, T, R]."""
    k = of_sample.shape[1]
    return _in_order(of_sample.reshape(-1)[sample * k + jnp.arange(k, dtype=sample.dtype)[:, None, None]])


def _sum_over_neurons(neurons: int, of_neuron: Callable[[Any], Array]) -> Array:
    """Σ_r of_neuron(r), in a loop: XLA on the CPU neither vectorises such a reduction nor, when it is unrolled,
    keeps it out of the gathers that follow, which would then compute it element by element."""
    first = of_neuron(0)
    return jax.lax.fori_loop(1, neurons, lambda r, total: total + of_neuron(r), first)


def _sum_over_patches(of_slot: Array, slot: Array) -> Array:
    """Sum over the patches of each sample: [k, T, R] and slots [n, P] give [n, k]."""
    flat = of_slot.reshape(of_slot.shape[0], -1)
    flat = jnp.concatenate([flat, jnp.zeros_like(flat[:, :1])], axis=1)
    return functools.reduce(operator.add, [flat[:, slot[:, p]] for p in range(slot.shape[1])]).T


def _row_sums(
    overlaps: Array, power: float, threshold: Array, z: Array, zg: Array, norm: Array | None, noise: Array | None
) -> Array:
    """Σ_t slope(pre) z g of each row: [..., R] overlaps, unrolled over the T slots, which XLA vectorises over rows."""
    total = jnp.zeros((), overlaps.dtype)
    for t in range(z.shape[0]):
        pre = overlaps * z[t]
        if noise is not None and norm is not None:
            pre = pre + norm[t] * noise[:, :, t]
        total = total + smoothed_relu_slope(pre, power, threshold) * zg[..., t, :]
    return _in_order(total)


def _noisy_sum(
    power: float, threshold: Array, weights: Array, noise_of: Callable[[Any], Array], rows: NoisyRows
) -> Array:
    overlaps = _overlaps_of_rows(weights, rows.feature)

    def of_neuron(r: Any) -> Array:
        pre = overlaps[r][:, None] * rows.coefficient + rows.noise_norm * noise_of(r)
        return smoothed_relu(pre, power, threshold)

    return _sum_over_patches(_sum_over_neurons(len(overlaps), of_neuron), rows.slot)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _noisy_logits(power: float, threshold: Array, weights: Array, noise: Array, rows: NoisyRows) -> Array:
    return _noisy_sum(power, threshold, weights, lambda r: noise[r], rows)


def _noisy_forward(
    power: float, threshold: Array, weights: Array, noise: Array, rows: NoisyRows
) -> tuple[Array, tuple[Array, Array, Array, NoisyRows]]:
    return _noisy_logits(power, threshold, weights, noise, rows), (threshold, weights, noise, rows)


def _noisy_reverse(
    power: float, saved: tuple[Array, Array, Array, NoisyRows], cotangent: Array
) -> tuple[None, Array, Array, None]:
    # Recomputing the pre-activations is cheaper than storing and reading them.
    threshold, weights, noise, rows = saved
    overlaps = _overlaps_of_rows(weights, rows.feature)
    z, norm = rows.coefficient, rows.noise_norm
    g = _at_slots(cotangent, rows.sample)
    of_row = _row_sums(overlaps, power, threshold, z, g * z, norm, noise)
    pre = overlaps[:, :, None] * z + norm * noise
    noise_gradient = smoothed_relu_slope(pre, power, threshold) * (g * norm)
    return None, _sum_over_rows(of_row, rows.feature, len(weights)), noise_gradient, None


_noisy_logits.defvjp(_noisy_forward, _noisy_reverse)


# --- Rows without noise: one number a patch, so neurons below ϱ add up in closed form. ---
#
# While ⟨w, v⟩ z ≤ ϱ the activation is a pure power, and Σ_r act(⟨w_r, v⟩ z) = z^q Σ_r [⟨w_r, v⟩]_+^q / (q ϱ^{q−1}): two
# small matrix products for all features of other classes, which stay far below ϱ in the theory's regime. A class's
# own features outgrow ϱ and are evaluated neuron by neuron. Should a foreign overlap reach ϱ after all, every
# pair is evaluated: the result is exact always, only the speed differs.


def _own_overlaps(weights: Array) -> Array:
    """Overlaps of each class's neurons with its own features [kL, m]."""
    features, k, m = weights.shape
    classes = jnp.arange(k)
    return weights.reshape(k, features // k, k, m)[classes, :, classes].reshape(features, m)


def _own_class(weights: Array) -> Array:
    """Whether feature f belongs to class i, as 0 or 1 [kL, k]."""
    features, k, _ = weights.shape
    return jnp.repeat(jnp.eye(k, dtype=weights.dtype), features // k, axis=0)


def _foreign_gain(power: float, threshold: Array, weights: Array) -> Array:
    """Σ_r [⟨w_{i,r}, v_f⟩]_+^q / (q ϱ^{q−1}) for features of other classes, 0 for own ones [kL, k]."""
    powers = _power(jnp.maximum(weights, 0.0), power)
    total = jnp.einsum("fkm,m->fk", powers, jnp.ones(weights.shape[-1], weights.dtype))
    return total * (1 - _own_class(weights)) / (power * threshold ** (power - 1))


def _some_foreign_overlap_is_large(power: float, threshold: Array, gain: Array, table: Array) -> Array:
    """Whether a foreign pre-activation can exceed ϱ; false only if none does (a sum bounds its largest term)."""
    if power == 1:  # plain ReLU is its own power on both sides of ϱ
        return jnp.zeros((), bool)
    return gain.max() * power * _power(table.max(), power) > threshold


def _noiseless_quick(power: float, threshold: Array, weights: Array, gain: Array, rows: NoiselessRows) -> Array:
    own = _overlaps_of_rows(_own_overlaps(weights)[:, None], rows.feature)[:, 0]  # [m, R]

    def of_neuron(r: Any) -> Array:
        return smoothed_relu(own[r] * rows.coefficient, power, threshold)

    of_slot = jnp.append(_sum_over_neurons(len(own), of_neuron).reshape(-1), jnp.zeros((), weights.dtype))
    return _power(rows.table, power).sum(-1) @ gain + of_slot[rows.slot].sum(-1) @ _own_class(weights)


def _noiseless_exact(power: float, threshold: Array, weights: Array, rows: NoiselessRows) -> Array:
    overlaps = _overlaps_of_rows(weights, rows.feature)

    def of_neuron(r: Any) -> Array:
        return smoothed_relu(overlaps[r][:, None] * rows.coefficient, power, threshold)

    return _sum_over_patches(_sum_over_neurons(len(overlaps), of_neuron), rows.slot.reshape(len(rows.slot), -1))


def _noiseless_quick_gradient(
    power: float, threshold: Array, weights: Array, cotangent: Array, rows: NoiselessRows
) -> Array:
    own_class = _own_class(weights)
    features, k, _ = weights.shape
    of_gain = _power(rows.table, power).sum(-1).T @ cotangent * (1 - own_class)
    foreign = of_gain[..., None] * smoothed_relu_slope(weights, power, threshold)
    own = _overlaps_of_rows(_own_overlaps(weights)[:, None], rows.feature)[:, 0]  # [m, R]
    of_class = jnp.minimum(rows.feature // (features // k), k - 1)
    zg = rows.coefficient * cotangent[rows.sample, of_class]
    of_row = _row_sums(own, power, threshold, rows.coefficient, zg, None, None)
    return foreign + own_class[..., None] * _sum_over_rows(of_row[:, None], rows.feature, features)


def _noiseless_exact_gradient(
    power: float, threshold: Array, weights: Array, cotangent: Array, rows: NoiselessRows
) -> Array:
    overlaps = _overlaps_of_rows(weights, rows.feature)
    z, zg = rows.coefficient, _at_slots(cotangent, rows.sample) * rows.coefficient

    def of_slot(t: Any, total: Array) -> Array:  # a loop, not unrolled: seldom needed, so it should compile fast
        return total + smoothed_relu_slope(overlaps * z[t], power, threshold) * zg[:, t]

    of_row = jax.lax.fori_loop(0, len(z), of_slot, jnp.zeros_like(overlaps))
    return _sum_over_rows(of_row, rows.feature, len(weights))


def _exactly_where_needed(needed: Array, quick: Array, exact: Callable[..., Array], *operands: Any) -> Array:
    """`exact(*operands)` where it is needed, else `quick`: in a batch only if a network of the batch needs it, and
    then for that network alone, so that no network's numbers depend on its neighbours."""

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
def _noiseless_logits(power: float, threshold: Array, weights: Array, rows: NoiselessRows) -> Array:
    return _noiseless_forward(power, threshold, weights, rows)[0]


def _noiseless_forward(
    power: float, threshold: Array, weights: Array, rows: NoiselessRows
) -> tuple[Array, tuple[Array, Array, Array, NoiselessRows]]:
    gain = _foreign_gain(power, threshold, weights)
    needed = _some_foreign_overlap_is_large(power, threshold, gain, rows.table)
    quick = _noiseless_quick(power, threshold, weights, gain, rows)
    outputs = _exactly_where_needed(needed, quick, partial(_noiseless_exact, power), threshold, weights, rows)
    return outputs, (needed, threshold, weights, rows)


def _noiseless_reverse(
    power: float, saved: tuple[Array, Array, Array, NoiselessRows], cotangent: Array
) -> tuple[None, Array, None]:
    needed, threshold, weights, rows = saved
    quick = _noiseless_quick_gradient(power, threshold, weights, cotangent, rows)
    exact = partial(_noiseless_exact_gradient, power)
    return None, _exactly_where_needed(needed, quick, exact, threshold, weights, cotangent, rows), None


_noiseless_logits.defvjp(_noiseless_forward, _noiseless_reverse)


# --- Dense vectors. ---


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _vector_logits(power: float, threshold: Array, weights: Array, noise: Array | None, part: DenseVectors) -> Array:
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


_vector_logits.defvjp(_vector_forward, _vector_reverse)


def feature_overlaps(weights: Float[Array, "d k m"], features: Float[Array, "f d"] | None) -> Float[Array, "f k m"]:
    """Overlaps ⟨w_{i,r}, v_{j,ℓ}⟩ of every neuron with every feature, in either representation."""
    return weights if features is None else jnp.einsum("fd,dkm->fkm", features, weights)

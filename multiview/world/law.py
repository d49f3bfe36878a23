"""The sampling law of the synthetic world: features, multi-view and single-view samples.

Section 3 of docs/theory.md. A sample has P patches. Each of its label's L features, and each foreign feature with
probability s/k, takes C_p patches at random positions. Kinds of samples differ in the total strength Σ_p z_p of a
feature over its patches.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Key

from multiview import streams
from multiview.config import DataConfig
from multiview.world.samples import Kind, MultiViewDataset


def orthonormal_features(key: Key[Array, ""], config: DataConfig, dtype: Any = jnp.float32) -> Float[Array, "f d"]:
    """Draw the feature vectors v_{j,ℓ}: the first kL rows of a random rotation, orthonormal in R^d.

    Args:
        key: typed PRNG key.
        config: gives k, L and d.
        dtype: dtype of the result and of the arithmetic; draws are made in float32.

    Returns:
        Matrix [kL, d] with orthonormal rows; row j·L + ℓ is v_{j,ℓ}.
    """
    gaussian = streams.normal(key, shape=(config.patch_dim, config.num_features), dtype=jnp.float32).astype(dtype)
    return jnp.linalg.qr(gaussian)[0].T


def sample_dataset(
    key: Key[Array, ""],
    config: DataConfig,
    num_samples: int,
    kind: Kind = "mixture",
    features: Float[Array, "f d"] | None = None,
    dtype: Any = jnp.float32,
    equal_classes: bool = False,
) -> MultiViewDataset:
    r"""Draw samples from the distribution of section 3 of docs/theory.md.

    $x_p = z_p v + \sum_{v'} \alpha_{p,v'} v' + \xi_p$ with $\alpha \sim U[0, \gamma]$ and
    $\xi_p \sim N(0, \sigma_p^2 I)$, $\sigma_p \sqrt d = \nu$ (background patches: their own norm, no $z_p v$).

    Args:
        key: typed PRNG key.
        config: the distribution.
        num_samples: N.
        kind: "multi_view", "single_view", or "mixture" (single-view with probability μ, independently).
        features: orthonormal feature vectors v_{j,ℓ} [kL, d] for dense patches; None makes no dense patches.
        dtype: dtype of the floating-point arrays. Draws are made in float32, so that samples are the same for every
            dtype, up to rounding.
        equal_classes: label sample n with class n mod k instead of a uniformly random one.

    Returns:
        The dataset, with equal weights 1/N.
    """
    # A sample's draws do not depend on the number of samples after it: sizes are rounded up and share one program.
    drawn = num_samples if features is not None else -(-num_samples // _DRAWN_TOGETHER) * _DRAWN_TOGETHER
    shape = _Shape(drawn, config.num_classes, config.num_views, config.num_patches, config.patches_per_feature)
    single_view = {"mixture": config.single_view_fraction, "multi_view": 0.0, "single_view": 1.0}[kind]
    strengths = _strengths(config, single_view, equal_classes)
    data = _sample(key, strengths, features, shape, config.patch_split, jnp.dtype(dtype))
    if drawn > num_samples:
        data = jax.tree.map(lambda a: _first(a, num_samples), data)
    return dataclasses.replace(data, weights=jnp.asarray(np.full(num_samples, 1 / num_samples, dtype)))


def _first(array: Array, number: int) -> Array:
    """Return the first entries of an array; outside compiled programs by NumPy, which compiles nothing."""
    return array[:number] if isinstance(array, jax.core.Tracer) else jnp.asarray(np.asarray(array)[:number])


class _Shape(NamedTuple):
    """Sizes that are part of the compiled generator."""

    num_samples: int
    num_classes: int
    num_views: int
    num_patches: int
    patches_per_feature: int


class _Strengths(NamedTuple):
    """Numbers of the distribution that are arguments of the generator: they change no shape, so sweeps compile once."""

    equal_classes: Array  # whether sample n has class n mod k
    single_view: Array  # probability of a single-view sample
    joins: Array  # probability s/k of a foreign feature
    label: Array  # Σz of a view of the label, by view: low, width [2]
    view_factors: Array  # [L]
    weak_view: Array
    foreign: Array  # Σz of a foreign feature: low, high, in multi-view and single-view samples [2, 2]
    feature_noise: Array | None  # γ, None where it is 0
    noise_norms: Array  # of a feature's patch and of the background [2]


def _strengths(config: DataConfig, single_view: float, equal_classes: bool) -> _Strengths:
    number = partial(jnp.asarray, dtype=jnp.float32)
    low, high = config.label_strength
    in_single_view = [config.single_view_foreign_strength * ratio for ratio in config.single_view_foreign_ratio]
    return _Strengths(
        equal_classes=jnp.asarray(equal_classes),
        single_view=number(single_view),
        joins=number(config.feature_sparsity / config.num_classes),
        label=number([low, high - low]),
        view_factors=number(config.view_strengths or (1.0,) * config.num_views),
        weak_view=number(config.weak_view_strength),
        foreign=number([config.foreign_strength, in_single_view]),
        feature_noise=number(config.feature_noise) if config.feature_noise > 0 else None,
        noise_norms=number([config.noise_norm, config.background_noise_norm]),
    )


_DRAWN_TOGETHER = 256  # samples; drawing that many takes a millisecond, compiling for another number a second


@partial(streams.jit_for_draws, static_argnames=("shape", "patch_split", "dtype"))
def _sample(
    key: Key[Array, ""],
    strengths: _Strengths,
    features: Float[Array, "f d"] | None,
    shape: _Shape,
    patch_split: str,
    dtype: Any,
) -> MultiViewDataset:
    """Draw samples, see `sample_dataset`, in one compiled program."""
    n, k, views, num_patches, split = shape
    slots = num_patches // split
    keys = dict(
        zip(
            ("label", "kind", "view", "join", "overflow", "own", "foreign", "share", "place", "alpha", "noise"),
            jax.random.split(key, 11),
            strict=True,
        )
    )
    # Drawn in 32 bits for every dtype: draws of 64 bits would be other numbers, and so another world.
    uniform = partial(jax.random.uniform, dtype=jnp.float32)
    whole = partial(jax.random.randint, dtype=jnp.int32)
    labels = jnp.where(strengths.equal_classes, jnp.arange(n, dtype=jnp.int32) % k, whole(keys["label"], (n,), 0, k))
    single = uniform(keys["kind"], (n,)) < strengths.single_view
    chosen = whole(keys["view"], (n,), 0, views)
    is_label = jax.nn.one_hot(labels, k, dtype=bool)[:, :, None]  # [n, k, 1]

    # Foreign features that join the sample; if there are too few free patches, random ones are dropped.
    joins = (uniform(keys["join"], (n, k, views)) < strengths.joins) & ~is_label
    order = jnp.where(joins, uniform(keys["overflow"], joins.shape), 2.0).reshape(n, -1)
    rank = jnp.argsort(jnp.argsort(order, axis=1), axis=1).reshape(joins.shape)
    kept = joins & (rank < slots - views)
    dropped = (joins & ~kept).sum((1, 2))

    # Total strength Σ_p z_p of each feature.
    low, width = strengths.label
    own = (low + width * uniform(keys["own"], (n, k, views))) * strengths.view_factors
    missing = single[:, None, None] & (jnp.arange(views, dtype=jnp.int32) != chosen[:, None, None])
    own = own * jnp.where(missing, strengths.weak_view, 1.0)
    in_multi_view, in_single_view = strengths.foreign
    low, high = (jnp.where(single, in_single_view[i], in_multi_view[i])[:, None, None] for i in (0, 1))
    foreign = low + (high - low) * uniform(keys["foreign"], (n, k, views))
    strength = jnp.where(is_label, own, jnp.where(kept, foreign, 0.0)).reshape(n, -1)
    present = (is_label | kept).reshape(n, -1)

    # Assign features to slots of C_p patches, and slots to random positions.
    feature = jnp.argsort(~present, axis=1, stable=True)[:, :slots]
    if feature.shape[1] < slots:
        feature = jnp.pad(feature, ((0, 0), (0, slots - feature.shape[1])))
    filled = jnp.arange(slots) < present.sum(1)[:, None]
    if patch_split == "random":
        shares = jax.random.dirichlet(keys["share"], jnp.ones(split, jnp.float32), (n, slots), jnp.float32)
    else:
        shares = jnp.full((n, slots, split), 1.0 / split, jnp.float32)
    coefficients = jnp.where(filled, jnp.take_along_axis(strength, feature, 1), 0.0)[..., None] * shares
    index = jnp.where(filled, feature, -1)[..., None] * jnp.ones(split, int)
    background = num_patches - slots * split
    coefficients = jnp.pad(coefficients.reshape(n, -1), ((0, 0), (0, background)))
    index = jnp.pad(index.reshape(n, -1), ((0, 0), (0, background)), constant_values=-1)
    place = jnp.argsort(uniform(keys["place"], index.shape), axis=1)
    coefficients = jnp.take_along_axis(coefficients, place, 1).astype(dtype)
    index = jnp.take_along_axis(index, place, 1).astype(jnp.int32)

    feature_norm, background_norm = strengths.noise_norms
    norms = jnp.where(index >= 0, feature_norm, background_norm).astype(dtype)
    alpha = None
    if strengths.feature_noise is not None:
        alpha = uniform(keys["alpha"], (*index.shape, k * views)).astype(dtype)
        alpha = strengths.feature_noise.astype(dtype) * alpha
    patches = None
    if features is not None:
        vectors = jnp.concatenate([features, jnp.zeros_like(features[:1])])[index]  # index −1 is the zero row
        patches = coefficients[..., None] * vectors
        if alpha is not None:
            patches = patches + alpha @ features
        gaussian = jax.random.normal(keys["noise"], patches.shape, jnp.float32).astype(dtype)
        patches = patches + (norms / np.sqrt(features.shape[1]))[..., None] * gaussian
    return MultiViewDataset(
        labels=labels,
        is_single_view=single,
        chosen_view=jnp.where(single, chosen, -1).astype(jnp.int32),
        patch_feature=index,
        coefficients=coefficients,
        noise_norms=norms,
        weights=jnp.full(n, 1.0 / n, dtype),
        dropped_features=dropped.astype(jnp.int32),
        feature_noise=alpha,
        patches=patches,
    )

"""The synthetic world: features, multi-view and single-view samples, and their ground truth.

Section 3 of docs/theory.md. A sample is P patches. Its label's L features, and each foreign feature with
probability s/k, take C_p patches of their own at random positions; what differs between kinds of samples is
the total strength Σ_p z_p of a feature over its patches.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int, Key

from multiview import streams
from multiview.config import DataConfig

Kind = Literal["mixture", "multi_view", "single_view"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MultiViewDataset:
    """N samples of P patches with their full ground truth.

    Attributes:
        labels: the class y of each sample.
        is_single_view: whether the sample carries one view of its label strongly.
        chosen_view: that view, ℓ̂, in single-view samples; −1 in multi-view ones.
        patch_feature: index j·L + ℓ of the feature in each patch; −1 for a background patch.
        coefficients: the strength z_p of that feature in the patch; 0 in the background.
        noise_norms: norm of the Gaussian noise of each patch; 0 where it is not tracked.
        weights: weight of each sample in the loss and in errors; they sum to 1.
        dropped_features: foreign features of the sample that found no free patch.
        feature_noise: coefficients α of every feature in every patch, or None when γ = 0.
        patches: dense vectors of the patches, or None in the limit of large d.

    Example:
        >>> import jax
        >>> import multiview as mv
        >>> data = mv.sample_dataset(jax.random.key(0), mv.load_preset("smoke").data, 5)
        >>> data.num_samples, data.patch_feature.ndim
        (5, 2)
    """

    labels: Int[Array, " n"]
    is_single_view: Bool[Array, " n"]
    chosen_view: Int[Array, " n"]
    patch_feature: Int[Array, "n p"]
    coefficients: Float[Array, "n p"]
    noise_norms: Float[Array, "n p"]
    weights: Float[Array, " n"]
    dropped_features: Int[Array, " n"]
    feature_noise: Float[Array, "n p f"] | None = None
    patches: Float[Array, "n p d"] | None = None

    @property
    def num_samples(self) -> int:
        """Number of samples N."""
        return int(self.labels.shape[0])


def orthonormal_features(key: Key[Array, ""], config: DataConfig, dtype: Any = jnp.float32) -> Float[Array, "f d"]:
    """Feature vectors v_{j,ℓ}: the first kL rows of a random rotation, orthonormal in R^d.

    Args:
        key: typed PRNG key.
        config: gives k, L and d.
        dtype: of the result and of the arithmetic; the draws are those of float32.

    Returns:
        Matrix [kL, d] with orthonormal rows; row j·L + ℓ is v_{j,ℓ}.

    Example:
        >>> import jax
        >>> import multiview as mv
        >>> mv.orthonormal_features(jax.random.key(0), mv.DataConfig(num_classes=4, patch_dim=32)).shape
        (8, 32)
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
    r"""Draw samples of section 3's distribution.

    $x_p = z_p v + \sum_{v'} \alpha_{p,v'} v' + \xi_p$ with $\alpha \sim U[0, \gamma]$ and
    $\xi_p \sim N(0, \sigma_p^2 I)$, $\sigma_p \sqrt d = \nu$ (background patches: their own norm, no $z_p v$).

    Args:
        key: typed PRNG key; split once into named parts.
        config: the distribution.
        num_samples: N.
        kind: "multi_view", "single_view", or "mixture" (single-view with probability μ, independently).
        features: orthonormal rows v_{j,ℓ}; when given, dense vectors are made as well.
        dtype: of the floating-point arrays. The draws are those of float32, so that another dtype means the same
            samples in other arithmetic.
        equal_classes: label sample n with class n mod k instead of a uniformly random one.

    Returns:
        The dataset, with equal weights 1/N.

    Example:
        >>> import jax
        >>> import multiview as mv
        >>> data = mv.sample_dataset(jax.random.key(0), mv.load_preset("smoke").data, 5, "single_view")
        >>> bool(data.is_single_view.all())
        True
    """
    # A sample's draws do not depend on how many come after it, so sizes are rounded up and share a compiled generator.
    drawn = num_samples if features is not None else -(-num_samples // _DRAWN_TOGETHER) * _DRAWN_TOGETHER
    shape = _Shape(drawn, config.num_classes, config.num_views, config.num_patches, config.patches_per_feature)
    single_view = {"mixture": config.single_view_fraction, "multi_view": 0.0, "single_view": 1.0}[kind]
    strengths = _strengths(config, single_view, equal_classes)
    data = _sample(key, strengths, features, shape, config.patch_split, jnp.dtype(dtype))
    if drawn > num_samples:
        data = jax.tree.map(lambda a: _first(a, num_samples), data)
    return dataclasses.replace(data, weights=jnp.asarray(np.full(num_samples, 1 / num_samples, dtype)))


def _first(array: Array, number: int) -> Array:
    """The first entries; outside of other programs by NumPy, so that nothing is compiled for each number."""
    return array[:number] if isinstance(array, jax.core.Tracer) else jnp.asarray(np.asarray(array)[:number])


class _Shape(NamedTuple):
    """What a compiled generator is made for."""

    num_samples: int
    num_classes: int
    num_views: int
    num_patches: int
    patches_per_feature: int


class _Strengths(NamedTuple):
    """What it is told: the numbers of the distribution that change no shape, so that sweeps compile once."""

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
    """`sample_dataset` itself."""
    n, k, views, num_patches, split = shape
    slots = num_patches // split
    keys = dict(
        zip(
            ("label", "kind", "view", "join", "overflow", "own", "foreign", "share", "place", "alpha", "noise"),
            jax.random.split(key, 11),
            strict=True,
        )
    )
    # Drawn in 32 bits whatever the dtype: wider draws would be other numbers, and so another world.
    uniform = partial(jax.random.uniform, dtype=jnp.float32)
    whole = partial(jax.random.randint, dtype=jnp.int32)
    labels = jnp.where(strengths.equal_classes, jnp.arange(n, dtype=jnp.int32) % k, whole(keys["label"], (n,), 0, k))
    single = uniform(keys["kind"], (n,)) < strengths.single_view
    chosen = whole(keys["view"], (n,), 0, views)
    is_label = jax.nn.one_hot(labels, k, dtype=bool)[:, :, None]  # [n, k, 1]

    # Which foreign features join; those beyond the free patches are dropped at random.
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

    # Features to slots of C_p patches, slots to random positions.
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

    of_feature, of_background = strengths.noise_norms
    norms = jnp.where(index >= 0, of_feature, of_background).astype(dtype)
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


def world_features(seed: int, config: DataConfig, dtype: Any = jnp.float32) -> Float[Array, "f d"] | None:
    """The feature matrix of a study's world, or None in a limit representation, which needs none."""
    if config.representation != "dense":
        return None
    return orthonormal_features(streams.stream(seed, streams.FEATURES), config, dtype)


def training_set(seed: int, replicate: int, config: DataConfig, dtype: Any = jnp.float32) -> MultiViewDataset:
    """The training set of one replicate.

    In `limit_single_view_noise` the set is exactly N − N_s multi-view samples without noise, of total weight
    1 − μ, and N_s single-view samples with noise, of total weight μ; otherwise it is N draws of the mixture.
    The multi-view samples there stand for a much larger set, in which all classes are equally frequent, so the
    batch has equal classes: with 14 random samples a class, a class of 4 would learn 3.5 times too late.

    Example:
        >>> import multiview as mv
        >>> study = mv.load_preset("smoke")
        >>> data = mv.training_set(study.seed, 0, study.data)
        >>> data.num_samples == study.data.num_train
        True
    """
    key = streams.stream(seed, streams.TRAINING_DATA, replicate)
    if config.representation != "limit_single_view_noise":
        return sample_dataset(key, config, config.num_train, "mixture", world_features(seed, config, dtype), dtype)
    num_single = config.num_single_view_train
    multi_key, single_key = jax.random.split(key)
    multi = sample_dataset(
        multi_key, config, config.num_train - num_single, "multi_view", None, dtype, equal_classes=True
    )
    mu = config.single_view_fraction if num_single else 0.0
    multi = dataclasses.replace(multi, weights=multi.weights * (1 - mu), noise_norms=0 * multi.noise_norms)
    if not num_single:
        return multi
    single = sample_dataset(single_key, config, num_single, "single_view", None, dtype)
    single = dataclasses.replace(single, weights=single.weights * mu)
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), multi, single)


def held_out_set(
    seed: int,
    replicate: int,
    config: DataConfig,
    kind: Kind,
    num_samples: int,
    chunk: int,
    features: Float[Array, "f d"] | None = None,
    dtype: Any = jnp.float32,
) -> MultiViewDataset:
    """Chunk number `chunk` of a replicate's fresh test samples of one kind, dense if `features` are given.

    In `limit_single_view_noise`, multi-view test samples carry no noise, like the multi-view training samples.
    """
    index = {"mixture": 0, "multi_view": 1, "single_view": 2}[kind]
    key = streams.stream(seed, streams.TEST_DATA, replicate, index, chunk)
    data = sample_dataset(key, config, num_samples, kind, features, dtype)
    if config.representation == "limit_single_view_noise" and kind == "multi_view":
        data = dataclasses.replace(data, noise_norms=0 * data.noise_norms)
    return data

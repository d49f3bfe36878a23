r"""Changed samples for training steps: mixtures of two, samples without some patches, and softened targets.

A patch enters a neuron through $\langle w, x_p\rangle$ alone, so a mixture of two samples' patches has the mixture of
their pre-activations, in the limit of large d too: $\lambda\langle w, x_p\rangle + (1-\lambda)\langle w, x'_p\rangle$.
All patches in this module are vectors (`world.patches.represent` with `as_vectors`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int, Key

from multiview import streams
from multiview.config import TrainConfig
from multiview.network.parameters import Parameters
from multiview.world.patches import DenseVectors, Patches
from multiview.world.samples import MultiViewDataset

Seen = Callable[[Parameters], tuple[Parameters, Patches]]


class Mixing(NamedTuple):
    r"""Which samples are mixed: sample n becomes $\lambda_n X_n + (1 - \lambda_n) X_{n'}$.

    Attributes:
        share: λ of each sample.
        partner: number n' of the other sample.
    """

    share: Float[Array, " n"]
    partner: Int[Array, " n"]


def draw_mixing(key: Key[Array, ""], weights: Float[Array, " n"], mixup: str) -> Mixing:
    """Draw the mixtures of one step.

    Args:
        key: typed key of the step.
        weights: weights of the samples. Partners are drawn in proportion to them, so that rare samples stay as rare.
        mixup: `train.mixup`: "uniform" for λ uniform in [0, 1], or "midpoint" for λ = 1/2.

    Returns:
        λ and the partner of each sample.
    """
    partner_key, share_key = jax.random.split(key)
    n = len(weights)
    # Drawn in 32 bits for every dtype: draws of 64 bits would give other mixtures.
    partner = jax.random.choice(partner_key, n, (n,), p=(weights / weights.sum()).astype(jnp.float32))
    drawn = jax.random.uniform(share_key, (n,), jnp.float32).astype(weights.dtype)
    return Mixing(drawn if mixup == "uniform" else jnp.full(n, 0.5, weights.dtype), partner)


def mix(values: Float[Array, "n ..."], mixing: Mixing) -> Float[Array, "n ..."]:
    """Mix values that belong to samples, such as vectors of patches or targets, along the first axis."""
    share = mixing.share.reshape(-1, *[1] * (values.ndim - 1))
    return share * values + (1 - share) * values[mixing.partner]


def mix_samples(parameters: Parameters, patches: Patches, mixing: Mixing) -> tuple[Parameters, Patches]:
    """Replace samples by their mixtures, and a network's noise overlaps by those with the mixtures' noise.

    Args:
        parameters: the network, with its overlaps with the noise of the unmixed samples.
        patches: parts of the unmixed samples, all of them vectors.
        mixing: the mixtures of all samples.

    Returns:
        The network with its overlaps with the mixtures' noise, and the mixtures as one part. The logits of these two
        are those of the mixed samples; gradients flow back to the network's original noise overlaps.
    """
    parts = [part for part in patches if isinstance(part, DenseVectors)]
    vectors = mix(jnp.concatenate([part.vectors for part in parts]), mixing)
    n = len(vectors)
    shares = jnp.diag(mixing.share)  # share of sample s in mixture n, [n, s]
    shares += (1 - mixing.share)[:, None] * jax.nn.one_hot(mixing.partner, n, dtype=shares.dtype)
    noise, first = None, 0
    for part, overlaps in zip(parts, parameters.noise, strict=True):
        last = first + len(part.vectors)
        if overlaps is not None and part.noise_norm is not None:
            products = part.noise_norm[..., None, None] * overlaps
            part_noise = jnp.einsum("ns,spkm->npkm", shares[:, first:last], products)
            noise = part_noise if noise is None else noise + part_noise
        first = last
    norm = None if noise is None else jnp.ones_like(vectors[..., 0])
    return Parameters(parameters.weights, (noise,)), (DenseVectors(vectors, norm),)


def drop_patches(patches: Patches, kept: Float[Array, "n p"]) -> Patches:
    """Remove patches from samples.

    Args:
        patches: parts of all samples, all of them vectors.
        kept: 1 for a patch that stays, 0 for a patch that is removed.

    Returns:
        The parts, with zeros in place of the removed patches.
    """
    parts: list[DenseVectors] = []
    first = 0
    for part in patches:
        assert isinstance(part, DenseVectors)
        kept_part = kept[first : first + len(part.vectors)]
        first += len(part.vectors)
        norm = None if part.noise_norm is None else kept_part * part.noise_norm
        parts.append(DenseVectors(kept_part[..., None] * part.vectors, norm))
    return tuple(parts)


def change_samples(
    patches: Patches, data: MultiViewDataset, num_classes: int, key: Array | None, index: Array, train: TrainConfig
) -> tuple[Seen, Array]:
    """Change the samples of one step by `train.mixup`, `train.dropped_patches` and `train.label_smoothing`.

    Args:
        patches: patches of the unchanged samples.
        data: labels and weights of the samples in this step.
        num_classes: k.
        key: typed key of all steps of this network; None if nothing is drawn.
        index: number of the step.
        train: the options.

    Returns:
        A function that maps the network to the network on the changed samples (its noise overlaps are theirs) and
        their patches; and the targets: labels [n], or distributions over classes [n, k] if an option softens them.
    """
    dtype, targets = data.weights.dtype, data.labels
    mixing = kept = None
    if train.label_smoothing > 0 or train.mixup != "none":
        one_hot = jax.nn.one_hot(data.labels, num_classes, dtype=dtype)
        targets = (1 - train.label_smoothing) * one_hot + train.label_smoothing / num_classes
    if train.mixup != "none":
        mixing = draw_mixing(_step_key(key, streams.MIXED, index), data.weights, train.mixup)
        targets = mix(targets, mixing)
    if train.dropped_patches > 0:
        shape = (data.num_samples, max(part.vectors.shape[1] for part in patches if isinstance(part, DenseVectors)))
        step_key = _step_key(key, streams.DROPPED, index)
        kept = jax.random.bernoulli(step_key, jnp.float32(1 - train.dropped_patches), shape).astype(dtype)

    def seen(parameters: Parameters) -> tuple[Parameters, Patches]:
        now = patches
        if mixing is not None:
            parameters, now = mix_samples(parameters, now, mixing)
        return parameters, now if kept is None else drop_patches(now, kept)

    return seen, targets


def _step_key(key: Array | None, stream: int, index: Array) -> Array:
    assert key is not None
    return jax.random.fold_in(jax.random.fold_in(key, stream), index)

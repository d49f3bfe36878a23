r"""Steps on changed samples: mixtures of two, samples without some of their patches, and softened targets.

A patch enters a neuron through $\langle w, x_p\rangle$ alone, so a mixture of two samples' patches has the mixture of
their pre-activations, in the limit of large d too: $\lambda\langle w, x_p\rangle + (1-\lambda)\langle w, x'_p\rangle$.
Here patches are vectors (`representations.represent`, `as_vectors`).
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


def drawn_mixing(key: Key[Array, ""], weights: Float[Array, " n"], mixup: str) -> Mixing:
    """The mixtures of one step.

    Args:
        key: of the step.
        weights: of the samples; a partner is drawn in proportion to its own, so that rare samples stay as rare.
        mixup: `train.mixup`: uniform λ in [0, 1], or midpoint, 1/2.
    """
    partner_key, share_key = jax.random.split(key)
    n = len(weights)
    # Drawn in 32 bits whatever the dtype: wider draws would be other mixtures.
    partner = jax.random.choice(partner_key, n, (n,), p=(weights / weights.sum()).astype(jnp.float32))
    drawn = jax.random.uniform(share_key, (n,), jnp.float32).astype(weights.dtype)
    return Mixing(drawn if mixup == "uniform" else jnp.full(n, 0.5, weights.dtype), partner)


def mixture(values: Float[Array, "n ..."], mixing: Mixing) -> Float[Array, "n ..."]:
    """Mixtures of what belongs to samples: vectors of patches, targets."""
    share = mixing.share.reshape(-1, *[1] * (values.ndim - 1))
    return share * values + (1 - share) * values[mixing.partner]


def mixed(parameters: Parameters, patches: Patches, mixing: Mixing) -> tuple[Parameters, Patches]:
    """A network and the mixtures that it sees, as one part; noise that is tracked apart is mixed too.

    Args:
        parameters: the network on the samples themselves.
        patches: their parts, all of them vectors.
        mixing: of all samples.

    Returns:
        The network with its overlaps with the mixtures' noise, and the mixtures. Logits of both are those of the mixed
        samples, and their derivatives reach the network's own overlaps.
    """
    parts = [part for part in patches if isinstance(part, DenseVectors)]
    vectors = mixture(jnp.concatenate([part.vectors for part in parts]), mixing)
    n = len(vectors)
    of_sample = jnp.diag(mixing.share)
    of_sample += (1 - mixing.share)[:, None] * jax.nn.one_hot(mixing.partner, n, dtype=of_sample.dtype)
    noise, first = None, 0
    for part, overlaps in zip(parts, parameters.noise, strict=True):
        last = first + len(part.vectors)
        if overlaps is not None and part.noise_norm is not None:
            own = part.noise_norm[..., None, None] * overlaps
            of_part = jnp.einsum("ns,spkm->npkm", of_sample[:, first:last], own)
            noise = of_part if noise is None else noise + of_part
        first = last
    norm = None if noise is None else jnp.ones_like(vectors[..., 0])
    return Parameters(parameters.weights, (noise,)), (DenseVectors(vectors, norm),)


def dropped(patches: Patches, kept: Float[Array, "n p"]) -> Patches:
    """Samples without some of their patches: those where `kept` is 0 and not 1."""
    left: list[DenseVectors] = []
    first = 0
    for part in patches:
        assert isinstance(part, DenseVectors)
        of_part = kept[first : first + len(part.vectors)]
        first += len(part.vectors)
        norm = None if part.noise_norm is None else of_part * part.noise_norm
        left.append(DenseVectors(of_part[..., None] * part.vectors, norm))
    return tuple(left)


def changed(
    patches: Patches, data: MultiViewDataset, num_classes: int, key: Array | None, index: Array, train: TrainConfig
) -> tuple[Seen, Array]:
    """What one step sees of its samples, by `train.mixup`, `train.dropped_patches` and `train.label_smoothing`.

    Args:
        patches: of the samples themselves.
        data: their labels and their weights in this step.
        num_classes: k.
        key: of all steps of this network; None where nothing is drawn.
        index: number of the step.
        train: the options.

    Returns:
        A function from the network to the one that meets the changed patches, and these; and the targets, which are
        labels [n], or distributions over classes [n, k] where options make them.
    """
    dtype, targets = data.weights.dtype, data.labels
    mixing = kept = None
    if train.label_smoothing > 0 or train.mixup != "none":
        one_hot = jax.nn.one_hot(data.labels, num_classes, dtype=dtype)
        targets = (1 - train.label_smoothing) * one_hot + train.label_smoothing / num_classes
    if train.mixup != "none":
        mixing = drawn_mixing(_of_step(key, streams.MIXED, index), data.weights, train.mixup)
        targets = mixture(targets, mixing)
    if train.dropped_patches > 0:
        shape = (data.num_samples, max(part.vectors.shape[1] for part in patches if isinstance(part, DenseVectors)))
        of_step = _of_step(key, streams.DROPPED, index)
        kept = jax.random.bernoulli(of_step, jnp.float32(1 - train.dropped_patches), shape).astype(dtype)

    def seen(parameters: Parameters) -> tuple[Parameters, Patches]:
        now = patches
        if mixing is not None:
            parameters, now = mixed(parameters, now, mixing)
        return parameters, now if kept is None else dropped(now, kept)

    return seen, targets


def _of_step(key: Array | None, stream: int, index: Array) -> Array:
    assert key is not None
    return jax.random.fold_in(jax.random.fold_in(key, stream), index)

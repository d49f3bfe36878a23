"""Pairs that can grow: which classes meet which features and noise directions in a training set, as tables of indices.

A network has an overlap for each pair of a neuron's class and a feature or noise direction. In the theory's regime few
kinds of pairs grow during training (docs/design.md, "A step whose cost grows as k²"):

- a class and its own features;
- the class of a single-view sample and the noise of this sample's patches, and the foreign features in them;
- a foreign class and the noise of the single-view patch that holds its feature.

These pairs are *live*, all others *dormant*. The tables here say where the live pairs of one training set are and which
samples they act on, so that `multirate` can step them alone. Numbers of entries differ from training set to training
set; tables of several are padded to the same shapes. Index 'one past the last' stands for no entry everywhere.
"""

from __future__ import annotations

import dataclasses

import jax
from jax import Array
from jaxtyping import Bool, Float, Int


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Presence:
    """Which classes n samples hold: those with a feature in one of the patches, the label first.

    Attributes:
        classes: class in place q of each sample; 0 where there is none.
        is_class: whether there is one.
        place: the place of each class in each sample, −1 if it is absent.
    """

    classes: Int[Array, "q n"]
    is_class: Bool[Array, "q n"]
    place: Int[Array, "n k"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Meetings:
    """Multi-view samples that hold both parts of a live foreign pair: its feature, and a feature of its class.

    Attributes:
        coefficient: z of the feature, 0 where there is no sample.
        sample: the sample.
        place: place of the class in the sample, q·n + sample.
    """

    coefficient: Float[Array, "t u"]
    sample: Int[Array, "t u"]
    place: Int[Array, "t u"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class QuietPairs:
    """Live pairs of multi-view samples, whose patches carry no noise: each class and its own features.

    Attributes:
        present: the classes of the samples.
        patches: the slot, t·R + r of `NoiselessRows`, of one patch of each class in each sample.
        further_patches: slots of the class's further patches; only the first q' classes of a sample have any.
        place: for each slot the place of its feature's class in its sample, q·n + sample.
        rows: the rows of each feature.
        meetings: samples that push a live foreign pair otherwise than an absent class.
    """

    present: Presence
    patches: Int[Array, "q n"]
    further_patches: Int[Array, "l q2 n"]
    place: Int[Array, "t r"]
    rows: Int[Array, "w f"]
    meetings: Meetings


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Entries:
    """Patches of single-view samples, listed under the feature, or the pair of feature and label, that they share.

    Attributes:
        patch: number j of the patch.
        coefficient: z of the patch, 0 where there is none.
        noise_norm: ν of the patch, 0 where there is none.
        place: place of the class in the patch's sample, q·n + sample.
    """

    patch: Int[Array, "t e"]
    coefficient: Float[Array, "t e"]
    noise_norm: Float[Array, "t e"]
    place: Int[Array, "t e"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NoisyPairs:
    """Live pairs of single-view samples, and their J patches with noise.

    Attributes:
        present: the classes of the samples.
        own: the patches by feature [t, kL]: pairs of the feature's class with the feature and with the patch's noise.
        own_of: entries of `own` with a feature of each class in each sample, t·kL + f.
        foreign: the patches by pair [t, U] of a foreign feature and the sample's label: pairs of the label with the
            feature and with the patch's noise.
        foreign_of: entries of `foreign` of each sample, t·U + u.
        foreign_feature: the feature of each of the U pairs.
        foreign_class: its class.
        sample: the sample of each patch.
        feature: the feature of each patch.
        coefficient: z of each patch.
        noise_norm: ν of each patch.
        slot: its slot t·R + r in `NoisyRows`.
        is_dormant: whether a class's pair with the patch's noise is dormant.
    """

    present: Presence
    own: Entries
    own_of: Int[Array, "l q n"]
    foreign: Entries
    foreign_of: Int[Array, "e n"]
    foreign_feature: Int[Array, " u"]
    foreign_class: Int[Array, " u"]
    sample: Int[Array, " j"]
    feature: Int[Array, " j"]
    coefficient: Float[Array, " j"]
    noise_norm: Float[Array, " j"]
    slot: Int[Array, " j"]
    is_dormant: Bool[Array, "j k"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Pairs:
    """The live pairs of a training set: multi-view samples without noise, then single-view samples with noise."""

    quiet: QuietPairs
    noisy: NoisyPairs

"""Samples of a world and their ground truth."""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax
from jax import Array
from jaxtyping import Bool, Float, Int

Kind = Literal["mixture", "multi_view", "single_view"]
Split = Literal["train", "test"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MultiViewDataset:
    """N samples of P patches with their full ground truth.

    Attributes:
        labels: the class y of each sample.
        is_single_view: whether only one view of the label is strong in the sample.
        chosen_view: the strong view ℓ̂ of a single-view sample; −1 for a multi-view sample.
        patch_feature: index j·L + ℓ of the feature in each patch; −1 for a background patch.
        coefficients: the strength z_p of this feature in the patch; 0 in the background.
        noise_norms: norm ν of the Gaussian noise of each patch; 0 for a patch without noise.
        weights: weight of each sample in the loss and in errors; they sum to 1.
        dropped_features: number of foreign features of the sample without a free patch.
        feature_noise: coefficients α of every feature in every patch, or None if γ = 0.
        patches: dense vectors x_p of the patches, or None in the limit of large d.

    Example:
        >>> import multiview as mv
        >>> data = mv.World().test("single_view", 5)
        >>> data.num_samples, data.patch_feature.shape, bool(data.is_single_view.all())
        (5, (5, 13), True)
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
        """The number of samples N."""
        return int(self.labels.shape[0])

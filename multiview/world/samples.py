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
        """Number of samples N."""
        return int(self.labels.shape[0])

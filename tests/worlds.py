"""A small world with room for every feature, and what tests ask of sets of samples."""

from __future__ import annotations

import jax
import numpy as np

from multiview.config import DataConfig
from multiview.world.samples import MultiViewDataset

K = 5
CONFIG = DataConfig(
    num_classes=K,
    num_patches=12,
    feature_sparsity=2.0,
    single_view_fraction=0.2,
    patch_dim=12,
    background_noise_norm=0.2,
)
KINDS = ("mixture", "multi_view", "single_view")


def same(a: MultiViewDataset, b: MultiViewDataset) -> bool:
    leaves_a, leaves_b = jax.tree.leaves(a), jax.tree.leaves(b)
    return len(leaves_a) == len(leaves_b) and all(np.array_equal(x, y) for x, y in zip(leaves_a, leaves_b, strict=True))


def rows(patches) -> set[bytes]:
    """Samples as bytes."""
    return {np.ascontiguousarray(sample).tobytes() for sample in np.asarray(patches)}


def assert_disjoint(sets) -> None:
    """No two sets share a sample, and no set holds one twice."""
    assert len(set().union(*map(rows, sets))) == sum(len(s) for s in sets)

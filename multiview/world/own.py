"""The world of a user's own training set."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from multiview.parameters import ConfigError
from multiview.settings import in_own_settings, own_settings
from multiview.world.arrays import check_dataset
from multiview.world.samples import MultiViewDataset
from multiview.world.task import Task
from multiview.world.values import check_count
from multiview.world.world import World


@dataclass(frozen=True, eq=False, kw_only=True)
class OwnWorld(World):
    """The world of a user's own training set; test samples are drawn from the law with the set's own features.

    Args:
        samples: the training set of every replicate.
        config: the law and the sizes; see `World` for this and the other arguments.
        own_features: feature vectors of the training set [kL, d]; required with dense patches.

    Raises:
        ConfigError: an array with a shape, type or value that is not allowed, or dense patches without features.

    Example:
        >>> import dataclasses
        >>> import multiview as mv
        >>> study = mv.load_preset("smoke")
        >>> samples = mv.World.of(study).train()
        >>> weights = samples.weights.at[0].multiply(2.0)
        >>> heavier = dataclasses.replace(samples, weights=weights / weights.sum())
        >>> mv.OwnWorld.of(study, samples=heavier).train().num_samples == study.data.num_train
        True
    """

    samples: MultiViewDataset

    def __post_init__(self) -> None:
        """Cast every array to the types of training, and check what they become."""
        super().__post_init__()
        arrays = check_dataset("data", self.samples, self.config, self.own_features, self.dtype)
        if self.samples.patches is not None and self.own_features is None:
            raise ConfigError(
                "data: array 'features' [kL, d] is missing; test samples of the same world are drawn from it"
            )
        with own_settings(self.dtype):
            cast = {name: jnp.asarray(array) for name, array in arrays.items()}
        object.__setattr__(self, "own_features", cast.pop("features", None))
        object.__setattr__(self, "samples", MultiViewDataset(**cast))

    @functools.cached_property
    @in_own_settings
    def features(self) -> Array | None:
        """The feature vectors of the training set, or None if it has no dense patches."""
        return None if self.own_features is None else jnp.asarray(self.own_features, self.dtype)

    @in_own_settings
    def train(self, replicate: int = 0) -> MultiViewDataset:
        """Return the user's training set, the same for every replicate."""
        return self.samples

    @in_own_settings
    def tasks(
        self, replicates: int = 1, row_multiple: int = 1, as_vectors: bool = False, with_pairs: bool = False
    ) -> list[Task]:
        """Make one task and return it for every replicate, see `World.tasks`."""
        own = super().tasks(1, row_multiple, as_vectors, with_pairs)
        return own * check_count("replicates", replicates)

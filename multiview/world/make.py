"""Multi-view data as NumPy arrays, by scikit-learn's conventions."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, overload

import numpy as np

from multiview import streams
from multiview.config import DataConfig, check_data
from multiview.parameters import refusal
from multiview.settings import own_settings
from multiview.world.law import sample_dataset
from multiview.world.own import OwnWorld
from multiview.world.samples import Kind, Split
from multiview.world.values import check_count, check_kind, check_seed
from multiview.world.world import World

RandomState = int | np.integer[Any] | np.random.RandomState | np.random.Generator | None


@overload
def make_multiview(
    n_samples: int = ...,
    *,
    config: DataConfig | None = ...,
    kind: Kind = ...,
    split: Split = ...,
    flatten: bool = ...,
    random_state: RandomState = ...,
    return_world: Literal[False] = ...,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw X and y."""


@overload
def make_multiview(
    n_samples: int = ...,
    *,
    config: DataConfig | None = ...,
    kind: Kind = ...,
    split: Split = ...,
    flatten: bool = ...,
    random_state: RandomState = ...,
    return_world: Literal[True],
) -> tuple[np.ndarray, np.ndarray, World]:
    """Draw X and y, and return their world."""


def make_multiview(
    n_samples: int = 100,
    *,
    config: DataConfig | None = None,
    kind: Kind = "mixture",
    split: Split = "train",
    flatten: bool = True,
    random_state: RandomState = None,
    return_world: bool = False,
) -> tuple[np.ndarray, np.ndarray] | tuple[np.ndarray, np.ndarray, World]:
    """Draw multi-view data as NumPy arrays, by the conventions of scikit-learn's `make_*` functions.

    Args:
        n_samples: number of samples.
        config: the distribution; by default `DataConfig()`.
        kind: "mixture", "multi_view" or "single_view".
        split: "train", or "test" for fresh samples of the same world. With the same `random_state`, all splits and
            kinds have the same features and no sample in common.
        flatten: whether X has shape (n_samples, P·d); else (n_samples, P, d).
        random_state: seed, 0 … 2³²−1; or a NumPy RandomState or Generator, from which a seed is drawn; None takes a
            seed from the operating system.
        return_world: whether to return the world too. Its `train()` returns this training set with its ground truth
            (for split "test" it draws another one), `test(kind, n)` draws fresh test sets, `features` are the feature
            vectors.

    Returns:
        X (float32), y (int64), and the world if `return_world`.

    Raises:
        ConfigError: a value that is not allowed, in the words of the command line.

    Example:
        >>> import multiview as mv
        >>> X, y = mv.make_multiview(60, random_state=0)
        >>> X_test, y_test = mv.make_multiview(40, random_state=0, split="test", kind="single_view")
        >>> X.shape, X_test.shape, y.shape
        ((60, 3328), (40, 3328), (60,))
    """
    n_samples, kind = check_count("n_samples", n_samples), check_kind(kind)
    config = DataConfig() if config is None else config
    if not isinstance(config, DataConfig):
        raise refusal("config", config, "a DataConfig")
    config = check_data(dataclasses.replace(config, representation="dense"))
    world = World(dataclasses.replace(config, num_train=n_samples), _seed(random_state))
    if (split, kind) == ("train", "mixture"):
        # A key that no replicate's training set has.
        with own_settings(world.dtype):
            key = streams.stream(world.seed, streams.TRAINING_DATA)
            data = sample_dataset(key, world.config, n_samples, kind, world.features)
    else:
        data = world.sample(n_samples, kind, split)
    patches = np.asarray(data.patches)
    x, y = patches.reshape(n_samples, -1) if flatten else patches, np.asarray(data.labels, np.int64)
    if not return_world:
        return x, y
    if split == "train":
        world = OwnWorld(world.config, world.seed, own_features=world.features, samples=data)
    return x, y, world


def _seed(random_state: Any) -> int:
    """Make a seed from a random state in the sense of scikit-learn."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**32, dtype=np.uint64))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**32))
    return check_seed("random_state", random_state, "None, 0 … 2³²−1, a NumPy RandomState or Generator")

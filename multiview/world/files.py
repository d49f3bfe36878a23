"""Datasets as .npz files: those that this program writes, and a user's own."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from multiview.config import DataConfig
from multiview.files import write_npz
from multiview.parameters import ConfigError
from multiview.world.arrays import check_arrays, check_representation
from multiview.world.samples import MultiViewDataset


def save_dataset(path: str | Path, data: MultiViewDataset, features: Any = None, description: str = "") -> None:
    """Write a dataset with its ground truth to a self-describing .npz (atomically: a complete file or none).

    Args:
        path: the file.
        data: the dataset.
        features: feature vectors [kL, d], or None.
        description: text that is stored with the arrays.

    Example:
        >>> import multiview as mv
        >>> study = mv.load_preset("smoke")
        >>> mv.save_dataset("training.npz", mv.World.of(study).train())
        >>> data, _ = mv.load_dataset("training.npz", study.data)
        >>> data.num_samples == study.data.num_train
        True
    """
    arrays = {f.name: getattr(data, f.name) for f in dataclasses.fields(data)} | {"features": features}
    arrays = {n: np.asarray(a) for n, a in arrays.items() if a is not None}
    write_npz(path, arrays | {"description": np.asarray(description)})


def load_dataset(path: str | Path, config: DataConfig) -> tuple[MultiViewDataset, Float[Array, "f d"] | None]:
    """Read a dataset from .npz: one written by `save_dataset`, or a user's own `patches` [N, P, d] and `labels` [N].

    Args:
        path: the file.
        config: the configuration that the dataset has to fit.

    Returns:
        The dataset, and the feature vectors [kL, d] if the file holds them.

    Raises:
        ConfigError: the file is unreadable, lacks an array, or an array has a wrong shape, type or value.

    Example:
        >>> import numpy as np
        >>> import multiview as mv
        >>> data = mv.DataConfig(num_classes=2, num_patches=3, feature_sparsity=0, patch_dim=8, representation="dense")
        >>> np.savez("own.npz", patches=np.ones((5, 3, 8), np.float32), labels=[0, 1, 0, 1, 0])
        >>> own, features = mv.load_dataset("own.npz", data)
        >>> own.num_samples, features
        (5, None)
    """
    arrays = load_npz(path)
    no_truth = "coefficients" not in arrays  # a user's dataset without the ground truth
    for name in ("labels", "patches") if no_truth else ("labels",):
        if name not in arrays:
            raise ConfigError(f"{path}: array {name!r} is missing; a dataset holds labels [N] and patches [N, P, d]")
    n = arrays["labels"].size
    if no_truth:
        shape = (n, arrays["patches"].shape[1] if arrays["patches"].ndim > 1 else 1)
        arrays |= {
            "is_single_view": np.zeros(n, bool),
            "chosen_view": np.full(n, -1, np.int32),
            "patch_feature": np.full(shape, -1, np.int32),
            "coefficients": np.zeros(shape, np.float32),
            "noise_norms": np.zeros(shape, np.float32),
            "dropped_features": np.zeros(n, np.int32),
        }
    arrays.setdefault("weights", np.full(n, 1.0 / max(n, 1), np.float32))
    arrays = check_arrays(str(path), arrays, config)
    check_representation("patches" in arrays, config)
    features = arrays.pop("features", None)
    data = MultiViewDataset(**{name: jnp.asarray(array) for name, array in arrays.items()})
    return data, None if features is None or data.patches is None else jnp.asarray(features)


def finite_numbers(array: np.ndarray) -> bool:
    """Return whether an array holds only finite numbers or truth values."""
    return (np.issubdtype(array.dtype, np.number) or array.dtype == bool) and bool(np.isfinite(array).all())


def load_npz(path: str | Path) -> dict[str, np.ndarray]:
    """Read all arrays of an .npz file, without pickle.

    Raises:
        ConfigError: the file cannot be read as .npz.
    """
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, AttributeError) as error:
        raise ConfigError(f"{path} cannot be read as .npz: {error.__class__.__name__}") from None
    except Exception as error:  # zipfile.BadZipFile and zlib errors share no base class
        raise ConfigError(f"{path} cannot be read as .npz: {error.__class__.__name__}") from None

"""Datasets as .npz files: the program's own, and a user's."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from multiview.config import DataConfig
from multiview.parameters import ConfigError
from multiview.world.samples import MultiViewDataset

_FILE_FIELDS = tuple(f.name for f in dataclasses.fields(MultiViewDataset))


def save_dataset(path: str | Path, data: MultiViewDataset, features: Any = None, description: str = "") -> None:
    """Write a dataset with its ground truth to a self-describing .npz (atomically: a whole file or none).

    Example:
        >>> import multiview as mv
        >>> study = mv.load_preset("smoke")
        >>> mv.save_dataset("training.npz", mv.training_set(study.seed, 0, study.data))
        >>> data, _ = mv.load_dataset("training.npz", study.data)
        >>> data.num_samples == study.data.num_train
        True
    """
    arrays = {n: np.asarray(getattr(data, n)) for n in _FILE_FIELDS if getattr(data, n) is not None}
    if features is not None:
        arrays["features"] = np.asarray(features)
    arrays["description"] = np.asarray(description)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".npz")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_dataset(path: str | Path, config: DataConfig) -> tuple[MultiViewDataset, Float[Array, "f d"] | None]:
    """Read a dataset from .npz: one written by `save_dataset`, or a user's own `patches` [N, P, d] and `labels` [N].

    Args:
        path: the file.
        config: the configuration that the data has to fit.

    Returns:
        The dataset, and the feature vectors [kL, d] if the file holds them.

    Raises:
        ConfigError: the file is unreadable, lacks an array, or an array has a wrong shape or value.

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
    if "labels" not in arrays:
        raise ConfigError(f"{path}: array 'labels' is missing; a dataset holds labels [N] and patches [N, P, d]")
    labels = arrays["labels"]
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer) or len(labels) == 0:
        raise ConfigError(
            f"{path}: labels has shape {labels.shape} and type {labels.dtype}; whole numbers [N] are allowed"
        )
    if labels.min() < 0 or labels.max() >= config.num_classes:
        raise ConfigError(f"{path}: labels run {labels.min()}…{labels.max()}; 0…{config.num_classes - 1} is allowed")
    n = len(labels)
    patches = arrays.get("patches")
    if patches is not None and (patches.ndim != 3 or len(patches) != n or not finite_numbers(patches)):
        raise ConfigError(f"{path}: patches has shape {patches.shape}; finite numbers [{n}, P, d] are allowed")
    if "coefficients" not in arrays:
        if patches is None:
            raise ConfigError(f"{path}: array 'patches' is missing; a dataset holds labels [N] and patches [N, P, d]")
        p = patches.shape[1]
        arrays |= {
            "is_single_view": np.zeros(n, bool),
            "chosen_view": np.full(n, -1, np.int32),
            "patch_feature": np.full((n, p), -1, np.int32),
            "coefficients": np.zeros((n, p), np.float32),
            "noise_norms": np.zeros((n, p), np.float32),
            "dropped_features": np.zeros(n, np.int32),
        }
    arrays.setdefault("weights", np.full(n, 1.0 / n, np.float32))
    per_patch = ("patch_feature", "coefficients", "noise_norms")
    if arrays["coefficients"].ndim != 2:
        shape = arrays["coefficients"].shape
        raise ConfigError(f"{path}: coefficients has shape {shape}; finite numbers [{n}, P] are allowed")
    num_patches = arrays["coefficients"].shape[1]
    for name in _FILE_FIELDS[:8]:
        shape = (n, num_patches) if name in per_patch else (n,)
        if name not in arrays or arrays[name].shape != shape or not finite_numbers(arrays[name]):
            raise ConfigError(f"{path}: array {name!r} is missing, or not finite numbers of shape {list(shape)}")
    index = arrays["patch_feature"]
    if index.min() < -1 or index.max() >= config.num_features:
        raise ConfigError(
            f"{path}: patch_feature runs {index.min()}…{index.max()}; −1…{config.num_features - 1} is allowed"
        )
    if patches is not None and config.representation != "dense":
        raise ConfigError(
            f"data.representation = {config.representation!r} is not allowed with dense patches: it must be dense"
        )
    features = arrays.get("features")
    if features is not None and patches is not None and features.shape != (config.num_features, patches.shape[2]):
        raise ConfigError(
            f"{path}: features has shape {features.shape}; [{config.num_features}, {patches.shape[2]}] is allowed"
        )
    floating = {"coefficients", "noise_norms", "weights", "feature_noise", "patches"}
    data = MultiViewDataset(
        **{
            name: jnp.asarray(arrays[name], jnp.float32 if name in floating else None)
            for name in _FILE_FIELDS
            if name in arrays
        }
    )
    return data, None if features is None or patches is None else jnp.asarray(features, jnp.float32)


def finite_numbers(array: np.ndarray) -> bool:
    """Whether an array holds finite numbers (or truth values) only."""
    return (np.issubdtype(array.dtype, np.number) or array.dtype == bool) and bool(np.isfinite(array).all())


def load_npz(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of an .npz, without pickle. Raises ConfigError when the file is none."""
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, AttributeError) as error:
        raise ConfigError(f"{path} cannot be read as .npz: {error.__class__.__name__}") from None
    except Exception as error:  # zipfile.BadZipFile and zlib errors share no base class
        raise ConfigError(f"{path} cannot be read as .npz: {error.__class__.__name__}") from None

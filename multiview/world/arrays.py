"""Rules for the arrays of a dataset: dimensions, type, range and meaning, and the check of a user's arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from multiview.config import DataConfig
from multiview.parameters import ConfigError, refusal
from multiview.world.samples import MultiViewDataset

_NO_BOUND = float("inf")


class Rule(NamedTuple):
    """Rule for one array.

    Attributes:
        dims: names of its dimensions: N samples, P patches, d of a dense patch, F = kL features.
        dtype: truth values, whole numbers, or numbers; numbers are cast to the dtype of training.
        meaning: meaning in words.
        low: smallest allowed value.
        high: largest allowed value; or the name of a size of the configuration, below which values must be.
    """

    dims: str
    dtype: type
    meaning: str
    low: float = -_NO_BOUND
    high: float | str = _NO_BOUND


RULES = {
    "labels": Rule("N", np.int32, "class y", 0, "num_classes"),
    "patches": Rule("N P d", np.float32, "dense patches x_p"),
    "coefficients": Rule("N P", np.float32, "strength z_p of the feature in each patch", 0),
    "patch_feature": Rule("N P", np.int32, "row of features of each patch, -1 for background", -1, "num_features"),
    "noise_norms": Rule("N P", np.float32, "norm of each patch's Gaussian noise", 0),
    "is_single_view": Rule("N", np.bool_, "whether one view of the label is strong and the others are weak"),
    "chosen_view": Rule("N", np.int32, "strong view of single-view samples, -1 in others", -1, "num_views"),
    "weights": Rule("N", np.float32, "sample weights; they sum to 1", 0),
    "dropped_features": Rule("N", np.int32, "foreign features without a free patch", 0, 2**31 - 1),
    "feature_noise": Rule("N P F", np.float32, "feature noise, where there is any"),
    "features": Rule("F d", np.float32, "orthonormal feature vectors; row j*L + l is v_{j,l}"),
}
TEACHER = Rule("N k", np.float32, "logits of a teacher on the training samples")
OPTIONAL = ("patches", "feature_noise", "features")


def check_arrays(
    where: str, arrays: Mapping[str, Any], config: DataConfig, dtype: Any = np.float32
) -> dict[str, np.ndarray]:
    """Cast a dataset's arrays to the types of training and check what they become.

    Args:
        where: start of a message, for example the name of the file.
        arrays: what NumPy takes as arrays, by name; names that `RULES` does not have are left out.
        config: the configuration that the arrays have to fit.
        dtype: dtype of training.

    Returns:
        The arrays of `RULES` that exist, cast.

    Raises:
        ConfigError: an array is missing, or its shape, type or values are not allowed.
    """
    sizes = {"F": config.num_features}
    out = {}
    for name, rule in RULES.items():
        if name in arrays:
            if np.ma.is_masked(arrays[name]):
                raise ConfigError(f"{where}: {name} is masked in places; fill them or leave those samples out")
            out[name] = check_array(where, name, np.asarray(arrays[name]), rule, sizes, config, dtype)
        elif name not in OPTIONAL:
            raise ConfigError(f"{where}: array {name!r} {_shape(rule, sizes)} is missing")
    total = float(out["weights"].sum(dtype=np.float64))
    if abs(total - 1) > (len(out["weights"]) + 8) * np.finfo(np.float32).eps:  # rounding of each weight and their sum
        raise ConfigError(f"{where}: weights sum to {total:.6g}; they must sum to 1")
    if "features" in out:
        _check_orthonormal(where, out["features"])
    if (out["coefficients"][out["patch_feature"] < 0] != 0).any():
        raise ConfigError(f"{where}: coefficients are not 0 where patch_feature is −1; background has no strength")
    if ((out["chosen_view"] >= 0) != out["is_single_view"]).any():
        raise ConfigError(f"{where}: chosen_view must be ≥ 0 in samples of is_single_view, and −1 in all others")
    return out


def _check_orthonormal(where: str, features: np.ndarray) -> None:
    """Refuse feature vectors [kL, d] whose scalar products are not those of orthonormal ones up to rounding."""
    wide = features.astype(np.float64)
    deviation = np.abs(wide @ wide.T - np.eye(len(wide))).max()
    # A rotation by Householder reflections in float32 is orthonormal to d times the rounding of one number.
    if deviation > features.shape[1] * np.finfo(np.float32).eps:
        raise ConfigError(f"{where}: features are not orthonormal, a scalar product is off by {deviation:.2g}")


def check_array(
    where: str,
    name: str,
    array: np.ndarray,
    rule: Rule,
    sizes: dict[str, int],
    config: DataConfig | None = None,
    dtype: Any = np.float32,
) -> np.ndarray:
    """Cast an array to the type of training and check what it becomes.

    Args:
        where: start of a message.
        name: name of the array.
        array: the array as the user made it.
        rule: the rule for it.
        sizes: known sizes of dimensions by name; those of this array are added.
        config: gives bounds that are sizes of the configuration.
        dtype: dtype of training.

    Returns:
        The cast array.

    Raises:
        ConfigError: its shape, type or values are not allowed.
    """
    names = rule.dims.split()
    fits = array.ndim == len(names) and array.size > 0
    for dim, size in zip(names, array.shape if fits else (), strict=False):
        fits = fits and sizes.setdefault(dim, size) == size
    words, kind = {
        np.bool_: ("truth values", (np.bool_, np.integer)),
        np.int32: ("whole numbers", (np.integer,)),
        np.float32: ("finite numbers", (np.floating, np.integer, np.bool_)),
    }[rule.dtype]
    allowed = f"{words} {_shape(rule, sizes)} are allowed"
    if not fits or not any(np.issubdtype(array.dtype, k) for k in kind):
        raise ConfigError(f"{where}: {name} has shape {array.shape} and type {array.dtype}; {allowed}")
    with np.errstate(over="ignore"):
        cast = array.astype(dtype if rule.dtype is np.float32 else rule.dtype)
    if not np.isfinite(cast).all():
        raise ConfigError(f"{where}: {name} holds values that are not finite in {cast.dtype}; {allowed}")
    low, high = rule.low, getattr(config, rule.high) - 1 if isinstance(rule.high, str) else rule.high
    if rule.dtype is np.bool_:
        low, high = 0, 1
    if array.min() < low or array.max() > high:
        bounds = f"{low:g}…{high:g}" if high < _NO_BOUND else f"≥ {low:g}"
        values = f"{name} has values in {array.min()}…{array.max()}; {bounds} is allowed".replace("-", "−")
        raise ConfigError(f"{where}: {values}")
    return cast


def _shape(rule: Rule, sizes: Mapping[str, int]) -> str:
    return f"[{', '.join(str(sizes.get(dim, dim)) for dim in rule.dims.split())}]"


def check_dataset(
    where: str, data: MultiViewDataset, config: DataConfig, features: Any, dtype: Any
) -> dict[str, np.ndarray]:
    """Cast the arrays of a user's dataset to the types of training and check what they become.

    Args:
        where: start of a message.
        data: the dataset.
        config: the configuration that the dataset has to fit.
        features: feature vectors of the dataset [kL, d], or None.
        dtype: dtype of training.

    Returns:
        The arrays of the dataset, and `features` if there are any, cast.

    Raises:
        ConfigError: see `check_arrays`; or dense patches in a limit representation.
    """
    if not isinstance(data, MultiViewDataset):
        raise refusal(where, data, "a MultiViewDataset")
    arrays = {f.name: getattr(data, f.name) for f in dataclasses.fields(data)} | {"features": features}
    cast = check_arrays(where, {n: a for n, a in arrays.items() if a is not None}, config, dtype)
    check_representation(data.patches is not None, config)
    return cast


def check_representation(has_patches: bool, config: DataConfig) -> None:
    """Refuse dense patches if the configuration asks for the limit of large d, and the reverse.

    Raises:
        ConfigError: patches and configuration do not fit each other.
    """
    if has_patches != (config.representation == "dense"):
        which = "with dense patches: it must be dense" if has_patches else "without dense patches: it must be limit"
        raise ConfigError(f"data.representation = {config.representation!r} is not allowed {which}")

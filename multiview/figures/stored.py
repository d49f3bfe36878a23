"""Reading stores for figures: configuration and measures, or one clear line where a store lacks them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr

from multiview.config import Study, from_mapping
from multiview.parameters import ConfigError

Results = xr.DataTree | xr.Dataset


def study_of(results: Results) -> Study:
    """Read the configuration in a store.

    Raises:
        ConfigError: it is damaged, or not one of this multiview.
    """
    try:
        mapping = json.loads(results.attrs["config"])
        if not isinstance(mapping, dict):
            raise ValueError
    except (KeyError, ValueError, TypeError):
        raise ConfigError("the store's configuration cannot be read: it is no JSON object") from None
    return from_mapping(mapping)


def as_study(results: Results, advice: str = "run multiview train --out STORE and draw that") -> xr.DataTree:
    """Check that a store is that of a study.

    Raises:
        ConfigError: it is that of a sweep.
    """
    if not isinstance(results, xr.DataTree):
        raise ConfigError(f"this store holds a sweep, no study: {advice}")
    return results


def group_of(results: Results, name: str, needed: tuple[str, ...], advice: str = "") -> xr.Dataset:
    """Select the networks of one kind in the store of a study.

    Args:
        results: the store.
        name: single, distilled, …
        needed: the variables that have to be there.
        advice: what to run where they are not.

    Raises:
        ConfigError: the store lacks them.
    """
    advice = advice or "run multiview train --out STORE and draw that"
    results = as_study(results, advice)
    if name not in results.children:
        raise ConfigError(f"the store holds no networks of kind {name!r}: {advice}")
    data = results[name].to_dataset()
    for variable in needed:
        if variable not in data:
            raise ConfigError(f"the store lacks {name}/{variable}: {advice}")
        if not data[variable].size:
            raise ConfigError(f"{name}/{variable} in the store is empty: {advice}")
    return data


def values_of(data: xr.Dataset, name: str, *dimensions: str) -> np.ndarray:
    """Read a variable as numbers, its axes in this order.

    Raises:
        ConfigError: its axes are others, or it cannot be read.
    """
    try:
        return np.asarray(data[name].transpose(*dimensions).values, float)
    except Exception as error:  # a damaged chunk is found here: zarr and numcodecs raise many kinds
        raise ConfigError(
            f"{name} in the store cannot be read: {error.__class__.__name__}; see multiview check"
        ) from None


def replicate_of(data: xr.Dataset, replicate: int) -> int:
    """Check the number of a replicate.

    Raises:
        ConfigError: there is no such replicate.
    """
    if not 0 <= replicate < data.sizes["replicate"]:
        raise ConfigError(f"--replicate = {replicate} is not allowed: it must be 0 … {data.sizes['replicate'] - 1}")
    return replicate


def student_groups(results: Results) -> list[str]:
    """List the kinds of students in a store, in the order of the theorems."""
    # A zarr folder has no order of its own; distilled, self_distilled, self_distilled_2, … are in order of length.
    return sorted((name for name in as_study(results).children if name != "single"), key=lambda name: (len(name), name))


def steps_of(data: xr.Dataset) -> np.ndarray:
    """Read the recorded steps for a logarithmic axis, on which step 0 stands at one half."""
    return np.maximum(np.asarray(data["step"].values, float), 0.5)


def claims_of(results: Results) -> dict[str, dict[str, Any]]:
    """Read the claims that a store carries, by name; none in most."""
    try:
        return {str(c["id"]): dict(c) for c in json.loads(results.attrs.get("claims", "[]"))}
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}


def design_of(results: xr.Dataset) -> dict[str, Any]:
    """Read the design that a sweep's store names.

    Raises:
        ConfigError: it is damaged.
    """
    try:
        design = json.loads(results.attrs["sweep"])
        return {
            "method": str(design["method"]),
            "factors": list(design["factors"]),
            "students": bool(design["students"]),
        }
    except (KeyError, ValueError, TypeError):
        raise ConfigError("the store's design cannot be read; see multiview check") from None

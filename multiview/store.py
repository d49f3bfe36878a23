"""Writing and reading results on disk: the only module that writes them.

A store is a zarr folder. It is written beside its final name and renamed when whole: a reader never sees half
of one. Opening a store runs nothing: arrays and JSON only.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from multiview.config import ConfigError


def writable_folder(path: str | Path, name: str = "--out") -> Path:
    """Check, before any work is done, that a folder can be written or made; nothing is made yet.

    Raises:
        ConfigError: it cannot.
    """
    path = Path(path)
    existing = path
    try:
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise ConfigError(f"{name} = {str(path)!r} cannot be written: {error.strerror or error}") from None
    return path


def new_path(path: str | Path, name: str = "--out") -> Path:
    """A path that does not exist yet, in a folder that can be written.

    Raises:
        ConfigError: it exists, or its folder cannot be written.
    """
    path = Path(path)
    if path.exists():
        raise ConfigError(f"{name} = {str(path)!r} exists already; name a new one")
    writable_folder(path.parent, name)
    return path


def write_file(path: str | Path, write: Callable[[Path], Any]) -> None:
    """Write a file atomically: `write` fills a temporary one beside it, which is then renamed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
    os.close(handle)
    try:
        write(Path(temporary))
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_store(path: str | Path, tree: xr.DataTree) -> None:
    """Write a labelled result as a new zarr store."""
    path = new_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=".writing-"))
    try:
        tree.to_zarr(temporary / "store", mode="w", consolidated=False)
        os.rename(temporary / "store", path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def open_results(path: str | Path) -> xr.DataTree:
    """Open a store.

    Raises:
        ConfigError: there is no store, or it cannot be read.
    """
    if not Path(path).is_dir():
        raise ConfigError(f"store = {str(path)!r} is not there; it must be a folder written by multiview train")
    try:
        tree = xr.open_datatree(path, engine="zarr", consolidated=False)
    except Exception as error:  # zarr and xarray raise many kinds; each means: not a readable store
        raise ConfigError(f"store = {str(path)!r} cannot be read: {error.__class__.__name__}") from None
    if "config" not in tree.attrs:
        raise ConfigError(f"store = {str(path)!r} is no store of multiview: it holds no configuration")
    return tree


def export_network(tree: xr.DataTree, group: str, replicate: int, seed: int, path: str | Path) -> None:
    """Write one network of a store to .npz: weights [D, k, m], and the feature vectors where D = d.

    Raises:
        ConfigError: the store has no such network, or was written without networks.
    """
    if group not in tree.children or "weights" not in tree[group].to_dataset():
        raise ConfigError(
            f"group = {group!r} is not allowed: it must be one of {', '.join(tree.children)}, stored with networks"
        )
    weights = tree[group].to_dataset()["weights"]
    for name, value in (("replicate", replicate), ("seed", seed)):
        if not 0 <= value < weights.sizes[name]:
            raise ConfigError(f"{name} = {value} is not allowed: it must be 0 … {weights.sizes[name] - 1}")
    arrays = {"weights": weights.values[replicate, seed], "config": np.asarray(tree.attrs["config"])}
    if "features" in tree:
        arrays["features"] = tree.to_dataset()["features"].values

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)

    write_file(path, write)

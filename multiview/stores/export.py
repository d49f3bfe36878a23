"""Stores as files of other programs: one network as .npz, everything as NetCDF, its rows as CSV or Parquet."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import xarray as xr

from multiview.files import write_file, write_npz
from multiview.parameters import ConfigError
from multiview.stores.store import load_all
from multiview.stores.sweep_store import MISSING


def export_network(tree: xr.DataTree | xr.Dataset, group: str, replicate: int, seed: int, path: str | Path) -> None:
    """Write one network of a store to .npz: weights [D, k, m], and the feature vectors where D = d.

    Raises:
        ConfigError: the store has no such network, or was written without networks.
    """
    if not isinstance(tree, xr.DataTree):
        raise ConfigError("store: a sweep keeps no networks; train the point you want with multiview train")
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
    write_npz(path, arrays)


def export_data(data: xr.DataTree | xr.Dataset, kind: str, group: str, path: str | Path) -> None:
    """Write a store as NetCDF, complete, or as CSV or Parquet: one row for each network, without time and classes.

    Args:
        data: of `open_results`.
        kind: netcdf, csv or parquet.
        group: which networks of a single study make the rows.
        path: of the file.

    Raises:
        ConfigError: no such group, or the library of that format is not installed.
    """
    needed = {"netcdf": ("h5netcdf", "h5py"), "parquet": ("pyarrow",)}.get(kind, ())
    if any(importlib.util.find_spec(name) is None for name in needed):
        raise ConfigError(f"--to = {kind!r} needs {' and '.join(needed)}: pip install 'multiview-theory[export]'")
    load_all(data)
    if kind == "netcdf":
        data.load()
        write_file(path, lambda file: data.to_netcdf(file, engine="h5netcdf"))
        return
    if isinstance(data, xr.DataTree):
        if group not in data.children:
            raise ConfigError(f"group = {group!r} is not allowed: it must be one of {', '.join(data.children)}")
        rows = data.children[group].to_dataset(inherit=False).drop_vars("step", errors="ignore")
        kept = {"replicate", "seed"}
    else:
        rows = data
        kept = {*map(str, data["done"].dims), "seed"}
    names = [name for name, v in rows.data_vars.items() if set(map(str, v.dims)) <= kept]
    others = [name for name, v in rows.coords.items() if not set(map(str, v.dims)) <= kept]
    frame = rows[names].drop_vars(others, errors="ignore").to_dataframe().reset_index()
    if isinstance(data, xr.Dataset):
        frame = frame[(frame["done"] > MISSING) & frame["finite"].notna()]
    if kind == "csv":
        write_file(path, lambda file: frame.to_csv(file, index=False))
    else:
        write_file(path, lambda file: frame.to_parquet(file, index=False, engine="pyarrow"))

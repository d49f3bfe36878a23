"""Writing and reading results on disk: the only module that writes them.

A store is a zarr folder. A study's store is written beside its final name and renamed when whole: a reader never sees
half of one. A sweep's store is made up front in its full shape, also renamed into place, then filled block by block:
each block has chunks of its own, each chunk appears whole, and the block's entry in `done` is written last. Opening a
store runs nothing: arrays and JSON only.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from multiview.config import ConfigError

FORMAT = 1  # of sweep stores; raised when an older multiview could misread a newer store


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


def _attributes(path: str | Path) -> dict[str, Any]:
    """The attributes of a store, without opening its arrays.

    Raises:
        ConfigError: there is no store, it cannot be read, or multiview did not write it.
    """
    shown = f"store = {str(path)!r}"
    if not Path(path).is_dir():
        raise ConfigError(f"{shown} is not there; it must be a folder written by multiview train or sweep")
    try:
        attributes = json.loads((Path(path) / "zarr.json").read_text(encoding="utf-8"))["attributes"]
    except FileNotFoundError:
        raise ConfigError(f"{shown} is no store: it holds no zarr.json") from None
    except PermissionError:
        raise ConfigError(f"{shown} cannot be read: permission denied") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(f"{shown} cannot be read: its zarr.json is damaged") from None
    if not isinstance(attributes, dict) or not isinstance(attributes.get("config"), str):
        raise ConfigError(f"{shown} is no store of multiview: it holds no configuration")
    version = attributes.get("format", FORMAT)
    if version != FORMAT:
        raise ConfigError(f"{shown} has format {version!r}, this multiview reads {FORMAT}; use the version it names")
    return attributes


def is_sweep(path: str | Path) -> bool:
    """Whether a store is that of a sweep (else of a single study)."""
    return "sweep" in _attributes(path)


def open_results(path: str | Path) -> xr.DataTree | xr.Dataset:
    """Open a store: a sweep as a Dataset, one study (`multiview train`) as a DataTree.

    Numbers of a sweep that are not there yet are NaN; `done` says which blocks are.

    Raises:
        ConfigError: there is no store, or it cannot be read.
    """
    attributes = _attributes(path)
    try:
        if "sweep" not in attributes:
            return xr.open_datatree(path, engine="zarr", consolidated=False, chunks=None)
        data = xr.open_dataset(path, engine="zarr", consolidated=False, chunks=None)
        # Strings of variable length are zarr's business; everybody else knows NumPy's own.
        texts = [name for name, v in data.variables.items() if v.dtype.kind not in "biuf"]
        for name in texts:
            words = np.array(data[name].values.tolist(), str)
            data[name] = (data[name].dims, words.reshape(data[name].shape), data[name].attrs)
        # In the order of the design and of the alphabet, not in that of the file system.
        variables = {name: data.variables[name] for name in sorted(map(str, data.data_vars))}
        axes = {name: data.variables[name] for name in attributes["coordinates"].split()}
        return xr.Dataset(variables, axes, data.attrs)
    except Exception as error:  # zarr and xarray raise many kinds; each means: not a readable store
        raise ConfigError(
            f"store = {str(path)!r} cannot be read: {error.__class__.__name__}; see multiview check"
        ) from None


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

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)

    write_file(path, write)


def export_data(data: xr.DataTree | xr.Dataset, kind: str, group: str, path: str | Path) -> None:
    """Write a store as NetCDF (all of it), or as CSV or Parquet: one row for each network, without time and classes.

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


def damaged_variables(path: str | Path) -> list[str]:
    """Arrays of a single study's store that cannot be read."""
    tree = open_results(path)
    found = []
    for node in tree.subtree if isinstance(tree, xr.DataTree) else ():
        for name in node.variables:
            try:
                node[str(name)].load()
            except Exception:  # zarr and numcodecs raise many kinds
                found.append(f"{node.path.rstrip('/')}/{name}")
    return found


class Variable(NamedTuple):
    """A measure of a sweep: what one block writes.

    Attributes:
        dimensions: after the point's and the replicate's: seed, student, time, class, view.
        dtype: of the array; floats are NaN and whole numbers −1 (read as NaN) until written.
        unit: of the numbers.
        text: what it is.
    """

    dimensions: tuple[str, ...]
    dtype: str
    unit: str
    text: str


MISSING, DONE, FAILED, NO_BLOCK = 0, 1, 2, -1
_DONE_TEXT = "0 not computed yet, 1 done, 2 failed (see reason), -1 not part of the sweep"


def _compressors() -> Any:
    """Compressed, with a checksum, so that a damaged chunk is found and never read as numbers."""
    from zarr.codecs import Crc32cCodec, ZstdCodec

    return [ZstdCodec(level=3), Crc32cCodec()]


class SweepStore:
    """A sweep's results on disk; one writer at a time (`sweep.lock`)."""

    def __init__(self, path: str | Path, writable: bool = False) -> None:
        """Open an existing store.

        Raises:
            ConfigError: it is no readable store of a sweep, or, if `writable`, it is read-only.
        """
        import zarr

        self.path = Path(path)
        self.attributes = _attributes(path)
        if "sweep" not in self.attributes:
            raise ConfigError(f"store = {str(path)!r} holds one study and no sweep; name a new folder")
        if writable and not os.access(self.path, os.W_OK):
            raise ConfigError(f"store = {str(path)!r} is read-only: {_owner(self.path)}")
        zarr.config.set({"array.write_empty_chunks": True})  # a chunk that is not there is then a missing one
        try:
            group = zarr.open_group(self.path, mode="r+" if writable else "r")
            self.arrays: dict[str, Any] = dict(group.arrays())
            self.done, self.unreadable = _read_done(self.arrays["done"])
        except Exception as error:  # see open_results
            raise ConfigError(
                f"store = {str(path)!r} is damaged: {error.__class__.__name__} in its metadata; see multiview check"
            ) from None

    @staticmethod
    def create(
        path: str | Path,
        attributes: Mapping[str, Any],
        points: Mapping[str, int],
        sizes: Mapping[str, int],
        variables: Mapping[str, Variable],
        coordinates: Mapping[str, tuple[tuple[str, ...], Any, Mapping[str, Any]]],
        replicates: np.ndarray,
    ) -> SweepStore:
        """Make an empty store in its full shape, whole or not at all.

        Args:
            path: new folder.
            attributes: plain values; `config` and `sweep` are JSON texts.
            points: dimensions of the points with their lengths.
            sizes: lengths of the other dimensions, `replicate` among them.
            variables: measures by name.
            coordinates: dimensions, values and attributes of each axis.
            replicates: of each point, shape of the points.

        Raises:
            ConfigError: the folder exists or cannot be written.
        """
        import zarr

        path = new_path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=".writing-"))
        try:
            group = zarr.open_group(temporary / "store", mode="w", zarr_format=3)
            group.attrs.update({**attributes, "format": FORMAT, "coordinates": " ".join(coordinates)})
            base = (*points, "replicate")
            everything = {
                **variables,
                "done": Variable((), "int8", "", _DONE_TEXT),
                "reason": Variable((), "string", "", "why a block failed, or empty"),
            }
            for name, v in everything.items():
                dims = (*base, *v.dimensions)
                lengths = [points[d] if d in points else sizes[d] for d in dims]
                attributes_of: dict[str, Any] = {"unit": v.unit, "description": v.text}
                fill: Any = "" if v.dtype == "string" else math.nan if v.dtype.startswith("float") else -1
                if name == "done":
                    fill = MISSING
                elif fill == -1:
                    attributes_of["_FillValue"] = -1
                array = group.create_array(
                    name, shape=lengths, dtype=v.dtype, fill_value=fill, compressors=_compressors(),
                    chunks=(*[1] * len(base), *lengths[len(base) :]), dimension_names=dims, attributes=attributes_of,
                )  # fmt: skip
                if name == "done":
                    exists = np.arange(sizes["replicate"]) < replicates[..., None]
                    if not exists.all():
                        array[...] = np.where(exists, MISSING, NO_BLOCK)
            for name, (dims, values, words) in coordinates.items():
                values = np.asarray(values)
                array = group.create_array(
                    name, shape=values.shape, dtype="string" if values.dtype.kind in "UO" else values.dtype,
                    dimension_names=dims, attributes=dict(words), compressors=_compressors(),
                )  # fmt: skip
                array[...] = values
            _settle(temporary)
            os.rename(temporary / "store", path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return SweepStore(path, writable=True)

    def write_block(
        self, index: tuple[int, ...], arrays: Mapping[str, np.ndarray], state: int = DONE, reason: str = ""
    ) -> None:
        """Write one block: its arrays first, `done` last.

        Args:
            index: of the point, then the replicate.
            arrays: by name, without the block's own axes; smaller ones than the store's are padded with the fill value.
            state: DONE or FAILED.
            reason: why it failed.
        """
        for name, values in arrays.items():
            array = self.arrays[name]
            padded = np.full(array.shape[len(index) :], array.fill_value, array.dtype)
            padded[tuple(slice(n) for n in np.shape(values))] = values
            array[index] = padded
        self.arrays["reason"][index] = reason
        self.arrays["done"][index] = np.int8(state)
        self.done[index] = state

    def failures(self) -> Iterator[tuple[tuple[int, ...], str]]:
        """Index and reason of each failed block."""
        for index in zip(*np.nonzero(self.done == FAILED), strict=True):
            yield tuple(map(int, index)), str(np.asarray(self.arrays["reason"][index]))

    def damaged(self) -> dict[tuple[int, ...], str]:
        """Blocks that count as finished and yet cannot be read whole, with what is wrong.

        Every chunk of every such block is read, and its checksum compared.
        """
        found: dict[tuple[int, ...], str] = dict.fromkeys(self.unreadable, "done is damaged")
        for index in zip(*np.nonzero((self.done == DONE) | (self.done == FAILED)), strict=True):
            at = tuple(map(int, index))
            bare = int(self.done[at]) == FAILED and not self._chunk("finite", at).exists()
            for name, array in self.arrays.items():
                if array.ndim < len(at) or (bare and name not in ("done", "reason")) or name in self._coordinates:
                    continue
                try:
                    if not self._chunk(name, at).exists():
                        raise FileNotFoundError("is missing")
                    array[at]
                except Exception as error:  # zarr, numcodecs and the system raise many kinds
                    word = str(error) if isinstance(error, FileNotFoundError) else "is damaged"
                    found[at] = f"{name} {word}"
                    break
        return found

    @property
    def _coordinates(self) -> Sequence[str]:
        return [*str(self.attributes.get("coordinates", "")).split(), "step"]

    def _chunk(self, name: str, index: tuple[int, ...]) -> Path:
        array = self.arrays[name]
        parts = [*index, *[0] * (array.ndim - len(index))]
        return self.path / name / "c" / "/".join(map(str, parts))

    def forget(self, indices: Sequence[tuple[int, ...]]) -> None:
        """Mark blocks as not computed, so that they are computed again."""
        for index in indices:
            self.arrays["done"][index] = np.int8(MISSING)
            self.done[index] = MISSING

    def tidy(self) -> None:
        """Remove the half-written temporary files that a killed writer left."""
        for path in self.path.rglob("*.partial"):
            path.unlink(missing_ok=True)


def _read_done(array: Any) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """The state of every block, and the blocks whose entry is damaged; those count as not computed."""
    try:
        return np.asarray(array[...]), []
    except Exception:  # a damaged chunk: find which
        found = np.zeros(array.shape, array.dtype)
        unreadable = []
        for index in np.ndindex(*array.shape):
            try:
                found[index] = array[index]
            except Exception:
                unreadable.append(index)
        return found, unreadable


def _owner(path: Path) -> str:
    return f"its mode is {path.stat().st_mode & 0o777:o} and it belongs to user {path.stat().st_uid}"


def _settle(folder: Path) -> None:
    """Let files reach the disk before the folder gets its final name."""
    for path in [*folder.rglob("*"), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

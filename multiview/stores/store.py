"""Files and stores: what is written appears whole or not at all, and what is read was written by multiview.

A store is a zarr folder. A study's store is written beside its final name and renamed when whole: a reader never sees
half of one. A sweep's store (`sweep_store`) is made up front and filled block by block. Opening a store runs nothing:
arrays and JSON only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from multiview.files import new_path, rescue, whole_folder
from multiview.parameters import ConfigError, shown
from multiview.stores.beside import standing

FORMAT = 1  # of sweeps' stores; raised when an older multiview could misread a newer store


def write_store(path: str | Path, tree: xr.DataTree) -> None:
    """Write a labelled result as a new zarr store.

    Example:
        >>> import multiview as mv
        >>> result = mv.run_study(mv.load_preset("smoke"))
        >>> mv.write_store("smoke.zarr", mv.to_datatree(result))
        >>> sorted(mv.open_results("smoke.zarr").children)
        ['distilled', 'self_distilled', 'single']
    """
    _write(Path(path), tree)


def keep_store(path: str | Path, tree: xr.DataTree) -> None:
    """Write a store as `write_store` does; where that fails, keep its numbers elsewhere.

    Raises:
        OutputError: it could not be written; the line says where it is kept.
    """
    path = Path(path)
    try:
        try:
            new_path(path)
        except ConfigError as error:  # it has appeared, or its folder has gone, since it was checked
            raise OSError(str(error)) from None
        _write(path, tree)
    except OSError as error:
        raise rescue(path, error, lambda place: _write(place, tree, most=1 << 12)) from None


def _write(path: Path, tree: xr.DataTree, most: int = 0) -> None:
    """Write a tree, with at most so many values in a file, if that is not 0: files may be limited in size."""
    import zarr

    def options(variable: Any) -> dict[str, Any]:
        chunks = list(variable.shape)
        for axis in range(len(chunks)):
            inner = int(np.prod(chunks[axis + 1 :]))
            chunks[axis] = min(chunks[axis], max(1, most // max(inner, 1))) if most else chunks[axis]
        return {"compressors": compressors()} | ({"chunks": tuple(chunks)} if most and all(chunks) else {})

    own = {node.path: node.to_dataset(inherit=False).variables for node in tree.subtree}
    encoding = {node: {str(name): options(v) for name, v in names.items()} for node, names in own.items()}
    # A chunk that is not there is then a missing one.
    with whole_folder(path) as folder, zarr.config.set({"array.write_empty_chunks": True}):
        tree.to_zarr(folder, mode="w", consolidated=False, encoding=encoding)


def compressors() -> Any:
    """Compressed, with a checksum, so that a damaged chunk is found and never read as numbers."""
    from zarr.codecs import Crc32cCodec, ZstdCodec

    return [ZstdCodec(level=3), Crc32cCodec()]


def attributes_of(path: str | Path) -> dict[str, Any]:
    """The attributes of a store, without opening its arrays.

    Raises:
        ConfigError: there is no store, it cannot be read, or multiview did not write it.
    """
    word, path = f"store = {shown(str(path))}", standing(path)
    if not os.path.isdir(path):
        what = "is a file" if os.path.isfile(path) else "is not there"
        raise ConfigError(f"{word} {what}; it must be a folder written by multiview train or sweep")
    try:
        attributes = json.loads((Path(path) / "zarr.json").read_text(encoding="utf-8"))["attributes"]
    except FileNotFoundError:
        raise ConfigError(f"{word} is no store: it holds no zarr.json") from None
    except PermissionError:
        raise ConfigError(f"{word} cannot be read: permission denied") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # the last: brackets in brackets
        raise ConfigError(f"{word} cannot be read: its zarr.json is damaged") from None
    if not isinstance(attributes, dict) or not isinstance(attributes.get("config"), str):
        raise ConfigError(f"{word} is no store of multiview: it holds no configuration")
    for name in ("config", "sweep", "versions", "settings"):
        if not _holds_object(attributes.get(name, "{}")):
            raise ConfigError(f"{word} cannot be read: its attribute {name} is damaged")
    version = attributes.get("format", FORMAT)
    if version != FORMAT:
        raise ConfigError(f"{word} has format {version!r}, this multiview reads {FORMAT}; use the version it names")
    return attributes


def _holds_object(text: Any) -> bool:
    """Whether a text is a JSON object."""
    try:
        return isinstance(text, str) and isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def damaged_members(path: str | Path) -> list[str]:
    """Arrays and groups whose own zarr.json cannot be read.

    They are looked for before zarr opens a store: it reads all members at once, and where one fails Python prints the
    errors of the others when the process ends.
    """
    found = []
    for pattern in ("*/", "*/*/"):
        for folder in sorted(Path(path).glob(pattern)):
            file = folder / "zarr.json"
            try:
                foreign = not os.path.lexists(file) and not os.path.lexists(folder / "c")  # where chunks are
                whole = foreign or isinstance(json.loads(file.read_bytes()), dict)
            except (OSError, ValueError, RecursionError):
                whole = False
            if not whole:
                found.append(str(folder.relative_to(path)))
    return found


def check_members(path: str | Path) -> None:
    """Refuse a store with a member whose zarr.json cannot be read.

    Raises:
        ConfigError: it names the first.
    """
    bad = damaged_members(path)
    if bad:
        raise ConfigError(f"store = {shown(str(path))} is damaged: {bad[0]}/zarr.json cannot be read")


def is_sweep(path: str | Path) -> bool:
    """Whether a store is that of a sweep (else of a single study)."""
    return "sweep" in attributes_of(path)


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Leave out what zarr says of damaged members on stderr: `check` names them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@without_warnings()
def open_results(path: str | Path) -> xr.DataTree | xr.Dataset:
    """Open a store: a sweep as a Dataset, one study (`multiview train`) as a DataTree.

    Numbers of a sweep that are not there yet are NaN; `done` says which blocks are.

    Raises:
        ConfigError: there is no store, or it cannot be read.

    Example:
        >>> import multiview as mv
        >>> mv.open_results("study.zarr")["single"].sizes["replicate"]  # written by multiview train --out=study.zarr
        2
    """
    attributes, folder = attributes_of(path), standing(path)
    check_members(folder)
    try:
        if "sweep" not in attributes:
            tree = xr.open_datatree(folder, engine="zarr", consolidated=False, chunks=None)
            for node in tree.subtree:
                _copied_whole(node.variables)
            return tree
        data = xr.open_dataset(folder, engine="zarr", consolidated=False, chunks=None)
        # Strings of variable length are zarr's business; everybody else knows NumPy's own.
        texts = [name for name, v in data.variables.items() if v.dtype.kind not in "biuf"]
        for name in texts:
            words = np.array(data[name].values.tolist(), str)
            kept = {key: data[name].encoding[key] for key in ("dtype", "chunks")}
            data[name] = (data[name].dims, words.reshape(data[name].shape), data[name].attrs, kept)
        _copied_whole(data.variables)
        # In the order of the alphabet and of the design, not in that of the file system.
        fields = [name for factor in json.loads(attributes["sweep"])["factors"] for name in factor["fields"]]
        axes = {v.attrs.get("field", name): name for name, v in data.variables.items()}
        coordinates = [axes[name] for name in ("step", *fields) if name in axes]
        variables = {name: data.variables[name] for name in sorted(map(str, data.variables)) if name not in coordinates}
        return xr.Dataset(variables, {name: data.variables[name] for name in coordinates}, data.attrs)
    except Exception as error:  # zarr and xarray raise many kinds; each means: not a readable store
        raise ConfigError(
            f"store = {shown(str(path))} cannot be read: {error.__class__.__name__}; see multiview check"
        ) from None


def _copied_whole(variables: Mapping[Any, xr.Variable]) -> None:
    """Let xarray write every chunk of a copy, also those of fill values alone, so that none counts as lost."""
    for variable in variables.values():
        variable.encoding["write_empty_chunks"] = True


def is_copy(path: str | Path) -> bool:
    """Whether xarray has written this store by itself, in its own way."""
    return "consolidated_metadata" in json.loads((Path(path) / "zarr.json").read_text(encoding="utf-8"))


def load(data: xr.Dataset, names: Iterable[str]) -> None:
    """Read variables of an open store into memory, in place.

    Raises:
        ConfigError: one of them is damaged.
    """
    for name in names:
        try:
            data.variables[name].load()
        except Exception as error:  # zarr and numcodecs raise many kinds
            await_readers()
            raise ConfigError(
                f"the store is damaged: {name} cannot be read ({error.__class__.__name__}); see multiview check"
            ) from None


def load_all(data: xr.Dataset | xr.DataTree) -> None:
    """Read all of an open store into memory, in place.

    Raises:
        ConfigError: something in it is damaged.
    """
    for part in [n.to_dataset(inherit=False) for n in data.subtree] if isinstance(data, xr.DataTree) else [data]:
        load(part, map(str, part.variables))


def await_readers() -> None:
    """Wait for the readers of an array's other chunks, which zarr leaves behind when one of them has failed.

    Python would complain about each of them when the process ends.
    """
    from zarr.core.sync import sync

    async def ended() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)

    sync(ended())


def damaged_variables(path: str | Path) -> dict[str, str]:
    """Arrays of a single study's store that cannot be read whole, with what is wrong."""
    import zarr

    if bad := damaged_members(path):
        return dict.fromkeys(bad, "its zarr.json cannot be read")
    open_results(path)
    # zarr loses its way in relative paths of few letters: it takes "e" out of every name.
    with without_warnings():
        members = dict(zarr.open_group(Path(path).absolute(), mode="r").members(max_depth=None))
    groups = ["", *(f"{name}/" for name, member in members.items() if isinstance(member, zarr.Group))]
    there = {f"{group}{p.name}" for group in groups for p in (Path(path) / group).iterdir() if p.is_dir()}
    found = dict.fromkeys(sorted(there - set(members)), "its zarr.json is missing or damaged")
    for name, array in sorted(members.items()):
        if not isinstance(array, zarr.Array):
            continue
        missing = array.nchunks - array.nchunks_initialized
        if missing:
            found[name] = f"{missing} of {array.nchunks} chunks missing"
            continue
        try:
            array[...]
        except Exception:  # zarr and numcodecs raise many kinds
            await_readers()
            found[name] = "damaged"
    return found

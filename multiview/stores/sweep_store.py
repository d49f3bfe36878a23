"""A sweep's store: made in its full shape, then filled block by block by one writer.

Each block has chunks of its own, each chunk appears whole, and the block's entry in `done` is written last, so that
whatever happens to the writer, a block is either there or not. A power cut can undo writes in any order; the lock
(`stores.lock`) then tells the next writer to look, and checksums tell it where.
"""

from __future__ import annotations

import asyncio
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from multiview.files import whole_folder
from multiview.parameters import ConfigError
from multiview.stores.beside import standing
from multiview.stores.store import FORMAT, attributes_of, await_readers, check_members, compressors, without_warnings


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


class SweepStore:
    """A sweep's results on disk; one writer at a time (`stores.lock`)."""

    def __init__(self, path: str | Path, writable: bool = False) -> None:
        """Open an existing store.

        Raises:
            ConfigError: it is no readable store of a sweep, or, if `writable`, it is read-only.
        """
        import zarr

        self.path = standing(path)
        self.attributes = attributes_of(path)
        if "sweep" not in self.attributes:
            raise ConfigError(f"store = {str(path)!r} holds one study and no sweep; name a new folder")
        if writable and not os.access(self.path, os.W_OK):
            raise ConfigError(f"store = {str(path)!r} is read-only: {_owner(self.path)}")
        check_members(self.path)
        try:
            # A chunk that is not there is then a missing one; an array keeps what holds when it is opened.
            with zarr.config.set({"array.write_empty_chunks": True}), without_warnings():
                self.arrays: dict[str, Any] = dict(zarr.open_group(self.path, mode="r+" if writable else "r").arrays())
            if "done" not in self.arrays:
                raise ConfigError(f"store = {str(path)!r} is not a whole sweep: its array 'done' is missing")
            self.done, self.unreadable = _read_done(self.arrays["done"])
        except ConfigError:
            raise
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

        with whole_folder(path, durable=True) as folder:
            group = zarr.open_group(folder, mode="w", zarr_format=3)
            group.attrs.update({**attributes, "format": FORMAT})
            base = (*points, "replicate")
            everything = {
                **variables,
                "done": Variable((), "int8", "", _DONE_TEXT),
                "reason": Variable((), "string", "", "why a block failed, or empty"),
            }
            for name, v in everything.items():
                dims = (*base, *v.dimensions)
                lengths = [points[d] if d in points else sizes[d] for d in dims]
                words: dict[str, Any] = {"unit": v.unit, "description": v.text}
                fill: Any = "" if v.dtype == "string" else math.nan if v.dtype.startswith("float") else -1
                if name == "done":
                    fill = MISSING
                elif fill == -1:
                    words["_FillValue"] = -1
                array = group.create_array(
                    name, shape=lengths, dtype=v.dtype, fill_value=fill, compressors=compressors(),
                    chunks=(*[1] * len(base), *lengths[len(base) :]), dimension_names=dims, attributes=words,
                )  # fmt: skip
                if name == "done":
                    exists = np.arange(sizes["replicate"]) < replicates[..., None]
                    if not exists.all():
                        array[...] = np.where(exists, MISSING, NO_BLOCK)
            for name, (dims, values, meaning) in coordinates.items():
                values = np.asarray(values)
                array = group.create_array(
                    name, shape=values.shape, dtype="string" if values.dtype.kind in "UO" else values.dtype,
                    dimension_names=dims, attributes=dict(meaning), compressors=compressors(),
                )  # fmt: skip
                array[...] = values
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
        from zarr.core.sync import sync

        async def write_together() -> None:  # one hand-over to zarr's thread, not one for each array
            writes = (self.arrays[n].async_array.setitem(index, self._padded(n, index, v)) for n, v in arrays.items())
            # All have ended before an error is raised, so that nothing is written behind the back of who handles it.
            for outcome in await asyncio.gather(*writes, return_exceptions=True):
                if outcome is not None:
                    raise outcome

        sync(write_together())
        if arrays:
            self._fill_others(arrays, index)
        self._end_block(index, state, reason)

    def _fill_others(self, names: Iterable[str], index: tuple[int, ...]) -> None:
        """Fill a block's other arrays, which only other points measure: a chunk that is not there is a lost one."""
        for name in self._numbers - set(names):
            array = self.arrays[name]
            array[index] = np.full(array.shape[len(index) :], array.fill_value, array.dtype)

    def _end_block(self, index: tuple[int, ...], state: int, reason: str) -> None:
        self.arrays["reason"][index] = reason
        self.arrays["done"][index] = np.int8(state)
        self.done[index] = state

    def _padded(self, name: str, index: tuple[int, ...], values: np.ndarray) -> np.ndarray:
        """The values of a block in the shape that they have here."""
        array = self.arrays[name]
        out = np.full(array.shape[len(index) :], array.fill_value, array.dtype)
        out[tuple(slice(n) for n in np.shape(values))] = values
        return out

    def finished(self) -> list[tuple[int, ...]]:
        """Index of each block that is done or failed."""
        return [tuple(map(int, i)) for i in zip(*np.nonzero((self.done == DONE) | (self.done == FAILED)), strict=True)]

    def take(
        self, other: SweepStore, there: tuple[int, ...], here: tuple[int, ...], only: str = "", share: bool = False
    ) -> None:
        """Take a finished block from another store, bit by bit; one that has lost a file is left to be computed.

        Args:
            other: the store that has it.
            there: its index in that store.
            here: its index in this store.
            only: a dimension: arrays without it are not taken, and the block is then left to be computed.
            share: whether files may be shared between the stores, where the file system can.
        """
        names = [n for n in other._held(there) if n in self.arrays and n not in ("done", "reason")]
        if not all(other._chunk(n, there).exists() for n in names):
            return
        for name in names:
            old, new = other.arrays[name], self.arrays[name]
            if only and only not in old.metadata.dimension_names:
                continue
            layouts = [(a.metadata.codecs, a.dtype, a.chunks) for a in (old, new)]
            if layouts[0] == layouts[1]:
                _place(other._chunk(name, there), self._chunk(name, here), share)
            else:
                new[here] = self._padded(name, here, old[there])
        if not only:
            self._fill_others(names, here)
            self._end_block(here, int(other.done[there]), str(np.asarray(other.arrays["reason"][there])))

    def difference(self, other: SweepStore, there: tuple[int, ...], here: tuple[int, ...]) -> str:
        """Name an array in which a finished block here is not bit by bit that of another store; "" if there is none."""
        for name in ["done", *sorted({*self._held(here), *other._held(there)})]:
            mine, values = np.asarray(self.arrays[name][here]), np.asarray(other.arrays[name][there])
            if name not in ("done", "reason"):
                values = self._padded(name, here, values)
            if not np.array_equal(mine, values, equal_nan=mine.dtype.kind == "f"):
                return name
        return ""

    def failures(self) -> Iterator[tuple[tuple[int, ...], str]]:
        """Index and reason of each failed block."""
        for index in zip(*np.nonzero(self.done == FAILED), strict=True):
            yield tuple(map(int, index)), str(np.asarray(self.arrays["reason"][index]))

    def damaged(self) -> dict[tuple[int, ...], str]:
        """Blocks that count as finished and yet cannot be read whole, with what is wrong.

        Every chunk of every such block is read, and its checksum compared.
        """
        found: dict[tuple[int, ...], str] = dict.fromkeys(self.unreadable, "done is damaged")
        for at in self.finished():
            for name in self._held(at):
                try:
                    if not self._chunk(name, at).exists():
                        raise FileNotFoundError("is missing")
                    self.arrays[name][at]
                except Exception as error:  # zarr, numcodecs and the system raise many kinds
                    word = str(error) if isinstance(error, FileNotFoundError) else "is damaged"
                    found[at] = f"{name} {word}"
                    break
        return found

    def lost(self) -> dict[tuple[int, ...], str]:
        """Blocks that count as finished and yet lack a file, with the array that lost it; no number is read."""
        found = {}
        for at in self.finished():
            name = next((n for n in self._held(at) if not self._chunk(n, at).exists()), None)
            if name is not None:
                found[at] = name
        return found

    def _held(self, at: tuple[int, ...]) -> list[str]:
        """Arrays that hold numbers of a finished block; one that failed before it was measured has none."""
        if int(self.done[at]) == FAILED and not self._chunk("finite", at).exists():
            return ["done", "reason"]
        return ["done", "reason", *sorted(self._numbers)]

    @property
    def _numbers(self) -> set[str]:
        """Arrays of what was measured of each block."""
        blocks = {name for name, array in self.arrays.items() if "replicate" in array.metadata.dimension_names}
        return blocks - {"done", "reason"}

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
        await_readers()
        found = np.zeros(array.shape, array.dtype)
        unreadable = []
        for index in np.ndindex(*array.shape):
            try:
                found[index] = array[index]
            except Exception:
                unreadable.append(index)
        return found, unreadable


def _place(source: Path, target: Path, share: bool) -> None:
    """Copy a chunk, which nobody changes in place; share the file if that is meant and possible."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if share:
        try:
            return os.link(source, target)
        except OSError:  # no such thing on this file system
            pass
    shutil.copyfile(source, target)


def _owner(path: Path) -> str:
    return f"its mode is {path.stat().st_mode & 0o777:o} and it belongs to user {path.stat().st_uid}"

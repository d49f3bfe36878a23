"""Files that appear whole or not at all, and folders that are checked before any work."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from multiview.parameters import ConfigError


def cache_folder() -> Path:
    """Find the user's folder for what can be made again: `$XDG_CACHE_HOME/multiview`, else `~/.cache/multiview`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "multiview"


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


def fsync(path: str | Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems have no such thing for folders
            raise
    finally:
        os.close(handle)


@contextlib.contextmanager
def whole_folder(path: str | Path, durable: bool = False) -> Iterator[Path]:
    """Make a new folder that appears whole or not at all: what is made at the path handed out is renamed at the end.

    Args:
        path: of the folder; it must not exist.
        durable: whether all of it is on the disk before it appears.

    Raises:
        ConfigError: it exists, or its place cannot be written.
    """
    path = new_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=".writing-"))
    try:
        yield temporary / "new"
        if durable:
            for file in [*temporary.rglob("*"), temporary]:
                fsync(file)
        os.rename(temporary / "new", path)
        if durable:
            fsync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_file(path: str | Path, write: Callable[[Path], Any], durable: bool = False) -> None:
    """Write a file that appears whole or not at all.

    Args:
        path: of the file; an older one is replaced.
        write: fills the temporary file whose path it is given.
        durable: whether it is on the disk before this returns.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
    os.close(handle)
    try:
        write(Path(temporary))
        os.chmod(temporary, 0o644)
        if durable:
            fsync(temporary)
        os.replace(temporary, path)
        if durable:
            fsync(path.parent)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_npz(path: str | Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays as a compressed .npz that appears whole or not at all."""
    import numpy as np

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)

    write_file(path, write)

"""Files that appear whole or not at all, and folders that are checked before any work."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
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


def reach_disk(path: str | Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems have no such thing for folders
            raise
    finally:
        os.close(handle)


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

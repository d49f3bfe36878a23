"""Files that appear whole or not at all, and folders that are checked before any work."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from multiview.parameters import ConfigError, refusal, shown


def cache_folder() -> Path | None:
    """Find the user's folder for what can be made again: `$XDG_CACHE_HOME/multiview`, else `~/.cache/multiview`.

    Returns:
        The folder; None where there is none that can be written, and work goes on without.
    """
    try:
        base = os.environ.get("XDG_CACHE_HOME", "")
        folder = (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "multiview"
        return writable_folder(folder)
    except (RuntimeError, ConfigError):
        return None


def named_path(path: str | Path, name: str = "--out") -> Path:
    """Resolve what a user named as an output: `~` is expanded, and what is no path of this machine is refused.

    Raises:
        ConfigError: it is empty, a URL, "-", or in the home of an unknown user.
    """
    word = os.fspath(path)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", word):
        raise ConfigError(f"{name} = {shown(word)} is a URL; outputs are files of this machine, to be copied there")
    if not word or "\0" in word or word == "-":
        raise refusal(name, word, "a path (for the terminal, /dev/stdout)" if word == "-" else "a path")
    try:
        found = Path(word).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{name} = {shown(word)} is not allowed: {error}") from None
    try:
        os.stat(found)
    except (FileNotFoundError, NotADirectoryError):
        pass  # it may be made
    except OSError as error:  # too long a name, a circle of links, a folder that may not be entered
        raise ConfigError(f"{name} = {shown(word)} cannot be written: {error.strerror or error}") from None
    return found


def writable_folder(path: str | Path, name: str = "--out") -> Path:
    """Check, before any work is done, that a folder can be written or made; nothing is made yet.

    Returns:
        The folder, with `~` expanded.

    Raises:
        ConfigError: it cannot.
    """
    path = existing = named_path(path, name)
    try:
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise ConfigError(f"{name} = {shown(str(path))} cannot be written: {error.strerror or error}") from None
    return path


def new_path(path: str | Path, name: str = "--out") -> Path:
    """Check that a path does not exist yet, in a folder that can be written.

    Returns:
        The path, with `~` expanded.

    Raises:
        ConfigError: it exists, or its folder cannot be written.
    """
    path = named_path(path, name)
    if os.path.lexists(path):
        raise ConfigError(f"{name} = {shown(str(path))} exists already; name a new one")
    writable_folder(path.parent, name)
    return path


def output_file(path: str | Path, name: str = "--out", others: Iterable[str | Path | None] = ()) -> Path:
    """Check, before any work is done, that a file can be written: a new one, one to replace, a device or a pipe.

    Args:
        path: of the file.
        name: name of the flag or argument, for messages.
        others: files and stores that the command reads or writes besides, none of which this one may replace or damage;
            None and "" stand for one that was not named.

    Returns:
        The path, with `~` expanded; `write_file` takes it.

    Raises:
        ConfigError: it is a URL, a folder, a disk, a read-only file, one of `others` or inside one, or its folder
            cannot be written.
    """
    word, path = os.fspath(path), named_path(path, name)
    try:
        mode = path.stat().st_mode if path.exists() else None
    except OSError as error:
        raise ConfigError(f"{name} = {shown(word)} cannot be written: {error.strerror or error}") from None
    if mode is None and os.path.islink(os.path.realpath(path)):
        raise ConfigError(f"{name} = {shown(word)} cannot be written: a symbolic link that leads nowhere")
    if word.endswith(("/", os.sep)) or (mode is not None and stat.S_ISDIR(mode)):
        raise ConfigError(f"{name} = {shown(word)} is a folder; name a file")
    if mode is None or stat.S_ISREG(mode):
        real = Path(os.path.realpath(path))
        for other in (o for o in others if o and "\0" not in os.fspath(o)):
            found = Path(os.path.realpath(other))
            if found == real or (found in real.parents and (found / "zarr.json").exists()):
                raise refusal(name, word, f"another file than {shown(str(other))} or those in it")
        writable_folder(real.parent, name)
    elif not (stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)):
        raise ConfigError(f"{name} = {shown(word)} is no file that can be written; name another")
    if mode is not None and not os.access(path, os.W_OK):
        raise ConfigError(f"{name} = {shown(word)} cannot be written: Permission denied")
    return path


def _stream(path: Path) -> int | None:
    """Open what is written through, a device, a pipe, or an open file of this process; None for a file to replace."""
    number = re.fullmatch(r"/dev/(?:fd/|std(?=out|err))(\d+|out|err)|/proc/self/fd/(\d+)", str(path))
    if number:
        word = number[1] or number[2]
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        return os.dup({"out": 1, "err": 2}[word] if word in ("out", "err") else int(word))
    if path.exists() and not path.is_file():
        return os.open(path, os.O_WRONLY)
    return None


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


class OutputError(ConfigError):
    """An output could not be written after the work was done; the line says where its content is now."""


def rescue(path: Path, error: OSError, write: Callable[[Path], Any]) -> OutputError:
    """Keep what could not be written at its place: beside it, or else in a folder for temporary files.

    Args:
        path: where it should have gone.
        error: why it did not.
        write: writes it whole at the new path it is given, which ends as `path` does.

    Returns:
        The error to raise.
    """
    reason = f"{shown(str(path))} could not be written: {error.strerror or error}"
    beside = [] if path.exists() and not path.is_file() else [path.parent]  # devices stand in a folder of the system
    for parent in (*beside, Path(tempfile.gettempdir())):
        try:
            place = Path(tempfile.mkdtemp(dir=parent, prefix="multiview-rescued-")) / path.name
        except OSError:
            continue
        try:
            write(place)
            return OutputError(f"{reason}; it is kept as {place}")
        except (OSError, ConfigError):
            shutil.rmtree(place.parent, ignore_errors=True)
    return OutputError(f"{reason}; nor could it be kept beside it or in {tempfile.gettempdir()}")


def write_file(path: str | Path, write: Callable[[Path], Any], durable: bool = False, keep: bool = True) -> None:
    """Write a file that appears whole or not at all; devices and pipes are written through, links followed.

    Args:
        path: of the file; the content of an older one is replaced, its permissions stay.
        write: fills the temporary file whose path it is given.
        durable: whether it is on the disk before this returns.
        keep: whether content that cannot be written here is kept elsewhere (`rescue`); else it is lost.

    Raises:
        OutputError: it could not be written; the line says where its content is kept instead.
        OSError: the same, of what need not be kept.
    """
    path = named_path(path)
    try:
        _write_file(path, write, durable)
    except OSError as error:
        if not keep:
            raise
        raise rescue(path, error, lambda place: _write_file(place, write, durable)) from None


def _write_file(path: Path, write: Callable[[Path], Any], durable: bool) -> None:
    handle = _stream(path)
    if handle is not None:
        with os.fdopen(handle, "wb") as stream, tempfile.TemporaryDirectory() as folder:
            write(Path(folder) / f"new{path.suffix}")
            with open(Path(folder) / f"new{path.suffix}", "rb") as content:
                shutil.copyfileobj(content, stream)
        return
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".writing-{secrets.token_hex(8)}{path.suffix}"
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))  # less what the user's umask takes away
    try:
        write(temporary)
        if path.exists():
            shutil.copymode(path, temporary)
        if durable:
            fsync(temporary)
        os.replace(temporary, path)
        if durable:
            fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text as `write_file` does, in UTF-8; what of a file's name is no text becomes a question mark."""
    write_file(path, lambda new: new.write_text(text, encoding="utf-8", errors="replace"))


def write_json(path: str | Path, document: Any) -> None:
    """Write a document as strict JSON: a number that is not finite becomes null."""
    write_text(path, json.dumps(strict(document), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def strict(value: Any) -> Any:
    """Replace numbers that JSON does not know, NaN and infinity, by None."""
    if isinstance(value, Mapping):
        return {name: strict(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [strict(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_npz(path: str | Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays as a compressed .npz that appears whole or not at all."""
    import numpy as np

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)

    write_file(path, write)

"""What stands beside a store: its lock, its event log, and, while it is replaced by a larger one, the other of the two.

A store is replaced by two renames. Where a writer died between them, `standing` finds the older one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from multiview.files import fsync

_BEFORE, _GROWING = ".before", ".growing"


def sidecar_path(store: str | Path, ending: str) -> Path:
    """The file that stands beside a store: `.lock` or `.events.jsonl`."""
    store = Path(store)
    return store.with_name(store.name + ending)


def standing(store: str | Path) -> Path:
    """The folder that a store is in: its own, or the older one's where a writer died between the two renames."""
    store = Path(store)
    if not store.name or os.path.exists(store):
        return store
    before = sidecar_path(store, _BEFORE)
    return before if os.path.isdir(before) else store


def settle(store: Path) -> None:
    """Take away what a writer left that died while it replaced a store; only who holds the lock may call this."""
    before = sidecar_path(store, _BEFORE)
    if standing(store) == before:
        os.rename(before, store)
    for path in (before, sidecar_path(store, _GROWING)):
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def replaced(store: Path) -> Iterator[Path]:
    """Make a store that takes an older one's place when it is whole; till then, and after an error, the older is there.

    Only who holds the lock may call this.

    Yields:
        Where to make it.
    """
    before, growing = sidecar_path(store, _BEFORE), sidecar_path(store, _GROWING)
    try:
        growing.mkdir()
        yield growing / store.name
        getattr(os, "sync", lambda: None)()  # all of it is on the disk before it takes the place
        os.rename(store, before)
        try:
            os.rename(growing / store.name, store)
        except OSError:
            os.rename(before, store)
            raise
        fsync(store.parent)
    finally:
        for path in (growing, before):
            shutil.rmtree(path, ignore_errors=True)

"""Shared by the tests of stores, figures and reports: a stored study and two stored sweeps, all tiny."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import sweeping
from sweeping import small

import multiview
from multiview.stores.labelled import to_datatree
from multiview.stores.store import write_store

OVER = {"train.num_steps": [20, 30, 40], "data.weak_view_strength": [0.05, 0.3]}


def store_study(result: Any, folder: Path) -> Path:
    """A study's store with its networks."""
    path = folder / "study.zarr"
    write_store(path, to_datatree(result, networks=True))
    return path


def store_sweep(folder: Path) -> Path:
    """A sweep's store: a grid of 3 × 2 points, two replicates each."""
    path = folder / "grid.zarr"
    multiview.run_sweep(small(), OVER, path)
    return path


def store_swept(folder: Path) -> Path:
    """A finished sweep: 3 numbers of steps × 2 seeds of everything × 2 replicates × 3 networks."""
    path = folder / "sweep.zarr"
    outcome = multiview.run_sweep(small(), sweeping.OVER, path)
    assert (outcome.done, outcome.failed, outcome.total) == (12, 0, 12)
    return path


def copy(store: Path, folder: Path) -> Path:
    """A store to write in."""
    return shutil.copytree(store, folder / "copy.zarr")


def rewritten(path: Path, old: str, new: str) -> None:
    """Change the text of a store's attributes, as a foreign hand might."""
    file = path / "zarr.json"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")

"""What of a process, and of a folder, could change behind a user's back, and what differs between two such states."""

from __future__ import annotations

import copy
import gc
import locale
import logging
import multiprocessing
import os
import random
import signal
import socket
import stat
import sys
import threading
import warnings
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import xarray as xr
import zarr

# Others' threads that stay, once somebody has computed, stored or slept: pools of zarr, asyncio and JAX.
POOLS = ("zarr_io", "asyncio_", "zarr_pool", "ThreadPoolExecutor", "pymain")


def state() -> dict[str, Any]:
    """Everything that a library has no business to change, by name."""
    mask = os.umask(0)
    os.umask(mask)
    names = [logging.getLogger(name) for name, found in logging.root.manager.loggerDict.items() if found]
    loggers = [logging.root, *(logger for logger in names if isinstance(logger, logging.Logger))]
    return {
        "matplotlib's backend": matplotlib.get_backend(auto_select=False),
        "pyplot's figures": _figures(),
        **{f"rcParams[{name!r}]": dict.__getitem__(matplotlib.rcParams, name) for name in matplotlib.rcParams},
        **{f"jax.config.{name}": [value, getattr(jax.config, name, None)] for name, value in jax.config.values.items()},
        "JAX's default precision": str(jnp.ones(2).dtype),
        "zarr's configuration": copy.deepcopy(zarr.config.to_dict()),
        "xarray's options": dict(xr.get_options()),
        **{
            f"logger {logger.name}": [logger.level, list(logger.handlers), list(logger.filters), logger.propagate]
            for logger in loggers
            if logger.level or logger.handlers or logger.filters or not logger.propagate or logger is logging.root
        },
        "logging's threshold": logging.root.manager.disable,
        **{f"handler of signal {number}": signal.getsignal(number) for number in signal.valid_signals()},
        "working folder": os.getcwd(),
        "environment": dict(os.environ),
        "umask": mask,
        "filters of warnings": list(warnings.filters),
        "how warnings are shown": warnings.showwarning,
        "NumPy's errors": [np.geterr(), np.geterrcall()],
        "NumPy's printing": np.get_printoptions(),
        "NumPy's random state": [np.random.get_state()[1].tobytes(), *np.random.get_state()[2:]],  # noqa: NPY002
        "random's state": random.getstate(),
        "locale": locale.setlocale(locale.LC_ALL),
        "hooks": [sys.excepthook, threading.excepthook, sys.unraisablehook, sys.displayhook],
        "streams": [sys.stdin, sys.stdout, sys.stderr],
        "sys.path": list(sys.path),
        "recursion limit": sys.getrecursionlimit(),
        "garbage collection": [gc.isenabled(), gc.get_threshold()],
        "time-out of sockets": socket.getdefaulttimeout(),
        "how processes start": multiprocessing.get_start_method(allow_none=True),
        "XML prefixes": dict(ElementTree._namespace_map),  # type: ignore[attr-defined]
        "threads": sorted(t.name for t in threading.enumerate() if not t.name.startswith(POOLS)),
    }


def _figures() -> list[int]:
    """Figures that pyplot keeps."""
    return sys.modules["matplotlib.pyplot"].get_fignums() if "matplotlib.pyplot" in sys.modules else []


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What differs, a line each."""
    none = object()
    return [
        f"{name}: {before.get(name, 'nothing')!r:.200} became {after.get(name, 'nothing')!r:.200}"
        for name in sorted({*before, *after})
        if before.get(name, none) != after.get(name, none)
    ]


def folder_state(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Everything in a folder: what each entry is, its permissions, its content."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in folder.rglob("*"):
        entry = os.lstat(path)
        kind = stat.S_IFMT(entry.st_mode)
        content = (
            path.read_bytes() if kind == stat.S_IFREG else os.readlink(path) if kind == stat.S_IFLNK else entry.st_rdev
        )
        found[str(path.relative_to(folder))] = (kind, stat.S_IMODE(entry.st_mode), content)
    return found

"""A program that says what of its user's process this library changes (`process_state`).

`python tests/manners.py FOLDER` takes the state of a fresh process, imports every module, and runs the example of every
public name and some more calls; after each it compares. Then it changes things on purpose. It prints one JSON object:
by case, what has changed.
"""

from __future__ import annotations

import contextlib
import doctest
import functools
import importlib
import importlib.util
import json
import logging
import os
import random
import shutil
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax  # noqa: F401
import rich.progress  # noqa: F401
import scipy.stats  # noqa: F401
import xarray as xr
import zarr
from matplotlib.figure import Figure

with contextlib.suppress(ImportError):
    import marimo  # noqa: F401

import conftest
from process_state import changes, state


def warm_up(folder: Path) -> None:
    """Let others' libraries begin their own threads and defaults, as any first use would."""
    jax.jit(lambda x: x + jax.random.normal(jax.random.key(0), (2,), jnp.float32))(jnp.ones(2, jnp.float32))
    dataset = xr.Dataset({"a": ("x", np.ones(2))})
    dataset.to_zarr(folder / "warm.zarr", consolidated=False)
    xr.open_dataset(folder / "warm.zarr", engine="zarr", consolidated=False, chunks=None).load()
    for ending in ("png", "pdf", "svg"):
        Figure().savefig(folder / f"warm.{ending}")


def import_everything() -> None:
    """Import every module of the package; the laboratory needs marimo."""
    import multiview

    root = Path(multiview.__file__).parent
    for path in sorted(root.rglob("*.py")):
        name = ".".join(path.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__")
        if name == "multiview.__main__" or (name == "multiview.web.lab" and not importlib.util.find_spec("marimo")):
            continue
        importlib.import_module(name)


def cases() -> dict[str, Callable[[], Any]]:
    """Calls by name: the example of every public name, and more calls that could leave something behind."""
    from stores import store_study, store_sweep
    from sweeping import small

    import multiview as mv

    mv.run_study = functools.cache(mv.run_study)  # what several examples compute is computed once
    double = mv.replace(mv.load_preset("smoke"), {"train.dtype": "float64", "replicates": 1})

    def stores() -> None:
        store_study(mv.run_study(mv.load_preset("smoke")), Path())
        store_sweep(Path())
        shutil.move("grid.zarr", "sweep.zarr")

    def example(name: str) -> None:
        parsed = doctest.DocTestParser().get_doctest(getattr(mv, name).__doc__ or "", {}, name, None, None)
        assert parsed.examples, name
        result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).run(parsed)
        assert not result.failed, name

    def damaged() -> None:
        from multiview.stores.store import load

        for chunk in Path("sweep.zarr/final_overlap/c").rglob("*"):
            if chunk.is_file():
                chunk.write_bytes(b"damaged")
        try:
            load(mv.open_results("sweep.zarr"), ["final_overlap"])
        except mv.ConfigError:
            return
        raise AssertionError("the damage was not seen")

    def report() -> None:
        from multiview.figures.report import page

        page(mv.open_results("study.zarr"), "study")

    def film() -> None:
        from multiview.figures import animation

        animation.FRAMES = animation.REST = 2
        animation.animate(mv.open_results("study.zarr"), "film.gif")

    return {
        "stores": stores,
        **{name: lambda name=name: example(name) for name in mv.__all__ if name != "__version__"},
        "a study in double precision": lambda: mv.run_study(double),
        "a sweep in double precision": lambda: mv.run_sweep(small(), {"train.dtype": ["float64"]}, "double.zarr"),
        "a report": report,
        "a film": film,
        "a damaged store": damaged,
    }


def offences() -> dict[str, Callable[[], Any]]:
    """What nobody should do, and what the comparison must see, by the name of what it changes."""
    import matplotlib.pyplot as plt

    matplotlib.use("svg")
    return {
        "matplotlib's backend": lambda: matplotlib.use("pdf"),
        "pyplot's figures": plt.figure,
        "rcParams['font.size']": lambda: matplotlib.rcParams.update({"font.size": 3}),
        "jax.config.jax_debug_nans": lambda: jax.config.update("jax_debug_nans", True),
        "JAX's default precision": jax.enable_x64(True).__enter__,
        "zarr's configuration": lambda: zarr.config.set({"array.write_empty_chunks": True}),
        "logger asyncio": lambda: logging.getLogger("asyncio").setLevel(logging.CRITICAL),
        "logger root": lambda: logging.basicConfig(),
        "handler of signal 15": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
        "working folder": lambda: os.chdir("/"),
        "environment": lambda: os.environ.update(SOMETHING="new"),
        "umask": lambda: os.umask(0o777),
        "filters of warnings": lambda: warnings.simplefilter("ignore"),
        "NumPy's errors": lambda: np.seterr(all="ignore"),
        "NumPy's printing": lambda: np.set_printoptions(precision=3),
        "NumPy's random state": lambda: np.random.rand(),  # noqa: NPY002
        "random's state": random.random,
        "XML prefixes": lambda: ElementTree.register_namespace("svg", "http://www.w3.org/2000/svg"),
        "recursion limit": lambda: sys.setrecursionlimit(5000),
        "hooks": lambda: setattr(sys, "excepthook", print),
        "threads": threading.Thread(target=threading.Event().wait, name="left over", daemon=True).start,
    }


def main(folder: Path) -> dict[str, list[str]]:
    """Run all cases in a folder; return what each has changed."""
    os.chdir(folder)
    warm_up(folder)
    found: dict[str, list[str]] = {}
    before = state()

    def compare(name: str) -> None:
        nonlocal before
        now = state()
        found[name], before = changes(before, now), now

    import_everything()
    compare("import")
    presets = importlib.import_module("multiview.presets")
    presets.preset_text = conftest.tiny_preset
    for name, call in cases().items():
        with contextlib.redirect_stdout(sys.stderr):
            call()
        compare(name)
    for name, offend in offences().items():
        before = state()
        offend()
        compare(f"offence: {name}")
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))

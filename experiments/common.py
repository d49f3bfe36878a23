"""What every experiment shares: its command line, the cells and the record that it writes, verdicts, intervals.

An experiment is a module with a docstring whose first line is its question, and

    NAME      its file name,
    CLAIM     what should come out, one sentence,
    SECONDS   what its default size takes on one core when nothing is compiled yet,
    measure   smoke → plain numbers, ready for JSON; its parts are made by `cell`,
    verdicts  those numbers → what `verdict` makes of each claim,
    draw      those numbers → the figure,
    REMARK    where claim and result part, and why; written after the default size was run.

The constants are plain literals, so that `multiview experiments` reads them without running anything.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import math
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from multiview import __version__
from multiview.commands.common import use_compilation_cache
from multiview.config import Study, to_mapping
from multiview.figures.verify import STYLE
from multiview.files import writable_folder, write_file, write_json
from multiview.parameters import ConfigError
from multiview.stores.provenance import device_name, versions
from multiview.stores.store import open_results, write_store

DEFAULT_FOLDER = "multiview-results/experiments"
BOOTSTRAP_SAMPLES = 2000
_cells: Path | None = None  # where `run` keeps finished cells; nowhere, if `measure` is called by itself
_kept_seconds = 0.0  # of processor time that cells of earlier runs took
AIRY = ConstrainedLayoutEngine(w_pad=0.12)  # room between neighbouring panels and their labels

# A small world in the direction of the presets: few samples stand for many, narrow label strengths, strong traces.
SMALL = {
    "seeds": 8,
    "replicates": 2,
    "data.num_classes": 6,
    "data.num_patches": 11,
    "data.feature_sparsity": 3.0,
    "data.single_view_fraction": 0.05,
    "data.label_strength": [1.0, 1.05],
    "data.foreign_strength": [0.39, 0.4],
    "data.weak_view_strength": 0.08,
    "data.single_view_foreign_strength": 0.3,
    "data.single_view_foreign_ratio": [1.0, 1.0],
    "data.noise_norm": 1.0,
    "data.num_train": 72,
    "data.num_single_view_train": 12,
    "data.representation": "limit_single_view_noise",
    "data.num_test_multi_view": 500,
    "data.num_test_single_view": 500,
    "network.neurons_per_class": 12,
    "network.relu_power": 3.0,
    "network.relu_threshold": 1.0,
    "network.init_std": 0.002,
    "train.learning_rate": 16.0,
    "train.num_steps": 400,
    "train.num_records": 2,
    "train.block_size": 8,
}


def say(text: str) -> None:
    """Progress, on the error stream."""
    print(text, file=sys.stderr, flush=True)


def cell(label: str, settings: Any, compute: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """One part of an experiment, kept in a store of its own: a run that was stopped goes on where it was.

    Args:
        label: its name, for progress and for the store's.
        settings: all that it depends on: a `Study`, or plain values; with others it is another cell.
        compute: gives arrays, best as `xr.DataArray` with named dimensions, and plain values ready for JSON.

    Returns:
        What was computed now or before; arrays as `xr.DataArray`. Also `seconds` of processor time that it took.
    """
    global _kept_seconds
    config = json.dumps(to_mapping(settings) if isinstance(settings, Study) else settings, sort_keys=True)
    digest = hashlib.sha256(f"{__version__} {label} {config}".encode()).hexdigest()[:10]
    path = None if _cells is None else _cells / f"{re.sub('[^A-Za-z0-9.=-]+', '-', label).strip('-')}-{digest}.zarr"
    if path is not None and path.exists():
        data = open_results(path).to_dataset()
        _kept_seconds += json.loads(data.attrs["values"])["seconds"]
        say(f"{label}: kept from before")
    else:
        begin = time.process_time()
        computed = dict(compute())
        seconds = round(time.process_time() - begin, 2)
        arrays = {n: v for n, v in computed.items() if isinstance(v, np.ndarray | xr.DataArray)}
        plain = json.dumps({n: v for n, v in computed.items() if n not in arrays} | {"seconds": seconds})
        named = {n: v if isinstance(v, xr.DataArray) else ([f"{n}_{d}" for d in range(v.ndim)], v)
                 for n, v in arrays.items()}  # fmt: skip
        described = config if config.startswith("{") else f'{{"settings": {config}}}'  # of a store it is an object
        data = xr.Dataset(named, attrs={"config": described, "label": label, "values": plain})
        if path is not None:
            write_store(path, xr.DataTree(data))
        say(f"{label}: {seconds:.1f} s")
    return {str(n): xr.DataArray(v.load()) for n, v in data.variables.items()} | json.loads(data.attrs["values"])


def verdict(
    claim: str,
    predicted: float | Sequence[float] | None,
    measured: float,
    interval: Sequence[float],
    *,
    paper: bool = False,
    bearable: float = math.inf,
) -> dict[str, Any]:
    """A claim with its numbers: it holds if the measured interval meets the predicted number or interval.

    Args:
        claim: what was predicted, in words.
        predicted: a number or both ends of an interval.
        measured: the value.
        interval: its 95 % interval.
        paper: whether the paper says so; else it is a closed form or a claim of this project.
        bearable: the widest interval that still decides; a wider one that meets the prediction is `undecided`.

    Returns:
        Plain values for the document.
    """
    low, high = (float(v) for v in interval)
    ends = np.ravel(predicted).astype(float)
    if math.isnan(measured + low + high):
        word = "undecided"
    elif high < ends.min() or low > ends.max():
        word = "fails"
    else:
        word = "undecided" if high - low > bearable else "holds"
    return {
        "claim": claim,
        "source": "paper" if paper else "project",
        "predicted": rounded(predicted),
        "measured": rounded(measured),
        "interval": rounded([low, high]),
        "verdict": word,
    }


def run(
    name: str,
    smoke: bool,
    out: str | Path,
    measure: Callable[[bool], dict[str, Any]],
    draw: Callable[..., Figure],
    *,
    claim: str = "",
    verdicts: Callable[[dict[str, Any]], list[dict[str, Any]]] | None = None,
    fresh: bool = False,
) -> dict[str, Any]:
    """Measure, judge, draw, and write NAME.json and NAME.png; finished cells are kept in the folder NAME.

    Args:
        name: of the experiment.
        smoke: the tiny size of the tests.
        out: folder to write to; it is made if it is missing.
        measure: the experiment itself; gives plain numbers, ready for JSON.
        draw: makes the figure from those numbers alone.
        claim: what should come out, in one sentence.
        verdicts: judges the numbers.
        fresh: forget cells of earlier runs.

    Returns:
        The document that was written.

    Raises:
        ConfigError: the folder cannot be written.
    """
    global _cells, _kept_seconds
    folder = writable_folder(out)
    if fresh:
        shutil.rmtree(folder / name, ignore_errors=True)
    begin, begin_processor = time.perf_counter(), time.process_time()
    _cells, _kept_seconds = folder / name, 0.0
    try:
        result = measure(smoke)
    finally:
        _cells = None
    document = {
        "experiment": name,
        "claim": claim,
        "size": "smoke" if smoke else "default",
        "date": datetime.date.today().isoformat(),
        "seconds": round(time.perf_counter() - begin, 1),
        "processor_seconds": round(time.process_time() - begin_processor + _kept_seconds, 1),
        "device": device_name(),
        "versions": versions(),
        "verdicts": [],
        **result,
    }
    document["verdicts"] = verdicts(document) if verdicts else []
    write_document(folder / f"{name}.json", document)
    with plt.style.context(STYLE):
        figure = draw(document)
        write_file(folder / f"{name}.png", lambda path: figure.savefig(path, dpi=100, format="png"))
        plt.close(figure)
    for v in document["verdicts"]:
        say(f"{v['verdict']}: {v['claim']}; predicted {v['predicted']}, measured {v['measured']} {v['interval']}")
    say(f"{folder / name}.json and .png written after {document['seconds']} s")
    return document


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document of an experiment, whole or not at all."""
    write_json(path, document)


def command(module: Any, arguments: list[str] | None = None) -> None:
    """The command line of one experiment module."""
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments.{module.NAME}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--smoke", action="store_true", help="the tiny size of the tests, some seconds")
    parser.add_argument("--out", default=DEFAULT_FOLDER, help="folder for the JSON and the figure (%(default)s)")
    parser.add_argument("--fresh", action="store_true", help="compute everything again; nothing is kept from before")
    parsed = parser.parse_args(arguments)
    use_compilation_cache()
    try:
        run_module(module, parsed.smoke, parsed.out, parsed.fresh)
    except ConfigError as error:
        say(f"{parser.prog}: error: {error}")
        sys.exit(2)
    except KeyboardInterrupt:
        say("stopped; the same command goes on after the last finished cell")
        sys.exit(130)


def run_module(module: Any, smoke: bool, out: str | Path, fresh: bool = False) -> dict[str, Any]:
    """`run` with what a module declares."""
    return run(
        module.NAME, smoke, out, module.measure, module.draw,
        claim=getattr(module, "CLAIM", ""), verdicts=getattr(module, "verdicts", None), fresh=fresh,
    )  # fmt: skip


def percentiles(values: Any) -> list[float]:
    """95 % interval from bootstrap values."""
    return rounded(np.quantile(values, [0.025, 0.975]))


def from_intervals(
    values: Sequence[float], intervals: Sequence[Sequence[float]], statistic: Callable[[np.ndarray], float]
) -> tuple[float, list[float]]:
    """A statistic of measured values, and its 95 % interval when each is drawn again from its own.

    For fits to numbers that are kept with their intervals alone: points are drawn as normal and independent.

    Args:
        values: the values.
        intervals: their 95 % intervals.
        statistic: of such values.

    Returns:
        The statistic, and the ends of its interval.
    """
    low, high = np.array(intervals, float).T
    draws = np.random.default_rng(0).normal(values, (high - low) / (2 * 1.96), (BOOTSTRAP_SAMPLES, len(values)))
    return float(statistic(np.array(values, float))), percentiles([statistic(draw) for draw in draws])


def against(ax: Axes, x: np.ndarray, rows: list[dict[str, Any]], name: str, **style: Any) -> None:
    """One measure of all rows, `name` with its `name_interval`, against x on a log axis with just these x as ticks."""
    value = np.array([r[name] for r in rows])
    low, high = np.array([r[f"{name}_interval"] for r in rows]).T
    ax.errorbar(x, value, np.clip([value - low, high - value], 0, None), marker="o", capsize=4, color="C0", **style)
    ax.set_xscale("log")
    ax.set_xticks(x, [f"{t:g}" for t in x])
    ax.minorticks_off()


def rounded(values: Any, digits: int = 5) -> Any:
    """Numbers as plain rounded floats, nested as they were: enough digits for a figure, few enough to read."""
    array = np.asarray(values, float)
    return np.vectorize(lambda x: float(f"{x:.{digits}g}"), otypes=[float])(array).tolist()

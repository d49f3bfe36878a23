"""What every experiment shares: its command line, the record that it writes, and intervals."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from multiview.config import ConfigError
from multiview.plotting.verify import STYLE
from multiview.results import device_name, versions
from multiview.store import writable_folder, write_file

DEFAULT_FOLDER = "multiview-results/experiments"
BOOTSTRAP_SAMPLES = 2000
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


def run(
    name: str, smoke: bool, out: str | Path, measure: Callable[[bool], dict[str, Any]], draw: Callable[..., Figure]
) -> dict[str, Any]:
    """Measure, draw, and write NAME.json and NAME.png.

    Args:
        name: of the experiment.
        smoke: the tiny size of the tests.
        out: folder to write to; it is made if it is missing.
        measure: the experiment itself; gives plain numbers, ready for JSON.
        draw: makes the figure from those numbers alone.

    Returns:
        The document that was written.

    Raises:
        ConfigError: the folder cannot be written.
    """
    folder = writable_folder(out)
    begin = time.perf_counter()
    result = measure(smoke)
    document = {
        "experiment": name,
        "size": "smoke" if smoke else "default",
        "date": datetime.date.today().isoformat(),
        "seconds": round(time.perf_counter() - begin, 1),
        "device": device_name(),
        "versions": versions(),
        **result,
    }
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    write_file(folder / f"{name}.json", lambda path: path.write_text(text, encoding="utf-8"))
    with plt.style.context(STYLE):
        figure = draw(document)
        write_file(folder / f"{name}.png", lambda path: figure.savefig(path, dpi=100, format="png"))
        plt.close(figure)
    say(f"{folder / name}.json and .png written after {document['seconds']} s")
    return document


def command(module: Any, arguments: list[str] | None = None) -> None:
    """The command line of one experiment module, which has a docstring, `NAME`, `measure` and `draw`."""
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments.{module.NAME}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--smoke", action="store_true", help="the tiny size of the tests, some seconds")
    parser.add_argument("--out", default=DEFAULT_FOLDER, help="folder for the JSON and the figure (%(default)s)")
    parsed = parser.parse_args(arguments)
    try:
        run(module.NAME, parsed.smoke, parsed.out, module.measure, module.draw)
    except ConfigError as error:
        sys.exit(f"{parser.prog}: error: {error}")


def percentiles(values: Any) -> list[float]:
    """95 % interval from bootstrap values."""
    return rounded(np.quantile(values, [0.025, 0.975]))


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

"""Time of a seed's step against one size at a time: seeds, N, P, k, m, d, devices and processes.

Each point is measured as in `benchmarks.timing`. A sweep that runs out of its time limit leaves out its largest
points and says so; a point whose state would not fit into half of the free memory is left out too.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from benchmarks import machine, rows, timing
from multiview.figures.verify import STYLE
from multiview.files import write_file
from multiview.training import devices

# field of `Problem` (or seeds, devices), label, sizes
SWEEPS: dict[str, tuple[str, tuple[int, ...]]] = {
    "seeds": ("seeds", (1, 2, 4, 16, 64, 256, 1024)),
    "num_train": ("samples N", (50, 100, 200, 400, 800, 1600)),
    "num_patches": ("patches P", (3, 6, 11, 22, 44)),
    "num_classes": ("classes k", (3, 5, 10, 20, 40)),
    "neurons_per_class": ("neurons per class m", (4, 8, 16, 32, 64)),
    "patch_dim": ("patch dimension d", (128, 256, 512, 1024, 2048, 4096)),
}
# Sizes beyond which a row has nothing to show.
LARGEST = {("seeds", "multiview_dense"): 16, ("patch_dim", "multiview_limit"): 0}
SHARED_OUT = {"devices": (1, 2, 4), "processes": (1, 2)}
CHILD_STEPS = 40
SEEDS, DENSE_SEEDS, DENSE_DIM = 16, 4, 512
SWEEP_SECONDS = 55.0
SHARES = {"seeds": 3}  # of that time; the other sweeps have one share


def free_memory() -> float:
    """Bytes of free memory of the host, infinite where the system does not tell."""
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError, AttributeError):
        return float("inf")


def point(problem: rows.Problem, representation: str, seeds: int, seconds: float, repeats: int) -> dict[str, Any]:
    """Median and quartiles of the milliseconds of a seed's step."""
    row = rows.multiview_row(rows.make_world(problem), seeds, representation)
    if seeds >= 256:
        # The program of a block is compiled already, by the smaller numbers of seeds. Making so many starts takes
        # seconds, and so does its noise: enough steps that they outweigh it, but fewer samples.
        samples = [timing.ms_per_step(row, timing.Lengths(1, 21)) for _ in range(3 if seeds < 1024 else 1)]
    else:
        lengths = timing.lengths_for(row, seconds)
        samples = [timing.ms_per_step(row, lengths) for _ in range(repeats)]
    low, middle, high = (float(f"{s / seeds:.4g}") for s in timing.quartiles(samples))
    return {"ms_per_seed_step": middle, "quartiles": [low, high]}


def sweep(name: str, seconds: float, repeats: int, sizes: Sequence[int], limit: float) -> list[dict[str, Any]]:
    """One size varied, for the limit row and the dense row (the patch dimension: dense alone)."""
    points: list[dict[str, Any]] = []
    begin = time.perf_counter()
    for size in sizes:
        for row, dim, seeds in (("multiview_limit", 32, SEEDS), ("multiview_dense", DENSE_DIM, DENSE_SEEDS)):
            if size > LARGEST.get((name, row), size):
                continue
            problem = rows.Problem(patch_dim=max(dim, rows.NUM_VIEWS * size if name == "num_classes" else 0))
            if name == "seeds":
                seeds = size
            else:
                problem = rows.replace(problem, **{name: size})
            if time.perf_counter() - begin > limit:
                say(f"{name} = {size}, {row}: left out, the sweep has taken its {limit:g} s")
                continue
            if row == "multiview_limit" and 3 * 4 * problem.overlaps * seeds > free_memory() / 2:
                say(f"{name} = {size}, {row}: left out, too large for half of the free memory")
                continue
            found = point(problem, row.removeprefix("multiview_"), seeds, seconds, repeats)
            points.append({"name": row, "size": size, **found})
            say(f"{name} = {size}, {row}: {found['ms_per_seed_step']} ms")
    return points


def child(seeds: int, rank: int = 0, processes: int = 1, address: str = "") -> None:
    """Runs in a process of its own: prints the devices dealt to and the milliseconds of a seed's step.

    All processes of a job have to train as often and as long as each other, so lengths are not found by time.
    """
    if processes > 1:
        processes.start_distributed(address, rank, processes, 60)
    row = rows.multiview_row(rows.make_world(rows.Problem(patch_dim=32)), seeds, "limit")
    row(1)
    samples = [timing.ms_per_step(row, timing.Lengths(1, 1 + CHILD_STEPS)) / seeds for _ in range(5)]
    low, middle, high = (float(f"{s:.4g}") for s in timing.quartiles(samples))
    used = len(devices.training_devices())
    print(json.dumps({"used": used, "ms_per_seed_step": middle, "quartiles": [low, high]}))


def started(device_count: int, arguments: str) -> subprocess.Popen[str]:
    """Start `child` with so many forced CPU devices."""
    environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={device_count}"}
    environment |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-c", f"from benchmarks.scaling import child; child({arguments})"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def shared_out(kind: str, counts: Sequence[int], seeds: int = SEEDS) -> list[dict[str, Any]]:
    """The limit row by several forced devices of one process, or by several processes on this machine.

    They share the same cores, which one alone uses all of. So the time should stay, and the efficiency is the time of
    one divided by that of several: what dealing out, gathering and crowding cost.

    Args:
        kind: "devices" or "processes".
        counts: how many.
        seeds: networks trained.
    """
    points: list[dict[str, Any]] = []
    for count in counts:
        if kind == "devices":
            jobs = [started(count, f"{seeds}")]
        else:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                address = f"127.0.0.1:{free.getsockname()[1]}"
            jobs = [started(1, f"{seeds}, {rank}, {count}, {address!r}") for rank in range(count)]
        try:
            printed = [job.communicate(timeout=120)[0] for job in jobs]
            found = json.loads(printed[0].splitlines()[-1])
        except (subprocess.TimeoutExpired, ValueError, IndexError) as error:
            say(f"{count} {kind}: left out, {error.__class__.__name__}")
            continue
        finally:
            for job in jobs:
                job.kill()
        if found.pop("used") != (count if kind == "devices" else 1):
            say(f"{count} {kind}: left out, training does not use them")
            continue
        one = points[0]["ms_per_seed_step"] if points else found["ms_per_seed_step"]
        found["efficiency"] = round(one / found["ms_per_seed_step"], 3)
        points.append({"name": "multiview_limit", "size": count, **found})
        say(f"{count} {kind}: {found['ms_per_seed_step']} ms, efficiency {found['efficiency']}")
    return points if len(points) > 1 else []


def say(text: str) -> None:
    """Progress, on the error stream."""
    print(text, file=sys.stderr, flush=True)


def measure(quick: bool = False) -> dict[str, Any]:
    """All sweeps, within about eight minutes; `quick` takes fewer repeats and half of the time."""
    seconds, repeats, limit = (0.15, 3, SWEEP_SECONDS / 2) if quick else (0.3, 5, SWEEP_SECONDS)
    sweeps = {
        name: sweep(name, seconds, repeats, sizes, limit * SHARES.get(name, 1)) for name, (_, sizes) in SWEEPS.items()
    }
    if jax.default_backend() == "cpu":
        sweeps |= {kind: shared_out(kind, counts) for kind, counts in SHARED_OUT.items()}
    settings = {"seeds": SEEDS, "dense_seeds": DENSE_SEEDS, "dense_patch_dim": DENSE_DIM}
    return {"machine": machine.describe(), "settings": settings, "sweeps": sweeps}


def draw(document: dict[str, Any]) -> plt.Figure:
    """A panel for each sweep, both axes logarithmic, with a dotted line of proportional growth."""
    sweeps = {name: points for name, points in document["sweeps"].items() if points}
    figure, axes = plt.subplots(2, -(-len(sweeps) // 2), figsize=(13, 6.5), layout="constrained", squeeze=False)
    for ax, (name, points) in zip(axes.flat, sweeps.items(), strict=False):
        for color, row in (("C0", "multiview_limit"), ("C1", "multiview_dense")):
            mine = [p for p in points if p["name"] == row]
            if not mine:
                continue
            x, y = [p["size"] for p in mine], [p["ms_per_seed_step"] for p in mine]
            low, high = ([p["quartiles"][i] for p in mine] for i in (0, 1))
            error = [np.subtract(y, low).clip(0), np.subtract(high, y).clip(0)]
            ax.errorbar(x, y, error, color=color, marker="o", markersize=4, capsize=3, label=row.replace("_", ", "))
            for p in mine if name in SHARED_OUT else ():
                ax.annotate(f"{p['efficiency']:.0%}", (p["size"], p["quartiles"][1]), xytext=(0, 4),
                            textcoords="offset points", ha="center", fontsize=9)  # fmt: skip
            if name not in ("seeds", *SHARED_OUT):
                ax.plot(x, [y[-1] * size / x[-1] for size in x], ":", color=color, linewidth=1)
        ax.set(xscale="log", yscale="log", xlabel=SWEEPS[name][0] if name in SWEEPS else name)
        ax.set_ylabel("ms per seed and step")
        if name in SHARED_OUT:
            ax.set(xlabel=name, title="on the same cores (efficiency)", yscale="linear", xmargin=0.2)
            ax.set_ylim(0, 1.4 * max(p["quartiles"][1] for p in points))
        sizes = sorted({p["size"] for p in points})
        ax.set_xticks(sizes, [str(size) for size in sizes])
        ax.minorticks_off()
    for ax in list(axes.flat)[len(sweeps) :]:
        ax.set_axis_off()
    axes.flat[0].legend()
    found = document["machine"]
    figure.suptitle(f"{found['processor']}, {found['cores']} cores, {found['date']}; dotted: in proportion")
    return figure


def write_figure(document: dict[str, Any], path: Path) -> None:
    """Draw and write the figure."""
    with plt.style.context(STYLE):
        figure = draw(document)
        write_file(path, lambda p: figure.savefig(p, dpi=80, format="png"))
        plt.close(figure)

"""The published figures: measure everything, write docs/figures, make the table of docs/performance.md from JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from benchmarks import classes, machine, many_seeds, report, rows, scaling, startup
from multiview import load_preset, replace, run_study
from multiview.files import write_file
from multiview.systems.block_plan import block_size

NAME, TABLE = "benchmark.json", "benchmark.md"
PARTS = ("rows", "startup", "many_seeds", "scaling")


def table(document: dict[str, Any]) -> str:
    """What docs/performance.md includes: machine, rows and start-up as Markdown, from the JSON alone."""
    found = document["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    lines = [
        f"Measured on {found['date']}: {found['processor']}, {found['cores']} cores, {found['device']}; {versions}.",
        f"Matrix products in single precision: {best(found['matrix_product_gflops'])} GFLOP/s; "
        f"triad: {best(found['memory_gbytes_per_s'])} GB/s.",
        "",
        "| " + " | ".join(report.HEADINGS) + " |",
        "|---" + "|---:" * (len(report.HEADINGS) - 1) + "|",
    ]
    for row in document["results"]:
        name, *rest = report.cells(row)
        lines.append("| " + " | ".join([f"`{name}`", *rest]) + " |")
    if "startup" in document:
        s = document["startup"]
        lines += [
            "",
            f"Start: `multiview --help` takes {s['help_seconds']} s (target {startup.HELP_TARGET} s). "
            f"`multiview verify --preset smoke` prints its first line after {s['first_line_seconds']} s and says what "
            f"it does and what is left after {s['first_progress_line_seconds']} s (target {startup.PROGRESS_TARGET} s"
            + (
                ", the slowest of smoke and reference, terminal and pipe)."
                if "first_progress_line_by_case" in s
                else ")."
            ),
        ]
    for many in document.get("many_seeds", ()):
        lines += [
            "",
            f"{many['seeds']:,} seeds × {many['steps']} steps in the limit, starts and compilation included: "
            f"{many['seconds']:g} s, {many['ms_per_seed_step']:g} ms per seed and step, peak memory of the process "
            f"{many['peak_megabytes']} MB (before training {many['peak_megabytes_before']} MB).",
        ]
    for study in document.get("studies", ()):
        lines += ["", f"{study['name']}: {study['seconds']} s, {study['ms_per_seed_step']} ms per seed and step."]
    return "\n".join(lines) + "\n"


def best(by_library: dict[str, float]) -> str:
    """The best library's number, with its name."""
    name = max(by_library, key=lambda n: by_library[n])
    return f"{by_library[name]:g} ({name})"


def publish(quick: bool, parts: Sequence[str] = (), folder: Path = report.FIGURES) -> dict[str, Any]:
    """Measure and write JSON, figure and table into the folder, after each part, so that a stop loses one part only.

    Args:
        quick: fewer repeats.
        parts: of `PARTS`, all if empty; the stored numbers of other parts are kept.
        folder: where to.

    Returns:
        The document that was written.
    """
    path = folder / NAME
    document = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for part in parts or PARTS:
        if part == "rows":
            measured = report.rows_document(quick, [1024, 4096])
            report.show(measured)
            document |= measured
        else:
            measures = {
                "startup": lambda: startup.measure(3 if quick else 5),
                "many_seeds": lambda: many_seeds.measure(quick),
                "scaling": lambda: scaling.measure(quick),
            }
            document[part] = measures[part]()
        report.write_json(path, document)
    write_pages(folder)
    return document


def write_pages(folder: Path = report.FIGURES) -> None:
    """Figure and table again, from the stored JSON."""
    document = json.loads((folder / NAME).read_text(encoding="utf-8"))
    write_file(folder / TABLE, lambda path: path.write_text(table(document), encoding="utf-8"))
    scaling.write_figure(document["scaling"], folder / "scaling.png")


def timed_study(name: str, changes: dict[str, Any], preset: str) -> dict[str, Any]:
    """One whole study without students, training and testing, from a warm compilation (a short one runs first)."""
    study = replace(load_preset(preset), {"replicates": 1, **changes})
    short = {"seeds": min(study.seeds, block_size(study.train)), "train.num_steps": 2}
    run_study(replace(study, short), distillation=False)
    begin = time.perf_counter()
    run_study(study, distillation=False)
    seconds = time.perf_counter() - begin
    per_step = 1e3 * seconds / study.seeds / study.train.num_steps
    report.say(f"{name}: {seconds:.1f} s")
    return {
        "name": name,
        "seconds": round(seconds, 1),
        "seeds": study.seeds,
        "steps": study.train.num_steps,
        "ms_per_seed_step": float(f"{per_step:.4g}"),
    }


def cost_of_classes(size: tuple[int, int, int, float, int], networks: int, steps: int) -> dict[str, Any]:
    """Wall time of a step of all pairs at one of the sizes of `classes`, networks in one block; compilation apart."""
    study = replace(classes.study_of(*size), {"train.solver": "gradient_descent", "seeds": networks})
    block = classes.timed(study, steps, networks)
    begin = time.perf_counter()
    state = block.begun()
    compiled = time.perf_counter()
    block.trained(state)
    milliseconds = 1e3 * (time.perf_counter() - compiled) / steps / networks
    k = study.data.num_classes
    report.say(f"k = {k}: {milliseconds:.3g} ms a network and step; start and compilation {compiled - begin:.1f} s")
    return {
        "k": k, "m": study.network.neurons_per_class, "samples": study.data.num_train, "networks": networks,
        "steps": steps, "ms_per_network_step": float(f"{milliseconds:.4g}"),
        "start_and_compilation_seconds": round(compiled - begin, 1),
    }  # fmt: skip


def device_report(quick: bool, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """What a device does with very many networks: cost against k, whole studies, and rows at its size.

    Args:
        quick: a small size, to try the code on any machine.
        keep: called with the document after each part, so that a stop loses one part only.

    Returns:
        The document, ready for JSON.
    """
    many = 500 if jax.default_backend() != "cpu" else 2
    fresh = {"data.num_test_multi_view": 2000, "data.num_test_single_view": 1000}
    # Size, networks in the block, steps.
    sizes = [(classes.SIZES[0], 64, 200), (classes.SIZES[2], 32, 50), ((300, 16, 150, 1e-4, 9000), 4, 10)]
    studies: dict[str, tuple[dict[str, Any], str]] = {
        "`reference`, 10,000 seeds": ({"seeds": 10_000, "train.block_size": many, **fresh}, "reference"),
        "`dense`, d = 2048, 64 seeds": ({"seeds": 64, "data.patch_dim": 2048, "train.block_size": 64}, "dense"),
    }
    if quick:
        sizes = [(classes.QUICK[0], 2, 5)]
        few = {"train.num_steps": 20, **fresh}
        studies = {
            "`reference`, 4 seeds": ({"seeds": 4, **few}, "reference"),
            "`dense`, d = 256, 2 seeds": ({"seeds": 2, "data.patch_dim": 256, **few}, "dense"),
        }
    document: dict[str, Any] = {"machine": machine.describe(), "classes": [], "studies": []}
    for size in sizes:
        document["classes"].append(cost_of_classes(*size))
        keep(document)
    for name, (changes, preset) in studies.items():
        document["studies"].append(timed_study(name, changes, preset))
        keep(document)
    document["matrix_precisions"] = machine.precision_rates(256 if quick else 8192)
    keep(document)
    if quick:
        rows_of = report.measure(rows.Problem(num_train=50, num_classes=4), [128], (4, 8), 3, 0.05)
    else:
        rows_of = report.measure(rows.Problem(block_size=64), [2048, 4096], (64, 1024), 5, 0.5)
    return document | rows_of

"""Timing the rows in turns, and what is made of the numbers: a table on the terminal, lines of JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.table import Table

from benchmarks import machine, rows, timing
from multiview.files import strict, write_file

FIGURES = Path(__file__).parent.parent / "docs" / "figures"


def say(text: str) -> None:
    """Progress, on the error stream."""
    print(text, file=sys.stderr, flush=True)


def measure(
    problem: rows.Problem, dimensions: list[int], seeds: tuple[int, int], repeats: int, seconds: float
) -> dict[str, Any]:
    """Check that all rows agree, then time them in turns.

    Args:
        problem: the size, but for d.
        dimensions: d of the dense rows.
        seeds: of the dense rows, and of the limit row.
        repeats: turns.
        seconds: wall time that one sample should take, about.

    Returns:
        The document, ready for JSON.

    Raises:
        Disagreement: two rows did different work.
    """
    peaks = [machine.rates()]
    timed: dict[tuple[str, int | None], tuple[rows.Row, timing.Lengths, list[float]]] = {}
    agreement = {}
    for d in dimensions:
        world = rows.make_world(rows.replace(problem, patch_dim=d))
        agreement[str(d)] = rows.check(world)
        say(f"d = {d}: all rows did the same work, {agreement[str(d)]}")
        found: dict[tuple[str, int | None], rows.Row] = {(n, d): r for n, r in rows.dense_rows(world, seeds[0]).items()}
        if d == dimensions[0]:
            found["multiview_limit", None] = rows.multiview_row(world, seeds[1], "limit")
        for key, row in found.items():
            timed[key] = (row, timing.lengths_for(row, seconds), [])
            say(f"{key[0]} ready, {timed[key][1].long} steps a sample")
    for turn in range(repeats):
        for (name, _), (row, lengths, samples) in timed.items():
            samples.append(timing.ms_per_step(row, lengths) / seeds[name == "multiview_limit"])
        peaks.append(machine.rates())
        say(f"turn {turn + 1} of {repeats}")
    best = machine.best_of(peaks)
    results = [
        result(rows.replace(problem, patch_dim=d or 1), name, d, seeds[name == "multiview_limit"], samples, best)
        for (name, d), (_, _, samples) in timed.items()
    ]
    compare(results)
    size = {"k": problem.num_classes, "m": problem.neurons_per_class, "N": problem.num_train, "P": problem.num_patches}
    size |= {"q": rows.POWER, "overlaps": problem.overlaps, "block_size": problem.block_size}
    return {"machine": machine.describe() | best, "size": size, "agreement": agreement, "results": results}


def result(
    problem: rows.Problem, name: str, d: int | None, seeds: int, samples: list[float], best: dict[str, dict[str, float]]
) -> dict[str, Any]:
    """One line of the results."""
    low, middle, high = timing.quartiles(samples)
    operations = problem.limit_operations if d is None else problem.dense_operations
    gflops = operations / middle / 1e6
    line = {
        "name": name,
        "d": d,
        "seeds": seeds,
        "ms_per_seed_step": middle,
        "quartiles": [low, high],
        "gflops": gflops,
        "share_of_peak": gflops / max(best["matrix_product_gflops"].values()),
    }
    if d is not None:
        line["share_of_peak_needed"] = line["share_of_peak"] * 4 / 6  # see `Problem.dense_operations`
    else:
        bandwidth = problem.limit_bytes / middle / 1e6
        line |= {
            "gbytes_per_s": bandwidth,
            "share_of_bandwidth": bandwidth / max(best["memory_gbytes_per_s"].values()),
        }
    return {key: rounded(value) for key, value in line.items()}


def rounded(value: Any) -> Any:
    """Four digits are more than these timings bear."""
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def compare(results: list[dict[str, Any]]) -> None:
    """Add to each row how many times faster it is than the fastest dense row of any library, by d."""
    fastest: dict[int, float] = {}
    for row in results:
        if row["d"] is not None:
            fastest[row["d"]] = min(fastest.get(row["d"], float("inf")), row["ms_per_seed_step"])
    for row in results:
        row["times_faster_than_fastest_dense"] = {
            str(d): rounded(ms / row["ms_per_seed_step"]) for d, ms in fastest.items() if row["d"] in (d, None)
        }


def cells(row: dict[str, Any]) -> list[str]:
    """One line of the table, for the terminal and for the documentation."""
    low, high = row["quartiles"]
    faster = row["times_faster_than_fastest_dense"]
    shown = [f"{v:.3g}" if row["d"] else f"{v:.3g} (d {d})" for d, v in faster.items()]
    return [
        row["name"],
        "–" if row["d"] is None else str(row["d"]),
        str(row["seeds"]),
        f"{row['ms_per_seed_step']:.3g}",
        f"{low:.3g} … {high:.3g}",
        ", ".join(shown),
        f"{row['gflops']:.3g}",
        f"{row['share_of_peak']:.2f}",
        f"{row['share_of_peak_needed']:.2f}" if "share_of_peak_needed" in row else "–",
        f"{row['share_of_bandwidth']:.2f}" if "share_of_bandwidth" in row else "–",
    ]


HEADINGS = ["row", "d", "seeds", "ms", "quartiles", "times faster", "GFLOP/s", "of peak", "needed", "of bandwidth"]


def show(document: dict[str, Any]) -> None:
    """The table on the terminal."""
    table = Table(
        title="Milliseconds for a step of one network; times faster than the fastest dense row of any library",
        caption="GFLOP/s by 6·N·P·d·k·m (dense), 25·k·m·N·P (limit); of peak: share of the measured matrix-product "
        "rate; needed: the same by the 4·N·P·d·k·m that have to be computed; of bandwidth: 12·k·m·N·P bytes",
    )
    for index, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if index else "left")
    for row in document["results"]:
        table.add_row(*cells(row))
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    found = document["machine"]
    for kind, unit in (("matrix_product_gflops", "GFLOP/s"), ("memory_gbytes_per_s", "GB/s")):
        console.print(f"{kind}: " + ", ".join(f"{n} {v:g} {unit}" for n, v in found[kind].items()), markup=False)


def write_json(path: str | Path, document: dict[str, Any]) -> None:
    """Write compact JSON, one result a line, whole or not at all."""
    text = json.dumps(strict(document), ensure_ascii=False, allow_nan=False).replace('{"name"', '\n{"name"') + "\n"
    write_file(path, lambda p: p.write_text(text, encoding="utf-8"))


def rows_document(quick: bool, dimensions: list[int] | None = None) -> dict[str, Any]:
    """The rows at the reference size; `quick`: fewer and shorter turns, and d = 1024 alone if nothing else is said."""
    dimensions = dimensions or ([1024] if quick else [1024, 4096])
    if jax.default_backend() != "cpu":
        return measure(rows.Problem(block_size=64), dimensions, (64, 1024), 5, 0.5)
    return measure(rows.Problem(), dimensions, (8, 32 if quick else 64), 5 if quick else 9, 0.6 if quick else 1.0)

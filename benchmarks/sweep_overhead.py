"""What storing, progress and grouping cost: a sweep against the plain loop over the same studies.

64 points × 16 seeds. The points differ in their number of steps alone, so both sides use the same compiled programs,
which are compiled before the clock starts, and train on the same samples, which both make once. The plain loop trains
and tests each study and throws the result away. Both run twice, in the order plain, sweep, sweep, plain, so that a
drift of the machine cancels (`--once`: once each).

Run it with: python -m benchmarks.sweep_overhead [--steps 150] [--once]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import multiview
from multiview.commands.common import use_compilation_cache
from multiview.studies.outcome import collect
from multiview.studies.replicate import run_replicate
from multiview.studies.study import training_tasks
from multiview.sweeps.plan import ROW_MULTIPLE
from multiview.world.world import World

POINTS, SEEDS = 64, 16


def measure(steps: int, once: bool = False) -> dict[str, Any]:
    """Seconds of both sides, and the overhead as a share of the plain loop."""
    study = multiview.replace(
        multiview.load_preset("smoke"),
        {"seeds": SEEDS, "replicates": 1, "data.num_test_multi_view": 200, "data.num_test_single_view": 200},
    )
    values = list(range(steps, steps + POINTS))

    def plain() -> float:
        begin = time.perf_counter()
        (task,) = training_tasks(study, row_multiple=ROW_MULTIPLE)
        for value in values:
            longer = multiview.replace(study, {"train.num_steps": value})
            collect(longer, [run_replicate(longer, World.of(longer), 0, task, distillation=False)], None, 0.0)
        return time.perf_counter() - begin

    def swept() -> float:
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            outcome = multiview.run_sweep(study, {"train.num_steps": values}, Path(folder) / "sweep.zarr")
            seconds = time.perf_counter() - begin
        assert outcome.done == POINTS
        return seconds

    warm = multiview.replace(study, {"train.num_steps": 2})
    run_replicate(warm, World.of(warm), 0, *training_tasks(warm, row_multiple=ROW_MULTIPLE), distillation=False)
    with tempfile.TemporaryDirectory() as folder:
        multiview.run_sweep(warm, [], Path(folder) / "sweep.zarr")
    loops, sweeps = [plain()], [swept()]
    if not once:
        sweeps.append(swept())
        loops.append(plain())
    return {
        "points": POINTS,
        "seeds": SEEDS,
        "steps": steps,
        "plain_seconds": [round(s, 2) for s in loops],
        "sweep_seconds": [round(s, 2) for s in sweeps],
        "overhead": round(sum(sweeps) / sum(loops) - 1, 4),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--once", action="store_true")
    use_compilation_cache()
    given = parser.parse_args()
    print(json.dumps(measure(given.steps, given.once)))

"""How long the laboratory takes to answer a slider: training, testing, table, figure and regime check.

Run it with `python -m benchmarks.lab`. Target: about a second, once the first result has waited for the compiler.
Marimo's own way from the slider to the cells and back to the browser comes on top, some tens of milliseconds.
"""

from __future__ import annotations

import io
import statistics
import sys
import time
from collections.abc import Mapping
from typing import Any

TARGET = 1.0  # seconds, in the median over the sliders
# One move of each slider, all else at its default; the last two are new programs.
MOVES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "start σ₀": {"network.init_std": 0.003},
    "threshold ϱ": {"network.relu_threshold": 0.5},
    "single-view fraction μ": {"data.single_view_fraction": 0.1},
    "missing view ρ": {"data.weak_view_strength": 0.4},
    "traces in single-view samples Γ": {"data.single_view_foreign_strength": 0.4},
    "traces a sample s": {"data.feature_sparsity": 0.8},
    "noise ν": {"data.noise_norm": 0.5},
    "steps T halved": {"train.num_steps": 400},
    "steps T doubled": {"train.num_steps": 1600},
    "seed": {"seed": 7},
}
COMPILED: dict[str, dict[str, Any]] = {"power q": {"network.relu_power": 4.0}}


def seconds(changes: Mapping[str, Any], students: bool = False) -> float:
    """Wall time of all cells that one slider's move runs."""
    import multiview as mv
    from multiview.web import lab

    begin = time.perf_counter()
    study = lab.study_from_sliders(dict(changes))
    result = lab.train(study, students)
    lab.table(result)
    figure = lab.race(result, 0)
    figure.savefig(io.BytesIO(), format="png")
    mv.check_regime(study)
    return time.perf_counter() - begin


def measure(repeats: int = 3) -> dict[str, float]:
    """The first result, then medians of each move, then moves that compile, then students."""
    found = {"first result": seconds({})}
    for name, changes in MOVES.items():
        found[name] = statistics.median(seconds(changes)
                                        for _ in range(repeats))  # fmt: skip
    for name, changes in COMPILED.items():
        found[f"{name}, compiles"] = seconds(changes)
        found[f"{name}, again"] = seconds(changes)
    found["students too, compiles"] = seconds({}, students=True)
    found["students too, again"] = seconds({}, students=True)
    return found


def main() -> int:
    """Print the seconds; the exit status is 1 if the median move misses the target."""
    found = measure()
    for name, value in found.items():
        print(f"{name:34s} {value:6.2f} s", flush=True)
    middle = statistics.median(found[name] for name in MOVES)
    print(f"median over sliders {middle:.2f} s (target {TARGET} s)")
    return int(middle > TARGET)


if __name__ == "__main__":
    sys.exit(main())

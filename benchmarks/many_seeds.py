"""Very many seeds: whether time and memory of a seed depend on how many there are.

64 and 1,000 seeds take 750 steps each at the size of the other benchmarks (704,000 noise overlaps), each number in a
process of its own, whose peak memory the system tells. The starts and the compilation are part of the time.

Run it with: python -m benchmarks.many_seeds [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import rows

SEEDS, STEPS = (64, 1000), 750


def child(seeds: int, steps: int) -> None:
    """Runs in a process of its own: prints its seconds and its peak memory."""
    row = rows.multiview_row(rows.make_world(rows.Problem(patch_dim=32)), seeds, "limit")
    before = _peak_bytes()
    begin = time.perf_counter()
    row(steps)
    seconds = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds, "bytes": _peak_bytes(), "bytes_before": before}))


def _peak_bytes() -> int:
    """Peak resident memory of this process so far; the system counts in units of 1,024 bytes (macOS: of one)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(quick: bool = False) -> list[dict[str, Any]]:
    """Seconds, milliseconds of a seed's step, and peak memory, for each number of seeds."""
    found = []
    for seeds, steps in [(4, 3), (8, 3)] if quick else [(seeds, STEPS) for seeds in SEEDS]:
        command = [sys.executable, "-c", f"from benchmarks.many_seeds import child; child({seeds}, {steps})"]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        told = json.loads(done.stdout.splitlines()[-1])
        found.append({
            "seeds": seeds,
            "steps": steps,
            "seconds": round(told["seconds"], 1),
            "ms_per_seed_step": float(f"{1e3 * told['seconds'] / seeds / steps:.4g}"),
            "peak_megabytes": round(told["bytes"] / 1e6),
            "peak_megabytes_before": round(told["bytes_before"] / 1e6),
        })  # fmt: skip
        print(found[-1], file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few seeds and steps, to try the code")
    print(json.dumps(measure(parser.parse_args().quick), indent=1))

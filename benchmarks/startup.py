"""How long one waits for the first sign of life: `multiview --help`, and the first lines of `multiview verify`.

Run it with `python -m benchmarks.startup`. Targets: help within 0.6 s, the first progress line within 3 s (from a warm
compilation cache: one run that does not count comes first).
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

HELP_TARGET, PROGRESS_TARGET = 0.6, 3.0  # seconds


def help_seconds() -> float:
    """Wall time of `multiview --help`."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-m", "multiview", "--help"], check=True, capture_output=True)
    return time.perf_counter() - begin


def first_lines_seconds() -> tuple[float, float]:
    """Seconds to the first line of `multiview verify --preset smoke`, and to its first line of progress in training."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-u", "-m", "multiview", "verify", "--preset", "smoke", "--out", folder]
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        first = progress = float("nan")
        try:
            for line in process.stdout or ():
                now = time.perf_counter() - begin
                first = now if first != first else first
                if "replicate 1/" in line:  # "   2.1 s    3%  replicate 1/2: single networks"
                    progress = now
                    break
        finally:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
    return first, progress


def measure(repeats: int = 5) -> dict[str, Any]:
    """Medians over several starts."""
    help_seconds(), first_lines_seconds()
    helps = [help_seconds() for _ in range(repeats)]
    lines = [first_lines_seconds() for _ in range(repeats)]
    return {
        "help_seconds": round(statistics.median(helps), 3),
        "first_line_seconds": round(statistics.median(a for a, _ in lines), 2),
        "first_progress_line_seconds": round(statistics.median(b for _, b in lines), 2),
        "repeats": repeats,
    }


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--repeats", type=int, default=5, help="starts of each kind (%(default)s)")
    found = measure(parser.parse_args(arguments).repeats)
    print(f"multiview --help: {found['help_seconds']} s (target {HELP_TARGET} s)")
    print(f"multiview verify --preset smoke: first line after {found['first_line_seconds']} s, "
          f"first line of progress after {found['first_progress_line_seconds']} s "
          f"(target {PROGRESS_TARGET} s)")  # fmt: skip
    return int(found["help_seconds"] > HELP_TARGET or found["first_progress_line_seconds"] > PROGRESS_TARGET)


if __name__ == "__main__":
    sys.exit(main())

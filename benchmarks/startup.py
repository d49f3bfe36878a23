"""How long one waits for the first sign of life: `multiview --help`, and the first lines of `multiview verify`.

Run it with `python -m benchmarks.startup`. Targets: help within 0.6 s; the first progress, what is being done and what
is left, within 3 s on a terminal and in a pipe (from a warm compilation cache: one run that does not count first).
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

PROGRESS = re.compile(rb"predicting.* s left", re.DOTALL)
HELP_TARGET, PROGRESS_TARGET = 0.6, 3.0  # seconds


def help_seconds() -> float:
    """Wall time of `multiview --help`."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-m", "multiview", "--help"], check=True, capture_output=True)
    return time.perf_counter() - begin


def first_lines_seconds(preset: str, terminal: bool = False) -> tuple[float, float]:
    """Seconds to the first line of `multiview verify`, and to the first word on what is being done and what is left.

    Args:
        preset: what is verified; it is stopped after that word.
        terminal: whether it writes to a terminal, where progress is a bar.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-u", "-m", "multiview", "verify", "--preset", preset, "--out", folder]
        ours, theirs = os.openpty() if terminal else os.pipe()
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=os.environ | {"TERM": "xterm"})
        os.close(theirs)
        first, written = float("nan"), b""
        try:
            while not (progress := PROGRESS.search(written)):
                piece = os.read(ours, 4096)
                if not piece:
                    break
                written += piece
                if b"\n" in written and first != first:
                    first = time.perf_counter() - begin
            seconds = time.perf_counter() - begin
        finally:
            process.kill()
            process.wait()
            os.close(ours)
    return first, seconds if progress else float("nan")


def measure(repeats: int = 5) -> dict[str, Any]:
    """Medians over several starts; of progress the slowest case."""
    help_seconds(), first_lines_seconds("smoke")
    helps = [help_seconds() for _ in range(repeats)]
    cases = {
        f"{preset}, {'terminal' if terminal else 'pipe'}": [
            first_lines_seconds(preset, terminal) for _ in range(repeats)
        ]
        for preset in ("smoke", "reference")
        for terminal in (False, True)
    }
    progress = {name: round(statistics.median(b for _, b in lines), 2) for name, lines in cases.items()}
    return {
        "help_seconds": round(statistics.median(helps), 3),
        "first_line_seconds": round(statistics.median(a for a, _ in cases["smoke, pipe"]), 2),
        "first_progress_line_seconds": max(progress.values()),
        "first_progress_line_by_case": progress,
        "repeats": repeats,
    }


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--repeats", type=int, default=5, help="starts of each kind (%(default)s)")
    found = measure(parser.parse_args(arguments).repeats)
    print(f"multiview --help: {found['help_seconds']} s (target {HELP_TARGET} s)")
    print(f"multiview verify --preset smoke: first line after {found['first_line_seconds']} s")
    for case, seconds in found["first_progress_line_by_case"].items():
        print(f"first progress, {case}: {seconds} s (target {PROGRESS_TARGET} s)")
    return int(found["help_seconds"] > HELP_TARGET or found["first_progress_line_seconds"] > PROGRESS_TARGET)


if __name__ == "__main__":
    sys.exit(main())

"""All experiments at their default size, one after the other, each in a process of its own.

python -m experiments.all                   those without a finished result there; a run that was stopped goes on
python -m experiments.all NAME …            only these
python -m experiments.all --list            seconds of each, as it says itself and as last measured, and the sums
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from experiments import common
from multiview.commands.experiments import Experiment, experiments_in

ROOT = Path(__file__).parent.parent
ALLOWED_SECONDS = 90 * 60  # for all of them, on two cores


def measured_seconds(name: str, folder: Path, size: str = "default") -> float | None:
    """Seconds of a finished result: processor time with kept parts, or older ones' wall time; None without result."""
    try:
        document = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        return float(document.get("processor_seconds", document["seconds"])) if document["size"] == size else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def listing(experiments: list[Experiment], folder: Path) -> str:
    """One line each, and the sums; where nothing is measured the sum takes what the experiment says."""
    lines, total = [], 0.0
    for e in experiments:
        seconds = measured_seconds(e.name, folder)
        total += e.seconds if seconds is None else seconds
        lines.append(f"{e.name:22s} {e.seconds:6.0f} s  {'not run' if seconds is None else f'{seconds:6.0f} s'}")
    said = sum(e.seconds for e in experiments)
    allowed = f"{ALLOWED_SECONDS} s are allowed for all"
    return "\n".join([*lines, f"{'sum':22s} {said:6.0f} s  {total:6.0f} s  ({allowed})"])


def run_all(experiments: list[Experiment], arguments: list[str], folder: Path, size: str) -> int:
    """Run those without a result of this size; gives the number that failed.

    Args:
        experiments: what to run.
        arguments: for each command line.
        folder: where results are.
        size: default or smoke.
    """
    failed, total = [], 0.0
    for number, e in enumerate(experiments, 1):
        if measured_seconds(e.name, folder, size) is not None:
            common.say(f"{number}/{len(experiments)} {e.name}: done before")
            continue
        begin = time.perf_counter()
        status = subprocess.run([sys.executable, "-m", f"experiments.{e.name}", *arguments], cwd=ROOT).returncode
        if status == 130:
            raise KeyboardInterrupt
        seconds = time.perf_counter() - begin
        total += seconds
        failed += [e.name] if status else []
        word = f"failed with status {status}" if status else "done"
        common.say(f"{number}/{len(experiments)} {e.name}: {word}, {seconds:.0f} s; {total:.0f} s together")
    if failed:
        common.say(f"failed: {', '.join(failed)}")
    return len(failed)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.all", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these experiments")
    parser.add_argument("--list", action="store_true", help="run nothing: seconds of each and their sums")
    parser.add_argument("--smoke", action="store_true", help="the tiny size of the tests")
    parser.add_argument("--out", default=common.DEFAULT_FOLDER, help="folder for the results (%(default)s)")
    parsed = parser.parse_args(arguments)
    found = {e.name: e for e in experiments_in(ROOT / "experiments")}
    if unknown := [name for name in parsed.names if name not in found]:
        parser.error(f"{unknown[0]!r} is no experiment: it must be one of {', '.join(found)}")
    experiments = [found[name] for name in parsed.names or found]
    folder = Path(parsed.out).resolve()
    if parsed.list:
        print(listing(experiments, folder))
        return 0
    passed = ["--out", str(folder), *(["--smoke"] if parsed.smoke else [])]
    try:
        failed = run_all(experiments, passed, folder, "smoke" if parsed.smoke else "default")
    except KeyboardInterrupt:
        common.say("stopped; the same command goes on")
        return 130
    print(listing(experiments, folder))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Thousands of random inputs through the command line: no traceback, nothing half-written, nothing of others touched.

    python tests/random_inputs.py --number 10000 --trained 200 --json FILE

runs them in this process, each by `multiview.commands.main.main` in a folder of its own, and ends with 1 if one of them
broke a promise; `--only KIND-NUMBER` runs a single one again and prints what it said. Whatever the input,

- the command ends with a status of the table in docs/start.md, within a time limit, and 70 is not among them;
- a refusal is status 2 and one line that names a parameter or the flag, and what ends well says nothing on stderr;
- no number that is printed is NaN;
- files, folders, links and devices are as they were, byte by byte, but for outputs that were named and are whole;
- of this process nothing has changed (`process_state`).

Training is left out but for `--trained` many, which go through three steps.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import io
import json
import os
import platform
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
from any_files import make_input, make_templates
from any_inputs import Input
from process_state import changes, folder_state, state

import multiview
from multiview import files
from multiview.commands.common import use_compilation_cache
from multiview.commands.main import main as command_line
from multiview.config import all_fields
from multiview.files import cache_folder
from multiview.stores.provenance import git_commit

# How often each kind is drawn.
KINDS = {"flags": 15, "toml": 20, "axes": 20, "arrays": 15, "paths": 20, "stores": 10}
# Refusals that name something else: an unknown parameter, or what memory is asked for with.
OTHERWISE = ("no parameter has this name", "--memory")
SECONDS = 60  # an input that computes nothing ends well within that
TRAINING_SECONDS = 240


class TooLongError(BaseException):
    """The time limit of an input is over."""


class WorkBeginsError(BaseException):
    """An input was accepted: what follows would train."""


class Outcome(NamedTuple):
    """How an input ended.

    Attributes:
        result: in a word or two, to be counted.
        wrong: the promises that it broke, a line each.
        said: what it printed.
    """

    result: str
    wrong: list[str]
    said: str


@contextlib.contextmanager
def streams() -> Iterator[tuple[io.BytesIO, io.BytesIO]]:
    """Take what a command prints, also past Python's own streams."""
    out, err = io.BytesIO(), io.BytesIO()
    before = sys.stdout, sys.stderr
    before[0].flush()
    kept = os.dup(1)
    with tempfile.TemporaryFile() as through:
        os.dup2(through.fileno(), 1)
        sys.stdout, sys.stderr = (io.TextIOWrapper(s, encoding="utf-8", write_through=True) for s in (out, err))
        try:
            yield out, err
        finally:
            sys.stdout, sys.stderr = before
            os.dup2(kept, 1)
            os.close(kept)


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Stop what takes longer, in seconds of the processor."""

    def over(*_: object) -> None:
        raise TooLongError

    # Of the processor, since others may use the machine too; and ten times that by the clock, since it may wait.
    timers = ((signal.SIGPROF, signal.ITIMER_PROF, seconds), (signal.SIGALRM, signal.ITIMER_REAL, 10 * seconds))
    before = [signal.signal(number, over) for number, _, _ in timers]
    for _, timer, most in timers:
        signal.setitimer(timer, most)
    try:
        yield
    finally:
        for (number, timer, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


@contextlib.contextmanager
def work_stops() -> Iterator[None]:
    """Stop an accepted command where its training would begin."""
    import multiview.studies.study
    import multiview.verdicts.verification

    def begins(*_: object, **__: object) -> None:
        raise WorkBeginsError

    places = ((multiview.studies.study, "run_study"), (multiview.verdicts.verification, "predict_first"))
    before = [getattr(module, name) for module, name in places]
    for module, name in places:
        setattr(module, name, begins)
    try:
        yield
    finally:
        for (module, name), real in zip(places, before, strict=True):
            setattr(module, name, real)


def run_input(kind: str, number: int, seed: int, templates: Path, root: Path) -> Outcome:
    """Run one input in a new folder and hold every promise against it."""
    work = root / "work"
    work.mkdir()
    before, before_cwd = {name: os.environ.get(name) for name in ("HOME", "XDG_CACHE_HOME")}, Path.cwd()
    cache = cache_folder()  # where the command lets JAX keep programs: another home does not move it
    os.environ |= {"HOME": str(work / "folder"), "XDG_CACHE_HOME": str(cache.parent) if cache else os.devnull}
    try:
        os.chdir(work)
        given = make_input(kind, number, seed, templates, work)
        return _promises(kind, given, root)
    finally:
        os.chdir(before_cwd)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        for left in root.iterdir():
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()


def _promises(kind: str, given: Input, root: Path) -> Outcome:
    temporary = set(Path(tempfile.gettempdir()).glob("multiview-*"))
    process, there = state(), folder_state(root)
    status: Any = None
    reader = os.open("work/pipe".rpartition("/")[2], os.O_RDONLY | os.O_NONBLOCK)  # somebody listens
    stop = contextlib.nullcontext() if kind == "trained" else work_stops()
    with streams() as (out, err), stop:
        try:
            with limited(TRAINING_SECONDS if kind == "trained" else SECONDS):
                status = command_line(given.words)
        except TooLongError:
            status = "too long"
        except WorkBeginsError:
            status = "accepted"
        except SystemExit as end:  # --help
            status = end.code
        except BaseException as error:
            status = f"raised {error.__class__.__name__}"
        printed, complaint = (s.getvalue().decode("utf-8", "replace") for s in (out, err))
    os.close(reader)
    wrong = [f"process: {line}" for line in changes(process, state())]
    if status not in (0, 1, 2, "accepted"):
        wrong.append(f"status {status}: {complaint[:300]!r}")
    if "Traceback" in printed + complaint:
        wrong.append("a traceback")
    if re.search(r"(?<![\w'\"=-])nan(?![\w'\"=-])", printed) and given.words[0] in ("regime", "sweep"):
        wrong.append("NaN is printed")
    wrong += _said(status, complaint, given)
    wrong += _left(status, there, folder_state(root), given)
    new = set(Path(tempfile.gettempdir()).glob("multiview-*")) - temporary
    wrong += [f"left in the folder for temporary files: {p.name}" for p in new if f"kept as {p}" not in complaint]
    return Outcome(str(status) if isinstance(status, str) else f"status {status}", wrong, printed + complaint)


def _said(status: Any, complaint: str, given: Input) -> list[str]:
    """What is wrong with what stands on stderr."""
    if status != 2:
        return [f"ends with {status}, but says {complaint[:300]!r}"] if complaint and status in (0, "accepted") else []
    lines = complaint.splitlines()
    if len(lines) != 1 or not lines[0].startswith("multiview: error: "):
        return [f"a refusal of {len(lines)} lines: {complaint[:300]!r}"]
    known = (*given.named, *(repr(n)[1:-1] for n in (*given.named, *given.writes)), *all_fields(), *OTHERWISE)
    wrong = [] if any(name in lines[0] for name in known) else [f"a refusal that names nothing: {lines[0][:300]!r}"]
    return wrong + ([f"a refusal of {len(lines[0])} characters"] if len(lines[0]) > 1000 else [])


def _left(status: Any, before: dict[str, Any], after: dict[str, Any], given: Input) -> list[str]:
    """What is wrong with what lies in the folders."""
    if status == 0 or (status == 1 and given.writes):  # outputs may have come, where they were named
        allowed = [Path("work", os.path.expanduser(p)) for p in given.writes]
        roots = [
            os.path.relpath(os.path.realpath(p), Path.cwd().parent)
            for p in map(Path, given.writes)
            if "\0" not in str(p)
        ]
        roots += [
            os.path.relpath(os.path.realpath(os.path.expanduser(p)), Path.cwd().parent)
            for p in given.writes
            if "\0" not in p
        ]
        roots += [str(p) for p in allowed]
    else:
        roots = []

    def ours(name: str) -> bool:
        return any(
            name == r or name.startswith(r + "/") or (r.startswith(name + "/") and name not in before) for r in roots
        )

    different = [n for n in sorted({*before, *after}) if before.get(n) != after.get(n) and not ours(n)]
    wrong = [f"{n}: {'gone' if n not in after else 'changed' if n in before else 'left behind'}" for n in different[:5]]
    half = [n for n in after if re.search(r"\.writing-|\.lock$|\.partial$|multiview-rescued-", n) and n not in before]
    kinds = [n for n in after if n in before and before[n][0] != after[n][0]]
    return wrong + [f"half-written: {n}" for n in half[:3]] + [f"{n} is another kind of file now" for n in kinds]


def warm_up(folder: Path, templates: Path) -> None:
    """Let libraries begin their own threads and defaults, as any first use would."""
    from multiview.figures.kinds import make_figure
    from multiview.figures.style import save_figure

    use_compilation_cache()
    results = multiview.open_results(templates / "study.zarr")
    for ending in ("png", "pdf", "svg"):
        save_figure(make_figure(results, "errors"), folder / f"warm.{ending}")
    with streams():
        for words in (
            ["regime", "--preset=smoke"],
            ["show", str(templates / "grid.zarr")],
            ["export", str(templates / "study.zarr"), "--to=netcdf", f"--out={folder}/a.nc"],
            ["sweep", "--preset=smoke", "--over=seed=0,1", f"--out={folder}/a", "--dry-run"],
            ["verify", "--json=/", "--out=a"],
        ):
            command_line(words)


def numbers_of(kinds: dict[str, int], number: int) -> list[tuple[str, int]]:
    """Deal a number of inputs out to the kinds, in turn."""
    total = sum(kinds.values())
    return [(kind, i) for kind, share in kinds.items() for i in range(-(-number * share // total))][:number]


def run_all(
    inputs: list[tuple[str, int]], seed: int, templates: Path, root: Path, tell: Callable[[str], Any] = print
) -> dict[str, Any]:
    """Run inputs by kind and number; count how they ended, and keep what broke a promise."""
    counts: dict[str, Counter[str]] = {}
    seconds: Counter[str] = Counter()
    slowest: dict[str, list[Any]] = {}
    found: list[dict[str, Any]] = []
    for kind, number in inputs:
        begin = time.perf_counter()
        outcome = run_input(kind, number, seed, templates, root)
        took = time.perf_counter() - begin
        counts.setdefault(kind, Counter())[outcome.result] += 1
        seconds[kind] += took
        slowest[kind] = max(slowest.get(kind, [0.0, ""]), [round(took, 2), f"{kind}-{number}"])
        if outcome.wrong:
            found.append({"input": f"{kind}-{number}", "broken": outcome.wrong})
            tell(f"{kind}-{number}: {'; '.join(outcome.wrong)}")
        if kind == "trained":
            jax.clear_caches()  # each has its own programs, which would fill the memory
    return {
        "outcomes": {kind: dict(sorted(c.items())) for kind, c in counts.items()},
        "seconds": {kind: round(s, 1) for kind, s in seconds.items()},
        "slowest": slowest,
        "broken": found,
    }


def main(words: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=300, help="of inputs that train nothing (%(default)s)")
    parser.add_argument("--trained", type=int, default=20, help="of inputs that train three steps (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all inputs (%(default)s)")
    parser.add_argument("--only", metavar="KIND-NUMBER", help="this one alone, and what it says")
    parser.add_argument("--kinds", help="these alone, with commas between them")
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    given = parser.parse_args(words)
    target = files.output_file(given.json, "--json").absolute() if given.json else None
    jax.config.update("jax_disable_most_optimizations", True)  # which inputs are refused does not hang on speed
    with tempfile.TemporaryDirectory() as scratch:
        templates, root, own = (Path(scratch, n) for n in ("templates", "root", "temporary"))
        for folder in (templates, root, own):
            folder.mkdir()
        tempfile.tempdir = str(own)
        warm_up(own, make_templates(templates))
        if given.only:
            kind, _, number = given.only.rpartition("-")
            with contextlib.chdir(root):
                print(make_input(kind, int(number), given.seed, templates, root).words)
                for left in root.iterdir():
                    shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
            outcome = run_input(kind, int(number), given.seed, templates, root)
            print(outcome.result, *outcome.wrong, outcome.said, sep="\n")
            return int(bool(outcome.wrong))
        kinds = {k: v for k, v in KINDS.items() if not given.kinds or k in given.kinds.split(",")}
        inputs = numbers_of(kinds, given.number) + [("trained", i) for i in range(given.trained)]
        figures = run_all(inputs, given.seed, templates, root, lambda line: print(line, flush=True))
        tempfile.tempdir = None
    versions = {n: importlib.metadata.version(n) for n in ("jax", "numpy", "xarray", "zarr")}
    options = f"--number {given.number} --trained {given.trained} --seed {given.seed}"
    options += f" --kinds {given.kinds}" if given.kinds else ""
    figures = {
        "command": f"python tests/random_inputs.py {options}",
        "commit": git_commit(),
        "versions": {"multiview": multiview.__version__, "python": platform.python_version(), **versions},
        **figures,
    }
    print(json.dumps({n: figures[n] for n in ("outcomes", "seconds", "slowest")}, indent=1))
    print(f"{len(inputs)} inputs, {len(figures['broken'])} broke a promise")
    if target:
        files.write_json(target, figures)
    return int(bool(figures["broken"]))


if __name__ == "__main__":
    sys.exit(main())

"""The command `experiments`: what the folder ./experiments asks, and what came out; nothing is imported or run."""

from __future__ import annotations

import argparse
import ast
import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from multiview.parameters import ConfigError

RESULTS = ("multiview-results/experiments", "docs/figures")  # where a last result may lie, beside ./experiments


class Experiment(NamedTuple):
    """What an experiment's module declares.

    Attributes:
        name: of its file.
        question: the first line of its docstring.
        claim: its CLAIM, what should come out.
        seconds: its SECONDS, what the default size takes on one core; 0 if it does not say.
        remark: its REMARK, where claim and result part.
    """

    name: str
    question: str
    claim: str
    seconds: float
    remark: str


def experiments_in(folder: str | Path) -> list[Experiment]:
    """All experiments of a folder, by name: modules that define NAME. They are read, not imported.

    Raises:
        ConfigError: there is no such folder, or a file in it cannot be read.
    """
    if not Path(folder).is_dir():
        raise ConfigError(f"{str(folder)!r} is no folder here; call this in a checkout of the repository")
    return [e for path in sorted(Path(folder).glob("*.py")) if (e := _read(path)) is not None]


def _read(path: Path) -> Experiment | None:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (
        OSError,
        SyntaxError,
        ValueError,
        RecursionError,
        MemoryError,
    ) as error:  # the last two: brackets in brackets
        raise ConfigError(f"{path} cannot be read: {error.__class__.__name__}") from None
    values: dict[str, Any] = {}
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.targets[0], ast.Name)
        ):
            values[node.targets[0].id] = node.value.value
    if "NAME" not in values:
        return None
    question = (ast.get_docstring(tree) or "").partition("\n")[0]
    seconds = values.get("SECONDS", 0)
    claim, remark = (" ".join(str(values.get(name, "")).split()) for name in ("CLAIM", "REMARK"))
    return Experiment(path.stem, question, claim, seconds if isinstance(seconds, int | float) else 0, remark)


def last_result(name: str) -> str:
    """The newest result of an experiment in words: verdicts, size, date; `not run` if there is none."""
    found = []
    for folder in RESULTS:
        try:
            document = json.loads((Path(folder) / f"{name}.json").read_text(encoding="utf-8"))
            counted = Counter(v["verdict"] for v in document.get("verdicts", []))
            found.append((str(document["date"]), document["size"] == "smoke", counted))
        except (
            OSError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            RecursionError,
        ):  # not there, not of ours
            continue
    if not found:
        return "not run"
    date, smoke, counted = max(found, key=lambda one: one[0])
    words = [f"{counted[w]} {w}" for w in ("holds", "fails", "undecided") if counted[w]] or ["no verdict"]
    return ", ".join([*words, *(["smoke"] if smoke else []), date])


def _experiments(arguments: argparse.Namespace) -> int:
    found = experiments_in("experiments")
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    names = max((len(e.name) for e in found), default=0)
    for e in found:
        seconds = f"{e.seconds:.0f} s" if e.seconds else "–"
        print(f"{e.name:{names}s}  {seconds:>6s}  {last_result(e.name):38s}  {e.claim or e.question}"[:width])
    return 0


def add_commands(command: Callable[..., Any]) -> None:
    """Add it to the parser."""
    command("experiments", _experiments, "list the experiments of ./experiments: time, last result, claim")

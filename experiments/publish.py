"""The page of results, docs/results.md, from the committed JSON of every experiment; what does not agree comes first.

python -m experiments.publish               judge the committed numbers again, and write the page
python -m experiments.publish NAME …        take these results from multiview-results/experiments first
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from experiments import common
from multiview.commands.experiments import Experiment, experiments_in
from multiview.parameters import ConfigError

ROOT = Path(__file__).parent.parent
FIGURES, PAGE = ROOT / "docs" / "figures", ROOT / "docs" / "results.md"

INTRODUCTION = """# Results

One section for each file of `experiments/`: its question, what was predicted, what came out, and where the two part.
This page is written by `python -m experiments.publish` from the JSON files in `docs/figures/`, which hold more than is
shown here. Intervals are 95 %. A claim *holds* if the measured interval meets the predicted number or interval, *fails*
if it does not, and is *undecided* if the measured interval is too wide to tell.
"""

PARTS = (
    ("What does not agree with the paper", "paper", "fails"),
    ("What does not agree with this project's own closed forms and claims", "project", "fails"),
    ("Undecided", None, "undecided"),
)


def take(name: str, folder: Path) -> None:
    """Copy JSON and figure of a finished run into the documentation.

    Raises:
        ConfigError: there is no result of default size.
    """
    path = folder / f"{name}.json"
    if not path.is_file():
        raise ConfigError(f"{path} is not there: run python -m experiments.{name} first")
    if json.loads(path.read_text(encoding="utf-8"))["size"] != "default":
        raise ConfigError(f"{path} is of smoke size; only the default size is published")
    for suffix in (".json", ".png"):
        shutil.copyfile(path.with_suffix(suffix), FIGURES / f"{name}{suffix}")


def judge_again(experiment: Experiment) -> None:
    """Judge the committed numbers of one experiment by its present claims; numbers stay as they are."""
    path = FIGURES / f"{experiment.name}.json"
    if not path.is_file():
        return
    module = importlib.import_module(f"experiments.{experiment.name}")
    document = json.loads(path.read_text(encoding="utf-8"))
    document |= {
        "claim": experiment.claim,
        "verdicts": module.verdicts(document) if hasattr(module, "verdicts") else [],
    }
    first = ("experiment", "claim", "size", "date", "seconds", "device", "versions", "verdicts")
    common.write_document(path, {n: document[n] for n in first} | document)


def number(value: Any) -> str:
    """A number, or both ends of an interval."""
    if isinstance(value, list):
        return number(value[0]) if value[0] == value[1] else f"{number(value[0])} to {number(value[1])}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def table(rows: list[tuple[str, dict[str, Any]]], linked: bool) -> str:
    """Verdicts as a Markdown table."""
    lines = ["| claim | predicted | measured | verdict |", "|---|---|---|---|"]
    for name, v in rows:
        claim = v["claim"].replace("|", "\\|") + (f" ([{name}](#{name}))" if linked else "")
        interval = v["interval"]
        measured = number(v["measured"]) + (f" ({number(interval)})" if interval[0] != interval[1] else "")
        lines.append(f"| {claim} | {number(v['predicted'])} | {measured} | {v['verdict']} |")
    return "\n".join(lines) + "\n"


def section(experiment: Experiment, document: dict[str, Any]) -> str:
    """One experiment."""
    versions = ", ".join(f"{name} {word}" for name, word in document["versions"].items())
    seconds = (
        f"{document['processor_seconds']:.0f} s of processor time"
        if "processor_seconds" in document
        else f"{document['seconds']:.0f} s"
    )
    parts = [
        f"### {experiment.name}\n",
        f"*{experiment.question}* {experiment.claim}\n",
        table([(experiment.name, v) for v in document["verdicts"]], linked=False),
        f"{experiment.remark}\n" if experiment.remark else "",
        f"![{experiment.question}](figures/{experiment.name}.png)\n",
        f"`python -m experiments.{experiment.name}`: {document['date']}, {seconds}, {versions}.\n",
    ]
    return "\n".join(p for p in parts if p)


def page() -> str:
    """The page as the committed documents give it; an experiment without a document is named as not run."""
    found = {e: FIGURES / f"{e.name}.json" for e in experiments_in(ROOT / "experiments")}
    documents = {e: json.loads(p.read_text(encoding="utf-8")) for e, p in found.items() if p.is_file()}
    everything = [(e.name, v) for e, d in documents.items() for v in d["verdicts"]]
    held = sum(v["verdict"] == "holds" for _, v in everything)
    parts = [INTRODUCTION, f"Of {len(everything)} claims of {len(documents)} experiments {held} hold.\n"]
    for title, source, word in PARTS:
        rows = [(n, v) for n, v in everything if v["verdict"] == word and source in (None, v["source"])]
        parts += [f"## {title}\n", table(rows, linked=True) if rows else "Nothing.\n"]
    parts.append("## All experiments\n")
    parts += [section(e, d) for e, d in documents.items()]
    if missing := [e.name for e in found if e not in documents]:
        parts.append(f"Not run at default size yet: {', '.join(missing)}.\n")
    return "\n".join(parts)


def main(arguments: list[str] | None = None) -> None:
    """Take results, judge them, write the page."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.publish", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="experiments to take over")
    parser.add_argument("--from", dest="folder", default=common.DEFAULT_FOLDER, help="their results (%(default)s)")
    parsed = parser.parse_args(arguments)
    try:
        for name in parsed.names:
            take(name, Path(parsed.folder))
    except ConfigError as error:
        sys.exit(f"{parser.prog}: error: {error}")
    for experiment in experiments_in(ROOT / "experiments"):
        judge_again(experiment)
    PAGE.write_text(page(), encoding="utf-8")
    common.say(f"{PAGE} written")


if __name__ == "__main__":
    main()

"""Makes the figures of docs/figures.md by the commands that stand there: `python docs/gallery.py`, from anywhere.

The two stores are kept in a folder of their own (`python docs/gallery.py FOLDER`), so a second run only draws.
"""

from __future__ import annotations

import re
import shlex
import sys
import tempfile
from pathlib import Path

from multiview.commands.main import main

HERE = Path(__file__).resolve().parent


def commands() -> list[list[str]]:
    """Every command of the page, in order, without its first word."""
    text = (HERE / "figures.md").read_text(encoding="utf-8")
    lines = "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)).replace("\\\n", " ")
    return [shlex.split(line, comments=True)[1:] for line in lines.splitlines() if line.startswith("multiview ")]


def run(folder: Path) -> None:
    """Run the commands; stores and reports go into a folder, images beside this file."""
    for words in commands():
        if words[0] == "report":
            continue
        out = words[words.index("--out") + 1]
        if words[0] in ("train", "sweep"):
            place = folder / out
            if place.exists():
                continue
        else:
            place = HERE / "figures" / f"gallery-{out}"
            words[1] = str(folder / words[1])
        words[words.index("--out") + 1] = str(place)
        assert main(words) == 0, words


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
        run(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            run(Path(temporary))

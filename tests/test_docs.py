"""Every code block of the README and of the pages runs as it is printed.

Blocks of a page run in order, in one namespace and one empty folder: Python as it is, commands through the real parser.
Presets are tiny here, so that a page takes a second; the numbers that pages quote are measured elsewhere. The lessons
also run at their real size whenever the documentation is built.

A comment on the line before a block says what is different about it, and a reader of the source sees it:
`<!-- slow -->` runs under `-m slow` alone, `<!-- needs MODULE -->` where that module is installed, and
`<!-- not run: reason -->` never; Python and flags in it still have to be right.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from test_structure import ORDER

from multiview import config
from multiview.commands.main import _parser, main

ROOT = Path(__file__).parents[1]
PAGES = {
    str(p.relative_to(ROOT)): p
    for p in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if "_build" not in p.parts and "jupyter_execute" not in p.parts
}
FENCE = re.compile(r"^(?P<ticks>```+)(?P<language>[^\n`]*)\n(?P<body>.*?)^(?P=ticks) *$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"<!-- (slow|needs \w+|not run: \S.*) -->\s*\Z")
SLOW_PAGES = ("docs/course/lesson", "docs/howto/", "docs/figures.md")  # trained at the top, used further down
SLOWEST_PAGES = ("docs/figures.md", "docs/sweeps.md")
DIRECTIVES = re.compile(r"\{(?!code-cell)[a-z-]+\}")  # toctree, glossary, …: nothing to run


class Block(NamedTuple):
    """A fenced block: its language, its text, its line in the page, and the mark before it."""

    language: str
    text: str
    line: int
    mark: str


def blocks(text: str) -> list[Block]:
    """The blocks of a page that hold code; a fence without a language is output."""
    found = []
    for match in FENCE.finditer(text):
        words = match["language"].split()
        if not words or DIRECTIVES.match(words[0]) or words[0] in ("text", "json"):
            continue
        mark = MARK.search(text[: match.start()])
        language = {"{code-cell}": "python", "bash": "sh", "console": "sh"}.get(words[0], words[0])
        body = re.sub(r"\A(:\w+:.*\n)+", lambda options: "\n" * options[0].count("\n"), match["body"])  # of a cell
        found.append(Block(language, body, text.count("\n", 0, match.start()) + 1, mark[1] if mark else ""))
    return found


def commands(text: str) -> list[str]:
    """Commands of a shell block: continued lines joined, comments and prompts dropped."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ").strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def words_of(command: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Words of a command; `$(multiview …)` in it is replaced by what that prints."""

    def printed(match: re.Match[str]) -> str:
        capsys.readouterr()
        assert main(shlex.split(match[1], comments=True)) == 0
        return capsys.readouterr().out.strip()

    return shlex.split(re.sub(r"\$\(multiview ([^)]*)\)", printed, command), comments=True)


def run_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Run one command of a page; what it cannot run has to be marked."""
    words = words_of(command, capsys)
    if words[0] == "multiview":
        status = main(words[1:])
        # At a tiny size claims may fail, which is status 1 of `verify`.
        assert status in ((0, 1) if words[1] == "verify" else (0,)), (command, capsys.readouterr().err)
    elif words[:2] == ["python", "-m"]:  # their own tests run them
        path = ROOT.joinpath(*words[2].split("."))
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), f"{command}: no such module"
    elif words[0] in ("cp", "ls"):
        subprocess.run(words, check=True)
    else:
        pytest.fail(f"{command}: mark this block as not run, with the reason")


@pytest.fixture
def page_folder(empty: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder in which a page runs; lessons find what lies beside them."""
    import matplotlib
    import matplotlib.pyplot

    matplotlib.use("Agg")
    work = empty / "course"
    work.mkdir()
    shutil.copytree(ROOT / "docs" / "figures", empty / "figures", ignore=shutil.ignore_patterns("*.png", "*.gif"))
    monkeypatch.chdir(work)
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "course"))
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    yield work
    sys.modules.pop("lesson", None)
    matplotlib.pyplot.close("all")


def runs(block: Block, slow: bool) -> bool:
    """Whether a block runs, by its mark."""
    if block.mark.startswith("needs "):
        return importlib.util.find_spec(block.mark.removeprefix("needs ")) is not None
    return not block.mark or (block.mark == "slow" and slow)


def run_page(name: str, slow: bool, capsys: pytest.CaptureFixture[str]) -> int:
    """Run the blocks of a page, in order; gives how many were run."""
    namespace: dict[str, Any] = {"__name__": "__docs__"}
    count = 0
    for block in blocks(PAGES[name].read_text(encoding="utf-8")):
        where = f"{name}:{block.line}"
        if block.language == "python":
            code = compile("\n" * block.line + block.text, where, "exec")
            if runs(block, slow):
                exec(code, namespace)
        elif not runs(block, slow):
            continue
        elif block.language == "sh":
            for command in commands(block.text):
                run_command(command, capsys)
        elif block.language == "toml":
            config.from_mapping({n: v for n, v in tomllib.loads(block.text).items() if n != "preset"})
            Path("study.toml").write_text(block.text, encoding="utf-8")
        else:
            pytest.fail(f"{where}: no test knows how to run {block.language!r}")
        count += 1
    return count


def is_slow(name: str) -> bool:
    """Some pages are slow as a whole, other pages where a mark says so.

    Solutions run when the documentation is built, as lessons do too; some of them compile for half a minute.
    """
    return name.startswith(SLOW_PAGES) or any(b.mark == "slow" for b in blocks(PAGES[name].read_text(encoding="utf-8")))


WITH_CODE = [n for n, p in PAGES.items() if blocks(p.read_text(encoding="utf-8"))]


@pytest.mark.filterwarnings("ignore:More than 20 figures")
@pytest.mark.parametrize("name", [n for n in WITH_CODE if not n.startswith(("docs/course/", *SLOW_PAGES))])
def test_every_code_block_of_a_page_runs(name, tiny_presets, page_folder, capsys):
    run_page(name, False, capsys)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:More than 20 figures")
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.release] if n in SLOWEST_PAGES else []) for n in WITH_CODE if is_slow(n)],
)
def test_every_slow_code_block_of_a_page_runs(name, tiny_presets, page_folder, capsys):
    assert run_page(name, True, capsys)


@pytest.mark.parametrize("name", WITH_CODE)
def test_blocks_that_do_not_run_are_understood_by_the_real_parsers(name):
    """A wrong flag, or Python that does not parse, is found in slow and unrun blocks too."""
    for block in blocks(PAGES[name].read_text(encoding="utf-8")):
        if block.language == "python":
            compile(block.text, f"{name}:{block.line}", "exec")
        if block.language != "sh":
            continue
        for command in commands(block.text):
            match = re.search(r"(?:^|&& |srun |\()(?:\.venv/bin/)?multiview ([^&|)…]*)", command)
            if match and "…" not in command:
                _, unknown = _parser().parse_known_args(shlex.split(match[1], comments=True))
                assert not unknown, f"{name}:{block.line}: {command}"


def test_marks_are_sparing_and_have_reasons():
    marks = [b.mark for p in PAGES.values() for b in blocks(p.read_text(encoding="utf-8"))]
    assert sum(m.startswith("not run") for m in marks) < len(marks) / 5


def test_the_collector_finds_languages_marks_and_lines():
    page = "a\n\n<!-- not run: needs Slurm -->\n```sh\nsrun x\n```\n```{code-cell} ipython3\n1\n```\n```\nout\n```\n"
    page += "```{toctree}\na\n```\n````md\n```python\nno\n```\n````\n"
    first, second, third = blocks(page)
    assert first == Block("sh", "srun x\n", 4, "not run: needs Slurm")
    assert second == Block("python", "1\n", 7, "")
    assert third.language == "md"
    assert commands("# c\n$ a \\\n  b  # d\n\ne\n") == ["a    b  # d", "e"]


@pytest.mark.parametrize(("code", "problem"), [("1 / 0", ZeroDivisionError), ("def", SyntaxError)])
def test_a_broken_python_block_fails(code, problem, tmp_path, monkeypatch, capsys):
    page = tmp_path / "broken.md"
    page.write_text(f"```python\n{code}\n```\n")
    monkeypatch.setitem(PAGES, "broken.md", page)
    with pytest.raises(problem):
        run_page("broken.md", False, capsys)


def test_a_wrong_flag_and_an_unmarked_foreign_command_fail(tmp_path, monkeypatch, capsys):
    page = tmp_path / "broken.md"
    monkeypatch.setitem(PAGES, "broken.md", page)
    for text in ("multiview presets --no-such-flag", "rm -r x"):
        page.write_text(f"```sh\n{text}\n```\n")
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            run_page("broken.md", False, capsys)


def test_every_page_is_in_the_table_of_contents():
    """Sphinx asks for it too, as a warning; here it costs nothing."""
    listed = {ROOT / "docs" / "index.md"}
    queue = [ROOT / "docs" / "index.md"]
    while queue:
        page = queue.pop()
        for match in re.finditer(r"^(?:```|:::)\{toctree\}\n(.*?)^(?:```|:::)", page.read_text("utf-8"), re.M | re.S):
            for entry in match[1].split():
                if entry.startswith(":"):
                    continue
                target = page.parent / f"{entry}.md"
                assert target.exists(), f"{page.name} lists {entry}"
                if target not in listed:
                    listed.add(target)
                    queue.append(target)
    on_disk = {p for n, p in PAGES.items() if n.startswith("docs/")}
    assert on_disk - listed == {ROOT / "docs" / "figures" / "benchmark.md"}  # included by performance.md


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or stands in one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ImportError:
            continue
        try:
            for part in parts[count:]:
                found = getattr(found, part)
        except AttributeError:
            return False
        return True
    return False


FILES = (".py", ".md", ".bin", ".json", ".jsonl", ".lock", ".sbatch", ".cff")


@pytest.mark.parametrize("name", PAGES)
def test_names_that_pages_mention_exist(name):
    """`systems.lazy`, `data.num_classes`, `mv.check_regime`: parameters, and what the package holds."""
    named = re.findall(r"`([a-z_]+(?:\.[A-Za-z_]+)+)(?:\(.*?\))?`", PAGES[name].read_text(encoding="utf-8"))
    for dotted in {n for n in named if not n.endswith(FILES) and not n.startswith("torch.")} - set(config.all_fields()):
        full = dotted.replace("mv.", "multiview.", 1) if dotted.startswith("mv.") else dotted
        assert exists(f"multiview.{dotted}") or exists(full), dotted


def test_every_room_is_in_the_reference():
    """docs/conf.py puts the modules of each room, and the table of public names, in the place of these marks."""
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    described = [room for marked in re.findall(r"<!-- modules: (.*?) -->", text) for room in marked.split()]
    rooms = [room for room in ORDER if room not in ("__init__", "__main__", "commands", "systems.table")]
    assert sorted(described) == sorted(rooms)  # headings there join some rooms
    assert text.count("<!-- public names -->") == 1

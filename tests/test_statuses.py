"""How commands end: one line and one status for each way, in any terminal, any environment."""

from __future__ import annotations

import errno
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import multiview
from multiview.commands import main as command_line
from multiview.commands.common import make_console
from multiview.commands.main import main
from multiview.commands.statuses import any_encoding
from multiview.files import cache_folder

COMMAND = [sys.executable, "-m", "multiview"]
HERE = Path(multiview.__file__).parents[1]


def run(words: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {**os.environ, "PYTHONPATH": str(HERE), **environment}
    return subprocess.run([*COMMAND, *words], cwd=folder, env=own, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (multiview.ConfigError("bad"), 2),
        (OSError(errno.ENOSPC, "No space left on device"), 2),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 2),
        (MemoryError(), 2),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory"), 2),
        (KeyError("of ours"), 70),
        (AssertionError(), 70),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_way_to_end_has_one_line_and_its_own_status(error, status, monkeypatch, capsys, tmp_path):
    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(command_line, "_run", fail)
    assert main([]) == status
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("multiview: ")
    if status == 70:
        (kept,) = tmp_path.iterdir()
        assert "Traceback" in kept.read_text()
        assert str(kept) in said[0]


def test_the_table_of_statuses_names_them_all():
    text = (HERE / "docs" / "start.md").read_text(encoding="utf-8").partition("## Exit statuses")[2]
    from multiview.commands import statuses

    for status in (statuses.FAILS, statuses.BAD_INPUT, statuses.OUR_FAULT, statuses.CLOSED_PIPE, statuses.INTERRUPTED):
        assert re.search(rf"^\| (\d+, )?{status}\b", text, re.MULTILINE)


@pytest.mark.parametrize("words", [["presets"], ["presets", "smoke"], ["--help"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_pipe_is_quiet(words, unbuffered, empty):
    own = {**os.environ, "PYTHONPATH": str(HERE), "PYTHONUNBUFFERED": unbuffered}
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*COMMAND, *words], env=own, stdout=write, stderr=subprocess.PIPE, text=True, timeout=120)
    os.close(write)
    assert done.stderr == ""
    assert done.returncode in (0, 141)


def test_a_console_whose_reader_has_gone_lets_the_work_go_on(monkeypatch):
    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    console = make_console()
    console.file = Gone()
    console.print("one")
    console.print("two")
    assert console.quiet


def test_a_full_terminal_is_one_line(empty):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    own = {**os.environ, "PYTHONPATH": str(HERE)}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "presets"], env=own, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert len(done.stderr.splitlines()) == 1
    assert done.returncode == 2


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "utf-16"])
@pytest.mark.parametrize("words", [["verify", "--help"], ["verify", "--seeds=0", "--preset=η"], ["presets", "smoke"]])
def test_every_encoding_is_good_enough(encoding, words, empty):
    own = {**os.environ, "PYTHONPATH": str(HERE), "PYTHONIOENCODING": encoding}
    done = subprocess.run([*COMMAND, *words], cwd=empty, env=own, capture_output=True, timeout=120)
    assert b"Traceback" not in done.stderr
    assert done.returncode == (2 if "--seeds=0" in words else 0)


HOSTILE = ["a[/b].zarr", "[red]a[/red]", ":smile: [link=x]", "a b " * 40, "[bold", "\udcff[/]"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_printed_as_it_stands_on_one_line(name, capsys, monkeypatch):
    """No markup, no emoji, no line break in it, whatever the width of the terminal."""
    monkeypatch.setenv("COLUMNS", "40")
    with any_encoding():
        make_console().print(f"Store: {name}")
    assert capsys.readouterr().out == f"Store: {name}\n".replace("\udcff", "?")


def test_a_working_folder_that_has_gone_is_one_line(empty, capsys):
    (empty / "gone").mkdir()
    os.chdir(empty / "gone")
    (empty / "gone").rmdir()
    for words in (["plot", "/a.zarr", "--kind=dynamics"], ["init", "smoke", "--out=a.toml"]):
        assert main(words) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    os.chdir(empty)


def test_a_name_that_is_no_text_can_be_said(empty, capfd):
    assert main(["show", "\udcff.zarr"]) == 2


def test_streams_are_left_as_they_were(empty):
    before = getattr(sys.stdout, "errors", None), os.environ.get("MPLBACKEND")
    main(["presets"])
    assert (getattr(sys.stdout, "errors", None), os.environ.get("MPLBACKEND")) == before


@pytest.mark.parametrize(
    ("variable", "value"), [("JAX_PLATFORMS", "cuda"), ("JAX_PLATFORMS", "nonsense"), ("JAX_ENABLE_X64", "maybe")]
)
def test_an_environment_in_which_jax_does_not_start_is_one_line_that_names_the_variable(variable, value, empty, flags):
    done = run(["train", *flags, "--out=a.zarr", "--no-distillation"], empty, **{variable: value})
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert variable in line
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize("backend", [pytest.param("nonsense", marks=pytest.mark.slow), "module://nowhere.backend"])
def test_a_backend_for_windows_that_is_not_there_hinders_no_figure(backend, empty, study_store):
    done = run(["plot", str(study_store), "--kind=dynamics", "--out=a.png"], empty, MPLBACKEND=backend)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("home", ["/nonexistent/home", "/proc"])
def test_work_goes_on_without_a_cache(home, monkeypatch):
    monkeypatch.setenv("HOME", home)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if home == "/proc" or os.geteuid():
        assert cache_folder() is None


def test_an_unknown_user_without_a_home_has_no_cache(monkeypatch):
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", unknown)
    assert cache_folder() is None

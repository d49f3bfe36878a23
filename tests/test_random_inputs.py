"""Random inputs through the command line (`random_inputs`), and those that once broke a promise."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import pytest
import random_inputs
from any_files import make_arrays, surroundings
from any_inputs import Input

from multiview.commands.common import use_compilation_cache
from multiview.commands.main import main
from multiview.config import Study, replace
from multiview.parameters import ConfigError

HERE = Path(__file__).parent
# Each broke a promise once: as words of the command line after `sweep --dry-run` or `regime`.
EXTREME = {
    "a power beyond floating point": "--network.relu-power=1e15",
    "an exponent beyond floating point": "--network.relu-threshold=1e-300",
    "more neurons than memory": "--network.neurons-per-class=787729",
    "foreign strengths that take for ever": "--data.single-view-foreign-strength=1e198",
    "classes beyond counting": "--data.num-classes=1000000000",
    "replicates beyond counting": "--replicates=8000000000",
    "a size beyond every integer": f"--seeds={10**30}",
}


@pytest.fixture(scope="module")
def templates(tmp_path_factory, study_store, sweep_store) -> Path:
    """Files and stores that inputs start from."""
    folder = tmp_path_factory.mktemp("templates")
    make_arrays(folder)
    shutil.copytree(study_store, folder / "study.zarr")
    shutil.copytree(sweep_store, folder / "grid.zarr")
    return folder


@pytest.fixture
def root(tmp_path, monkeypatch, unchecked) -> Path:
    """A folder for one input at a time, and one for temporary files."""
    (tmp_path / "temporary").mkdir()
    (tmp_path / "root").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return tmp_path / "root"


CACHE_SETTINGS = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
FEW = {"toml": 2, "axes": 3, "arrays": 4, "paths": 4, "stores": 2}  # without the regime of large presets


@pytest.mark.filterwarnings("default")  # as users have them
@pytest.mark.parametrize(
    ("kinds", "number"),
    [(FEW, 15), pytest.param(random_inputs.KINDS, 40, marks=pytest.mark.release)],
    ids=["few", "all"],
)
def test_random_inputs_break_no_promise(kinds, number, templates, root, tmp_path):
    random_inputs.warm_up(tmp_path, templates)
    figures = random_inputs.run_all(random_inputs.numbers_of(kinds, number), 1, templates, root)
    assert figures["broken"] == []
    assert {"status 0", "status 2"} <= {result for counted in figures["outcomes"].values() for result in counted}


@pytest.mark.parametrize("case", EXTREME)
def test_an_extreme_value_ends_in_a_condition_or_in_one_line(case, capsys, empty):
    command = ["sweep", "--dry-run", "--out=a"] if "replicates" in EXTREME[case] else ["regime"]
    status = main([*command, "--preset=smoke", EXTREME[case]])
    said = capsys.readouterr()
    assert status in (0, 2)
    assert len(said.err.splitlines()) == (status == 2)
    assert "nan" not in said.out
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("train.learning_rate", 1e300), ("distill.teacher_scale", 1e39), ("network.relu_threshold", 1e-60)],
)
def test_a_number_beyond_single_precision_is_refused_there_and_allowed_in_double(name, value):
    with pytest.raises(ConfigError, match=f"{name} .*train.dtype float64"):
        replace(Study(), {name: value})
    assert replace(Study(), {name: value, "train.dtype": "float64"}).train.dtype == "float64"


@pytest.mark.parametrize("value", ["x" * 5000, "9" * 5000])
@pytest.mark.parametrize("flag", ["--seeds", "--data.noise-norm", "--train.optimizer", "--preset"])
def test_a_long_value_is_a_short_line(flag, value, capsys, empty):
    assert main(["regime", f"{flag}={value}"]) == 2
    assert len(capsys.readouterr().err) < 1000


@pytest.mark.parametrize("text", ["[" * 3000, "seeds = 1" + "0" * 5000, "seeds = [[[]]]"])
def test_a_file_that_no_parser_takes_is_one_line(text, capsys, empty):
    (empty / "study.toml").write_text(text)
    assert main(["regime", "--config=study.toml"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("command", ["check", "show"])
def test_several_members_that_cannot_be_read_are_one_line_and_no_errors_at_the_end(command, study_store, empty):
    store = shutil.copytree(study_store, empty / "a.zarr")
    for name in ("view_moments", "dark_knowledge", "single/weights", "ensemble_test_wrong_single_view"):
        (store / name / "zarr.json").write_text('{"a":')
    (store / "ensemble_size" / "zarr.json").unlink()
    words = [sys.executable, "-m", "multiview", command, "a.zarr"]
    own = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    done = subprocess.run(words, cwd=empty, env=own, capture_output=True, text=True, timeout=120)
    assert "dark_knowledge" in done.stdout + done.stderr
    assert (done.returncode, len(done.stderr.splitlines())) == {"check": (1, 0), "show": (2, 1)}[command]


DEEP = "[" * 9000  # too deep for a parser of JSON


@pytest.mark.parametrize("where", ["", "config", "versions", "sweep", "settings"])
def test_brackets_in_brackets_in_a_store_are_one_line(where, empty, capsys):
    attributes = {"config": "{}", "versions": "{}", **({where: DEEP} if where else {})}
    text = json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes})
    (empty / "a.zarr").mkdir()
    (empty / "a.zarr" / "zarr.json").write_text(text if where else DEEP)
    for command in ("show", "check", "table", "ls"):
        assert main([command, "." if command == "ls" else "a.zarr"]) == (0 if command == "ls" else 2)
        assert len(capsys.readouterr().err.splitlines()) == (command != "ls")


@pytest.mark.parametrize("name", ["a\0b", "n" * 300, "loop", "loop/a"])
@pytest.mark.parametrize(
    "words", [["regime", "--config"], ["show"], ["ls"], ["train", "--out"], ["sweep", "--dry-run", "--out"]]
)
def test_a_name_that_no_file_can_have_is_one_line(name, words, capsys, empty):
    (empty / "loop").symlink_to("loop")
    assert main([*words, name]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert [p.name for p in empty.iterdir()] == ["loop"]


def test_the_checks_see_what_is_wrong(root, monkeypatch, capsys):
    """The tests above can fail."""

    def misbehave(words: list[str]) -> int:
        Path("notes.txt").write_text("replaced")
        Path("pipe").unlink()
        Path(".writing-a").write_text("half")
        print("Traceback", file=random_inputs.sys.stderr)
        return 2

    monkeypatch.setattr(random_inputs, "command_line", misbehave)
    monkeypatch.setattr(random_inputs, "make_input", lambda *a: made(*a))

    def made(*arguments: object) -> Input:
        surroundings(arguments[-1])
        return Input(["regime"])

    wrong = "; ".join(random_inputs.run_input("flags", 0, 0, root, root).wrong)
    for what in ("notes.txt: changed", "pipe: gone", "half-written", "a traceback", "a refusal"):
        assert what in wrong


@pytest.mark.parametrize("cache", ["", "relative", "{}/cache"])
def test_the_cache_of_compiled_programs_is_that_of_the_user_whatever_an_inputs_home(cache, root, tmp_path, monkeypatch):
    """A command sets JAX's folder, to the same before and in the input: no change of the process is its fault."""
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", cache.format(tmp_path))
    before = {name: getattr(jax.config, name) for name in CACHE_SETTINGS}
    monkeypatch.setattr(random_inputs, "command_line", lambda words: use_compilation_cache() or 0)
    monkeypatch.setattr(random_inputs, "make_input", lambda *a: surroundings(a[-1]) or Input(["regime"]))
    try:
        use_compilation_cache()
        assert random_inputs.run_input("flags", 0, 0, root, root).wrong == []
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def test_every_test_that_the_table_of_promises_names_exists():
    text = (HERE.parent / "docs" / "platforms.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(tests/\w+\.py)::(\w+)`", text))
    assert len(named) > 25
    for file, test in named:
        assert re.search(rf"^def {test}\(", (HERE.parent / file).read_text(encoding="utf-8"), re.MULTILINE), test
    rows = text.partition("## What is promised")[2].partition("\n## ")[0].splitlines()
    assert len(rows) > 25
    assert all("::" in row for row in rows if row.startswith("| ") and "promise |" not in row)

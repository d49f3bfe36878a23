"""What cannot be drawn is refused in one line that names what is wrong, and leaves nothing behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from stores import rewritten
from sweeping import small

import multiview
from multiview.commands.main import main
from multiview.config import replace
from multiview.figures import animation, kinds
from multiview.parameters import ConfigError
from multiview.stores.store import open_results

STUDY_KINDS = [name for name, kind in kinds.KINDS.items() if kind.store == "study"]


@pytest.fixture(scope="module")
def results(study_store) -> xr.DataTree:
    return open_results(study_store).load()


def refused(words, capsys, *named):
    folder = Path.cwd()
    before = sorted(folder.rglob("*"))
    assert main(words) == 2
    captured = capsys.readouterr()
    (complaint,) = captured.err.splitlines()
    assert complaint.startswith("multiview: error: ")
    assert captured.out == ""
    for word in named:
        assert word in complaint, complaint
    assert sorted(folder.rglob("*")) == before
    return complaint


COMMANDS = (["plot", "--kind=errors"], ["report"], ["animate"])


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_what_is_no_store_of_ours_is_refused(command, study_store, empty, capsys):
    Path("empty.zarr").mkdir()
    xr.DataTree.from_dict({"/": xr.Dataset({"a": ("x", [1, 2])})}).to_zarr("foreign.zarr", consolidated=False)
    for name, said in (
        ("none.zarr", "is not there"),
        ("empty.zarr", "zarr.json"),
        ("foreign.zarr", "no store of multiview"),
    ):
        refused([command[0], name, *command[1:]], capsys, f"store = '{name}'", said)
    shutil.copytree(study_store, "bare.zarr")
    for part in ("single", "distilled", "self_distilled"):
        shutil.rmtree(f"bare.zarr/{part}")
    refused([command[0], "bare.zarr", *command[1:]], capsys, "bare.zarr", "multiview train")
    for text in ("hello", "[1]", '{\\"data\\": 3}', '{\\"nonsense\\": 3}'):
        shutil.rmtree("odd.zarr", ignore_errors=True)
        shutil.copytree(study_store, "odd.zarr")
        file = Path("odd.zarr/zarr.json")
        attributes = json.loads(file.read_text())
        attributes["attributes"]["config"] = json.loads(f'"{text}"')
        file.write_text(json.dumps(attributes))
        refused([command[0], "odd.zarr", *command[1:]], capsys)


@pytest.mark.parametrize(
    "command", [["plot", "--kind=sweep"], pytest.param(["report"], marks=pytest.mark.slow)], ids=lambda c: c[0]
)
def test_an_unfinished_sweep_is_refused_unless_its_part_is_wanted(command, sweep_store, empty, capsys):
    from multiview.stores.sweep_store import SweepStore

    shutil.copytree(sweep_store, "part.zarr")
    SweepStore("part.zarr", writable=True).forget([(0, 0, 1), (2, 1, 0)])
    words = [command[0], "part.zarr", *command[1:]]
    refused(words, capsys, "part.zarr", "unfinished", "2 of 12 blocks", "--partial")
    assert main([*words, "--partial"]) == 0
    capsys.readouterr()
    SweepStore("part.zarr", writable=True).forget(list(np.ndindex(3, 2, 2)))
    if command[0] == "plot":
        refused([*words, "--partial"], capsys, "no block of this sweep is done")


@pytest.mark.release
def test_a_kind_without_data_says_what_to_run(study_store, sweep_store, empty, capsys):
    for name in STUDY_KINDS:
        refused(["plot", str(sweep_store), "--kind", name], capsys, f"--kind {name}", "multiview train")
    for name in ("sweep", "phase"):
        refused(["plot", str(study_store), "--kind", name], capsys, f"--kind {name}", "multiview sweep --over")
    refused(["animate", str(sweep_store)], capsys, "multiview train")
    shutil.copytree(study_store, "less.zarr")
    shutil.rmtree("less.zarr/single/weights")
    refused(["plot", "less.zarr", "--kind=dark-knowledge"], capsys, "single/weights", "multiview train")
    shutil.rmtree("less.zarr/ensemble_size_test_wrong_multi_view")
    refused(["plot", "less.zarr", "--kind=ensemble"], capsys, "ensemble size", "multiview train")
    shutil.rmtree("less.zarr/single/largest_overlap")
    refused(["plot", "less.zarr", "--kind=dynamics"], capsys, "single/largest_overlap", "multiview train")
    refused(["animate", "less.zarr"], capsys, "single/largest_overlap", "multiview train")
    assert main(["report", "less.zarr"]) == 0  # says what is missing
    text = Path("less-report.html").read_text(encoding="utf-8")
    assert "dynamics: the store lacks single/largest_overlap" in text


def test_a_study_without_a_unit_of_error_or_without_noise_says_so(results):
    for field, value, kind in (("single_view_fraction", 0.0, "errors"), ("single_view_fraction", 0.0, "ensemble")):
        bare = results.copy()
        config = json.loads(bare.attrs["config"])
        config["data"][field] = value
        bare.attrs = bare.attrs | {"config": json.dumps(config)}
        with pytest.raises(ConfigError, match=r"data\.single_view_fraction is 0"):
            kinds.make_figure(bare, kind)
    silent = results.copy(deep=True)
    silent["single"]["noise_overlap_single_view"][:] = 0
    with pytest.raises(ConfigError, match=r"run multiview train --data\.noise-norm"):
        kinds.make_figure(silent, "memorisation")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--kind=mosaik"], ("'mosaik'", "did you mean mosaic?")),
        (["--kind=errors", "--out=a.bmp"], ("a.bmp", ".pdf, .png, .svg")),
        (["--kind=errors", "--replicate=1"], ("--replicate is not for --kind errors",)),
        (["--kind=mosaic", "--replicate=2"], ("--replicate = 2", "0 … 1")),
        (["--kind=mosaic", "--replicate=x"], ("--replicate = 'x'",)),
        (["--kind=mosaic", "--by=seed"], ("--by is not for --kind mosaic",)),
        (["--kind=errors", "--width=wall"], ("wall",)),
        (["--kind=errors", "--out=/proc/none/a.png"], ("cannot be written",)),
        ([], ("--kind",)),
    ],
    ids=str,
)
def test_bad_words_for_a_study(study_store, empty, capsys, words, named):
    refused(["plot", str(study_store), *words], capsys, *named)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--kind=sweep", "--measure=nothing"], ("'nothing'", "test_error")),
        (["--kind=sweep", "--by=nothing"], ("'nothing'", "num_steps, weak_view_strength")),
        (["--kind=phase", "--by=num_steps"], ("'num_steps'", "2 axes")),
        (["--kind=phase", "--measure=test_error,learned_views"], ("one measure",)),
        (["--kind=sweep", "--by=num_steps,weak_view_strength,seed"], ("'seed'",)),
    ],
    ids=str,
)
def test_bad_words_for_a_sweep(sweep_store, empty, capsys, words, named):
    refused(["plot", str(sweep_store), *words], capsys, *named)


@pytest.mark.usefixtures("unchecked")
def test_python_refuses_what_the_command_line_does(results, tiny_result, tmp_path):
    for kind in ("dynamic", None, ["dynamics"], 3):
        with pytest.raises(ConfigError, match=r"--kind = .* one of dynamics"):
            multiview.make_figure(results, kind)
    for other in (tiny_result, "study.zarr", None):
        with pytest.raises(ConfigError, match=r"results = .* a store, of open_results or to_datatree"):
            multiview.make_figure(other, "dynamics")
    for name in ("a.xyz", "a", ".png"):
        with pytest.raises(ConfigError, match=r"path = .* it must end in .pdf, .png, .svg"):
            multiview.save_figure(Figure(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_films_and_reports_have_endings_too(study_store, empty, capsys, monkeypatch):
    refused(["animate", str(study_store), "--out=a.avi"], capsys, "a.avi", ".gif, .mp4")
    monkeypatch.setattr(animation.animation.FFMpegWriter, "isAvailable", lambda: False)
    refused(["animate", str(study_store), "--out=a.mp4"], capsys, "ffmpeg", ".gif")
    refused(["animate", str(study_store), "--replicate=9"], capsys, "--replicate = 9")
    refused(["report", str(study_store), "--out=a.txt"], capsys, "a.txt", ".html")


def test_a_damaged_array_is_one_line(study_store, empty, capsys):
    shutil.copytree(study_store, "bad.zarr")
    chunks = [p for p in Path("bad.zarr/single/largest_overlap/c").rglob("*") if p.is_file()]
    for chunk in chunks:
        chunk.write_bytes(b"no numbers")
    refused(["plot", "bad.zarr", "--kind=dynamics"], capsys, "bad.zarr", "single/largest_overlap: damaged")
    for chunk in chunks:
        chunk.unlink()
    for command in (["plot", "--kind=errors"], ["animate"], ["report"]):
        refused([*command, "bad.zarr"], capsys, "single/largest_overlap", "chunks missing", "multiview train")
    assert [p.name for p in empty.iterdir()] == ["bad.zarr"]


def test_a_store_with_other_words_of_claims_is_drawn(study_store, empty):
    shutil.copytree(study_store, "bad.zarr")
    rewritten(Path("bad.zarr"), '"claims": "[]"', '"claims": "nothing"')
    assert main(["plot", "bad.zarr", "--kind=errors"]) == 0


def test_a_sweep_that_lost_or_damaged_numbers_is_one_line(sweep_store, empty, capsys):
    """No row of a table and no point of a curve is left out without a word."""
    commands = (["table"], ["report"], ["plot", "--kind=sweep"], ["export", "--to=csv", "--out=a.csv"])
    shutil.copytree(sweep_store, "bad.zarr")
    (chunk, *_) = [p for p in sorted(Path("bad.zarr/test_wrong_single_view/c").rglob("*")) if p.is_file()]
    chunk.write_bytes(b"no numbers")
    for command in commands:
        refused([*command, "bad.zarr"], capsys, "the store is damaged: test_wrong_single_view", "multiview check")
    chunk.unlink()
    for command in commands:
        refused(
            [*command, "bad.zarr"],
            capsys,
            "bad.zarr",
            "test_wrong_single_view is missing in a finished block",
            "1 such",
        )
    assert [p.name for p in empty.iterdir()] == ["bad.zarr"]


@pytest.mark.release
def test_a_sweep_without_a_unit_of_error_is_still_a_table(empty, capsys):
    """At μ = 0 test errors are no numbers: that is no damage."""
    changes = {"data.representation": "limit", "data.single_view_fraction": 0.0, "replicates": 1}
    multiview.run_sweep(replace(small(), changes), ["seed=0,1"], "zero.zarr")
    assert main(["table", "zero.zarr"]) == 0
    assert "–" in capsys.readouterr().out

"""Stores of sweeps that gain points, alone or joined: nothing is computed again, and there is always a store."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from stores import copy, rewritten
from sweeping import OVER, contents, events, small, words

import multiview
from multiview.commands.main import main
from multiview.config import replace
from multiview.stores.sweep_store import FAILED, MISSING, SweepStore
from multiview.sweeps.block import Result


@pytest.fixture(scope="module")
def part(once) -> Path:
    """The store of the points of `swept` with 20 steps."""

    def make(folder: Path) -> Path:
        multiview.run_sweep(small(), ["train.num_steps=20", "seed=0,1"], folder / "part.zarr")
        return folder / "part.zarr"

    return once("part", make)


@pytest.fixture(scope="module")
def rest(once) -> Path:
    """The store of all other points of `swept`."""

    def make(folder: Path) -> Path:
        multiview.run_sweep(small(), ["train.num_steps=30,40", "seed=0,1"], folder / "rest.zarr")
        return folder / "rest.zarr"

    return once("rest", make)


@pytest.fixture
def uncomputed(monkeypatch):
    """Blocks fail at once; the studies that were to be computed."""
    asked = []

    def run_blocks(texts, replicate, students, stop=None):
        asked.extend((json.loads(text)["train"]["num_steps"], json.loads(text)["seed"], replicate) for text in texts)
        return [Result({}, "not computed here", 0.0) for _ in texts]

    monkeypatch.setattr("multiview.sweeps.executors.run_blocks", run_blocks)
    return asked


def test_new_values_of_an_axis_are_computed_alone_and_make_the_store_of_all_values(part, swept, tmp_path, capsys):
    store = copy(part, tmp_path)
    assert main([*words(store), "--dry-run"]) == 0
    assert "The store grows: 4 blocks are kept, 8 are to be computed." in capsys.readouterr().out
    assert contents(store) == contents(part)
    assert main(words(store)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "The store grows: 4 blocks are kept, 8 are to be computed."
    assert "6 points, 12 blocks in 1 groups; 4 done and 0 failed before, 8 to compute" in lines[1]
    assert contents(store) == contents(swept)
    assert sum(e["event"] == "block" for e in events(store)) == 8
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy.zarr", "copy.zarr.events.jsonl"]
    assert main(["check", str(store)]) == 0


def test_new_values_stand_behind_the_old_ones_whatever_their_order(part, tmp_path, uncomputed):
    store = copy(part, tmp_path)
    opened, before = multiview.open_results(store), multiview.open_results(part)
    for over in (["train.num_steps=10,20", "seed=2,1,0"], ["train.num_steps=20,10", "seed=0,2,1"]):
        outcome = multiview.run_sweep(small(), over, store)
        assert (outcome.done, outcome.total) == (4, 12)
    assert sorted(uncomputed) == sorted(
        (n, s, r) for n in (10, 20) for s in (0, 1, 2) for r in (0, 1) if n == 10 or s == 2
    )
    grown = multiview.open_results(store)
    assert (grown["num_steps"].values.tolist(), grown["study_seed"].values.tolist()) == ([20, 10], [0, 1, 2])
    for name in before.data_vars:
        np.testing.assert_array_equal(grown[name].sel(num_steps=[20], study_seed=[0, 1]), before[name])
        np.testing.assert_array_equal(opened[name], before[name])  # by who has had it open all along


@pytest.mark.slow
def test_axes_that_make_arrays_longer_keep_what_was_there(tmp_path):
    store, study = tmp_path / "a", replace(small(), {"replicates": 1, "train.num_steps": 20})
    multiview.run_sweep(study, {"seeds": [2]}, store)
    before = multiview.open_results(store).load()
    multiview.run_sweep(study, {"seeds": [3, 2]}, store)
    grown = multiview.open_results(store)
    assert grown["test_error"].shape == (2, 1, 3)
    for name, values in before.data_vars.items():
        kept = grown[name].sel(seeds=[2])
        np.testing.assert_array_equal(kept.isel(seed=slice(2)) if "seed" in kept.dims else kept, values)
    assert np.isnan(grown["test_error"].sel(seeds=2)[0, 2])
    assert np.isfinite(grown["test_error"].sel(seeds=3)).all()
    assert main(["check", str(store)]) == 0


@pytest.mark.slow
def test_more_replicates_are_new_blocks_and_more_seeds_say_what_is_computed_again(swept, tmp_path, capsys):
    store, over = tmp_path / "a", ["train.num_steps=20", "seed=0,1"]
    assert main(words(store, over, replicates=1, seeds=2)) == 0
    assert main(words(store, over, replicates=1, seeds=1)) == 2
    assert "seeds is 2 there, 1 here" in capsys.readouterr().err
    assert main(words(store, over, seeds=2)) == 0
    assert "The store grows: 2 blocks are kept, 2 are to be computed." in capsys.readouterr().out
    before = multiview.open_results(store).load()
    assert main([*words(store, over), "--dry-run"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "The store grows: 0 blocks are kept, 4 are to be computed, 4 of them again with 3 seeds, not 2: an" in told

    def stop(event):
        if event["event"] == "start":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        multiview.run_sweep(small(), over, store, report=stop)
    between = multiview.open_results(store)
    assert (between["done"] == MISSING).all()
    np.testing.assert_array_equal(between["test_error"].isel(seed=[0, 1]), before["test_error"])
    assert between["ensemble_test_error"].isnull().all()
    assert main(words(store, over)) == 0
    whole, grown = (multiview.open_results(s) for s in (swept, store))
    for name in whole.data_vars:
        np.testing.assert_array_equal(grown[name], whole[name].sel(num_steps=[20]))


class Killed(BaseException):
    """The end of the process: nothing reaches the disk any more, whoever tries to clean up."""


class Disk:
    """Counts what a process changes in the file system; after so many changes all others fail."""

    changes = ("os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir")

    def __init__(self):
        self.left, self.seen = None, []
        sys.addaudithook(self.watch)

    def watch(self, event, arguments):
        written = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
        if self.left is None or not (written or event in self.changes):
            return
        if not self.left:
            raise Killed
        self.left -= 1
        self.seen.append((event, *map(str, arguments[:2])))


@pytest.fixture(scope="module")
def disk():
    """There is no way to take an audit hook off again."""
    return Disk()


def killed(disk, store, after):
    """Let a store grow in a process that dies after so many changes of the disk; the changes that there were."""
    disk.seen.clear()

    def begin(event):
        if event["event"] == "grown":
            disk.left = after
        if event["event"] == "start":
            raise Killed

    with pytest.raises(Killed):
        multiview.run_sweep(small(), OVER, store, report=begin)
    disk.left = None
    store.with_name(store.name + ".lock").write_text("{}")  # of a dead process
    return list(disk.seen)


@pytest.mark.parametrize("when", ["about the exchange", pytest.param("at any moment", marks=pytest.mark.release)])
def test_a_store_whose_growth_is_killed_opens_and_goes_on(when, part, tmp_path, disk, uncomputed):
    (tmp_path / "whole").mkdir()
    changes = killed(disk, copy(part, tmp_path / "whole"), 10**6)
    renames = [
        i for i, (event, source, _) in enumerate(changes) if event == "os.rename" and Path(source).name == "copy.zarr"
    ]
    assert len(renames) == 2
    moments = {renames[1]}
    if when == "at any moment":
        moments = {
            *moments,
            0,
            renames[0],
            renames[0] + 1,
            renames[1] + 1,
            len(changes) - 1,
            *np.random.default_rng(3).integers(0, len(changes), 8).tolist(),
        }
    before = multiview.open_results(part).load()
    for moment in sorted(moments):
        folder = tmp_path / str(moment)
        folder.mkdir()
        store = copy(part, folder)
        killed(disk, store, moment)
        opened = multiview.open_results(store)
        assert main(["table", str(store)]) == 0
        for name in before.data_vars:
            np.testing.assert_array_equal(opened[name].sel(num_steps=[20]), before[name])
        assert multiview.run_sweep(small(), OVER, store).done == 4
        after = multiview.open_results(store)
        for name in before.data_vars:
            np.testing.assert_array_equal(after[name].sel(num_steps=[20]), before[name])
        assert (after["done"].sel(num_steps=[30, 40]) == FAILED).all()
        assert sorted(p.name for p in folder.iterdir()) == ["copy.zarr", "copy.zarr.events.jsonl"]


@pytest.mark.slow
def test_joined_stores_are_the_store_of_all_values_bit_by_bit(part, rest, swept, tmp_path, capsys, uncomputed):
    out = tmp_path / "joined.zarr"
    assert main(["join", str(part), str(rest), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"Store: {out} (12 blocks done, 0 failed)\n"
    assert contents(out) == contents(swept)
    assert main(["check", str(out)]) == 0
    assert multiview.run_sweep(small(), OVER, out).done == 12  # it goes on as the store of one sweep
    assert uncomputed == []
    again = multiview.join_sweeps([part, swept, rest], tmp_path / "again.zarr")  # points that agree may be there twice
    assert contents(again) == contents(swept)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.zarr", "joined.zarr", "joined.zarr.events.jsonl"]


def _changed(store: Path) -> None:
    found = SweepStore(store, writable=True)
    found.write_block((0, 1, 0), {"test_error": np.zeros(3)})


FAULTS = {
    "another study": (lambda s: rewritten(s, r'\"num_train\": 40', r'\"num_train\": 41'), "num_train is 40 .*, 41 in"),
    "unfinished": (lambda s: SweepStore(s, writable=True).forget([(0, 0, 1)]), "unfinished: 1 of 4 blocks are not"),
    "written": (lambda s: s.with_name("copy.zarr.lock").write_text("{}"), "is being written, or its writer died"),
    "damaged": (lambda s: (s / "finite" / "c" / "0" / "0" / "0" / "0").unlink(), "is damaged in 1 blocks"),
    "two axes": (
        lambda s: rewritten(s, r'\"rows\": [[0], [1]]', r'\"rows\": [[0], [2]]'),
        r"differ in more than one axis \(num_steps, study_seed\)",
    ),
    "other points": (_changed, "differ in .* at train.num_steps=20 seed=1 replicate 0"),
    "a study": (lambda s: rewritten(s, '"sweep"', '"swept"'), "holds one study and no sweep"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_stores_that_do_not_fit_are_refused_in_one_line_and_nothing_is_written(fault, part, rest, tmp_path, capsys):
    change, line = FAULTS[fault]
    store = copy(part, tmp_path)
    change(store)
    other = part if fault == "other points" else rest
    before = sorted(tmp_path.iterdir())
    assert main(["join", str(other), str(store), "--out", str(tmp_path / "out.zarr")]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert re.search(line, told)
    assert sorted(tmp_path.iterdir()) == before


def test_one_store_or_a_place_that_is_taken_is_refused(part, rest, capsys):
    assert main(["join", str(part), "--out", "new.zarr"]) == 2
    assert "name two or more stores" in capsys.readouterr().err
    assert main(["join", str(part), str(rest), "--out", str(part)]) == 2
    assert "exists already" in capsys.readouterr().err

"""Stores of sweeps: other configurations, damage, locks, lost blocks, failed writes; opening one executes nothing."""

from __future__ import annotations

import asyncio
import errno
import shutil

import numpy as np
import pytest
import xarray as xr
from stores import copy
from sweeping import OVER, contents, events, small

import multiview
from multiview.commands.main import main
from multiview.config import replace
from multiview.parameters import ConfigError
from multiview.stores.sweep_store import DONE, SweepStore


def test_a_changed_configuration_never_mixes_in(swept):
    before = contents(swept)
    with pytest.raises(ConfigError, match=r"data.num_train is 40 there, 41 here"):
        multiview.run_sweep(replace(small(), {"data.num_train": 41}), OVER, swept)
    with pytest.raises(ConfigError, match=r"axis train.num_steps is 20,30,40 there, 20,30 here"):
        multiview.run_sweep(small(), ["train.num_steps=20,30", "seed=0,1"], swept)
    with pytest.raises(ConfigError, match=r"axis seed is 0,1 there, missing here"):
        multiview.run_sweep(small(), ["train.num_steps=20,30,40"], swept)
    assert contents(swept) == before


@pytest.mark.parametrize(
    "what", ["flipped", *(pytest.param(w, marks=pytest.mark.slow) for w in ("cut", "missing", "done"))]
)
def test_damage_is_named_and_repaired_bit_by_bit(what, swept, tmp_path, capsys):
    store = copy(swept, tmp_path)
    name = "done" if what == "done" else "largest_overlap"
    (chunk,) = [p for p in (store / name / "c" / "1" / "0" / "1").parent.rglob("*") if p.is_file() and
                p.relative_to(store / name / "c").parts[:3] == ("1", "0", "1")]  # fmt: skip
    content = bytearray(chunk.read_bytes())
    if what == "missing":
        chunk.unlink()
    else:
        content[len(content) // 2] ^= 1
        chunk.write_bytes(content[: len(content) // 2] if what == "cut" else content)
    assert main(["check", str(store)]) == 1
    told = capsys.readouterr().out
    assert told.splitlines()[0].startswith("damaged: num_steps=30 study_seed=0 replicate 1: " + name)
    assert main(["check", str(store), "--repair"]) == 1
    assert multiview.run_sweep(small(), OVER, store).done == 12
    assert contents(store) == contents(swept)
    assert main(["check", str(store)]) == 0


def test_a_lock_left_behind_makes_the_next_writer_look_for_damage(swept, tmp_path):
    store = copy(swept, tmp_path)
    lock = store.with_name("copy.zarr.lock")
    lock.write_text("{}")
    (store / "finite" / "c" / "0" / "0" / "0" / "0").unlink()
    assert multiview.run_sweep(small(), OVER, store).done == 12
    assert [e["blocks"] for e in events(store) if e["event"] == "repaired"] == [1]
    assert contents(store) == contents(swept)
    assert not lock.exists()


def test_missing_blocks_are_named(swept, tmp_path, capsys):
    store = copy(swept, tmp_path)
    SweepStore(store, writable=True).forget([(2, 1, 0)])
    assert main(["check", str(store)]) == 1
    assert "missing: num_steps=40 study_seed=1 replicate 0" in capsys.readouterr().out


def test_opening_a_foreign_store_executes_nothing(tmp_path, capsys):
    store = tmp_path / "foreign"
    xr.Dataset({"a": ("x", [1, 2])}).to_zarr(store, consolidated=False)
    # What pickle would run on loading: os.abort().
    (store / "a" / "c" / "0").write_bytes(b"cos\nabort\n(tR.")
    for command in (["show"], ["table"], ["check"], ["export", "--out", str(tmp_path / "x.nc"), "--to=netcdf"]):
        assert main([command[0], str(store), *command[1:]]) == 2
        assert "holds no configuration" in capsys.readouterr().err


def test_no_path_from_input_to_result_can_execute_it():
    import ast
    from pathlib import Path

    from multiview import __file__ as root

    forbidden = {"eval", "exec", "compile", "__import__"}
    for path in Path(root).parent.rglob("*.py"):
        if path.name in ("lab.py", "web.py"):  # start a server of their own, on no path from an input to a result
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in forbidden, path
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [a.name for a in node.names] + [getattr(node, "module", None) or ""]
                assert not {"pickle", "subprocess", "marshal", "shelve"} & set(names), path
            if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "shell"):
                assert ast.unparse(node.value) == "False", path


def test_a_block_that_cannot_be_written_is_not_done_and_no_write_outlives_the_error(swept, tmp_path):
    """One array fails at once, the others are slow: when the error arrives they have ended, and `done` is untouched."""
    shutil.copytree(swept, tmp_path / "a")
    store = SweepStore(tmp_path / "a", writable=True)
    store.forget([(0, 0, 0)])
    ended = []

    class Slow:
        def __init__(self, name):
            self.async_array, self.name = self, name
            self.shape, self.dtype, self.fill_value = (1, 1, 1, 2), np.float32, 0.0

        async def setitem(self, index, values):
            if self.name == "a":
                raise OSError(errno.ENOSPC, "no space left")
            await asyncio.sleep(0.2)
            ended.append(self.name)

    for name in "abc":
        store.arrays[name] = Slow(name)
    with pytest.raises(OSError, match="no space left"):
        store.write_block((0, 0, 0), dict.fromkeys("abc", np.ones(2)))
    assert sorted(ended) == ["b", "c"]
    assert (0, 0, 0) not in zip(*np.nonzero(SweepStore(tmp_path / "a").done == DONE), strict=True)


@pytest.mark.parametrize("consolidated", [True, False])
@pytest.mark.parametrize("kind", ["sweep", "study"])
@pytest.mark.filterwarnings("ignore:Consolidated metadata:UserWarning")
def test_a_copy_by_xarray_is_a_store(kind, consolidated, sweep_store, study_store, empty):
    """With a name that zarr once took out of all other names, and with chunks of fill values alone."""
    source = sweep_store if kind == "sweep" else study_store
    results = multiview.open_results(source)
    results.to_zarr("e", consolidated=consolidated)
    assert multiview.open_results("e").identical(results)
    assert main(["check", "e"]) == 0
    assert main(["show", "e"]) == 0


def test_a_copy_of_a_sweep_goes_on_as_its_original(swept, empty):
    multiview.open_results(swept).to_zarr("copy.zarr", consolidated=False)
    SweepStore("copy.zarr", writable=True).forget([(2, 1, 0)])
    assert multiview.run_sweep(small(), OVER, "copy.zarr").done == 12
    assert contents("copy.zarr") == contents(swept)


@pytest.mark.filterwarnings("ignore:Consolidated metadata:UserWarning")
def test_what_other_copies_lack_is_said(study_store, sweep_store, empty, capsys):
    with xr.open_datatree(study_store, engine="zarr", consolidated=False) as tree:
        tree.to_zarr("plain.zarr")
    assert main(["check", "plain.zarr"]) == 1
    assert "open_results(STORE).to_zarr(COPY)" in capsys.readouterr().out
    multiview.open_results(sweep_store).drop_vars("done").to_zarr("part.zarr", consolidated=False)
    assert main(["check", "part.zarr"]) == 2
    assert "'done' is missing" in capsys.readouterr().err
    assert "test_error" in multiview.open_results("part.zarr")

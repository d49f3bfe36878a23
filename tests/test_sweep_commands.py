"""Commands on stores of sweeps: table, ls, show, export, init, progress; what is no store of a sweep is refused."""

from __future__ import annotations

import json
import os
import tomllib

import pytest
import xarray as xr
from stores import copy
from sweeping import OVER, events, small, words

import multiview
from multiview.commands.main import main
from multiview.config import all_fields, explained, replace
from multiview.measures.errors import error_interval, hierarchical_bootstrap
from multiview.parameters import ConfigError
from multiview.presets import load_preset, load_toml, preset_names, preset_toml
from multiview.stores.sweep_store import SweepStore
from multiview.stores.tables import summarise
from multiview.studies.study import run_study


def test_table_gives_means_and_intervals_in_every_format(swept, capsys):
    data = multiview.open_results(swept)
    table = summarise(data, ["test_error", "learned_views", "dark_knowledge"], by=["num_steps"])
    assert table.by == ("num_steps",)
    assert [r.keys for r in table.rows] == [(20,), (30,), (40,)]
    assert all(r.networks == 12 and r.non_finite == 0 for r in table.rows)
    values = data["test_error"].sel(num_steps=30)
    assert table.rows[1].values[0][0] == pytest.approx(float(values.mean()))
    learned = data["learned_views"].sel(num_steps=30).transpose("replicate", ...).values.reshape(4, 3)
    assert table.rows[1].values[1][1:] == hierarchical_bootstrap(learned)
    # One point: exactly the interval that `verify` gives.
    study = replace(small(), {"train.num_steps": 30, "seed": 1})
    result = run_study(study, distillation=False)
    one = summarise(data.sel(num_steps=[30], study_seed=[1]), ["test_error"])
    expected = error_interval(result.groups["single"].errors, study.data.single_view_fraction, small().seed)
    assert one.rows[0].values[0][1:] == expected
    for form, word in [
        ("text", "num_steps"),
        ("markdown", "| --- |"),
        ("csv", "test_error_low"),
        ("latex", r"\toprule"),
    ]:
        assert main(["table", str(swept), "--format", form]) == 0
        out = capsys.readouterr().out
        assert word in out
        assert len(out.splitlines()) >= 7


def test_ls_and_show_say_what_is_there(swept, tmp_path, capsys):
    store = copy(swept, tmp_path)
    SweepStore(store, writable=True).forget([(0, 0, 0)])
    assert main(["ls", str(tmp_path)]) == 0
    assert "sweep, 11 of 12 blocks done" in capsys.readouterr().out
    assert main(["show", str(store)]) == 0
    out = capsys.readouterr().out
    for word in ("preset smoke", "train.num_steps = 20, 30, 40", "data.num_train = 40", "jax"):
        assert word in out
    (tmp_path / "empty").mkdir()
    assert main(["ls", str(tmp_path / "empty")]) == 0
    assert "no stores" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["netcdf", "csv", "parquet"])
def test_export_gives_back_the_same_numbers(kind, swept, tmp_path):
    import pandas as pd

    data = multiview.open_results(swept)
    file = tmp_path / "out"
    if kind != "csv":
        pytest.importorskip("h5netcdf" if kind == "netcdf" else "pyarrow")
    assert main(["export", str(swept), "--to", kind, "--out", str(file)]) == 0
    if kind == "netcdf":
        with xr.open_dataset(file, engine="h5netcdf") as found:
            xr.testing.assert_equal(found.load(), data.load())
        return
    frame = pd.read_csv(file) if kind == "csv" else pd.read_parquet(file)
    assert len(frame) == 3 * 2 * 2 * 3
    row = frame[(frame.num_steps == 30) & (frame.study_seed == 1) & (frame.replicate == 1) & (frame.seed == 2)]
    assert row.test_error.item() == float(data["test_error"].sel(num_steps=30, study_seed=1)[1, 2])


@pytest.mark.parametrize("name", preset_names())
def test_init_writes_a_file_that_is_the_preset_with_every_parameter_explained(name, tmp_path, capsys):
    file = tmp_path / "study.toml"
    assert main(["init", name, "--out", str(file)]) == 0
    assert load_toml(file) == load_preset(name)
    text = file.read_text()
    assert text == preset_toml(name)
    assert len(tomllib.loads(text)["data"]) == len([n for n in all_fields() if n.startswith("data.")])
    for field in all_fields():
        assert explained(field) in text or field == "preset"
    assert main(["init", name, "--out", str(file)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_dry_run_prints_the_plan_and_writes_nothing(empty, capsys):
    over = ["data.single_view_fraction=0.01:0.2:8:log", "network.relu_power=2,3,4"]
    assert main([*words(empty / "a", over), "--dry-run"]) == 0
    out = capsys.readouterr().out
    for word in ("24 points", "48 blocks", "group 3: 8 points, one compiled program (network.relu_power=4.0)",
                 "3 seeds", "Predicted: about", "GB"):  # fmt: skip
        assert word in out
    assert list(empty.iterdir()) == []


def test_quiet_prints_nothing_and_plain_output_one_line_a_group(tmp_path, capsys):
    assert main([*words(tmp_path / "a", over=["seed=0,1"]), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(words(tmp_path / "b", over=["seed=0,1"])) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "2 points, 4 blocks in 1 groups" in lines[0]
    assert lines[1].startswith("group 1/1 finished; in all 4/4 blocks, 2 points, 0 failed")
    assert [e["event"] for e in events(tmp_path / "b")] == ["start", *["block"] * 4, "end"]


@pytest.mark.parametrize("command", [["show"], ["table"], ["check"], ["export", "--to=csv", "--out=x"], ["sweep"]])
@pytest.mark.parametrize("what", ["missing", "file", "empty", "text", "version", "no config"])
def test_what_is_no_store_is_refused_in_one_line(command, what, empty, capsys):
    store = empty / "store"
    if what == "file":
        store.write_text("no store")
    elif what != "missing":
        store.mkdir()
    if what == "text":
        (store / "zarr.json").write_text("{")
    if what == "version":
        (store / "zarr.json").write_text(json.dumps({"attributes": {"config": "{}", "sweep": "{}", "format": 99}}))
    if what == "no config":
        (store / "zarr.json").write_text(json.dumps({"attributes": {}}))
    if command == ["sweep"]:
        if what == "missing":
            return
        words_ = ["sweep", "--preset=smoke", "--over", "seeds=2,3", "--out", "store"]
    else:
        words_ = [command[0], "store", *command[1:]]
    assert main(words_) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("multiview: error: store = ")
    assert "'store'" in line
    assert not (empty / "x").exists()


def test_a_store_that_is_read_only_or_of_a_study_is_refused(swept, tiny_result, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(ConfigError, match="read-only"):
        multiview.run_sweep(small(), OVER, swept)
    from multiview.stores.labelled import to_datatree
    from multiview.stores.store import write_store

    write_store(tmp_path / "study", to_datatree(tiny_result))
    with pytest.raises(ConfigError, match="holds one study and no sweep"):
        multiview.run_sweep(small(), OVER, tmp_path / "study")


def test_bad_tables(swept, capsys):
    assert main(["table", str(swept), "--measure", "tset_error"]) == 2
    assert "--measure = 'tset_error'" in capsys.readouterr().err
    assert main(["table", str(swept), "--by", "time"]) == 2
    assert "--by = 'time'" in capsys.readouterr().err

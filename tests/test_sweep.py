"""Sweeps: designs, plans, groups, stores, tables; the same numbers as `multiview train`; bad input."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import json
import math
import os
import shutil
import tomllib

import numpy as np
import pytest
import xarray as xr
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sweeping import OVER, contents, events, small, words

import multiview
from multiview.commands.main import main
from multiview.config import all_fields, explained, from_mapping, replace
from multiview.measures.errors import error_interval, hierarchical_bootstrap
from multiview.parameters import ConfigError
from multiview.presets import load_preset, load_toml, preset_names, preset_toml
from multiview.stores.sweep_store import DONE, SweepStore
from multiview.stores.tables import summarise
from multiview.studies.study import run_study, training_tasks
from multiview.sweeps.block import as_text, run_blocks
from multiview.sweeps.design import make_design
from multiview.sweeps.grammar import labels, parse_values
from multiview.sweeps.plan import ROW_MULTIPLE, group_key, make_plan
from multiview.world.world import World

pytestmark = pytest.mark.bits

EXAMPLES = 2000 if os.environ.get("MULTIVIEW_LONG_TESTS") else 300


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A finished sweep: 3 numbers of steps × 2 seeds of everything × 2 replicates × 3 networks."""
    path = tmp_path_factory.mktemp("swept") / "sweep.zarr"
    outcome = multiview.run_sweep(small(), OVER, path)
    assert (outcome.done, outcome.failed, outcome.total) == (12, 0, 12)
    return path


# --- designs ---


@pytest.mark.parametrize(
    ("field", "text", "values"),
    [
        ("network.relu_power", "2,3,4", [2.0, 3.0, 4.0]),
        ("data.single_view_fraction", "0.1:0.3:3", [0.1, 0.2, 0.3]),
        ("data.single_view_fraction", "0.01:1:3:log", [0.01, 0.1, 1.0]),
        ("train.num_steps", "100:1000:3:log", [100, 316, 1000]),
        ("seeds", "4,8", [4, 8]),
        ("data.label_strength", "[1,1.5],[1,2]", [(1.0, 1.5), (1.0, 2.0)]),
        ("data.view_strengths", "[],[1,2]", [(), (1.0, 2.0)]),
        ("train.dtype", "float32,float64", ["float32", "float64"]),
        ("distill.logit_cap", "1,inf", [1.0, math.inf]),
    ],
)
def test_the_grammar_of_an_axis(field, text, values):
    found = parse_values(field, text)
    assert found == values
    assert [type(v) for v in found] == [type(v) for v in values]


def test_a_grid_is_the_product_of_its_axes_and_zipped_axes_run_together():
    design = make_design(["network.relu_power=2,3"], [["seeds=4,8", "train.num_steps=100,200"]])
    assert design.dimensions == ("relu_power", "zip")
    found = [tuple(design.changes(p).values()) for p in range(design.num_points)]
    assert found == [(2.0, 4, 100), (2.0, 8, 200), (3.0, 4, 100), (3.0, 8, 200)]
    with pytest.raises(ConfigError, match=r"seeds has 2, train.num_steps has 3"):
        make_design([], [["seeds=4,8", "train.num_steps=1,2,3"]])


@pytest.mark.parametrize("method", ["random", "sobol"])
def test_drawn_designs_stay_inside_and_follow_their_seed(method):
    over = ["data.single_view_fraction=0.01:0.2:log", "seeds=2:5", "train.dtype=float32,float64", "data.noise_norm=0:1"]
    design = make_design(over, method=method, points=64)
    mu, seeds, dtype, noise = (np.array(c) for c in zip(*design.factors[0].rows, strict=True))
    assert design.shape == (64,)
    assert (mu >= 0.01).all()
    assert (mu <= 0.2).all()
    assert set(seeds) == {2, 3, 4, 5}
    assert set(dtype) == {"float32", "float64"}
    # Uniform in the logarithm: half of the points below the geometric mean, within 4 standard errors.
    assert abs((mu < math.sqrt(0.01 * 0.2)).mean() - 0.5) < 4 * 0.5 / 8
    assert abs(noise.mean() - 0.5) < 4 * math.sqrt(1 / 12 / 64)
    assert design == make_design(over, method=method, points=64)
    assert design != make_design(over, method=method, points=64, design_seed=1)


def test_python_gives_axes_as_a_mapping():
    design = make_design({"network.relu_power": [2, 3], "data.single_view_fraction": "0.1:0.2:2"})
    assert design == make_design(["network.relu_power=2,3", "data.single_view_fraction=0.1,0.2"])
    assert make_design({"seeds": np.array([2, 3])}) == make_design(["seeds=2,3"])
    with pytest.raises(ConfigError, match="seeds"):
        make_design({"seeds": 3})


def test_axes_are_named_by_their_last_word_unless_that_misleads():
    fields = ["train.num_steps", "distill.num_steps", "network.relu_power", "seed"]
    assert list(labels(fields).values()) == ["train_num_steps", "distill_num_steps", "relu_power", "study_seed"]


def test_groups_are_points_that_share_their_shapes():
    over = ["train.learning_rate=4,8", "network.relu_power=3,4", "data.noise_norm=0,0.5,1", "seeds=2,3"]
    plan = make_plan(small(), make_design(over))
    assert plan.design.num_points == 24
    assert len(plan.groups) == 4  # power × whether there is noise
    assert sorted(p for g in plan.groups for p in g) == list(range(24))
    for group in plan.groups:
        assert len({group_key(plan.study(p)) for p in group}) == 1
    assert plan.num_blocks == 48
    assert len(set(plan.blocks())) == 48


@pytest.mark.parametrize(
    ("seeds", "block", "cores", "sizes"),
    [
        (16, 2, 2, [1] * 12),  # seeds fill the blocks in flight: point by point
        (4, 16, 1, [4] * 3),  # four points share a block
        (3, 2, 2, [4] * 3),
        (5, 2, 2, [3] * 4),  # 15 networks on 16 places
        (63, 64, 1, [1] * 12),  # a place in 64 is left empty sooner than many points are tied together
        (1, 64, 1, [12]),
    ],
)
def test_points_are_tied_together_only_as_far_as_it_keeps_devices_busy(seeds, block, cores, sizes):
    over = ["train.learning_rate=1:12:12"]
    plan = make_plan(replace(small(), {"seeds": seeds, "replicates": 1}), make_design(over))
    units = list(plan.units(plan.blocks(), block, cores))
    assert [len(unit) for unit in units] == sizes
    assert [b for unit in units for b in unit] == list(plan.blocks())


def test_only_points_that_share_data_and_steps_are_trained_together():
    own = ["network.init_std=0.01,0.02", "network.relu_threshold=1,2", "seeds=1,2"]
    plan = make_plan(small(), make_design(["data.noise_norm=0.3,0.6", "train.num_steps=20,30", *own]))
    assert len(plan.groups) == 1
    units = list(plan.units(plan.blocks(), 64, 64))
    assert len(units) == 4 * 2  # noise × steps, and replicates
    for unit in units:
        assert len(unit) == 8
        studies = [plan.study(b.point) for b in unit]
        assert len({(s.data, s.train.num_steps) for s in studies}) == 1
        assert len({b.replicate for b in unit}) == 1
    assert sorted(b for unit in units for b in unit) == [(p, r) for p in range(32) for r in range(2)]


def test_the_plan_knows_the_block_of_the_cpu():
    from multiview.sweeps.cost import CPU_BLOCK
    from multiview.systems.block_plan import block_size

    assert block_size(small().train) == CPU_BLOCK


def test_what_a_group_shares_is_declared_for_every_field():
    for name, (field, _) in all_fields().items():
        assert isinstance(field.metadata["traced"], bool), name
    assert not all_fields()["network.relu_power"][0].metadata["traced"]
    assert all_fields()["train.learning_rate"][0].metadata["traced"]


# --- results ---


@pytest.mark.slow
@pytest.mark.parametrize("representation", ["limit_single_view_noise", "limit"])
def test_padded_rows_change_no_bit(representation):
    study = replace(small(), {"data.representation": representation})
    plain, world = run_study(study, distillation=False), World.of(study)
    from multiview.studies.outcome import collect
    from multiview.studies.replicate import run_replicate

    tasks = enumerate(training_tasks(study, world, ROW_MULTIPLE))
    padded = collect(study, [run_replicate(study, world, r, t, distillation=False) for r, t in tasks], None, 0.0)
    one, other = plain.groups["single"], padded.groups["single"]
    np.testing.assert_array_equal(one.weights, other.weights)
    for name, values in one.records.items():
        np.testing.assert_array_equal(values, other.records[name])


def test_a_points_networks_are_bit_by_bit_those_of_train(swept):
    data = multiview.open_results(swept)
    study = replace(small(), {"train.num_steps": 30, "seed": 1})
    result = run_study(study, distillation=False)
    point = data.sel(num_steps=30, study_seed=1)
    single = result.groups["single"]
    for name, values in single.records.items():
        assert name in point, "its row in measures.recorded has no function"
        np.testing.assert_array_equal(point[name].values[:, :, : values.shape[2]], values)
    np.testing.assert_array_equal(point["test_wrong_multi_view"], single.errors.multi_view)
    np.testing.assert_array_equal(point["test_wrong_single_view"], single.errors.single_view)
    np.testing.assert_array_equal(point["test_error"], single.errors.in_units_of_mu(study.data.single_view_fraction))
    np.testing.assert_array_equal(
        point["ensemble_test_wrong_single_view"], result.ensembles["ensemble"].single_view[:, 0]
    )
    np.testing.assert_array_equal(point["dark_knowledge"], result.dark_knowledge)
    np.testing.assert_array_equal(point["view_moments"], result.moments)
    np.testing.assert_array_equal(point["final_overlap"], single.records["largest_overlap"][:, :, -1])


TOGETHER = {
    "rates": (
        {},
        ["train.learning_rate=4,8,3e38", "network.init_std=0.02,0.03", "network.relu_threshold=0.5,1"],
        False,
    ),
    "seeds": ({"train.block_size": 16}, ["train.learning_rate=4,8", "seeds=1,2,3"], False),
    "dense": (
        {"data.representation": "dense", "data.patch_dim": 16},
        ["train.learning_rate=4,8,16", "network.relu_threshold=1,1.5"],
        False,
    ),
    "mini-batches": ({"train.batch_size": 10}, ["train.learning_rate=4,8", "network.init_std=0.02,0.03"], False),
    "float64": ({"train.dtype": "float64"}, ["train.learning_rate=4,8", "network.init_std=0.02,0.03"], False),
    "flow": (
        {"train.solver": "gradient_flow"},
        ["train.flow_tolerance=0.3,0.7", "train.learning_rate=4,8"],
        False,
    ),
    "students": (
        {"students": 3, "self_distill.generations": 2}
        | {f"{s}.{n}": 10 for s in ("distill", "self_distill") for n in ("onset_step", "num_steps")},
        ["distill.weight=1,4", "distill.temperature=1,2", "self_distill.teacher_scale=0.5,1"],
        True,
    ),
}


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize(
    "case", [name if name == "rates" else pytest.param(name, marks=pytest.mark.slow) for name in TOGETHER]
)
def test_points_that_share_blocks_get_bit_by_bit_what_each_gets_alone(case):
    fields, over, students = TOGETHER[case]
    plan = make_plan(replace(small(), fields), make_design(over), students)
    texts = [as_text(plan.study(point)) for point in range(plan.design.num_points)]
    assert len(set(plan.batches)) == 1
    together = run_blocks(texts, 1, students)
    for point, (text, result) in enumerate(zip(texts, together, strict=True)):
        (alone,) = run_blocks([text], 1, students)
        assert result.reason == alone.reason
        assert bool(result.reason) == (plan.study(point).train.learning_rate > 1e6)
        assert list(result.arrays) == list(alone.arrays)
        for name, values in alone.arrays.items():
            np.testing.assert_array_equal(result.arrays[name], values, err_msg=name)


def test_a_group_compiles_once(tmp_path):
    from multiview.systems import network

    before = network.SYSTEM.advance._cache_size()
    over = ["train.learning_rate=1:50:10", "network.init_std=0.02,0.03"]
    plan = make_plan(small(), make_design(over))
    assert len(plan.groups) == 1
    assert multiview.run_sweep(small(), over, tmp_path / "a").done == 40
    assert network.SYSTEM.advance._cache_size() - before <= 1


def test_dimensions_units_and_circumstances_are_labelled(swept):
    data = multiview.open_results(swept)
    assert isinstance(data, xr.Dataset)
    assert data["largest_overlap"].dims == ("num_steps", "study_seed", "replicate", "seed", "time", "class", "view")
    assert data["num_steps"].values.tolist() == [20, 30, 40]
    assert data["num_steps"].attrs["field"] == "train.num_steps"
    assert data["step"].dims == ("num_steps", "study_seed", "time")
    assert data["step"].values[:, 0, -1].tolist() == [20, 30, 40]
    assert data["test_error"].attrs["unit"] == "μ"
    assert from_mapping(json.loads(data.attrs["config"])) == small()
    assert {"versions", "device", "git_commit", "run_id", "sweep"} <= set(data.attrs)
    grouped = data["test_error"].groupby("num_steps").mean(...)
    assert grouped.dims == ("num_steps",)


def test_a_finished_sweep_computes_nothing_again(swept, monkeypatch):
    monkeypatch.setattr("multiview.sweeps.executors.run_blocks", lambda *_: pytest.fail("computed again"))
    before = contents(swept)
    assert multiview.run_sweep(small(), OVER, swept).done == 12
    assert contents(swept) == before


def test_points_of_different_sizes_are_padded_with_nothing(tmp_path):
    multiview.run_sweep(
        replace(small(), {"replicates": 1}), [], tmp_path / "a", zipped=[["seeds=2,3", "replicates=1,2"]]
    )
    data = multiview.open_results(tmp_path / "a")
    assert (data.sizes["zip"], data.sizes["seed"], data.sizes["replicate"]) == (2, 3, 2)
    assert data["seeds"].values.tolist() == [2, 3]
    assert np.isnan(data["test_error"].values[0, 0]).tolist() == [False, False, True]
    assert data["done"].values.tolist() == [[1, -1], [1, 1]]
    assert main(["check", str(tmp_path / "a")]) == 0


@pytest.mark.slow
def test_students_are_measured_where_they_are_asked_for(tmp_path):
    study = replace(
        small(),
        {"replicates": 1, "students": 2, "train.num_steps": 20}
        | {f"{s}.{n}": 10 for s in ("distill", "self_distill") for n in ("onset_step", "num_steps")},
    )
    multiview.run_sweep(study, ["seed=0,1"], tmp_path / "a", students=True)
    data = multiview.open_results(tmp_path / "a")
    result = run_study(replace(study, {"seed": 1}))
    for name in ("distilled", "self_distilled"):
        assert data[f"{name}_test_error"].dims == ("study_seed", "replicate", "student")
        expected = result.groups[name].errors.single_view
        np.testing.assert_array_equal(data[f"{name}_test_wrong_single_view"].sel(study_seed=1), expected)
    with pytest.raises(ConfigError, match="students is True there, False here"):
        multiview.run_sweep(study, ["seed=0,1"], tmp_path / "a")


def test_a_failed_point_is_recorded_with_its_reason_and_the_rest_goes_on(tmp_path, capsys, monkeypatch):
    import multiview.studies.replicate

    real = multiview.studies.replicate.run_replicates

    def run_replicates(studies, world, replicate, *arguments, **options):
        if (studies[0].seed, replicate) == (1, 0):
            raise MemoryError("no more")
        return real(studies, world, replicate, *arguments, **options)

    monkeypatch.setattr(multiview.studies.replicate, "run_replicates", run_replicates)
    store = tmp_path / "a"
    over = ["seed=0,1", "network.init_std=0.02,3e38"]
    outcome = multiview.run_sweep(small(), over, store)
    assert (outcome.done, outcome.failed) == (3, 5)
    reasons = dict(SweepStore(store).failures())
    assert reasons[(1, 0, 0)].startswith("out of memory")
    assert reasons[(0, 1, 0)].startswith("non-finite: 3 of 3 single networks")
    assert main(["show", str(store)]) == 0
    assert "out of memory" in capsys.readouterr().out
    # Not again without being asked, and then only what failed.
    assert multiview.run_sweep(small(), over, store).failed == 5
    assert len([e for e in events(store) if e["event"] == "block"]) == 8
    monkeypatch.setattr(multiview.studies.replicate, "run_replicates", real)
    outcome = multiview.run_sweep(small(), over, store, retry_failed=True)
    assert (outcome.done, outcome.failed) == (4, 4)
    assert len([e for e in events(store) if e["event"] == "block"]) == 13
    assert main(["table", str(store), "--by", "study_seed,init_std"]) == 0
    assert "non-finite" in capsys.readouterr().out


# --- what does not fit ---


def test_a_changed_configuration_never_mixes_in(swept):
    before = contents(swept)
    with pytest.raises(ConfigError, match=r"data.num_train is 40 there, 41 here"):
        multiview.run_sweep(replace(small(), {"data.num_train": 41}), OVER, swept)
    with pytest.raises(ConfigError, match=r"axis train.num_steps is 20,30,40 there, 20,30 here"):
        multiview.run_sweep(small(), ["train.num_steps=20,30", "seed=0,1"], swept)
    with pytest.raises(ConfigError, match=r"axis seed is 0,1 there, missing here"):
        multiview.run_sweep(small(), ["train.num_steps=20,30,40"], swept)
    assert contents(swept) == before


def copy(store, tmp_path):
    import shutil

    return shutil.copytree(store, tmp_path / "copy.zarr")


@pytest.mark.parametrize("what", ["flipped", "cut", "missing", "done"])
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


# --- commands ---


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


# --- bad input ---


BAD = {
    "no values": (["--over", "seeds"], "FIELD=VALUES"),
    "empty": (["--over", "seeds="], "FIELD=VALUES"),
    "empty value": (["--over", "seeds=2,,3"], "a value is missing"),
    "inverted": (["--over", "train.learning_rate=8:2:4"], "inverted"),
    "empty range": (["--over", "train.learning_rate=2:2:4"], "empty"),
    "no count": (["--over", "train.learning_rate=2:4"], "LOW:HIGH:COUNT"),
    "count of one": (["--over", "train.learning_rate=2:4:1"], "2 or more"),
    "log from zero": (["--over", "data.noise_norm=0:1:3:log"], "above 0"),
    "unknown spacing": (["--over", "data.noise_norm=0:1:3:exp"], "LOW:HIGH:COUNT:log"),
    "too wide": (["--over", "data.noise_norm=-1e308:1e308:3"], "too wide"),
    "not finite": (["--over", "data.noise_norm=0:inf:3"], "no finite number"),
    "unknown": (["--over", "data.num_clases=2,3"], "did you mean data.num_classes"),
    "derived": (["--over", "data.num_features=2,3"], "derived"),
    "preset": (["--over", "preset=smoke,paper"], "no axis"),
    "wrong type": (["--over", "seeds=2,2.5"], "whole number"),
    "range of words": (["--over", "train.dtype=1:2:3"], "needs a field that is a number"),
    "not allowed": (["--over", "network.relu_power=2,0.5"], "≥ 1"),
    "not allowed together": (["--over", "data.num_views=2,9", "train.num_steps=1,2"], "at point 2: data.num_views=9"),
    "twice": (["--over", "seeds=2,2"], "twice"),
    "two axes": (["--over", "seeds=2,3", "seeds=4,5"], "two axes"),
    "unequal": (["--zip", "seeds=2,3", "train.num_steps=1,2,3"], "equally many"),
    "million": (["--over", "train.num_steps=1:1000:1000", "seed=0:1000:1001"], "--yes"),
    "random without axes": (["--random=4"], "at least one"),
    "random of none": (["--random=0", "--over", "data.noise_norm=0:1"], "≥ 1"),
    "both": (["--random=4", "--sobol=4", "--over", "data.noise_norm=0:1"], "--random and --sobol exclude"),
    "zip in sobol": (["--sobol=4", "--zip", "seeds=2,3"], "--zip"),
    "broken whole range": (["--sobol=4", "--over", "seeds=2:3.5"], "whole numbers"),
    "cluster": (["--cluster=nowhere", "--over", "seeds=2,3"], "--cluster"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_designs_are_one_line_and_write_nothing(case, empty, capsys):
    given, named = BAD[case]
    assert main(["sweep", "--preset=smoke", *given, "--out=a"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("multiview: error: ")
    assert named in line
    assert list(empty.iterdir()) == []


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


FIELD = st.one_of(st.sampled_from(sorted(all_fields())), st.sampled_from(["data.num_features", "data", "", "seed "]))
NUMBER = st.one_of(
    st.integers(-3, 40).map(str),
    st.floats(0, 5).map(lambda x: f"{x:.3g}"),
    st.sampled_from(["nan", "inf", "-inf", "1e308", "-1e308", "1e400", "1_0", "٣", "0x1", "", " 2 ", "log", "[1,2]",
                     "[1", "dense", "limit", "float64", "one_sided", "sgd", "adam", "True", "[]"]),
)  # fmt: skip
VALUES = st.one_of(
    st.lists(NUMBER, max_size=4).map(",".join),
    st.tuples(NUMBER, NUMBER, st.one_of(st.integers(0, 9).map(str), NUMBER)).map(":".join),
    st.tuples(NUMBER, NUMBER, st.integers(1, 9).map(str), st.sampled_from(["log", "lin", ""])).map(":".join),
    st.tuples(NUMBER, NUMBER, st.integers(10**6 + 1, 10**30).map(str)).map(":".join),
    st.text(max_size=8),
)
AXIS = st.one_of(st.tuples(FIELD, VALUES).map("=".join), st.tuples(FIELD, VALUES).map("=".join), st.text(max_size=10))
FLAG = st.tuples(
    st.sampled_from(sorted(n for n in all_fields() if n != "preset")), st.one_of(NUMBER, st.text(max_size=5))
).map(lambda p: f"--{p[0].replace('_', '-')}={p[1]}")
DRAWN = st.one_of(
    st.just([]), st.tuples(st.sampled_from(["--random=", "--sobol="]), NUMBER).map(lambda p: ["".join(p)])
)


@settings(max_examples=EXAMPLES)
@example(["data.noise_norm=0:1:5"], [], [], [])
@example([], [], [], [])
@given(st.lists(AXIS, max_size=3), st.lists(AXIS, max_size=2), st.lists(FLAG, max_size=2), DRAWN)
def test_any_configuration_and_any_axes_run_their_dry_run_or_end_in_one_line(over, zipped, flags, drawn):
    command = ["sweep", "--preset=smoke", *flags, *drawn, "--out=nowhere/sweep.zarr", "--dry-run"]
    command += ["--over", *over] if over else []
    command += ["--zip", *zipped] if zipped else []
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(command)
    if status == 0:
        assert "points (" in out.getvalue() or "Predicted" in out.getvalue()
        return
    assert status == 2
    assert len(err.getvalue().splitlines()) == 1, err.getvalue()
    assert err.getvalue().startswith("multiview: error: ")


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


@pytest.mark.slow
def test_a_contrast_has_its_own_steps_beside_a_network(tmp_path):
    """It is recorded at start and end alone; the end is no early step of the network's."""
    base = replace(small(), {"replicates": 1, "seeds": 1})
    outcome = multiview.run_sweep(base, ["system=network,random_features"], tmp_path / "a")
    assert (outcome.done, outcome.failed) == (2, 0)
    data = multiview.open_results(tmp_path / "a")
    assert data["step"].dims == ("system", "time")
    assert data["step"].sel(system="random_features").values.tolist() == [0] + [40] * (data.sizes["time"] - 1)
    assert data["step"].sel(system="network").values[-1] == 40
    wrong = data["train_error"].isel(replicate=0, seed=0)
    assert np.isfinite(wrong.sel(system="network")).all()
    assert np.isfinite(wrong.sel(system="random_features")).values.tolist() == [True] * 2 + [False] * (
        wrong.time.size - 2
    )
    assert wrong.sel(system="random_features")[1] == data["final_train_error"].sel(system="random_features")[0, 0]

"""Results of sweeps: the numbers of `multiview train` bit by bit, in shared blocks too, labelled and complete."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from sweeping import OVER, contents, events, small

import multiview
from multiview.commands.main import main
from multiview.config import from_mapping, replace
from multiview.parameters import ConfigError
from multiview.stores.sweep_store import SweepStore
from multiview.studies.study import run_study, training_tasks
from multiview.sweeps.block import as_text, run_blocks
from multiview.sweeps.design import make_design
from multiview.sweeps.plan import ROW_MULTIPLE, make_plan
from multiview.world.world import World


@pytest.mark.bits
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
@pytest.mark.bits
@pytest.mark.slow
@pytest.mark.parametrize("case", TOGETHER)
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


@pytest.mark.slow
def test_a_group_compiles_once(tmp_path):
    from multiview.systems import network

    before = network.all_pairs_steps._cache_size()
    over = ["train.learning_rate=1:50:10", "network.init_std=0.02,0.03"]
    plan = make_plan(small(), make_design(over))
    assert len(plan.groups) == 1
    assert multiview.run_sweep(small(), over, tmp_path / "a").done == 40
    assert network.all_pairs_steps._cache_size() - before <= 1


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


@pytest.mark.release
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


@pytest.mark.slow
def test_a_contrast_is_recorded_at_the_steps_of_a_network(tmp_path):
    """All along; the last record is of the trained system, which went on after the last step if a sample was wrong."""
    base = replace(small(), {"replicates": 1, "seeds": 1})
    outcome = multiview.run_sweep(base, ["system=network,random_features"], tmp_path / "a")
    assert (outcome.done, outcome.failed) == (2, 0)
    data = multiview.open_results(tmp_path / "a")
    assert data["step"].dims == ("time",)
    assert data["step"].values[-1] == 40
    wrong = data["train_error"].isel(replicate=0, seed=0)
    assert np.isfinite(wrong).all()
    assert wrong.sel(system="random_features")[-1] == data["final_train_error"].sel(system="random_features")[0, 0]

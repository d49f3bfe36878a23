"""Designs and plans of sweeps: axes, groups, units of work; any axes run their dry run or end in one line."""

from __future__ import annotations

import contextlib
import io
import math
import os

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sweeping import small

from multiview.commands.main import main
from multiview.config import all_fields, replace
from multiview.parameters import ConfigError
from multiview.sweeps.design import make_design
from multiview.sweeps.grammar import labels, parse_values
from multiview.sweeps.plan import group_key, make_plan

EXAMPLES = 2000 if os.environ.get("MULTIVIEW_LONG_TESTS") else 60


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


@pytest.mark.slow
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

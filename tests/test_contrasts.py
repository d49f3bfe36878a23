"""Contrast systems: the average of one is the network, so is the dial at 1; every system keeps the same promises."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from multiview import streams
from multiview.commands.main import main
from multiview.config import Study, replace
from multiview.measures.recorded import record_measures
from multiview.parameters import ConfigError
from multiview.stores.store import open_results
from multiview.studies.study import run_study, training_tasks
from multiview.sweeps.cost import PROCESS_BYTES, worker_bytes
from multiview.systems import blocks, lazy, table
from multiview.systems.block_plan import block_bytes
from multiview.systems.blocks import settings_of, sizes_of, start_keys, train_networks
from multiview.systems.descent import descend, start_state
from multiview.training import devices
from multiview.world.own import OwnWorld


def rounding(study, steps: int) -> float:
    r"""Relative difference of two programs of the same arithmetic: ε in each step, times what the race makes of it.

    Tensor power iteration takes a relative error of an overlap from Λ(0) to ϱ times $(\varrho/\Lambda(0))^{q-2}$.
    """
    network = study.network
    grown = (network.relu_threshold / network.init_std) ** (network.relu_power - 2)
    return float(np.finfo(np.float32).eps) * steps * grown


@pytest.mark.slow
def test_average_of_one_network_is_that_network(tiny, task):
    """K = 1: same step size, same logits after training."""
    keys = start_keys(tiny, streams.START, 0, range(1))
    one = train_networks(tiny, task, keys, num_steps=60, system="average")
    steps = int(one.records["gradient_evaluations"][0, -1])
    network = train_networks(tiny, task, keys, num_steps=steps, record_at=[steps])
    room = rounding(tiny, steps)
    np.testing.assert_allclose(one.train_logits, network.train_logits, rtol=room, atol=room)
    np.testing.assert_allclose(one.weights, network.weights, rtol=room, atol=room * tiny.network.init_std)


@pytest.mark.slow
def test_members_of_an_average_start_like_single_networks_at_their_step_size(tiny, task):
    """While logits are far below 1 the residual is common, so at K·η each member moves as a single network at η."""
    keys = start_keys(tiny, streams.START, 0, range(3))
    together, alone = (
        train_networks(tiny, task, keys, num_steps=3, record_at=[0, 3, 4], system=s) for s in ("average", "network")
    )
    for name in ("largest_overlap", "total_overlap"):
        np.testing.assert_allclose(together.records[name][:, 1], alone.records[name][:, 1], atol=2e-5)


def test_descent_stops_where_it_is_told(task):
    """A system that cannot learn takes the longer run; one whose samples are all right stops at the shorter."""
    k = int(task.data.labels.max()) + 1
    right = jax.nn.one_hot(task.data.labels, k)
    stuck = descend(lambda p, _: p * jnp.ones((len(right), k)), start_state(jnp.ones(())), 0, 9, 3, task, 1.0)
    done = descend(lambda p, _: p * right, start_state(jnp.ones(())), 0, 9, 3, task, 1.0)
    assert (int(stuck.taken), int(done.taken)) == (9, 3)
    assert int(stuck.wrong) > 0 == int(done.wrong)


def test_stretches_of_descent_are_one_descent(task):
    """Records cut training into stretches; they change no number, and patience begins after the last."""
    k = int(task.data.labels.max()) + 1
    right = jax.nn.one_hot(task.data.labels, k)

    def outputs(p, _):
        return p * right

    whole = descend(outputs, start_state(jnp.zeros(())), 0, 9, 9, task, 1.0)
    half = descend(outputs, start_state(jnp.zeros(())), 0, 4, 4, task, 1.0)
    both = descend(outputs, half, 4, 9, 9, task, 1.0)
    assert float(both.parameters) == float(whole.parameters) > float(half.parameters)
    assert int(both.taken) == int(whole.taken) == 9


@pytest.mark.slow
def test_lazy_dial_is_the_network_at_1_and_linear_far_above(tiny, task):
    """α = 1: logits of the network less its start's. α → ∞: overlaps hardly move. Step sizes follow the rule."""
    keys = start_keys(tiny, streams.START, 0, range(1))
    study = replace(tiny, {"system": "lazy", "output_scale": 1.0})
    one = train_networks(study, task, keys, num_steps=20, record_at=[0, 20, 21])
    network = train_networks(tiny, task, keys, num_steps=20, record_at=[0, 20, 21])
    for name in ("largest_overlap", "total_overlap"):
        np.testing.assert_allclose(one.records[name][:, 1], network.records[name][:, 1], rtol=2e-3, atol=2e-5)
    far = replace(study, {"output_scale": 1e9})
    overlap = train_networks(far, task, keys, num_steps=20, record_at=[0, 20, 21]).records["largest_overlap"][0]
    moved = np.abs(overlap[1] - overlap[0]).max()
    assert 0 < moved < 0.1 * tiny.network.init_std
    s = (tiny.network.init_std / tiny.network.relu_threshold) ** (tiny.network.relu_power - 1)
    assert lazy.learning_rate(far) == pytest.approx(tiny.train.learning_rate / (1e9 * s) ** 2)
    assert lazy.learning_rate(study) == tiny.train.learning_rate


SYSTEMS = tuple(name for name in table.SYSTEMS if name != "network")


@pytest.mark.parametrize(
    "system",
    ["linearised", *(pytest.param(s, marks=pytest.mark.slow) for s in ("average", "lazy", "random_features"))],
)
def test_a_system_goes_through_a_whole_study(tiny, system):
    """Singles, ensembles, students of both kinds, records, progress up to the end."""
    short = {"train.num_steps": 40, "distill.num_steps": 20, "self_distill.num_steps": 20, "replicates": 1}
    study = replace(tiny, {"system": system, "data.num_test_multi_view": 60, "data.num_test_single_view": 60, **short})
    told = []
    result = run_study(study, lambda what, done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]
    assert set(result.groups) == {"single", "distilled", "self_distilled"}
    for name, group in result.groups.items():
        count = study.seeds if name == "single" else study.students
        assert group.errors.multi_view.shape == (1, count)
        assert group.finite.all()
        assert len(group.times) == group.records["largest_overlap"].shape[2]
    assert result.ensembles["ensemble"].multi_view.shape == (1, 1)


@pytest.mark.slow
def test_the_dial_at_1_is_the_network_of_the_same_seeds(tiny):
    """Test errors and final overlaps, but for the start's tiny outputs, where neither needs the longer run."""
    study = replace(tiny, {"replicates": 1, "train.num_steps": 150})
    network, lazy = (run_study(replace(study, {"system": s}), distillation=False) for s in ("network", "lazy"))
    one, other = (r.groups["single"] for r in (network, lazy))
    assert (other.records["gradient_evaluations"][:, :, -1] == 150).all()
    np.testing.assert_allclose(
        one.records["largest_overlap"][:, :, -1], other.records["largest_overlap"][:, :, -1], rtol=0.02, atol=1e-4
    )
    assert np.abs(one.errors.single_view - other.errors.single_view).max() <= 0.05 * one.errors.num_single_view


def test_the_mean_of_an_average_s_members_is_the_average(tiny, task):
    """Training errors recorded are those of the average, and its members' mean logits are its logits."""
    study = replace(tiny, {"system": "average", "train.num_steps": 30})
    members = train_networks(study, task, start_keys(study, streams.START, 0, range(3)), num_steps=30)
    wrong = (members.train_logits.mean(0).argmax(-1) != np.asarray(task.data.labels)).sum()
    assert (members.records["train_wrong"][:, -1] == wrong).all()
    assert (members.train_logits.argmax(-1) != np.asarray(task.data.labels)).sum(-1).max() >= wrong


@pytest.mark.release
@pytest.mark.bits
@pytest.mark.parametrize("system", ["lazy", "linearised"])
def test_seed_1_is_the_same_member_in_any_batch(tiny, task, system):
    study = replace(tiny, {"system": system, "train.num_steps": 10})
    few, many = (
        train_networks(study, task, start_keys(study, streams.START, 0, range(n)), num_steps=10) for n in (2, 5)
    )
    np.testing.assert_array_equal(few.weights[1], many.weights[1])
    np.testing.assert_array_equal(few.train_logits[1], many.train_logits[1])


@pytest.mark.bits
@pytest.mark.release
@pytest.mark.parametrize("system", SYSTEMS)
def test_records_change_no_number_of_a_system(tiny, task, system):
    study = replace(tiny, {"system": system})
    keys = start_keys(study, streams.START, 0, range(2))
    few, many = (train_networks(study, task, keys, num_steps=12, record_at=at) for at in ([0, 12], [0, 3, 7, 12]))
    np.testing.assert_array_equal(few.weights, many.weights)
    np.testing.assert_array_equal(few.train_logits, many.train_logits)
    for name, values in few.records.items():
        np.testing.assert_array_equal(values[:, -1], many.records[name][:, -1])


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_a_system_trains_in_double_precision_on_samples_of_single(tiny, task, system):
    """A user's own dataset is read in float32."""
    study = replace(tiny, {"system": system, "train.dtype": "float64", "train.num_steps": 5, "replicates": 1})
    keys = start_keys(study, streams.START, 0, range(1))
    members = train_networks(study, training_tasks(study, OwnWorld.of(study, samples=task.data))[0], keys, num_steps=5)
    assert {a.dtype for a in (members.weights, members.train_logits)} == {np.dtype("float64")}


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_budget_too_small_for_a_system_is_one_line(tiny, system):
    study = replace(tiny, {"system": system, "replicates": 1})
    with devices.using(memory=10_000), pytest.raises(ConfigError, match=r"--memory = 10 kB .* takes about [^\n]*$"):
        run_study(study, distillation=False)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(
    "changes", [{}, {"data.representation": "dense", "data.patch_dim": 64}], ids=["limit", "dense"]
)
def test_a_sweep_expects_the_memory_that_a_system_takes(tiny, system, changes):
    study = replace(tiny, {"system": system, "data.num_train": 400, "data.num_single_view_train": 60} | changes)
    study = replace(study, {"seeds": 200, "replicates": 1})
    expected = worker_bytes(study) - PROCESS_BYTES
    assert expected == pytest.approx(block_bytes(study, training_tasks(study)[0]), rel=0.4)


@pytest.mark.bits
@pytest.mark.release
@pytest.mark.parametrize("system", ["lazy", "linearised", "random_features"])
@pytest.mark.parametrize(
    "changes",
    [
        {"data.representation": "dense", "data.patch_dim": 64},
        {"data.num_train": 300},
    ],
    ids=["dense", "samples"],
)
def test_memory_of_a_system_is_predicted_from_above_and_within_three_times(tiny, system, changes):
    """Against the samples, which are there all the time, and what the compiler allots beside them, of a block of 2."""
    study = replace(tiny, {"system": system, "replicates": 1} | changes)
    (task,) = training_tasks(study)
    of, sizes = table.load(system), sizes_of(study, task)
    settings = settings_of([study] * 2, of)
    keys = start_keys(study, streams.START, 0, range(2))
    state = jax.eval_shape(lambda k: of.start(k, None, task, settings, sizes), keys)
    programs = [
        of.start.lower(keys, None, task, settings, sizes),
        of.advance.lower(state, *map(jnp.int32, (0, 5, 5)), task, None, settings, sizes),
        blocks._record.lower(state, task, None, settings, system=of, recorder=record_measures, sizes=sizes),
    ]
    samples = sum(a.nbytes for a in jax.tree.leaves(task))
    beside = 0
    for program in programs:
        m = program.compile().memory_analysis()
        beside = max(beside, m.temp_size_in_bytes + m.output_size_in_bytes)
    assert samples + beside <= block_bytes(study, task) <= 3 * (samples + beside)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"system": "ntk"}, "system = 'ntk' is not allowed: it must be one of network, average, lazy"),
        ({"output_scale": 2.0}, "output_scale = 2.0 is not allowed: it must be 1 with system = 'network'"),
        ({"system": "lazy", "output_scale": 0.5}, "output_scale = 0.5 is not allowed: it must be a number ≥ 1"),
        (
            {"system": "linearised", "train.optimizer": "adam"},
            "train.optimizer = 'adam' is not allowed: it must be sgd",
        ),
        ({"system": "average", "train.solver": "gradient_flow"}, "train.solver = 'gradient_flow' is not allowed"),
        ({"system": "lazy", "train.batch_size": 2}, "train.batch_size = 2 is not allowed: it must be 0 with system"),
    ],
)
def test_bad_systems_are_one_line(changes, words):
    with pytest.raises(ConfigError) as caught:
        replace(Study(), changes)
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


@pytest.fixture
def linear_classifier(monkeypatch):
    """The system of docs/howto/add-a-system.md, from the page itself: its file and its line of the table."""
    page = (Path(__file__).parents[1] / "docs" / "howto" / "add-a-system.md").read_text(encoding="utf-8")
    block, row = re.search(r"```python\n(.*?)```.*?```text\n(.*?)```", page, re.DOTALL).groups()
    module = types.ModuleType("multiview.systems.linear_classifier")
    exec(compile(block, "linear_classifier.py", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    entry = eval("{" + row + "}", {"Entry": table.Entry})
    for name, line in entry.items():
        monkeypatch.setitem(table.SYSTEMS, name, line)


@pytest.mark.slow
def test_a_system_is_one_file_and_one_line_train_sweep_report_and_forecast_know_it(
    linear_classifier, flags, empty, capsys
):
    """Of the linear classifier both views of each class are learned alike: there is no race."""
    words = [*flags, "--system=linear_classifier", "--replicates=1", "--train.num-steps=400"]
    assert main(["train", *words, "--out", "one.zarr"]) == 0
    overlap = open_results("one.zarr")["single"]["largest_overlap"].values[0, :, -1]
    assert (overlap.min(-1) > 0.5 * overlap.max(-1)).all()
    assert main(["report", "one.zarr", "--out", "one.html"]) == 0
    over = [*flags, "--replicates=1", "--over", "system=network,linear_classifier", "--out", "two.zarr"]
    assert main(["sweep", *over, "--dry-run"]) == 0
    assert "of memory a process" in capsys.readouterr().out
    assert main(["sweep", *over, "--quiet"]) == 0
    assert set(open_results("two.zarr")["system"].values) == {"network", "linear_classifier"}

"""Devices, processes and memory: they decide where networks are trained, and never which networks come out."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY

from multiview import machine, streams
from multiview.commands.common import parse_bytes
from multiview.commands.main import main
from multiview.config import replace
from multiview.parameters import ConfigError
from multiview.presets import load_preset
from multiview.settings import in_own_settings
from multiview.stores.store import open_results
from multiview.studies.study import run_study, training_tasks
from multiview.sweeps.cost import PROCESS_BYTES, worker_bytes
from multiview.systems.block_plan import block_bytes
from multiview.systems.blocks import settings_of, sizes_of, start_keys
from multiview.systems.network import all_pairs_steps
from multiview.systems.table import load
from multiview.training import devices
from multiview.world.law import sample_dataset


@pytest.fixture(scope="module")
def on_one_device():
    """What the flags mean (they change the default preset), in this process."""
    return run_study(replace(load_preset("reference"), TINY | {"replicates": 1}), distillation=False)


def train(folder, flags, *more, environment=None):
    """Start `multiview train` without students in a process of its own."""
    command = [sys.executable, "-m", "multiview", "train", "--no-distillation", *flags, "--replicates=1", *more]
    return subprocess.Popen(
        [*command, f"--out={folder}"],
        env=os.environ | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process):
    out, error = process.communicate(timeout=240)
    assert process.returncode == 0, error
    return out


def same_networks(store, result):
    """Bit by bit, records and test errors included."""
    found, group = open_results(store)["single"].to_dataset(), result.groups["single"]
    np.testing.assert_array_equal(found["weights"].values[0], group.weights[0])
    np.testing.assert_array_equal(found["largest_overlap"].values[0], group.records["largest_overlap"][0])
    np.testing.assert_array_equal(found["test_wrong_single_view"].values[0], group.errors.single_view[0])


@pytest.mark.bits
@pytest.mark.slow
def test_four_devices_train_the_same_networks(tmp_path, flags, on_one_device):
    environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    out = finished(train(tmp_path / "four", flags, environment=environment))
    assert "on 4 device(s)" in out
    same_networks(tmp_path / "four", on_one_device)


@pytest.mark.bits
@pytest.mark.release
def test_two_processes_train_the_same_networks_and_one_writes(tmp_path, flags, on_one_device):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    job = ["--distributed", f"--coordinator={address}", "--processes=2"]
    processes = [train(tmp_path / f"of-{rank}", flags, *job, f"--rank={rank}") for rank in (0, 1)]
    first, second = [finished(p) for p in processes]
    assert "Store:" in first
    assert "Store:" not in second
    assert "Memory:" not in second  # the transport between processes prints a line of its own
    assert not (tmp_path / "of-1").exists()
    same_networks(tmp_path / "of-0", on_one_device)


@pytest.mark.slow
def test_processes_that_disagree_on_the_configuration_say_so(tmp_path, flags):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    job = ["--distributed", f"--coordinator={address}", "--processes=2"]
    processes = [train(tmp_path / f"{r}", flags, *job, f"--rank={r}", f"--seed={r}") for r in (0, 1)]
    for process in processes:
        _, error = process.communicate(timeout=240)
        assert process.returncode == 2
        assert "processes disagree on the configuration" in error
    assert not list(tmp_path.iterdir())


@pytest.mark.bits
@pytest.mark.release
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"data.representation": "limit"},
        {"data.representation": "dense", "data.patch_dim": 64},
        {"train.mixup": "midpoint"},
        {"train.dropped_patches": 0.5},
    ],
    ids=["noise on single-view samples", "noise on all", "dense", "mixup", "dropped patches"],
)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_memory_of_a_block_is_predicted_from_above_and_within_three_times(tiny, changes, optimizer):
    """Against what the compiler allots; sizes at which arrays outweigh bookkeeping."""
    sizes = {"data.num_train": 400, "data.num_single_view_train": 60, "network.neurons_per_class": 16}
    study = replace(tiny, sizes | changes | {"replicates": 1, "train.optimizer": optimizer})
    task = training_tasks(study)[0]
    keys = start_keys(study, streams.START, 0, range(2))
    system, sizes = load(study.system), sizes_of(study, task)
    settings = settings_of([study] * 2, system)
    state = system.start(keys, keys if study.train.draws else None, task, settings, sizes)
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam needs it
        lowered = all_pairs_steps.lower(state, *map(jnp.int32, (0, 3)), task, None, settings)
    m = lowered.compile().memory_analysis()
    used = m.temp_size_in_bytes + m.argument_size_in_bytes + m.output_size_in_bytes - m.alias_size_in_bytes
    assert used <= block_bytes(study, task) <= 3 * used


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"data.representation": "limit"},
        {"data.representation": "dense", "data.patch_dim": 64},
        {"train.solver": "gradient_flow"},
        {"train.optimizer": "adam"},
        {"train.mixup": "midpoint", "train.momentum": 0.5},
        {"train.dropped_patches": 0.5, "data.representation": "limit"},
    ],
    ids=["noise on single-view samples", "noise on all", "dense", "flow", "adam", "mixup", "dropped patches"],
)
def test_a_sweep_expects_the_memory_that_the_shapes_take(tiny, changes):
    """One formula: before any sample is drawn only the number of patches is a guess."""
    study = replace(tiny, {"data.num_train": 400, "data.num_single_view_train": 60, "replicates": 1} | changes)
    expected = (worker_bytes(study) - PROCESS_BYTES) / machine.processors()
    assert expected == pytest.approx(block_bytes(study, training_tasks(study)[0]), rel=0.4)


def test_a_budget_bounds_the_blocks_in_flight():
    with devices.using(memory=10_000):
        assert devices.memory_budget() == 10_000
        assert devices.blocks_in_flight(9_000, "") == 1
        with pytest.raises(ConfigError, match=r"--memory = 10 kB .* takes about 11 kB; shrink it"):
            devices.blocks_in_flight(11_000, "shrink it")
    assert devices.memory_budget() > 1e8


@pytest.mark.parametrize(("word", "size"), [("800MB", 800e6), ("1.5 GB", 1.5e9), ("2e9", 2e9), ("4GiB", 4 * 2**30)])
def test_sizes_are_read_as_people_write_them(word, size):
    assert parse_bytes("--memory", word) == size


def test_results_of_blocks_come_back_in_order_without_repeats():
    def work(indices, real, device):
        return {"index": indices, "square": jnp.asarray(indices) ** 2}

    for count in (1, 4, 7):
        out = devices.over_blocks(count, 4, 2, work)
        np.testing.assert_array_equal(out["index"], np.arange(count))
        np.testing.assert_array_equal(out["square"], np.arange(count) ** 2)


def test_gathered_blocks_are_put_in_order():
    """Process p at turn t trained block p + t · processes."""
    gathered = np.array([[[0, 1], [4, 5]], [[2, 3], [6, 7]]])
    np.testing.assert_array_equal(devices._in_block_order(gathered, 2), np.arange(8))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--devices=99"], ["--devices", "99", "1 …"]),
        (["--devices=0"], ["--devices", "0", "≥ 1"]),
        (["--memory=1kB"], ["--memory", "1 kB", "takes about"]),
        (["--memory=much"], ["--memory", "much", "4GB"]),
        (["--rank=1"], ["--rank", "--distributed"]),
        (["--distributed", "--rank=1"], ["--coordinator", "--rank", "--processes"]),
        (["--distributed", "--coordinator=nowhere", "--rank=0", "--processes=2"], ["nowhere", "host:port"]),
        (["--distributed", "--coordinator=127.0.0.1:9", "--rank=2", "--processes=2"], ["--rank", "2", "below"]),
        (
            ["--distributed", "--coordinator=127.0.0.1:9", "--rank=1", "--processes=2", "--timeout=1"],
            ["127.0.0.1:9", "did not answer within 1 s"],
        ),
    ],
)
def test_bad_input_is_one_line(more, words, flags, empty, capsys):
    assert main(["train", "--out=store", "--no-distillation", *flags, *more]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert all(word in error for word in words), error
    assert not list(empty.iterdir())


@pytest.mark.parametrize("switch", [False, True])
def test_worker_threads_compute_in_the_precision_of_who_asks(switch):
    def work(indices, real, device):
        return jnp.asarray(indices, float) / 3

    with jax.enable_x64(switch):
        found = devices.over_blocks(5, 2, 2, work)
    assert found.dtype == (np.float64 if switch else np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("system", ["network", "average", "linearised"])
def test_a_study_in_double_precision_leaves_the_users_own_numbers_as_they_were(tiny, system):
    study = replace(tiny, {"train.dtype": "float64", "system": system, "replicates": 1, "train.num_steps": 5})
    result = run_study(study, distillation=False)
    assert result.groups["single"].weights.dtype == np.float64
    assert result.groups["single"].records["train_loss"].dtype == np.float64
    assert jnp.ones(2).dtype == np.float32


@pytest.mark.bits
@pytest.mark.slow
def test_a_study_is_the_same_whatever_the_users_own_switch_is(tiny):
    """Bit by bit, in either precision."""
    for dtype in ("float32", "float64"):
        study = replace(tiny, {"train.dtype": dtype, "replicates": 1, "train.num_steps": 5})
        one = run_study(study, distillation=False)
        with jax.enable_x64(True):
            other = run_study(study, distillation=False)
            assert jnp.ones(2).dtype == np.float64
        np.testing.assert_array_equal(one.groups["single"].weights, other.groups["single"].weights)
        assert one.groups["single"].weights.dtype == other.groups["single"].weights.dtype == np.dtype(dtype)


@pytest.mark.bits
def test_quickly_compiled_draws_are_the_same_numbers_and_may_be_part_of_another_program():
    """A dataset drawn by its own program, by the plain one and inside a caller's `jit` is the same bit by bit."""
    config, key = load_preset("smoke").data, jax.random.key(3)
    alone = sample_dataset(key, config, 50)
    inside = jax.jit(lambda k: sample_dataset(k, config, 50))(key)
    for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(inside), strict=True):
        assert (np.asarray(one) == np.asarray(other)).all()


def test_a_study_given_by_name_runs_in_its_own_precision_too(tiny):
    def first(study, report=None):
        return jnp.ones(2).dtype

    double = replace(tiny, {"train.dtype": "float64"})
    assert in_own_settings(first)(report=None, study=double) == np.float64
    assert in_own_settings(first)([double, double]) == np.float64
    with pytest.raises(TypeError, match="study"):
        in_own_settings(first)()

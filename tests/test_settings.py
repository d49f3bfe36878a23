"""Numbers depend on the configuration alone: JAX's settings are pinned, refused, or recorded and compared."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from stores import copy, store_swept
from sweeping import OVER, contents, small, words

import multiview
from multiview import settings
from multiview.commands.main import main
from multiview.config import replace
from multiview.parameters import ConfigError
from multiview.stores.sweep_store import SweepStore
from multiview.studies.study import run_study

HERE = Path(__file__).parent
# Values that somebody may have set, for the whole process or in the environment.
SET = {
    "jax_default_prng_impl": "rbg",
    "jax_threefry_partitionable": False,
    "jax_enable_x64": True,
    "jax_default_matmul_precision": "bfloat16",
    "jax_softmax_custom_jvp": True,
    "jax_numpy_dtype_promotion": "strict",
    "jax_numpy_rank_promotion": "raise",
    "jax_legacy_prng_key": "error",
    "jax_disable_jit": True,
    "jax_debug_nans": True,
    "jax_debug_infs": True,
    "jax_debug_key_reuse": True,
    "jax_enable_checks": True,
    "jax_check_tracer_leaks": True,
    "jax_no_execution": True,
    "jax_no_tracing": True,
    "jax_transfer_guard": "disallow",
}


def numbers(changes: dict | None = None) -> str:
    """A digest of a tiny study's numbers: world, networks, students, records, tests; and of samples for anybody."""
    study = replace(small(), {"seeds": 2, "replicates": 1, "students": 1, "train.num_steps": 6, **(changes or {})})
    result = run_study(study)
    arrays = [study.data.num_train, *multiview.make_multiview(20, random_state=1)]
    for group in result.groups.values():
        arrays += [group.weights, group.errors.multi_view, group.errors.single_view, *group.records.values()]
    digest = hashlib.sha256()
    for array in map(np.asarray, arrays):
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def undisturbed() -> str:
    return numbers()


@pytest.fixture
def everybody_sets():
    """Sets one of JAX's settings for the whole process, as its user might."""
    before = dict(jax.config.values)
    yield jax.config.update
    for name, value in before.items():
        if jax.config.values[name] != value:
            jax.config.update(name, value)


def test_the_settings_of_the_process_change_no_number_and_stay_as_they_were(everybody_sets, undisturbed):
    for name, value in SET.items():
        everybody_sets(name, value)
    assert numbers() == undisturbed
    assert {name: jax.config.values[name] for name in SET} == SET


@pytest.mark.slow
@pytest.mark.parametrize("name", SET)
def test_no_setting_alone_changes_a_number(name, everybody_sets, undisturbed):
    everybody_sets(name, SET[name])
    assert numbers() == undisturbed


def test_every_setting_that_is_pinned_is_tried():
    assert {name.removeprefix("jax_") for name in SET} == {*settings.PINNED, "enable_x64"}


@pytest.mark.usefixtures("standard_promotion")
def test_pinned_settings_are_what_jax_has_by_default():
    """Whoever sets nothing computes as before."""
    code = f"import jax; print([str(getattr(jax.config, 'jax_' + name)) for name in {[*settings.PINNED]!r}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = ["None" if name == "transfer_guard" else str(value) for name, value in settings.PINNED.items()]
    assert done.stdout.strip() == str(expected)


def test_what_cannot_be_pinned_is_refused_in_one_line_before_the_work(everybody_sets, tmp_path, capsys):
    everybody_sets("jax_random_seed_offset", 5)
    for call in (
        numbers,
        lambda: multiview.make_multiview(3),
        lambda: multiview.run_sweep(small(), OVER, tmp_path / "a"),
    ):
        with pytest.raises(ConfigError, match=r"^jax_random_seed_offset = 5 .*JAX_RANDOM_SEED_OFFSET$"):
            call()
    assert main(words(tmp_path / "a")) == 2
    assert main(["generate", "--preset=smoke", "--out", str(tmp_path / "a.npz")]) == 2
    assert all("jax_random_seed_offset = 5" in line for line in capsys.readouterr().err.splitlines())
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".jsonl"]


def test_a_lost_chunk_is_computed_again_bit_by_bit_under_other_settings(swept, tmp_path, everybody_sets):
    store = copy(swept, tmp_path)
    next(path for path in (store / "largest_overlap" / "c").rglob("*") if path.is_file()).unlink()
    assert main(["check", str(store), "--repair"]) == 1
    everybody_sets("jax_threefry_partitionable", False)
    everybody_sets("jax_default_prng_impl", "rbg")
    assert multiview.run_sweep(small(), OVER, store).done == 12
    assert contents(store) == contents(swept)


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("XLA_FLAGS", "--xla_cpu_enable_fast_math=true", "XLA_FLAGS = not set, here it is --xla_cpu_enable_fast_math"),
        ("XLA_FLAGS", "--xla_force_host_platform_device_count=2", ""),
        ("NVIDIA_TF32_OVERRIDE", "0", "NVIDIA_TF32_OVERRIDE = not set, here it is 0"),
        ("", "jax_optimization_level", "jax_optimization_level = not set, here it is O1"),
    ],
)
def test_a_sweep_goes_on_only_under_the_compilers_settings_that_it_began_with(
    variable, value, named, swept, tmp_path, monkeypatch, everybody_sets
):
    store = copy(swept, tmp_path)
    SweepStore(store, writable=True).forget([(2, 1, 0)])
    if variable:
        monkeypatch.setenv(variable, value)
    else:
        everybody_sets(value, "O1")
    if not named:
        assert multiview.run_sweep(small(), OVER, store).done == 12
        return
    with pytest.raises(ConfigError, match=named):
        multiview.run_sweep(small(), OVER, store)
    assert (SweepStore(store).done == 1).sum() == 11


def test_results_say_which_settings_of_the_compiler_they_were_made_with(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_b=1 --xla_force_host_platform_device_count=2 --xla_a")
    assert settings.compiler_settings()["XLA_FLAGS"] == "--xla_a --xla_b=1"
    assert settings.compiler_settings() == multiview.stores.provenance.environment()["settings"]


PROGRAM = "import conftest, test_settings; print(test_settings.numbers())"  # conftest: programs compiled as here
QUICKLY = {
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAXTYPING_DISABLE": "1",
}  # fmt: skip
VARIABLES = [
    "JAX_THREEFRY_PARTITIONABLE=0", "JAX_ENABLE_X64=1", "JAX_DEFAULT_PRNG_IMPL=rbg",
    "JAX_NUMPY_DTYPE_PROMOTION=strict", "JAX_DEBUG_NANS=1", "JAX_DISABLE_JIT=1",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("variable", VARIABLES)
def test_a_variable_of_the_environment_changes_no_number(variable, undisturbed):
    name, _, value = variable.partition("=")
    own = {**os.environ, **QUICKLY, "PYTHONPATH": f"{HERE}:{HERE.parent}", name: value}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=own)
    assert done.stdout.strip() == undisturbed


@pytest.mark.bits
@pytest.mark.release
def test_a_repaired_sweep_goes_on_bit_by_bit_in_another_environment(tmp_path):
    """As it was reported: a finished sweep loses a chunk and is repaired with JAX_THREEFRY_PARTITIONABLE=0."""
    swept = store_swept(tmp_path)
    store = copy(swept, tmp_path)
    next(path for path in (store / "largest_overlap" / "c").rglob("*") if path.is_file()).unlink()
    own = {**os.environ, "PYTHONPATH": str(HERE.parent), "JAX_THREEFRY_PARTITIONABLE": "0"}
    for command, status in ((["check", str(store), "--repair"], 1), (words(store), 0), (["check", str(store)], 0)):
        done = subprocess.run([sys.executable, "-m", "multiview", *command], capture_output=True, check=False, env=own)
        assert done.returncode == status, done.stderr
    assert contents(store) == contents(swept)

"""JAX's settings: our programs run under their own, whatever the process that calls them has set.

JAX has many switches, of the environment (`JAX_…`) and of the process (`jax.config`), and some change random numbers or
arithmetic. Numbers shall depend on the configuration of a study alone. So what can be set for one thread is set here,
as contexts that end with the call (`PINNED`, and the 64-bit numbers of a study's dtype); set for the whole process it
would change the numbers of the program that calls this library. What changes numbers and cannot be set so is refused
(`refuse_settings`), or, where it chooses how the compiler works, recorded with the results (`compiler_settings`) and
compared when a sweep is continued. docs/start.md has the table.

Two rules follow. A context does not reach other threads: code that starts threads enters it in each of them
(`training.devices.over_blocks`). And outside the context JAX computes with float64 arrays in float32, without an error:
so users get NumPy arrays back, or arrays that they pass to another function of this library.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import jax

from multiview.config import Study
from multiview.parameters import refusal

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")

# JAX's own defaults, which can be set for one thread. Some change numbers; under the others our programs would stop.
PINNED: dict[str, Any] = {
    "default_prng_impl": "threefry2x32",
    "threefry_partitionable": True,
    "default_matmul_precision": None,
    "softmax_custom_jvp": False,
    "numpy_dtype_promotion": "standard",
    "numpy_rank_promotion": "allow",
    "legacy_prng_key": "allow",
    "disable_jit": False,
    "debug_nans": False,
    "debug_infs": False,
    "debug_key_reuse": False,
    "enable_checks": False,
    "check_tracer_leaks": False,
    "no_execution": False,
    "no_tracing": False,
    "transfer_guard": "allow",
}

# Settings without such a context that change random numbers, or under which our programs would stop: refused unless
# they have these values.
REFUSED: dict[str, Any] = {
    "jax_random_seed_offset": 0,
    "jax_error_checking_behavior_nan": "ignore",
    "jax_error_checking_behavior_divide": "ignore",
    "jax_error_checking_behavior_oob": "ignore",
    "jax_scan3": False,
}

# Settings of the compiler, for the whole process: recorded with the results unless they have these values.
COMPILER: dict[str, Any] = {
    "jax_disable_most_optimizations": False,
    "jax_optimization_level": "UNKNOWN",
    "jax_exec_time_optimization_effort": 0.0,
    "jax_memory_fitting_level": "O2",
    "jax_memory_fitting_effort": 0.0,
    "jax_compiler_enable_remat_pass": True,
    "jax_enable_pgle": False,
    "jax_xla_profile_version": 0,
}
VARIABLES = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE")  # of the environment, likewise
HARMLESS = ("--xla_force_host_platform_device_count", "--xla_dump", "--xla_gpu_cuda_data_dir")


@contextlib.contextmanager
def own_settings(dtype: str) -> Iterator[None]:
    """Compute under our own settings of JAX in this thread, inside a `with` block.

    Never put it around a `yield`: the caller's code would run inside the context.

    Args:
        dtype: "float64" to switch 64-bit numbers on, "float32" to switch them off, as in `train.dtype`.

    Raises:
        ConfigError: a setting that cannot be set here would change the numbers.
    """
    refuse_settings()
    with contextlib.ExitStack() as stack:
        for name, value in PINNED.items():
            stack.enter_context(getattr(jax, name)(value))
        stack.enter_context(jax.enable_x64(dtype == "float64"))
        yield


def refuse_settings() -> None:
    """Refuse settings of this process that change or stop our programs and cannot be set for one thread.

    Raises:
        ConfigError: one line that names the setting.
    """
    found = jax.config.values
    for name, value in REFUSED.items():
        if found.get(name, value) != value:
            raise refusal(name, found[name], f"{value!r} for our programs and numbers; see also {name.upper()}")


def compiler_settings() -> dict[str, str]:
    """Collect the settings of the compiler that are not JAX's own defaults, by name; they can change last digits."""
    found = jax.config.values
    settings = {name: str(found[name]) for name, value in COMPILER.items() if found.get(name, value) != value}
    for name in VARIABLES:
        words = sorted(word for word in os.environ.get(name, "").split() if not word.startswith(HARMLESS))
        if words:
            settings[name] = " ".join(words)
    return settings


def in_own_settings(function: Callable[Arguments, Returned]) -> Callable[Arguments, Returned]:
    """Make a function run under our settings, in the precision of its first argument: a study, several, or a world.

    Args:
        function: a function or method, but no generator (see `own_settings`).

    Returns:
        The function with the same arguments.
    """
    first = next(iter(inspect.signature(function).parameters))

    @functools.wraps(function)
    def call(*arguments: Arguments.args, **named: Arguments.kwargs) -> Returned:
        with own_settings(_dtype_of(arguments[0] if arguments else named.get(first))):
            return function(*arguments, **named)

    return call


def _dtype_of(owner: Any) -> str:
    """Return the dtype of a study or a world; the function itself refuses any other first argument."""
    if isinstance(owner, list | tuple) and owner:
        owner = owner[0]
    return owner.train.dtype if isinstance(owner, Study) else str(getattr(owner, "dtype", "float32"))

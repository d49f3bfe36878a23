"""JAX's 64-bit numbers, switched on for a study that asks for them and off for everything else.

JAX has one switch. Set for the whole process (`jax.config.update`), it would change the numbers of the program that
calls this library; so it is set as a context, which ends with the call. Two rules follow. A context does not reach
other threads: code that starts threads sets the switch in each of them (`training.devices.over_blocks`). And outside
the context JAX computes with float64 arrays in float32, without an error: so users get NumPy arrays back, or arrays
that they pass to another function of this library.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, TypeVar

import jax

from multiview.config import Study

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")


def precision(dtype: str) -> AbstractContextManager[None]:
    """Switch JAX's 64-bit numbers on for float64 and off for float32, in this thread, inside a `with` block.

    Never put it around a `yield`: the caller's code would run inside the context.

    Args:
        dtype: "float32" or "float64", as in `train.dtype`.

    Returns:
        The context.
    """
    return jax.enable_x64(dtype == "float64")


def in_own_precision(function: Callable[Arguments, Returned]) -> Callable[Arguments, Returned]:
    """Make a function run in the precision of its first argument: a study, several of one precision, or a world.

    Args:
        function: a function or method, but no generator (see `precision`).

    Returns:
        The function with the same arguments.
    """
    first = next(iter(inspect.signature(function).parameters))

    @functools.wraps(function)
    def call(*arguments: Arguments.args, **named: Arguments.kwargs) -> Returned:
        with precision(_dtype_of(arguments[0] if arguments else named.get(first))):
            return function(*arguments, **named)

    return call


def _dtype_of(owner: Any) -> str:
    """Return the dtype of a study or a world; the function itself refuses any other first argument."""
    if isinstance(owner, list | tuple) and owner:
        owner = owner[0]
    return owner.train.dtype if isinstance(owner, Study) else str(getattr(owner, "dtype", "float32"))

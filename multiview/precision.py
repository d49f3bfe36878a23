"""JAX's 64-bit numbers, switched on where a study asks for them, and for nobody else.

JAX has one switch. Set for the process (`jax.config.update`), it would change the numbers of whoever called the
library; so it is set as a context alone, which ends with the call. Two rules follow. A context does not reach other
threads: whoever starts some hands the switch on (`training.devices.over_blocks`). And outside of it JAX computes with
float64 arrays in float32, without an error: what a user gets back is NumPy's, or goes into another call of ours.
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

    Never put it around a `yield`: the caller's own code would run inside.

    Args:
        dtype: float32 or float64, as `train.dtype`.
    """
    return jax.enable_x64(dtype == "float64")


def in_own_precision(function: Callable[Arguments, Returned]) -> Callable[Arguments, Returned]:
    """Make a function run in the precision of its first argument: a study, several of one precision, or a world.

    Args:
        function: a function or method, and no generator (see `precision`).
    """

    first = next(iter(inspect.signature(function).parameters))

    @functools.wraps(function)
    def call(*arguments: Arguments.args, **named: Arguments.kwargs) -> Returned:
        with precision(_dtype_of(arguments[0] if arguments else named.get(first))):
            return function(*arguments, **named)

    return call


def _dtype_of(owner: Any) -> str:
    """What else stands in the first place is refused by the function itself."""
    if isinstance(owner, list | tuple) and owner:
        owner = owner[0]
    return owner.train.dtype if isinstance(owner, Study) else str(getattr(owner, "dtype", "float32"))

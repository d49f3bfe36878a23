"""Named random streams: data, features, starts, test sets and predictions never share a key.

Every key is `jax.random.key(seed)` folded with a stream constant and then with indices, so that asking for
more seeds or replicates never changes those that were there before: seed 7 is seed 7 in any batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax

TRAINING_DATA = 1
TEST_DATA = 2
FEATURES = 3
START = 4
STUDENT_START = 5
TEST_NOISE = 6
PREDICTION = 7  # of NumPy, in prediction.py
BATCHES = 8  # folded into the key of a start
TRAINING_DATA_OF_ONE_KIND = 9
# Folded into the key of the batches, beyond the number of any step.
MIXED = 2**31
DROPPED = 2**31 + 1


def stream(seed: int, name: int, *indices: int) -> jax.Array:
    """The typed key of one stream, folded with further indices (replicate, generation, …)."""
    key = jax.random.fold_in(jax.random.key(seed), name)
    for index in indices:
        key = jax.random.fold_in(key, index)
    return key


def jit_for_draws(function: Callable[..., Any], static_argnames: tuple[str, ...]) -> Callable[..., Any]:
    """`jax.jit` for a program that draws random numbers and runs once or twice.

    The compiler would optimise it for seconds and gain nothing, so it is told not to; the numbers are the same bit by
    bit. Inside another program, which has options of its own, it is a plain `jax.jit`.
    """
    inside = jax.jit(function, static_argnames=static_argnames)
    alone = jax.jit(function, static_argnames=static_argnames, compiler_options={"xla_backend_optimization_level": "1"})

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        traced = any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves((arguments, named)))
        return (inside if traced else alone)(*arguments, **named)

    return call


# Normal numbers of a shape, outside of any other program; `jax.random.normal` by itself compiles for a second.
normal = jit_for_draws(jax.random.normal, static_argnames=("shape", "dtype"))

"""Named random streams: data, features, starts, test sets and predictions never share a key.

Every key is `jax.random.key(seed)` folded with a stream constant and then with indices, so that more seeds or
replicates never change the earlier ones: seed 7 is the same network in any batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax

# Numbers of the streams. A number is never reused for another stream: networks would change.
TRAINING_DATA = 1
TEST_DATA = 2
FEATURES = 3
START = 4
STUDENT_START = 5
TEST_NOISE = 6
PREDICTION = 7  # seeds NumPy's generator in `verdicts.prediction`
BATCHES = 8  # folded into the key of a network's start
TRAINING_DATA_OF_ONE_KIND = 9
# Folded into a key of batches, like the numbers of steps, which are smaller.
MIXED = 2**31
DROPPED = 2**31 + 1


def stream(seed: int, name: int, *indices: int) -> jax.Array:
    """Make the typed key of one stream.

    Args:
        seed: base seed of the study or world.
        name: number of the stream, one of this module's constants.
        indices: numbers that are folded in one after the other: replicate, generation, …

    Returns:
        A typed key; equal arguments give the same key.
    """
    key = jax.random.fold_in(jax.random.key(seed), name)
    for index in indices:
        key = jax.random.fold_in(key, index)
    return key


def jit_for_draws(function: Callable[..., Any], static_argnames: tuple[str, ...]) -> Callable[..., Any]:
    """Compile a program that draws random numbers and runs once or twice.

    The compiler would optimise such a program for seconds and gain nothing, so its optimisation is switched off; the
    numbers are the same bit by bit. Inside another compiled program, whose options hold, this is a plain `jax.jit`.

    Args:
        function: function that draws from keys among its arguments.
        static_argnames: see `jax.jit`.

    Returns:
        The compiled function.
    """
    inside = jax.jit(function, static_argnames=static_argnames)
    alone = jax.jit(function, static_argnames=static_argnames, compiler_options={"xla_backend_optimization_level": "1"})

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        traced = any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves((arguments, named)))
        return (inside if traced else alone)(*arguments, **named)

    return call


normal = jit_for_draws(jax.random.normal, static_argnames=("shape", "dtype"))
"""`jax.random.normal`, without its second of compiling for each new shape."""

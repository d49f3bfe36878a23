"""Named random streams: data, features, starts, test sets and predictions never share a key.

Every key is `jax.random.key(seed)` folded with a stream constant and then with indices, so that asking for
more seeds or replicates never changes those that were there before: seed 7 is seed 7 in any batch.
"""

from __future__ import annotations

import jax

TRAINING_DATA = 1
TEST_DATA = 2
FEATURES = 3
START = 4
STUDENT_START = 5
TEST_NOISE = 6
PREDICTION = 7  # of NumPy, in prediction.py
BATCHES = 8  # folded into the key of a start
# Folded into the key of the batches, beyond the number of any step.
MIXED = 2**31
DROPPED = 2**31 + 1


def stream(seed: int, name: int, *indices: int) -> jax.Array:
    """The typed key of one stream, folded with further indices (replicate, generation, …)."""
    key = jax.random.fold_in(jax.random.key(seed), name)
    for index in indices:
        key = jax.random.fold_in(key, index)
    return key

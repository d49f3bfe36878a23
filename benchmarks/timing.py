"""Time of a step: two lengths of the same training, so that starting, compiling, copying and records cancel."""

from __future__ import annotations

import math
import statistics
import time
from typing import NamedTuple

import numpy as np

from benchmarks.rows import Row


class Lengths(NamedTuple):
    """Numbers of steps to time a row at."""

    short: int
    long: int


def seconds_of(row: Row, num_steps: int) -> float:
    """Wall time of a row."""
    begin = time.perf_counter()
    row(num_steps)
    return time.perf_counter() - begin


def lengths_for(row: Row, target_seconds: float) -> Lengths:
    """Warm up (this compiles), then choose lengths whose difference takes about the target.

    It also takes twice what both lengths share, at least: making the starts of 64 networks outweighs a few steps, and
    so would its noise.
    """
    row(1)
    shared = statistics.median(seconds_of(row, 1) for _ in range(3))
    target, steps = max(target_seconds, 2 * shared), 2
    while steps < 10_000:
        took = seconds_of(row, 1 + steps) - shared
        if took >= target / 2:
            return Lengths(1, 1 + max(3, math.ceil(steps * target / took)))
        steps *= 2
    return Lengths(1, 1 + steps)


def ms_per_step(row: Row, lengths: Lengths) -> float:
    """One sample: (time of the long training − time of the short one) / steps between them, in milliseconds."""
    short, long = (seconds_of(row, n) for n in lengths)
    return 1e3 * (long - short) / (lengths.long - lengths.short)


def quartiles(samples: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    low, middle, high = np.quantile(samples, [0.25, 0.5, 0.75])
    return float(low), float(middle), float(high)

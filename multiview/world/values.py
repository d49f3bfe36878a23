"""Values that a world's draws are asked for with, and the one line that refuses others."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np

from multiview.parameters import refusal
from multiview.world.samples import Kind, Split


def check_seed(name: str, value: Any, allowed: str = "a whole number in 0 … 2³²−1") -> int:
    """A seed whose streams are no other seed's: JAX keeps 32 bits of it.

    Raises:
        ConfigError: anything else.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer) or not 0 <= value < 2**32:
        raise refusal(name, value, allowed)
    return int(value)


def check_kind(kind: Any) -> Kind:
    """A kind of samples. Raises ConfigError for any other word."""
    if kind not in get_args(Kind):
        raise refusal("kind", kind, "one of " + ", ".join(get_args(Kind)))
    return kind


def check_count(name: str, value: Any) -> int:
    """A number of samples. Raises ConfigError unless it is a whole number ≥ 1."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer) or value < 1:
        raise refusal(name, value, "a whole number ≥ 1")
    return int(value)


def check_split(split: Any) -> Split:
    """A named split. Raises ConfigError for any other word."""
    if split not in get_args(Split):
        raise refusal("split", split, "one of " + ", ".join(get_args(Split)))
    return split

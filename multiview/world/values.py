"""Checks of the arguments of a world's draws; bad values are refused in one line."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np

from multiview.parameters import refusal
from multiview.world.samples import Kind, Split


def check_seed(name: str, value: Any, allowed: str = "a whole number in 0 … 2³²−1") -> int:
    """Return a seed below 2³², of which JAX keeps all bits: so no two seeds share their streams.

    Args:
        name: name of the argument, for the message.
        value: the seed.
        allowed: what is allowed, in words, for the message.

    Raises:
        ConfigError: any other value.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer) or not 0 <= value < 2**32:
        raise refusal(name, value, allowed)
    return int(value)


def check_kind(kind: Any) -> Kind:
    """Return a kind of samples.

    Raises:
        ConfigError: any other word.
    """
    if kind not in get_args(Kind):
        raise refusal("kind", kind, "one of " + ", ".join(get_args(Kind)))
    return kind


def check_count(name: str, value: Any) -> int:
    """Return a number of samples.

    Raises:
        ConfigError: the value is no whole number ≥ 1.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer) or value < 1:
        raise refusal(name, value, "a whole number ≥ 1")
    return int(value)


def check_split(split: Any) -> Split:
    """Return the name of a split.

    Raises:
        ConfigError: any other word.
    """
    if split not in get_args(Split):
        raise refusal("split", split, "one of " + ", ".join(get_args(Split)))
    return split

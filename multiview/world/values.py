"""Checks of the arguments of a world's draws; bad values are refused in one line."""

from __future__ import annotations

from typing import Any, cast, get_args

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
    if not isinstance(kind, str) or kind not in get_args(Kind):
        raise refusal("kind", kind, "one of " + ", ".join(get_args(Kind)))
    return cast(Kind, kind)


def check_count(name: str, value: Any, least: int = 1) -> int:
    """Return a number of samples or replicates.

    Raises:
        ConfigError: the value is no whole number ≥ `least`.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer) or value < least:
        raise refusal(name, value, f"a whole number ≥ {least}")
    return int(value)


def check_split(split: Any) -> Split:
    """Return the name of a split.

    Raises:
        ConfigError: any other word.
    """
    if not isinstance(split, str) or split not in get_args(Split):
        raise refusal("split", split, "one of " + ", ".join(get_args(Split)))
    return cast(Split, split)

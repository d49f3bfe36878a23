"""How a parameter is declared: default, meaning, check, and the one line that refuses a bad value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any

Interval = tuple[float, float]


class ConfigError(ValueError):
    """A bad parameter: one line that names the field, the value and what is allowed."""


def parameter(
    default: Any, help: str, check: Callable[[Any], bool] | None = None, allowed: str = "", *, traced: bool = False
) -> Any:
    """Declare a field: default, help, a check of its value, the words for what the check allows.

    A `traced` field changes no shape and no structure of the training program: points of a sweep that differ in such
    fields alone share one compiled program (`sweep.plan.group_key`).
    """
    return field(default=default, metadata={"help": help, "check": check, "allowed": allowed, "traced": traced})


def at_least(bound: float) -> dict[str, Any]:
    return {"check": lambda v: v >= bound, "allowed": f"a number ≥ {bound:g}"}


def above(bound: float) -> dict[str, Any]:
    return {"check": lambda v: v > bound, "allowed": f"a number > {bound:g}"}


FRACTION: dict[str, Any] = {"check": lambda v: 0 <= v <= 1, "allowed": "a number in [0, 1]"}
BELOW_ONE: dict[str, Any] = {"check": lambda v: 0 <= v < 1, "allowed": "a number in [0, 1)"}
INTERVAL: dict[str, Any] = {
    "check": lambda v: 0 <= v[0] <= v[1],
    "allowed": "two numbers, low,high, with 0 ≤ low ≤ high",
}


def refusal(name: str, value: Any, allowed: str) -> ConfigError:
    return ConfigError(f"{name} = {value!r} is not allowed: it must be {allowed}")

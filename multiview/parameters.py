"""Declaration of a parameter: its default, the check of its value, and the line that refuses a bad value.

The meaning of a parameter is the docstring below its field, where editors show it; `config.meanings` reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any

Bounds = tuple[float, float]
# Characters of a refused value that its line shows.
LONGEST = 160


class ConfigError(ValueError):
    """A bad parameter or file: one line that names it, its value and what is allowed.

    Example:
        >>> import multiview as mv
        >>> mv.DataConfig(num_classes=4).num_classes  # a section alone is not checked
        4
        >>> try:
        ...     mv.Study(data=mv.DataConfig(num_classes=1))
        ... except mv.ConfigError as error:
        ...     print(error)
        data.num_classes = 1 is not allowed: it must be a number ≥ 2
    """


def parameter(
    default: Any,
    *,
    check: Callable[[Any], bool] | None = None,
    allowed: str = "",
    traced: bool = False,
    infinite: bool = False,
    option: str = "",
) -> Any:
    """Declare a field of a dataclass as a parameter of the study.

    Args:
        default: its default value.
        check: function that says whether a converted value is allowed; None allows every value of the field's type.
        allowed: what `check` allows, in words.
        traced: whether a change of the value leaves all shapes and the structure of the training program as they are.
            Points of a sweep that differ in traced parameters only share one compiled program (`plan.group_key`).
        infinite: whether inf is allowed.
        option: the kind of training option, such as `systems.table.STEP`; "" if it is none. A system that does not
            understand this kind accepts the default only.

    Returns:
        The field, for the right-hand side of its declaration.
    """
    metadata = {"check": check, "allowed": allowed, "traced": traced, "infinite": infinite, "option": option}
    return field(default=default, metadata=metadata)


def at_least(bound: float) -> dict[str, Any]:
    """Allow numbers ≥ `bound`."""
    return {"check": lambda v: v >= bound, "allowed": f"a number ≥ {bound:g}"}


def above(bound: float) -> dict[str, Any]:
    """Allow numbers > `bound`."""
    return {"check": lambda v: v > bound, "allowed": f"a number > {bound:g}"}


FRACTION: dict[str, Any] = {"check": lambda v: 0 <= v <= 1, "allowed": "a number in [0, 1]"}
BELOW_ONE: dict[str, Any] = {"check": lambda v: 0 <= v < 1, "allowed": "a number in [0, 1)"}
BOUNDS: dict[str, Any] = {
    "check": lambda v: 0 <= v[0] <= v[1],
    "allowed": "two numbers, low,high, with 0 ≤ low ≤ high",
}


def refusal(name: str, value: Any, allowed: str) -> ConfigError:
    """Make the error that refuses a value.

    Args:
        name: the parameter or argument.
        value: the refused value.
        allowed: what is allowed, in words.

    Returns:
        The error, with a message of one line.
    """
    return ConfigError(f"{name} = {shown(value)} is not allowed: it must be {allowed}")


def shown(value: Any) -> str:
    """Write a value as Python does, on one line; the middle of a long one is left out."""
    try:
        text = " ".join(repr(value).split())
    except (ValueError, RecursionError):  # a number of more than 4300 digits, a list in itself
        return f"a value too long to print ({type(value).__name__})"
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}…{text[-LONGEST // 2 :]}"

"""Convert a value to the type of its parameter, and check it: the one place where values enter.

A value comes as a word of the command line, from a TOML file, or from Python, where it may be a NumPy scalar or array.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from typing import Any, Literal, TypeVar

from multiview.parameters import Bounds, refusal

Section = TypeVar("Section")


@functools.cache
def type_hints(section: type) -> dict[str, Any]:
    """The types of a dataclass's fields, by name."""
    return typing.get_type_hints(section)


def to_python(value: Any) -> Any:
    """Give the plain Python value of a NumPy scalar or array; other values as they are."""
    to_list = None if isinstance(value, type) else getattr(value, "tolist", None)
    return to_list() if callable(to_list) else value


def convert_value(name: str, kind: Any, value: Any) -> Any:
    """Convert a value to the type `kind` of the parameter `name`.

    Raises:
        ConfigError: the value is not of this type.
    """
    given, value = value, to_python(value)
    if typing.get_origin(kind) is Literal:
        if value not in typing.get_args(kind):
            raise refusal(name, given, "one of " + ", ".join(typing.get_args(kind)))
        return value
    if kind is str:
        if not isinstance(value, str):
            raise refusal(name, given, "a name")
        return value
    if typing.get_origin(kind) in (tuple, types.GenericAlias):
        parts = value.strip("[]() ").replace(",", " ").split() if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise refusal(name, given, "a list of numbers")
        numbers = tuple(_number(name, given, to_python(part), float) for part in parts)
        if kind == Bounds and len(numbers) != 2:
            raise refusal(name, given, "two numbers, low,high")
        return numbers
    return _number(name, given, value, kind)


def _number(name: str, given: Any, value: Any, kind: type) -> Any:
    """Convert one number of a value `given`, or refuse the whole."""
    allowed = "a whole number" if kind is int else "a number"
    if isinstance(value, bool):
        raise refusal(name, given, allowed)
    try:
        number = kind(value) if isinstance(value, str) else value
        finite = float(number) if isinstance(number, int) else number
    except (ValueError, OverflowError):
        raise refusal(name, given, allowed) from None
    if kind is int and not isinstance(number, int):
        raise refusal(name, given, allowed)
    if not isinstance(number, int | float) or math.isnan(finite):
        raise refusal(name, given, allowed)
    if kind is int and abs(number) >= 2**63:  # beyond what sizes and seeds can be
        raise refusal(name, given, "a whole number below 2⁶³")
    return kind(number)


def check_value(name: str, field: dataclasses.Field[Any], kind: Any, value: Any) -> Any:
    """Convert the value of a parameter and check that the declaration allows it.

    Raises:
        ConfigError: one line that names the parameter, its value and what is allowed.
    """
    converted = convert_value(name, kind, value)
    numbers = converted if isinstance(converted, tuple) else (converted,)
    if not field.metadata["infinite"] and any(isinstance(v, float) and math.isinf(v) for v in numbers):
        raise refusal(name, value, "finite")
    check = field.metadata["check"]
    if check is not None and not check(converted):
        raise refusal(name, value, field.metadata["allowed"])
    return converted


def checked_values(section: Any, prefix: str = "") -> dict[str, Any]:
    """Check every parameter of a section by itself, and give their converted values by name.

    Args:
        section: a frozen dataclass with fields declared by `parameter`; its other fields are left out.
        prefix: what stands before the names in messages, such as "data.".

    Raises:
        ConfigError: one line that names the first bad parameter, its value and what is allowed.
    """
    hints = type_hints(section.__class__)
    return {
        field.name: check_value(prefix + field.name, field, hints[field.name], getattr(section, field.name))
        for field in dataclasses.fields(section)
        if "check" in field.metadata
    }


def check_section(section: Section, prefix: str = "") -> Section:
    """Check every parameter of a section by itself, and give the section with plain Python values.

    Args and errors are those of `checked_values`.
    """
    return dataclasses.replace(section, **checked_values(section, prefix))  # type: ignore[type-var]

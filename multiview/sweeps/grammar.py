"""The grammar of `--over`: the values or the range of one axis."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Sequence
from typing import Any

import numpy as np

from multiview.config import Study, all_fields, convert
from multiview.measures.dimensions import LENGTHS
from multiview.parameters import LONGEST, ConfigError, shown
from multiview.words import parameter_value

MOST_POINTS = 10**6  # a larger grid has to be asked for: it is more often a slip of the pen than a plan
MOST_BLOCKS = 10 * MOST_POINTS  # and more than these are not possible
# Names that the results use, so that no axis can take them. A test holds that no measure has the name of a parameter.
RESERVED = {*LENGTHS, "time", "step", "point", "zip", "done", "reason"}


def labels(fields: Sequence[str]) -> dict[str, str]:
    """Name the axes in the results: the last word of a field where it is unambiguous, else section_word.

    Args:
        fields: the parameters that a design changes, such as `train.learning_rate`.

    Returns:
        The name of the axis for each field.
    """
    leaves = [name.rpartition(".")[2] for name in fields]
    names = {}
    for name, leaf in zip(fields, leaves, strict=True):
        unambiguous = leaves.count(leaf) == 1 and leaf not in RESERVED
        names[name] = leaf if unambiguous else name.replace(".", "_") if "." in name else f"study_{name}"
    return names


def _derived() -> dict[str, str]:
    hints = typing.get_type_hints(Study)
    sections = {n: t for n, t in hints.items() if dataclasses.is_dataclass(t)} | {"": Study}
    return {
        f"{section}.{name}".lstrip("."): name
        for section, cls in sections.items()
        for name, value in vars(cls).items()
        if isinstance(value, property)
    }


def _shown(text: str) -> str:
    return text if text.isprintable() and len(text) < LONGEST else shown(text)


def axis_field(word: str) -> tuple[str, str]:
    """Split FIELD=VALUES into the field and its values, and check the field.

    Raises:
        ConfigError: no values, or no parameter of this name.
    """
    name, equals, values = word.partition("=")
    name = name.strip().replace("-", "_")
    if not equals or not values.strip():
        raise ConfigError(f"--over {_shown(word)}: it must be FIELD=VALUES, such as network.relu_power=2,3,4")
    if name in _derived():
        raise ConfigError(f"--over {name}: this is derived from other parameters; sweep over those")
    if name == "preset":
        raise ConfigError("--over preset: a preset is no axis; name one with --preset and sweep over its parameters")
    if name not in all_fields():
        convert(name, values)  # raises, and suggests the nearest name
    return name, values.strip()


def _kind(name: str) -> Any:
    kind = all_fields()[name][1]
    return typing.get_origin(kind) or kind


def _split(name: str, text: str) -> list[str]:
    """Split at commas; commas inside brackets belong to a value that is itself a list."""
    words, depth, word = [], 0, ""
    for character in text:
        depth += (character in "[(") - (character in "])")
        if character == "," and depth == 0:
            words.append(word)
            word = ""
        else:
            word += character
    words.append(word)
    if depth or any(not w.strip() for w in words):
        raise ConfigError(f"--over {name}={_shown(text)}: a value is missing between two commas or brackets")
    return [w.strip() for w in words]


def _number(name: str, text: str, word: str) -> float:
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"--over {name}={_shown(text)}: {shown(word)} is no finite number")
    return number


def _ends(name: str, text: str, parts: list[str]) -> tuple[float, float, bool]:
    """Read the lower and the upper end of LOW:HIGH[:log], and whether the range is logarithmic."""
    where = f"--over {name}={_shown(text)}"
    if _kind(name) not in (int, float):
        raise ConfigError(f"{where}: a range needs a field that is a number; list its values instead")
    logarithmic = parts[2:] == ["log"]
    if len(parts) not in (2, 3) or (len(parts) == 3 and not logarithmic):
        raise ConfigError(f"{where}: a range is LOW:HIGH:COUNT or LOW:HIGH:COUNT:log (a random design needs no COUNT)")
    low, high = (_number(name, text, w) for w in parts[:2])
    if low > high:
        raise ConfigError(f"{where}: the range is inverted; {_shown(parts[0])} must be below {_shown(parts[1])}")
    if low == high:
        raise ConfigError(f"{where}: the range is empty; {_shown(parts[0])} must be below {_shown(parts[1])}")
    if logarithmic and low <= 0:
        raise ConfigError(f"{where}: a logarithmic range must begin above 0")
    return low, high, logarithmic


def _as_field(name: str, value: float) -> Any:
    """Convert a number of a range to a value of the field, rounded to 12 digits."""
    return convert(name, round(value) if _kind(name) is int else float(f"{value:.12g}"))


def parse_values(name: str, text: str) -> list[Any]:
    """Read the values of one axis of a grid: `2,3,4`, `0.01:0.2:8`, `0.01:0.2:8:log`, `[1,1.5],[1,2]`.

    Args:
        name: the field.
        text: a list of values, or a range LOW:HIGH:COUNT or LOW:HIGH:COUNT:log.

    Returns:
        The values, converted to the field's type.

    Raises:
        ConfigError: the text does not parse, is empty or inverted, repeats a value, or a value has the wrong type.
    """
    where = f"--over {name}={_shown(text)}"
    if ":" in text:
        parts = [p.strip() for p in text.split(":")]
        if len(parts) < 3:
            raise ConfigError(f"{where}: a range is LOW:HIGH:COUNT or LOW:HIGH:COUNT:log")
        low, high, logarithmic = _ends(name, text, [*parts[:2], *parts[3:]])
        count = int(parts[2]) if parts[2].isascii() and parts[2].isdigit() and len(parts[2]) < 10 else 0
        if count < 2:
            allowed = "it must be a whole number, 2 or more (below 10⁹)"
            raise ConfigError(f"{where}: {shown(parts[2])} is no count; {allowed}")
        if count > MOST_POINTS:
            raise ConfigError(f"{where}: {count} values on one axis; at most {MOST_POINTS} are possible")
        with np.errstate(all="ignore"):
            numbers = np.geomspace(low, high, count) if logarithmic else np.linspace(low, high, count)
        if not np.isfinite(numbers).all():
            raise ConfigError(f"{where}: the range is too wide for floating-point numbers")
        values = [_as_field(name, float(v)) for v in numbers]
    else:
        values = [convert(name, word) for word in _split(name, text)]
    return distinct(name, values)


def distinct(name: str, values: Sequence[Any]) -> list[Any]:
    """Return the values of an axis as a list, after the check that there are some and that no value repeats.

    Raises:
        ConfigError: no value, or a value twice.
    """
    if not values:
        raise ConfigError(f"--over {name}: it has no values")
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            raise ConfigError(f"--over {name}: the value {_shown(parameter_value(value))} is there twice")
        seen.add(value)
    return list(values)


def quantile(name: str, text: str, u: np.ndarray) -> list[Any]:
    """Return the quantiles u of an axis of a drawn design: values at positions u of its range or list.

    Args:
        name: the field.
        text: a range LOW:HIGH or LOW:HIGH:log, or a list of values.
        u: positions in [0, 1), one for each point [points].

    Returns:
        One value of the field for each point.

    Raises:
        ConfigError: the text does not parse, or the range does not fit the field.
    """
    if ":" not in text:
        values = parse_values(name, text)
        return [values[min(int(x * len(values)), len(values) - 1)] for x in u]
    low, high, logarithmic = _ends(name, text, [p.strip() for p in text.split(":")])
    if _kind(name) is int and not (low.is_integer() and high.is_integer()):
        raise ConfigError(f"--over {name}={_shown(text)}: the ends of the range must be whole numbers")
    width = float(_kind(name) is int)  # each whole number gets an equal share, the last one too
    with np.errstate(all="ignore"):
        if logarithmic:
            spread = np.exp(np.log(low) + u * (np.log(high + width) - np.log(low)))
        else:
            spread = low + u * (high + width - low)
    if not np.isfinite(spread).all():
        raise ConfigError(f"--over {name}={_shown(text)}: the range is too wide for floating-point numbers")
    if width:
        return [convert(name, int(min(np.floor(x), high))) for x in spread]
    return [_as_field(name, float(np.clip(x, low, high))) for x in spread]

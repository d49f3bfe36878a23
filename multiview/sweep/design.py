"""Which points a sweep visits: the grammar of `--over`, grids, zipped axes, random and Sobol designs.

A design is a product of factors. A factor is one axis of a grid, several axes that run together (zipped), or all the
points of a random or Sobol design. Each factor becomes one labelled dimension of the results.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from multiview.config import ConfigError, Study, all_fields, convert

MOST_POINTS = 10**6  # a larger grid has to be asked for: it is more often a slip of the pen than a plan
Method = Literal["grid", "random", "sobol"]
# Dimensions and measures of the results, whose names an axis cannot take.
RESERVED = {"replicate", "seed", "student", "time", "class", "view", "step", "point", "zip", "done", "reason"}


@dataclasses.dataclass(frozen=True)
class Factor:
    """One dimension of a design.

    Attributes:
        dimension: its name in the results.
        fields: the parameters that it changes.
        rows: their values, one tuple a step along the dimension.
    """

    dimension: str
    fields: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclasses.dataclass(frozen=True)
class Design:
    """All points of a sweep: the product of its factors, the last one changing fastest."""

    method: Method
    factors: tuple[Factor, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        return tuple(len(f.rows) for f in self.factors)

    @property
    def num_points(self) -> int:
        """Number of points."""
        return math.prod(self.shape)

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Names of the dimensions."""
        return tuple(f.dimension for f in self.factors)

    @property
    def fields(self) -> tuple[str, ...]:
        """All parameters that the design changes."""
        return tuple(name for f in self.factors for name in f.fields)

    def index(self, point: int) -> tuple[int, ...]:
        """Where a point stands along each dimension."""
        return tuple(int(i) for i in np.unravel_index(point, self.shape)) if self.factors else ()

    def changes(self, point: int) -> dict[str, Any]:
        """What a point changes, by field."""
        found: dict[str, Any] = {}
        for factor, i in zip(self.factors, self.index(point), strict=True):
            found.update(zip(factor.fields, factor.rows[i], strict=True))
        return found

    def describe(self, point: int) -> str:
        """A point in words: `network.relu_power=3.0 train.learning_rate=8.0`."""
        return " ".join(f"{name}={as_word(value)}" for name, value in self.changes(point).items()) or "the only point"

    def to_mapping(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"method": self.method, "factors": [dataclasses.asdict(f) for f in self.factors]}


def as_word(value: Any) -> str:
    """A parameter's value as one word."""
    if isinstance(value, tuple):
        return "[" + ",".join(f"{v:g}" for v in value) + "]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def labels(fields: Sequence[str]) -> dict[str, str]:
    """Names of axes in the results: a field's last word where that is unmistakable, else section_word."""
    leaves = [name.rpartition(".")[2] for name in fields]
    found = {}
    for name, leaf in zip(fields, leaves, strict=True):
        clear = leaves.count(leaf) == 1 and leaf not in RESERVED
        found[name] = leaf if clear else name.replace(".", "_") if "." in name else f"study_{name}"
    return found


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
    return text if text.isprintable() else repr(text)


def _axis_field(word: str) -> tuple[str, str]:
    """Split FIELD=VALUES and check the field."""
    name, equals, values = word.partition("=")
    name = name.strip().replace("-", "_")
    if not equals or not values.strip():
        raise ConfigError(f"--over {_shown(word)}: it must be FIELD=VALUES, such as network.relu_power=2,3,4")
    if name in _derived():
        raise ConfigError(f"--over {name}: this is derived from other parameters; sweep over those")
    if name == "preset":
        raise ConfigError("--over preset: a preset is no axis; name one with --preset and sweep over its parameters")
    if name not in all_fields():
        convert(name, values)  # says so, with the nearest name
    return name, values.strip()


def _kind(name: str) -> Any:
    kind = all_fields()[name][1]
    return typing.get_origin(kind) or kind


def _split(name: str, text: str) -> list[str]:
    """Words between commas; commas inside brackets belong to a value that is itself a list."""
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
        raise ConfigError(f"--over {name}={_shown(text)}: {word!r} is no finite number")
    return number


def _ends(name: str, text: str, parts: list[str]) -> tuple[float, float, bool]:
    """Lower and upper end of LOW:HIGH[:log], and whether it is logarithmic."""
    where = f"--over {name}={_shown(text)}"
    if _kind(name) not in (int, float):
        raise ConfigError(f"{where}: a range needs a field that is a number; list its values instead")
    logarithmic = parts[2:] == ["log"]
    if len(parts) not in (2, 3) or (len(parts) == 3 and not logarithmic):
        raise ConfigError(f"{where}: a range is LOW:HIGH:COUNT or LOW:HIGH:COUNT:log (a random design needs no COUNT)")
    low, high = (_number(name, text, w) for w in parts[:2])
    if low > high:
        raise ConfigError(f"{where}: the range is inverted; {parts[0]} must be below {parts[1]}")
    if low == high:
        raise ConfigError(f"{where}: the range is empty; {parts[0]} must be below {parts[1]}")
    if logarithmic and low <= 0:
        raise ConfigError(f"{where}: a logarithmic range must begin above 0")
    return low, high, logarithmic


def _as_field(name: str, value: float) -> Any:
    """A number of a range as a value of the field, without the dust of floating point in its last digits."""
    return convert(name, round(value) if _kind(name) is int else float(f"{value:.12g}"))


def parse_values(name: str, text: str) -> list[Any]:
    """Values of one axis of a grid: `2,3,4`, `0.01:0.2:8`, `0.01:0.2:8:log`, `[1,1.5],[1,2]`.

    Raises:
        ConfigError: it does not parse, is empty or inverted, repeats a value, or a value has the wrong type.
    """
    where = f"--over {name}={_shown(text)}"
    if ":" in text:
        parts = [p.strip() for p in text.split(":")]
        if len(parts) < 3:
            raise ConfigError(f"{where}: a range is LOW:HIGH:COUNT or LOW:HIGH:COUNT:log")
        low, high, logarithmic = _ends(name, text, [*parts[:2], *parts[3:]])
        count = int(parts[2]) if parts[2].isascii() and parts[2].isdigit() and len(parts[2]) < 10 else 0
        if count < 2:
            raise ConfigError(f"{where}: {parts[2]!r} is no count; it must be a whole number, 2 or more (below 10⁹)")
        if count > MOST_POINTS:
            raise ConfigError(f"{where}: {count} values on one axis; at most {MOST_POINTS} are possible")
        with np.errstate(all="ignore"):
            numbers = np.geomspace(low, high, count) if logarithmic else np.linspace(low, high, count)
        if not np.isfinite(numbers).all():
            raise ConfigError(f"{where}: the range is too wide for floating-point numbers")
        values = [_as_field(name, float(v)) for v in numbers]
    else:
        values = [convert(name, word) for word in _split(name, text)]
    return _distinct(name, values)


def _distinct(name: str, values: Sequence[Any]) -> list[Any]:
    if not values:
        raise ConfigError(f"--over {name}: it has no values")
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            raise ConfigError(f"--over {name}: the value {as_word(value)} is there twice")
        seen.add(value)
    return list(values)


def _quantile(name: str, text: str, u: np.ndarray) -> list[Any]:
    """Values of one axis of a random or Sobol design at the places u in [0, 1) of its range or list."""
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


def _words(over: Sequence[str] | Mapping[str, Any]) -> list[tuple[str, str | list[Any]]]:
    """Axes as (field, text), or (field, values) where Python gave values."""
    if not isinstance(over, Mapping):
        return [_axis_field(word) for word in over]
    found: list[tuple[str, str | list[Any]]] = []
    for name, values in over.items():
        if isinstance(values, str):
            found.append(_axis_field(f"{name}={values}"))
            continue
        field, _ = _axis_field(f"{name}=values")
        if not isinstance(values, Sequence | np.ndarray):
            raise ConfigError(f"--over {name} = {values!r}: it must be a list of values or a text such as '1:2:5'")
        plain = [v.item() if isinstance(v, np.generic) else v for v in values]
        found.append((field, _distinct(field, [convert(field, v) for v in plain])))
    return found


def _values(name: str, given: str | list[Any]) -> list[Any]:
    return parse_values(name, given) if isinstance(given, str) else given


def make_design(
    over: Sequence[str] | Mapping[str, Any] = (),
    zipped: Sequence[Sequence[str] | Mapping[str, Any]] = (),
    *,
    random: int | None = None,
    sobol: int | None = None,
    design_seed: int = 0,
    any_size: bool = False,
) -> Design:
    """The design of a sweep.

    Args:
        over: axes, `["network.relu_power=2,3,4", "data.single_view_fraction=0.01:0.2:8:log"]` or a mapping
            `{"network.relu_power": [2, 3, 4]}`. Their product is the grid. In a random or Sobol design a range
            has no count: `LOW:HIGH` or `LOW:HIGH:log`.
        zipped: groups of axes of equal length that run together.
        random: draw this many points at random instead of a grid.
        sobol: take this many points of a scrambled Sobol sequence instead.
        design_seed: of the drawing.
        any_size: allow more than 10⁶ points.

    Returns:
        The design; without any axis it has one point.

    Raises:
        ConfigError: one line that names the axis and what is allowed.
    """
    axes = _words(over)
    groups = [_words(group) for group in zipped]
    fields = [name for name, _ in axes] + [name for group in groups for name, _ in group]
    for name in fields:
        if fields.count(name) > 1:
            raise ConfigError(f"--over {name}: this field stands on two axes")
    label = labels(fields)
    if random is not None or sobol is not None:
        if random is not None and sobol is not None:
            raise ConfigError("--random and --sobol exclude each other")
        if groups:
            raise ConfigError("--zip does not go with --random or --sobol")
        return _drawn("random" if sobol is None else "sobol", axes, int(random or sobol or 0), design_seed, any_size)
    parsed: list[tuple[tuple[str, ...], list[tuple[Any, ...]]]] = []
    for name, given in axes:
        parsed.append(((name,), [(v,) for v in _values(name, given)]))
    for group in groups:
        columns = [_values(name, given) for name, given in group]
        lengths = {len(c) for c in columns}
        if len(lengths) != 1:
            told = ", ".join(f"{name} has {len(c)}" for (name, _), c in zip(group, columns, strict=True))
            raise ConfigError(f"--zip: axes that run together need equally many values; {told}")
        parsed.append((tuple(name for name, _ in group), list(zip(*columns, strict=True))))
    count = math.prod(len(rows) for _, rows in parsed)
    _allow(count, any_size)
    factors, zips = [], 0
    for names, rows in parsed:
        zips += len(names) > 1
        dimension = label[names[0]] if len(names) == 1 else "zip" if zips == 1 else f"zip_{zips}"
        factors.append(Factor(dimension, names, tuple(rows)))
    return Design("grid", tuple(factors))


def _allow(count: int, any_size: bool) -> None:
    if count > MOST_POINTS and not any_size:
        raise ConfigError(f"--over gives {count} points, more than {MOST_POINTS}; add --yes if that is meant")


def _drawn(
    method: Method, axes: list[tuple[str, str | list[Any]]], count: int, design_seed: int, any_size: bool
) -> Design:
    if count < 1:
        raise ConfigError(f"--{method} = {count} is not allowed: it must be a whole number ≥ 1")
    if not axes:
        raise ConfigError(f"--{method} needs at least one --over FIELD=LOW:HIGH")
    _allow(count, any_size)
    if method == "random":
        places = np.random.default_rng(design_seed).random((count, len(axes)))
    else:
        from scipy.stats import qmc

        sequence = qmc.Sobol(len(axes), scramble=True, rng=np.random.default_rng(design_seed))
        # A power of two keeps the sequence balanced; scipy warns otherwise, and the user chose.
        places = sequence.random_base2(max(0, math.ceil(math.log2(count))))[:count]
    columns = []
    for (name, given), u in zip(axes, places.T, strict=True):
        if isinstance(given, str):
            columns.append(_quantile(name, given, u))
        else:
            columns.append([given[min(int(x * len(given)), len(given) - 1)] for x in u])
    return Design(method, (Factor("point", tuple(n for n, _ in axes), tuple(zip(*columns, strict=True))),))

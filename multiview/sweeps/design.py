"""Points of a sweep: grids, zipped axes, and drawn designs such as random and Sobol points (`draws`).

A design is a product of factors. A factor is one axis of a grid, several axes that run together (zipped), or all the
points of a drawn design. Each factor becomes one labelled dimension of the results.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from multiview.config import convert
from multiview.parameters import ConfigError, refusal
from multiview.sweeps.draws import DRAWS
from multiview.sweeps.grammar import MOST_BLOCKS, MOST_POINTS, axis_field, distinct, labels, parse_values, quantile
from multiview.words import parameter_value


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
    """All points of a sweep: the product of its factors, the last one changing fastest.

    Attributes:
        method: grid, or the name of a drawn design in `DRAWS`.
        factors: its dimensions.
    """

    method: str
    factors: tuple[Factor, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each dimension."""
        return tuple(len(f.rows) for f in self.factors)

    @property
    def num_points(self) -> int:
        """The number of points."""
        return math.prod(self.shape)

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The names of the dimensions."""
        return tuple(f.dimension for f in self.factors)

    @property
    def fields(self) -> tuple[str, ...]:
        """The parameters that the design changes."""
        return tuple(name for f in self.factors for name in f.fields)

    def point(self, index: Sequence[int]) -> int:
        """Return the number of the point at an index along each dimension."""
        return int(np.ravel_multi_index(tuple(index), self.shape)) if self.factors else 0

    def index(self, point: int) -> tuple[int, ...]:
        """Return a point's index along each dimension."""
        return tuple(int(i) for i in np.unravel_index(point, self.shape)) if self.factors else ()

    def changes(self, point: int) -> dict[str, Any]:
        """Return the values of the parameters that a point changes, by field."""
        values: dict[str, Any] = {}
        for factor, i in zip(self.factors, self.index(point), strict=True):
            values.update(zip(factor.fields, factor.rows[i], strict=True))
        return values

    def describe(self, point: int) -> str:
        """Describe a point in words: `network.relu_power=3.0 train.learning_rate=8.0`."""
        return (
            " ".join(f"{name}={parameter_value(value)}" for name, value in self.changes(point).items())
            or "the only point"
        )

    def to_mapping(self) -> dict[str, Any]:
        """Convert to plain values for JSON."""
        return {"method": self.method, "factors": [dataclasses.asdict(f) for f in self.factors]}

    @staticmethod
    def from_mapping(mapping: Mapping[str, Any]) -> Design:
        """Make the design of plain values."""

        def row(values: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(tuple(v) if isinstance(v, list) else v for v in values)

        factors = (Factor(f["dimension"], tuple(f["fields"]), tuple(map(row, f["rows"]))) for f in mapping["factors"])
        return Design(mapping["method"], tuple(factors))


def behind(stored: Sequence[tuple[Any, ...]], rows: Sequence[tuple[Any, ...]]) -> tuple[tuple[Any, ...], ...] | None:
    """Sort the rows of a factor: the stored ones first, then the others; None if a stored one is missing.

    A drawn design may hold a row several times.
    """
    left, new = Counter(stored), []
    for row in rows:
        if left[row]:
            left[row] -= 1
        else:
            new.append(row)
    return None if left.total() else (*stored, *new)


def _axes(over: Sequence[str] | Mapping[str, Any]) -> list[tuple[str, str | list[Any]]]:
    """Read axes as pairs (field, text), or (field, values) where the caller passed values."""
    if not isinstance(over, Mapping):
        return [axis_field(word) for word in over]
    axes: list[tuple[str, str | list[Any]]] = []
    for name, values in over.items():
        if isinstance(values, str):
            axes.append(axis_field(f"{name}={values}"))
            continue
        field, _ = axis_field(f"{name}=values")
        if not isinstance(values, Sequence | np.ndarray):
            raise ConfigError(f"--over {name} = {values!r}: it must be a list of values or a text such as '1:2:5'")
        plain = [v.item() if isinstance(v, np.generic) else v for v in values]
        axes.append((field, distinct(field, [convert(field, v) for v in plain])))
    return axes


def _values(name: str, axis: str | list[Any]) -> list[Any]:
    return parse_values(name, axis) if isinstance(axis, str) else axis


def make_design(
    over: Sequence[str] | Mapping[str, Any] = (),
    zipped: Sequence[Sequence[str] | Mapping[str, Any]] = (),
    *,
    method: str = "grid",
    points: int = 0,
    design_seed: int = 0,
    any_size: bool = False,
) -> Design:
    """Make the design of a sweep.

    Args:
        over: axes, `["network.relu_power=2,3,4", "data.single_view_fraction=0.01:0.2:8:log"]` or a mapping
            `{"network.relu_power": [2, 3, 4]}`. Their product is the grid. In a drawn design a range
            has no count: `LOW:HIGH` or `LOW:HIGH:log`.
        zipped: groups of axes of equal length that run together.
        method: grid, or a drawn design: random, sobol.
        points: how many points a drawn design has.
        design_seed: seed of a drawn design.
        any_size: allow more than 10⁶ points.

    Returns:
        The design; without any axis it has one point.

    Raises:
        ConfigError: one line that names the axis and what is allowed.
    """
    axes = _axes(over)
    groups = [_axes(group) for group in zipped]
    fields = [name for name, _ in axes] + [name for group in groups for name, _ in group]
    for name in fields:
        if fields.count(name) > 1:
            raise ConfigError(f"--over {name}: this field stands on two axes")
    label = labels(fields)
    if method != "grid":
        if method not in DRAWS:
            raise refusal("method", method, "one of " + ", ".join(("grid", *DRAWS)))
        if groups:
            raise ConfigError(f"--zip does not go with --{method}")
        return _drawn(method, axes, points, design_seed, any_size)
    if points:
        raise refusal("points", points, "0 in a grid; a drawn design has a method of its own")
    parsed: list[tuple[tuple[str, ...], list[tuple[Any, ...]]]] = []
    for name, axis in axes:
        parsed.append(((name,), [(v,) for v in _values(name, axis)]))
    for group in groups:
        columns = [_values(name, axis) for name, axis in group]
        lengths = {len(c) for c in columns}
        if len(lengths) != 1:
            counts = ", ".join(f"{name} has {len(c)}" for (name, _), c in zip(group, columns, strict=True))
            raise ConfigError(f"--zip: axes that run together need equally many values; {counts}")
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
    if count > MOST_BLOCKS:
        raise ConfigError(f"--over gives {count} points; at most 10⁷ are possible")
    if count > MOST_POINTS and not any_size:
        raise ConfigError(f"--over gives {count} points, more than {MOST_POINTS}; add --yes if that is meant")


def _drawn(
    method: str, axes: list[tuple[str, str | list[Any]]], count: int, design_seed: int, any_size: bool
) -> Design:
    if count < 1:
        raise ConfigError(f"--{method} = {count} is not allowed: it must be a whole number ≥ 1")
    if not axes:
        raise ConfigError(f"--{method} needs at least one --over FIELD=LOW:HIGH")
    _allow(count, any_size)
    columns = []
    for (name, axis), u in zip(axes, DRAWS[method].positions(count, len(axes), design_seed).T, strict=True):
        if isinstance(axis, str):
            columns.append(quantile(name, axis, u))
        else:
            columns.append([axis[min(int(x * len(axis)), len(axis) - 1)] for x in u])
    return Design(method, (Factor("point", tuple(n for n, _ in axes), tuple(zip(*columns, strict=True))),))

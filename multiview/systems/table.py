"""The table of systems: the names that `Study.system` allows. A new system is one file in this room and one row.

The table holds names and rules only, so that configuration, command line and documentation read it without loading JAX.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from multiview.systems.protocol import System

# Kinds of training options, declared by `parameter(option=…)`: another solver, and changes of a step of descent. A
# system understands either all options of a kind or only their defaults.
FLOW, STEP = "flow", "step"


class Entry(NamedTuple):
    """One row of the table.

    Attributes:
        words: description of the system.
        module: the file in this room that defines its `SYSTEM`.
        understands: kinds of training options that may differ from their defaults.
        students: name of the system of its students; "" for the same system.
        fields: parameters of the study that only this system has.
        predicted: whether the theory's conditions and predictions apply to it.
    """

    words: str
    module: str
    understands: tuple[str, ...] = ()
    students: str = ""
    fields: tuple[str, ...] = ()
    predicted: bool = False


SYSTEMS: Mapping[str, Entry] = {
    "network": Entry("the theory's network", "network", understands=(FLOW, STEP), predicted=True),
    "average": Entry("the mean of all networks' outputs, trained jointly", "average", students="network"),
    "lazy": Entry("networks at the output scale α, their start subtracted", "lazy", fields=("output_scale",)),
    "linearised": Entry("networks linearised at their start (neural tangent kernel)", "linearised"),
    "random_features": Entry("second layers on frozen random first layers", "random_features"),
}


def load(name: str) -> System:
    """Import a system by its name.

    Args:
        name: a key of `SYSTEMS`.

    Returns:
        The system's functions.
    """
    system: System = importlib.import_module(f"multiview.systems.{SYSTEMS[name].module}").SYSTEM
    return system


def students_of(name: str) -> str:
    """Return the name of the system of a system's students."""
    return SYSTEMS[name].students or name

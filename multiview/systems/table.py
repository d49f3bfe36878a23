"""The table of systems: what `Study.system` may name. A new system is one file in this room and one line here.

Names and rules alone, so that the configuration, the command line and the documentation read it without starting JAX.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from multiview.systems.protocol import System

# Kinds of options of training, as `parameter(option=…)` declares them: another solver, and what changes a descent step.
# A system understands all options of a kind or their defaults alone.
FLOW, STEP = "flow", "step"


class Entry(NamedTuple):
    """One system by name.

    Attributes:
        words: what is trained.
        module: the file in this room whose `SYSTEM` it is.
        understands: kinds of options of training that may differ from their defaults.
        students: the system that its students are of.
        fields: parameters of the study that belong to this system alone.
        predicted: whether the theory's conditions and predictions are about it.
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
        Its functions.
    """
    system: System = importlib.import_module(f"multiview.systems.{SYSTEMS[name].module}").SYSTEM
    return system


def students_of(name: str) -> str:
    """The name of the system that students of a system are of."""
    return SYSTEMS[name].students or name

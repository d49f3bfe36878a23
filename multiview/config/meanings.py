"""Read the meaning of a parameter from the docstring below its field, where editors show it.

Python keeps no such docstrings at run time, so they are read from the source, and only when help is asked for.
"""

from __future__ import annotations

import ast
import functools
import itertools
import sys
import typing

from multiview.config.study import all_fields, section_of


@functools.cache
def _classes(module: str) -> dict[str, ast.ClassDef]:
    """The classes in the source of a module, by name; none where there is no source, as in the interpreter."""
    try:
        source = sys.modules[module].__loader__.get_source(module)  # type: ignore[union-attr]
    except (AttributeError, ImportError, OSError):
        source = None
    return {node.name: node for node in ast.parse(source or "").body if isinstance(node, ast.ClassDef)}


@functools.cache
def meanings(section: type) -> dict[str, str]:
    """The docstrings below the fields of a dataclass, by field, without their final stop."""
    declared = _classes(section.__module__).get(section.__name__)
    body = declared.body if declared else []
    found = {}
    for field, following in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            match following:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    found[field.target.id] = " ".join(text.split()).removesuffix(".")
    return found


def meaning(name: str) -> str:
    """The meaning of a parameter by its dotted name, such as `data.num_classes`."""
    return meanings(section_of(name)).get(name.rpartition(".")[2], "")


def explained(name: str) -> str:
    """The meaning of a parameter, with what is allowed in brackets."""
    field, kind = all_fields()[name]
    words = typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()
    allowed = "one of " + ", ".join(words) if words else field.metadata["allowed"]
    return f"{meaning(name)} ({allowed})" if allowed else meaning(name)

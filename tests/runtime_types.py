"""Check the shapes and types of every call of multiview's functions while its tests run."""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from pathlib import Path
from typing import Any, Self, get_args, runtime_checkable

import jax
from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

ROOT = Path(__file__).parent.parent
# What a right-hand side of differential equations calls 10⁵ times for one answer: checked, each answer takes five times
# as long. Who calls them from outside is checked.
UNCHECKED = {
    "multiview.network.activation",
    "multiview.theory.equations",
    "multiview.theory.power_iteration",
    "multiview.theory.strengths",
}

# An int is a float, as PEP 484 and mypy have it.
_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


@functools.cache
def _names_for_types(module: str) -> dict[str, Any]:
    """What a module imports under `if TYPE_CHECKING` alone."""
    names: dict[str, Any] = {}
    for node in ast.parse(inspect.getsource(sys.modules[module])).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            exec(compile(ast.Module(node.body, []), module, "exec"), names)
    return names


def _let_protocols_be_checked(annotation: Any) -> None:
    """Instances of a protocol are whatever has its members."""
    if getattr(annotation, "_is_protocol", False):
        runtime_checkable(annotation)
    for part in get_args(annotation):
        _let_protocols_be_checked(part)


def checked(function: Any) -> Any:
    """Let beartype check a function, with names that its module imports for types alone."""
    for name, annotation in function.__annotations__.items():
        if isinstance(annotation, str):
            names = vars(sys.modules[function.__module__]) | _names_for_types(function.__module__)
            try:
                function.__annotations__[name] = eval(annotation, names)
            except NameError:  # a class that stands further down: beartype looks again at the first call
                continue
    for name, annotation in function.__annotations__.items():
        _let_protocols_be_checked(annotation)
        if annotation is Self:  # which beartype knows in whole classes alone
            function.__annotations__[name] = function.__qualname__.rpartition(".")[0]
    strict = _checked(function)
    if function.__name__ != "__init__":
        return strict

    @functools.wraps(function)
    def init(self: Any, *args: Any, **fields: Any) -> None:
        """JAX also builds its trees around tracers, shapes and axes; their fields are checked where they are used."""
        if jax.tree_util.all_leaves([self]):
            strict(self, *args, **fields)

    return init


def install() -> None:
    """Check whatever of multiview is imported from now on."""
    files = (path.relative_to(ROOT).with_suffix("") for path in (ROOT / "multiview").rglob("*.py"))
    names = {".".join(path.parts) for path in files if path.name != "__init__"}
    install_import_hook(sorted(names - UNCHECKED), "runtime_types.checked")

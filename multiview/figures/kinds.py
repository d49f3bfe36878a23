"""The kinds of figures: which store each is made from, and the function that draws it. Starts no plotting library."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from multiview.parameters import ConfigError, refusal


class FigureKind(NamedTuple):
    """One kind of figure; the module of its name, with underscores for dashes, draws and describes it.

    Attributes:
        store: what it is made from: study or sweep.
        shape: height in units of the width.
        text: what it shows.
    """

    store: str
    shape: float
    text: str


# A new kind is its row here and its module NAME.py with plot_NAME(results, ax, …) → ax, and, for the report, perhaps
# describe_NAME(results) → one sentence with the numbers that it shows.
KINDS: Mapping[str, FigureKind] = {
    "dynamics": FigureKind("study", 0.9, "overlaps with views over time, theory's clocks"),
    "mosaic": FigureKind("study", 0.95, "class × view × network: who learned what"),
    "lottery": FigureKind("study", 0.95, "lead of a view at the start against its final lead"),
    "errors": FigureKind("study", 0.8, "test errors in units of μ, intervals, paper's figures"),
    "ensemble": FigureKind("study", 0.72, "test error against the size of the ensemble"),
    "memorisation": FigureKind("study", 0.9, "overlaps with noise over time"),
    "dark-knowledge": FigureKind("study", 0.9, "what traces of each view say"),
    "sweep": FigureKind("sweep", 0.8, "curves with bands over one axis of a sweep"),
    "phase": FigureKind("sweep", 0.75, "a measure over two axes of a sweep"),
}


def figure_kind(name: str) -> FigureKind:
    """Look up a kind by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    if isinstance(name, str) and name in KINDS:
        return KINDS[name]
    near = difflib.get_close_matches(str(name), KINDS, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ConfigError(f"--kind = {name!r} is not allowed: it must be one of {', '.join(KINDS)}{hint}")


def function_of(name: str) -> Callable[..., Any]:
    """Import the function that draws a kind, and with it matplotlib."""
    module = name.replace("-", "_")
    return getattr(importlib.import_module(f"multiview.figures.{module}"), f"plot_{module}")


def description(results: Any, name: str) -> str:
    """Describe what a kind of figure shows of a store, in one sentence; "" for a kind that describes nothing."""
    module = name.replace("-", "_")
    describe = getattr(importlib.import_module(f"multiview.figures.{module}"), f"describe_{module}", None)
    return "" if describe is None else str(describe(results))


def make_figure(results: Any, name: str, size: str = "column", **options: Any) -> Any:
    """A figure of one kind in the house style.

    Args:
        results: a store, of `multiview.open_results`.
        name: of the kind.
        size: column or slide.
        options: of the kind's function: replicate, or measures and by; None means not given.

    Returns:
        The figure.

    Raises:
        ConfigError: an unknown kind, an option that it does not have, or a store that lacks what it shows.

    Example:
        >>> import multiview as mv
        >>> figure = mv.make_figure(mv.open_results("study.zarr"), "mosaic")
        >>> mv.save_figure(figure, "mosaic.pdf")
    """
    if not isinstance(getattr(results, "attrs", None), dict):
        raise refusal("results", results, "a store, of open_results or to_datatree(result)")
    kind = figure_kind(name)
    draw = function_of(name)
    given = {key: value for key, value in options.items() if value is not None}
    for key in given:
        if key not in inspect.signature(draw).parameters:
            flag = "measure" if key == "measures" else key
            raise ConfigError(f"--{flag} is not for --kind {name}")
    from multiview.figures.style import new_figure, style

    with style(size) as place:
        figure, ax = new_figure(place, kind.shape)
        try:
            draw(results, ax, **given)
            figure.canvas.draw()  # the layout depends on the style, which ends here; scales find bad numbers here
        except (ConfigError, ArithmeticError, LookupError, ValueError) as error:
            if isinstance(error, ConfigError):
                raise ConfigError(f"--kind {name}: {error}") from None
            # A store that holds other shapes than its configuration says, or no numbers at all.
            raise ConfigError(
                f"--kind {name}: the store does not hold what this figure shows "
                f"({error.__class__.__name__}: {error}); see multiview check"
            ) from error
    return figure


def file_name(store: str | Path, name: str, ending: str) -> Path:
    """Name the file of a figure, in the working folder, where the user names none."""
    return Path(f"{Path(store).resolve().name.removesuffix('.zarr')}-{name}{ending}")

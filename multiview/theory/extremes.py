"""Where closed forms end: values that are allowed, but too extreme to be computed with, are refused in one line."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np

from multiview.config import Study, all_fields, get
from multiview.parameters import ConfigError

Form = TypeVar("Form", bound=Callable[..., Any])

# Random numbers, or loops of Python as so many numbers, that a closed form may take: some seconds.
MOST_DRAWS = 2**29
LOOP = 500
# Parameters that no closed form reads.
UNUSED = ("num_test_multi_view", "num_test_single_view", "num_records", "block_size", "flow_tolerance", "patch_dim")


def too_extreme(study: Study, what: str = "cannot be computed") -> ConfigError:
    """Make the line that names the most extreme values of a study, of which one is too extreme for the theory."""

    def size(value: Any) -> float:
        numbers = value if isinstance(value, tuple) else (value,)
        return max((math.log10(v) for v in numbers if isinstance(v, int | float) and 0 < v < math.inf), default=0.0)

    def extent(name: str) -> float:
        """Orders of magnitude between the value and the default."""
        return abs(size(get(study, name)) - size(all_fields()[name][0].default))

    names = [n for n in all_fields() if "." in n and n.rpartition(".")[2] not in UNUSED]
    worst = sorted(names, key=lambda n: -extent(n))[:3]
    values = ", ".join(f"{n} = {get(study, n)!r}" for n in worst)
    return ConfigError(f"the theory's numbers {what} where {values}: one of them is too extreme")


def solvable(form: Form) -> Form:
    """Let a function of a study, its first argument, end in one line where numbers overflow or do not exist."""

    @functools.wraps(form)
    def within(study: Study, *args: Any, **options: Any) -> Any:
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of quadrature and of solvers; what they mean is checked below
                found = form(study, *args, **options)
        except (ArithmeticError, MemoryError, np.linalg.LinAlgError) as error:
            raise too_extreme(study) from error
        if _has_nan(found):
            raise too_extreme(study)
        return found

    return within  # type: ignore[return-value]


def _has_nan(found: Any) -> bool:
    if isinstance(found, float):
        return math.isnan(found)
    return isinstance(found, tuple | list) and any(map(_has_nan, found if isinstance(found, Iterable) else ()))


def check_draws(study: Study, numbers: int) -> None:
    """Refuse a study for which a closed form would draw more numbers than fit in memory and seconds.

    Raises:
        ConfigError: it names the sizes.
    """
    if numbers > MOST_DRAWS:
        sizes = ("data.num_classes", "data.num_views", "network.neurons_per_class", "data.num_train")
        values = ", ".join(f"{name} = {get(study, name)}" for name in sizes)
        raise ConfigError(f"the theory's numbers would need {numbers:.1g} random draws with {values}: too many")

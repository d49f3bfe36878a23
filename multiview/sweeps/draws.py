"""The table of drawn designs: ways to place points in a box. A new one is a function here and its row in `DRAWS`.

NumPy and SciPy are imported where points are drawn, so that the command line offers the names without starting them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from numpy import ndarray
else:
    ndarray = Any


class Draw(NamedTuple):
    """One way to draw points.

    Attributes:
        text: which points these are.
        places: number of points, number of axes and seed, to places in the unit cube [point, axis].
    """

    text: str
    places: Callable[[int, int, int], ndarray]


def _random(points: int, axes: int, seed: int) -> ndarray:
    import numpy as np

    return np.random.default_rng(seed).random((points, axes))


def _sobol(points: int, axes: int, seed: int) -> ndarray:
    import numpy as np
    from scipy.stats import qmc

    sequence = qmc.Sobol(axes, scramble=True, rng=np.random.default_rng(seed))
    # A power of two keeps the sequence balanced; scipy warns otherwise, and the user chose.
    return sequence.random_base2(math.ceil(math.log2(points)))[:points]


DRAWS: Mapping[str, Draw] = {
    "random": Draw("random points", _random),
    "sobol": Draw("points of a scrambled Sobol sequence", _sobol),
}

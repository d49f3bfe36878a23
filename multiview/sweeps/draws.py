"""The table of drawn designs: ways to place points in a box. A new design is a function and a row in `DRAWS`.

NumPy and SciPy are imported where points are drawn, so that the command line lists the names without loading them.
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
        text: description for the command line.
        positions: function from the number of points, the number of axes and the seed to positions in the unit cube,
            shape [points, axes].
    """

    text: str
    positions: Callable[[int, int, int], ndarray]


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

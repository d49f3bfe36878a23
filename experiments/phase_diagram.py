"""Where, over the size of the start and the norm of the noise, do the four theorems hold?

The regime check draws its borders from closed forms (docs/theory.md, section 6): the start must be small, a view must
be learned and single-view samples memorised within the training time, and few classes may end with both views.
`experiments.planes` says when a theorem counts as seen.

Run it with `python -m experiments.phase_diagram`.
"""

from __future__ import annotations

import sys
from functools import partial

from experiments import common, planes

NAME = "phase_diagram"
CLAIM = "The conditions of the regime check draw the borders, over σ₀ and ν, within which simulation shows theorems."
SECONDS = 120
REMARK = """"""

PLANE = planes.Plane(
    "network.init_std",
    "data.noise_norm",
    (0.0005, 0.00125, 0.003, 0.0075, 0.02, 0.05),
    (0.2, 0.4, 0.7, 1.0, 1.5, 2.2),
    "start σ₀",
    "norm of the noise ν",
    ("time to learn", "time to memorise", "clear winners", "second view stays out"),
)
measure = partial(planes.measure, PLANE)
verdicts = planes.verdicts
draw = planes.draw


if __name__ == "__main__":
    common.command(sys.modules[__name__])

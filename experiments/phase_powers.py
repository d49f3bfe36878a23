"""Where, over the power of the activation and the size of the start, do the four theorems hold?

At q ≤ 2 no view takes all; above, the time to learn goes as σ₀^-(q-2), so that large powers with small starts learn
nothing within the training time, and large starts leave both views in a class. `experiments.planes` says when a theorem
counts as seen.

Run it with `python -m experiments.phase_powers`.
"""

from __future__ import annotations

import sys
from functools import partial

from experiments import common, planes

NAME = "phase_powers"
CLAIM = "The conditions of the regime check draw the borders, over q and σ₀, within which simulation shows theorems."
SECONDS = 280
REMARK = """Borders lie where the check draws them, in a lane from small powers with small starts to large powers with
large ones. The one disagreement for single networks, σ₀ = 0.0075 at q = 3, is an error of 0.33, just below the band:
the simulated border of clear winners lies at 0.67 of the check's. Students of the ensemble miss at q = 4 too (they keep
0.38 of the error, where a quarter is asked), as traces teach slowest there. Errors above 1 are of networks that have
not learned all classes."""

PLANE = planes.Plane(
    "network.relu_power",
    "network.init_std",
    (2.0, 2.5, 3.0, 4.0),
    (0.00125, 0.003, 0.0075, 0.02, 0.05),
    "power q",
    "start σ₀",
    ("power", "time to learn", "time to memorise", "clear winners", "second view stays out"),
)
measure = partial(planes.measure, PLANE)
verdicts = planes.verdicts
draw = planes.draw


if __name__ == "__main__":
    common.command(sys.modules[__name__])

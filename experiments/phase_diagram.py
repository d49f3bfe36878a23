"""Where, over the size of the start and the norm of the noise, do the four theorems hold?

A start that is too small learns nothing within the training time, one that is too large leaves both views in a class.
Too little noise is not memorised in time; with much of it single-view samples are memorised before a view is learned.
The grid was laid so that these borders of the regime check lie inside. `experiments.planes` says when a theorem counts
as seen.

Run it with `python -m experiments.phase_diagram`.
"""

from __future__ import annotations

import sys
from functools import partial

from experiments import common, planes

NAME = "phase_diagram"
CLAIM = "The conditions of the regime check draw the borders, over σ₀ and ν, within which simulation shows theorems."
SECONDS = 260
REMARK = ""

PLANE = planes.Plane(
    "network.init_std",
    "data.noise_norm",
    (0.0008, 0.0015, 0.003, 0.006, 0.012, 0.03, 0.08),
    (0.15, 0.3, 0.6, 1.2, 2.4, 4.8),
    "start σ₀",
    "norm ν of the noise",
    ("small start", "time to learn", "views before memory", "time to memorise", "clear winners"),
)
measure = partial(planes.measure, PLANE)
verdicts = planes.verdicts
draw = planes.draw


if __name__ == "__main__":
    common.command(sys.modules[__name__])

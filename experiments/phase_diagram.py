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
REMARK = """To the left theorem 1 ends where the check says, by the time to learn. To the right it ends at two thirds of
the classes with both views that the check allows, as over q: the error falls below the band first. Two borders part. At
ν = 0.6 and σ₀ = 0.003 some sample is memorised too late, where the check has a third of the time to spare: its clock is
that of a typical class and sample, and training error 0 asks for the last of 160 samples (derived, times of single
samples were not recorded). With the next larger start the training error is 0 there, and the error of 0.34 is just
below the band. And at ν = 4.8, where single-view samples are memorised before a view is learned, the theorem is seen
all the same: multi-view samples are without noise in this world and teach the views alone, so that the condition asks
for too much here (derived). Ensembles keep 0.23 and 0.41 of the error there; why so much was not looked into."""

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

"""Where, over the strengths of missing views and of foreign features in single-view samples, do the theorems hold?

A missing view costs an error where its remainder, ρ times its strength, is weaker than a foreign feature, Γ. Memory
needs some of it: noise is memorised in the patch of the weak view, with the slope that the winner gives it there. An
ensemble, half of whose networks know each view, is wrong where Γ comes near half of the label's strength.
`experiments.planes` says when a theorem counts as seen.

Run it with `python -m experiments.phase_strengths`.
"""

from __future__ import annotations

import sys
from functools import partial

from experiments import common, planes

NAME = "phase_strengths"
CLAIM = "The conditions of the regime check draw the borders, over ρ and Γ, within which simulation shows theorems."
SECONDS = 210
REMARK = """A missing view costs an error just where the check says, and ensemble and distillation end where the
binomial law of the ensemble says. What disagrees lies above, at large Γ, of which no condition on one network speaks.
At Γ = 0.8 known foreign features beat even known views in some samples: single networks err on 0.57 and more. And
students of one network gain nothing from Γ = 0.5 on: a view that is taught by traces stops at the cap of the truncated
logits, at an overlap of 4.7, half of a winner's, so that a known foreign feature of half the label's strength is as
large (derived)."""

PLANE = planes.Plane(
    "data.weak_view_strength",
    "data.single_view_foreign_strength",
    (0.03, 0.06, 0.1, 0.17, 0.28, 0.45),
    (0.06, 0.12, 0.2, 0.32, 0.5, 0.8),
    "strength ρ of the missing view",
    "strength Γ of foreign features",
    ("missing view is fatal", "time to memorise", "views before memory"),
)
measure = partial(planes.measure, PLANE)
verdicts = planes.verdicts
draw = planes.draw


if __name__ == "__main__":
    common.command(sys.modules[__name__])

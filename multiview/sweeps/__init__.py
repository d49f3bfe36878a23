"""Sweeps: a design of points, run block by block into one store, and continued wherever it stopped."""

from multiview.sweeps.design import Design, make_design
from multiview.sweeps.plan import Plan, group_key, make_plan
from multiview.sweeps.runner import Outcome, WriteError, run_sweep

__all__ = ["Design", "Outcome", "Plan", "WriteError", "group_key", "make_design", "make_plan", "run_sweep"]

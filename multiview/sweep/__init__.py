"""Sweeps: a design of points, run block by block into one store, and continued wherever it stopped."""

from multiview.sweep.design import Design, make_design
from multiview.sweep.plan import Plan, group_key, make_plan
from multiview.sweep.runner import Outcome, WriteError, run

__all__ = ["Design", "Outcome", "Plan", "WriteError", "group_key", "make_design", "make_plan", "run"]

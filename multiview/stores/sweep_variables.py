"""What a sweep stores of each block: tables of variables, each with the function that computes it from a result."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from multiview.config import Study
from multiview.measures import recorded
from multiview.measures.ensemble import ENSEMBLES
from multiview.measures.errors import ErrorCounts, combine
from multiview.measures.features import learned_views, winners
from multiview.measures.lottery import LotteryResult, lottery
from multiview.stores.sweep_store import Variable
from multiview.studies.outcome import StudyResult
from multiview.words import self_distilled_name


class _Row(NamedTuple):
    """A variable of a sweep, and the function that computes it from what its table is about."""

    variable: Variable
    function: Callable[[Any], Any]


class _Tested:
    """Test errors of some networks [S], or of one ensemble."""

    def __init__(self, counts: ErrorCounts, mu: float, which: Any = slice(None)) -> None:
        self.multi_view, self.single_view, self.mu = counts.multi_view[0, which], counts.single_view[0, which], mu
        self.e_multi_view = self.multi_view / counts.num_multi_view
        self.e_single_view = self.single_view / counts.num_single_view

    @property
    def in_units_of_mu(self) -> np.ndarray:
        if self.mu == 0:
            return np.full(np.shape(self.multi_view), np.nan)
        return combine(self.e_multi_view, self.e_single_view, self.mu)


class _Views:
    """Overlaps of the networks of one kind with the views of their classes, at the start and at the end [S, k, L]."""

    def __init__(self, study: Study, overlap: np.ndarray, moments: np.ndarray) -> None:
        self.study, self.moments = study, moments
        self.start, self.final = overlap[:, 0].astype(float), overlap[:, -1].astype(float)

    @property
    def winner(self) -> np.ndarray:
        winner, clear = winners(self.final)
        return np.where(clear, winner, -1)

    @functools.cached_property
    def lottery(self) -> LotteryResult:
        network = self.study.network
        return lottery(self.start, self.final, self.moments, network.relu_power, network.neurons_per_class)


_BLOCK = {  # of each block, from a StudyResult of one replicate
    "dark_knowledge": _Row(
        Variable((), "float64", "share of pairs", "pairs that the ensemble's outputs order right"),
        lambda r: r.dark_knowledge[0],
    ),
    "view_moments": _Row(
        Variable(("class", "view"), "float64", "", "S of each view in the training set"), lambda r: r.moments[0]
    ),
    "dropped_features": _Row(
        Variable((), "int32", "features", "foreign features without a free patch"), lambda r: r.dropped_features
    ),
}
_ERRORS = {  # of each network and of each ensemble, from _Tested
    "test_error": _Row(
        Variable((), "float64", "μ", "test error ((1-μ) e_multi_view + μ e_single_view)/μ"), lambda t: t.in_units_of_mu
    ),
    "e_multi_view": _Row(Variable((), "float64", "1", "error on multi-view test samples"), lambda t: t.e_multi_view),
    "e_single_view": _Row(Variable((), "float64", "1", "error on single-view test samples"), lambda t: t.e_single_view),
    "test_wrong_multi_view": _Row(
        Variable((), "int32", "samples", "wrong multi-view test samples"), lambda t: t.multi_view
    ),
    "test_wrong_single_view": _Row(
        Variable((), "int32", "samples", "wrong single-view test samples"), lambda t: t.single_view
    ),
}
_TRAINING = {  # of each network, from its Group
    "final_train_error": _Row(
        Variable((), "float64", "share of weight", "training error at the end"), lambda g: g.train_error[0]
    ),
    "final_train_wrong": _Row(
        Variable((), "int32", "samples", "wrong training samples at the end"), lambda g: g.train_wrong[0]
    ),
    "finite": _Row(Variable((), "int8", "", "1 if every number of the network is finite"), lambda g: g.finite[0]),
}
_VIEWS = {  # of each network whose overlaps are recorded, from _Views
    "learned_views": _Row(
        Variable((), "int32", "views", "views whose overlap is more than half of the class's largest"),
        lambda v: learned_views(v.final).sum((-1, -2)),
    ),
    "winner": _Row(
        Variable(("class",), "int8", "", "the view that won each class, if one clearly did"), lambda v: v.winner
    ),
    "final_overlap": _Row(
        Variable(("class", "view"), "float64", "overlap", "largest overlap Λ at the end"), lambda v: v.final
    ),
}
_LOTTERY = {  # of each single network, from _Views; a student's start is not what decides
    "lottery_right": _Row(
        Variable((), "int32", "classes", "classes with one winner, which the start named"), lambda v: v.lottery.right
    ),
    "lottery_clear": _Row(
        Variable((), "int32", "classes", "classes with one winner"), lambda v: v.lottery.clear
    ),
}  # fmt: skip


def _recorded() -> list[recorded.Measure]:
    """Rows of what is recorded of each single network over time; a measure of some solvers alone is not swept."""
    return [row for row in recorded.MEASURES if row.function is not None]


def sweep_variables(students: bool, generations: int, precision: str) -> dict[str, Variable]:
    """List what a sweep stores of each block, by name; students' measures carry their kind as a prefix.

    Args:
        students: whether students are trained.
        generations: self-distillation generations.
        precision: float32 or float64, of what is measured on networks.
    """

    def of_networks(network: str, prefix: str, *tables: dict[str, _Row]) -> dict[str, Variable]:
        return {
            prefix + name: row.variable._replace(dimensions=(network, *row.variable.dimensions))
            for table in tables
            for name, row in table.items()
        }

    variables = {name: row.variable for name, row in _BLOCK.items()}
    variables |= {f"{ensemble}_{name}": row.variable for ensemble in ENSEMBLES for name, row in _ERRORS.items()}
    variables |= of_networks("seed", "", _ERRORS, _TRAINING, _VIEWS, _LOTTERY)
    if students:
        for kind in ("distilled", *map(self_distilled_name, range(generations))):
            variables |= of_networks("student", f"{kind}_", _ERRORS, _TRAINING, _VIEWS)
    for row in _recorded():
        dtype = precision if row.dtype == "float" else row.dtype
        variables[row.name] = Variable(("seed", "time", *row.dimensions), dtype, row.unit, f"{row.text}, over time")
    return variables


def sweep_values(result: StudyResult) -> dict[str, np.ndarray]:
    """Compute the arrays of `sweep_variables` for a result of one replicate."""
    mu = result.study.data.single_view_fraction
    values: dict[str, Any] = {}

    def add(prefix: str, table: dict[str, _Row], subject: Any) -> None:
        values.update({prefix + name: row.function(subject) for name, row in table.items()})

    add("", _BLOCK, result)
    for name in ENSEMBLES:
        add(f"{name}_", _ERRORS, _Tested(result.ensembles[name], mu, 0))
    for name, group in result.groups.items():
        prefix = "" if name == "single" else f"{name}_"
        add(prefix, _ERRORS, _Tested(group.errors, mu))
        add(prefix, _TRAINING, group)
        if "largest_overlap" in group.records:
            views = _Views(result.study, group.records["largest_overlap"][0], result.moments[0])
            add(prefix, _VIEWS, views)
            if not prefix:
                add(prefix, _LOTTERY, views)
        if not prefix:
            values |= {row.name: group.records[row.name][0] for row in _recorded() if row.name in group.records}
    return {name: np.asarray(value) for name, value in values.items()}

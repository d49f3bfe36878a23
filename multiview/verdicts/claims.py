"""The claims of the theory, each a prediction for this size, a measurement with its interval, and a verdict.

The prediction is fixed before training. A claim holds if the measured 95 % interval overlaps the predicted one,
fails if it does not, and is undecided if the measured interval is too wide to tell.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from multiview.config import Study
from multiview.measures.errors import ErrorCounts, error_interval, exact_interval, hierarchical_bootstrap
from multiview.measures.lottery import lottery
from multiview.network.activation import activation_of
from multiview.parameters import ConfigError
from multiview.studies.outcome import Group, StudyResult, start_and_final_overlaps
from multiview.theory import paper_error, paper_gain
from multiview.verdicts.prediction import Prediction
from multiview.words import name_of, self_distilled_name

Interval = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Claim:
    """One line of the table of verdicts.

    Attributes:
        id: short name.
        statement: the claim in words.
        unit: of all numbers below.
        predicted: 95 % interval of the value for this size.
        paper: the paper's asymptotic figure.
        measured: the value.
        interval: its 95 % interval.
        bearable_width: the widest interval that still decides the claim.
        replicates: training sets behind it.
        seeds: networks per training set.
        test_samples: fresh test samples behind it.
        e_multi_view: error on multi-view data (error claims).
        e_single_view: error on single-view data (error claims).
        non_finite: networks that turned non-finite.
        note: what else a reader has to know.

    Example:
        >>> import multiview as mv
        >>> study = mv.load_preset("smoke")
        >>> claims = mv.check_claims(mv.run_study(study), mv.predict_study(study, num_studies=10))
        >>> {claim.verdict for claim in claims} <= {"holds", "fails", "undecided"}
        True
    """

    id: str
    statement: str
    unit: str
    predicted: Interval
    paper: Interval
    measured: float
    interval: Interval
    bearable_width: float
    replicates: int
    seeds: int
    test_samples: int = 0
    e_multi_view: float | None = None
    e_single_view: float | None = None
    non_finite: int = 0
    note: str = ""

    @property
    def verdict(self) -> str:
        """holds, fails or undecided."""
        low, high = self.interval
        if math.isnan(self.measured) or math.isnan(low) or math.isnan(high):
            return "undecided"
        if high < self.predicted[0] or low > self.predicted[1]:
            return "fails"
        return "undecided" if high - low > self.bearable_width else "holds"

    def to_mapping(self) -> dict[str, Any]:
        """Plain values for JSON, the verdict included."""
        values = dataclasses.asdict(self) | {"verdict": self.verdict}
        if self.e_multi_view is None:
            del values["e_multi_view"], values["e_single_view"]
        return values


# Half of the gap between neighbouring theorems (1/2, 1/4, 0) in units of μ: wider intervals cannot tell them apart.
_ERROR_WIDTH = 0.125


def check_verifiable(study: Study) -> None:
    """Refuse a study whose unit of error, μ, is 0, or whose activation the closed forms do not know."""
    activation = activation_of(study.network)
    if activation.power is None:
        raise ConfigError(f"claims are not allowed with the activation {activation.name}: predictions need a power q")
    if study.data.single_view_fraction <= 0:
        raise ConfigError(
            "data.single_view_fraction = 0 is not allowed here: errors are measured in units of μ, it must be > 0"
        )


def _error_claim(
    id: str,
    statement: str,
    counts: ErrorCounts,
    prediction: Prediction,
    paper: Interval,
    study: Study,
    non_finite: int = 0,
) -> Claim:
    mu = study.data.single_view_fraction
    replicates, seeds = counts.multi_view.shape
    return Claim(
        id,
        statement,
        "μ",
        (prediction.low, prediction.high),
        paper,
        float(counts.in_units_of_mu(mu).mean()),
        error_interval(counts, mu, study.seed),
        _ERROR_WIDTH,
        replicates,
        seeds,
        replicates * (counts.num_multi_view + counts.num_single_view),
        float(counts.multi_view.mean() / counts.num_multi_view),
        float(counts.single_view.mean() / counts.num_single_view),
        non_finite,
    )


def _train_claim(id: str, who: str, group: Group) -> Claim:
    failed = (group.train_wrong > 0) | ~group.finite
    exact = exact_interval(int(failed.sum()), failed.size)
    note = "" if not failed.any() else f"worst training error {np.nanmax(group.train_error):.4f}"
    non_finite = int((~group.finite).sum())
    if non_finite:
        note = f"{non_finite} of {failed.size} runs non-finite; {note}"
    return Claim(
        id,
        f"every {who} reaches training error 0",
        "share of runs that do not",
        (0.0, 0.0),
        (0.0, 0.0),
        float(failed.mean()),
        exact,
        0.5,
        replicates=failed.shape[0],
        seeds=failed.shape[1],
        non_finite=non_finite,
        note=note,
    )


def _lottery_claim(result: StudyResult) -> Claim:
    study = result.study
    start, final = start_and_final_overlaps(result, "single")
    counts = [
        lottery(s, f, m, study.network.relu_power, study.network.neurons_per_class)
        for s, f, m in zip(start, final, result.moments, strict=True)
    ]
    right, clear, pairs, undecided = (np.stack([getattr(c, n) for c in counts]) for n in counts[0]._fields)
    share = right.sum() / clear.sum() if clear.any() else math.nan
    with np.errstate(invalid="ignore"):
        values = np.where(clear > 0, right / np.maximum(clear, 1), share)
    left_out = 1 - clear.sum() / pairs.sum()
    open_share = undecided.sum() / pairs.sum()
    note = f"{left_out:.1%} of pairs have no one winner; the margin leaves {open_share:.1%} open at the start"
    return Claim(
        "lottery_prediction",
        "the start names the view that wins",
        "share of (class, network) pairs with one winner",
        (0.95, 1.0),
        (1.0, 1.0),
        float(share),
        hierarchical_bootstrap(values, study.seed) if clear.any() else (math.nan, math.nan),
        0.1,
        replicates=pairs.shape[0],
        seeds=pairs.shape[1],
        note=note,
    )


def check_claims(result: StudyResult, predictions: dict[str, Prediction]) -> list[Claim]:
    """Judge all claims of a study, in the order of the theorems.

    Args:
        result: what was measured.
        predictions: of `predict_study`, made before training.

    Returns:
        The claims with their verdicts.

    Example:
        >>> import multiview as mv
        >>> study = mv.load_preset("smoke")
        >>> predictions = mv.predict_study(study, num_studies=10)  # before training
        >>> claims = mv.check_claims(mv.run_study(study), predictions)
        >>> claims[0].id
        'train_error_single'
    """
    study, groups = result.study, result.groups
    finite = {name: int((~g.finite).sum()) for name, g in groups.items()}
    mu = study.data.single_view_fraction
    single = groups["single"]
    views = study.data.num_views
    claims = [
        _train_claim("train_error_single", name_of("single"), single),
        _error_claim(
            "single_error", "a single network misses half of the views", single.errors, predictions["single"],
            paper_error("single", views), study, finite["single"],
        ),
        _error_claim(
            "ensemble_error", "the ensemble (mean of logits) has all views", result.ensembles["ensemble"],
            predictions["ensemble"], paper_error("ensemble", views), study,
        ),
        _error_claim(
            "ensemble_probabilities_error", "so has the mean of probabilities",
            result.ensembles["ensemble_probabilities"], predictions["ensemble_probabilities"],
            paper_error("ensemble_probabilities", views), study,
        ),
    ]  # fmt: skip
    if "distilled" in groups:
        distilled = groups["distilled"]
        claims += [
            _train_claim("train_error_distilled", name_of("distilled"), distilled),
            _error_claim(
                "distilled_error", "a student of the ensemble learns all views", distilled.errors,
                predictions["distilled"], paper_error("distilled", views), study, finite["distilled"],
            ),
        ]  # fmt: skip
    for generation in range(study.self_distill.generations):
        name = self_distilled_name(generation)
        if name not in groups:
            continue
        group = groups[name]
        claims += [
            _train_claim(f"train_error_{name}", name_of("self_distilled"), group),
            _error_claim(
                f"{name}_error", "a student of one network has both networks' views", group.errors,
                predictions[name], paper_error(name, views), study, finite[name],
            ),
        ]  # fmt: skip
        if generation == 0 and views > 1:
            claims.append(_gain_claim(single.errors, group.errors, predictions, study, mu))
    claims.append(_lottery_claim(result))
    dark = result.dark_knowledge[:, None]
    claims.append(
        Claim(
            "dark_knowledge",
            "a trace of j raises the ensemble's output for j",
            "share of (with, without) pairs in order",
            (min(predictions["dark_knowledge"].low, 0.99), 1.0),
            (1.0, 1.0),
            float(dark.mean()),
            hierarchical_bootstrap(dark, study.seed),
            0.1,
            len(dark),
            study.seeds,
            study.replicates * min(study.data.num_test_multi_view, 4000),
        )
    )
    return claims


def _gain_claim(
    single: ErrorCounts, student: ErrorCounts, predictions: dict[str, Prediction], study: Study, mu: float
) -> Claim:
    before, after = single.in_units_of_mu(mu), student.in_units_of_mu(mu)
    low_before, high_before = error_interval(single, mu, study.seed)
    low_after, high_after = error_interval(student, mu, study.seed)
    one, other = predictions["single"], predictions["self_distilled"]
    return Claim(
        "self_distillation_gain",
        "self-distillation lowers the error",
        "μ",
        (max(one.low - other.high, 1e-9), one.high - other.low),
        paper_gain(study.data.num_views),
        float(before.mean() - after.mean()),
        (low_before - high_after, high_before - low_after),
        1.0 if low_before > high_after else 0.0,  # intervals that overlap decide nothing
        *after.shape,
    )

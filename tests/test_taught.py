"""What distillation adds: the race of traces against drawn classes, and what a lesson teaches."""

from __future__ import annotations

import math

import numpy as np
import pytest

from multiview import theory
from multiview.config import Study, replace
from multiview.presets import load_preset


def simulated_race(study: Study, distill, draws: int, left: float) -> tuple[float, float]:
    """Phase given to a lost view and share captured, drawn: every other class has its own samples and foreign start."""
    rng, data, q = np.random.default_rng(0), study.data, study.network.relu_power
    k, share = data.num_classes, data.feature_sparsity / data.num_classes
    at_cap = math.exp(distill.cap / distill.temperature)
    seen = 1 - (1 - share) ** (data.num_views * 0.5)
    others = (rng.random((draws, k - 2)) < seen).sum(1)
    soft = (at_cap / (at_cap * (2 + others) + k - 2 - others)).mean()
    time = study.train.learning_rate * distill.num_steps
    clock = distill.weight * (1 - data.single_view_fraction) * soft * share * (1 - share) * time / k
    clock /= study.network.relu_threshold ** (q - 1)
    samples = round((data.num_train - data.num_single_view_train) / k)
    counts = (rng.random((draws, k - 1, samples)) < share * (1 - share)).sum(-1) / (samples * share * (1 - share))
    foreign = study.network.init_std * rng.standard_normal((draws, k - 1, 2, study.network.neurons_per_class))
    room = theory.phase(foreign.max((-2, -1)), q) - theory.phase(study.network.relu_threshold, q)
    per_trace = theory.foreign_moment(data, q)
    until = room / (theory.label_moment(data, q) + (k - 2) * share * per_trace)
    given = np.minimum(counts * clock, until) + left * np.maximum(counts * clock - until, 0)
    return per_trace * given.sum(1).mean(), (counts * clock >= until).mean()


@pytest.mark.parametrize(("steps", "left"), [(20, 0.0), (500, 0.0), (500, 0.75), (20_000, 0.0)])
def test_the_race_of_traces_is_that_of_drawn_classes(steps, left):
    study = replace(load_preset("smoke"), {"self_distill.num_steps": steps})
    race = theory.race(study, study.self_distill, left=left)
    phase, captured = simulated_race(study, study.self_distill, 4000, left)
    assert race.phase[-1] == pytest.approx(phase, rel=0.02)
    assert race.captured[-1] == pytest.approx(captured, abs=0.02)
    assert (np.diff(race.phase) >= 0).all()
    assert (np.diff(race.captured) >= -1e-12).all()


def test_the_race_ends_however_long_the_distillation():
    """Traces give no more than their share of the foreign starts' phase; a copied class gives f of that."""
    study = replace(load_preset("smoke"), {"self_distill.num_steps": 10**6})
    race = theory.race(study, study.self_distill)
    assert race.captured[-1] == pytest.approx(1, abs=0.15)  # but for classes without a sample that shows the view
    assert race.phase[-1] == pytest.approx(race.phase[-20], rel=1e-6)
    share = study.data.feature_sparsity / study.data.num_classes
    assert race.phase_copied[-1] == pytest.approx(share * race.phase[-1], rel=1e-3)


def test_a_lesson_teaches_what_lacks_less_phase_than_the_race_gives():
    study = load_preset("smoke")
    distill, (k, views) = study.self_distill, (study.data.num_classes, 2)
    q, threshold = study.network.relu_power, study.network.relu_threshold
    known = np.zeros((k, views), bool)
    known[:10] = True
    given = theory.race(study, distill, float(known.mean())).phase[-1]
    lacks = np.linspace(0.1, 4, k) * given
    own = np.stack([np.full(k, 9.0), theory.from_phase(lacks + theory.phase(threshold, q), q)], 1)
    lesson = theory.lesson(own, known, study, distill)
    taught = known[:, 1] & (lacks <= given)
    np.testing.assert_allclose(lesson.overlap[taught, 1], theory.taught_overlap(study, distill))
    np.testing.assert_array_equal(lesson.overlap[~taught], own[~taught])
    assert 0 < taught.sum() < 10
    # Only classes that are pushed capture others, and those longest that lack most.
    assert (lesson.captured[10:] == 0).all()
    assert (np.diff(lesson.captured[:10]) >= 0).all()
    # A teacher that has captured classes itself teaches less.
    again = theory.lesson(own, known, study, distill, captured=0.5)
    assert (again.overlap >= threshold).sum() < (lesson.overlap >= threshold).sum()
    assert (again.captured[10:] > 0).all()


def test_a_taught_view_stops_at_the_cap_or_where_labels_take_it():
    study = load_preset("smoke")
    trace, cap = np.mean(study.data.foreign_strength), study.self_distill.cap
    at_cap = (cap + (1 - 1 / study.network.relu_power) * study.network.relu_threshold) / trace
    assert theory.taught_overlap(study, study.self_distill) == pytest.approx(at_cap)
    low = replace(study, {"self_distill.logit_cap": 0.1})
    by_labels = theory.taught_overlap(low, low.self_distill)
    assert at_cap / 2 < by_labels < at_cap
    lower = replace(study, {"self_distill.logit_cap": 0.05})
    assert theory.taught_overlap(lower, lower.self_distill) == by_labels

"""What distillation adds: the race of traces against drawn classes, its clock, and what a lesson teaches."""

from __future__ import annotations

import math

import numpy as np
import pytest

from multiview import theory
from multiview.config import Study, replace
from multiview.presets import load_preset
from multiview.theory import taught as taught_module
from multiview.verdicts.prediction import predict_study
from multiview.world.world import World


def drawn_race(study: Study, distill, draws: int) -> tuple[float, float]:
    """Phase given to a lost view and share captured, step by step: every other class has its own samples and start.

    Two-sided, a captured class held in balance gives what samples without the trace leave.
    """
    rng, data, q = np.random.default_rng(0), study.data, study.network.relu_power
    k, share = data.num_classes, data.feature_sparsity / data.num_classes
    at_cap = math.exp(distill.cap / distill.temperature)
    seen = 1 - (1 - share) ** (data.num_views * 0.5)
    others = (rng.random((draws, k - 2)) < seen).sum(1)
    soft = (at_cap / (at_cap * (2 + others) + k - 2 - others)).mean()
    steps = 400
    tick = study.train.learning_rate * distill.num_steps / steps
    tick *= distill.weight * (1 - data.single_view_fraction) * soft * share * (1 - share) / k
    tick /= study.network.relu_threshold ** (q - 1)
    samples = round((data.num_train - data.num_single_view_train) / k)
    counts = (rng.random((draws, k - 1, samples)) < share * (1 - share)).sum(-1)
    foreign = study.network.init_std * rng.standard_normal((draws, k - 1, 2, study.network.neurons_per_class))
    room = theory.phase(foreign.max((-2, -1)), q) - theory.phase(study.network.relu_threshold, q)
    per_trace = theory.foreign_moment(data, q)
    room /= theory.label_moment(data, q) + (k - 2) * share * per_trace
    shows_none = (1 - share) ** 2 / (1 - share * (1 - share))  # of the samples that do not show this view alone
    pushing = counts + shows_none * (samples - counts)
    held = taught_module._balanced(study, distill, soft * (counts / pushing).ravel(), pushing.ravel() / samples)
    left = np.where(held.reshape(counts.shape), 1 - counts / pushing, 0.0) * (distill.objective != "one_sided")
    given, clock = np.zeros(draws), np.zeros((draws, k - 1))
    for _ in range(steps):
        captured = clock >= room
        push = tick * counts / (samples * share * (1 - share))
        given += (push * np.where(captured, left, 1.0)).sum(1)
        clock += push
    return per_trace * given.mean(), (clock >= room).mean()


@pytest.mark.parametrize(("size", "rate"), [(12, 0.2), (5000, 0.3), (10**9, 1e-9), (10**9, 0.05)])
def test_counts_of_samples_are_few_and_have_their_mean_and_spread(size, rate):
    """However many samples there are; quantiles stand for the tails of a wide law, a hundredth of its spread."""
    counts, weights = taught_module._binomial(size, rate)
    assert len(counts) <= taught_module.MOST_COUNTS + 1
    mean = weights @ counts
    assert mean == pytest.approx(size * rate, rel=1e-5)  # the logarithms of 10⁹ factorial lose digits
    assert weights @ (counts - mean) ** 2 == pytest.approx(size * rate * (1 - rate), rel=0.01)


@pytest.mark.parametrize(
    ("section", "steps"), [("self_distill", 20), ("self_distill", 500), ("self_distill", 4000), ("distill", 800)]
)
def test_the_race_of_traces_is_that_of_drawn_classes(section, steps):
    study = replace(load_preset("smoke"), {f"{section}.num_steps": steps})
    distill = getattr(study, section)
    race = theory.race(study, distill)
    phase, captured = drawn_race(study, distill, 1000)
    assert race.phase[-1] == pytest.approx(phase, rel=0.03)
    assert race.captured[-1] == pytest.approx(captured, abs=0.02)
    assert (np.diff(race.phase) >= 0).all()
    assert (np.diff(race.captured) >= -1e-12).all()


def test_the_one_sided_race_ends_however_long_the_distillation():
    """Traces give no more than their share of the foreign starts' phase; a copied class gives f of that."""
    study = replace(load_preset("smoke"), {"self_distill.num_steps": 10**9})
    race = theory.race(study, study.self_distill)
    assert race.captured[-1] == pytest.approx(1, abs=0.15)  # but for classes without a sample that shows the view
    assert race.phase[-1] == pytest.approx(race.phase[-20], rel=1e-6)
    share = study.data.feature_sparsity / study.data.num_classes
    assert race.phase_copied[-1] == pytest.approx(share * race.phase[-1], rel=1e-3)


def test_two_sided_pushes_go_on_where_steps_hold_captured_classes_in_balance():
    """In the flow always; with a weight so large that every step leaves the balance, never."""
    study = replace(load_preset("smoke"), {"distill.num_steps": 10**5})
    flow = replace(study, {"train.solver": "gradient_flow"})
    wild = replace(study, {"distill.weight": 2e3})
    one_sided = replace(wild, {"distill.objective": "one_sided"})
    held, left = (theory.race(s, s.distill).phase for s in (flow, wild))
    assert held[-1] / held[len(held) // 2] == pytest.approx(2, rel=0.05)
    assert left[-1] == pytest.approx(left[len(left) // 2], rel=1e-6)
    assert theory.race(one_sided, one_sided.distill).captured[-1] == pytest.approx(
        theory.race(wild, wild.distill).captured[-1], abs=1e-6
    )


def test_the_balance_is_that_of_its_map():
    """Steps y → y − λ (e^y − 1) go no higher than λ − 1 − log λ, and the mean of e^y is 1."""
    for size in (1.5, 2.0, 2.4, 3.0, 4.0):
        y, distances = -0.3, []
        for _ in range(40_000):
            y -= size * math.expm1(y)
            distances.append(y)
        assert max(distances) <= size - 1 - math.log(size) + 1e-9
        assert np.exp(distances).mean() == pytest.approx(1, abs=1e-3)
    study = load_preset("reference")
    outputs = np.linspace(0.001, 0.2, 50)
    held = taught_module._balanced(study, study.distill, outputs, 1.0)
    assert held[0]
    assert not held[-1]
    assert (np.diff(held.astype(int)) <= 0).all()
    twice = replace(study, {"distill.weight": 2 * study.distill.weight})
    assert taught_module._balanced(twice, twice.distill, outputs, 1.0).sum() < held.sum()
    np.testing.assert_array_equal(taught_module._balanced(twice, twice.distill, outputs, 0.5), held)


@pytest.mark.parametrize("views", [2, 3])
def test_share_lost_is_that_of_drawn_starts(views):
    study = replace(load_preset("smoke"), {"data.num_views": views, "data.num_patches": 30})
    q, m = study.network.relu_power, study.network.neurons_per_class
    draws = np.random.default_rng(0).standard_normal((40_000, views, m)).max(-1).clip(1e-9) * study.network.init_std
    behind = theory.phase(draws, q) - theory.phase(draws.max(-1, keepdims=True), q)
    given = np.array([0.0, 20.0, 60.0, 150.0])
    drawn = np.array([((behind > g) & (behind > 0)).mean() for g in given])
    np.testing.assert_allclose(theory.share_lost(study, given), drawn, atol=0.005)
    assert theory.share_lost(study, 0.0) == pytest.approx(1 - 1 / views, abs=0.002)


def test_students_taught_for_the_time_of_a_lesson_lack_the_share_it_was_for():
    """Against the race on drawn starts, without what labels give to losers."""
    study = replace(load_preset("reference"), {"self_distill.onset_step": 0})
    rng, q = np.random.default_rng(0), study.network.relu_power
    shape = (1000, study.data.num_classes, 2, study.network.neurons_per_class)
    starts = study.network.init_std * rng.standard_normal(shape, np.float32).max(-1)
    lacks = theory.phase(starts, q) - theory.phase(starts.max(-1, keepdims=True), q)
    for untaught in (0.15, 0.05, 0.02):
        time = theory.lesson_time(study, study.self_distill, 0.5, untaught)
        longer = replace(study, {"self_distill.num_steps": round(time / study.train.learning_rate)})
        given = theory.race(longer, longer.self_distill).phase[-1]
        assert (lacks > given).mean() / 2 == pytest.approx(untaught, abs=0.003)


def test_the_clock_of_a_lesson_runs_with_weight_rate_and_start():
    study = load_preset("reference")
    one = theory.lesson_time(study, study.self_distill, 0.5, 0.1)
    heavier = replace(study, {"self_distill.weight": 2 * study.self_distill.weight})
    assert theory.lesson_time(heavier, heavier.self_distill, 0.5, 0.1) == pytest.approx(one / 2)
    none = replace(study, {"self_distill.weight": 0.0})
    assert theory.lesson_time(none, none.self_distill, 0.5, 0.1) == math.inf
    # Without what labels give, phases go as σ₀^-(q − 2), but for that of ϱ.
    large, small = (replace(study, {"self_distill.onset_step": 0, "network.init_std": s}) for s in (2e-3, 2e-4))
    ratio = theory.lesson_time(small, small.self_distill, 0.5, 0.1) / theory.lesson_time(
        large, large.self_distill, 0.5, 0.1
    )
    assert ratio == pytest.approx(10, rel=0.02)


def test_students_with_more_neurons_need_fewer_steps():
    """Their starts differ less; and fewer students than networks wait for their last class."""
    study = replace(load_preset("reference"), {"distill.onset_step": 300, "self_distill.onset_step": 300})
    steps = theory.student_steps(study)
    assert steps.onset < theory.last_view_time(study) / study.train.learning_rate
    of_more = theory.student_steps(replace(study, {"network.neurons_per_class": 48}))
    assert all(few < many for few, many in zip(of_more, steps, strict=True))
    assert theory.student_steps(study, untaught=1e-9).self_distill == math.inf


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


def test_the_step_of_a_taught_view_is_that_of_the_samples_that_show_it():
    """One step of weight w at a soft output 1 of the teacher, from samples that show this view and not the other."""
    study = load_preset("reference")
    data, k = World.of(study).train(), study.data.num_classes
    strength = np.zeros((data.num_samples, 2 * k + 1))
    np.put_along_axis(strength, np.asarray(data.patch_feature), np.asarray(data.coefficients), 1)
    strength = strength[:, :-1].reshape(-1, k, 2)
    strength[np.arange(data.num_samples), np.asarray(data.labels)] = 0
    seen = strength * (strength[..., ::-1] == 0) * ~np.asarray(data.is_single_view)[:, None, None]
    grown = study.train.learning_rate * study.distill.weight * np.einsum("n,nkl->kl", np.asarray(data.weights), seen)
    none_at_cap = replace(study, {"distill.logit_cap": 50.0})
    soft = taught_module._teacher_output(none_at_cap, none_at_cap.distill, 0.0, 0.0)
    assert soft == pytest.approx(0.5)  # the label and one trace share it
    step = theory.taught_step(none_at_cap, none_at_cap.distill, 0.0) / soft
    assert step == pytest.approx(grown.mean(), rel=3 * grown.std() / grown.mean() / np.sqrt(grown.size))
    assert theory.taught_step(replace(study, {"train.solver": "gradient_flow"}), study.distill, 0.5) == 0


@pytest.mark.release
def test_students_are_predicted_to_miss_what_their_phases_are_too_short_for():
    study = replace(load_preset("smoke"), {"replicates": 1})
    begun = replace(study, {"distill.num_steps": 1, "self_distill.num_steps": 1})
    none, some = (predict_study(s, num_studies=3) for s in (begun, study))
    assert some["distilled"].mean < 0.15 < 0.35 < none["distilled"].mean
    assert some["self_distilled"].mean < 0.33 < 0.35 < none["self_distilled"].mean
    assert none["single"] == some["single"]


@pytest.mark.release
def test_a_hundred_classes_need_longer_phases_or_more_neurons():
    """A trial of 100 classes, its students' errors with 95 % intervals: both phases were too short."""
    trial = {
        "replicates": 1, "students": 2, "seeds": 24, "data.num_classes": 100, "data.num_patches": 19,
        "data.feature_sparsity": 5.5, "data.foreign_strength": [0.28, 0.3], "data.num_train": 1050,
        "data.num_single_view_train": 50, "network.init_std": 3e-4, "train.learning_rate": 100.0,
        "train.num_steps": 6000, "distill.onset_step": 4000, "distill.num_steps": 6000,
        "self_distill.onset_step": 4000, "self_distill.num_steps": 4000, "network.neurons_per_class": 18,
        "data.single_view_fraction": 0.01, "data.single_view_foreign_strength": 0.3, "distill.teacher_scale": 8.0,
    }  # fmt: skip
    study = replace(load_preset("reference"), trial)
    predictions = predict_study(study, num_studies=8)
    for name, low, high in (("distilled", 0.063, 0.116), ("self_distilled", 0.349, 0.402)):
        assert predictions[name].low < high
        assert low < predictions[name].high
    too_short = {"time to distil (distill)", "time to distil (self_distill)"}
    assert {c.name for c in theory.check_regime(study) if not c.holds} == too_short
    wide = replace(study, {"network.neurons_per_class": 36, "data.num_train": 2050})
    steps = theory.student_steps(wide)
    assert math.isfinite(steps.self_distill)
    chosen = replace(wide, {"distill.num_steps": int(steps.distill), "self_distill.num_steps": int(steps.self_distill)})
    assert all(c.holds for c in theory.check_regime(chosen))
    assert predict_study(chosen, num_studies=5)["distilled"].mean < 0.005

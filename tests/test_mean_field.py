"""The mean field against the differential equations of a class alone, root finding and its own limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from multiview import theory
from multiview.config import replace
from multiview.presets import load_preset

# Nothing that couples classes: no traces, no single-view samples; one neuron, so that no other shares the logit.
ALONE = {
    "data.feature_sparsity": 0.0,
    "data.single_view_fraction": 0.0,
    "network.neurons_per_class": 1,
    "data.label_strength": [1.0, 1.6],
}


def smoothed(x: float, q: float, threshold: float) -> float:
    return min(x, threshold) ** q / (q * threshold ** (q - 1)) + max(x - threshold, 0.0)


@pytest.mark.parametrize("q", [2.0, 3.0, 4.0])
def test_a_winner_alone_follows_its_differential_equation(q):
    """dW/dt = E[z (1 − p_y)]/k and dψ/dt = E[z^q (1 − p_y)]/(k ϱ^(q−1)) from W = ϱ on."""
    study = replace(load_preset("reference"), ALONE | {"network.relu_power": q, "network.relu_threshold": 0.7})
    k, time = study.data.num_classes, 3 * theory.typical_network(study, 1.0).arrival[7]
    z = np.linspace(1.0, 1.6, 201)

    def slope(_: float, y: np.ndarray) -> list[float]:
        residual = (k - 1) / (np.exp([smoothed(x * y[0], q, 0.7) for x in z]) + k - 1)
        return [np.trapezoid(z * residual, z) / 0.6 / k, np.trapezoid(z**q * residual, z) / 0.6 / k / 0.7 ** (q - 1)]

    network = theory.typical_network(study, time)
    for index in (0, 4, 7):
        since = time - network.arrival[index]
        end = solve_ivp(slope, (0, since), [0.7, 0.0], rtol=1e-8, atol=1e-10).y[:, -1]
        assert network.winner[index] == pytest.approx(end[0], rel=2e-3)
        assert network.push[-1, index] == pytest.approx(end[1], rel=0.02)  # a sum over kept instants
    assert theory.winner_overlap(study, time) == pytest.approx(network.winner[network.arrival < time].mean())


def test_a_pair_of_views_alone_shares_the_label():
    """Both views get the same push then: what the second reaches at ϱ stays behind by what it was behind."""
    study = replace(load_preset("reference"), ALONE)
    network = theory.typical_network(study, 1e5)
    behind = network.before - study.network.relu_threshold
    np.testing.assert_allclose(network.pair[:, 0] - network.pair[:, 1], behind, rtol=0.05, atol=0.05)
    assert (np.diff(network.pair[:, 1]) < 0).all()  # the later, the less is left to share


def test_labels_give_losers_a_phase_in_proportion_to_the_growth_of_winners():
    """Ψ = E[z^q]/E[z] (W − ϱ)/ϱ^(q−1) without traces, whatever the time."""
    study = replace(
        load_preset("reference"), ALONE | {"data.label_strength": [1.0, 1.05], "network.relu_threshold": 0.7}
    )
    for time in (1e4, 1e6):
        network = theory.typical_network(study, time)
        ratio = theory.label_moment(study.data, 3.0) / theory.label_moment(study.data, 1.0) / 0.7**2
        grown = (1 - study.data.single_view_fraction) * (network.winner - 0.7)
        np.testing.assert_allclose(network.push[-1], ratio * grown, rtol=0.02)


def test_traces_pull_the_larger_of_two_views_back():
    study = load_preset("reference")
    alone, together = (
        theory.typical_network(replace(study, {"data.feature_sparsity": s}), 25600.0) for s in (0.0, 5.0)
    )
    kept = []
    for network in (alone, together):
        first = (network.late > network.arrival[-1]).argmax()
        lead = network.pair[first, 0] - network.pair[first, 1]
        kept.append(lead / (network.before[first] - study.network.relu_threshold))
    assert kept[1] < 0.9 < 0.97 < kept[0]
    # Labels have to make up for what traces take: they push losers more, although the winner is no larger for it.
    assert (together.push[-1] > 1.2 * alone.push[-1]).all()


def test_the_typical_network_learns_its_classes_at_the_quantiles_of_their_starts():
    study = load_preset("reference")
    data, network = study.data, study.network
    rng = np.random.default_rng(0)
    starts = network.init_std * rng.standard_normal((20_000, data.num_views * network.neurons_per_class)).max(1)
    rate = theory.growth_rate(data, network)
    times = theory.tensor_power_time(starts, rate, network.relu_power, network.relu_threshold)
    arrival = theory.typical_network(study, 25600.0).arrival
    np.testing.assert_allclose(arrival, np.quantile(times, (np.arange(11) + 0.5) / 11), rtol=0.02)


def test_memory_time_follows_its_differential_equations_in_a_class_alone():
    """dA/dt = ν²/n · act'(ρ z W + A)(1 − p_y) and dB/dt = ν²/n · act'(Γ W − B) p_Γ, as long as Γ W − B leads."""
    study = replace(load_preset("reference"), ALONE | {"data.single_view_fraction": 1e-6, "data.num_train": 421})
    data, network = study.data, study.network
    k, q, threshold = data.num_classes, network.relu_power, network.relu_threshold
    rate = data.noise_norm**2 * data.single_view_fraction / data.num_single_view_train
    weak, foreign = data.weak_view_strength * 1.3, data.single_view_foreign_strength
    z = np.linspace(1.0, 1.6, 51)

    def slope(_: float, y: np.ndarray) -> list[float]:
        residual = (k - 1) / (np.exp([smoothed(x * y[0], q, threshold) for x in z]) + k - 1)
        label, rival = weak * y[0] + y[1], foreign * y[0] - y[2]
        total = math.exp(smoothed(label, q, threshold)) + k - 1
        slopes = [min(x / threshold, 1.0) ** (q - 1) for x in (label, rival)]
        noise = slopes[0] * (k - 1) / total, slopes[1] * math.exp(smoothed(rival, q, threshold)) / total
        return [np.trapezoid(z * residual, z) / 0.6 / k, rate * noise[0], rate * noise[1]]

    def level(_: float, y: np.ndarray) -> float:
        return weak * y[0] + y[1] - foreign * y[0] + y[2]

    level.terminal = True
    out = solve_ivp(slope, (0, 1e12), [threshold, 0.0, 0.0], events=level, rtol=1e-8, atol=1e-10, method="LSODA")
    assert theory.memory_time(study) == pytest.approx(float(out.t[-1]), rel=0.05)


def test_memory_time_is_that_of_its_own_past_and_goes_with_the_noise():
    study = load_preset("reference")
    time = theory.memory_time(study)
    assert theory.memory_time(replace(study, {"train.num_steps": 5000})) == time
    assert theory.memory_time(replace(study, {"data.noise_norm": 0.5})) == pytest.approx(4 * time, rel=0.3)
    assert theory.memory_time(replace(study, {"data.weak_view_strength": 0.0})) == math.inf
    assert theory.memory_time(replace(study, {"data.weak_view_strength": 0.5})) == 0.0


def test_single_view_samples_of_its_own_lift_a_loser():
    """Its noise is learned with the view, so more noise lifts it more until then; none, without samples."""
    study = load_preset("reference")
    start = np.tile([0.004, 0.0028], (1, study.data.num_classes, 1))
    ends = [theory.ideal_overlaps(start, np.ones(2), study, np.array([0, n]))[0, 0, 1] for n in (0, 1, 2)]
    assert ends[0] < ends[1] < ends[2] < study.network.relu_threshold
    mean = theory.ideal_overlaps(start, np.ones(2), study)[0, 0, 1]
    assert ends[0] < mean < ends[1]  # 20 samples for 56 views


def test_views_of_double_strength_are_label_strengths_of_double_strength():
    double = {"data.view_strengths": [2.0, 2.0], "data.label_strength": [0.5, 0.75]}
    one, other = (
        replace(load_preset("reference"), c | {"data.weak_view_strength": 0.05})
        for c in (double, {"data.label_strength": [1.0, 1.5]})
    )
    networks = [theory.typical_network(s, 25600.0) for s in (one, other)]
    for name in ("arrival", "winner", "pair", "unmemorised"):
        np.testing.assert_allclose(*(getattr(n, name) for n in networks), rtol=1e-6)
    assert theory.memory_time(one) == pytest.approx(theory.memory_time(other), rel=1e-6)
    start = np.tile([0.004, 0.0036], (1, one.data.num_classes, 1))
    ends = [theory.ideal_overlaps(start, np.ones(2), s) for s in (one, other)]
    np.testing.assert_allclose(*ends, rtol=1e-6)


def test_a_feature_on_several_patches_is_learned_where_its_slope_has_not_yet_risen():
    """At W = ϱ each of C_p patches has the slope (z/C_p)^(q−1): the winner's first steps are that much slower."""
    study = replace(
        load_preset("reference"), ALONE | {"data.label_strength": [1.0, 1.0], "data.patches_per_feature": 2}
    )
    data, q, threshold = study.data, study.network.relu_power, study.network.relu_threshold
    k, since = data.num_classes, 0.2 * data.num_classes
    first = theory.typical_network(study, 1.0).arrival[0]
    winner = theory.typical_network(study, first + since).winner[0]

    def slope(_: float, y: np.ndarray) -> list[float]:
        logit = 2 * smoothed(y[0] / 2, q, threshold)
        return [(k - 1) / (math.exp(logit) + k - 1) * min(y[0] / 2 / threshold, 1.0) ** (q - 1) / k]

    end = solve_ivp(slope, (0, since), [threshold], rtol=1e-8, atol=1e-10).y[0, -1]
    assert winner - threshold == pytest.approx(end - threshold, rel=0.01)
    assert winner - threshold < 0.3 * since / k  # a quarter of the label's push, at first


def test_an_unlearned_class_is_pulled_by_its_traces_at_first_and_pushed_on_later():
    study = load_preset("smoke")
    data, q = study.data, study.network.relu_power
    time = study.train.learning_rate * study.train.num_steps
    times, taken = theory.unlearned_phase(study, time)
    rates = np.diff(taken) / np.diff(times)
    share = data.feature_sparsity / data.num_classes * theory.foreign_moment(data, q) / theory.label_moment(data, q)
    free = theory.growth_rate(data, study.network)
    assert rates[0] == pytest.approx(free * (1 - share), rel=2e-3)
    # Nobody pulls once all others are learned, and the label's rivals have risen.
    assert free < rates[-1] < free * data.num_classes / (data.num_classes - 1)
    # Without traces nothing changes before the first class is learned.
    alone = replace(study, {"data.feature_sparsity": 1e-9})
    times, taken = theory.unlearned_phase(alone, time)
    assert taken[1] / times[1] == pytest.approx(theory.growth_rate(alone.data, alone.network), rel=1e-6)

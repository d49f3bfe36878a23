"""The race of the views: closed forms against differential equations and Monte Carlo."""

from __future__ import annotations

import math

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from multiview import theory
from multiview.config import DataConfig, NetworkConfig, replace
from multiview.measures.lottery import view_moments
from multiview.presets import load_preset
from multiview.world.law import sample_dataset

SIGMAS = 4.5
POWERS = [1.5, 2.0, 2.001, 2.5, 3.0, 4.0]


def power_iteration(start: list[float], rates: list[float], q: float, threshold: float) -> tuple[float, np.ndarray]:
    """Integrate dΛ/dt = a Λ^(q−1) for all overlaps until the first one reaches ϱ: time and overlaps then."""

    def arrived(_: float, y: np.ndarray) -> float:
        return y[0] - threshold

    arrived.terminal = True
    out = solve_ivp(
        lambda _, y: np.array(rates) * y ** (q - 1),
        (0, 1e9),
        start,
        events=arrived,
        rtol=1e-10,
        atol=1e-14,
        method="LSODA",
    )
    return float(out.t[-1]), out.y[:, -1]


@pytest.mark.parametrize("q", POWERS)
@pytest.mark.parametrize(("start", "threshold"), [(0.02, 0.5), (0.3, 1.0)])
def test_tensor_power_time_is_that_of_the_differential_equation(q, start, threshold):
    time, _ = power_iteration([start], [0.37], q, threshold)
    assert theory.tensor_power_time(start, 0.37, q, threshold) == pytest.approx(time, rel=1e-5)


def test_tensor_power_time_is_0_for_a_start_above_the_threshold_and_takes_arrays():
    times = theory.tensor_power_time(np.array([2.0, 1.0, 0.1]), 1.0, 3.0, 1.0)
    np.testing.assert_allclose(times, [0, 0, 9])


@pytest.mark.parametrize("q", POWERS)
@pytest.mark.parametrize("ratio", [0.5, 0.9, 1.0])
def test_tensor_power_loser_is_that_of_the_differential_equation(q, ratio):
    winner, loser, threshold = 0.05, 0.04, 0.6
    _, overlaps = power_iteration([winner, loser], [0.37, 0.37 * ratio], q, threshold)
    assert theory.tensor_power_loser(loser, winner, ratio, q, threshold) == pytest.approx(overlaps[1], rel=1e-5)


@given(st.floats(0.001, 0.5), st.floats(0.001, 0.5), st.floats(0.1, 3), st.sampled_from(POWERS))
def test_a_loser_grows_and_never_passes_the_threshold(loser, winner, ratio, q):
    end = float(theory.tensor_power_loser(loser, winner, ratio, q, 0.6))
    assert loser * (1 - 1e-6) <= end <= 0.6


@pytest.mark.parametrize("interval", [(1.0, 1.7), (0.3, 0.4), (0.0, 2.0), (1.2, 1.2)])
@pytest.mark.parametrize("q", [1.0, 2.5, 4.0])
def test_moments_of_the_uniform_law(interval, q):
    draws = np.random.default_rng(0).uniform(*interval, 200_000) ** q
    error = draws.std() / math.sqrt(len(draws))
    assert abs(theory.uniform_moment(interval, q) - draws.mean()) <= SIGMAS * error + 1e-12


@pytest.mark.parametrize("parts", [1, 2, 4])
@pytest.mark.parametrize("split", ["equal", "random"])
@pytest.mark.parametrize("q", [2.0, 3.5])
def test_split_factor(parts, split, q):
    data = DataConfig(patches_per_feature=parts, patch_split=split)
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(parts), 100_000) if split == "random" else np.full((1, parts), 1 / parts)
    draws = (shares**q).sum(1)
    error = draws.std() / math.sqrt(len(draws))
    assert abs(theory.split_factor(data, q) - draws.mean()) <= SIGMAS * error + 1e-12


def test_label_and_foreign_moments_are_those_of_the_generator():
    """E[Σ_p z_p^q] of a label view, and of a foreign feature, in multi-view samples."""
    q, n = 3.0, 3000
    data = DataConfig(num_classes=5, num_patches=30, feature_sparsity=2.0, patches_per_feature=3, patch_split="random",
                      view_strengths=(1.0, 1.3))  # fmt: skip
    drawn = sample_dataset(jax.random.key(0), data, n, "multi_view")
    # view_moments is E[1_{y=i} Σ z^q]: its sum over classes, averaged over views, is the label moment.
    per_view = view_moments(drawn, 5, 2, q)
    z, feature = np.asarray(drawn.coefficients, float), np.asarray(drawn.patch_feature)
    own = feature // 2 == np.asarray(drawn.labels)[:, None]
    per_sample = (np.where(own, z, 0) ** q).sum(1) / 2
    assert per_view.sum() / 2 == pytest.approx(per_sample.mean(), rel=1e-4)
    error = per_sample.std() / math.sqrt(n)
    assert abs(theory.label_moment(data, q) - per_sample.mean()) < SIGMAS * error
    foreign = ~own & (feature >= 0)
    sums = np.zeros((n, 10))
    index = np.broadcast_to(np.arange(n)[:, None], feature.shape)
    np.add.at(sums, (index[foreign], feature[foreign]), z[foreign] ** q)
    values = sums[sums > 0]
    error = values.std() / math.sqrt(len(values))
    assert abs(theory.foreign_moment(data, q) - values.mean()) < SIGMAS * error


@pytest.mark.parametrize("neurons", [1, 4, 24])
def test_expected_maximum(neurons):
    draws = np.random.default_rng(0).standard_normal((100_000, neurons)).max(1).clip(0)
    error = draws.std() / math.sqrt(len(draws))
    assert abs(theory.expected_maximum(neurons) - draws.mean()) < SIGMAS * error


def test_growth_rate_falls_with_the_threshold_by_its_power():
    data = DataConfig()
    one, two = (theory.growth_rate(data, NetworkConfig(relu_power=4.0, relu_threshold=t)) for t in (0.5, 1.0))
    assert one / two == pytest.approx(8)


def test_the_last_class_is_the_smallest_of_all_winning_starts():
    """Half of the studies have a class that starts lower, by drawing studies; the wait is that of its start."""
    study = replace(load_preset("smoke"), {"seeds": 3, "replicates": 2})
    data, network = study.data, study.network
    classes = 3 * 2 * data.num_classes
    rng = np.random.default_rng(0)
    starts = rng.standard_normal((4000, classes, data.num_views * network.neurons_per_class), np.float32)
    smallest = network.init_std * np.median(starts.max(-1).min(-1))
    rate = theory.growth_rate(data, network)
    expected = theory.tensor_power_time(smallest, rate, network.relu_power, network.relu_threshold)
    assert theory.last_view_time(study) == pytest.approx(float(expected), rel=0.03)
    assert theory.time_scales(study).last == theory.last_view_time(study)


def test_view_clock_is_the_power_iteration_of_a_typical_start():
    study = load_preset("reference")
    data, network = study.data, study.network
    rate = theory.growth_rate(data, network)
    k = data.num_classes
    # A single-view sample shows one of two views in full, and ρ of the other.
    shown = 1 - data.single_view_fraction * (1 - data.weak_view_strength**network.relu_power) / 2
    expected = (1 / k) * (1 - 1 / k) * shown * theory.label_moment(data, network.relu_power)
    assert rate * network.relu_threshold ** (network.relu_power - 1) == pytest.approx(expected, rel=1e-9)
    start = theory.expected_maximum(network.neurons_per_class) * network.init_std
    time, _ = power_iteration([start], [rate], network.relu_power, network.relu_threshold)
    assert theory.time_scales(study).view == pytest.approx(time, rel=1e-5)

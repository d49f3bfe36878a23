"""Measures on hand-made arrays, exact bounds against scipy, and the coverage of the intervals."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import log_softmax

from multiview.measures.dark_knowledge import classes_present, ordered_share
from multiview.measures.ensemble import average_logits, average_probabilities
from multiview.measures.errors import ErrorCounts, combine, error_interval, exact_upper_bound, hierarchical_bootstrap
from multiview.measures.features import (
    largest_foreign_overlap,
    largest_overlap,
    learned_views,
    own_overlaps,
    total_overlap,
    winners,
)
from multiview.measures.lottery import lottery, view_moments
from multiview.measures.memorisation import largest_noise_overlaps
from multiview.studies.study import training_tasks
from multiview.world.samples import MultiViewDataset


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.001, 1))
def test_errors_combine_to_the_mixture_in_units_of_mu(e_multi, e_single, mu):
    assert float(combine(e_multi, e_single, mu)) * mu == pytest.approx((1 - mu) * e_multi + mu * e_single, abs=1e-12)


def test_error_counts_in_units_of_mu():
    counts = ErrorCounts(np.array([[0, 4]]), np.array([[50, 25]]), 400, 100)
    np.testing.assert_allclose(counts.in_units_of_mu(0.1), [[0.5, 0.01 * 9 + 0.25]])


@pytest.mark.parametrize(("wrong", "samples"), [(0, 100), (3, 100), (99, 100), (100, 100), (0, 1)])
@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_exact_upper_bound_is_the_upper_end_of_the_clopper_pearson_interval(wrong, samples, confidence):
    exact = stats.binomtest(wrong, samples).proportion_ci(confidence, "exact").high
    assert exact_upper_bound(wrong, samples, confidence) == pytest.approx(exact, rel=1e-9)


def test_hierarchical_bootstrap_covers_the_mean_and_one_that_ignores_replicates_does_not():
    """Coverage on normal data whose replicates differ: percentiles of R draws cover by Student's law."""
    replicates, seeds, runs = 12, 4, 150
    rng = np.random.default_rng(0)
    inside = naive = 0
    for run in range(runs):
        values = rng.normal(0, 1, (replicates, 1)) + rng.normal(0, 0.2, (replicates, seeds))
        low, high = hierarchical_bootstrap(values, run)
        inside += low < 0 < high
        error = values.std() / math.sqrt(values.size)
        naive += abs(values.mean()) < 1.96 * error
    # Resampling R replicates gives normal quantiles of a spread that is sqrt((R − 1)/R) too small.
    expected = 1 - 2 * stats.t(replicates - 1).sf(1.96 * math.sqrt((replicates - 1) / replicates))
    error = math.sqrt(expected * (1 - expected) / runs)
    assert inside / runs > expected - 4.5 * error
    assert inside / runs <= 0.99
    assert naive / runs < 0.8


def test_hierarchical_bootstrap_of_equal_values_is_that_value_and_is_reproducible():
    assert hierarchical_bootstrap(np.full((3, 4), 0.25)) == (0.25, 0.25)
    values = np.random.default_rng(0).random((3, 4))
    assert hierarchical_bootstrap(values, 1) == hierarchical_bootstrap(values, 1)
    low, high = hierarchical_bootstrap(values)
    assert values.min() <= low < values.mean() < high <= values.max()


@pytest.mark.slow
def test_error_interval_covers_errors_with_binomial_test_noise():
    rng = np.random.default_rng(1)
    inside, runs = 0, 100
    for run in range(runs):
        rate = np.clip(0.3 + rng.normal(0, 0.05, (12, 1)), 0, 1) * np.ones((1, 3))
        counts = ErrorCounts(np.zeros((12, 3), int), rng.binomial(100, rate), 10**9, 100)
        low, high = error_interval(counts, 0.5, run)
        inside += low < 0.3 < high
    assert inside / runs > 0.9 - 4.5 * math.sqrt(0.9 * 0.1 / runs)


def test_error_interval_without_any_error_is_the_exact_bound_of_independent_samples():
    """Networks of one replicate share its test samples: they do not multiply the evidence."""
    counts = ErrorCounts(np.zeros((2, 5), int), np.zeros((2, 5), int), 1000, 100)
    low, high = error_interval(counts, 0.1)
    assert low == 0
    assert high == pytest.approx(9 * exact_upper_bound(0, 2000) + exact_upper_bound(0, 200))


def test_own_and_foreign_overlaps_on_a_hand_made_network():
    """Two classes of two views, two neurons: w[f, i, r] = 100 f + 10 i + r, one entry negative."""
    f, i, r = np.meshgrid(range(4), range(2), range(2), indexing="ij")
    overlaps = (100 * f + 10 * i + r).astype(np.float32)
    overlaps[1, 0] = [-3, -4]
    overlaps = jnp.asarray(overlaps)
    own = np.asarray(own_overlaps(overlaps, 2))
    np.testing.assert_array_equal(own, [[[0, 1], [-3, -4]], [[210, 211], [310, 311]]])
    np.testing.assert_array_equal(largest_overlap(overlaps, 2), [[1, 0], [211, 311]])
    np.testing.assert_array_equal(total_overlap(overlaps, 2), [[1, 0], [421, 621]])
    assert float(largest_foreign_overlap(overlaps, 2)) == 301  # class 0 with view 1 of class 1


def test_largest_foreign_overlap_may_be_negative():
    overlaps = jnp.full((2, 2, 1), -2.0).at[[0, 1], [0, 1]].set(5.0)
    assert float(largest_foreign_overlap(overlaps, 1)) == -2


def test_winners_and_learned_views():
    overlap = np.array([[3.0, 1.0], [1.0, 1.5], [0.0, 2.0], [1.0, 2.0]])
    winner, clear = winners(overlap)
    assert winner.tolist() == [0, 1, 1, 1]
    assert clear.tolist() == [True, False, True, True]
    assert learned_views(overlap).tolist() == [[True, False], [True, True], [False, True], [False, True]]


def test_with_one_view_every_class_has_a_clear_winner():
    winner, clear = winners(np.ones((3, 4, 1)))
    assert winner.shape == clear.shape == (3, 4)
    assert clear.all()
    assert (winner == 0).all()


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=4))
def test_the_winner_is_learned_and_a_clear_winner_is_learned_alone(values):
    overlap = np.array([values])
    (winner,), (clear,) = winners(overlap)
    (learned,) = learned_views(overlap)
    assert learned[winner]
    if clear:
        assert learned.sum() == 1


def test_lottery_counts():
    """Three classes: named and clear; clear but against the start; no clear winner."""
    start = np.array([[[3.0, 1.0], [1.0, 3.0], [2.0, 1.0]]])
    final = np.array([[[9.0, 1.0], [9.0, 1.0], [5.0, 4.0]]])
    result = lottery(start, final, np.ones((3, 2)), 3.0, 16)
    assert [int(x[0]) for x in result] == [1, 2, 3, 0]


def test_lottery_corrects_the_start_for_strength_and_counts_what_the_margin_leaves_undecided():
    start = np.array([[[1.0, 1.1]]])
    final = np.array([[[9.0, 1.0]]])
    even = lottery(start, final, np.ones((1, 2)), 4.0, 16)
    assert (int(even.right[0]), int(even.undecided[0])) == (0, 1)  # 1.1 < 1 + 1/log² 16 = 1.13
    corrected = lottery(start, final, np.array([[4.0, 1.0]]), 4.0, 16)  # S^(1/2): 2 against 1.1
    assert (int(corrected.right[0]), int(corrected.undecided[0])) == (1, 0)
    weaker = lottery(start, final, np.array([[4.0, 1.0]]), 2.0, 16)  # q = 2: the stronger view wins
    assert int(weaker.right[0]) == 1


def dataset(**changes) -> MultiViewDataset:
    """Two samples of three patches, k = 2 classes of L = 2 views."""
    values = {
        "labels": np.array([0, 1], np.int32),
        "is_single_view": np.array([False, True]),
        "chosen_view": np.array([-1, 0], np.int32),
        "patch_feature": np.array([[0, 1, 3], [2, -1, 3]], np.int32),
        "coefficients": np.array([[1.0, 2.0, 0.5], [3.0, 0.0, 0.1]], np.float32),
        "noise_norms": np.zeros((2, 3), np.float32),
        "weights": np.array([0.25, 0.75], np.float32),
        "dropped_features": np.zeros(2, np.int32),
    } | changes
    return MultiViewDataset(**values)


def test_view_moments_are_weighted_sums_of_powers_of_the_labels_own_views():
    np.testing.assert_allclose(view_moments(dataset(), 2, 2, 2.0), [[0.25, 1.0], [0.75 * 9, 0.75 * 0.01]], rtol=1e-6)


def test_classes_present_of_a_hand_made_data_set():
    assert classes_present(dataset(), 2, 2).tolist() == [[True, True], [False, True]]


def test_dark_knowledge_is_the_area_under_the_roc_curve_of_the_trace():
    labels = np.array([0, 0, 0])
    outputs = np.array([[9.0, 3.0, 1.0], [9.0, 1.0, 2.0], [9.0, 3.0, 0.0]])
    present = np.array([[True, True, False], [True, False, True], [True, False, False]])
    # With a trace: 3, 2; without: 1, 1, 3, 0. Pairs won 3.5 + 3 (one tie) of 8; the labels' 9 do not count.
    assert ordered_share(outputs, present, labels) == pytest.approx(6.5 / 8)
    assert ordered_share(outputs, ~present, labels) == pytest.approx(1.5 / 8)


def test_dark_knowledge_does_not_exist_without_or_with_only_traces():
    outputs, labels = np.ones((2, 3)), np.array([0, 1])
    assert math.isnan(ordered_share(outputs, np.zeros((2, 3), bool), labels))
    assert math.isnan(ordered_share(outputs, np.ones((2, 3), bool), labels))


def test_ensembles_average_logits_and_probabilities(random):
    outputs = random.normal(0, 3, (5, 7, 4))
    np.testing.assert_allclose(average_logits(outputs, 2.0), 2 * sum(outputs) / 5)
    mean = np.exp(log_softmax(outputs, -1)).mean(0)
    np.testing.assert_allclose(np.exp(average_probabilities(outputs)), mean)
    np.testing.assert_allclose(np.exp(average_probabilities(outputs)).sum(-1), 1)


@pytest.mark.parametrize("everywhere", [False, True])
def test_noise_overlaps_are_the_largest_of_the_labels_neurons_by_kind_of_sample(tiny, tiny_noisy, everywhere):
    """Against a loop over all slots that carry noise."""
    import jax

    from multiview.network.parameters import init_network

    study = tiny_noisy if everywhere else tiny
    task = training_tasks(study)[0]
    parameters = init_network(jax.random.key(0), task.patches, 8, 4, study.network, np.float32)
    labels, is_single = np.asarray(task.data.labels), np.asarray(task.data.is_single_view)
    expected, first = [0.0, 0.0], 0
    for part, noise in zip(task.patches, parameters.noise, strict=True):
        if noise is not None:
            noise, norms, sample = np.asarray(noise), np.asarray(part.noise_norm), np.asarray(part.sample)
            for slot, row in zip(*np.nonzero(norms), strict=True):
                n = first + sample[slot, row]
                value = norms[slot, row] * noise[:, labels[n], slot, row].max()
                kind = int(is_single[n])
                expected[kind] = max(expected[kind], value)
        first += part.slot.shape[0]
    multi, single = largest_noise_overlaps(parameters, task, None)
    assert (float(multi), float(single)) == pytest.approx(expected, rel=1e-6)
    assert (float(multi) > 0) == everywhere
    assert float(single) > 0

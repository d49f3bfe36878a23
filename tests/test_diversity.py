"""Diversity measures on hand-made cases whose answer is known, and on a study and its store."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiview.parameters import ConfigError
from multiview.stores.labelled import to_datatree
from multiview.stores.store import open_results, write_store
from multiview.studies.diversity import (
    agreement,
    agreement_of_winners,
    confidence_by_views,
    coverage,
    error_correlation,
    study_diversity,
)


def test_agreement_counts_pairs():
    """Of three networks two agree in the first class (1 pair of 3) and all in the second."""
    choices = np.array([[0, 1], [0, 1], [1, 1]])
    assert agreement(choices) == pytest.approx((1 / 3 + 1) / 2)
    assert math.isnan(agreement(choices[:1]))


def test_agreement_of_fair_coins_is_one_half(random):
    """Within five standard errors over 2,000 classes."""
    value = agreement(random.integers(0, 2, (8, 2000)))
    assert abs(value - 0.5) < 5 * 0.5 / math.sqrt(2000 * 28)


def test_winners_agree_by_the_larger_overlap_whatever_its_size():
    same = np.array([[[3.0, 1.0]], [[0.2, 0.1]]])
    assert agreement_of_winners(same) == 1
    assert agreement_of_winners(np.stack([same[0], same[0, :, ::-1]])) == 0
    assert agreement_of_winners(np.stack([same, same])).shape == (2,)


def test_error_correlation_of_equal_opposite_and_faultless_networks():
    wrong = np.array([[1, 0, 0, 1], [1, 0, 0, 1]], bool)
    assert error_correlation(wrong) == pytest.approx(1)
    assert error_correlation(np.array([wrong[0], ~wrong[0]])) == pytest.approx(-1)
    # Two errors of four each, one shared: independent.
    assert error_correlation(np.array([[1, 1, 0, 0], [1, 0, 1, 0]], bool)) == pytest.approx(0)
    never = np.zeros((1, 4), bool)
    assert error_correlation(np.concatenate([wrong, never])) == pytest.approx(1)
    assert math.isnan(error_correlation(np.concatenate([wrong[:1], never])))


def test_coverage_by_hand():
    """Two networks, one class: each has one view of its own, so one covers half and two cover all."""
    learned = np.array([[[True, False]], [[False, True]]])
    np.testing.assert_allclose(coverage(learned), [0.5, 1.0])
    np.testing.assert_allclose(coverage(np.stack([learned[0], learned[0]])), [0.5, 0.5])


@given(st.integers(0, 2**31), st.integers(1, 5))
def test_coverage_is_the_mean_over_all_choices(seed, networks):
    """Against brute force over all subsets."""
    from itertools import combinations

    learned = np.random.default_rng(seed).random((networks, 3, 2)) < 0.4
    brute = [
        np.mean([learned[list(c)].any(0).mean() for c in combinations(range(networks), size)])
        for size in range(1, networks + 1)
    ]
    np.testing.assert_allclose(coverage(learned), brute, atol=1e-12)


def test_confidence_by_views_by_hand():
    """One network, three samples: two with one learned view, one of them wrong, and one with two."""
    outputs = np.log(np.array([[[0.6, 0.4], [0.2, 0.8], [0.9, 0.1]]]))
    counted = confidence_by_views(np.array([[1, 1, 2]]), outputs, np.array([0, 0, 0]), 2)
    np.testing.assert_array_equal(counted.pairs, [0, 2, 1])
    np.testing.assert_allclose(counted.confidence, [np.nan, 0.7, 0.9])
    np.testing.assert_allclose(counted.accuracy, [np.nan, 0.5, 1.0])


def test_a_study_and_its_store_have_the_same_diversity(tiny_result, tmp_path):
    measured = study_diversity(tiny_result, num_test=100)
    assert measured.coverage.shape == (2, 5)
    assert (np.diff(measured.coverage) >= 0).all()
    assert ((measured.agreement_of_winners >= 0) & (measured.agreement_of_winners <= 1)).all()
    assert measured.confidence[0].pairs.sum() == 5 * 200
    path = tmp_path / "study.zarr"
    write_store(path, to_datatree(tiny_result, networks=True))
    stored = study_diversity(open_results(path), num_test=100)
    for ours, theirs in zip(measured[:3], stored[:3], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(measured.confidence[0].pairs, stored.confidence[0].pairs)


def test_unknown_groups_and_stores_without_networks_are_refused(tiny_result):
    with pytest.raises(ConfigError, match="group = 'nobody'"):
        study_diversity(tiny_result, "nobody")
    with pytest.raises(ConfigError, match="weights of single is missing"):
        study_diversity(to_datatree(tiny_result))

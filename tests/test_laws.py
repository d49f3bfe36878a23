"""The experiments on laws run at their smoke size: figure, verdicts, and the property that each is about."""

from __future__ import annotations

import importlib
import math
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs an experiment at its smoke size and checks what all of them promise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        common = importlib.import_module("experiments.common")
        folder = tmp_path_factory.mktemp("laws")

        def document(name: str) -> dict:
            found = common.run_module(importlib.import_module(f"experiments.{name}"), True, folder)
            assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
            assert found["verdicts"]
            for v in found["verdicts"]:
                assert v["verdict"] in ("holds", "fails", "undecided")
                assert math.isnan(v["measured"]) or v["interval"][0] <= v["measured"] <= v["interval"][1]
            return found

        yield document


@pytest.fixture
def networks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("experiments.networks")


def test_times_of_crossing_are_read_between_records(networks):
    """By the straight line; a value that never gets there has no time."""
    steps = np.array([0, 10, 20])
    values = np.array([[0.0, 1.0, 3.0], [0.0, 0.5, 0.9], [2.0, 2.0, 2.0]])
    assert networks.crossing_times(steps, values, 2.0).tolist() == pytest.approx([15.0, math.nan, 0.0], nan_ok=True)


def test_intervals_of_fits_draw_training_sets_and_networks(networks, random):
    """Values that differ by training set alone: the interval is that of so few sets, not of all networks."""
    values = np.repeat(random.normal(size=(5, 1)), 40, axis=1)
    mean, (low, high) = networks.with_interval(values, np.mean)
    assert low < mean < high
    assert high - low > 2 * values[:, 0].std() / math.sqrt(5)


def test_the_lottery_of_unequal_views_is_a_fair_one_at_equal_strength(monkeypatch):
    """Half at f = 1; grows with strength and exponent; agrees with drawing."""
    monkeypatch.syspath_prepend(str(ROOT))
    share = importlib.import_module("experiments.view_strength").winning_share
    assert share(1.0, 3.0, 12) == pytest.approx(0.5, abs=1e-3)
    draws = np.random.default_rng(0).standard_normal((2, 200_000, 5)).max(-1).clip(0)
    expected = (draws[1] * 1.1**3 > draws[0]).mean() + (draws.sum(0) == 0).mean() / 2
    assert share(1.1, 3.0, 5) == pytest.approx(expected, abs=4e-3)


@pytest.mark.slow
def test_each_class_learns_when_tensor_power_iteration_says(run):
    """Within a fifth, at every start; the exponent is near −1."""
    document = run("learning_time")
    assert all(0.8 < r["ratio"] < 1.25 for r in document["rows"])
    assert -1.15 < document["fits"][0]["exponent"] < -0.85


@pytest.mark.slow
def test_the_loser_stands_where_tensor_power_iteration_says(run):
    """And winners are clearer at q = 3 than at q = 2."""
    document = run("winner_clarity")
    two, three = document["rows"]
    assert three["loser"] < two["loser"]
    assert three["clear"] > two["clear"]
    assert 0.9 < document["slope"] < 1.1


@pytest.mark.slow
def test_louder_noise_is_memorised_sooner(run):
    first, second = run("memory_clock")["rows"]
    assert first["time"] > second["time"] > 0


@pytest.mark.slow
def test_the_stronger_view_wins_more_often(run):
    rows = run("view_strength")["rows"]
    assert rows[-1]["share"] > rows[0]["share"]
    assert rows[-1]["law"] > rows[0]["law"] + 0.2


@pytest.mark.slow
def test_a_smaller_threshold_lets_more_losers_creep_up(run):
    small, large = run("creep")["rows"]
    assert small["both"] > large["both"]
    assert small["law"] > large["law"]


@pytest.mark.slow
def test_correlated_views_are_not_missed(run):
    orthogonal, correlated = run("correlated_features")["rows"]
    assert correlated["e_single_view"] < orthogonal["e_single_view"] / 2
    assert correlated["law"] == 0 < orthogonal["law"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["views", "classes", "generations", "teachers", "student_neurons", "one_sided", "phase_diagram"]
)
def test_every_other_law_runs(run, name):
    """Rows or points, each with its closed form beside it."""
    document = run(name)
    assert any(document.get(part) for part in ("rows", "points", "curves"))

"""Figures hold the store's numbers: what each kind draws is compared with the data, not with pixels."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import LineCollection, PathCollection, QuadMesh
from matplotlib.colors import to_rgb
from sweeping import small

import multiview
from multiview.config import replace
from multiview.figures import kinds, style
from multiview.figures import lottery as lottery_figure
from multiview.figures.dark_knowledge import trace_answers
from multiview.figures.dynamics import plot_dynamics
from multiview.figures.ensemble import errors_by_size, plot_ensemble
from multiview.figures.errors import measured_errors, plot_errors
from multiview.figures.lottery import plot_lottery
from multiview.figures.memorisation import fitted_step, plot_memorisation
from multiview.figures.mosaic import plot_mosaic
from multiview.figures.phase import plot_phase
from multiview.figures.sweep import plot_sweep
from multiview.measures.features import learned_views
from multiview.measures.lottery import lottery
from multiview.network.activation import smoothed_relu
from multiview.stores.labelled import from_datatree, to_datatree
from multiview.stores.store import open_results
from multiview.stores.tables import summarise
from multiview.theory import ensemble_error, paper_line, time_scales
from multiview.verdicts.claims import check_claims
from multiview.verdicts.prediction import Prediction


@pytest.fixture(scope="module")
def results(study_store) -> xr.DataTree:
    return open_results(study_store).load()


@pytest.fixture(scope="module")
def sweep(sweep_store) -> xr.Dataset:
    return open_results(sweep_store).load()


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def line(ax, label):
    (found,) = [item for item in ax.lines if item.get_label() == label]
    return found


# Studies.


def test_dynamics_draws_every_overlap_of_winner_and_loser_and_the_clocks(results, tiny, ax):
    assert plot_dynamics(results, ax) is ax
    overlap = results["single"]["largest_overlap"].transpose("replicate", "seed", "class", "time", "view").values
    pairs = overlap.reshape(-1, *overlap.shape[-2:])
    step = results["single"]["step"].values
    drawn = {c.get_label(): np.array(c.get_segments()) for c in ax.collections if isinstance(c, LineCollection)}
    assert drawn["_winning view"].shape == (2 * 5 * 4, len(step), 2)
    np.testing.assert_allclose(drawn["_winning view"][:, 1:, 0], np.broadcast_to(step[1:], (40, len(step) - 1)))
    for i, pair in enumerate(pairs):
        winner = pair[-1].argmax()
        np.testing.assert_allclose(drawn["_winning view"][i, :, 1], np.maximum(pair[:, winner], 1e-6), rtol=1e-6)
        np.testing.assert_allclose(drawn["_losing view"][i, :, 1], np.maximum(pair[:, 1 - winner], 1e-6), rtol=1e-6)
    medians = np.median(drawn["_losing view"][..., 1], 0)
    np.testing.assert_allclose(line(ax, "losing view (median)").get_ydata(), medians)
    view = time_scales(tiny).view / tiny.train.learning_rate
    assert line(ax, "theory: views learned").get_xdata()[0] == pytest.approx(view)


def test_mosaic_is_who_learned_what(results, ax):
    plot_mosaic(results, ax, replicate=1)
    meshes = [c for c in ax.collections if isinstance(c, QuadMesh)]
    for mesh, name in zip(meshes, ("single", "distilled", "self_distilled"), strict=True):
        final = results[name]["largest_overlap"].values[1, :, -1]
        learned = learned_views(final).reshape(len(final), -1)
        np.testing.assert_array_equal(np.asarray(mesh.get_array()) > 0, learned)
        np.testing.assert_array_equal(np.asarray(mesh.get_array())[:, 1::2], 2 * learned[:, 1::2])
    assert ax.get_xlim() == (0, 4 * 2)


def test_a_network_that_is_not_finite_is_left_out(results, ax):
    broken = results.copy(deep=True)
    broken["single"]["finite"][0, 1] = False
    broken["single"]["largest_overlap"][0, 1] = np.nan
    plot_mosaic(broken, ax)
    first = next(c for c in ax.collections if isinstance(c, QuadMesh))
    assert np.ma.getmaskarray(first.get_array())[1].all()
    assert not np.ma.getmaskarray(first.get_array())[0].any()
    plot_dynamics(broken, ax)
    segments = next(c for c in ax.collections if c.get_label() == "_winning view").get_segments()
    assert len(segments) == 36
    assert np.isfinite(np.array(segments)).all()


def test_lottery_counts_what_the_measure_counts(results, tiny, ax):
    plot_lottery(results, ax)
    overlap = results["single"]["largest_overlap"].values
    moments = results["view_moments"].values
    q, m = tiny.network.relu_power, tiny.network.neurons_per_class
    counted = [lottery(o[:, 0], o[:, -1], s, q, m) for o, s in zip(overlap, moments, strict=True)]
    marks = [c for c in ax.collections if isinstance(c, PathCollection)]
    right, between, wrong = (len(c.get_offsets()) for c in marks)
    assert right == sum(c.right.sum() for c in counted)
    assert right + wrong == sum(c.clear.sum() for c in counted)
    assert right + between + wrong == 2 * 5 * 4
    # One pair by hand.
    score = overlap[0, 0, 0, 2] * moments[0, 2] ** (1 / (q - 2))
    favourite = score.argmax()
    found = lottery_figure.leads(results)
    assert found.start[2] == pytest.approx(score[favourite] / score[1 - favourite])
    final = overlap[0, 0, -1, 2]
    assert found.end[2] == pytest.approx(np.clip(final[favourite] / max(final[1 - favourite], 1e-300), 1e-4, 1e4))


def test_errors_are_means_intervals_and_the_papers_figures(results, tiny, tiny_result, ax):
    plot_errors(results, ax)
    found = {m.name: m for m in measured_errors(results)}
    assert list(found) == ["single", "ensemble", "distilled", "self_distilled"]
    mu = tiny.data.single_view_fraction
    counted = {name: group.errors for name, group in tiny_result.groups.items()}
    for name, counts in (counted | {"ensemble": tiny_result.ensembles["ensemble"]}).items():
        assert found[name].mean == pytest.approx(counts.in_units_of_mu(mu).mean())
        assert found[name].interval[0] <= found[name].mean <= found[name].interval[1]
    drawn = [bars.lines[0].get_ydata()[0] for bars in ax.containers]
    assert drawn == pytest.approx([m.mean for m in found.values()])
    dashed = [item.get_ydata()[0] for item in ax.lines if item.get_linestyle() == "--"]
    assert dashed == [0.5, 0.001, 0.001, 0.26]
    assert paper_line("self_distilled_2", 2) == pytest.approx(1 / 8)
    assert paper_line("single", 3) == pytest.approx(2 / 3)


def test_errors_show_the_prediction_of_a_store_that_carries_claims(tiny_result, ax):
    names = ("single", "ensemble", "ensemble_probabilities", "distilled", "self_distilled", "dark_knowledge")
    claims = check_claims(tiny_result, {name: Prediction(0.3, 0.2, 0.4) for name in names})
    plot_errors(to_datatree(tiny_result, claims), ax)
    bands = [c.get_paths()[0].get_extents().intervaly for c in ax.collections if c.get_alpha() == 0.45]
    assert len(bands) == 4
    np.testing.assert_allclose(bands[0], [0.2, 0.4])


def test_ensemble_sizes_end_at_single_networks_and_at_the_whole_ensemble(results, tiny, ax):
    found = errors_by_size(results)
    assert list(found) == [1, 2, 4, 5]
    errors = {m.name: m for m in measured_errors(results)}
    np.testing.assert_allclose(found[1][0], errors["single"].networks)
    np.testing.assert_allclose(found[5][0], errors["ensemble"].networks)
    assert found[2][0].shape == (2, 2)
    plot_ensemble(results, ax)
    (bars,) = ax.containers
    np.testing.assert_allclose(bars.lines[0].get_ydata(), [e.mean() for e, _ in found.values()])
    law = line(ax, "law of the lottery")
    np.testing.assert_allclose(law.get_ydata(), [ensemble_error(tiny, int(k)) for k in law.get_xdata()])


def test_memorisation_is_the_recorded_noise_overlap(results, ax):
    plot_memorisation(results, ax)
    data = results["single"]["noise_overlap_single_view"].values
    expected = np.median(np.maximum(data.reshape(-1, data.shape[-1]), 1e-6), 0)
    np.testing.assert_allclose(line(ax, "single-view samples (median)").get_ydata(), expected, rtol=1e-6)
    wrong = results["single"]["train_wrong"].values
    steps = np.maximum(results["single"]["step"].values, 0.5)
    first = [steps[np.flatnonzero(w == 0)[0]] if (w == 0).any() else np.inf for w in wrong.reshape(-1, wrong.shape[-1])]
    assert fitted_step(results) == np.median(first)


def test_dark_knowledge_is_what_a_trace_patch_adds_to_the_logit(results, tiny, ax):
    answers = trace_answers(results, "single", replicate=1)
    weights = results["single"]["weights"].values[1]  # networks, features, classes, neurons
    trace = sum(tiny.data.foreign_strength) / 2
    for network, class_, view in ((0, 0, 0), (3, 2, 1), (4, 3, 0)):
        pre = trace * weights[network, 2 * class_ + view, class_]
        expected = smoothed_relu(pre, tiny.network.relu_power, tiny.network.relu_threshold)
        assert answers[network, class_, view] == pytest.approx(float(expected.sum()), rel=1e-5)
    kinds.function_of("dark-knowledge")(results, ax, replicate=1)
    single, ensemble = [c for c in ax.collections if isinstance(c, QuadMesh)][:2]
    np.testing.assert_allclose(single.get_array(), answers.reshape(5, -1))
    np.testing.assert_allclose(ensemble.get_array(), answers.mean(0).reshape(1, -1))


def test_a_stored_study_gives_the_claims_of_the_result(results, tiny_result):
    names = ("single", "ensemble", "ensemble_probabilities", "distilled", "self_distilled", "dark_knowledge")
    predictions = {name: Prediction(0.3, 0.2, 0.4) for name in names}
    assert check_claims(from_datatree(results), predictions) == check_claims(tiny_result, predictions)


# Sweeps.


def test_sweep_curves_and_bands_are_the_tables(sweep, ax):
    plot_sweep(sweep, ax, by=("num_steps",))
    table = summarise(sweep, ("test_error", "ensemble_test_error"), ("num_steps",))
    for index, label in enumerate(("single networks", "ensemble")):
        drawn = line(ax, label)
        assert drawn.get_xdata().tolist() == [20, 30, 40]
        np.testing.assert_allclose(drawn.get_ydata(), [row.values[index][0] for row in table.rows])
        extents = ax.collections[index].get_paths()[0].get_extents().intervaly
        ends = [row.values[index] for row in table.rows]
        np.testing.assert_allclose(extents, [min(e[1] for e in ends), max(e[2] for e in ends)])
    assert "weak_view_strength" in "".join(t.get_text() for t in ax.texts)  # said to be averaged over


def test_a_second_axis_of_a_sweep_gives_a_line_for_each_value(sweep, ax):
    plot_sweep(sweep, ax, measures=("learned_views",), by=("num_steps", "weak_view_strength"))
    table = summarise(sweep, ("learned_views",), ("num_steps", "weak_view_strength"))
    for value in (0.05, 0.3):
        rows = [row for row in table.rows if row.keys[1] == value]
        drawn = line(ax, f"weak_view_strength = {value}")
        np.testing.assert_allclose(drawn.get_ydata(), [row.values[0][0] for row in rows])
    assert ax.get_ylabel() == "learned views (views)"


def test_errors_far_beyond_the_unit_do_not_hide_the_others(sweep, ax):
    errors = sweep.copy(deep=True)
    errors["test_error"][:] = 0.4
    plot_sweep(errors, ax, measures=("test_error",), by=("num_steps",))
    assert ax.get_yscale() == "linear"
    errors["test_error"][0] = 20.0
    errors["test_error"][1] = 0.0
    ax.clear()
    plot_sweep(errors, ax, measures=("test_error",), by=("num_steps",))
    heights = ax.transData.transform([(20, 0.0), (20, 0.4), (20, 20.0)])[:, 1]
    assert heights[1] - heights[0] > 0.1 * (heights[2] - heights[0])
    ax.clear()
    plot_phase(errors, ax, measures=("test_error",))
    (mesh,) = [c for c in ax.collections if isinstance(c, QuadMesh)]
    shades = [np.dot(mesh.to_rgba(error)[:3], (0.299, 0.587, 0.114)) for error in (0.0, 0.4, 20.0)]
    assert min(-np.diff(shades)) > 0.1


def test_phase_diagram_is_the_grid_of_means_and_crosses_what_is_missing(sweep, ax):
    holes = sweep.copy(deep=True)
    holes["done"][1, 1] = 0
    plot_phase(holes, ax, measures=("final_train_error",))
    (mesh,) = [c for c in ax.collections if isinstance(c, QuadMesh)]
    shown = np.ma.filled(mesh.get_array(), np.nan)
    table = summarise(holes, ("final_train_error",), ("num_steps", "weak_view_strength"))
    for row in table.rows:
        at = [0.05, 0.3].index(row.keys[1]), [20, 30, 40].index(row.keys[0])
        np.testing.assert_allclose(shown[at], row.values[0][0])
    assert np.isnan(shown[1, 1])
    assert [item.get_xydata().tolist() for item in ax.lines if item.get_marker() == "x"] == [[[1.5, 1.5]]]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["20", "30", "40"]


@pytest.fixture(scope="module")
def systems(sweep) -> xr.Dataset:
    """The sweep as one over two systems and three numbers of steps, the second system twice as bad."""
    data = sweep.copy(deep=True).rename(weak_view_strength="system").assign_coords(system=["network", "linearised"])
    data["system"].attrs["field"] = "system"
    data["test_error"][:, 1] *= 2
    return data


@pytest.fixture(scope="module")
def planes(systems) -> xr.Dataset:
    """With a third axis, of two starts."""
    data = xr.concat([systems, systems], "init_std").assign_coords(init_std=[0.02, 0.05])
    data["init_std"].attrs["field"] = "network.init_std"
    data["test_error"][1] *= 3
    return data


@pytest.mark.parametrize("by", [(), ("num_steps",), ("num_steps", "system")])
def test_curves_of_a_sweep_show_each_system_and_say_which(systems, ax, by):
    plot_sweep(systems, ax, by=by)
    for name in ("network", "linearised"):
        drawn = line(ax, f"system = {name}")
        means = systems["test_error"].sel(system=name).mean(("replicate", "seed"))
        assert drawn.get_xdata().tolist() == [20, 30, 40]
        np.testing.assert_allclose(drawn.get_ydata(), means)
    assert ax.get_xlabel() == "train.num_steps"
    assert "averaged" not in "".join(t.get_text() for t in ax.texts)


def test_curves_with_other_axes_average_over_numbers_but_not_over_systems(planes, ax):
    plot_sweep(planes, ax, by=("init_std",))
    assert [item.get_label() for item in ax.lines] == ["system = network", "system = linearised"]
    means = planes["test_error"].sel(system="linearised").mean(("num_steps", "replicate", "seed"))
    np.testing.assert_allclose(line(ax, "system = linearised").get_ydata(), means)
    assert "averaged over train.num_steps" in "".join(t.get_text() for t in ax.texts)


@pytest.mark.parametrize("by", [(), ("num_steps", "init_std")])
def test_a_phase_diagram_has_a_plane_for_each_system_and_says_which(planes, ax, by):
    plot_phase(planes, ax, by=by)
    meshes = [c for c in ax.collections if isinstance(c, QuadMesh)]
    names = [t for t in ax.texts if t.get_text().startswith("system")]
    assert [t.get_text() for t in names] == ["system = network", "system = linearised"]
    bottoms = [mesh.get_coordinates()[0, 0, 1] for mesh in meshes]
    for mesh, said, bottom in zip(meshes, names, bottoms, strict=True):
        means = planes["test_error"].sel(system=said.get_text().split()[-1]).mean(("replicate", "seed"))
        np.testing.assert_allclose(mesh.get_array(), means.transpose("init_std", "num_steps"))
        assert bottom + 2 < said.get_position()[1] < bottom + 2.5  # its name is above it, and below the next
    assert bottoms[0] > bottoms[1] + 2
    assert [t.get_text() for t in ax.get_yticklabels()] == ["0.02", "0.05"] * 2
    assert ax.get_ylim()[1] > bottoms[0] + 2


def test_drawn_points_of_each_system_have_a_mark_of_their_own(systems, ax):
    points = systems.stack(point=("num_steps", "system")).reset_index("point").transpose("point", ...)
    points = points.assign_coords(noise_norm=("point", np.linspace(0, 1, 6)))
    plot_phase(points, ax, by=("num_steps", "noise_norm"))
    marks = {c.get_label(): c for c in ax.collections if isinstance(c, PathCollection)}
    assert list(marks) == ["system = network", "system = linearised"]
    drawn = np.asarray(marks["system = linearised"].get_offsets())
    np.testing.assert_allclose(drawn[:, 1], np.linspace(0, 1, 6)[1::2])
    first, second = (c.get_paths()[0].vertices for c in marks.values())
    assert first.shape != second.shape


@pytest.mark.slow
def test_random_points_are_drawn_where_they_lie(tmp_path, ax):
    path = tmp_path / "points.zarr"
    over = {"network.init_std": "0.01:0.05:log", "data.noise_norm": "0.2:1"}
    multiview.run_sweep(replace(small(), {"replicates": 1}), over, path, method="random", points=4)
    points = open_results(path)
    plot_phase(points, ax)
    (marks,) = [c for c in ax.collections if isinstance(c, PathCollection)]
    drawn = sorted(map(tuple, np.asarray(marks.get_offsets()).tolist()))
    stored = sorted(zip(points["init_std"].values.tolist(), points["noise_norm"].values.tolist(), strict=True))
    np.testing.assert_allclose(drawn, stored)


# Style and files.


def test_nothing_is_told_apart_by_colour_alone():
    looks = [(str(s["marker"]), str(s["linestyle"])) for s in style.SERIES]
    assert len(set(looks)) == len(looks)
    assert style.WINNER["linestyle"] != style.LOSER["linestyle"]
    lightness = [np.dot(color[:3], (0.299, 0.587, 0.114)) for color in style.SHADES(np.linspace(0, 1, 32))]
    assert (np.diff(lightness) < 0).all()
    grey = [np.dot(to_rgb(c), (0.299, 0.587, 0.114)) for c in (*style.VIEW_COLORS[:2], style.EMPTY)]
    assert min(np.diff(sorted(grey))) > 0.15


def test_text_from_a_store_stays_text():
    assert style.plain("a$\\frac$") == "a\\$\\frac\\$"
    assert style.plain("two\nlines") == "two lines"
    assert len(style.plain("x" * 500)) == 60

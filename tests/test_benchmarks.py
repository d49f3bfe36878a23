"""The benchmark compares like with like: rows that agree, a refusal where they do not, and the promised JSON."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
TORCH_ROWS = {"torch_loop", "torch_func"} if importlib.util.find_spec("torch") else set()
NAMES = {"numpy", "jax_vmap_dense", "multiview_dense", "multiview_limit"} | TORCH_ROWS
TINY = {"num_classes": 3, "neurons_per_class": 4, "num_train": 14, "num_patches": 5, "patch_dim": 48}


@pytest.fixture(autouse=True)
def repository_on_the_path(monkeypatch):
    """Benchmarks are a folder of the repository, not of the package."""
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.fixture
def rows():
    return importlib.import_module("benchmarks.rows")


@pytest.fixture
def world(rows):
    return rows.make_world(rows.Problem(**TINY))


@pytest.fixture
def tiny_rates(monkeypatch):
    """What the machine can do, measured at a tiny size."""
    machine = importlib.import_module("benchmarks.machine")
    measured = {
        "matrix_product_gflops": machine.matrix_product_rates(64, 1),
        "memory_gbytes_per_s": machine.memory_bandwidths(1 << 12, 1),
    }
    monkeypatch.setattr(machine, "rates", lambda: measured)


@pytest.mark.slow
def test_all_rows_do_the_same_work(rows, world):
    """Same weights after three steps: dense rows as NumPy's, the limit row as the limit written plainly in NumPy."""
    found = rows.check(world)
    assert set(found) == NAMES | {"limit_against_dense"}
    assert all(found[name] < rows.TOLERANCE for name in NAMES)


def test_weights_move_far_enough_for_the_comparison_to_mean_something(rows, world):
    start = rows.dense_start(world, 1)
    end = rows.numpy_row(world, start)(rows.CHECK_STEPS)
    in_features = [np.einsum("fd,sdkm->sfkm", world.features, w) for w in (start, end)]
    assert np.linalg.norm(in_features[1] - in_features[0]) > 0.2 * np.linalg.norm(in_features[0])


def test_the_dense_rows_tend_to_the_limit_row(rows):
    """One problem at two dimensions: 16 times the dimension, about a quarter of the difference."""

    def difference(patch_dim: int) -> float:
        world = rows.make_world(rows.Problem(**TINY | {"patch_dim": patch_dim}))
        start = rows.dense_start(world, 1)
        return rows.limit_against_dense(world, start[0], rows.numpy_row(world, start)(rows.CHECK_STEPS)[0])

    assert difference(1024) < 0.5 * difference(64)


def test_a_row_that_does_other_work_is_refused(rows, world, monkeypatch):
    """One wrong constant in one row stops the benchmark before it times anything."""
    plain = rows.jax_row

    def fewer_steps(*arguments):
        row = plain(*arguments)
        return lambda num_steps: row(num_steps - 1)

    monkeypatch.setattr(rows, "jax_row", fewer_steps)
    with pytest.raises(rows.Disagreement, match="jax_vmap_dense: differs by"):
        rows.check(world)


def test_every_patch_holds_a_feature_and_noise_and_both_views_of_the_label(rows, world):
    data = world.data
    index, labels = np.asarray(data.patch_feature), np.asarray(data.labels)
    assert index.min() >= 0
    assert (np.asarray(data.noise_norms) > 0).all()
    own = [[(row == label * 2 + view).sum() for view in range(2)] for row, label in zip(index, labels, strict=True)]
    assert np.array_equal(own, np.ones((len(labels), 2)))


def test_json_has_the_promised_shape(rows, monkeypatch, tiny_rates, tmp_path, capsys):
    """Names, keys and consistent numbers, written by the command itself at a tiny size."""
    command, report = (importlib.import_module(f"benchmarks.{n}") for n in ("__main__", "report"))
    # At this size a difference of two times is noise, of either sign.
    timing = importlib.import_module("benchmarks.timing")
    monkeypatch.setattr(timing, "ms_per_step", lambda row, lengths: 0.5)
    problem = rows.Problem(**TINY)
    monkeypatch.setattr(report, "rows_document", lambda quick: report.measure(problem, [48], (2, 3), 2, 0.01))
    path = tmp_path / "out.json"
    assert command.main(["--quick", "--json", str(path)]) == 0
    assert "multiview_limit" in capsys.readouterr().out
    document = json.loads(path.read_text(encoding="utf-8"))
    assert {"machine", "results"} <= set(document)
    assert document["machine"]["matrix_product_gflops"]["numpy"] > 0
    assert {r["name"] for r in document["results"]} == NAMES
    for row in document["results"]:
        assert {"name", "d", "seeds", "ms_per_seed_step", "gflops", "share_of_peak"} <= set(row)
        assert row["d"] == (None if row["name"] == "multiview_limit" else 48)
        assert row["seeds"] == (3 if row["name"] == "multiview_limit" else 2)


def test_an_unwritable_json_is_refused_before_any_work(capsys, tmp_path):
    command = importlib.import_module("benchmarks.__main__")
    (tmp_path / "file").write_text("")
    assert command.main(["--quick", "--json", str(tmp_path / "file" / "out.json")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--json" in line


def test_the_time_of_a_step_leaves_out_what_both_lengths_share(monkeypatch):
    """A row that takes 5 s to begin and 2 ms a step is said to take 2 ms a step."""
    timing = importlib.import_module("benchmarks.timing")
    monkeypatch.setattr(timing, "seconds_of", lambda row, steps: 5 + 0.002 * steps)
    assert timing.ms_per_step(None, timing.Lengths(1, 11)) == pytest.approx(2.0)


def test_the_published_table_and_figure_come_from_the_published_json():
    """The table of the docs is what the JSON gives, names no path, and holds all rows at d = 1024."""
    publish = importlib.import_module("benchmarks.publish")
    folder = ROOT / "docs" / "figures"
    text = (folder / publish.NAME).read_text(encoding="utf-8")
    document = json.loads(text)
    assert (folder / publish.TABLE).read_text(encoding="utf-8") == publish.table(document)
    assert not re.search(r"/(home|root|tmp|work|usr)/", text)
    dense = {"numpy", "torch_loop", "torch_func", "jax_vmap_dense", "multiview_dense"}
    named = {(r["name"], r["d"]) for r in document["results"]}
    assert named >= {(name, 1024) for name in dense} | {("multiview_limit", None)}
    assert (folder / "scaling.png").stat().st_size < 150_000


@pytest.mark.slow
def test_costs_are_measured_against_the_number_of_classes(tiny_rates, tmp_path):
    main = importlib.import_module("benchmarks.__main__").main
    main(["--classes", "--quick", "--json", str(tmp_path / "classes.json")])
    document = json.loads((tmp_path / "classes.json").read_text())
    found = {(r["name"], r["k"]) for r in document["results"]}
    assert found == {(name, k) for name in ("all_pairs", "fast") for k in (6, 10)}
    assert all(r["ms_per_network_step"] > 0 and r["operations"] > 0 for r in document["results"])
    assert document["ratios"].keys() == {"6", "10"}


@pytest.mark.slow
def test_a_device_is_measured_part_by_part(tiny_rates, monkeypatch, tmp_path):
    """The command at its small size; a stop in the last part loses that part only."""
    main, report = (importlib.import_module(f"benchmarks.{n}") for n in ("__main__", "report"))
    path = tmp_path / "device.json"

    def stopped(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "measure", stopped)
    with pytest.raises(KeyboardInterrupt):
        main.main(["--device-report", "--quick", "--json", str(path)])
    document = json.loads(path.read_text())
    assert [row["k"] for row in document["classes"]] == [6]
    assert document["classes"][0]["ms_per_network_step"] > 0
    assert [study["seeds"] for study in document["studies"]] == [4, 2]
    assert "matrix_precisions" in document
    assert "results" not in document

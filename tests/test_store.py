"""Results on disk: what was written is read back, a failing write leaves nothing, networks can be exported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from multiview import streams
from multiview.commands.main import main
from multiview.config import from_mapping, to_mapping
from multiview.figures.errors import measured_errors
from multiview.files import new_path, writable_folder, write_file
from multiview.measures.errors import hierarchical_bootstrap
from multiview.parameters import ConfigError
from multiview.stores.export import export_network
from multiview.stores.labelled import to_datatree
from multiview.stores.store import damaged_variables, open_results, write_store
from multiview.stores.tables import comma_separated, summarise
from multiview.systems.blocks import answer_networks, start_keys
from multiview.verdicts.claims import check_claims
from multiview.verdicts.prediction import Prediction
from multiview.world.world import World

PREDICTIONS = {
    name: Prediction(0.5, 0.0, 1.0)
    for name in ("single", "ensemble", "ensemble_probabilities", "distilled", "self_distilled", "dark_knowledge")
}


@pytest.fixture(scope="module")
def tree(tiny_result) -> xr.DataTree:
    return to_datatree(tiny_result, check_claims(tiny_result, PREDICTIONS), networks=True)


@pytest.fixture(scope="module")
def store(tree, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("store") / "run.zarr"
    write_store(path, tree)
    return path


def test_round_trip(store, tree, tiny):
    found = open_results(store)
    assert set(found.children) == {"single", "distilled", "self_distilled"}
    for name, node in tree.subtree_with_keys:
        for variable in node.data_vars:
            np.testing.assert_array_equal(found[name][variable].values, node[variable].values)
            assert found[name][variable].dims == node[variable].dims
    assert from_mapping(json.loads(found.attrs["config"])) == tiny
    assert json.loads(found.attrs["config"]) == json.loads(json.dumps(to_mapping(tiny)))
    assert found.attrs["run_id"] == tiny.run_id
    assert [c["id"] for c in json.loads(found.attrs["claims"])] == [c["id"] for c in json.loads(tree.attrs["claims"])]


def test_dimensions_are_labelled_and_step_counts_from_the_networks_start(store, tiny):
    found = open_results(store)
    overlap = found["single"]["largest_overlap"]
    assert overlap.dims == ("replicate", "seed", "time", "class", "view")
    assert overlap.sizes["replicate"] == tiny.replicates
    assert overlap.sizes["seed"] == tiny.seeds
    assert found["single"]["step"].values[[0, -1]].tolist() == [0, tiny.train.num_steps]
    onset = tiny.distill.onset_step
    assert found["distilled"]["step"].values[[0, -1]].tolist() == [onset, onset + tiny.distill.num_steps]


@pytest.mark.bits
def test_exported_network_gives_the_logits_of_the_trained_one(store, tiny, tiny_result, tmp_path):
    export_network(open_results(store), "single", 1, 3, tmp_path / "network.npz")
    with np.load(tmp_path / "network.npz", allow_pickle=False) as file:
        weights, config = file["weights"], json.loads(str(file["config"]))
    assert from_mapping(config) == tiny
    task = next(World.of(tiny).held_out()).task
    keys = start_keys(tiny, streams.TEST_NOISE, 0, [0, 1, 2, 3, 4])
    together = answer_networks(tiny, np.asarray(tiny_result.groups["single"].weights[1]), keys, task)
    alone = answer_networks(tiny, weights[None], keys[3:4], task)
    np.testing.assert_array_equal(alone[0], together[3])
    assert np.abs(together[3] - together[2]).max() > 1e-3
    # And they are the logits of its definition, patch by patch (these samples carry no noise).
    feature, z = np.asarray(task.data.patch_feature), np.asarray(task.data.coefficients, float)
    pre = z[..., None, None] * np.concatenate([weights, 0 * weights[:1]]).astype(float)[feature]
    q, threshold = tiny.network.relu_power, tiny.network.relu_threshold
    bent = np.clip(pre, 0, threshold)
    expected = (bent**q / (q * threshold ** (q - 1)) + np.maximum(pre - threshold, 0)).sum((1, 3))
    np.testing.assert_allclose(alone[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("group", "replicate", "seed", "named"),
    [("nobody", 0, 0, "group = 'nobody'"), ("single", 2, 0, "replicate = 2"), ("single", 0, 5, "seed = 5"),
     ("distilled", 0, 3, "seed = 3"), ("single", -1, 0, "replicate = -1")],
)  # fmt: skip
def test_export_refuses_networks_that_are_not_there(store, tmp_path, group, replicate, seed, named):
    with pytest.raises(ConfigError, match=named):
        export_network(open_results(store), group, replicate, seed, tmp_path / "network.npz")
    assert list(tmp_path.iterdir()) == []


def test_a_store_without_networks_exports_none(tiny_result, tmp_path):
    write_store(tmp_path / "store", to_datatree(tiny_result))
    with pytest.raises(ConfigError, match="stored with networks"):
        export_network(open_results(tmp_path / "store"), "single", 0, 0, tmp_path / "network.npz")


def test_a_failing_file_leaves_nothing_and_keeps_what_was_there(tmp_path):
    def fail(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_file(tmp_path / "a.txt", fail)
    assert list(tmp_path.iterdir()) == []
    write_file(tmp_path / "a.txt", lambda path: path.write_text("whole"))
    with pytest.raises(RuntimeError, match="power cut"):
        write_file(tmp_path / "a.txt", fail)
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "whole"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failing_store_leaves_nothing(tree, tmp_path, monkeypatch, error):
    real = xr.DataTree.to_zarr

    def fail(self, *arguments, **options):
        real(self, *arguments, **options)
        raise error("power cut")

    monkeypatch.setattr(xr.DataTree, "to_zarr", fail)
    with pytest.raises(error):
        write_store(tmp_path / "store", tree)
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_never_overwritten(store, tree):
    with pytest.raises(ConfigError, match="exists already"):
        write_store(store, tree)
    assert open_results(store).attrs["run_id"] == tree.attrs["run_id"]


def test_new_path_refuses_what_exists_and_makes_nothing_yet(tmp_path):
    assert new_path(tmp_path / "a" / "b" / "store") == tmp_path / "a" / "b" / "store"
    assert not (tmp_path / "a").exists()
    (tmp_path / "a").mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        new_path(tmp_path / "a")


def test_a_folder_below_a_file_is_refused_and_nothing_is_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        writable_folder(tmp_path / "file" / "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("what", ["missing", "file", "empty", "foreign"])
def test_what_is_no_store_is_refused(tmp_path, what):
    path = tmp_path / "store"
    if what == "file":
        path.write_text("no store")
    if what == "empty":
        path.mkdir()
    if what == "foreign":
        xr.DataTree.from_dict({"/": xr.Dataset({"a": ("x", [1, 2])})}).to_zarr(path, consolidated=False)
    with pytest.raises(ConfigError, match="store = "):
        open_results(path)


def test_check_names_a_deleted_chunk_and_a_changed_byte(store, tmp_path, capsys):
    copy = tmp_path / "run.zarr"
    shutil.copytree(store, copy)
    assert damaged_variables(copy) == {}
    assert main(["check", str(copy)]) == 0
    next(p for p in (copy / "single" / "finite" / "c").rglob("*") if p.is_file()).unlink()
    chunk = next(p for p in (copy / "single" / "weights" / "c").rglob("*") if p.is_file())
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(bytes(content))
    assert damaged_variables(copy) == {"single/finite": "1 of 1 chunks missing", "single/weights": "damaged"}
    capsys.readouterr()
    assert main(["check", str(copy)]) == 1
    assert "single/weights: damaged" in capsys.readouterr().out


def test_the_table_of_a_study_has_a_row_for_each_kind_of_network(store, tiny_result, capsys):
    table = summarise(open_results(store))
    rows = {row.keys[0]: row for row in table.rows}
    assert list(rows) == ["single", "ensemble", "ensemble_probabilities", "distilled", "self_distilled"]
    error, training, learned = (table.measures.index(n) for n in ("test_error", "final_train_error", "learned_views"))
    for kind in measured_errors(open_results(store)):  # what the figure of errors shows
        assert rows[kind.name].values[error] == (pytest.approx(kind.mean), *kind.interval)
    for name, group in tiny_result.groups.items():
        assert rows[name].networks == group.finite.size
        assert rows[name].unfitted == (group.train_wrong > 0).sum()
        ends = hierarchical_bootstrap(group.train_error.astype(float))
        assert rows[name].values[training] == (pytest.approx(group.train_error.mean()), *ends)
    assert rows["single"].unfitted > 0
    assert rows["ensemble"].networks == tiny_result.study.replicates
    assert np.isnan(rows["ensemble"].values[learned]).all()
    formats = {"text": "unfitted", "markdown": "| ensemble | 2 |", "csv": "non_finite", "latex": "toprule"}
    for form, word in formats.items():
        assert main(["table", str(store), "--format", form]) == 0
        assert word in capsys.readouterr().out
    assert main(["table", str(store), "--measure", "e_multi_view,final_train_wrong", "--by", "kind"]) == 0
    for wrong in (["--by", "num_steps"], ["--measure", "dark_knowledge"]):
        assert main(["table", str(store), *wrong]) == 2
        assert f"{wrong[0]} = '{wrong[1]}' is not allowed" in capsys.readouterr().err


def test_networks_that_are_not_finite_are_counted_in_the_table_of_a_study(tree):
    broken = tree.copy(deep=True)
    broken["distilled"]["finite"][0, 1] = False
    row = next(row for row in summarise(broken).rows if row.keys == ("distilled",))
    assert (row.networks, row.non_finite) == (6, 1)
    assert "distilled,6,1," in comma_separated(summarise(broken))


@pytest.mark.parametrize("what", ["single/train_wrong", "dark_knowledge"])
def test_the_table_of_a_study_that_lacks_something_is_one_line(tree, store, tmp_path, what, capsys):
    node, _, name = what.rpartition("/")
    parts = {n: part.to_dataset(inherit=False) for n, part in tree.subtree_with_keys}
    parts = {n: part.drop_vars(name) if n == (node or ".") else part for n, part in parts.items()}
    with pytest.raises(ConfigError, match=f"does not hold all that a table is made of .*{name}"):
        summarise(xr.DataTree.from_dict(parts))
    copy = tmp_path / "run.zarr"
    shutil.copytree(store, copy)
    next(p for p in (copy / what / "c").rglob("*") if p.is_file()).unlink()
    assert main(["table", str(copy)]) == 2
    assert f"is damaged: {what}" in capsys.readouterr().err

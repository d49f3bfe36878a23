"""The table of recorded measures: stores, sweeps and results follow from its rows."""

from __future__ import annotations

import json

import jax.numpy as jnp
import numpy as np
import pytest

from multiview.config import all_fields
from multiview.measures import recorded
from multiview.measures.dimensions import LENGTHS
from multiview.measures.recorded import MEASURES, Measure
from multiview.parameters import ConfigError
from multiview.stores.labelled import from_datatree, to_datatree
from multiview.stores.sweep_variables import sweep_values, sweep_variables

BY_NEURON = Measure(
    "by_neuron", ("class", "neuron"), "overlap", "largest overlap of each neuron",
    lambda s: jnp.maximum(s.overlaps, 0).max(0), needs_features=True,
)  # fmt: skip


def with_record(result, name, trailing):
    """A result in which one more measure was recorded: distinct numbers in the named trailing shape."""
    groups = {}
    for kind, group in result.groups.items():
        shape = (*group.records["train_error"].shape, *trailing)
        groups[kind] = group._replace(records=group.records | {name: np.arange(np.prod(shape)).reshape(shape)})
    return result._replace(groups=groups)


@pytest.mark.parametrize("row", MEASURES, ids=lambda row: row.name)
def test_every_row_says_what_it_is_in_known_dimensions(row):
    assert row.text
    assert row.unit
    assert set(row.dimensions) <= set(LENGTHS)
    assert row.dtype in ("float", "int32")


def test_no_stored_measure_has_the_name_of_a_parameter():
    """An axis of a sweep is named by a parameter's last word, so the two would collide."""
    leaves = {name.rpartition(".")[2] for name in all_fields()}
    stored = {row.name for row in MEASURES} | set(sweep_variables(True, 2, "float32"))
    assert not leaves & stored


def test_what_is_recorded_has_the_shape_of_its_row(tiny_result):
    study = tiny_result.study
    sizes = {"class": study.data.num_classes, "view": study.data.num_views}
    records = tiny_result.groups["single"].records
    assert set(records) == {row.name for row in MEASURES if row.function is not None}
    for row in MEASURES:
        if row.function is not None:
            assert records[row.name].shape[3:] == tuple(sizes[d] for d in row.dimensions), row.name


def test_a_measure_needs_its_function_and_its_row_alone(tiny_result, monkeypatch):
    """A measure of class and neuron, dimensions that no other measure has, reaches every store and comes back."""
    k, m = tiny_result.study.data.num_classes, tiny_result.study.network.neurons_per_class
    monkeypatch.setattr(recorded, "MEASURES", (*MEASURES, BY_NEURON))
    result = with_record(tiny_result, "by_neuron", (k, m))
    tree = to_datatree(result)
    stored = tree["single"]["by_neuron"]
    assert stored.dims == ("replicate", "seed", "time", "class", "neuron")
    assert (stored.attrs["unit"], stored.attrs["description"]) == (BY_NEURON.unit, BY_NEURON.text)
    back = from_datatree(tree).groups["single"].records["by_neuron"]
    np.testing.assert_array_equal(back, result.groups["single"].records["by_neuron"])
    variable = sweep_variables(False, 0, "float32")["by_neuron"]
    assert (variable.dimensions, variable.dtype) == (("seed", "time", "class", "neuron"), "float32")
    np.testing.assert_array_equal(sweep_values(result)["by_neuron"], back[0])


def test_the_default_recorder_records_a_new_row(tiny, monkeypatch):
    import jax

    from multiview.network.outputs import logits
    from multiview.network.parameters import init_network
    from multiview.studies.study import training_tasks

    monkeypatch.setattr(recorded, "MEASURES", (*MEASURES, BY_NEURON))
    (task, _), k = training_tasks(tiny), tiny.data.num_classes
    parameters = init_network(jax.random.key(0), task.patches, tiny.data.num_features, k, tiny.network, jnp.float32)
    measured = recorded.record_measures(parameters, logits(parameters, task.patches, tiny.network), task, None, 2)
    expected = np.maximum(np.asarray(parameters.weights), 0).max(0)
    np.testing.assert_array_equal(measured["by_neuron"], expected)


def test_an_own_measure_without_a_row_is_stored_in_dimensions_of_its_own(tiny_result):
    result = with_record(tiny_result, "mine", (3, 7))
    stored = to_datatree(result)["distilled"]["mine"]
    assert stored.dims == ("replicate", "seed", "time", "mine_0", "mine_1")
    np.testing.assert_array_equal(stored, result.groups["distilled"].records["mine"])


def test_an_own_row_names_the_dimensions(tiny_result):
    k = tiny_result.study.data.num_classes
    rows = [Measure("mine", ("class", "corner"), "m", "mine")]
    stored = to_datatree(with_record(tiny_result, "mine", (k, 7)), measures=rows)["single"]["mine"]
    assert stored.dims == ("replicate", "seed", "time", "class", "corner")
    assert stored.attrs == {"unit": "m", "description": "mine"}


@pytest.mark.parametrize(
    ("dimensions", "message"),
    [(("class",), "2 dimensions after seed and time"), (("class", "view"), "'view' has length 7.*num_views = 2")],
)
def test_a_row_that_does_not_fit_is_refused_in_one_line(tiny_result, dimensions, message):
    k = tiny_result.study.data.num_classes
    with pytest.raises(ConfigError, match=f"'mine'.*{message}"):
        to_datatree(with_record(tiny_result, "mine", (k, 7)), measures=[Measure("mine", dimensions, "", "")])


def test_a_stored_result_is_written_with_plain_claims(tiny_result):
    class Mine:
        def to_mapping(self):
            return {"id": "mine"}

    assert json.loads(to_datatree(tiny_result, [Mine()]).attrs["claims"]) == [{"id": "mine"}]


def test_a_sweep_computes_what_it_declares_in_the_declared_dimensions(tiny_result):
    variables = sweep_variables(True, tiny_result.study.self_distill.generations, "float32")
    values = sweep_values(tiny_result)
    assert set(variables) == set(values)
    for name, variable in variables.items():
        assert values[name].ndim == len(variable.dimensions), name


def test_a_sweep_of_a_version_without_a_measure_is_refused_in_one_line(tiny, tmp_path, monkeypatch):
    """And not half way through its next block."""
    from multiview.config import replace
    from multiview.sweeps.design import make_design
    from multiview.sweeps.layout import create_store
    from multiview.sweeps.plan import make_plan
    from multiview.sweeps.runner import run_plan

    plan = make_plan(replace(tiny, {"seeds": 2, "replicates": 1}), make_design({"train.num_steps": [20, 30]}))
    here = {"versions": "{}", "git_commit": "", "device": "", "settings": "{}"}
    create_store(plan, tmp_path / "old.zarr", here)
    monkeypatch.setattr(recorded, "MEASURES", (*MEASURES, BY_NEURON))
    with pytest.raises(ConfigError, match="older multiview and has no place for by_neuron"):
        run_plan(plan, tmp_path / "old.zarr")

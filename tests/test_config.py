"""Parameters: values from Python, NumPy and files are converted and checked alike; their meanings stand once."""

from __future__ import annotations

import dataclasses
import json
import sys
import types

import numpy as np
import pytest

from multiview import config
from multiview.config import (
    DataConfig,
    Study,
    all_fields,
    check_data,
    check_section,
    convert,
    explained,
    meaning,
    replace,
    to_mapping,
)
from multiview.parameters import ConfigError, above, parameter
from multiview.presets import load_preset, load_toml, preset_names


@pytest.mark.parametrize("value", [np.int64(4), np.uint8(4), np.array(4), np.str_("4")])
def test_numpy_values_are_whole_numbers(value):
    assert convert("data.num_classes", value) == 4
    assert type(convert("data.num_classes", value)) is int


@pytest.mark.parametrize("value", [np.float32(0.5), np.float64(0.5), np.array(0.5), np.str_("0.5")])
def test_numpy_values_are_numbers(value):
    assert convert("data.noise_norm", value) == 0.5
    assert type(convert("data.noise_norm", value)) is float


def test_numpy_arrays_are_intervals():
    assert convert("data.label_strength", np.array([1, 2], np.float32)) == (1.0, 2.0)
    assert convert("data.label_strength", [np.float32(1), np.int64(2)]) == (1.0, 2.0)


@pytest.mark.parametrize(
    "value", [True, np.True_, np.array(True), None, 1j, [4], np.array([4]), np.float64(4), "4.0", int, np.int64]
)
def test_other_values_are_no_whole_numbers(value):
    with pytest.raises(ConfigError, match=r"^data.num_classes = .* is not allowed: it must be a whole number$"):
        convert("data.num_classes", value)


@pytest.mark.parametrize("value", [True, np.True_, np.nan, np.float32("nan"), None, 1j, 10**400])
def test_other_values_are_no_numbers(value):
    with pytest.raises(ConfigError, match=r"^data.noise_norm = .* is not allowed: it must be a number$"):
        convert("data.noise_norm", value)


@pytest.mark.usefixtures("unchecked")
def test_a_study_keeps_plain_python_values():
    """So that equal values are one study, with one identity, wherever they come from."""
    built = Study(
        data=DataConfig(num_classes=np.int64(6), noise_norm=np.float32(0.5), label_strength=[1, 2]),  # type: ignore[arg-type]
        seeds=np.int32(3),  # type: ignore[arg-type]
    )
    plain = Study(data=DataConfig(num_classes=6, noise_norm=0.5, label_strength=(1.0, 2.0)), seeds=3)
    assert built == plain
    assert built.run_id == plain.run_id
    assert json.dumps(to_mapping(built)) == json.dumps(to_mapping(plain))


@pytest.mark.parametrize("name", preset_names())
def test_a_checked_study_is_the_study(name):
    study = load_preset(name)
    assert check_data(study.data) == study.data
    assert dataclasses.replace(study) == study


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"noise_norm": float("nan")}, "data.noise_norm = nan is not allowed: it must be a number"),
        ({"noise_norm": float("inf")}, "data.noise_norm = inf is not allowed: it must be finite"),
        ({"num_classes": np.int64(1)}, "data.num_classes = np.int64(1) is not allowed: it must be a number ≥ 2"),
        ({"num_patches": 1}, "data.num_patches = 1 is not allowed: it must be ≥ num_views · patches_per_feature = 2"),
    ],
)
def test_a_section_and_a_study_refuse_alike(changes, line):
    data = dataclasses.replace(DataConfig(), **changes)
    for refuse in (lambda: check_data(data), lambda: Study(data=data)):
        with pytest.raises(ConfigError) as error:
            refuse()
        assert str(error.value) == line


def test_any_dataclass_of_parameters_is_checked_by_the_same_code():
    @dataclasses.dataclass(frozen=True)
    class Model:
        width: int = parameter(3, **above(0))
        title: str = "not a parameter"

    assert check_section(Model(np.int64(5))) == Model(5)
    with pytest.raises(ConfigError, match=r"^model.width = 0 is not allowed: it must be a number > 0$"):
        check_section(Model(0), "model.")


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_section_is_refused_in_one_line():
    with pytest.raises(ConfigError, match=r"^data = 5 is not allowed: it must be a DataConfig$"):
        Study(data=5)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", all_fields())
def test_every_parameter_has_a_meaning_and_an_ascii_name(name):
    assert meaning(name)
    assert not meaning(name).endswith(".")
    assert name.isascii()
    assert explained(name).startswith(meaning(name))


@pytest.mark.parametrize("name", ["train.solver", "train.mixup", "data.representation", "distill.objective", "system"])
def test_help_names_every_word_that_a_parameter_may_be(name):
    with pytest.raises(ConfigError) as refused:
        convert(name, "no such word") if name != "system" else Study(system="no such word")
    words = str(refused.value).rpartition("must be one of ")[2]
    assert explained(name).endswith(f"(one of {words})")


def test_a_parameter_without_source_has_no_meaning_and_no_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "elsewhere", types.ModuleType("elsewhere"))
    assert config.meanings(type("Model", (), {"__module__": "elsewhere"})) == {}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_toml_of_any_editor_is_read(encoding, end, tmp_path):
    """UTF-16 has a byte-order mark, as PowerShell's redirection writes it."""
    mark = "\ufeff" if "16" in encoding else ""
    file = tmp_path / "study.toml"
    file.write_bytes(f"{mark}# Größe{end}seeds = 5{end}".encode(encoding))
    assert load_toml(file) == Study(seeds=5)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le", "utf-32"])
def test_toml_in_another_encoding_is_one_line(encoding, tmp_path):
    file = tmp_path / "study.toml"
    file.write_bytes("# Größe\nseeds = 5\n".encode(encoding))
    with pytest.raises(ConfigError, match=r"study.toml' (cannot be read: it must be text in UTF-8|is not valid TOML)"):
        load_toml(file)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("study", "changes", "named"),
    [
        ("smoke", {"seeds": 3}, "study = 'smoke'"),
        (DataConfig(), {"seeds": 3}, "study = DataConfig"),
        (Study(), [("seeds", 3)], "changes = "),
        (Study(), {3: 3}, "changes = "),
        (Study(), None, "changes = None"),
    ],
)
def test_arguments_of_another_kind_are_refused_in_one_line(study, changes, named):
    with pytest.raises(ConfigError, match=named) as error:
        replace(study, changes)
    assert len(str(error.value).splitlines()) == 1

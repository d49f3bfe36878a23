"""Whatever the input: a value of the field's type, a valid study, or one line."""

from __future__ import annotations

import tomllib

from any_inputs import WORDS
from hypothesis import example, given, settings
from hypothesis import strategies as st

from multiview.config import Study, all_fields, convert, from_mapping, replace
from multiview.parameters import ConfigError
from multiview.presets import load_preset

NAMES = sorted(all_fields())
TEXT = st.one_of(
    st.text(max_size=12),
    st.from_regex(r"\A[-+]?[0-9]{1,3}(\.[0-9]{0,3})?(e[0-9]{1,3})?\Z"),
    st.from_regex(r"\A[\[(]?[0-9.]{1,4}[ ,]+[0-9.]{1,4}[\])]?\Z"),
    st.sampled_from(WORDS),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=2)),
    max_leaves=5,
)


def attempt(call):
    """What `call` gives, or its ConfigError; any other exception passes through."""
    try:
        return call()
    except ConfigError as error:
        return error


@settings(max_examples=400)
@example("seeds", "1" * 400)
@example("data.noise_norm", "1" * 400)
@example("data.noise_norm", 10**400)
@example("seeds", 10**400)
@given(st.one_of(st.sampled_from(NAMES), st.text(max_size=12)), st.one_of(TEXT, VALUES))
def test_convert_gives_a_value_of_the_fields_type_or_a_configuration_error(name, value):
    found = attempt(lambda: convert(name, value))
    if isinstance(found, ConfigError):
        assert len(str(found).splitlines()) == 1
        assert name in str(found) or repr(name)[1:-1] in str(found)
        return
    assert name in NAMES
    default = getattr(getattr(Study(), name.rpartition(".")[0]) if "." in name else Study(), name.rpartition(".")[2])
    assert type(found) is type(default)


@settings(max_examples=60)
@given(st.sampled_from(NAMES), st.one_of(TEXT, VALUES))
def test_replace_gives_a_valid_study_or_a_configuration_error(name, value):
    found = attempt(lambda: replace(Study(), {name: value}))
    if isinstance(found, ConfigError):
        assert len(str(found).splitlines()) == 1
        return
    assert isinstance(found, Study)
    assert len(found.run_id) == 12


@given(st.dictionaries(st.sampled_from([*NAMES, "data", "train", "x"]), VALUES, max_size=3))
def test_mappings_give_a_study_or_a_configuration_error(mapping):
    found = attempt(lambda: from_mapping(mapping))
    assert isinstance(found, Study | ConfigError)
    assert isinstance(found, Study) or len(str(found).splitlines()) == 1


def test_a_study_survives_its_own_toml_and_has_a_stable_name():
    """Presets as text, parsed and applied twice, are the same study; any change changes the name."""
    from multiview.config import to_mapping
    from multiview.presets import preset_names, preset_text

    for name in preset_names():
        study = load_preset(name)
        assert from_mapping(tomllib.loads(preset_text(name)), study) == study
        assert from_mapping(to_mapping(study)) == study
        assert from_mapping(to_mapping(study)).run_id == study.run_id
        assert replace(study, {"seeds": study.seeds + 1}).run_id != study.run_id

"""The study: all parameters together, their dotted names, and the conditions that join several sections.

Flags, TOML files and Python pass through `convert` and `validate`, so that they meet one check and one message.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multiview.config.data import DataConfig, check_data
from multiview.config.distillation import DistillConfig
from multiview.config.network import NetworkConfig
from multiview.config.training import TrainConfig, optimizer_arguments, split_optimizer
from multiview.config.values import check_section, checked_values, convert_value, type_hints
from multiview.parameters import LONGEST, ConfigError, at_least, parameter, refusal, shown
from multiview.systems.table import STEP, SYSTEMS

# The range of numbers in single precision, the smallest of which have few digits.
SMALLEST_SINGLE, LARGEST_SINGLE = 2.0**-149, (2 - 2.0**-23) * 2.0**127


@dataclass(frozen=True)
class Study:
    """What to run: the data, the network, how it is trained and distilled, and how often.

    Values are converted and checked when a study is made, and never change; `replace` makes changed copies.

    Raises:
        ConfigError: one line that names the first bad parameter, its value and what is allowed.

    Example:
        >>> import multiview as mv
        >>> study = mv.Study(data=mv.DataConfig(num_classes=6), seeds=4)
        >>> study.data.num_features, study.run_id  # the same parameters have the same identity everywhere
        (12, '9671fa29b382')
    """

    data: DataConfig = DataConfig()
    """The data: distribution and sizes."""
    network: NetworkConfig = NetworkConfig()
    """The network."""
    train: TrainConfig = TrainConfig()
    """Training of the single networks."""
    distill: DistillConfig = DistillConfig()
    """Distillation of an ensemble into one network."""
    self_distill: DistillConfig = DistillConfig(objective="one_sided")
    """Distillation of a single network into another one of its kind."""
    system: str = parameter("network", check=lambda name: name in SYSTEMS, allowed="one of " + ", ".join(SYSTEMS))
    """What is trained: the network, or a system that the paper contrasts it with (systems.table)."""
    output_scale: float = parameter(1.0, **at_least(1), traced=True)
    """Scale α of the outputs α (F − F at the start) of system = lazy: 1 is the network, large α the linearised one."""
    preset: str = parameter("custom", traced=True)
    """Name of the preset that this study started from."""
    seed: int = parameter(0, check=lambda v: 0 <= v < 2**32, allowed="0 … 2³²−1", traced=True)
    """Base seed of every random stream."""
    seeds: int = parameter(24, **at_least(1), traced=True)
    """Number of single networks per replicate (and members of the ensemble)."""
    replicates: int = parameter(3, **at_least(1), traced=True)
    """Number of fresh training sets."""
    students: int = parameter(4, **at_least(1), traced=True)
    """Number of students of each kind per replicate."""

    def __post_init__(self) -> None:
        for name, kind in sections().items():
            if not isinstance(getattr(self, name), kind):
                raise refusal(name, getattr(self, name), f"a {kind.__name__}")
        object.__setattr__(self, "data", check_data(self.data))
        for name in sections():
            object.__setattr__(self, name, check_section(getattr(self, name), f"{name}."))
        for name, value in checked_values(self).items():
            object.__setattr__(self, name, value)
        _check_together(self)

    @property
    def run_id(self) -> str:
        """Twelve hexadecimal digits that name this configuration (SHA-256 of its canonical JSON)."""
        return hashlib.sha256(json.dumps(to_mapping(self), sort_keys=True).encode()).hexdigest()[:12]


@functools.cache
def sections() -> dict[str, type]:
    """The sections of a study, by name."""
    return {f.name: type_hints(Study)[f.name] for f in dataclasses.fields(Study) if "check" not in f.metadata}


def section_of(name: str) -> type:
    """The dataclass that declares a parameter, by its dotted name."""
    return sections().get(name.rpartition(".")[0], Study)


@functools.cache
def all_fields() -> dict[str, tuple[dataclasses.Field[Any], Any]]:
    """Every parameter by its dotted name, `data.num_classes` or `seeds`, with its field and type."""
    return {
        f"{section}.{field.name}" if section else field.name: (field, type_hints(owner)[field.name])
        for section, owner in [*sections().items(), ("", Study)]
        for field in dataclasses.fields(owner)
        if "check" in field.metadata
    }


def convert(name: str, value: Any) -> Any:
    """Convert a TOML value, a word of the command line or a NumPy number to the type of the parameter `name`.

    Raises:
        ConfigError: no parameter has this name (the nearest is suggested), or the value has the wrong type.
    """
    fields = all_fields()
    if name not in fields:
        near = difflib.get_close_matches(name, fields, n=1) or difflib.get_close_matches(
            name.rpartition(".")[2], [n.rpartition(".")[2] for n in fields], n=1
        )
        hint = f"; did you mean {near[0]}?" if near else f"; sections are {', '.join(sections())}"
        plain = name.isprintable() and len(name) < LONGEST  # a control character would break the line
        raise ConfigError(f"{name if plain else shown(name)} = {shown(value)}: no parameter has this name{hint}")
    return convert_value(name, fields[name][1], value)


def _check_together(study: Study) -> None:
    """Check the conditions that join several parameters, those of the data apart."""
    data = study.data
    if study.train.batch_size > data.num_train:
        raise refusal("train.batch_size", study.train.batch_size, f"at most data.num_train = {data.num_train}")
    if study.train.solver != "gradient_descent":
        _only_defaults(study, {STEP}, f"train.solver = {study.train.solver!r}")
    if study.train.momentum and study.train.optimizer != "sgd":
        raise refusal("train.momentum", study.train.momentum, f"0 with train.optimizer = {study.train.optimizer!r}")
    if study.train.weight_decay and study.train.optimizer != "sgd" and data.representation != "dense":
        where = f"0 with train.optimizer = {study.train.optimizer!r} and data.representation = {data.representation!r}"
        raise refusal("train.weight_decay", study.train.weight_decay, f"{where}; adamw(weight_decay=0.01) has its own")
    name, arguments = split_optimizer(study.train.optimizer)
    if arguments:
        taken = optimizer_arguments(name)
        if any(n not in taken or taken[n](value) != value for n, value in arguments.items()):
            own = ", ".join(f"{n} ({kind.__name__})" for n, kind in taken.items())
            raise refusal("train.optimizer", study.train.optimizer, f"{name} with some of: {own or 'no arguments'}")
    if study.train.dtype == "float32":
        _check_range(study)
    entry = SYSTEMS[study.system]
    for owner, other in SYSTEMS.items():
        for name in other.fields:
            default = all_fields()[name][0].default
            if name not in entry.fields and get(study, name) != default:
                raise refusal(name, get(study, name), f"{default:g} with system = {study.system!r}; it is of {owner}")
    kinds = {field.metadata["option"] for field, _ in all_fields().values()} - {"", *entry.understands}
    _only_defaults(study, kinds, f"system = {study.system!r}")


def _check_range(study: Study) -> None:
    """Refuse numbers that single precision, where it is asked for, would turn into infinity or 0."""
    for name in all_fields():
        value = get(study, name)
        for number in value if isinstance(value, tuple) else (value,):
            if not isinstance(number, float) or number == 0 or math.isinf(number):
                continue
            if not SMALLEST_SINGLE <= abs(number) <= LARGEST_SINGLE:
                raise refusal(name, value, "within 1e-45 … 3.4e38, or train.dtype float64")


def _only_defaults(study: Study, kinds: set[str], where: str) -> None:
    """Refuse options of these kinds with other values than their defaults."""
    for name, (field, _) in all_fields().items():
        if field.metadata["option"] in kinds and get(study, name) != field.default:
            raise refusal(name, get(study, name), f"{field.default} with {where}")


def get(study: Study, name: str) -> Any:
    """The value of a parameter by its dotted name."""
    section, _, leaf = name.rpartition(".")
    return getattr(getattr(study, section) if section else study, leaf)


def to_mapping(study: Study) -> dict[str, Any]:
    """The study as nested plain values, ready for JSON or TOML."""
    return dataclasses.asdict(study)


def replace(study: Study, changes: Mapping[str, Any]) -> Study:
    """Copy a study with some parameters changed.

    Args:
        study: the study; it stays as it is.
        changes: new values by dotted name; words of the command line, such as "20", are converted.

    Returns:
        The changed copy.

    Raises:
        ConfigError: one line for an unknown name, a wrong type, or a value that is not allowed.

    Example:
        >>> import multiview as mv
        >>> study = mv.replace(mv.Study(), {"data.num_classes": "6", "seeds": 4})
        >>> study.data.num_classes, study.seeds
        (6, 4)
    """
    if not isinstance(study, Study):
        raise refusal("study", study, "a Study, such as load_preset(NAME)")
    if not isinstance(changes, Mapping) or not all(isinstance(name, str) for name in changes):
        raise refusal("changes", changes, "a mapping of names to values, such as {'data.num_classes': 6}")
    by_section: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        section, _, leaf = name.rpartition(".")
        by_section.setdefault(section, {})[leaf] = convert(name, value)
    top = by_section.pop("", {})
    parts = {s: dataclasses.replace(getattr(study, s), **values) for s, values in by_section.items()}
    return dataclasses.replace(study, **parts, **top)


def from_mapping(mapping: Mapping[str, Any], base: Study | None = None) -> Study:
    """Build a study from nested plain values (a parsed TOML file) on top of `base` (default: `Study()`)."""
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            if key not in sections():
                convert(key, dict(value))
                raise refusal(key, dict(value), "a value, not a section")
            flat.update({f"{key}.{leaf}": v for leaf, v in value.items()})
        else:
            flat[key] = value
    return replace(base if base is not None else Study(), flat)

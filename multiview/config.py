"""Every parameter of a study, its meaning, its allowed values, and where values come from.

A `Study` is five small frozen dataclasses. Each field carries its help text, its check and the words that
say what is allowed, so that the command line, TOML files and Python share one validation and one message.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from multiview.parameters import (
    BELOW_ONE,
    FRACTION,
    INTERVAL,
    ConfigError,
    Interval,
    above,
    at_least,
    parameter,
    refusal,
)


@dataclass(frozen=True)
class DataConfig:
    """The distribution of section 3 of docs/theory.md, and the sizes of the training and test sets."""

    num_classes: int = parameter(10, "classes k", **at_least(2))
    num_views: int = parameter(2, "views (features) per class L", **at_least(1))
    patch_dim: int = parameter(256, "patch dimension d; used by the dense representation only", **at_least(1))
    num_patches: int = parameter(13, "patches per sample P", **at_least(1))
    patches_per_feature: int = parameter(1, "patches C_p that carry one feature", **at_least(1))
    patch_split: Literal["equal", "random"] = parameter(
        "equal", "how a feature's strength is split over its patches", traced=True
    )
    feature_sparsity: float = parameter(
        3.0, "s: each foreign feature joins with probability s/k", **at_least(0), traced=True
    )
    single_view_fraction: float = parameter(0.05, "fraction μ of single-view samples", **FRACTION, traced=True)
    label_strength: Interval = parameter((1.0, 1.5), "interval of Σz for a view of the label", **INTERVAL, traced=True)
    view_strengths: tuple[float, ...] = parameter(
        (),
        "a factor on label_strength for each view; empty means all 1",
        check=lambda v: all(x > 0 for x in v),
        allowed="empty or one number > 0 for each view",
        traced=True,
    )
    foreign_strength: Interval = parameter(
        (0.3, 0.4), "interval of Σz for a foreign feature in a multi-view sample", **INTERVAL, traced=True
    )
    weak_view_strength: float = parameter(
        0.1,
        "ρ: the missing views of a single-view sample have strength ρ · label_strength",
        **at_least(0),
        traced=True,
    )
    single_view_foreign_strength: float = parameter(
        0.3, "Γ: largest strength of a foreign feature in a single-view sample", **at_least(0), traced=True
    )
    single_view_foreign_ratio: Interval = parameter(
        (0.5, 1.0), "foreign strengths in single-view samples, in units of Γ", **INTERVAL, traced=True
    )
    feature_noise: float = parameter(
        0.0, "γ: every patch also holds α v' for every feature v', α uniform in [0, γ]", **at_least(0), traced=True
    )
    noise_norm: float = parameter(
        0.6, "ν = σ_p √d: norm of the Gaussian noise of a feature patch", **at_least(0), traced=True
    )
    background_noise_norm: float = parameter(
        0.0, "norm of the Gaussian noise of a patch without a feature (paper: γ k)", **at_least(0), traced=True
    )
    num_train: int = parameter(400, "training samples N (multi-view batch M plus N_s below)", **at_least(1))
    num_single_view_train: int = parameter(
        40,
        "N_s: exact number of single-view training samples, of total weight μ; limit_single_view_noise only",
        **at_least(0),
    )
    representation: Literal["dense", "limit", "limit_single_view_noise"] = parameter(
        "limit",
        "patches as dense vectors, as the exact limit of large d, or that with noise on single-view samples only",
    )
    num_test_multi_view: int = parameter(4000, "fresh multi-view test samples", **at_least(1))
    num_test_single_view: int = parameter(4000, "fresh single-view test samples", **at_least(1))

    @property
    def num_features(self) -> int:
        """All features k · L."""
        return self.num_classes * self.num_views

    @property
    def noise_std(self) -> float:
        """σ_p = ν / √d, the standard deviation of one coordinate of a feature patch's noise."""
        return self.noise_norm / math.sqrt(self.patch_dim)

    @property
    def overflow_probability(self) -> float:
        """Probability P(Binomial(L(k-1), s/k) > P/C_p − L) that a sample has more features than fit."""
        from scipy.special import bdtrc

        room = self.num_patches // self.patches_per_feature - self.num_views
        rate = min(1.0, self.feature_sparsity / self.num_classes)
        most = self.num_views * (self.num_classes - 1)
        return 1.0 if room < 0 else float(bdtrc(room, most, rate)) if room < most else 0.0


@dataclass(frozen=True)
class NetworkConfig:
    """The two-layer smoothed-ReLU network of section 4 of docs/theory.md."""

    neurons_per_class: int = parameter(16, "neurons m of each class", **at_least(1))
    relu_power: float = parameter(3.0, "power q of the smoothed ReLU", **at_least(1))
    relu_threshold: float = parameter(
        1.0, "threshold ϱ above which the smoothed ReLU is linear", **above(0), traced=True
    )
    init_std: float = parameter(0.003, "σ₀: standard deviation of the start", **above(0), traced=True)


@dataclass(frozen=True)
class TrainConfig:
    """Training of the single networks: full-batch descent, unless `batch_size` says otherwise."""

    learning_rate: float = parameter(16.0, "step size η", **above(0), traced=True)
    num_steps: int = parameter(1500, "steps T; the stopping rule is this fixed time η·T", **at_least(1), traced=True)
    batch_size: int = parameter(0, "samples drawn afresh for each step; 0 means all samples", **at_least(0))
    optimizer: str = parameter("sgd", "any optax optimiser that takes a learning rate")
    momentum: float = parameter(0.0, "momentum m of sgd, at step size η (1 − m), which keeps the clocks", **BELOW_ONE)
    weight_decay: float = parameter(0.0, "λ: the gradient is that of the loss plus λ w", **at_least(0))
    label_smoothing: float = parameter(
        0.0, "ε: weight of the uniform distribution in the targets; not under a teacher", **BELOW_ONE
    )
    mixup: Literal["none", "uniform", "midpoint"] = parameter(
        "none", "mix two samples and their targets, with a uniform share or half and half; not under a teacher"
    )
    dropped_patches: float = parameter(
        0.0, "probability with which a patch is left out of a step; not under a teacher", **BELOW_ONE
    )
    solver: Literal["gradient_descent", "gradient_flow"] = parameter(
        "gradient_descent", "steps of size η, or adaptive steps along the gradient flow to the same time η·T"
    )
    flow_tolerance: float = parameter(
        0.6,
        "error allowed to a step of gradient_flow, in units of σ₀ + the size of an overlap",
        check=lambda v: 1e-6 <= v <= 1,
        allowed="a number in [1e-6, 1]",
        traced=True,
    )
    dtype: Literal["float32", "float64"] = parameter("float32", "precision of training")
    matrix_precision: Literal["default", "high", "highest"] = parameter(
        "highest", "of matrix products on accelerators: highest is full float32 (the CPU knows no other)"
    )
    block_size: int = parameter(
        0,
        "seeds trained together by one compiled program; 0 means 2 on the CPU and 64 on an accelerator",
        **at_least(0),
    )
    num_records: int = parameter(40, "log-spaced times at which measures are recorded", **at_least(2), traced=True)

    @property
    def changes_patches(self) -> bool:
        """Whether steps see other patches than the samples' own; these are then represented as vectors."""
        return self.mixup != "none" or self.dropped_patches > 0

    @property
    def draws(self) -> bool:
        """Whether steps are random, so that each network has a key for them."""
        return self.batch_size > 0 or self.changes_patches


@dataclass(frozen=True)
class DistillConfig:
    """A student: its own views first (cross-entropy alone), then cross-entropy plus the distillation term."""

    objective: Literal["soft_cross_entropy", "one_sided"] = parameter(
        "soft_cross_entropy", "the distillation term: two-sided (Hinton) or its negative part only (paper)"
    )
    temperature: float = parameter(2.0, "temperature 1/τ of the soft outputs", **above(0), traced=True)
    logit_cap: float = parameter(
        0.0,
        "logits are truncated at this cap; 0 means the paper's temperature², inf means none",
        **at_least(0),
        traced=True,
    )
    weight: float = parameter(4.0, "weight η'/η of the distillation term", **at_least(0), traced=True)
    teacher_scale: float = parameter(
        1.0, "constant that the teacher's averaged logits are multiplied by", **above(0), traced=True
    )
    onset_step: int = parameter(
        800, "steps of cross-entropy alone before the teacher sets in", **at_least(0), traced=True
    )
    num_steps: int = parameter(3000, "steps after the onset", **at_least(0), traced=True)
    generations: int = parameter(1, "self-distillation generations (each student teaches the next)", **at_least(1))

    @property
    def cap(self) -> float:
        """The truncation of the logits, which is `logit_cap`, or the paper's 1/τ² where that is 0."""
        return self.logit_cap if self.logit_cap > 0 else self.temperature**2


@dataclass(frozen=True)
class Study:
    """What to run: the world, the network, how it is trained and distilled, and how often."""

    data: DataConfig = DataConfig()
    network: NetworkConfig = NetworkConfig()
    train: TrainConfig = TrainConfig()
    distill: DistillConfig = DistillConfig()
    self_distill: DistillConfig = DistillConfig(objective="one_sided")
    system: Literal["network", "average", "lazy", "linearised", "random_features"] = parameter(
        "network", "what is trained: the network, or a system that the paper contrasts it with (contrasts.systems)"
    )
    output_scale: float = parameter(
        1.0,
        "α of system = lazy, outputs α (F − F at the start): 1 is the network, large α the linearised one",
        **at_least(1),
        traced=True,
    )
    preset: str = parameter("custom", "name of the preset that this study started from", traced=True)
    seed: int = parameter(
        0, "base seed of every random stream", check=lambda v: 0 <= v < 2**31, allowed="0 … 2³¹−1", traced=True
    )
    seeds: int = parameter(
        24, "single networks per replicate (and members of the ensemble)", **at_least(1), traced=True
    )
    replicates: int = parameter(3, "fresh training sets", **at_least(1), traced=True)
    students: int = parameter(4, "students of each kind per replicate", **at_least(1), traced=True)

    def __post_init__(self) -> None:
        validate(self)

    @property
    def run_id(self) -> str:
        """Twelve hexadecimal digits that name this configuration (SHA-256 of its canonical JSON)."""
        return hashlib.sha256(json.dumps(to_mapping(self), sort_keys=True).encode()).hexdigest()[:12]


@functools.cache
def _sections(cls: type) -> dict[str, type]:
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls) if dataclasses.is_dataclass(hints[f.name])}


@functools.cache
def all_fields() -> dict[str, tuple[dataclasses.Field[Any], Any]]:
    """Every parameter by its dotted name, `data.num_classes` or `seeds`, with its field and type."""
    found: dict[str, tuple[dataclasses.Field[Any], Any]] = {}
    sections = _sections(Study)
    for section, cls in [*sections.items(), ("", Study)]:
        hints = typing.get_type_hints(cls)
        for f in dataclasses.fields(cls):
            if f.name not in sections:
                found[f"{section}.{f.name}" if section else f.name] = (f, hints[f.name])
    return found


def convert(name: str, value: Any) -> Any:
    """Turn a TOML value or a command-line word into the type of field `name`.

    Raises:
        ConfigError: the field is unknown (the nearest name is suggested) or the value has the wrong type.
    """
    fields = all_fields()
    if name not in fields:
        near = difflib.get_close_matches(name, fields, n=1) or difflib.get_close_matches(
            name.rpartition(".")[2], [n.rpartition(".")[2] for n in fields], n=1
        )
        hint = f"; did you mean {near[0]}?" if near else f"; sections are {', '.join(_sections(Study))}"
        shown = name if name.isprintable() else repr(name)  # a control character would break the line
        raise ConfigError(f"{shown} = {value!r}: no parameter has this name{hint}")
    kind = fields[name][1]
    if typing.get_origin(kind) is Literal:
        if value not in typing.get_args(kind):
            raise refusal(name, value, "one of " + ", ".join(typing.get_args(kind)))
        return value
    if kind is str:
        if not isinstance(value, str):
            raise refusal(name, value, "a name")
        return value
    if typing.get_origin(kind) in (tuple, types.GenericAlias):
        parts = value.strip("[]() ").replace(",", " ").split() if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise refusal(name, value, "a list of numbers")
        numbers = tuple(_number(name, value, part, float) for part in parts)
        if kind == Interval and len(numbers) != 2:
            raise refusal(name, value, "two numbers, low,high")
        return numbers
    return _number(name, value, value, kind)


def _number(name: str, whole: Any, value: Any, kind: type) -> Any:
    allowed = "a whole number" if kind is int else "a number"
    if isinstance(value, bool):
        raise refusal(name, whole, allowed)
    try:
        number = kind(value) if isinstance(value, str) else value
        finite = float(number) if isinstance(number, int) else number
    except (ValueError, OverflowError):
        raise refusal(name, whole, allowed) from None
    if kind is int and not isinstance(number, int):
        raise refusal(name, whole, allowed)
    if not isinstance(number, int | float) or math.isnan(finite):
        raise refusal(name, whole, allowed)
    return kind(number)


_NOT_ALONG_THE_FLOW = tuple(
    f"train.{name}"
    for name in (
        "batch_size", "optimizer", "momentum", "weight_decay", "label_smoothing", "mixup", "dropped_patches"
    )
)  # fmt: skip


def validate(study: Study) -> None:
    """Check every field and the conditions that join several.

    Raises:
        ConfigError: one line that names the first bad field, its value and what is allowed.
    """
    for name, (f, _) in all_fields().items():
        value = get(study, name)
        convert(name, value)
        numbers = value if isinstance(value, tuple) else (value,)
        if not name.endswith("logit_cap") and any(isinstance(v, float) and math.isinf(v) for v in numbers):
            raise refusal(name, value, "finite")
        check = f.metadata["check"]
        if check is not None and not check(value):
            raise refusal(name, value, f.metadata["allowed"])
    data = study.data
    if data.feature_sparsity > data.num_classes:
        raise refusal("data.feature_sparsity", data.feature_sparsity, f"at most num_classes = {data.num_classes}")
    if data.view_strengths and len(data.view_strengths) != data.num_views:
        raise refusal(
            "data.view_strengths", data.view_strengths, f"empty or {data.num_views} numbers, one for each view"
        )
    if data.num_patches < data.num_views * data.patches_per_feature:
        raise refusal(
            "data.num_patches",
            data.num_patches,
            f"≥ num_views · patches_per_feature = {data.num_views * data.patches_per_feature}",
        )
    if data.overflow_probability > 0.05:
        raise ConfigError(
            f"data.num_patches = {data.num_patches!r} is not allowed: {data.overflow_probability:.1%} of samples "
            "would hold more features than patches, at most 5 % may"
        )
    if data.representation == "dense" and data.patch_dim < data.num_features:
        raise refusal("data.patch_dim", data.patch_dim, f"≥ num_classes · num_views = {data.num_features} in dense")
    if data.representation == "limit_single_view_noise" and data.num_single_view_train >= data.num_train:
        raise refusal("data.num_single_view_train", data.num_single_view_train, f"< num_train = {data.num_train}")
    if study.train.batch_size > data.num_train:
        raise refusal("train.batch_size", study.train.batch_size, f"at most data.num_train = {data.num_train}")
    if study.train.solver == "gradient_flow":
        _only_defaults(study, _NOT_ALONG_THE_FLOW, "train.solver = 'gradient_flow'")
    if study.train.momentum and study.train.optimizer != "sgd":
        raise refusal("train.momentum", study.train.momentum, f"0 with train.optimizer = {study.train.optimizer!r}")
    if study.system != "lazy" and study.output_scale != 1:
        raise refusal("output_scale", study.output_scale, f"1 with system = {study.system!r}; it is of lazy")
    if study.system != "network":
        _only_defaults(study, ("train.solver", *_NOT_ALONG_THE_FLOW), f"system = {study.system!r}")
    if study.train.optimizer != "sgd":
        import optax

        try:
            optimizer = getattr(optax, study.train.optimizer)(study.train.learning_rate)
        except (AttributeError, TypeError):
            optimizer = None
        if not isinstance(optimizer, optax.GradientTransformation):
            raise refusal("train.optimizer", study.train.optimizer, "an optax optimiser that takes a learning rate")


def _only_defaults(study: Study, names: tuple[str, ...], where: str) -> None:
    """Refuse other values than the defaults of these fields."""
    for name in names:
        value, default = get(study, name), all_fields()[name][0].default
        if value != default:
            raise refusal(name, value, f"{default} with {where}")


def get(study: Study, name: str) -> Any:
    """The value of a field by its dotted name."""
    section, _, leaf = name.rpartition(".")
    return getattr(getattr(study, section) if section else study, leaf)


def to_mapping(study: Study) -> dict[str, Any]:
    """The study as nested plain values, ready for JSON or TOML."""
    return dataclasses.asdict(study)


def replace(study: Study, changes: Mapping[str, Any]) -> Study:
    """A copy of `study` with dotted fields changed: `replace(study, {"data.num_classes": "20"})`.

    Raises:
        ConfigError: an unknown field, a wrong type, or a value that is not allowed.
    """
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
            if key not in _sections(Study):
                convert(key, dict(value))
                raise refusal(key, dict(value), "a value, not a section")
            flat.update({f"{key}.{leaf}": v for leaf, v in value.items()})
        else:
            flat[key] = value
    return replace(base if base is not None else Study(), flat)

"""The parameters of training: steps, optimiser and its options, solver, precision, blocks, records."""

from __future__ import annotations

import importlib
import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from multiview.parameters import BELOW_ONE, above, at_least, parameter
from multiview.systems.table import FLOW, STEP

# Optimisers of optax and of optax.contrib, by name: most of their other transformations run as well, but descend not at
# all. Left out: what also needs losses or functions, other parameters to be judged at, or one key for all networks.
OPTIMIZERS = (
    "sgd", "adabelief", "adadelta", "adafactor", "adagrad", "adam", "adamax", "adamaxw", "adamw", "adan", "amsgrad",
    "fromage", "lamb", "lars", "lion", "nadam", "nadamw", "novograd", "optimistic_adam_v2",
    "optimistic_gradient_descent", "radam", "rmsprop", "rprop", "sign_sgd", "signum", "sm3", "yogi",
)  # fmt: skip
CONTRIBUTED_OPTIMIZERS = (
    "acprop", "ademamix", "adopt", "cocob", "dadapt_adamw", "dog", "dowg", "galore", "madgrad", "muon", "prodigy",
    "simplified_ademamix",
)  # fmt: skip
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_ARGUMENT = rf"\s*(\w+)\s*=\s*(True|False|{_NUMBER})\s*"
_OPTIMIZER = re.compile(rf"(\w+)(?:\(({_ARGUMENT}(?:,{_ARGUMENT})*)\))?", re.ASCII)


def split_optimizer(text: str) -> tuple[str, dict[str, float]]:
    """Split an optimiser such as `adam(b1=0.8, eps=1e-6)` into its name and its arguments.

    Args:
        text: the value of `train.optimizer`.

    Returns:
        The name, "" if the text is no optimiser, and the arguments by name.
    """
    match = _OPTIMIZER.fullmatch(text)
    if match is None or match[1] not in OPTIMIZERS + CONTRIBUTED_OPTIMIZERS:
        return "", {}
    switches = {"True": True, "False": False}
    pairs = re.findall(_ARGUMENT, match[2] or "", re.ASCII)
    arguments = {name: switches[value] if value in switches else float(value) for name, value in pairs}
    return (match[1], arguments) if all(map(math.isfinite, arguments.values())) else ("", {})


def optimizer_function(name: str) -> Callable[..., Any]:
    """Find an optimiser in optax or optax.contrib; a name moves from there to optax when it has proved itself."""
    optax = importlib.import_module("optax")  # slow, and seldom needed here
    return getattr(optax if hasattr(optax, name) else importlib.import_module("optax.contrib"), name)


def optimizer_arguments(name: str) -> dict[str, type]:
    """List what an optimiser takes beside its learning rate: numbers and switches, by name, with their types.

    Momentum of sgd is a parameter of its own.

    Args:
        name: one of the optimisers.

    Returns:
        The type of each argument: float, int or bool.
    """
    if name == "sgd":
        return {}
    defaults = {n: p.default for n, p in inspect.signature(optimizer_function(name)).parameters.items()}
    return {n: type(d) for n, d in defaults.items() if n != "learning_rate" and type(d) in (float, int, bool)}


@dataclass(frozen=True)
class TrainConfig:
    """Training of the single networks: full-batch descent, unless `batch_size` says otherwise.

    Example:
        >>> import multiview as mv
        >>> train = mv.TrainConfig(num_steps=200, batch_size=32)
        >>> train.draws, train.changes_patches  # mini-batches are random, but hold the samples' own patches
        (True, False)
    """

    learning_rate: float = parameter(16.0, **above(0), traced=True)
    """Step size η."""
    num_steps: int = parameter(1500, **at_least(1), traced=True)
    """Number of steps T; training stops at this fixed time η·T."""
    batch_size: int = parameter(0, **at_least(0), option=STEP)
    """Number of samples drawn afresh for each step; 0 means all samples."""
    optimizer: str = parameter(
        "sgd",
        check=lambda v: split_optimizer(v)[0] != "",
        allowed="an optimiser of optax that needs only a gradient, if need be with arguments, adam(b1=0.8, eps=1e-6): "
        + ", ".join(OPTIMIZERS + CONTRIBUTED_OPTIMIZERS),
        option=STEP,
    )
    """An optax optimiser that needs a learning rate and a gradient, no more; its own arguments in brackets."""
    momentum: float = parameter(0.0, **BELOW_ONE, option=STEP)
    """Momentum of sgd, here written m; the step size is then η (1 − m), which keeps the theory's times."""
    weight_decay: float = parameter(0.0, **at_least(0), option=STEP)
    """Weight decay λ: the gradient is that of the loss plus λ w."""
    label_smoothing: float = parameter(0.0, **BELOW_ONE, option=STEP)
    """Weight ε of the uniform distribution in the targets; not used under a teacher."""
    mixup: Literal["none", "uniform", "midpoint"] = parameter("none", option=STEP)
    """Mix two samples and their targets, with a uniform share or half and half; not used under a teacher."""
    dropped_patches: float = parameter(0.0, **BELOW_ONE, option=STEP)
    """Probability with which a patch is left out of a step; not used under a teacher."""
    solver: Literal["gradient_descent", "multirate", "gradient_flow"] = parameter("gradient_descent", option=FLOW)
    """Steps of size η; the same steps at a cost of k² (multirate); or adaptive steps along the gradient flow to η·T."""
    flow_tolerance: float = parameter(0.6, check=lambda v: 1e-6 <= v <= 1, allowed="a number in [1e-6, 1]", traced=True)
    """Error allowed in one step of gradient_flow, in units of σ₀ plus the size of an overlap."""
    dtype: Literal["float32", "float64"] = parameter("float32")
    """Precision of training."""
    matrix_precision: Literal["default", "high", "highest"] = parameter("highest")
    """Precision of matrix products on accelerators: highest is full float32 (the CPU knows no other)."""
    block_size: int = parameter(0, **at_least(0))
    """Number of seeds trained together by one compiled program; 0 means 2 on the CPU and 64 on an accelerator."""
    num_records: int = parameter(40, **at_least(2), traced=True)
    """Number of log-spaced times at which measures are recorded."""

    @property
    def changes_patches(self) -> bool:
        """Whether steps see other patches than the samples' own; these are then represented as vectors."""
        return self.mixup != "none" or self.dropped_patches > 0

    @property
    def draws(self) -> bool:
        """Whether steps are random, so that each network has a key for them."""
        return self.batch_size > 0 or self.changes_patches

"""multiview: a simulator of the multi-view theory of ensembles and distillation.

Public names are imported on first use, so that `import multiview` and `multiview --help` stay fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "DataConfig": "config",
    "DistillConfig": "config",
    "NetworkConfig": "config",
    "Study": "config",
    "TrainConfig": "config",
    "replace": "config",
    "smoothed_relu": "network.activation",
    "logits": "network.outputs",
    "Parameters": "network.parameters",
    "init": "network.parameters",
    "ConfigError": "parameters",
    "load_preset": "presets",
    "load_toml": "presets",
    "preset_names": "presets",
    "to_datatree": "stores.labelled",
    "open_results": "stores.store",
    "write_store": "stores.store",
    "StudyResult": "studies.study",
    "run_study": "studies.study",
    "regime": "theory",
    "time_scales": "theory",
    "train_networks": "training.blocks",
    "Task": "world.task",
    "Claim": "verdicts.claims",
    "check_claims": "verdicts.claims",
    "predict": "verdicts.prediction",
    "verify": "verdicts.verification",
    "load_dataset": "world.files",
    "save_dataset": "world.files",
    "make_multiview": "world.make",
    "represent": "world.patches",
    "MultiViewDataset": "world.samples",
    "orthonormal_features": "world.samples",
    "sample_dataset": "world.samples",
    "training_set": "world.samples",
    "run_sweep": "sweeps.runner",
}

__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"multiview.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'multiview' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


if TYPE_CHECKING:  # so that type checkers and editors see what __getattr__ gives
    from multiview.config import DataConfig as DataConfig
    from multiview.config import DistillConfig as DistillConfig
    from multiview.config import NetworkConfig as NetworkConfig
    from multiview.config import Study as Study
    from multiview.config import TrainConfig as TrainConfig
    from multiview.config import replace as replace
    from multiview.network.activation import smoothed_relu as smoothed_relu
    from multiview.network.outputs import logits as logits
    from multiview.network.parameters import Parameters as Parameters
    from multiview.network.parameters import init as init
    from multiview.parameters import ConfigError as ConfigError
    from multiview.presets import load_preset as load_preset
    from multiview.presets import load_toml as load_toml
    from multiview.presets import preset_names as preset_names
    from multiview.stores.labelled import to_datatree as to_datatree
    from multiview.stores.store import open_results as open_results
    from multiview.stores.store import write_store as write_store
    from multiview.studies.study import StudyResult as StudyResult
    from multiview.studies.study import run_study as run_study
    from multiview.sweeps.runner import run_sweep as run_sweep
    from multiview.theory import regime as regime
    from multiview.theory import time_scales as time_scales
    from multiview.training.blocks import train_networks as train_networks
    from multiview.verdicts.claims import Claim as Claim
    from multiview.verdicts.claims import check_claims as check_claims
    from multiview.verdicts.prediction import predict as predict
    from multiview.verdicts.verification import verify as verify
    from multiview.world.files import load_dataset as load_dataset
    from multiview.world.files import save_dataset as save_dataset
    from multiview.world.make import make_multiview as make_multiview
    from multiview.world.patches import represent as represent
    from multiview.world.samples import MultiViewDataset as MultiViewDataset
    from multiview.world.samples import orthonormal_features as orthonormal_features
    from multiview.world.samples import sample_dataset as sample_dataset
    from multiview.world.samples import training_set as training_set
    from multiview.world.task import Task as Task

"""multiview: a simulator of the multi-view theory of ensembles and distillation.

Public names are imported on first use, so that `import multiview` and `multiview --help` stay fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "ConfigError": "config",
    "DataConfig": "config",
    "DistillConfig": "config",
    "NetworkConfig": "config",
    "Study": "config",
    "TrainConfig": "config",
    "load_preset": "config",
    "load_toml": "config",
    "preset_names": "config",
    "replace": "config",
    "MultiViewDataset": "data",
    "load_dataset": "data",
    "make_multiview": "data",
    "orthonormal_features": "data",
    "sample_dataset": "data",
    "save_dataset": "data",
    "training_set": "data",
    "represent": "representations",
    "Parameters": "network",
    "init": "network",
    "logits": "network",
    "smoothed_relu": "network",
    "Task": "training",
    "train_networks": "batching",
    "run_study": "study",
    "StudyResult": "study",
    "predict": "prediction",
    "Claim": "claims",
    "check_claims": "claims",
    "verify": "verification",
    "regime": "theory",
    "time_scales": "theory",
    "open_results": "store",
    "write_store": "store",
    "to_datatree": "results",
}

__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    if name == "sweep":
        return importlib.import_module("multiview.sweep")
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"multiview.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'multiview' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


if TYPE_CHECKING:  # so that type checkers and editors see what __getattr__ gives
    from multiview.batching import train_networks as train_networks
    from multiview.claims import Claim as Claim
    from multiview.claims import check_claims as check_claims
    from multiview.config import ConfigError as ConfigError
    from multiview.config import DataConfig as DataConfig
    from multiview.config import DistillConfig as DistillConfig
    from multiview.config import NetworkConfig as NetworkConfig
    from multiview.config import Study as Study
    from multiview.config import TrainConfig as TrainConfig
    from multiview.config import load_preset as load_preset
    from multiview.config import load_toml as load_toml
    from multiview.config import preset_names as preset_names
    from multiview.config import replace as replace
    from multiview.data import MultiViewDataset as MultiViewDataset
    from multiview.data import load_dataset as load_dataset
    from multiview.data import make_multiview as make_multiview
    from multiview.data import orthonormal_features as orthonormal_features
    from multiview.data import sample_dataset as sample_dataset
    from multiview.data import save_dataset as save_dataset
    from multiview.data import training_set as training_set
    from multiview.network import Parameters as Parameters
    from multiview.network import init as init
    from multiview.network import logits as logits
    from multiview.network import smoothed_relu as smoothed_relu
    from multiview.prediction import predict as predict
    from multiview.representations import represent as represent
    from multiview.results import to_datatree as to_datatree
    from multiview.store import open_results as open_results
    from multiview.store import write_store as write_store
    from multiview.study import StudyResult as StudyResult
    from multiview.study import run_study as run_study
    from multiview.theory import regime as regime
    from multiview.theory import time_scales as time_scales
    from multiview.training import Task as Task
    from multiview.verification import verify as verify

"""multiview: a simulator of the multi-view theory of ensembles and distillation.

The public names are listed once, as imports that type checkers and editors read. At run time the same lines, read from
this file, say where a name lives: it is imported on first use, so that `import multiview` and `multiview --help` are
fast.
"""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from multiview.config import DataConfig as DataConfig
    from multiview.config import DistillConfig as DistillConfig
    from multiview.config import NetworkConfig as NetworkConfig
    from multiview.config import Study as Study
    from multiview.config import TrainConfig as TrainConfig
    from multiview.config import replace as replace
    from multiview.figures.kinds import make_figure as make_figure
    from multiview.figures.style import save_figure as save_figure
    from multiview.measures.recorded import Measure as Measure
    from multiview.measures.recorded import record_measures as record_measures
    from multiview.network.activation import smoothed_relu as smoothed_relu
    from multiview.network.outputs import logits as logits
    from multiview.network.parameters import Parameters as Parameters
    from multiview.network.parameters import init_network as init_network
    from multiview.parameters import ConfigError as ConfigError
    from multiview.presets import load_preset as load_preset
    from multiview.presets import load_toml as load_toml
    from multiview.presets import preset_names as preset_names
    from multiview.stores.labelled import to_datatree as to_datatree
    from multiview.stores.store import open_results as open_results
    from multiview.stores.store import write_store as write_store
    from multiview.stores.tables import summarise as summarise
    from multiview.studies.evaluation import count_test_errors as count_test_errors
    from multiview.studies.outcome import StudyResult as StudyResult
    from multiview.studies.study import run_study as run_study
    from multiview.sweeps.growth import join_sweeps as join_sweeps
    from multiview.sweeps.runner import run_sweep as run_sweep
    from multiview.systems.blocks import Trained as Trained
    from multiview.systems.blocks import answer_networks as answer_networks
    from multiview.systems.blocks import train_networks as train_networks
    from multiview.theory import check_regime as check_regime
    from multiview.theory import time_scales as time_scales
    from multiview.verdicts.claims import Claim as Claim
    from multiview.verdicts.claims import check_claims as check_claims
    from multiview.verdicts.prediction import predict_study as predict_study
    from multiview.verdicts.verification import verify as verify
    from multiview.world.files import load_dataset as load_dataset
    from multiview.world.files import save_dataset as save_dataset
    from multiview.world.make import make_multiview as make_multiview
    from multiview.world.own import OwnWorld as OwnWorld
    from multiview.world.patches import represent as represent
    from multiview.world.samples import MultiViewDataset as MultiViewDataset
    from multiview.world.task import Task as Task
    from multiview.world.world import Chunk as Chunk
    from multiview.world.world import World as World

if not TYPE_CHECKING:  # a type checker that saw these would take every misspelt name for a public one
    _PUBLIC = {
        name: module
        for module, name in re.findall(
            r"^    from (multiview\.[\w.]+) import (\w+) as \2$", __spec__.loader.get_source(__name__), re.MULTILINE
        )
    }
    __all__ = ["__version__", *sorted(_PUBLIC)]

    def __getattr__(name):
        if name not in _PUBLIC:
            raise AttributeError(f"module 'multiview' has no attribute {name!r}")
        return getattr(importlib.import_module(_PUBLIC[name]), name)

    def __dir__():
        return __all__

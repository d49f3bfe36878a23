"""The main job: predict, run, judge. `multiview verify` prints what this returns."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

from multiview import __version__
from multiview.claims import Claim, check_claims, check_verifiable
from multiview.config import Study, load_preset, to_mapping
from multiview.data import MultiViewDataset
from multiview.prediction import Prediction, predict
from multiview.results import device_name, versions
from multiview.study import Report, StudyResult, run_study


class Verification(NamedTuple):
    """What `verify` found: the measured study, the predictions made before it, and the claims."""

    result: StudyResult
    predictions: dict[str, Prediction]
    claims: list[Claim]

    def to_mapping(self) -> dict[str, Any]:
        """The JSON document of `multiview verify --json`."""
        study = self.result.study
        return {
            "preset": study.preset,
            "version": __version__,
            "device": device_name(),
            "versions": versions(),
            "config": to_mapping(study),
            "run_id": study.run_id,
            "seconds": round(self.result.seconds, 2),
            "dropped_features": self.result.dropped_features,
            "claims": [c.to_mapping() for c in self.claims],
        }


def enable_precision(study: Study) -> None:
    """Let JAX compute in double precision if the study asks for it."""
    if study.train.dtype == "float64":
        jax.config.update("jax_enable_x64", True)


def verify(
    study: Study | str = "reference",
    report: Report | None = None,
    predictions: dict[str, Prediction] | None = None,
    *,
    own_data: MultiViewDataset | None = None,
    own_features: jax.Array | None = None,
    own_teacher: np.ndarray | None = None,
) -> Verification:
    """Check the claims of the theory.

    Args:
        study: a configuration or the name of a preset.
        report: progress, see `run_study`.
        predictions: made before; by default made here, before training.
        own_data: a user's own training set, see `run_study`.
        own_features: its feature vectors, see `run_study`.
        own_teacher: a user's own teacher logits, see `run_study`.

    Returns:
        The measured study, predictions and claims.

    Raises:
        ConfigError: an unknown preset, or a study whose unit μ is 0.
    """
    study = load_preset(study) if isinstance(study, str) else dataclasses.replace(study)
    check_verifiable(study)
    enable_precision(study)
    if predictions is None:
        predictions = predict(study)
    result = run_study(study, report, own_data=own_data, own_features=own_features, own_teacher=own_teacher)
    return Verification(result, predictions, check_claims(result, predictions))

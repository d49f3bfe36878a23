"""The main job: predict, run, judge. `multiview verify` prints what this returns."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from multiview import __version__
from multiview.config import Study, to_mapping
from multiview.parameters import ConfigError
from multiview.presets import load_preset
from multiview.settings import compiler_settings
from multiview.stores.provenance import device_name, versions
from multiview.studies.outcome import Group, StudyResult
from multiview.studies.study import ProgressCallback, run_study, total_network_steps
from multiview.verdicts.claims import Claim, check_claims, check_verifiable
from multiview.verdicts.prediction import Prediction, predict_study, predicted_networks
from multiview.world.world import World


class Verification(NamedTuple):
    """Result of `verify`: the measured study, the predictions made before it, and the claims."""

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
            "settings": compiler_settings(),
            "config": to_mapping(study),
            "run_id": study.run_id,
            "seconds": round(self.result.seconds, 2),
            "stopping_rule": f"{study.train.num_steps} steps of {study.train.learning_rate:g}",
            "dropped_features": self.result.dropped_features,
            "runs": {name: _runs(group, study) for name, group in self.result.groups.items()},
            "claims": [c.to_mapping() for c in self.claims],
        }


def _runs(group: Group, study: Study) -> dict[str, Any]:
    """Every run of a kind, by replicate and seed."""
    return {
        "train_wrong": group.train_wrong.tolist(),
        "finite": group.finite.tolist(),
        "error": group.errors.in_units_of_mu(study.data.single_view_fraction).round(6).tolist(),
    }


def predict_first(study: Study, report: ProgressCallback | None = None) -> dict[str, Prediction]:
    """Predict a study, as the first part of a verification.

    Args:
        study: the configuration.
        report: called with what is being done, and the work done and in all, training included.
    """
    if report is None:
        return predict_study(study)
    done, total = 0, predicted_networks(study) + total_network_steps(study)

    def progress(networks: int) -> None:
        nonlocal done
        done += networks
        report("predicting what ideal winners would score", done, total)

    progress(0)
    return predict_study(study, progress=progress)


def verify(
    study: Study | str = "reference",
    report: ProgressCallback | None = None,
    predictions: dict[str, Prediction] | None = None,
    *,
    world: World | None = None,
    teacher_logits: np.ndarray | None = None,
) -> Verification:
    """Check the claims of the theory.

    Args:
        study: a configuration or the name of a preset.
        report: progress, see `run_study`; the prediction is part of the work.
        predictions: made before; by default made here, before training.
        world: where samples come from, see `run_study`.
        teacher_logits: of a user's own teacher, see `run_study`.

    Returns:
        The measured study, predictions and claims.

    Raises:
        ConfigError: an unknown preset, a study whose unit μ is 0, or own data without its ground truth.

    Example:
        >>> import multiview as mv
        >>> verification = mv.verify("smoke")
        >>> verification.claims[0].id
        'train_error_single'
    """
    study = load_preset(study) if isinstance(study, str) else dataclasses.replace(study)
    check_verifiable(study)
    if world is not None and not bool((world.train().coefficients > 0).any()):
        raise ConfigError(
            "data: arrays 'patch_feature' and 'coefficients' are missing; claims are judged against the truth"
        )
    if predictions is None:
        predictions = predict_first(study, report)
    ahead = predicted_networks(study)

    def after_prediction(what: str, done: int, total: int) -> None:
        if report is not None:
            report(what, ahead + done, ahead + total)

    result = run_study(study, after_prediction, world=world, teacher_logits=teacher_logits)
    return Verification(result, predictions, check_claims(result, predictions))

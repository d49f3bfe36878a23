"""Results of a study: networks by kind, ensembles, dark knowledge."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
from jax import Array

from multiview.config import Study
from multiview.measures.errors import ErrorCounts
from multiview.studies.evaluation import error_counts
from multiview.systems.blocks import Trained


class Group(NamedTuple):
    """Networks of one kind from all replicates, as arrays [R, S, …].

    Attributes:
        weights: weights or, in the limit, feature overlaps [R, S, D, k, m].
        train_wrong: number of wrong training samples [R, S].
        train_error: weighted training error [R, S].
        finite: whether all numbers of a network are finite [R, S].
        times: recorded steps [T], counted from the network's start.
        records: recorded measures, each [R, S, T, …].
        errors: test errors.
    """

    weights: np.ndarray
    train_wrong: np.ndarray
    train_error: np.ndarray
    finite: np.ndarray
    times: np.ndarray
    records: dict[str, np.ndarray]
    errors: ErrorCounts


class StudyResult(NamedTuple):
    """Result of a study.

    Attributes:
        study: the configuration.
        groups: networks by kind: single, distilled, self_distilled, self_distilled_2, …
        ensembles: test errors of ensembles by name: `ensemble` of all networks [R, 1], `ensemble_of_K` of K networks
            each [R, S // K].
        moments: S_{i,ℓ} of each training set [R, k, L].
        dark_knowledge: share of pairs of classes that the ensemble orders right [R].
        dropped_features: number of foreign features without a free patch, over all training sets.
        features: feature vectors [kL, d] in the dense representation, else None.
        seconds: wall time in seconds.

    Example:
        >>> import multiview as mv
        >>> result = mv.run_study(mv.load_preset("smoke"))
        >>> result.groups["single"].weights.ndim
        5
    """

    study: Study
    groups: dict[str, Group]
    ensembles: dict[str, ErrorCounts]
    moments: np.ndarray
    dark_knowledge: np.ndarray
    dropped_features: int
    features: np.ndarray | None
    seconds: float


class Replicate(NamedTuple):
    """Result of one replicate of a study.

    Attributes:
        trained: networks by kind, without the states that only training needs.
        wrong: numbers of wrong multi-view and single-view test samples [S, 2], for each kind and each ensemble.
        dark_knowledge: share of pairs of classes that the ensemble orders right.
        moments: S_{i,ℓ} of the training set [k, L].
        dropped_features: number of foreign features without a free patch in the training set.
    """

    trained: dict[str, Trained]
    wrong: dict[str, np.ndarray]
    dark_knowledge: float
    moments: np.ndarray
    dropped_features: int


def collect(study: Study, replicates: list[Replicate], features: Array | None, seconds: float) -> StudyResult:
    """Collect the replicates of one study into its result.

    Args:
        study: the configuration.
        replicates: results of the replicates, in order.
        features: feature vectors [kL, d] in the dense representation, else None.
        seconds: wall time of the study.

    Returns:
        The result.
    """
    groups = {}
    for name in replicates[0].trained:
        runs = [r.trained[name] for r in replicates]
        records = jax.tree.map(lambda *a: np.stack(a), *[t.records for t in runs])
        groups[name] = Group(
            weights=np.stack([np.asarray(t.weights) for t in runs]),
            train_wrong=records["train_wrong"][:, :, -1],
            train_error=records["train_error"][:, :, -1],
            finite=np.stack([t.finite for t in runs]),
            times=runs[0].times + (0 if name == "single" else _onset(study, name)),
            records=records,
            errors=error_counts([r.wrong[name] for r in replicates], study),
        )
    ensembles = [n for n in replicates[0].wrong if n not in groups]
    return StudyResult(
        study=study,
        groups=groups,
        ensembles={n: error_counts([r.wrong[n] for r in replicates], study) for n in ensembles},
        moments=np.stack([r.moments for r in replicates]),
        dark_knowledge=np.array([r.dark_knowledge for r in replicates]),
        dropped_features=sum(r.dropped_features for r in replicates),
        features=None if features is None else np.asarray(features),
        seconds=seconds,
    )


def _onset(study: Study, name: str) -> int:
    return (study.distill if name == "distilled" else study.self_distill).onset_step


def start_and_final_overlaps(result: StudyResult, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the overlaps Λ of a group at the first and the last recorded time, each [R, S, k, L]."""
    overlap = result.groups[name].records["largest_overlap"]
    return overlap[:, :, 0], overlap[:, :, -1]

"""Diversity of networks that differ only in their start: in the views that they learned and in their errors."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from scipy.special import comb, softmax

from multiview.config import Study, from_mapping, replace
from multiview.measures.features import learned_views, winners
from multiview.parameters import ConfigError
from multiview.studies.outcome import StudyResult
from multiview.systems.blocks import answer_networks
from multiview.world.world import World


def agreement(choices: np.ndarray) -> np.ndarray:
    r"""Compute the share of pairs of networks that agree, $\frac{1}{S(S-1)} \sum_{a \ne b} 1[c_a = c_b]$.

    Args:
        choices: C choices of each network, for example the winning view of each class: whole numbers [..., S, C].

    Returns:
        Agreement averaged over the C choices [...]: 1/2 for fair coins, 1/L for L views of equal chance; NaN for S = 1.
    """
    networks = choices.shape[-2]
    equal = (choices[..., :, None, :] == choices[..., None, :, :]).mean(-1).sum((-1, -2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((equal - networks) / np.float64(networks * (networks - 1)))


def agreement_of_winners(overlap: np.ndarray) -> np.ndarray:
    """Compute the share of pairs of networks that have the same winning view, averaged over classes.

    Args:
        overlap: Λ of S networks, shape [..., S, k, L].

    Returns:
        Agreement [...]; 1/L if each network's winner is one of L views with equal chance.
    """
    return agreement(winners(overlap)[0])


def error_correlation(wrong: np.ndarray) -> float:
    r"""Compute the mean correlation of errors over pairs, $\frac{1}{|P|}\sum_{(a,b)} \mathrm{corr}(e_a, e_b)$.

    $e_a \in \{0, 1\}^n$ marks the samples that network a got wrong. Networks that are always or never wrong have no
    correlation with others and are left out.

    Args:
        wrong: whether each network got each sample wrong, truth values [S, n].

    Returns:
        The correlation in [−1, 1]; NaN if no pair is left.
    """
    errors = np.asarray(wrong, float)
    errors = errors[errors.std(1) > 0]
    if len(errors) < 2:
        return float("nan")
    matrix = np.corrcoef(errors)
    return float(matrix[np.triu_indices(len(errors), 1)].mean())


def coverage(learned: np.ndarray) -> np.ndarray:
    r"""Compute the expected share of views that at least one of K of the S networks has learned.

    The mean runs over all choices of K networks: a view that c of the S networks have learned is missed
    by a share $\binom{S-c}{K}/\binom{S}{K}$ of the choices.

    Args:
        learned: which views each network has learned, truth values [..., S, k, L].

    Returns:
        Shares [..., S] for K = 1 … S.
    """
    networks = learned.shape[-3]
    missing = networks - learned.sum(-3)  # [..., k, L]
    size = np.arange(1, networks + 1)
    missed = comb(missing[..., None], size) / comb(networks, size)
    return np.asarray(1 - missed.mean((-2, -3)))


class CountedViews(NamedTuple):
    """Confidence by the number of learned views in a sample, arrays [L + 1] for 0 … L views.

    Attributes:
        pairs: number of pairs (network, sample) with this count.
        confidence: mean largest probability of these pairs; NaN if there are none.
        accuracy: share of these pairs that are classified right.
    """

    pairs: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def confidence_by_views(counts: np.ndarray, outputs: np.ndarray, labels: np.ndarray, num_views: int) -> CountedViews:
    r"""Compute the mean confidence $\max_i \mathrm{softmax}_i(F)$ of pairs (network, sample) by their count of views.

    Args:
        counts: number of views that the sample carries strongly and the network has learned [S, n].
        outputs: logits [S, n, k].
        labels: labels [n].
        num_views: L, the largest count.

    Returns:
        Pairs, confidence and accuracy by count.
    """
    confidence = softmax(np.asarray(outputs, float), axis=-1).max(-1)
    right = outputs.argmax(-1) == labels
    pairs = np.array([(counts == c).sum() for c in range(num_views + 1)])
    with np.errstate(invalid="ignore"):
        mean = [
            np.array([np.where(counts == c, value, 0.0).sum() for c in range(num_views + 1)]) / pairs
            for value in (confidence, right)
        ]
    return CountedViews(pairs, *mean)


class Diversity(NamedTuple):
    """Diversity of one kind of network, over R replicates of S networks.

    Attributes:
        agreement_of_winners: share of pairs of networks with the same winning view [R].
        coverage: expected share of views that at least one of K networks has learned, for K = 1 … S [R, S].
        error_correlation: mean correlation of errors on single-view test samples [R]; NaN if fewer than two networks
            err.
        confidence: confidence and accuracy by the number of learned views, one `CountedViews` for each replicate.
    """

    agreement_of_winners: np.ndarray
    coverage: np.ndarray
    error_correlation: np.ndarray
    confidence: list[CountedViews]


def _stored(results: StudyResult | xr.DataTree, group: str) -> tuple[Study, dict[str, Any], Any]:
    """Read the study, the arrays of one kind of network, and the features, from a result or a store."""
    if isinstance(results, StudyResult):
        kinds: dict[str, Any] = {n: g.records | {"weights": g.weights} for n, g in results.groups.items()}
        study, features = results.study, results.features
    elif isinstance(results, xr.DataTree):
        kinds = {n: {str(v): a.values for v, a in node.data_vars.items()} for n, node in results.children.items()}
        study = from_mapping(json.loads(results.attrs["config"]))
        root = results.to_dataset()
        features = root["features"].values if "features" in root else None
    else:
        raise ConfigError("store: a sweep keeps no networks; train the point you want with multiview train")
    if group not in kinds:
        raise ConfigError(f"group = {group!r} is not allowed: it must be one of {', '.join(kinds)}")
    for name in ("largest_overlap", "weights"):
        if name not in kinds[group]:
            raise ConfigError(f"store: {name} of {group} is missing; it is stored with multiview train")
    return study, kinds[group], features


def study_diversity(results: StudyResult | xr.DataTree, group: str = "single", num_test: int = 1000) -> Diversity:
    """Measure the diversity of a study's networks, from `run_study` or from a store.

    Test samples are held out: they come from the study's own test sets. A sweep keeps no networks: apply
    `agreement_of_winners` and `coverage` to its variable `final_overlap`.

    Args:
        results: result of `run_study`, or a store of `multiview train` from `open_results`.
        group: the kind of network: single, distilled, self_distilled, …
        num_test: number of test samples of each kind.

    Returns:
        The measures.

    Raises:
        ConfigError: no such kind of network, or a store without networks.
    """
    study, arrays, features = _stored(results, group)
    final = np.asarray(arrays["largest_overlap"])[:, :, -1]
    learned = learned_views(final)
    correlation, confidence = [], []
    for replicate in range(len(final)):
        outputs, labels, counts, is_single = _on_test_samples(
            study, replicate, arrays["weights"][replicate], learned[replicate], features, num_test
        )
        correlation.append(error_correlation((outputs.argmax(-1) != labels)[:, is_single]))
        confidence.append(confidence_by_views(counts, outputs, labels, study.data.num_views))
    return Diversity(agreement_of_winners(final), coverage(learned), np.array(correlation), confidence)


def _on_test_samples(
    study: Study, replicate: int, weights: np.ndarray, learned: np.ndarray, features: Any, num_test: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Answer test samples.

    Returns:
        Logits [S, n, k], labels [n], number of views that a sample carries strongly and a network has learned [S, n],
        and whether samples are single-view [n].
    """
    study = replace(study, {"train.dtype": "float32"})
    world = World.of(study, own_features=features)
    outputs, labels, counts, is_single = [], [], [], []
    for chunk in world.held_out(replicate, {"multi_view": num_test, "single_view": num_test}):
        outputs.append(answer_networks(study, weights, chunk.noise_keys(len(weights)), chunk.task))
        chosen = np.asarray(chunk.task.data.chosen_view)
        strong = (chosen[:, None] < 0) | (np.arange(learned.shape[-1]) == chosen[:, None])
        counts.append((learned[:, chunk.labels] & strong).sum(-1))
        labels.append(chunk.labels)
        is_single.append(np.asarray(chunk.task.data.is_single_view))
    return np.concatenate(outputs, 1), np.concatenate(labels), np.concatenate(counts, 1), np.concatenate(is_single)

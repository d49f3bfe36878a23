"""Diversity: how much networks that differ by their start alone differ in what they learned and where they err."""

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
    r"""Share of pairs of networks that agree, $\frac{1}{S(S-1)} \sum_{a \ne b} 1[c_a = c_b]$.

    Args:
        choices: what each network chose, for example the winning view of each class: whole numbers [..., S, C].

    Returns:
        Agreement averaged over the C choices [...]. A fair coin's is 1/2, that of L equal views 1/L; NaN for S = 1.
    """
    networks = choices.shape[-2]
    equal = (choices[..., :, None, :] == choices[..., None, :, :]).mean(-1).sum((-1, -2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((equal - networks) / np.float64(networks * (networks - 1)))


def agreement_of_winners(overlap: np.ndarray) -> np.ndarray:
    r"""Share of (pair of networks, class) with the same winning view.

    Args:
        overlap: Λ of S networks, shape [..., S, k, L].

    Returns:
        Agreement [...]; 1/L where each network draws its views by fair lots.
    """
    return agreement(winners(overlap)[0])


def error_correlation(wrong: np.ndarray) -> float:
    r"""Mean correlation of errors over pairs of networks, $\frac{1}{|P|}\sum_{(a,b)} \mathrm{corr}(e_a, e_b)$.

    $e_a \in \{0, 1\}^n$ says which samples network a got wrong. Pairs in which one network errs always or never have
    no correlation and are left out.

    Args:
        wrong: truth values [S, n].

    Returns:
        A number in [−1, 1]; NaN if no pair is left.
    """
    errors = np.asarray(wrong, float)
    errors = errors[errors.std(1) > 0]
    if len(errors) < 2:
        return float("nan")
    matrix = np.corrcoef(errors)
    return float(matrix[np.triu_indices(len(errors), 1)].mean())


def coverage(learned: np.ndarray) -> np.ndarray:
    r"""Expected share of views that at least one of K of the S networks has learned.

    The mean over all choices of K networks: a view that c of them have is missed by $\binom{S-c}{K}/\binom{S}{K}$.

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
        pairs: (network, sample) pairs with so many.
        confidence: their mean largest probability, NaN where there are none.
        accuracy: the share that is classified right.
    """

    pairs: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def confidence_by_views(counts: np.ndarray, outputs: np.ndarray, labels: np.ndarray, num_views: int) -> CountedViews:
    r"""Feature count against confidence: mean $\max_i \mathrm{softmax}_i(F)$ of pairs with equal counts.

    Args:
        counts: views of its label that a sample carries strongly and the network has learned [S, n].
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
    """What `study_diversity` measures of one kind of network; R replicates, S networks each.

    Attributes:
        agreement_of_winners: share of equal winners [R].
        coverage: share of views known to one of K networks [R, S].
        error_correlation: on single-view test samples [R], NaN where fewer than two networks err.
        confidence: by the number of learned views [R] × (`CountedViews`).
    """

    agreement_of_winners: np.ndarray
    coverage: np.ndarray
    error_correlation: np.ndarray
    confidence: list[CountedViews]


def _stored(results: StudyResult | xr.DataTree, group: str) -> tuple[Study, dict[str, Any], Any]:
    """Study, overlaps and weights of one kind of network, and the features, of a result or a store."""
    if isinstance(results, StudyResult):
        kinds: dict[str, Any] = {n: g.records | {"weights": g.weights} for n, g in results.groups.items()}
        study, features = results.study, results.features
    elif isinstance(results, xr.DataTree):
        kinds = {n: {str(v): a.values for v, a in node.data_vars.items()} for n, node in results.children.items()}
        study = from_mapping(json.loads(results.attrs["config"]))
        own = results.to_dataset()
        features = own["features"].values if "features" in own else None
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

    Test samples are the study's own held-out ones. A sweep keeps no networks: apply `agreement_of_winners` and
    `coverage` to its variable `final_overlap`.

    Args:
        results: of `run_study`, or of `open_results` for a store of `multiview train`.
        group: the kind of network: single, distilled, self_distilled, …
        num_test: test samples of each kind.

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
    """Logits [S, n, k], labels [n], learned views that a sample carries strongly [S, n], and which are single-view."""
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

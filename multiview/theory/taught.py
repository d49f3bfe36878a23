"""What distillation teaches: traces of a view race the foreign overlaps that one push feeds (docs/theory.md, 6)."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np
from scipy.special import comb, ndtri

from multiview.config import DistillConfig, Study
from multiview.theory.mean_field import typical_network, winner_overlap
from multiview.theory.outcome import ideal_overlaps
from multiview.theory.power_iteration import foreign_moment, label_moment, phase, uniform_moment

# Quantiles of the foreign start overlaps, and instants at which a race is looked at.
QUANTILES = 200
INSTANTS = 120


def taught_overlap(study: Study, distill: DistillConfig) -> float:
    r"""Overlap of a view that a student learned from traces: its trace's logit stops at the cap c.

    $\sum_p act(\bar z_f \Lambda) = c$, that is $\Lambda = (c + (1 - 1/q)\varrho\,C_p)/\bar z_f$ where the
    activation is linear. Labels take it further up if a second view that is at ϱ when distillation starts ends there
    (`typical_network`); at most the W of a view learned from labels.
    """
    data, network = study.data, study.network
    q, threshold, parts = network.relu_power, network.relu_threshold, data.patches_per_feature
    per_patch = distill.cap / parts
    if per_patch >= threshold / q:
        pre_activation = per_patch + (1 - 1 / q) * threshold
    else:
        pre_activation = (q * threshold ** (q - 1) * per_patch) ** (1 / q)
    trace = uniform_moment(data.foreign_strength, 1.0) / parts
    begin, end = (study.train.learning_rate * n for n in (distill.onset_step, distill.onset_step + distill.num_steps))
    typical = typical_network(study, end)
    by_labels = float(np.interp(begin, typical.late, typical.pair[:, 1])) if len(typical.late) else threshold
    return min(winner_overlap(study, end), max(by_labels, pre_activation / trace)) if trace > 0 else 0.0


class Race(NamedTuple):
    """Push on a class by each instant, as long as the class lacks a view that the teacher knows.

    Attributes:
        phase: given to the lost view [T].
        captured: share of the other classes whose samples have foreign overlaps at the cap [T].
        phase_copied: as `phase`, from classes whose samples the teacher itself answers so [T].
        captured_copied: as `captured`, of those [T].
    """

    phase: np.ndarray
    captured: np.ndarray
    phase_copied: np.ndarray
    captured_copied: np.ndarray


def _binomial(size: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    counts = np.arange(size + 1)
    return counts, comb(size, counts) * rate**counts * (1 - rate) ** (size - counts)


def race(study: Study, distill: DistillConfig, known: float = 0.5, captured: float = 0.0, left: float = 0.0) -> Race:
    r"""The race between the traces of a lost view and foreign overlaps, at instants up to the end of distillation.

    A sample of another class y shows the lost view of class j, and not the one that the student knows, with
    probability $u = f(1 - f)$, $f = s/k$. The teacher's soft output there is $t = E[e/(e(2 + B) + k - 2 - B)]$ with
    $e = e^{c/T}$ and B further classes at the cap, the student's nearly nothing. So a class y pushes the lost view by
    $E[z_f^q]\,ds$, $ds = \texttt{weight}\,(1 - \mu)\,t\,u\,dt/(k \varrho^{q-1})$, and its own views, in the neurons
    of j, by $(E[z^q] + (k - 2) f E[z_f^q])\,ds$. When one of those reaches ϱ, all samples of y have a logit at the cap,
    and y pushes no more:

    $\Psi(s) = (k - 1)\,E[z_f^q]\,E\left[\min\left(s,\ \frac{\phi(\Lambda_f) - \phi(\varrho)}{E[z^q] + (k-2) f
    E[z_f^q]}\right)\right]$

    with $\Lambda_f$ the largest of Lm normal starts. A class has few such samples, n of M/k, and s is $n/(uM/k)$ times
    its mean. If the teacher itself answers j in *all* samples of y, y is captured 1/f times sooner.

    Args:
        study: the configuration.
        distill: the distillation.
        known: share of the views that the teacher knows.
        captured: share of the pairs of classes that the teacher has captured.
        left: share of the push that a captured class still gives. One-sided: 0. Two-sided: between 0, where a step
            takes the logit beyond the cap, and 1 − f, where samples without any trace hold it in balance.

    Returns:
        The race.
    """
    data, network = study.data, study.network
    k, views, q, threshold = data.num_classes, data.num_views, network.relu_power, network.relu_threshold
    share = min(1.0, data.feature_sparsity / k)
    peak = math.exp(min(distill.cap / distill.temperature, 600.0))
    seen = 1 - (1 - share) ** (views * known)
    others, weights = _binomial(k - 2, 1 - (1 - seen) * (1 - captured))
    soft = float(weights @ (peak / (peak * (2 + others) + k - 2 - others)))
    shown = share * (1 - share)
    rate = distill.weight * (1 - data.single_view_fraction) * soft * shown / (k * threshold ** (q - 1))
    instants = np.linspace(0, 1, INSTANTS) * rate * study.train.learning_rate * distill.num_steps
    trace = foreign_moment(data, q)
    foreign = label_moment(data, q) + (k - 2) * share * trace
    middle = (np.arange(QUANTILES) + 0.5) / QUANTILES
    starts = np.maximum(ndtri(middle ** (1 / (views * network.neurons_per_class))), 1e-9) * network.init_std
    until = np.maximum(phase(starts, q) - phase(threshold, q), 0.0)[:, None, None] / foreign
    single = data.num_single_view_train if data.representation == "limit_single_view_noise" else 0
    samples = max(round((data.num_train - single) / k), 1)
    counts, weights = _binomial(samples, shown)
    own = counts[:, None] / max(samples * shown, 1e-300) * instants  # s of a class with so many such samples [C, T]

    def given(sooner: float) -> tuple[np.ndarray, np.ndarray]:
        pushed = np.minimum(own, until / sooner) + left * np.maximum(own - until / sooner, 0.0)
        return weights @ pushed.mean(0), weights @ (own >= until / sooner).mean(0)

    (alone, taken), (alone_copied, taken_copied) = given(1.0), given(1 / max(share, 1e-300))
    return Race((k - 1) * trace * alone, taken, (k - 1) * trace * alone_copied, taken_copied)


class Lesson(NamedTuple):
    """Result of distillation: overlaps [..., k, L], and of each class the share captured [..., k]."""

    overlap: np.ndarray
    captured: np.ndarray


def lesson(
    own: np.ndarray, known: np.ndarray, study: Study, distill: DistillConfig, captured: np.ndarray | float = 0.0,
    left: float = 0.0,
) -> Lesson:  # fmt: skip
    """Teach a student each lost view that lacks less phase than the `race` gives it.

    Args:
        own: overlaps that it would end with alone [..., k, L], see `student_alone`.
        known: views that its teacher knows, broadcastable to own.
        study: the configuration.
        distill: the distillation.
        captured: what the teacher has captured, of each class, broadcastable to [..., k].
        left: see `race`.

    Returns:
        The student.
    """
    q, threshold = study.network.relu_power, study.network.relu_threshold
    captured = np.broadcast_to(captured, own.shape[:-1])
    known = np.broadcast_to(known, own.shape)
    course = race(study, distill, float(known.mean()), float(captured.mean()), left)
    copied = captured[..., None]
    gives = (1 - copied) * course.phase + copied * course.phase_copied  # [..., k, T]
    lacks = phase(own, q) - phase(threshold, q)
    taught = known & (own < threshold) & (lacks <= gives[..., -1:])
    pushed = known & (own < threshold)
    # The push ends when the view is learned, or with distillation.
    ends = np.where(taught, (gives[..., None, :] < lacks[..., None]).sum(-1), INSTANTS - 1).clip(max=INSTANTS - 1)
    taken = np.where(pushed, course.captured[ends], 0.0).max(-1)
    copied_on = captured * course.captured_copied[-1]
    overlap = np.where(taught, taught_overlap(study, distill), own)
    return Lesson(overlap, (1 - captured) * taken + copied_on)


def student_alone(
    start: np.ndarray, moments: np.ndarray, study: Study, distill: DistillConfig, single_views: np.ndarray | float
) -> np.ndarray:
    """`ideal_overlaps` of a student's starts at the end of its distillation, as if there were no teacher."""
    steps = distill.onset_step + distill.num_steps
    longer = dataclasses.replace(study, train=dataclasses.replace(study.train, num_steps=steps))
    return ideal_overlaps(start, moments, longer, single_views)

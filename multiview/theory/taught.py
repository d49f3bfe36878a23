"""What distillation teaches: traces of a view race the foreign overlaps that one push feeds (docs/theory.md, 6)."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln, ndtri, xlog1py, xlogy

from multiview.config import DistillConfig, Study
from multiview.theory.mean_field import typical_network, winner_overlap
from multiview.theory.outcome import ideal_overlaps
from multiview.theory.power_iteration import foreign_moment, label_moment, phase, uniform_moment
from multiview.theory.strengths import activation

# Quantiles of start overlaps, instants at which a race is looked at, and how finely its own clock is divided.
QUANTILES = 200
INSTANTS = 120
DIVISIONS = 500
# Probability below which a number of samples is left out.
RAREST = 1e-12
# More counts than these are not listed one by one.
MOST_COUNTS = 4000


def taught_overlap(study: Study, distill: DistillConfig) -> float:
    r"""Overlap of a view that a student learned from traces: its trace's logit stops at the cap c.

    $\sum_p act(\bar z_f \Lambda) = c$, that is $\Lambda = (c + (1 - 1/q)\varrho\,C_p)/\bar z_f$ where the
    activation is linear. Labels take it further up if a second view that is at ϱ when distillation starts ends there
    (`typical_network`); at most the W of a view learned from labels.
    """
    trace = uniform_moment(study.data.foreign_strength, 1.0)
    begin, end = (study.train.learning_rate * n for n in (distill.onset_step, distill.onset_step + distill.num_steps))
    typical = typical_network(study, end)
    late = len(typical.late) > 0
    by_labels = float(np.interp(begin, typical.late, typical.pair[:, 1])) if late else study.network.relu_threshold
    return min(winner_overlap(study, end), max(by_labels, overlap_at_cap(study, distill))) if trace > 0 else 0.0


def overlap_at_cap(study: Study, distill: DistillConfig) -> float:
    """Overlap of a view whose traces, of mean strength, are at the cap; infinite without traces or cap."""
    trace = uniform_moment(study.data.foreign_strength, 1.0)
    return _overlap_at(study, distill.cap, trace) if trace > 0 else math.inf


def _overlap_at(study: Study, logit: float, strength: float) -> float:
    r"""Overlap of one neuron with a feature whose logit is given: $\sum_p act(z_p \Lambda) = F$, z over C_p patches."""
    network, parts = study.network, study.data.patches_per_feature
    q, threshold, per_patch = network.relu_power, network.relu_threshold, logit / parts
    if per_patch >= threshold / q:
        return (per_patch + (1 - 1 / q) * threshold) * parts / strength
    return (q * threshold ** (q - 1) * max(per_patch, 0.0)) ** (1 / q) * parts / strength


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
    """Counts out of `size` that are not too rare, and their probabilities; many as quantiles of a normal law."""
    mean, deviation = size * rate, math.sqrt(size * rate * (1 - rate))
    low, high = max(0, math.floor(mean - 12 * deviation - 30)), min(size, math.ceil(mean + 12 * deviation + 30))
    if high - low > MOST_COUNTS:
        middle = (np.arange(QUANTILES) + 0.5) / QUANTILES
        return mean + deviation * ndtri(middle), np.full(QUANTILES, 1 / QUANTILES)
    counts = np.arange(low, high + 1)
    log_choices = gammaln(size + 1) - gammaln(counts + 1) - gammaln(size - counts + 1)
    weights = np.exp(log_choices + xlogy(counts, rate) + xlog1py(size - counts, -rate))
    kept = weights > RAREST
    return counts[kept], weights[kept]


def _shown(study: Study) -> tuple[float, int]:
    """Share f = s/k of the samples that show a foreign feature, and multi-view samples M/k of one class."""
    data = study.data
    single = data.num_single_view_train if data.representation == "limit_single_view_noise" else 0
    samples = max(round((data.num_train - single) / data.num_classes), 1)
    return min(1.0, data.feature_sparsity / data.num_classes), samples


def _peak(distill: DistillConfig) -> float:
    """Weight $e^{c/T}$ of a logit at the cap in the soft outputs."""
    return math.exp(min(distill.cap / distill.temperature, 600.0))


def _teacher_output(study: Study, distill: DistillConfig, known: float, captured: float) -> float:
    """The teacher's soft output t on a trace that it knows: label, trace and B further classes share the cap."""
    k, share, peak = study.data.num_classes, _shown(study)[0], _peak(distill)
    seen = 1 - (1 - share) ** (study.data.num_views * known)
    others, weights = _binomial(k - 2, 1 - (1 - seen) * (1 - captured))
    return float(weights @ (peak / (peak * (2 + others) + k - 2 - others)))


def _balanced(study: Study, distill: DistillConfig, output: np.ndarray, pushing: np.ndarray | float) -> np.ndarray:
    r"""Say whether steps hold a captured class in balance at this soft output p of the student.

    A share `pushing` of its samples takes part: those that show the view which the student knows have a logit above the
    cap. With y the distance of its logit from the balance, in units of T, a step is $y \mapsto y - \lambda (e^y - 1)$,
    $\lambda = \texttt{pushing}\,\frac{\eta w (1 - \mu)}{k}\,(\bar z\,act')^2\,p(1 - p)/T$: in $e^y$ the Ricker map. Its
    mean stays at the balance however far steps overshoot, and they never go beyond $y = \lambda - 1 - \log\lambda$. A
    logit above the cap would end both pushes.
    """
    data, train, temperature = study.data, study.train, distill.temperature
    if train.solver == "gradient_flow":
        return np.ones(output.shape, bool)
    others, share = data.num_classes - 2, _shown(study)[0]
    rest = _peak(distill) * (1 + others * share) + others * (1 - share)  # the label, and traces of views that it knows
    output = np.clip(output, 1e-300, 1 - 1e-12)
    logits = np.maximum(temperature * np.log(output / (1 - output) * rest), 0.0)
    strength, parts = uniform_moment(data.label_strength, 1.0), data.patches_per_feature
    overlaps = np.array([_overlap_at(study, float(logit), strength) for logit in logits])
    moved = strength * activation(strength / parts * overlaps, study.network)[1]
    step = train.learning_rate * distill.weight * (1 - data.single_view_fraction) / data.num_classes
    size = np.maximum(
        pushing * step * moved**2 * output * (1 - output) / temperature, 1.0
    )  # up to 1 no step overshoots
    return np.asarray(logits + temperature * (size - 1 - np.log(size)) < distill.cap)


def taught_step(study: Study, distill: DistillConfig, known: float) -> float:
    r"""Largest growth of a taught view in one step, by which it may overshoot the cap.

    $\frac{\eta w (1 - \mu)}{k}\,(k - 1)\,u\,\bar z_f\,t$ where the activation is linear, with u and t those of `race`.

    Args:
        study: the configuration.
        distill: the distillation.
        known: share of the views that the teacher knows.

    Returns:
        The growth; 0 along the gradient flow.
    """
    data, train, share = study.data, study.train, _shown(study)[0]
    if train.solver == "gradient_flow":
        return 0.0
    shown = (data.num_classes - 1) * share * (1 - share) * uniform_moment(data.foreign_strength, 1.0)
    step = train.learning_rate * distill.weight * (1 - data.single_view_fraction) / data.num_classes
    return step * shown * _teacher_output(study, distill, known, 0.0)


def long_race(study: Study, distill: DistillConfig, known: float, captured: float) -> tuple[np.ndarray, Race]:
    """Run the race far beyond what any one-sided push can give.

    Returns:
        Times η · steps since the onset [D], and what is given and captured by then.
    """
    data, network = study.data, study.network
    k, views, q, threshold = data.num_classes, data.num_views, network.relu_power, network.relu_threshold
    share, samples = _shown(study)
    shown = share * (1 - share)
    soft = _teacher_output(study, distill, known, captured)
    rate = distill.weight * (1 - data.single_view_fraction) * soft * shown / (k * threshold ** (q - 1))
    trace = foreign_moment(data, q)
    starts = network.init_std * largest_of(views * network.neurons_per_class)
    foreign = label_moment(data, q) + (k - 2) * share * trace
    until = np.sort(np.maximum(phase(starts, q) - phase(threshold, q), 0.0)) / foreign
    given_until = np.append(0.0, np.cumsum(until))
    counts, weights = _binomial(samples, shown)
    mean = max(samples * shown, 1e-300)
    clock = np.append(0.0, np.geomspace(1e-6, 1e3, DIVISIONS)) * max(float(until[-1]) * mean, 1e-300)
    own = counts[:, None] / mean * clock  # s of a class with so many such samples [C, D]

    def given(sooner: float, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        taken = np.searchsorted(until / sooner, own, side="right")  # of all foreign overlaps
        alone = (given_until[taken] / sooner + own * (QUANTILES - taken)) / QUANTILES
        return weights @ (alone + left[:, None] * (own - alone)), weights @ (taken / QUANTILES)

    two_sided = distill.objective != "one_sided"
    # Its samples that show no view of the class.
    neither = (samples - counts) * (1 - share) ** 2 / max(1 - shown, 1e-300)
    up = counts / np.maximum(counts + neither, 1e-300)
    held = _balanced(study, distill, up * soft, (counts + neither) / samples)
    left = np.where(held, 1 - up, 0.0) * two_sided
    phases, taken = given(1.0, left)
    phases_copied, taken_copied = given(1 / max(share, 1e-300), np.zeros_like(left))
    course = Race((k - 1) * trace * phases, taken, (k - 1) * trace * phases_copied, taken_copied)
    return clock / max(rate, 1e-300), course


def largest_of(count: int) -> np.ndarray:
    """Quantiles of the largest of so many standard normal numbers, in order; those below 0 count as nearly 0."""
    middle = (np.arange(QUANTILES) + 0.5) / QUANTILES
    return np.asarray(np.maximum(ndtri(middle ** (1 / count)), 1e-9))


def race(study: Study, distill: DistillConfig, known: float = 0.5, captured: float = 0.0) -> Race:
    r"""The race between the traces of a lost view and foreign overlaps, at instants up to the end of distillation.

    A sample of another class y shows the lost view of class j, and not the one that the student knows, with
    probability $u = f(1 - f)$, $f = s/k$. The teacher's soft output there is $t = E[e/(e(2 + B) + k - 2 - B)]$ with
    $e = e^{c/T}$ and B further classes at the cap, the student's nearly nothing. So a class y pushes the lost view by
    $E[z_f^q]\,ds$, $ds = \texttt{weight}\,(1 - \mu)\,t\,u\,dt/(k \varrho^{q-1})$, and its own views, in the neurons
    of j, by $(E[z^q] + (k - 2) f E[z_f^q])\,ds$. When one of those reaches ϱ, all samples of y have a logit at the cap:

    $\Psi(s) = (k - 1)\,E[z_f^q]\,E\left[\min\left(s,\ \frac{\phi(\Lambda_f) - \phi(\varrho)}{E[z^q] + (k-2) f
    E[z_f^q]}\right)\right]$

    with $\Lambda_f$ the largest of Lm normal starts. A class has few such samples, n of M/k, and s is $n/(uM/k)$ times
    its mean. If the teacher itself answers j in *all* samples of y, y is captured 1/f times sooner.

    One-sided, y pushes no more. Two-sided, the $n_0$ samples of y that show no view of j push back; where steps hold
    that balance, y still gives $n_0/(n + n_0)$ of its push.

    Args:
        study: the configuration.
        distill: the distillation.
        known: share of the views that the teacher knows.
        captured: share of the pairs of classes that the teacher has captured.

    Returns:
        The race.
    """
    times, course = long_race(study, distill, known, captured)
    instants = np.linspace(0, 1, INSTANTS) * study.train.learning_rate * distill.num_steps
    return Race(*(np.interp(instants, times, values) for values in course))


class Lesson(NamedTuple):
    """Result of distillation: overlaps [..., k, L], and of each class the share of the others captured [..., k]."""

    overlap: np.ndarray
    captured: np.ndarray


def lesson(
    own: np.ndarray, known: np.ndarray, study: Study, distill: DistillConfig, captured: np.ndarray | float = 0.0
) -> Lesson:
    """Teach a student each lost view that lacks less phase than the `race` gives it.

    Args:
        own: overlaps that it would end with alone [..., k, L], see `student_alone`.
        known: views that its teacher knows, broadcastable to own.
        study: the configuration.
        distill: the distillation.
        captured: what the teacher has captured, of each class, broadcastable to [..., k].

    Returns:
        The student.
    """
    q, threshold = study.network.relu_power, study.network.relu_threshold
    captured = np.broadcast_to(captured, own.shape[:-1])
    known = np.broadcast_to(known, own.shape)
    course = race(study, distill, float(known.mean()), float(captured.mean()))
    copied = captured[..., None]
    gives = (1 - copied) * course.phase + copied * course.phase_copied  # [..., k, T]
    lacks = phase(own, q) - phase(threshold, q)
    taught = known & (own < threshold) & (lacks <= gives[..., -1:])
    pushed = known & (own < threshold)
    # The push ends when the view is learned, or with distillation.
    ends = np.where(taught, (gives[..., None, :] < lacks[..., None]).sum(-1), INSTANTS - 1).clip(max=INSTANTS - 1)
    taken = np.where(pushed, course.captured[ends], 0.0).max(-1)
    copied_on = captured * course.captured_copied[-1]
    # One that labels take to ϱ by themselves goes on to the cap as well.
    overlap = np.where(taught | (known & (own >= threshold)), np.maximum(own, taught_overlap(study, distill)), own)
    return Lesson(overlap, (1 - captured) * taken + copied_on)


def student_alone(
    start: np.ndarray, moments: np.ndarray, study: Study, distill: DistillConfig, single_views: np.ndarray | float
) -> np.ndarray:
    """`ideal_overlaps` of a student's starts at the end of its distillation, as if there were no teacher."""
    steps = distill.onset_step + distill.num_steps
    longer = dataclasses.replace(study, train=dataclasses.replace(study.train, num_steps=steps))
    return ideal_overlaps(start, moments, longer, single_views)

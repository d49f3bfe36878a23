"""The mean-field equations: how a typical network's winners, losers and lost samples move (docs/theory.md, section 6).

The classes of a network act on each other through the samples they share, so this is a mean field: a set of ordinary
differential equations for a typical network, whose classes are learned one after another. `mean_field` integrates them.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from multiview.config import Study
from multiview.theory.power_iteration import from_phase, growth_rate, phase, split_factor, uniform_moment
from multiview.theory.strengths import (
    LARGEST_LOGIT,
    activation,
    effective_samples,
    known_traces,
    label_strengths,
    mean_foreign_strength,
    mean_label_strength,
)

# Classes of the typical network: so many times at which one is learned, and for each so many distances between its
# winning neuron and the next; further neurons of the winning view that are followed.
ARRIVALS = 11
SPACINGS = 4
OTHER_NEURONS = 6


class LostSample(NamedTuple):
    """A single-view sample whose view its class lost: 1 − p_y, the output p_Γ of a rival, the slopes of label and rival
    in their patches, and by how much the label's logit leads."""

    residual: float
    rival: float
    label_slope: float
    rival_slope: float
    lead: float


@dataclasses.dataclass(frozen=True)
class Equations:
    """The right-hand side, and how its state is laid out.

    The state is the growth W − ϱ of the winner of each of N classes; the phase that their labels have given losers; the
    growth of the two views of B classes whose second view is learned too, which are the rare ones and act on no other;
    then, of a single-view sample that the class `median` lost, the noise ν·A that its label has learned in the
    weak-view patch, the noise that its rivals have unlearned in theirs, and ∫(1 − p_y) dt.
    """

    study: Study
    arrival: np.ndarray  # [N]
    room: np.ndarray  # phase that other neurons of the winning view have left when the winner is at ϱ [N, R]
    median: int

    @property
    def weak(self) -> float:
        """Mean strength ρ z of the other views in a single-view sample."""
        return self.study.data.weak_view_strength * mean_label_strength(self.study)

    def split(self, state: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Winners [N], labels' push [N], pairs [B, 2] and the lost sample [3]."""
        count = len(self.arrival)
        return state[:count], state[count : 2 * count], state[2 * count : -3].reshape(-1, 2), state[-3:]

    def neurons(self, grown: np.ndarray, pushed: np.ndarray) -> np.ndarray:
        """Overlaps of a class's neurons with its winning view, the winner first [N, 1 + R].

        The others run down their phase by what labels give, and from ϱ on grow in parallel with the winner.
        """
        data, q, threshold = self.study.data, self.study.network.relu_power, self.study.network.relu_threshold
        shown = 1 - data.single_view_fraction * (1 - 1 / data.num_views)  # of the samples show the view in full
        gained = shown * pushed[:, None]
        bent = from_phase(np.maximum(self.room - gained, 0.0) + phase(threshold, q), q)
        share = np.where(gained > self.room, 1 - self.room / np.where(gained > self.room, gained, 1.0), 0.0)
        return np.concatenate([threshold + grown[:, None], bent + share * grown[:, None]], axis=1)

    def logit(self, strength: np.ndarray | float, overlaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logit of neurons [..., R] at a feature of this strength over its C_p patches, and the slope of the first."""
        parts = self.study.data.patches_per_feature
        value, slope = activation(strength / parts * overlaps, self.study.network)
        return np.minimum(parts * value.sum(-1), LARGEST_LOGIT), slope[..., 0]

    def lost_sample(self, state: np.ndarray, known: np.ndarray) -> LostSample:
        r"""The sample that the class `median` lost.

        Its label has the logit $G = act(\rho \bar z W + \nu A)$, each of $n = s(1 - 1/k)$ known foreign features
        $F_\Gamma = act(\Gamma W - \nu B)$, summed over C_p patches.
        """
        data, threshold = self.study.data, self.study.network.relu_threshold
        grown, _, _, (learned, unlearned, _) = self.split(state)
        rival = threshold + float(known @ grown / known.sum())
        parts, own = data.patches_per_feature, threshold + grown[self.median]
        value, slope = activation(self.weak / parts * own + learned, self.study.network)
        other, other_slope = activation(mean_foreign_strength(data) / parts * rival - unlearned, self.study.network)
        label, foreign = (min(parts * float(v), LARGEST_LOGIT) for v in (value, other))
        competitors = data.num_classes - 1 + known_traces(data) * known.mean() * math.expm1(foreign)
        total = math.exp(label) + competitors
        return LostSample(
            competitors / total, math.exp(foreign) / total, float(slope), float(other_slope), label - foreign
        )

    def push(
        self, state: np.ndarray, known: np.ndarray, sample: LostSample
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        r"""Net push on winners [N] and pairs [B, 2], and $E[(1 - p_y) \sum_p z_p^q]$ [N], all in units of 1/k."""
        data, q, threshold = self.study.data, self.study.network.relu_power, self.study.network.relu_threshold
        grown, pushed, pairs, _ = self.split(state)
        z, weights = label_strengths(self.study)
        trace_strength, traces = uniform_moment(data.foreign_strength, 1.0), known_traces(data)
        winners, pairs = self.neurons(grown, pushed), threshold + pairs[..., None]
        own, own_slope = self.logit(z, winners)
        own = np.exp(own * known)  # [Z, N]
        of_views, pair_slope = self.logit(z[..., None], pairs)
        own_pair = np.exp(np.minimum(of_views.sum(-1), LARGEST_LOGIT))  # [Z, B]
        trace = np.exp(self.logit(trace_strength, winners)[0] * known)
        # Rivals of the label in a multi-view sample: k − 1 classes, some with a trace of their learned view.
        rivals = data.num_classes - 1 + traces * (trace - 1).mean()
        lost = data.single_view_fraction * (1 - 1 / data.num_views)

        def net(overlaps: np.ndarray, residual: np.ndarray) -> np.ndarray:
            """Labels' push on a view less the pull of its traces in samples of others, multi-view and lost ones."""
            logit, slope = self.logit(trace_strength, overlaps)
            of_view = np.exp(logit)[..., None]
            wrong = (weights[:, 0, 0] @ (of_view[..., None, :] / (own + rivals + of_view[..., None, :] - 1))).mean(-1)
            pull = traces * trace_strength * slope * wrong
            multi_view = np.tensordot((weights * z)[:, 0, 0], residual, 1) - pull
            of_lost = (
                traces
                * mean_foreign_strength(data)
                * self.logit(mean_foreign_strength(data), overlaps)[1]
                * sample.rival
            )
            of_label = self.weak * sample.label_slope * sample.residual
            return (1 - lost) * multi_view + lost * (of_label - known.mean() * of_lost)

        residual, of_pair = rivals / (own + rivals), rivals / (own_pair + rivals)
        seen = split_factor(data, q) * np.tensordot((weights * z**q)[:, 0, 0], residual, 1)
        return known * net(winners, residual * own_slope), net(pairs, of_pair[..., None] * pair_slope), known * seen

    def unlearned(self, state: np.ndarray, known: np.ndarray) -> float:
        r"""Rate at which a class that is not learned yet runs down the phase of its views, less what traces take.

        $\frac{1}{k \varrho^{q-1}} (E[z^q] (1 - p_y) - n E[z_f^q] \overline{p_f})$: classes learned earlier are rivals
        of its label where they show a trace, and in their samples it is no longer pulled down.
        """
        data, q, threshold = self.study.data, self.study.network.relu_power, self.study.network.relu_threshold
        grown, pushed, _, _ = self.split(state)
        z, weights = label_strengths(self.study)
        winners, traces = self.neurons(grown, pushed), known_traces(data)
        trace = np.exp(self.logit(uniform_moment(data.foreign_strength, 1.0), winners)[0] * known)
        rivals = data.num_classes - 1 + traces * (trace - 1).mean()
        own = np.exp(self.logit(z, winners)[0] * known)  # [Z, N]
        wrong = float((weights[:, 0, 0] @ (1 / (own + rivals))).mean())
        pull = traces * uniform_moment(data.foreign_strength, q) * split_factor(data, q) * wrong
        free = growth_rate(data, self.study.network) * data.num_classes / (data.num_classes - 1)
        lost = data.single_view_fraction * (1 - 1 / data.num_views)
        return free * float(rivals / (1 + rivals)) - (1 - lost) * pull / (data.num_classes * threshold ** (q - 1))

    def derivative(self, state: np.ndarray, known: np.ndarray, paired: np.ndarray) -> np.ndarray:
        """The state's time derivative, with the classes that are known and the pairs that have begun."""
        data = self.study.data
        sample = self.lost_sample(state, known)
        winners, pairs, seen = self.push(state, known, sample)
        seen /= self.study.network.relu_threshold ** (self.study.network.relu_power - 1)
        memory = np.zeros(3)
        if known[self.median] and data.single_view_fraction > 0:
            rate = data.noise_norm**2 / effective_samples(data)
            learned, unlearned = sample.label_slope * sample.residual, sample.rival_slope * sample.rival
            memory = np.array([rate * learned, rate * unlearned, sample.residual])
        pushes = np.concatenate([winners, seen, (pairs * paired[:, None]).ravel()])
        return np.concatenate([pushes / data.num_classes, memory])


def equations_of(study: Study) -> Equations:
    r"""Quantiles of the starts: a winner is the largest of Lm, $\Phi(x)^{Lm} = u$, the next the largest of the rest."""
    data, network = study.data, study.network
    m, q, threshold = network.neurons_per_class, network.relu_power, network.relu_threshold
    share = 1 - (np.arange(ARRIVALS) + 0.5) / ARRIVALS  # classes with large starts are learned first
    winner = np.repeat(np.maximum(ndtri(share ** (1 / (data.num_views * m))), 1e-3), SPACINGS)
    below = ndtr(winner)
    others = []
    for number in range(min(m - 1, OTHER_NEURONS)):
        drawn = np.tile((np.arange(SPACINGS) + 0.5) / SPACINGS, ARRIVALS) if number == 0 else 0.5
        below = below * drawn ** (1 / (m - 1 - number))
        others.append(ndtri(np.maximum(below, 1e-12)))
    starts = np.stack([winner, *others], 1).clip(1e-9) * network.init_std
    room = np.maximum(phase(starts[:, 1:], q) - np.maximum(phase(starts[:, :1], q), phase(threshold, q)), 0.0)
    arrival = np.maximum(phase(starts[:, 0], q) - phase(threshold, q), 0.0) / growth_rate(data, network)
    return Equations(study, arrival, np.minimum(room, 1e12), (ARRIVALS // 2) * SPACINGS + SPACINGS // 2)

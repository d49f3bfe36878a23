"""What happens after a view is learned: winners grow, labels push losers, lost samples are memorised.

The classes of a network act on each other through the samples they share, so this is a mean field: a typical network,
whose classes are learned one after another, is integrated as a set of ordinary differential equations (docs/theory.md,
section 6). Nothing is fitted, and nothing is trained: one solution takes a fraction of a second.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from typing import NamedTuple

import numpy as np
from scipy.integrate import solve_ivp
from scipy.special import ndtr, ndtri

from multiview.config import DataConfig, NetworkConfig, Study
from multiview.theory.power_iteration import from_phase, growth_rate, phase, split_factor, uniform_moment

# Classes of the typical network: so many times at which one is learned, and for each so many distances between its
# winning neuron and the next; further neurons of the winning view that are followed.
ARRIVALS = 11
SPACINGS = 4
OTHER_NEURONS = 6
# Later instants, after all arrivals, at which a second view may be learned.
LATER = 8
# Instants between two arrivals at which the solution is kept, and the first of them after an arrival, as a share.
INSTANTS = 30
FIRST_INSTANT = 1e-3
# Gauss-Legendre nodes and weights for expectations over label strengths.
NODES = np.polynomial.legendre.leggauss(5)
# Beyond this logit a softmax is 0 or 1 in double precision.
LARGEST_LOGIT = 600.0


class TypicalNetwork(NamedTuple):
    r"""A typical network at some time, class by class in the order in which they were learned.

    Attributes:
        arrival: when the class is learned, its winner at ϱ [A].
        winner: overlap W of the winning view [A]; ϱ in classes not yet learned.
        times: instants up to that time [T].
        push: phase that labels have given a loser until each of them [T, A],
            $\int \frac{1-\mu}k E[(1 - p_y) \sum_p z_p^q] dt / \varrho^{q-1}$ from the arrival on.
        late: instants at which the second view of a class may reach ϱ after all [B].
        before: overlap of winners then [B].
        pair: overlaps that first and second view of such a class end with [B, 2].
        unmemorised: $\int (1 - p_y) dt$ of a single-view sample of a losing view, in the class of median arrival.
    """

    arrival: np.ndarray
    winner: np.ndarray
    times: np.ndarray
    push: np.ndarray
    late: np.ndarray
    before: np.ndarray
    pair: np.ndarray
    unmemorised: float


def effective_samples(data: DataConfig) -> float:
    """Inverse weight of a single-view training sample: N, or N_s/μ in `limit_single_view_noise`; infinite without."""
    if data.representation == "limit_single_view_noise" and data.single_view_fraction > 0:
        return data.num_single_view_train / data.single_view_fraction if data.num_single_view_train else math.inf
    return float(data.num_train)


def activation(pre_activation: np.ndarray | float, network: NetworkConfig) -> tuple[np.ndarray, np.ndarray]:
    """Smoothed ReLU and its slope."""
    q, threshold = network.relu_power, network.relu_threshold
    bent = np.clip(pre_activation, 0.0, threshold)
    value = bent**q / (q * threshold ** (q - 1)) + np.maximum(pre_activation - threshold, 0.0)
    return np.minimum(value, LARGEST_LOGIT), (bent / threshold) ** (q - 1)


class _LostSample(NamedTuple):
    """A single-view sample whose view its class lost: 1 − p_y, the output p_Γ of a rival, the slopes of label and rival
    in their patches, and by how much the label's logit leads."""

    residual: float
    rival: float
    label_slope: float
    rival_slope: float
    lead: float


@dataclasses.dataclass(frozen=True)
class _Equations:
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

    def lost_sample(self, state: np.ndarray, known: np.ndarray) -> _LostSample:
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
        competitors = data.num_classes - 1 + _known_traces(data) * known.mean() * math.expm1(foreign)
        total = math.exp(label) + competitors
        return _LostSample(
            competitors / total, math.exp(foreign) / total, float(slope), float(other_slope), label - foreign
        )

    def push(
        self, state: np.ndarray, known: np.ndarray, sample: _LostSample
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        r"""Net push on winners [N] and pairs [B, 2], and $E[(1 - p_y) \sum_p z_p^q]$ [N], all in units of 1/k."""
        data, q, threshold = self.study.data, self.study.network.relu_power, self.study.network.relu_threshold
        grown, pushed, pairs, _ = self.split(state)
        z, weights = _label_strengths(self.study)
        trace_strength, traces = uniform_moment(data.foreign_strength, 1.0), _known_traces(data)
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
        z, weights = _label_strengths(self.study)
        winners, traces = self.neurons(grown, pushed), _known_traces(data)
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


def _view_factor(study: Study) -> float:
    """Strength of an average view in units of `label_strength`: $E[f^q]^{1/q}$ over `view_strengths`."""
    q = study.network.relu_power
    return float(np.mean(np.power(study.data.view_strengths or (1.0,), q)) ** (1 / q))


def mean_label_strength(study: Study) -> float:
    """Mean strength of a view of the label in a multi-view sample."""
    return _view_factor(study) * uniform_moment(study.data.label_strength, 1.0)


def _known_traces(data: DataConfig) -> float:
    """Expected foreign features in a sample that a network of one view a class knows, s(1 − 1/k)."""
    return min(data.feature_sparsity * (1 - 1 / data.num_classes), data.num_classes - 1.0)


def mean_foreign_strength(data: DataConfig) -> float:
    """Mean strength of a foreign feature in a single-view sample, Γ times its ratio."""
    return data.single_view_foreign_strength * uniform_moment(data.single_view_foreign_ratio, 1.0)


def _label_strengths(study: Study) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of an expectation over label strengths [Z, 1, 1]."""
    nodes, weights = NODES
    low, high = (_view_factor(study) * strength for strength in study.data.label_strength)
    return ((low + high) / 2 + (high - low) / 2 * nodes)[:, None, None], weights[:, None, None] / 2


def _equations(study: Study) -> _Equations:
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
    return _Equations(study, arrival, np.minimum(room, 1e12), (ARRIVALS // 2) * SPACINGS + SPACINGS // 2)


class _Stretch(NamedTuple):
    """The solution from one arrival to the next: instants [T], states [T, …] and the classes known meanwhile [N]."""

    times: np.ndarray
    states: np.ndarray
    known: np.ndarray


def _edges(equations: _Equations, time: float) -> np.ndarray:
    """Where something begins: arrivals, then instants at growing distances, up to the time itself."""
    arrivals = np.unique(equations.arrival[equations.arrival < time])
    if not len(arrivals):
        return np.array([time])
    after = np.geomspace(max(arrivals[-1] - arrivals[0], (time - arrivals[-1]) / 100), time - arrivals[0], LATER)
    edges = np.unique([*arrivals, *(arrivals[0] + after[arrivals[0] + after > arrivals[-1]])])
    apart = np.diff(edges, append=time) > 1e-6 * time  # closer ones begin with the next
    return np.append(edges[apart], time)


def _integrate(equations: _Equations, edges: np.ndarray, until_memorised: bool = False) -> tuple[list[_Stretch], float]:
    """The solution between edges, a pair of views beginning at each.

    Returns:
        The stretches, and when the lost sample was memorised if that ends the integration, else infinity.
    """
    count, pairs = len(equations.arrival), 0 if until_memorised else len(edges) - 1
    state = np.zeros(2 * count + 2 * pairs + 3)
    stretches = []
    for index, (begin, end) in enumerate(itertools.pairwise(edges)):
        known = (equations.arrival <= begin).astype(float)
        if pairs:
            state[2 * (count + index)] = known @ state[:count] / known.sum()
        paired = (np.arange(pairs) <= index).astype(float)
        within = np.geomspace(FIRST_INSTANT, 1.0, INSTANTS) * (end - begin) + begin
        within = np.unique(np.append(within[within < end], end))
        solution = solve_ivp(
            lambda _, y, known, paired: equations.derivative(y, known, paired),
            (begin, end),
            state,
            method="LSODA",
            t_eval=within,
            rtol=1e-4,
            atol=1e-6,
            args=(known, paired),
        )
        if not solution.success:
            raise ArithmeticError(f"the mean field of this configuration cannot be integrated: {solution.message}")
        stretches.append(_Stretch(solution.t, solution.y.T, known))
        state = solution.y[:, -1]
        if until_memorised and known[equations.median]:
            gap = np.array([equations.lost_sample(y, known).lead for y in solution.y.T])
            if gap[-1] >= 0:  # the first instant at which it is, by the straight line from the one before
                after = max(int((gap >= 0).argmax()), 1)
                share = gap[after] / max(gap[after] - gap[after - 1], 1e-300)
                return stretches, float(solution.t[after] - np.clip(share, 0, 1) * np.diff(solution.t)[after - 1])
    return stretches, math.inf


@functools.lru_cache
def typical_network(study: Study, time: float) -> TypicalNetwork:
    """The typical network at a time η · steps.

    Args:
        study: the configuration.
        time: since the start of training.

    Returns:
        Winners and pushes, averaged over the distances between a class's neurons.
    """
    equations = _equations(study)
    edges = _edges(equations, time)
    stretches, _ = _integrate(equations, edges)
    count, threshold = len(equations.arrival), study.network.relu_threshold

    def by_arrival(values: np.ndarray) -> np.ndarray:
        return values.reshape(*values.shape[:-1], ARRIVALS, SPACINGS).mean(-1)

    begin = np.zeros((1, 2 * count + 2 * len(stretches) + 3))
    states = np.concatenate([begin, *(s.states for s in stretches)])
    winners, _, pairs, lost = equations.split(states[-1])
    return TypicalNetwork(
        by_arrival(equations.arrival),
        threshold + by_arrival(winners),
        np.concatenate([edges[:1], *(s.times for s in stretches)]),
        (1 - study.data.single_view_fraction) * by_arrival(states[:, count : 2 * count]),
        edges[:-1],
        threshold + np.array([s.known @ s.states[0, :count] / s.known.sum() for s in stretches]),
        threshold + pairs,
        float(lost[-1]),
    )


def winner_overlap(study: Study, time: float) -> float:
    """Overlap W of a typical winner at a time since the start of training: mean over the classes learned by then."""
    network = typical_network(study, time)
    learned = network.arrival < time
    return float(network.winner[learned].mean()) if learned.any() else study.network.relu_threshold


def unlearned_phase(study: Study, time: float) -> tuple[np.ndarray, np.ndarray]:
    """Phase that training has taken off the views of a class that is not learned yet, among classes that are.

    Tensor power iteration takes `growth_rate` times the time. Here traces pull the class down, and classes learned
    before it change the outputs of their samples and of its own.

    Args:
        study: the configuration.
        time: how far to follow it.

    Returns:
        Instants [T] from 0 on, and the phase taken until each of them [T].
    """
    equations = _equations(study)
    edges = _edges(equations, time)
    stretches, _ = _integrate(equations, edges)
    begin = np.zeros(2 * len(equations.arrival) + 2 * len(stretches) + 3)
    times, rates = [0.0, float(edges[0])], [equations.unlearned(begin, np.zeros(len(equations.arrival)))] * 2
    for stretch in stretches:
        times += list(stretch.times)
        rates += [equations.unlearned(state, stretch.known) for state in stretch.states]
    steps = np.diff(times) * (np.array(rates)[1:] + np.array(rates)[:-1]) / 2
    return np.array(times), np.concatenate([[0.0], np.cumsum(steps)])


@functools.lru_cache
def memory_time(study: Study) -> float:
    r"""Time from the learning of its class until a single-view sample of the losing view is classified right.

    The noise of its weak-view patch, lifted by the winner, and the noise in the patches of foreign features that the
    network knows, are learned until $act(\rho \bar z W + \nu A) \ge act(\Gamma W - \nu B)$. Both raise and lower the
    slope at which they are learned.

    Args:
        study: the configuration; how long it trains does not matter.

    Returns:
        The time; 0 where the weak view outweighs foreign features from the beginning, infinite without noise or
        single-view samples, and where ten times what the weakest slope would need is not enough.
    """
    data, network = study.data, study.network
    equations = _equations(study)
    weak = equations.weak
    if weak >= mean_foreign_strength(data):
        return 0.0
    begin = float(equations.arrival[equations.median])
    slope = min(weak / data.patches_per_feature, 1.0) ** (network.relu_power - 1)
    rate = data.noise_norm**2 * slope / effective_samples(data) if data.single_view_fraction > 0 else 0.0
    if rate == 0 or not math.isfinite(begin):
        return math.inf
    longest = begin + 10 * (math.log(data.num_classes) + network.relu_threshold) / rate
    return _integrate(equations, _edges(equations, longest), until_memorised=True)[1] - begin

"""What happens after a view is learned: winners grow, labels push losers, lost samples are memorised.

The mean-field equations (`equations`) are integrated from one arrival of a view to the next. Nothing is fitted, and
nothing is trained: one solution takes a fraction of a second.
"""

from __future__ import annotations

import functools
import itertools
import math
import warnings
from typing import NamedTuple

import numpy as np
from scipy.integrate import solve_ivp

from multiview.config import Study
from multiview.theory.equations import ARRIVALS, SPACINGS, Equations, equations_of
from multiview.theory.extremes import too_extreme
from multiview.theory.strengths import effective_samples, mean_foreign_strength

# Later instants, after all arrivals, at which a second view may be learned.
LATER = 8
# Instants between two arrivals at which the solution is kept, and the first of them after an arrival, as a share.
INSTANTS = 30
FIRST_INSTANT = 1e-3
# Evaluations of the equations for one solution, some seconds; ordinary studies take some thousands.
MOST_EVALUATIONS = 20_000


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


class _Stretch(NamedTuple):
    """The solution from one arrival to the next: instants [T], states [T, …] and the classes known meanwhile [N]."""

    times: np.ndarray
    states: np.ndarray
    known: np.ndarray


def _edges(equations: Equations, time: float) -> np.ndarray:
    """List the instants at which something begins: arrivals, then instants at growing distances, up to the time."""
    arrivals = np.unique(equations.arrival[equations.arrival < time])
    if not len(arrivals):
        return np.array([time])
    after = np.geomspace(max(arrivals[-1] - arrivals[0], (time - arrivals[-1]) / 100), time - arrivals[0], LATER)
    edges = np.unique([*arrivals, *(arrivals[0] + after[arrivals[0] + after > arrivals[-1]])])
    apart = np.diff(edges, append=time) > 1e-6 * time  # closer ones begin with the next
    return np.append(edges[apart], time)


def _integrate(
    study: Study, equations: Equations, edges: np.ndarray, until_memorised: bool = False
) -> tuple[list[_Stretch], float]:
    """The solution between edges, a pair of views beginning at each.

    Returns:
        The stretches, and when the lost sample was memorised if that ends the integration, else infinity.

    Raises:
        ConfigError: the equations cannot be solved for values so extreme.
    """
    count, pairs = len(equations.arrival), 0 if until_memorised else len(edges) - 1
    state = np.zeros(2 * count + 2 * pairs + 3)
    stretches = []
    left = itertools.count(MOST_EVALUATIONS, -1)

    def derivative(_: float, state: np.ndarray, known: np.ndarray, paired: np.ndarray) -> np.ndarray:
        if next(left) <= 0:
            raise too_extreme(study, "take too long to compute")
        return equations.derivative(state, known, paired)

    for index, (begin, end) in enumerate(itertools.pairwise(edges)):
        known = (equations.arrival <= begin).astype(float)
        if pairs:
            state[2 * (count + index)] = known @ state[:count] / known.sum()
        paired = (np.arange(pairs) <= index).astype(float)
        within = np.geomspace(FIRST_INSTANT, 1.0, INSTANTS) * (end - begin) + begin
        within = np.unique(np.append(within[within < end], end))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # LSODA's own; the line below says it
            solution = solve_ivp(
                derivative,
                (begin, end),
                state,
                method="LSODA",
                t_eval=within,
                rtol=1e-4,
                atol=1e-6,
                args=(known, paired),
            )
        if not solution.success:
            raise too_extreme(study)
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
    equations = equations_of(study)
    edges = _edges(equations, time)
    stretches, _ = _integrate(study, equations, edges)
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
    equations = equations_of(study)
    edges = _edges(equations, time)
    stretches, _ = _integrate(study, equations, edges)
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
    equations = equations_of(study)
    weak = equations.weak
    if weak >= mean_foreign_strength(data):
        return 0.0
    begin = float(equations.arrival[equations.median])
    slope = min(weak / data.patches_per_feature, 1.0) ** (network.relu_power - 1)
    rate = data.noise_norm**2 * slope / effective_samples(data) if data.single_view_fraction > 0 else 0.0
    if rate == 0 or not math.isfinite(begin):
        return math.inf
    longest = begin + 10 * (math.log(data.num_classes) + network.relu_threshold) / rate
    return _integrate(study, equations, _edges(equations, longest), until_memorised=True)[1] - begin

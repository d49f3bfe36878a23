"""Closed forms of the multi-view theory: moments, time scales, tensor power iteration, the ideal outcome.

Numbers only, no simulation: docs/theory.md, sections 5 and 6. Time is η · steps throughout. Which forms follow
the paper and which are this project's own is said there.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from scipy.integrate import quad
from scipy.special import gammaln
from scipy.stats import binom, norm

from multiview.config import DataConfig, DistillConfig, NetworkConfig, Study


def uniform_moment(interval: tuple[float, float], power: float) -> float:
    r"""$E[Z^q]$ for Z uniform on an interval."""
    low, high = interval
    if high - low < 1e-12 * max(high, 1e-300):
        return low**power
    return (high ** (power + 1) - low ** (power + 1)) / ((power + 1) * (high - low))


def split_factor(data: DataConfig, power: float) -> float:
    r"""$E[\sum_p z_p^q] / E[(\sum_p z_p)^q]$: how splitting over C_p patches lowers the moment.

    $C^{1-q}$ for an equal split; for a random split (uniform on the simplex)
    $C \cdot \Gamma(1+q)\Gamma(C)/\Gamma(C+q)$.
    """
    c = data.patches_per_feature
    if data.patch_split == "equal":
        return float(c ** (1 - power))
    return float(c * np.exp(gammaln(1 + power) + gammaln(c) - gammaln(c + power)))


def label_moment(data: DataConfig, power: float) -> float:
    r"""$E[\sum_p z_p^q]$ of a view of the label in a multi-view sample (mean over views)."""
    factors = data.view_strengths or (1.0,)
    return (
        uniform_moment(data.label_strength, power)
        * split_factor(data, power)
        * float(np.mean(np.power(factors, power)))
    )


def foreign_moment(data: DataConfig, power: float) -> float:
    r"""$E[\sum_p z_p^q]$ of a foreign feature in a multi-view sample."""
    return uniform_moment(data.foreign_strength, power) * split_factor(data, power)


@functools.lru_cache
def expected_maximum(neurons: int) -> float:
    r"""$E[\max_{r \le m} g_r^+]$ of m standard normal numbers: the start's Λ_0 in units of σ₀."""
    value, _ = quad(lambda x: 1 - norm.cdf(x) ** neurons, 0, np.inf)
    return float(value)


def _phase(overlap: np.ndarray | float, power: float) -> np.ndarray:
    r"""$\int_\Lambda d\lambda/\lambda^{q-1}$ up to a constant: $\Lambda^{-(q-2)}/(q-2)$; at q = 2, $-\log\Lambda$."""
    overlap = np.maximum(np.asarray(overlap, float), 1e-30)  # small enough never to win, large enough for any power
    if abs(power - 2) < 1e-9:
        return -np.log(overlap)
    return overlap ** (2 - power) / (power - 2)


def _from_phase(phase: np.ndarray, power: float) -> np.ndarray:
    if abs(power - 2) < 1e-9:
        return np.exp(-phase)
    inside = phase * (power - 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(inside > 0, np.maximum(inside, 1e-300) ** (1 / (2 - power)), np.inf)


def growth_rate(data: DataConfig, network: NetworkConfig) -> float:
    r"""The factor a of tensor power iteration $d\Lambda/dt = a\,\Lambda^{q-1}$.

    $a = \frac1k (1 - \frac1k) (1 - \mu (1 - \frac1L)(1 - \rho^q)) E[\sum_p z_p^q] / \varrho^{q-1}$, while the gradient
    is not yet dying: a multi-view sample shows the view in full, a single-view one with probability 1/L, else ρ of it.
    """
    k, q = data.num_classes, network.relu_power
    missing = data.single_view_fraction * (1 - 1 / data.num_views) * (1 - data.weak_view_strength**q)
    return (1 - 1 / k) / k * (1 - missing) * label_moment(data, q) / network.relu_threshold ** (q - 1)


def tensor_power_time(start: np.ndarray | float, rate: float, power: float, threshold: float) -> np.ndarray:
    r"""Time in which $d\Lambda/dt = a\,\Lambda^{q-1}$ takes Λ from its start to the threshold ϱ.

    $t^* = (\Lambda(0)^{-(q-2)} - \varrho^{-(q-2)}) / (a (q-2))$; at q = 2 $\log(\varrho/\Lambda(0))/a$.

    Args:
        start: Λ(0).
        rate: a, see `growth_rate`.
        power: q.
        threshold: ϱ.

    Returns:
        t*; 0 where Λ(0) ≥ ϱ.
    """
    return np.maximum(_phase(start, power) - _phase(threshold, power), 0.0) / rate


def tensor_power_loser(
    loser: np.ndarray | float, winner: np.ndarray | float, ratio: np.ndarray | float, power: float, threshold: float
) -> np.ndarray:
    r"""Overlap of the loser when the winner has reached ϱ.

    $\Lambda'(t^*)^{-(q-2)} = \Lambda'(0)^{-(q-2)} - \frac{S'}{S}(\Lambda(0)^{-(q-2)} - \varrho^{-(q-2)})$.

    Args:
        loser: Λ'(0).
        winner: Λ(0).
        ratio: S'/S.
        power: q.
        threshold: ϱ.

    Returns:
        Λ'(t*), at most ϱ.
    """
    phase = _phase(loser, power) - ratio * np.maximum(_phase(winner, power) - _phase(threshold, power), 0.0)
    return np.minimum(_from_phase(np.maximum(phase, _phase(threshold, power)), power), threshold)


def label_logit(study: Study, time: float) -> float:
    r"""Logit gap of a multi-view sample after its view was learned: $\log((k-1)(1 + E[Z^2]\,t/k))$.

    Solves $\dot F = \frac1k E[Z^2] (k-1) e^{-F}$ for one winning neuron in the linear part of the activation.
    """
    k = study.data.num_classes
    return math.log(max(k - 1, 1)) + math.log1p(label_moment(study.data, 2.0) * max(time, 0.0) / k)


def winner_overlap(study: Study, time: float) -> float:
    r"""Overlap W of a winner: $W = (F + (1 - 1/q)\varrho\,C_p)/E[Z]$ with the label logit F of `label_logit`."""
    network = study.network
    bend = (1 - 1 / network.relu_power) * network.relu_threshold * study.data.patches_per_feature
    factor = float(np.mean(study.data.view_strengths or (1.0,)))
    return (label_logit(study, time) + bend) / (factor * uniform_moment(study.data.label_strength, 1.0))


def taught_overlap(study: Study, distill: DistillConfig) -> float:
    r"""Overlap of a view that a student learned from traces: its trace's logit stops at the cap c.

    $\sum_p act(\bar z_f \Lambda) = c$, that is $\Lambda = (c + (1 - 1/q)\varrho\,C_p)/\bar z_f$ where the
    activation is linear; at most the W of a view learned from labels.
    """
    data, network = study.data, study.network
    q, threshold, parts = network.relu_power, network.relu_threshold, data.patches_per_feature
    per_patch = distill.cap / parts
    if per_patch >= threshold / q:
        pre_activation = per_patch + (1 - 1 / q) * threshold
    else:
        pre_activation = (q * threshold ** (q - 1) * per_patch) ** (1 / q)
    trace = uniform_moment(data.foreign_strength, 1.0) / parts
    full = winner_overlap(study, study.train.learning_rate * (distill.onset_step + distill.num_steps))
    return min(full, pre_activation / trace) if trace > 0 else 0.0


def single_view_rate(study: Study) -> float:
    r"""The factor b of $d\Lambda'/dt = b\,\Lambda'^{q-1}$ from the single-view samples of a losing view.

    $b = \frac{\mu}{kL} E[\sum_p z_p^q]/\varrho^{q-1}$, once the winner is learned and while these samples are neither
    classified nor memorised. Before, they push both views alike and are part of `growth_rate`.
    """
    data, network = study.data, study.network
    share = data.single_view_fraction / (data.num_classes * data.num_views)
    return share * label_moment(data, network.relu_power) / network.relu_threshold ** (network.relu_power - 1)


def step_size_lag(start: np.ndarray, end: np.ndarray | float, rate: np.ndarray | float, study: Study) -> np.ndarray:
    r"""Phase by which steps of size η lag behind the flow $\dot\Lambda = a \Lambda^{q-1}$ from start to end.

    One step changes the phase $\Lambda^{-(q-2)}/(q-2)$ by $-\eta a (1 - \frac{q-1}{2} \eta a \Lambda^{q-2} + \dots)$,
    so the lag is $\frac{q-1}{2} \eta a \log(\Lambda_{end}/\Lambda(0))$ to first order.
    """
    growth = np.log(np.maximum(end, 1e-30)) - np.log(np.maximum(start, 1e-30))  # float32 underflows below
    return (study.network.relu_power - 1) / 2 * study.train.learning_rate * rate * np.maximum(growth, 0.0)


def label_growth(study: Study, overlap: float) -> float:
    r"""Phase, times ϱ^(q−1), that labels give a loser until its winner stands at W: $\int_\varrho^W g(w)\,dw$ and more.

    Once all classes are learned, a sample of another class with a trace of the view still pulls the winner down, by
    $p_f = e^{F_f - F}$ against the labels' $1 - p_y = C e^{-F}$, with $F_f = act(\bar z_f w)$ and
    $C = k - 1 - n + n e^{F_f}$ for $n = s(1 - \tfrac1k)$ known traces in a sample. The labels' push keeps only

    $1/g = 1 - n \frac{\bar z_f}{\bar z}\,act'(\bar z_f w)\,e^{F_f}/C$.

    The loser sees the whole push, so its creep follows this integral and not $W - \varrho$. And it sees it by $z^q$,
    where the winner, in the linear part of the activation, grows by z: with the residual $r = 1 - p_y$ at strength z
    the integrand is $g\,E[r \sum_p z_p^q]/E[r z]$.
    """
    data, network = study.data, study.network
    threshold, parts = network.relu_threshold, data.patches_per_feature
    label, foreign = uniform_moment(data.label_strength, 1.0), uniform_moment(data.foreign_strength, 1.0)
    grid = np.linspace(threshold, max(overlap, threshold), 400)
    logit, slope = _trace(foreign / parts * grid, parts, network)
    known = min(data.feature_sparsity * (1 - 1 / data.num_classes), data.num_classes - 1.0)
    competitors = data.num_classes - 1 - known + known * np.exp(logit)
    remains = 1 - known * foreign / label * slope * np.exp(logit) / competitors
    strength = np.linspace(*data.label_strength, 40)[:, None]
    residual = 1 / (1 + np.exp(_trace(strength / parts * grid, parts, network)[0]) / competitors)
    power = network.relu_power
    seen = split_factor(data, power) * (residual * strength**power).mean(0) / (residual * strength).mean(0)
    return float(np.trapezoid(seen / np.maximum(remains, 0.05), grid))


def _trace(pre_activation: np.ndarray, parts: int, network: NetworkConfig) -> tuple[np.ndarray, np.ndarray]:
    """Logit and slope that C_p equal pre-activations give."""
    q, threshold = network.relu_power, network.relu_threshold
    bent = np.minimum(pre_activation, threshold)
    logit = parts * (bent**q / (q * threshold ** (q - 1)) + np.maximum(pre_activation - threshold, 0.0))
    return logit, (bent / threshold) ** (q - 1)


def held_back_residual(study: Study, unlearned: np.ndarray | float) -> np.ndarray:
    r"""Label residual 1 − p_y of a learned class while a share u of the other classes is still unlearned.

    In unlearned classes' samples a trace of the learned view wins too much: its gradient pushes the winner down, and
    the label's own samples have to push back. Quasi-static balance of the two, solved for the overlap W:

    $1 - p_y(W) = s (1 - \tfrac1k)\,u\,\frac{\bar z_f}{\bar z}\, act'(\bar z_f W)\, p_f(W)$ with
    $p_y = (1 + (k-1)e^{-act(\bar z W)})^{-1}$ and $p_f = (1 + (k-1)e^{-act(\bar z_f W)})^{-1}$.

    Args:
        study: the configuration.
        unlearned: u in [0, 1].

    Returns:
        The residual, shape of u; 0 at u = 0.
    """
    data, network = study.data, study.network
    k, threshold, parts = data.num_classes, network.relu_threshold, data.patches_per_feature
    label, foreign = (
        uniform_moment(data.label_strength, 1.0) / parts,
        uniform_moment(data.foreign_strength, 1.0) / parts,
    )
    overlap = np.linspace(threshold, 60 * threshold, 6000) / label

    label_logits, _ = _trace(label * overlap, parts, network)
    trace_logits, slope = _trace(foreign * overlap, parts, network)
    residual = 1 - 1 / (1 + (k - 1) * np.exp(-label_logits))
    share = 1 / (1 + (k - 1) * np.exp(-trace_logits))
    push = data.feature_sparsity * (1 - 1 / k) * foreign / label * slope * share
    unlearned = np.asarray(unlearned, float)
    # Residual falls and push grows along W: the first W at which the push wins is the balance.
    wins = residual < unlearned[..., None] * push
    return np.where(wins.any(-1), residual[wins.argmax(-1)], 0.0)


class TimeScales(NamedTuple):
    """The clocks of section 6, in time units η · steps.

    Attributes:
        view: a view is learned from multi-view data.
        last: the same in the unluckiest class of all single networks (`last_view_time`).
        memorise_naive: a single-view sample is memorised through noise alone.
        memorise: the same through the weak-view patch, which the winner has already lifted.
        second: the losing view is learned from single-view samples, counted from `view` on.
        trace: a student learns a missing view from its traces in other classes.
        training: the time that training takes, η · T.
        distillation: the time that the teacher is on.
    """

    view: float
    last: float
    memorise_naive: float
    memorise: float
    second: float
    trace: float
    training: float
    distillation: float


def single_view_time(clock: TimeScales) -> float:
    r"""How long a loser's single-view samples push it alone, $\max(\min(t_{memo}, \eta T) - t_{view}, 0)$."""
    return max(min(clock.memorise, clock.training) - clock.view, 0.0)


def _effective_samples(data: DataConfig) -> float:
    """Inverse weight of one single-view training sample."""
    if data.representation == "limit_single_view_noise" and data.single_view_fraction > 0:
        return data.num_single_view_train / data.single_view_fraction
    return float(data.num_train)


def time_scales(study: Study, distill: DistillConfig | None = None) -> TimeScales:
    """All clocks of a study, from the typical start overlap c·σ₀ (c: `expected_maximum` of m normal numbers).

    Args:
        study: the configuration.
        distill: which distillation the trace clock is for; default `study.self_distill`.

    Returns:
        The clocks; infinite where a channel does not exist (no noise, no single-view samples, no traces).
    """
    data, network, train = study.data, study.network, study.train
    distill = distill or study.self_distill
    q, threshold, k = network.relu_power, network.relu_threshold, data.num_classes
    c = expected_maximum(network.neurons_per_class)
    start = c * network.init_std
    rate = growth_rate(data, network)
    view = float(tensor_power_time(start, rate, q, threshold))
    training = train.learning_rate * train.num_steps
    infinite = math.inf
    samples = _effective_samples(data)
    nu, mu = data.noise_norm, data.single_view_fraction
    naive = memorise = second = trace = infinite
    if nu > 0 and mu > 0 and samples > 0:
        naive = float(tensor_power_time(start * nu, nu**2 / (samples * threshold ** (q - 1)), q, threshold))
        memorise = min(view + memory_time(study), naive)
    loser = float(tensor_power_loser(0.75 * start, start, 1.0, q, threshold))
    if mu > 0:
        second = float(tensor_power_time(loser, single_view_rate(study), q, threshold))
    share = data.feature_sparsity / k
    if share > 0 and foreign_moment(data, q) > 0 and distill.weight > 0:
        # Residual of the soft output on a trace: between the label at the cap and nothing, about 1/3.
        push = (k - 1) / k * share * distill.weight / 3
        trace = float(tensor_power_time(loser, push * foreign_moment(data, q) / threshold ** (q - 1), q, threshold))
    return TimeScales(
        view, last_view_time(study), naive, memorise, second, trace, training, train.learning_rate * distill.num_steps
    )


def last_view_time(study: Study) -> float:
    r"""Time until every class of every single network has learned a view: that of the smallest winning start.

    Of n = (replicates · seeds · k) classes, each with the largest of Lm starts, the smallest has the median
    $\sigma_0 z$, $\Phi(z)^{Lm} = \log 2 / n$.

    Args:
        study: the configuration.

    Returns:
        The time; infinite where that start is not positive.
    """
    data, network = study.data, study.network
    classes = study.replicates * study.seeds * data.num_classes
    z = norm.ppf((math.log(2) / classes) ** (1 / (data.num_views * network.neurons_per_class)))
    if z <= 0:
        return math.inf
    start = network.init_std * z
    return float(tensor_power_time(start, growth_rate(data, network), network.relu_power, network.relu_threshold))


@functools.lru_cache
def memory_time(study: Study) -> float:
    r"""Time in which a single-view sample of a losing view is memorised, after the winner has been learned.

    Solves $(L - 1)\,\frac{\nu^2}{n} \int_0^t \mathrm{act}'(\rho \bar z W(t'))\,dt' = \log k$: the noise of a weak-view
    patch grows with the slope at the pre-activation that the winner, still growing as `winner_overlap`, gives it.

    Args:
        study: the configuration, with noise and single-view samples.

    Returns:
        The time; infinite where the weak view has no strength.
    """
    data, network = study.data, study.network
    weak = data.weak_view_strength * uniform_moment(data.label_strength, 1.0) / data.patches_per_feature
    needed = _effective_samples(data) * math.log(data.num_classes) / (data.noise_norm**2 * max(data.num_views - 1, 1))

    def slope(time: float) -> float:
        return min(weak * winner_overlap(study, time) / network.relu_threshold, 1.0) ** (network.relu_power - 1)

    if slope(0.0) == 0:
        return math.inf
    times = np.linspace(0, needed / slope(0.0), 400)  # the slope only grows, so this is long enough
    slopes = np.array([slope(t) for t in times])
    grown = np.concatenate([[0.0], np.cumsum((slopes[1:] + slopes[:-1]) / 2 * np.diff(times))])
    return float(np.interp(needed, grown, times))


def noise_room(overlap: float, power: float, threshold: float) -> float:
    r"""Phase until noise has taught the loser to the winner's neuron.

    In finite d noise overlaps the winner's feature, $\langle\xi_p, v\rangle = \sigma_p g$ with g standard normal. So
    the winner's neuron reads $s g$, $s = \sigma_p W$, in the loser's patches, and in half of them it is active:
    $\int_0^\varrho d\lambda / E[(\lambda + s g)_+^{q-1}]$. At s = 0 there is no such channel.

    Args:
        overlap: s.
        power: q.
        threshold: ϱ.

    Returns:
        The phase, in the units of `tensor_power_time` times its rate; infinite at s = 0.
    """
    if overlap <= 0:
        return math.inf
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    reach = np.linspace(0, threshold, 400)
    push = np.maximum(reach[:, None] + overlap * nodes, 0.0) ** (power - 1) @ weights / math.sqrt(2 * math.pi)
    return float(np.trapezoid(1 / push, reach))


def idealised_single_error(num_views: int, generation: int = 0) -> float:
    r"""Share of views missed on single-view data, $(1 - 1/L)^{g+1}$; generation 0 is a single network."""
    return (1 - 1 / num_views) ** (generation + 1)


def ensemble_error(study: Study, size: int) -> float:
    r"""Error on single-view samples of an ensemble of K networks: the binomial law of learned views.

    Idealised networks know exactly one view of each class, a fair die's, at the winner's overlap W, and nothing else.
    $B \sim \mathrm{Bin}(K, 1/L)$ of them know the view of a single-view sample, whose logit is then
    $\frac{B}{K} a(1) + \frac{K-B}{K} a(\rho)$ with $a(x) = C_p\,\mathrm{act}(x \bar z W / C_p)$. In a foreign class,
    $J \sim \mathrm{Bin}(L, s/k)$ of whose features are present with the mean strength $\bar\Gamma$,
    $X \sim \mathrm{Bin}(K, J/L)$ networks know one of them, and its logit is $\frac{X}{K} a(\bar\Gamma)$:

    $e_s(K) = \sum_b P(B = b) \left[1 - P(X a(\bar\Gamma) < b\,a(1) + (K - b)\,a(\rho))^{k-1}\right]$.

    At K = 1 it is $(1 - 1/L)(1 - (1 - s/k)^{k-1})$ where the missing view is fatal.

    Args:
        study: the configuration.
        size: networks K ≥ 1.

    Returns:
        $e_s$; ties count as errors by half.
    """
    data, network = study.data, study.network
    q, threshold, parts = network.relu_power, network.relu_threshold, data.patches_per_feature
    overlap = winner_overlap(study, study.train.learning_rate * study.train.num_steps)

    def activation(strength: float) -> float:
        pre = strength * overlap / parts
        return parts * (min(pre, threshold) ** q / (q * threshold ** (q - 1)) + max(pre - threshold, 0.0))

    label = uniform_moment(data.label_strength, 1.0)
    foreign = data.single_view_foreign_strength * uniform_moment(data.single_view_foreign_ratio, 1.0)
    views, counts = data.num_views, np.arange(size + 1)
    known = binom.pmf(counts, size, 1 / views)
    present = binom.pmf(np.arange(views + 1), views, min(1.0, data.feature_sparsity / data.num_classes))
    of_foreign = sum(w * binom.pmf(counts, size, j / views) for j, w in enumerate(present))
    own = counts * activation(label) + (size - counts) * activation(data.weak_view_strength * label)
    below = own[:, None] - counts * activation(foreign)
    # A tie: equal up to rounding.
    safe = np.where(np.abs(below) < 1e-9, 0.5, below > 0) @ of_foreign
    return float(known @ (1 - safe ** (data.num_classes - 1)))


def ideal_overlaps(start: np.ndarray, moments: np.ndarray, study: Study) -> np.ndarray:
    r"""What tensor power iteration and the dying gradient make of a start, class by class.

    The winner is $\arg\max_\ell \Lambda_\ell(0) S_\ell^{1/(q-2)}$ (the first to reach ϱ). Losers then stand at
    `tensor_power_loser`, and creep while labels make the winner grow to W (`label_growth`),
    $d\Lambda'/d\Lambda = (S'/S)(\Lambda'/\varrho)^{q-1}$,
    and, from then until they are memorised, from the single-view samples of their own,
    $d\Lambda'/dt = b \Lambda'^{q-1}$ with b of `single_view_rate`. A loser that reaches ϱ on the way shares the rest of
    the growth.

    Args:
        start: Λ(0), shape [..., k, L].
        moments: S_{i,ℓ}, broadcastable to start.
        study: the configuration.

    Returns:
        Λ at the end, shape of start; a class without any positive start overlap stays at 0.
    """
    q, threshold = study.network.relu_power, study.network.relu_threshold
    final_winner = winner_overlap(study, study.train.learning_rate * study.train.num_steps)
    moments = np.broadcast_to(moments, start.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        arrival = np.where(start > 0, (_phase(start, q) - _phase(threshold, q)) / moments, np.inf)
    winner = arrival.argmin(-1)[..., None]
    first = np.take_along_axis(start, winner, -1)
    ratio = moments / np.take_along_axis(moments, winner, -1)
    loser_phase = _phase(start, q) - ratio * np.maximum(_phase(first, q) - _phase(threshold, q), 0.0)
    room = loser_phase - _phase(threshold, q)  # phase that is left until the loser reaches ϱ
    # Phase that the loser gains while the winner grows to W, and from single-view samples until they are memorised.
    creep = ratio * label_growth(study, final_winner) / threshold ** (q - 1)
    clock = time_scales(study)
    creep = creep + single_view_rate(study) * single_view_time(clock)
    k = start.shape[-2]
    rates = moments / moments.mean((-2, -1), keepdims=True) * growth_rate(study.data, study.network)
    learned_at = np.where(start > 0, np.maximum(_phase(start, q) - _phase(threshold, q), 0.0) / rates, np.inf).min(-1)
    ends = np.sort(np.minimum(learned_at, clock.training), -1)  # when the 1st, 2nd, … class is learned
    if study.train.optimizer == "sgd":
        gained = _from_phase(np.maximum(loser_phase, _phase(threshold, q)), q)
        lag = step_size_lag(first, threshold, rates, study) - step_size_lag(start, gained, rates, study)
        creep = creep + np.maximum(lag, 0.0)
    residuals = held_back_residual(study, 1 - np.arange(1, k) / k)
    spans = np.diff(ends, axis=-1) * residuals  # residual time between neighbouring arrivals
    after = np.concatenate([np.cumsum(spans[..., ::-1], -1)[..., ::-1], np.zeros_like(spans[..., :1])], -1)
    rank = np.argsort(np.argsort(learned_at, -1), -1)
    creep = creep + rates * np.take_along_axis(after, rank, -1)[..., None]
    reached = (room <= creep) & (start > 0)
    spent = np.clip(room / np.maximum(creep, 1e-300), 0, 1)  # share of the winner's growth before that
    shared = threshold + (1 - spent) * (final_winner - threshold) / 2
    crept = np.minimum(_from_phase(np.maximum(loser_phase - creep, _phase(threshold, q)), q), threshold)
    loser = np.where(reached, shared, np.where(start > 0, crept, 0.0))
    is_winner = np.arange(start.shape[-1]) == winner
    largest = np.where(is_winner, -np.inf, np.where(reached, shared, -np.inf)).max(-1, keepdims=True)
    winner_value = np.where(np.isfinite(largest), final_winner + threshold - largest, final_winner)
    out = np.where(is_winner, winner_value, loser)
    return np.where(first > 0, out, 0.0)


class Condition(NamedTuple):
    """One line of the regime check: a statement, its two sides as numbers, and whether it holds."""

    name: str
    statement: str
    left: float
    right: float
    holds: bool


def _drawn_moments(rng: np.random.Generator, sets: int, study: Study) -> np.ndarray:
    r"""S_{i,ℓ} of training sets, up to a constant [sets, k, L]: view strengths, single-view samples of each view."""
    data, q = study.data, study.network.relu_power
    cells, mu = data.num_classes * data.num_views, data.single_view_fraction
    own = data.num_single_view_train if data.representation == "limit_single_view_noise" else round(mu * data.num_train)
    counts = rng.multinomial(own, np.full(cells, 1 / cells), sets).reshape(sets, data.num_classes, data.num_views)
    shown = 1 - mu + mu * counts * data.num_classes / max(own, 1)
    return shown * np.power(data.view_strengths or (1.0,) * data.num_views, q)


def regime(study: Study) -> list[Condition]:
    """Whether a configuration lies where the theory speaks: each condition with its numbers.

    "Much smaller" is read as a tenth, for the start (0.035 worked, 0.18 did not) and for the views that no network of
    an ensemble learns, against the 1 − 1/L that one network misses. At most 30 % of classes may end with both views, by
    the closed form of `ideal_overlaps` at drawn starts.
    """
    data, network = study.data, study.network
    q, threshold = network.relu_power, network.relu_threshold
    clock = time_scales(study)
    start = expected_maximum(network.neurons_per_class) * network.init_std
    rng = np.random.default_rng(0)
    shape = (20, 20, data.num_classes, data.num_views, network.neurons_per_class)  # training sets, networks, …
    draws = network.init_std * rng.standard_normal(shape).max(-1).clip(0)
    final = ideal_overlaps(draws, _drawn_moments(rng, len(draws), study)[:, None], study)
    ordered = np.sort(final, -1)
    both = float((ordered[..., -1] < 2 * ordered[..., -2]).mean()) if data.num_views > 1 else 0.0
    learned = (final > final.max(-1, keepdims=True) / 2).mean(1)  # the share of one training set's networks
    unlearned = float(((1 - learned) ** study.seeds).mean())
    winner = winner_overlap(study, clock.training)
    reading = data.noise_std * winner if data.representation == "dense" else 0.0
    pushed = label_growth(study, winner) / threshold ** (q - 1) + single_view_rate(study) * single_view_time(clock)
    label, foreign = label_moment(data, q), foreign_moment(data, q)

    def less(name: str, statement: str, left: float, right: float) -> Condition:
        return Condition(name, statement, left, right, bool(left < right))

    conditions = [
        less("power", "q > 2, so that the winner takes all", 2.0, q),
        less("small start", "c·σ₀ < ϱ/10", start, threshold / 10),
        less("time to learn", "t_last < η·T", clock.last, clock.training),  # one unlearned class costs a training error
        less("views before memory", "t_view < t_memo", clock.view, clock.memorise),
        less("time to memorise", "t_memo < η·T", clock.memorise, clock.training),
        less(
            "second view stays out",
            "min(t_memo, η·T) − t_view < t_second",  # memorised samples teach no more
            single_view_time(clock),
            clock.second,
        ),
        less("clear winners", "share of classes with both views < 0.3", both, 0.3),
        less(
            "missing view is fatal",
            "strongest weak view < weakest foreign feature of single-view samples",
            data.weak_view_strength * data.label_strength[1],
            data.single_view_foreign_strength * data.single_view_foreign_ratio[0],
        ),
        less(
            "foreign features",
            "expected foreign classes s(k−1)/k > 1",
            1.0,
            data.feature_sparsity * (1 - 1 / data.num_classes),
        ),
        less(
            "traces are weak",
            "largest foreign strength < smallest label strength",
            data.foreign_strength[1],
            data.label_strength[0],
        ),
        less(
            "small noise overlaps",
            "phase that labels and single-view samples give < phase to learn from noise σ_p·W (∞ in the limit)",
            pushed,
            noise_room(reading, q, threshold),
        ),
        less("several views", "L > 1: with one view there is none to be missed", 1.0, data.num_views),
    ]
    if data.num_views > 1:
        conditions.append(
            less(
                "balanced views (ensemble)",
                "share of views that no network of the ensemble learns < (1 − 1/L)/10",
                unlearned,
                (1 - 1 / data.num_views) / 10,
            )
        )
    for name in ("distill", "self_distill"):
        section: DistillConfig = getattr(study, name)
        if section.objective == "one_sided":
            conditions.append(
                less(
                    f"traces outrun foreign overlaps ({name})",
                    "E[z_label^q] < (k−1)·E[z_foreign^q]",
                    label,
                    (data.num_classes - 1) * foreign,
                )
            )
        trace = time_scales(study, section)
        conditions.append(less(f"time to distil ({name})", "t_trace < η·steps", trace.trace, trace.distillation))
    return conditions

"""What a start ideally becomes, and what that scores: winners, losers, ensembles (docs/theory.md, sections 5 and 6)."""

from __future__ import annotations

import numpy as np
from scipy.special import comb

from multiview.config import DataConfig, Study
from multiview.theory.mean_field import TypicalNetwork, typical_network, winner_overlap
from multiview.theory.power_iteration import from_phase, growth_rate, label_moment, phase, step_size_lag, uniform_moment
from multiview.theory.strengths import activation, effective_samples, mean_foreign_strength, mean_label_strength


def single_view_rate(study: Study) -> float:
    r"""The factor b of $d\Lambda'/dt = b\,\Lambda'^{q-1}$ from the single-view samples of a losing view.

    $b = \frac{\mu}{kL} E[\sum_p z_p^q]/\varrho^{q-1}$, once the winner is learned and while these samples are neither
    classified nor memorised. Before, they push both views alike and are part of `growth_rate`.
    """
    data, network = study.data, study.network
    share = data.single_view_fraction / (data.num_classes * data.num_views)
    return share * label_moment(data, network.relu_power) / network.relu_threshold ** (network.relu_power - 1)


def _single_views(data: DataConfig) -> int:
    """Single-view samples of a training set, N_s."""
    if data.representation == "limit_single_view_noise":
        return data.num_single_view_train
    return round(data.single_view_fraction * data.num_train)


def drawn_training_set(rng: np.random.Generator, study: Study) -> tuple[np.ndarray, np.ndarray]:
    r"""Draw what one training set has of each view, by the sampling law.

    Args:
        rng: draws it.
        study: the configuration.

    Returns:
        $S_{i,\ell} = E[1_{y=i} \sum_p z_p^q]$ up to a constant [k, L], and its single-view samples of each view [k, L].
    """
    data, q = study.data, study.network.relu_power
    k, views, mu, own = data.num_classes, data.num_views, data.single_view_fraction, _single_views(data)
    if data.representation == "limit_single_view_noise":
        counts = np.bincount(np.arange(data.num_train - own) % k, minlength=k)
    else:
        counts = rng.multinomial(data.num_train - own, np.full(k, 1 / k))
    shown = np.empty((k, views))
    counts = np.maximum(counts, 1)
    for i, count in enumerate(counts):
        shown[i] = (rng.uniform(*data.label_strength, (count, views)) ** q).mean(0) * count / counts.mean()
    single = rng.multinomial(own, np.full(k * views, 1 / (k * views))).reshape(k, views)
    lone = single * k / max(own, 1) * uniform_moment(data.label_strength, q)
    return ((1 - mu) * shown + mu * lone) * np.power(data.view_strengths or (1.0,) * views, q), single


def _when_pushed(typical: TypicalNetwork, learned_at: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Find when labels have given losers this share of their total push; infinite beyond 1. Shapes broadcast."""
    nearest = np.abs(learned_at[..., None] - typical.arrival).argmin(-1)
    nearest, learned_at = (np.broadcast_to(a, share.shape) for a in (nearest, learned_at))
    out = np.full(share.shape, np.inf)
    for index in np.unique(nearest):
        chosen = (nearest == index) & (share < 1)
        course = typical.push[:, index] / max(float(typical.push[-1, index]), 1e-300)
        out[chosen] = np.interp(share[chosen], course, typical.times)
    return np.maximum(out, learned_at)


def ideal_overlaps(
    start: np.ndarray, moments: np.ndarray, study: Study, single_views: np.ndarray | float | None = None
) -> np.ndarray:
    r"""Follow a start through tensor power iteration, the dying gradient and lost samples, class by class.

    The winner is $\arg\max_\ell \Lambda_\ell(0) S_\ell^{1/(q-2)}$ (the first to reach ϱ). Losers then stand at
    `tensor_power_loser` and run down their phase further: by what labels still push (`typical_network`), by what finite
    steps make winners lag, and by their own single-view samples until those are memorised. A loser that reaches ϱ
    through labels shares the rest of the winner's growth.

    A single-view sample of the losing view learns it together with the noise ξ of its patch: its pre-activation is
    $h = \Lambda' + \nu A C_p / \bar z$, and with n of them $\dot h = c\,(n + \kappa)\,h^{q-1}$,
    $\dot\Lambda' = c\,n\,h^{q-1}$, where $\kappa = C_p \nu^2/\bar z^2$ and c is the rate of one sample.

    Args:
        start: Λ(0), shape [..., k, L].
        moments: S_{i,ℓ}, broadcastable to start.
        study: the configuration.
        single_views: single-view training samples of each view, broadcastable to start; by default their mean N_s/(kL).

    Returns:
        Λ at the end, shape of start; a class without any positive start overlap stays at 0.
    """
    data, q, threshold = study.data, study.network.relu_power, study.network.relu_threshold
    time = study.train.learning_rate * study.train.num_steps
    learned = phase(threshold, q)
    moments = np.broadcast_to(moments, start.shape)
    rates = moments / moments.mean((-2, -1), keepdims=True) * growth_rate(data, study.network)
    with np.errstate(divide="ignore", invalid="ignore"):
        arrival = np.where(start > 0, (phase(start, q) - learned) / rates, np.inf)
    winner = arrival.argmin(-1)[..., None]
    learned_at = np.maximum(np.take_along_axis(arrival, winner, -1), 0.0)  # of the class
    first = np.take_along_axis(start, winner, -1)
    ratio = moments / np.take_along_axis(moments, winner, -1)
    loser = phase(start, q) - ratio * np.maximum(phase(first, q) - learned, 0.0)

    # Labels, from the arrival of the winner on.
    typical = typical_network(study, time)
    room = loser - learned  # phase that is left until the loser reaches ϱ
    if study.train.optimizer == "sgd":
        gained = from_phase(np.maximum(loser, learned), q)
        lag = step_size_lag(first, threshold, rates, study) - step_size_lag(start, gained, rates, study)
        room = room - np.maximum(lag, 0.0)
    end = max(time, float(typical.arrival[-1]))
    overlap = np.interp(learned_at, typical.arrival, typical.winner)
    push = moments / moments.mean(-1, keepdims=True) * np.interp(learned_at, typical.arrival, typical.push[-1])
    reached = (room < push) & (start > 0)
    share = np.divide(np.maximum(room, 0.0), push, out=np.where(reached, 0.0, np.inf), where=reached & (push > 0))
    reached_at = _when_pushed(typical, learned_at, share)
    largest = overlap.max(initial=threshold)
    before, both, second = (
        np.interp(reached_at, [*typical.late, end], [*values, last])
        for values, last in (
            (typical.before, largest),
            (typical.pair.sum(1), largest + threshold),
            (typical.pair[:, 1], threshold),
        )
    )
    # A loser that comes close behind finds the winner still on its way from ϱ: between half of both and the typical.
    grown = np.where(reached, np.maximum(room, 0.0), 0.0) * threshold ** (q - 1)
    behind = np.where(grown < before - threshold, grown / np.maximum(before - threshold, 1e-9), 1.0)
    shared = np.minimum(behind * second + (1 - behind) * both / 2, both / 2)
    crept = np.minimum(from_phase(np.maximum(room - push, 0.0) + learned, q), threshold)

    # Single-view samples of the loser's own, until they are memorised.
    cells = data.num_classes * data.num_views
    own = _single_views(data) / cells if single_views is None else single_views
    noise = data.patches_per_feature * data.noise_norm**2 / mean_label_strength(study) ** 2
    of_sample = label_moment(data, q) / threshold ** (q - 1) / max(effective_samples(data), 1.0)
    lifted = np.maximum(phase(crept, q) - of_sample * (own + noise) * typical.unmemorised, learned)
    crept = crept + own / np.maximum(own + noise, 1e-300) * (np.minimum(from_phase(lifted, q), threshold) - crept)

    loser = np.where(reached, shared, np.where(start > 0, crept, 0.0))
    is_winner = np.arange(start.shape[-1]) == winner
    given = np.where(reached & ~is_winner, both - shared, np.inf).min(-1, keepdims=True)
    out = np.where(is_winner, np.where(np.isfinite(given), given, overlap), loser)
    # A class that is not learned in time is still in its race.
    lags = 1.0 if study.train.optimizer == "sgd" else 0.0
    late = learned_at + lags * step_size_lag(first, threshold, 1.0, study) > time
    racing = np.minimum(from_phase(np.maximum(phase(start, q) - rates * time, learned), q), threshold)
    out = np.where(late, np.where(start > 0, racing, 0.0), out)
    return np.where(first > 0, np.maximum(out, start), 0.0)


def idealised_single_error(num_views: int, generation: int = 0) -> float:
    r"""Share of views missed on single-view data, $(1 - 1/L)^{g+1}$; generation 0 is a single network."""
    return (1 - 1 / num_views) ** (generation + 1)


def _binomial(counts: np.ndarray, size: int, rate: float) -> np.ndarray:
    """Probabilities of these counts out of `size`."""
    return comb(size, counts) * rate**counts * (1 - rate) ** (size - counts)


def ensemble_error(study: Study, size: int) -> float:
    r"""Error on single-view samples of an ensemble of K networks: the binomial law of learned views.

    Idealised networks know exactly one view of each class, a fair die's, at the winner's overlap W, and nothing else.
    $B \sim \mathrm{Bin}(K, 1/L)$ of them know the view of a single-view sample, whose logit is then
    $\frac{B}{K} a(\bar z) + \frac{K-B}{K} a(\rho\bar z)$ with $a(x) = C_p\,\mathrm{act}(x W / C_p)$. In a foreign
    class, $J \sim \mathrm{Bin}(L, s/k)$ of whose features are present with the mean strength $\bar\Gamma$,
    $X \sim \mathrm{Bin}(K, J/L)$ networks know one of them, and its logit is $\frac{X}{K} a(\bar\Gamma)$:

    $e_s(K) = \sum_b P(B = b) \left[1 - P(X a(\bar\Gamma) < b\,a(\bar z) + (K - b)\,a(\rho\bar z))^{k-1}\right]$.

    At K = 1 it is $(1 - 1/L)(1 - (1 - s/k)^{k-1})$ where the missing view is fatal.

    Args:
        study: the configuration.
        size: networks K ≥ 1.

    Returns:
        $e_s$; ties count as errors by half.
    """
    data, network = study.data, study.network
    parts = data.patches_per_feature
    overlap = winner_overlap(study, study.train.learning_rate * study.train.num_steps)

    def logit(strength: float) -> float:
        return parts * float(activation(strength * overlap / parts, network)[0])

    label, foreign = mean_label_strength(study), mean_foreign_strength(data)
    views, counts = data.num_views, np.arange(size + 1)
    known = _binomial(counts, size, 1 / views)
    present = _binomial(np.arange(views + 1), views, min(1.0, data.feature_sparsity / data.num_classes))
    of_foreign = sum(w * _binomial(counts, size, j / views) for j, w in enumerate(present))
    own = counts * logit(label) + (size - counts) * logit(data.weak_view_strength * label)
    below = own[:, None] - counts * logit(foreign)
    # A tie: equal up to rounding.
    safe = np.where(np.abs(below) < 1e-9, 0.5, below > 0) @ of_foreign
    return float(known @ (1 - safe ** (data.num_classes - 1)))

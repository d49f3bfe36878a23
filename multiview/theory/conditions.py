"""The clocks of a configuration, and whether it lies in the theory's regime (docs/theory.md, section 6)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from multiview.config import DistillConfig, Study
from multiview.theory.extremes import LOOP, check_draws, solvable
from multiview.theory.mean_field import memory_time, typical_network, winner_overlap
from multiview.theory.outcome import drawn_training_set, ideal_overlaps, single_view_rate
from multiview.theory.patience import known_views, lesson_time
from multiview.theory.power_iteration import (
    expected_maximum,
    foreign_moment,
    growth_rate,
    label_moment,
    last_view_time,
    tensor_power_loser,
    tensor_power_time,
)
from multiview.theory.strengths import activation, effective_samples, mean_foreign_strength, mean_label_strength
from multiview.theory.taught import overlap_at_cap, taught_overlap, taught_step

# What "few" and "much smaller" mean, as a share: of ϱ for the start, of the views that one network misses.
FEW = 1 / 10


class TimeScales(NamedTuple):
    """The clocks of section 6, in time units η · steps.

    Attributes:
        view: a view is learned from multi-view data.
        last: the same in the unluckiest class of all single networks (`last_view_time`).
        memorise_naive: a single-view sample is memorised through noise alone.
        memorise: the same through the weak-view patch, which the winner has already lifted.
        second: the losing view is learned from single-view samples, counted from `view` on.
        trace: students have learned from traces all but a few views that their teacher knows, from the onset on
            (`lesson_time`); 0 if labels have taught them by then.
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


@solvable
def time_scales(study: Study, distill: DistillConfig | None = None, teachers: int = 1) -> TimeScales:
    """All clocks of a study, from the typical start overlap c·σ₀ (c: `expected_maximum` of m normal numbers).

    Args:
        study: the configuration.
        distill: which distillation the trace clock is for; default `study.self_distill`.
        teachers: networks whose average is the teacher in it.

    Returns:
        The clocks; infinite where a channel does not exist (no noise, no single-view samples, no traces).

    Example:
        >>> import multiview as mv
        >>> clocks = mv.time_scales(mv.load_preset("smoke"))
        >>> clocks.view < clocks.last
        True
    """
    data, network, train = study.data, study.network, study.train
    distill = distill or study.self_distill
    q, threshold = network.relu_power, network.relu_threshold
    c = expected_maximum(network.neurons_per_class)
    start = c * network.init_std
    rate = growth_rate(data, network)
    view = float(tensor_power_time(start, rate, q, threshold))
    training = train.learning_rate * train.num_steps
    infinite = math.inf
    samples = effective_samples(data)
    nu, mu = data.noise_norm, data.single_view_fraction
    naive = memorise = second = infinite
    if nu > 0 and mu > 0 and math.isfinite(samples):
        naive = float(tensor_power_time(start * nu, nu**2 / (samples * threshold ** (q - 1)), q, threshold))
        memorise = min(view + memory_time(study), naive)
    loser = float(tensor_power_loser(0.75 * start, start, 1.0, q, threshold))
    if mu > 0:
        second = float(tensor_power_time(loser, single_view_rate(study), q, threshold))
    trace = lesson_time(study, distill, known_views(study, teachers), FEW * (1 - 1 / data.num_views))
    return TimeScales(
        view, last_view_time(study), naive, memorise, second, trace, training, train.learning_rate * distill.num_steps
    )


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
    reach = np.concatenate([[0.0], np.geomspace(1e-3 * min(overlap, threshold), threshold, 800)])
    push = np.maximum(reach[:, None] + overlap * nodes, 0.0) ** (power - 1) @ weights / math.sqrt(2 * math.pi)
    return float(np.trapezoid(1 / push, reach))


def foreign_and_taught_logit(study: Study, distill: DistillConfig, teachers: int = 1) -> tuple[float, float]:
    r"""Two logits of a student in a single-view sample whose view it learned from traces, at the end of distillation.

    The class of a foreign feature that it knows has $a(\bar\Gamma \hat W)$, its own class
    $a(\bar z \Lambda) + a(\rho \bar z W)$ with `taught_overlap` $\Lambda$ and $a(x) = C_p\,act(x/C_p)$. It knows the
    foreign feature from labels, at W, or from traces, where one step may have taken it `taught_step` beyond the cap: Ŵ
    is the larger.

    Args:
        study: the configuration.
        distill: the distillation.
        teachers: networks whose average is the teacher.

    Returns:
        Both.
    """
    winner = winner_overlap(study, study.train.learning_rate * (distill.onset_step + distill.num_steps))
    label, taught = mean_label_strength(study), taught_overlap(study, distill)
    own = _logit(study, label, taught) + _logit(study, study.data.weak_view_strength * label, winner)
    overshot = overlap_at_cap(study, distill) + taught_step(study, distill, known_views(study, teachers))
    largest = max(winner, overshot if math.isfinite(overshot) else 0.0)
    return float(_logit(study, mean_foreign_strength(study.data), largest)), float(own)


def _logit(study: Study, strength: float, overlap: np.ndarray | float) -> np.ndarray:
    """Logit of one neuron at a feature of this strength over its C_p patches."""
    parts = study.data.patches_per_feature
    return np.asarray(parts * activation(strength / parts * np.asarray(overlap), study.network)[0])


class Condition(NamedTuple):
    """One line of the regime check: a statement, its two sides as numbers, and whether it holds."""

    name: str
    statement: str
    left: float
    right: float
    holds: bool


@solvable
def check_regime(study: Study, distillation: bool = True) -> list[Condition]:
    """Check that a study lies in the theory's regime: each condition with both of its sides as numbers.

    "Much smaller" is read as a tenth, for the start (0.035 worked, 0.18 did not) and for the views that no network of
    an ensemble learns, or that a student is not taught in time, against the 1 − 1/L that one network misses. At most
    30 % of classes may end with both views, by `ideal_overlaps` at drawn starts, and a tenth of the views that they
    learn may be weaker than foreign features.

    Args:
        study: the configuration.
        distillation: whether to check the conditions of students too.

    Returns:
        The conditions, each "left is smaller than right"; section 6 of docs/theory.md derives them.

    Example:
        >>> import multiview as mv
        >>> conditions = mv.check_regime(mv.load_preset("smoke"))
        >>> conditions[0].name
        'power'
    """
    data, network = study.data, study.network
    q, threshold = network.relu_power, network.relu_threshold
    clock = time_scales(study)
    start = expected_maximum(network.neurons_per_class) * network.init_std
    rng = np.random.default_rng(0)
    sets_drawn = 20
    shape = (20, data.num_classes, data.num_views, network.neurons_per_class)  # networks, …
    check_draws(study, sets_drawn * (math.prod(shape) + data.num_train * data.num_views + LOOP * data.num_classes))
    draws = np.stack([network.init_std * rng.standard_normal(shape).max(-1).clip(0) for _ in range(sets_drawn)])
    sets = [np.stack(values)[:, None] for values in zip(*(drawn_training_set(rng, study) for _ in draws), strict=True)]
    final = ideal_overlaps(draws, sets[0], study, sets[1])
    # Classes still in their race have a condition of their own, "time to learn".
    ahead = (final == final.max(-1, keepdims=True)) & (final > 0)
    final = np.where(ahead, np.maximum(final, threshold), final)
    ordered = np.sort(final, -1)
    both = float((ordered[..., -1] < 2 * ordered[..., -2]).mean()) if data.num_views > 1 else 0.0
    learned = (final > final.max(-1, keepdims=True) / 2).mean(1)  # the share of one training set's networks
    unlearned = float(((1 - learned) ** study.seeds).mean())
    winner = winner_overlap(study, clock.training)
    reading = data.noise_std * winner if data.representation == "dense" else 0.0
    typical = typical_network(study, clock.training)
    pushed = float(typical.push[-1].mean()) + single_view_rate(study) * typical.unmemorised
    learned_view = final > final.max(-1, keepdims=True) / 2
    full, weak = (_logit(study, share * mean_label_strength(study), final) for share in (1.0, data.weak_view_strength))
    own = full + weak.sum(-1, keepdims=True) - weak
    of_foreign = float(_logit(study, mean_foreign_strength(data), winner))
    label, foreign = label_moment(data, q), foreign_moment(data, q)

    def less(name: str, statement: str, left: float, right: float) -> Condition:
        return Condition(name, statement, left, right, bool(left < right))

    conditions = [
        less("power", "q > 2, so that the winner takes all", 2.0, q),
        less("small start", "c·σ₀ < ϱ/10", start, FEW * threshold),
        less("time to learn", "t_last < η·T", clock.last, clock.training),  # one unlearned class costs a training error
        less("views before memory", "t_view < t_memo", clock.view, clock.memorise),
        less("time to memorise", "t_memo < η·T", clock.memorise, clock.training),
        less(
            "second view stays out",
            "∫(1 − p_y)dt of a lost sample < t_second",  # memorised samples teach no more
            typical.unmemorised,
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
            "known views beat foreign features",
            "share of learned views weaker than a known foreign feature of single-view samples < 0.1",
            float((learned_view & (own < of_foreign)).sum() / max(learned_view.sum(), 1)),
            0.1,
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
                FEW * (1 - 1 / data.num_views),
            )
        )
    for name in ("distill", "self_distill") if distillation else ():
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
        teachers = study.seeds if name == "distill" else 1
        known, taught = foreign_and_taught_logit(study, section, teachers)
        conditions.append(
            less(
                f"taught view beats foreign features ({name})",
                "logit of a known foreign feature in a single-view sample < that of a taught view",
                known,
                taught,
            )
        )
        trace = time_scales(study, section, teachers)
        conditions.append(
            less(
                f"time to distil ({name})",
                "t_trace < η·steps: all but (1 − 1/L)/10 of the views that the teacher knows are taught",
                trace.trace,
                trace.distillation,
            )
        )
    return conditions

"""How long students have to be taught, and the lengths of their phases (docs/theory.md, section 6)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from multiview.config import DistillConfig, Study
from multiview.theory.mean_field import typical_network
from multiview.theory.power_iteration import from_phase, last_view_time, phase
from multiview.theory.taught import largest_of, long_race

# A time beyond this is called infinite: nothing is pushed, or so little that no one waits for it.
LONGEST = 1e15


def share_lost(study: Study, given: np.ndarray | float) -> np.ndarray:
    r"""Share of all views that a network still lacks when each has been given a phase Ψ beyond its winner's.

    A view starts as the largest of m normal numbers, the first of its class, at W, as the largest of (L − 1)m others.
    It is left at $\phi(\Lambda) - \phi(W) > \Psi$, so with $G = \Phi^m$, $\Phi$ the normal law in units of σ₀,

    $P(\Psi) = E_W\left[G\left(\phi^{-1}(\phi(W) + \Psi)\right)\right]$, which is 1 − 1/L at Ψ = 0.

    Args:
        study: the configuration.
        given: Ψ, of any shape.

    Returns:
        The share, in the shape of `given`; 0 with one view.
    """
    q, m, views = study.network.relu_power, study.network.neurons_per_class, study.data.num_views
    given = np.asarray(given, float)
    if views == 1:
        return np.zeros(given.shape)
    first = study.network.init_std * largest_of((views - 1) * m)
    last = from_phase(phase(first, q) + given[..., None], q)
    return np.asarray((ndtr(last / study.network.init_std) ** m).mean(-1))


def known_views(study: Study, networks: int) -> float:
    """Share $1 - (1 - 1/L)^K$ of the views that at least one of K ideal networks has learned."""
    return float(1 - (1 - 1 / study.data.num_views) ** networks)


def lesson_time(study: Study, distill: DistillConfig, known: float, untaught: float) -> float:
    r"""Time of distillation, η · steps, until students lack few of the views that their teacher knows.

    It ends when $\kappa\,P(\Psi + \psi)$ has come down to `untaught`, with κ the share of views that the teacher knows,
    P that of `share_lost`, Ψ the phase of the `race` and ψ what labels have given until the onset.

    Args:
        study: the configuration.
        distill: the distillation; its number of steps does not matter.
        known: κ, see `known_views`.
        untaught: share of all views.

    Returns:
        The time; infinite where foreign overlaps take too many classes before, or nothing is pushed.

    Example:
        >>> import multiview as mv
        >>> from multiview import theory
        >>> study = mv.load_preset("reference")
        >>> few, fewer = (theory.lesson_time(study, study.self_distill, 0.5, share) for share in (0.1, 0.05))
        >>> few < fewer < study.train.learning_rate * study.self_distill.num_steps
        True
    """
    times, course = long_race(study, distill, known, 0.0)
    by_labels = typical_network(study, study.train.learning_rate * distill.onset_step).push[-1].mean()
    shares = known * share_lost(study, course.phase + by_labels)
    if shares[-1] > untaught:
        return math.inf
    first = int((shares <= untaught).argmax())
    if first == 0:
        return 0.0
    part = (shares[first - 1] - untaught) / (shares[first - 1] - shares[first])
    time = float(times[first - 1] + part * (times[first] - times[first - 1]))
    return time if time < LONGEST else math.inf


class StudentSteps(NamedTuple):
    """Numbers of steps that students need; infinite where no number is enough.

    Attributes:
        onset: until every class of every student has learned a view of its own.
        distill: after the onset, until as likely as not no view is missed by any student of the ensemble.
        self_distill: after the onset, until students of one network lack so few of its views as theorem 4 allows.
    """

    onset: float
    distill: float
    self_distill: float


def student_steps(study: Study, untaught: float = 0.01) -> StudentSteps:
    """Choose the lengths of the students' phases, from the clocks of their views.

    Args:
        study: the configuration; the students' own numbers of steps do not matter.
        untaught: share of all views that self-distilled students may lack although their teacher knows them; by
            default what theorem 4 allows beyond a quarter.

    Returns:
        Numbers of steps, rounded up.

    Example:
        >>> import multiview as mv
        >>> from multiview import theory
        >>> study = mv.load_preset("reference")
        >>> theory.student_steps(study).distill < study.distill.num_steps
        True
    """
    views = study.replicates * study.students * study.data.num_features
    onset = last_view_time(study, study.replicates * study.students * study.self_distill.generations)
    times = (
        onset,
        lesson_time(study, study.distill, known_views(study, study.seeds), math.log(2) / views),
        lesson_time(study, study.self_distill, known_views(study, 1), untaught),
    )
    return StudentSteps(*(float(np.ceil(time / study.train.learning_rate)) for time in times))

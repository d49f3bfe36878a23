"""Closed forms and mean-field equations of the multi-view theory: numbers only, nothing is trained.

Docs/theory.md, sections 5 and 6, says which follow the paper and which are this project's own. Time is η · steps
throughout. `power_iteration` is the race of the views, `equations` and `mean_field` are what happens after one is
learned, `outcome` what a start becomes and scores, `taught` what distillation adds and `patience` how long that takes,
`conditions` the clocks and the regime check; `strengths` averages over the sampling law.
"""

from multiview.theory.conditions import Condition, TimeScales, check_regime, noise_room, time_scales
from multiview.theory.mean_field import TypicalNetwork, memory_time, typical_network, unlearned_phase, winner_overlap
from multiview.theory.outcome import (
    drawn_training_set,
    ensemble_error,
    ideal_overlaps,
    idealised_single_error,
    single_view_rate,
)
from multiview.theory.paper import paper_error, paper_gain, paper_line
from multiview.theory.patience import StudentSteps, known_views, lesson_time, share_lost, student_steps
from multiview.theory.power_iteration import (
    expected_maximum,
    foreign_moment,
    from_phase,
    growth_rate,
    label_moment,
    last_view_time,
    phase,
    split_factor,
    step_size_lag,
    tensor_power_loser,
    tensor_power_time,
    uniform_moment,
    view_slowdown,
)
from multiview.theory.strengths import activation, effective_samples, mean_foreign_strength, mean_label_strength
from multiview.theory.taught import (
    Lesson,
    Race,
    lesson,
    overlap_at_cap,
    race,
    student_alone,
    taught_overlap,
    taught_step,
)

__all__ = [
    "Condition",
    "Lesson",
    "Race",
    "StudentSteps",
    "TimeScales",
    "TypicalNetwork",
    "activation",
    "check_regime",
    "drawn_training_set",
    "effective_samples",
    "ensemble_error",
    "expected_maximum",
    "foreign_moment",
    "from_phase",
    "growth_rate",
    "ideal_overlaps",
    "idealised_single_error",
    "known_views",
    "label_moment",
    "last_view_time",
    "lesson",
    "lesson_time",
    "mean_foreign_strength",
    "mean_label_strength",
    "memory_time",
    "noise_room",
    "overlap_at_cap",
    "paper_error",
    "paper_gain",
    "paper_line",
    "phase",
    "race",
    "share_lost",
    "single_view_rate",
    "split_factor",
    "step_size_lag",
    "student_alone",
    "student_steps",
    "taught_overlap",
    "taught_step",
    "tensor_power_loser",
    "tensor_power_time",
    "time_scales",
    "typical_network",
    "uniform_moment",
    "unlearned_phase",
    "view_slowdown",
    "winner_overlap",
]

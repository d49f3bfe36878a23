"""The parameters of distillation: its objective, its teacher, its steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from multiview.parameters import above, at_least, parameter


@dataclass(frozen=True)
class DistillConfig:
    """Training of a student: cross-entropy alone until it has its own views, then with the distillation term.

    Example:
        >>> import multiview as mv
        >>> mv.DistillConfig(temperature=3.0).cap  # the paper's truncation, 1/τ²
        9.0
    """

    objective: Literal["soft_cross_entropy", "one_sided"] = parameter("soft_cross_entropy")
    """The distillation term: two-sided (Hinton), or its negative part only (paper)."""
    temperature: float = parameter(2.0, **above(0), traced=True)
    """Temperature 1/τ of the soft outputs."""
    logit_cap: float = parameter(0.0, **at_least(0), traced=True, infinite=True)
    """Cap at which logits are truncated; 0 means the paper's temperature², inf means none."""
    weight: float = parameter(4.0, **at_least(0), traced=True)
    """Weight η'/η of the distillation term."""
    teacher_scale: float = parameter(1.0, **above(0), traced=True)
    """Constant by which the teacher's averaged logits are multiplied."""
    onset_step: int = parameter(800, **at_least(0), traced=True)
    """Number of steps of cross-entropy alone, before distillation starts."""
    num_steps: int = parameter(3000, **at_least(0), traced=True)
    """Number of steps after distillation starts."""
    generations: int = parameter(1, **at_least(1))
    """Number of generations of self-distillation (each student teaches the next)."""

    @property
    def cap(self) -> float:
        """The truncation of the logits: `logit_cap`, or the paper's 1/τ² where that is 0."""
        return self.logit_cap if self.logit_cap > 0 else self.temperature**2

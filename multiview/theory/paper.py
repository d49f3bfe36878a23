"""The paper's asymptotic figures: test errors in units of μ for ever more classes (docs/theory.md, section 5)."""

from __future__ import annotations

from multiview.theory.outcome import idealised_single_error

# Of the theorems for two views.
_TWO_VIEWS = {
    "single": (0.49, 0.51),
    "ensemble": (0.0, 0.001),
    "ensemble_probabilities": (0.0, 0.001),
    "distilled": (0.0, 0.001),
    "self_distilled": (0.0, 0.26),
}
# By how much self-distillation lowers the error: at least 0.49 − 0.26, at most 0.51.
_TWO_VIEWS_GAIN = (0.23, 0.51)


def paper_error(kind: str, num_views: int) -> tuple[float, float]:
    """The interval in which the paper puts the error of a kind of network, in units of μ.

    For other than two views, and for later generations of self-distillation, single networks and self-distilled
    students have the same formula's value, `idealised_single_error`.

    Args:
        kind: single, ensemble, distilled, self_distilled, self_distilled_2, …
        num_views: L.
    """
    base, _, number = kind.rpartition("_")
    if base == "self_distilled":
        return (idealised_single_error(num_views, int(number)),) * 2
    if kind in ("single", "self_distilled") and num_views != 2:
        return (idealised_single_error(num_views, int(kind == "self_distilled")),) * 2
    return _TWO_VIEWS[kind]


def paper_gain(num_views: int) -> tuple[float, float]:
    """The interval in which the paper puts the gain of self-distillation, in units of μ; no bound beyond two views."""
    return _TWO_VIEWS_GAIN if num_views == 2 else (0.0, 1.0)


def paper_line(kind: str, num_views: int) -> float:
    """One number to draw for `paper_error`: its middle where the paper bounds it from both sides, else its bound."""
    low, high = paper_error(kind, num_views)
    return (low + high) / 2 if low > 0 else high

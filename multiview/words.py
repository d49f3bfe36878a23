"""Names and numbers as people read them: kinds of networks and of samples, and how numbers are written."""

from __future__ import annotations

import math
from typing import Literal, get_args

SampleKind = Literal["multi_view", "single_view"]
SAMPLE_KINDS: tuple[SampleKind, ...] = get_args(SampleKind)

NETWORK_KINDS = {
    "single": "single network",
    "ensemble": "ensemble",
    "ensemble_probabilities": "ensemble of probabilities",
    "distilled": "distilled student",
    "self_distilled": "self-distilled student",
}


def self_distilled_name(generation: int) -> str:
    """Name of a generation of self-distilled students: self_distilled, self_distilled_2, …"""
    return "self_distilled" if generation == 0 else f"self_distilled_{generation + 1}"


def name_of(kind: str, plural: bool = False) -> str:
    """A kind of network in words, such as "self-distilled student, generation 2"; an unknown kind as it is.

    Args:
        kind: single, ensemble, distilled, self_distilled_2, …
        plural: of several networks; there is one ensemble.
    """
    base, _, generation = kind.rpartition("_")
    known = kind if kind in NETWORK_KINDS else base
    if known not in NETWORK_KINDS:
        return kind
    words = NETWORK_KINDS[known] + ("s" if plural and not known.startswith("ensemble") else "")
    return words if known == kind else f"{words}, generation {generation}"


def count(number: int, word: str) -> str:
    """Write a number with its word: 1 network, 2 networks, 3 classes."""
    return f"{number} {word if number == 1 else word + ('es' if word.endswith('s') else 's')}"


def decimal(value: float, digits: int = 3) -> str:
    """Write a number below 10 with so many decimals, without zeros at the end, and a larger one as a whole number."""
    if math.isnan(value):
        return "–"
    return f"{value:.{digits}f}".rstrip("0").rstrip(".") if abs(value) < 10 else f"{value:.0f}"


def interval(ends: tuple[float, float], digits: int = 3) -> str:
    """Write an interval as "low … high", or as one number where its ends are equal."""
    low, high = ends
    return decimal(low, digits) if low == high else f"{decimal(low, digits)} … {decimal(high, digits)}"


def significant(value: float, digits: int = 4) -> str:
    """Write a number in so many significant digits, without an exponent below a million; infinity as ∞."""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.{digits}g}"


def parameter_value(value: object) -> str:
    """Write a parameter's value as one word, which an axis of a sweep and the columns of a table are named by."""
    if isinstance(value, tuple):
        return "[" + ",".join(f"{v:g}" for v in value) + "]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def format_bytes(size: float) -> str:
    """Write a number of bytes: 1.5 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def format_seconds(seconds: float) -> str:
    """Write a span of time: 45 s, 12 min, 3.4 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

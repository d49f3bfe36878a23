"""Names that several rooms share."""

from __future__ import annotations


def self_distilled_name(generation: int) -> str:
    """Name of a generation of self-distilled students: self_distilled, self_distilled_2, …"""
    return "self_distilled" if generation == 0 else f"self_distilled_{generation + 1}"

"""What training takes of memory: one formula, for the shapes that are there and for those expected before any are."""

from __future__ import annotations


def kept_numbers(vectors: float, slots: float, num_classes: int, neurons: int) -> float:
    """Numbers that the passes of one network keep.

    Args:
        vectors: patches as vectors: three times their pre-activations, k·m each, are kept.
        slots: slots of rows: four numbers for each class, as neurons are summed one after another.
        num_classes: k.
        neurons: m.
    """
    return 3 * vectors * num_classes * neurons + 4 * slots * num_classes


def drawn_numbers(samples: int, patches: int, dimension: int, of_mixtures: int) -> float:
    """Numbers that each network makes for itself where its steps see other patches than the samples' own.

    Args:
        samples: N.
        patches: P.
        dimension: D of the vectors.
        of_mixtures: k·m where noise that is tracked apart is mixed: its overlaps, and as many for the gradient; else 0.
    """
    return samples * patches * (dimension + 2 * of_mixtures)


def block_bytes(state: float, kept: float, samples: float) -> float:
    """Peak of a block of networks while it trains: its state, as much again for the gradient and the new state, what
    its passes keep, and the training samples; all in bytes."""
    return 2 * state + kept + samples

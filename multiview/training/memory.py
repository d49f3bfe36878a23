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


def linear_numbers(
    samples: int, patches: int, dimension: int, num_classes: int, neurons: int, *, tangents: bool, noise: bool
) -> float:
    """Numbers that one system that is linear in what it trains keeps while it is fitted, as the compiler lays them out.

    Of each patch and neuron its pre-activation, slope and products with it, and as many again where noise is drawn for
    it; its features, three times; its Gram matrices, as they are, weighted, and taken apart for their eigenvalues.

    Args:
        samples: N.
        patches: P.
        dimension: D of the vectors.
        num_classes: k.
        neurons: m.
        tangents: k classes with m·D features each; or k·m random features that all share.
        noise: whether noise is tracked apart.
    """
    passes = (10 if noise else 5) * samples * patches * num_classes * neurons
    features = samples * num_classes * neurons * (dimension if tangents else 1)
    return passes + 3 * features + 3 * (num_classes if tangents else 1) * samples**2


def linear_state(samples: int, dimension: int, num_classes: int, neurons: int) -> float:
    """Numbers that stay of each such system of a block: parameters, start and change, coefficients and logits."""
    return num_classes * (neurons * (2 * dimension + max(dimension, num_classes)) + 3 * samples)


def block_bytes(state: float, kept: float, samples: float) -> float:
    """Peak of a block of networks while it trains: its state, as much again for the gradient and the new state, what
    its passes keep, and the training samples; all in bytes."""
    return 2 * state + kept + samples

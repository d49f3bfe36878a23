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


def linear_numbers(samples: int, patches: int, dimension: int, num_classes: int, neurons: int, system: str) -> float:
    """Numbers that one linear system keeps while it is fitted: of every neuron and patch its pre-activation, noise and
    slope, its features twice, and its Gram matrices, as they are, weighted, and taken apart into eigenvalues.

    Args:
        samples: N.
        patches: P.
        dimension: D of the vectors.
        num_classes: k.
        neurons: m.
        system: random features have k·m features and one Gram matrix, tangents k times m·D and one for each class.
    """
    frozen = system == "random_features"
    features = samples * num_classes * neurons * (1 if frozen else dimension)
    grams = (1 if frozen else num_classes) * samples**2
    return 4 * samples * patches * num_classes * neurons + 2 * features + 3 * grams


def linear_state(samples: int, dimension: int, num_classes: int, neurons: int, system: str) -> float:
    """Numbers that are kept of each linear system of a block: parameters, start, change, coefficients and logits."""
    weights = dimension * num_classes * neurons
    change = num_classes**2 * neurons if system == "random_features" else weights
    return 2 * weights + change + 3 * samples * num_classes


def block_bytes(state: float, kept: float, samples: float) -> float:
    """Peak of a block of networks while it trains: its state, as much again for the gradient and the new state, what
    its passes keep, and the training samples; all in bytes."""
    return 2 * state + kept + samples

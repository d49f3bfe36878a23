"""Dark knowledge: what a trace of a view in a sample of another class adds to the logit of the view's own class."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from multiview.figures.mosaic import draw_rows
from multiview.figures.stored import Results, group_of, replicate_of, student_groups, study_of, values_of
from multiview.figures.style import SHADES, colored_scale, title
from multiview.network.activation import activation_of
from multiview.theory import uniform_moment
from multiview.words import name_of


def trace_answers(results: Results, group: str, replicate: int = 0) -> np.ndarray:
    r"""Compute what a mean trace of view (j, ℓ) adds to the logit of class j, for each network [S, k, L].

    Logits are sums over patches, so this is exact: $C_p \sum_r \mathrm{act}(\bar z\,\langle w_{j,r}, v_{j,\ell}\rangle
    / C_p)$ with $\bar z$ the mean strength of a foreign feature. Noise is left out.

    Raises:
        ConfigError: the store holds no networks.
    """
    study = study_of(results)
    data = group_of(results, group, ("weights",), "run multiview train --out STORE, which keeps the networks")
    replicate_of(data, replicate)
    weights = values_of(
        data.isel(replicate=[replicate]), "weights", "replicate", "seed", "dimension", "class", "neuron"
    )[0]
    root = results.to_dataset()
    if "features" in root:  # dense networks: their overlaps with the features
        weights = np.einsum("fd,sdkm->sfkm", values_of(root, "features", "feature", "dimension"), weights)
    k, views, parts = study.data.num_classes, study.data.num_views, study.data.patches_per_feature
    classes = np.arange(k)
    own = weights.reshape(len(weights), k, views, k, -1)[:, classes, :, classes]  # [k, S, L, m]
    strength = uniform_moment(study.data.foreign_strength, 1.0) / parts
    answers, _ = activation_of(study.network).numbers(strength * own, study.network.relu_threshold)
    return parts * answers.sum(-1).swapaxes(0, 1)


def plot_dark_knowledge(results: Results, ax: Axes, replicate: int = 0) -> Axes:
    """Draw the dark-knowledge matrix: networks, their ensemble and students down, views of classes across.

    A cell's shade is what a trace of that view adds to the logit of its class (`trace_answers`).

    Args:
        results: the store of a study, with networks.
        ax: where to draw.
        replicate: of which training set.

    Returns:
        ax.
    """
    single = trace_answers(results, "single", replicate)
    parts = {"single": single, "ensemble": single.mean(0, keepdims=True)}
    parts |= {name: trace_answers(results, name, replicate) for name in student_groups(results)}
    rows = {name_of(name): values.reshape(len(values), -1) for name, values in parts.items()}
    most = float(np.max(single, initial=1e-9, where=np.isfinite(single)))
    drawn = draw_rows(ax, rows, study_of(results), vmin=0.0, vmax=most, cmap=SHADES)
    colored_scale(ax, drawn, "rise of the class's logit")
    title(ax, "What a trace of each view says", f"training set {replicate + 1}")
    return ax


def describe_dark_knowledge(results: Results) -> str:
    """Describe the figure in one sentence with its numbers."""
    values = results.to_dataset()["dark_knowledge"].values
    finite = values[np.isfinite(values)]
    if not finite.size:
        return "No ensemble's outputs are finite."
    return f"The ensemble's outputs order {finite.mean():.1%} of pairs of samples with and without a trace right."

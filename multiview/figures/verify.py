"""The picture of `multiview verify`: views being learned, and the errors of the theorems in units of μ."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from multiview.figures.dynamics import plot_dynamics
from multiview.figures.errors import plot_errors
from multiview.figures.stored import study_of
from multiview.figures.style import STYLE, new_pair, save_figure, style
from multiview.words import count

__all__ = ["STYLE", "verify_figure"]


def verify_figure(results: xr.DataTree, path: str | Path) -> None:
    """Write the picture of `multiview verify` as PNG.

    Args:
        results: of `to_datatree`, with claims.
        path: of the file.
    """
    study = study_of(results)
    with style("slide"):
        figure, (left, right) = new_pair()
        plot_dynamics(results, left)
        plot_errors(results, right)
        figure.suptitle(
            f"k = {study.data.num_classes} classes, {study.data.num_views} views, "
            f"m = {study.network.neurons_per_class} neurons, q = {study.network.relu_power:g}, "
            f"μ = {study.data.single_view_fraction:g}: "
            f"{count(study.replicates, 'training set')} × {study.seeds} networks",
            fontsize=12,
        )
        save_figure(figure, path, ".png", dots=130)

"""The picture of `multiview verify`: views being learned, and the errors of the theorems in units of μ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

STYLE = "petroff10"
_SHORT = {
    "single_error": "single\nnetwork",
    "ensemble_error": "ensemble",
    "distilled_error": "distilled\nstudent",
    "self_distilled_error": "self-distilled\nstudent",
}


def plot_dynamics(results: xr.DataTree, ax: Axes, clocks: dict[str, float] | None = None) -> Axes:
    """Λ of the winning and the losing view of each class on log time, all single networks.

    Args:
        results: a store or a labelled result.
        ax: where to draw.
        clocks: steps to mark, by label.

    Returns:
        ax.
    """
    overlap = results["single"]["largest_overlap"]
    step = np.maximum(results["single"].to_dataset()["step"].values, 0.5)
    by_class = overlap.transpose("replicate", "seed", "class", "time", "view").values
    final = by_class[..., -1, :]
    order = np.argsort(-final, axis=-1)[..., None, :]
    ordered = np.take_along_axis(by_class, np.broadcast_to(order, by_class.shape), -1)
    flat = ordered.reshape(-1, *ordered.shape[-2:])
    for index, (name, color) in enumerate((("winning view", "C0"), ("losing view", "C1"))):
        if index >= flat.shape[-1]:
            break
        lines = np.maximum(flat[..., index], 1e-6)
        for line in lines[:: max(1, len(lines) // 150)]:
            ax.plot(step, line, color=color, alpha=0.06, linewidth=0.8)
        ax.plot(
            step,
            np.median(lines, 0),
            color=color,
            linewidth=2.2,
            linestyle=("-", "--")[index],
            label=f"{name} (median)",
        )
    for label, time in (clocks or {}).items():
        if step[1] < time < step[-1] * 1.5:
            ax.axvline(time, color="0.35", linewidth=0.8, linestyle=":")
            ax.annotate(
                label, (time, 0.0), xycoords=("data", "axes fraction"), xytext=(-3, 4), textcoords="offset points",
                rotation=90, va="bottom", ha="right", fontsize=8, color="0.25",
            )  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="step", ylabel=r"largest overlap $\Lambda$ with the view")
    ax.set_title("Each network learns the view its start favours")
    ax.legend(loc="upper left", frameon=False)
    return ax


def plot_errors(claims: list[dict[str, Any]], ax: Axes) -> Axes:
    """Test errors in units of μ: measured with interval, predicted interval, the paper's figure.

    Args:
        claims: plain claims, as in the JSON of `multiview verify`.
        ax: where to draw.

    Returns:
        ax.
    """
    shown = [c for c in claims if c["id"] in _SHORT]
    for x, claim in enumerate(shown):
        low, high = claim["predicted"]
        half = max(high - low, 0.006) / 2
        middle = (low + high) / 2
        ax.fill_between([x - 0.34, x + 0.34], middle - half, middle + half, color="C2", alpha=0.45, linewidth=0,
                        label="predicted for this size" if x == 0 else None)  # fmt: skip
        paper = sum(claim["paper"]) / 2 if claim["paper"][0] > 0 else claim["paper"][1]
        ax.plot([x - 0.42, x + 0.42], [paper, paper], color="0.2", linewidth=1.2, linestyle="--",
                label="paper, many classes" if x == 0 else None)  # fmt: skip
        error = np.abs(np.array(claim["interval"]) - claim["measured"])[:, None]
        ax.errorbar(x, claim["measured"], error, color="C0", marker="o", capsize=5, linewidth=1.8,
                    label="measured, 95 % interval" if x == 0 else None)  # fmt: skip
        ax.annotate(
            f"{claim['measured']:.3f}", (x, claim["measured"]), xytext=(9, 5), textcoords="offset points", fontsize=9
        )
    ax.set_xticks(range(len(shown)), [_SHORT[c["id"]] for c in shown])
    ax.set(ylabel="test error in units of μ", xlim=(-0.6, len(shown) - 0.4), ylim=(-0.02, 0.6))
    ax.set_title("Ensembles and students recover the missing views")
    ax.legend(loc="upper right", frameon=False)
    return ax


def verify_figure(results: xr.DataTree, path: str | Path, clocks: dict[str, float] | None = None) -> None:
    """Write the picture of `multiview verify` as PNG."""
    claims = json.loads(results.attrs["claims"])
    config = json.loads(results.attrs["config"])
    with plt.style.context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
        plot_dynamics(results, left, clocks)
        plot_errors(claims, right)
        data, network = config["data"], config["network"]
        figure.suptitle(
            f"k = {data['num_classes']} classes, {data['num_views']} views, "
            f"m = {network['neurons_per_class']} neurons, q = {network['relu_power']:g}, "
            f"μ = {data['single_view_fraction']:g}: {config['replicates']} training sets × {config['seeds']} networks",
            fontsize=10,
        )
        figure.savefig(path, dpi=130, format="png")
        plt.close(figure)

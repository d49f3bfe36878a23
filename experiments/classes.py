"""How does the error of a single network depend on the number of classes, and on how the start shrinks with it?

The paper's statement, an error of 0.49 μ to 0.51 μ, is about k → ∞ with σ₀^(q-2) ~ 1/k. Two things keep a finite size
below 1/2 (docs/theory.md, sections 5 and 7): classes that end with both views, whose share falls with σ₀, and
single-view samples without a foreign feature that the network knows, of which (1 − s/k)^(k-1) → e^-s remain at any k.
The closed form multiplies both, with `theory.ideal_overlaps` at each network's own start; nothing is fitted.

Run it with `python -m experiments.classes`.
"""

from __future__ import annotations

import sys
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments import common, networks
from multiview import replace
from multiview.config import Study
from multiview.measures.features import winners
from multiview.theory import ensemble_error, memory_time, time_scales

NAME = "classes"
CLAIM = "With more classes the error of a single network approaches μ/2 if the start shrinks with k as the theory asks."
SECONDS = 80
REMARK = """The direction is the theory's: with σ₀ ~ 1/k the share of classes with both views falls about as 1/k and
the error rises to 0.446 μ at k = 20, with a fixed start it stays at 0.37. The error of every size is within its
interval of the product of the ideal error and the share of classes with one view, by `theory.ideal_overlaps` at each
network's own start. At k = 20 it is not yet the 0.49 of the paper: with s = 4 a share e^-4 = 0.02 of single-view
samples has no foreign feature, so even without any creep 0.49 is the most that this world can show."""

CLASSES = (5, 10, 20)
SCALINGS = {"σ₀ fixed": 0.0, "σ₀ ~ 1/k": 1.0}  # q = 3, so σ₀^(q-2) ~ 1/k is the second
START, STRENGTH = 0.006, 4.0  # σ₀ at k = 5; s
SETTING = common.SMALL | {
    "data.num_patches": 17,
    "data.feature_sparsity": STRENGTH,
    "network.neurons_per_class": 8,
    "data.single_view_fraction": 0.03,
}
SMOKE = networks.TINY


def study_of(classes: int, scaling: float, smoke: bool) -> Study:
    """k classes, ten multi-view and two single-view training samples each; a step that grows with k."""
    changes = {
        "data.num_classes": classes,
        "data.num_train": 12 * classes,
        "data.num_single_view_train": 2 * classes,
        "network.init_std": START * (CLASSES[0] / classes) ** scaling,
        "train.learning_rate": 2.4 * classes,
    }
    study = replace(Study(), SETTING | changes | (SMOKE if smoke else {}))
    time = 2.5 * time_scales(study).view + 5 * memory_time(study)  # the stopping rule
    return replace(study, {"train.num_steps": round(time / study.train.learning_rate)})


def examine(classes: int, name: str, smoke: bool) -> dict[str, Any]:
    """One number of classes at one scaling."""
    study = study_of(classes, SCALINGS[name], smoke)
    found = networks.single_networks(f"k = {classes}, {name}", study, [0, study.train.num_steps], test=True)
    overlap, mu = found["overlap"].values, study.data.single_view_fraction
    law_both = 1 - winners(networks.ideal_overlaps(found, study))[1].mean()
    row: dict[str, Any] = {
        "classes": classes,
        "scaling": name,
        "start": common.rounded(study.network.init_std),
        "steps": study.train.num_steps,
        "law_both": common.rounded(law_both),
        "law": common.rounded((1 - law_both) * ensemble_error(study, 1)),
        "train_error_0": float((found["train_wrong"].values[..., -1] == 0).mean()),
    }
    values = {
        "error": found["e_single"].values + (1 - mu) / mu * found["e_multi"].values,
        "e_single_view": found["e_single"].values,
        "both": 1.0 - winners(overlap[:, :, -1])[1].mean(-1),
    }
    for key, of_networks in values.items():
        row[key], row[f"{key}_interval"] = map(common.rounded, networks.with_interval(of_networks, np.mean))
    return row | {"by_network": common.rounded(values["both"], 4)}


def measure(smoke: bool) -> dict[str, Any]:
    """All sizes; the exponent of k in the share of classes with both views, for each scaling."""
    rows, fits = [], []
    for name in SCALINGS:
        classes = np.array((6,) if smoke else CLASSES)
        of_scaling = [examine(int(k), name, smoke) for k in classes]
        shares = np.stack([r.pop("by_network") for r in of_scaling], -1)
        if len(classes) > 1:
            x = np.log(classes)
            fit = networks.with_interval(
                shares, lambda v, x=x: networks.slope(x, np.log(np.maximum(v.mean((0, 1)), 1e-3)))
            )
            law = networks.slope(x, np.log(np.maximum([r["law_both"] for r in of_scaling], 1e-3)))
            fits.append(
                {
                    "scaling": name,
                    "exponent": common.rounded(fit[0]),
                    "law": common.rounded(law),
                    "exponent_interval": common.rounded(fit[1]),
                }
            )
        rows += of_scaling
    return {"rows": rows, "fits": fits}


def verdicts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Exponents, errors against the closed form, and the paper's figure at the largest size."""
    found = [
        common.verdict(
            f"exponent of k in the share of classes with both views, {f['scaling']}",
            f["law"],
            f["exponent"],
            f["exponent_interval"],
            bearable=0.6,
        )
        for f in document["fits"]
    ]
    for r in document["rows"]:
        words = f"error on single-view data at k = {r['classes']}, {r['scaling']}"
        found.append(common.verdict(words, r["law"], r["e_single_view"], r["e_single_view_interval"]))
    largest = document["rows"][-1]
    words = f"error in units of μ at k = {largest['classes']}, {largest['scaling']}"
    return [*found, common.verdict(words, [0.49, 0.51], largest["error"], largest["error_interval"], paper=True)]


def draw(document: dict[str, Any]) -> Figure:
    """Left: error on single-view data. Right: classes with both views."""
    figure, axes = plt.subplots(1, 2, figsize=(10.5, 4), layout=common.AIRY)
    for color, scaling in enumerate(SCALINGS):
        rows = [r for r in document["rows"] if r["scaling"] == scaling]
        k = np.array([r["classes"] for r in rows])
        for ax, name, law in ((axes[0], "e_single_view", "law"), (axes[1], "both", "law_both")):
            value, ends = np.array([r[name] for r in rows]), np.array([r[f"{name}_interval"] for r in rows]).T
            ax.errorbar(
                k,
                value,
                np.clip([value - ends[0], ends[1] - value], 0, None),
                marker="os"[color],
                capsize=4,
                color=f"C{color}",
                label=f"simulated, {scaling}",
            )
            ax.plot(k, [r[law] for r in rows], "--", color=f"C{color}", label=f"closed form, {scaling}")
    axes[0].axhspan(0.49, 0.51, color="0.8", linewidth=0, label="the paper, k → ∞")
    axes[0].set(ylabel="error on single-view data $e_s$", title="Error")
    axes[1].set(ylabel="share of classes with both views", title="What was learned")
    for ax in axes:
        ax.set(xlabel="classes k", xscale="log")
        ax.set_xticks(k, [str(v) for v in k])
        ax.minorticks_off()
        ax.legend(fontsize=8)
    return figure


if __name__ == "__main__":
    common.command(sys.modules[__name__])

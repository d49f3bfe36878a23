"""How far does self-distillation go, generation after generation?

A student of one network learns its own views and, through the one-sided push, its teacher's: the union of two
lotteries (docs/theory.md, section 4). If each generation's student teaches the next, a view is missed only if every
lottery missed it: the share of views missed is (1 − 1/L)^(g+1) after g generations.

Run it with `python -m experiments.generations`.
"""

from __future__ import annotations

import sys
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments import common, networks
from multiview import load_preset, replace, run_study
from multiview.analysis.features import learned_views
from multiview.config import Study
from multiview.prediction import self_distilled_name
from multiview.theory import idealised_single_error

NAME = "generations"
CLAIM = "After g generations of self-distillation (1 − 1/L)^(g+1) of the views are missed."
SECONDS = 150
REMARK = """The first generation goes the predicted way, the next ones stand still. A student learns only a share p of
the views that its teacher knows and that it lost; then the share missed follows m(g+1) = m(0) (1 − p (1 − m(g))),
which has a fixed point and does not go to 0. The first step gives p = 0.49 (500 steps) and 0.57 (1,500 steps), with
fixed points of 0.29 and 0.26: near where the later generations stand. The law is the case p = 1; three times as many
steps hardly move p. What limits p is not that a taught view stops at the cap of the truncated logits: its traces then
have the logit of the cap, and a teacher shows no more of any view, as its own logits are truncated there too (derived).
Which losers are taught and which are not was not measured."""

GENERATIONS = 3
LENGTHS = (500, 1500)  # steps of distillation: the preset's, and three times as many, added after the first run
# The preset `smoke`: it keeps the regime in which the one-sided push teaches, (k − 1) z_foreign^q > z_label^q.
SETTING = {
    "seeds": 6,
    "students": 6,
    "replicates": 2,
    "self_distill.generations": GENERATIONS,
    "train.num_records": 2,
    "distill.num_steps": 0,
    "data.num_test_multi_view": 1000,
}
SMOKE = networks.TINY | {
    "data.feature_sparsity": 3.0,
    "self_distill.generations": 1,
    "train.num_steps": 200,
    "distill.onset_step": 200,
    "self_distill.onset_step": 200,
    "self_distill.num_steps": 100,
}


def run(study: Study) -> dict[str, Any]:
    """Errors, learned views and training errors by generation [R, S]."""
    result = run_study(study)
    found: dict[str, Any] = {}
    names = ["single", *(self_distilled_name(g) for g in range(study.self_distill.generations))]
    for g, name in enumerate(names):
        group = result.groups[name]
        missed = 1 - learned_views(group.records["largest_overlap"][:, :, -1]).mean((-2, -1))
        values = {
            "missed": missed,
            "e_single_view": group.errors.single_view / group.errors.num_single_view,
            "e_multi_view": group.errors.multi_view / group.errors.num_multi_view,
            "train_wrong": group.train_wrong,
        }
        found |= {f"{n}_{g}": xr.DataArray(v, dims=("replicate", f"network_{g}")) for n, v in values.items()}
    return found


def examine(study: Study) -> dict[str, Any]:
    """One length of distillation: all generations; the base b of missed ∝ b^g by least squares in the logarithm."""
    steps = study.self_distill.num_steps
    found = common.cell(f"{steps} steps", study, lambda: run(study))
    count = study.self_distill.generations + 1
    rows = []
    for g in range(count):
        row: dict[str, Any] = {
            "generation": g,
            "law": idealised_single_error(study.data.num_views, g),
            "train_error_0": float((found[f"train_wrong_{g}"].values == 0).mean()),
        }
        for name in ("missed", "e_single_view", "e_multi_view"):
            values = found[f"{name}_{g}"].values
            row[name], row[f"{name}_interval"] = map(common.rounded, networks.with_interval(values, np.mean))
        rows.append(row)
    missed = np.stack([found[f"missed_{g}"].values for g in range(count)], -1)

    def base(values: np.ndarray) -> float:
        return float(np.exp(networks.slope(np.arange(count), np.log(np.maximum(values.mean((0, 1)), 1e-3)))))

    value, interval = networks.with_interval(missed, base)
    return {
        "steps": steps,
        "rows": rows,
        "base": common.rounded(value),
        "base_interval": common.rounded(interval),
        "law_base": 1 - 1 / study.data.num_views,
    }


def measure(smoke: bool) -> dict[str, Any]:
    """All lengths of distillation."""
    study = replace(load_preset("smoke"), SETTING | (SMOKE if smoke else {}))
    lengths = (study.self_distill.num_steps,) if smoke else LENGTHS
    curves = [examine(replace(study, {"self_distill.num_steps": steps})) for steps in lengths]
    return {"study": common.to_mapping(study), "curves": curves}


def verdicts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The factor from one generation to the next, and the shares of views missed."""
    found = []
    for c in document["curves"]:
        after = f"with {c['steps']} steps of distillation"
        found.append(
            common.verdict(
                f"factor of views missed from one generation to the next, {after}",
                c["law_base"],
                c["base"],
                c["base_interval"],
                bearable=0.25,
            )
        )
        for r in c["rows"][1:]:
            words = f"share of views missed by generation {r['generation']}, {after}"
            found.append(common.verdict(words, r["law"], r["missed"], r["missed_interval"]))
        words, r = f"error of self-distilled students on single-view data, {after}", c["rows"][1]
        found.append(common.verdict(words, [0.0, 0.26], r["e_single_view"], r["e_single_view_interval"], paper=True))
    return found


def draw(document: dict[str, Any]) -> Figure:
    """Views missed and error against the generation."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout=common.AIRY, sharey=True)
    titles = (("missed", "Views missed"), ("e_single_view", "Error on single-view data"))
    for ax, (name, title) in zip(axes, titles, strict=True):
        for color, c in enumerate(document["curves"]):
            rows, (low, high) = c["rows"], c["base_interval"]
            g = np.array([r["generation"] for r in rows])
            value, ends = np.array([r[name] for r in rows]), np.array([r[f"{name}_interval"] for r in rows]).T
            fit = f", factor {c['base']:.2f} ({low:.2f} to {high:.2f})" if name == "missed" else ""
            ax.errorbar(
                g + 0.05 * color,
                value,
                np.clip([value - ends[0], ends[1] - value], 0, None),
                marker="os"[color],
                color=f"C{color}",
                capsize=4,
                label=f"{c['steps']} steps{fit}",
            )
        ax.plot(g, [r["law"] for r in rows], "--", color="0.3", label="$(1 - 1/L)^{g+1}$")
        ax.set(xlabel="generation g (0: single networks)", ylim=(0, None), xticks=g, title=title)
        ax.legend(fontsize=8)
    axes[0].set_ylabel("share")
    return figure


if __name__ == "__main__":
    common.command(sys.modules[__name__])

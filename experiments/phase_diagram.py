"""Where, over the size of the start and the norm of the noise, does theorem 1 hold?

Theorem 1: training error 0, and a test error of about half of μ (0.35 to 0.55, as in `experiments.regime_grid`). The
regime check draws its borders from closed forms (docs/theory.md, section 6): the start must be small, a view must be
learned and single-view samples memorised within the training time, and few classes may end with both views. No point
of this grid was used when the check was made.

Run it with `python -m experiments.phase_diagram`.
"""

from __future__ import annotations

import sys
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import binomtest

from experiments import common, networks
from experiments.regime_grid import BAND
from multiview import regime, replace
from multiview.config import Study
from multiview.theory import time_scales

NAME = "phase_diagram"
CLAIM = "The conditions of the regime check draw the borders within which simulated networks show theorem 1."
SECONDS = 90
REMARK = """Borders on three sides are where the check draws them: too few steps on the left, too little
noise to memorise below, too large a start on the right. Two of 42 points disagree: one at the lower border,
where some sample is not yet memorised, one at the last, where the error has fallen just below the band.
Before the creep of second views was corrected in docs/theory.md they were four."""

STARTS = (0.0003, 0.0008, 0.002, 0.005, 0.012, 0.03, 0.08)
NORMS = (0.15, 0.3, 0.5, 0.8, 1.3, 2.0)
SETTING = common.SMALL | {
    "replicates": 1,
    "train.num_steps": 800,
    "data.num_test_multi_view": 300,
    "data.num_test_single_view": 300,
    "network.neurons_per_class": 8,
}
SMOKE = networks.TINY | {"train.num_steps": 400}
LINES = ("small start", "time to learn", "time to memorise", "clear winners")


def examine(start: float, norm: float, smoke: bool) -> dict[str, Any]:
    """One point: what the check says, what simulation shows."""
    changes = {"network.init_std": start, "data.noise_norm": norm}
    study = replace(Study(), SETTING | changes | (SMOKE if smoke else {}))
    found = networks.single_networks(f"start {start:g}, norm {norm:g}", study, [0, study.train.num_steps], test=True)
    mu = study.data.single_view_fraction
    error = float((found["e_single"].values + (1 - mu) / mu * found["e_multi"].values).mean())
    trained = float((found["train_wrong"].values[..., -1] == 0).mean())
    conditions = {c.name: c for c in regime(study) if "(" not in c.name}
    failing = [n for n, c in conditions.items() if not c.holds]
    shows = trained == 1 and BAND[0] <= error <= BAND[1]
    return {
        "start": start,
        "norm": norm,
        "error": common.rounded(error),
        "train_error_0": trained,
        "shows_theorem_1": shows,
        "failing": failing,
        "agree": shows == (not failing),
        "lines": {n: common.rounded(conditions[n].left / max(conditions[n].right, 1e-30)) for n in LINES},
        "clocks": {n: common.rounded(getattr(time_scales(study), n)) for n in ("view", "memorise", "training")},
    }


def measure(smoke: bool) -> dict[str, Any]:
    """The whole grid."""
    starts, norms = (STARTS[2::3], NORMS[1::3]) if smoke else (STARTS, NORMS)
    rows = [examine(start, norm, smoke) for norm in norms for start in starts]
    return {"starts": list(starts), "norms": list(norms), "band": list(BAND), "points": rows}


def verdicts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """How often check and simulation agree; chance is no rival here, so the interval has to reach 1."""
    points = document["points"]
    agree = sum(p["agree"] for p in points)
    inside = [p for p in points if not p["failing"]]
    shown = sum(p["shows_theorem_1"] for p in inside)
    return [
        common.verdict(
            f"share of points where {words}", 1.0, n / max(of, 1), binomtest(n, of).proportion_ci(method="exact")
        )
        for words, n, of in (
            ("check and simulation agree", agree, len(points)),
            ("theorem 1 is seen, of those where all conditions hold", shown, len(inside)),
        )
        if of
    ]


def draw(document: dict[str, Any]) -> Figure:
    """Error over the plane with the check's lines; crosses where they disagree."""
    starts, norms = np.array(document["starts"]), np.array(document["norms"])
    shape = len(norms), len(starts)
    points = document["points"]
    error = np.array([p["error"] for p in points]).reshape(shape)
    figure, ax = plt.subplots(figsize=(8, 4.8), layout="constrained")
    x, y = np.log10(starts), np.log10(norms)
    image = ax.pcolormesh(x, y, np.clip(error, 0, 0.7), cmap="cividis", vmin=0, vmax=0.7, shading="nearest")
    figure.colorbar(image, ax=ax, label="test error in units of μ (cut at 0.7)")
    for color, name in enumerate(LINES):
        value = np.log(np.maximum(np.array([p["lines"][name] for p in points]).reshape(shape), 1e-6))
        if value.min() < 0 < value.max():
            ax.contour(x, y, value, [0.0], colors=[f"C{color + 1}"], linewidths=2)
        ax.plot([], [], color=f"C{color + 1}", linewidth=2, label=f"border of “{name}”")
    for p in points:
        at = np.log10(p["start"]), np.log10(p["norm"])
        ax.plot(*at, "o", color="white" if p["shows_theorem_1"] else "none", markeredgecolor="white", markersize=7)
        if not p["agree"]:
            ax.plot(*at, "x", color="red", markersize=10, markeredgewidth=2)
    ax.plot([], [], "o", color="0.7", label="theorem 1 seen (open: not)", linestyle="none")
    ax.plot([], [], "x", color="red", label="check and simulation disagree", linestyle="none")
    ax.set_xticks(x, [f"{v:g}" for v in starts])
    ax.set_yticks(y, [f"{v:g}" for v in norms])
    agree = sum(p["agree"] for p in points)
    ax.set(
        xlabel="start σ₀", ylabel="norm of the noise ν", title=f"Check and simulation agree in {agree} of {len(points)}"
    )
    ax.grid(False)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure


if __name__ == "__main__":
    common.command(sys.modules[__name__])

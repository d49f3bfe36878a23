"""Which view wins if one is stronger than the other?

The theory's lottery (docs/theory.md, section 5): view ℓ wins if Λ_ℓ(0) S_ℓ^(1/(q-2)) is larger. With S'/S = f^q for a
view that is f times as strong, and Λ(0) the largest of m normal numbers, the stronger view wins with a probability
that is one integral, with nothing fitted. The exponent of f in Λ' f^p against Λ, p = q/(q-2), is then fitted to the
shares.

Run it with `python -m experiments.view_strength`.
"""

from __future__ import annotations

import sys
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from experiments import common, networks
from multiview import replace
from multiview.config import Study
from multiview.theory import time_scales

NAME = "view_strength"
CLAIM = "A view that is f times as strong wins as if its start were f^(q/(q-2)) times as large."
SECONDS = 60
REMARK = """The lottery holds at every strength. The interval of the exponent at q = 3 is too wide to call: classes of
one training set share its strengths, and four training sets are few."""

FACTORS = (1.0, 1.02, 1.05, 1.1, 1.2, 1.35)
STARTS = {3.0: 0.002, 4.0: 0.02}
SETTING = common.SMALL | {"replicates": 4}
SMOKE = networks.TINY


def winning_share(factor: np.ndarray | float, p: float, neurons: int) -> np.ndarray:
    r"""$P(\Lambda' f^p > \Lambda)$ for Λ, Λ' the positive parts of the largest of m normal numbers; ties by half."""
    grid = np.linspace(0, 6, 2001)
    below = norm.cdf(grid) ** neurons  # P(Λ ≤ x), with the weight of Λ = 0 at 0
    density = np.gradient(below, grid)
    at = np.asarray(factor, float)[..., None] ** p * grid
    share = np.trapezoid(norm.cdf(at) ** neurons * density, grid, axis=-1)
    return share + 0.5**neurons * 0.5**neurons / 2


def examine(power: float, factor: float, smoke: bool) -> tuple[dict[str, Any], np.ndarray]:
    """One factor at one q."""
    changes = {"network.relu_power": power, "network.init_std": STARTS[power], "data.view_strengths": [1.0, factor]}
    study = replace(Study(), SETTING | changes | (SMOKE if smoke else {}))
    steps = int(2.5 ** (power - 2) * time_scales(study).view / study.train.learning_rate) + 60
    study = replace(study, {"train.num_steps": steps})
    found = networks.single_networks(f"q = {power:g}, factor {factor:g}", study, [0, steps])
    second = (found["overlap"].values[:, :, -1].argmax(-1) == 1).astype(float)  # [R, S, k]
    start, moments = found["overlap"].values[:, :, 0], found["moments"].values[:, None]
    named = (start * moments ** (1 / (power - 2))).argmax(-1)
    row: dict[str, Any] = {"power": power, "factor": factor, "pairs": int(second.size)}
    for name, values in (("share", second), ("named_right", (named == second).astype(float))):
        row[name], row[f"{name}_interval"] = map(common.rounded, networks.with_interval(values, np.mean))
    row["law"] = common.rounded(winning_share(factor, power / (power - 2), study.network.neurons_per_class))
    return row, second


def fitted_exponent(shares: np.ndarray, factors: np.ndarray, neurons: int) -> float:
    """p by least squares in the shares [points]."""
    return float(
        minimize_scalar(
            lambda p: ((winning_share(factors, p, neurons) - shares) ** 2).sum(), bounds=(0, 12), method="bounded"
        ).x
    )


def measure(smoke: bool) -> dict[str, Any]:
    """All factors and powers."""
    rows, fits = [], []
    neurons = (SETTING | (SMOKE if smoke else {}))["network.neurons_per_class"]
    for power in (3.0,) if smoke else STARTS:
        factors = np.array(FACTORS[::2] if smoke else FACTORS)
        pairs = [examine(power, float(f), smoke) for f in factors]
        won = np.stack([p[1] for p in pairs], -1)
        p, interval = networks.with_interval(won, lambda w, f=factors: fitted_exponent(w.mean((0, 1, 2)), f, neurons))
        fits.append(
            {"power": power, "p": common.rounded(p), "p_interval": common.rounded(interval), "law": power / (power - 2)}
        )
        rows += [p[0] for p in pairs]
    return {"rows": rows, "fits": fits}


def verdicts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Exponents, and shares."""
    found = [
        common.verdict(
            f"exponent of the strength at q = {f['power']:g}", f["law"], f["p"], f["p_interval"], bearable=2.0
        )
        for f in document["fits"]
    ]
    for r in document["rows"]:
        words = f"share of classes won by a view {r['factor']:g} times as strong, q = {r['power']:g}"
        found.append(common.verdict(words, r["law"], r["share"], r["share_interval"]))
    return found


def draw(document: dict[str, Any]) -> Figure:
    """Share won against S'/S."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout=common.AIRY, sharey=True)
    for ax, f in zip(axes, document["fits"], strict=False):
        rows = [r for r in document["rows"] if r["power"] == f["power"]]
        ratio = np.array([r["factor"] ** r["power"] for r in rows])
        value, ends = np.array([r["share"] for r in rows]), np.array([r["share_interval"] for r in rows]).T
        ax.errorbar(
            ratio,
            value,
            np.clip([value - ends[0], ends[1] - value], 0, None),
            fmt="o",
            capsize=3,
            color="C0",
            label="simulated, 95 %",
        )
        ax.plot(ratio, [r["law"] for r in rows], "s--", color="C1", markersize=4, label="lottery, nothing fitted")
        ax.plot(
            ratio,
            [r["named_right"] for r in rows],
            "^:",
            color="0.5",
            markersize=4,
            label="winners that the start names",
        )
        low, high = f["p_interval"]
        ax.set_title(f"q = {f['power']:g}: exponent {f['p']:.2f} ({low:.2f} to {high:.2f}), predicted {f['law']:g}")
        ax.set(xlabel="$S'/S = f^q$ of a view f times as strong", ylim=(0.34, 1.02))
    axes[0].set_ylabel("share of classes that it wins")
    axes[0].legend(fontsize=8)
    return figure


if __name__ == "__main__":
    common.command(sys.modules[__name__])

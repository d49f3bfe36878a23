"""How many classes end with both views, against the threshold ϱ of the activation?

The loser is not left alone when the winner is learned: while labels make the winner grow to W, they push the loser too,
by (Λ'/ϱ)^(q-1) of that, so a small ϱ, beside which W is large, lets the loser creep up; and where it reaches ϱ, traces
pull the larger view back until the second has caught up (docs/theory.md, section 6). `theory.ideal_overlaps` is
evaluated at each network's own start and training set, and nothing is fitted.

Run it with `python -m experiments.creep`.
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
from multiview.theory import time_scales

NAME = "creep"
CLAIM = "The smaller ϱ, the more losers creep up to a second view of their class; the mean field says how many."
SECONDS = 40
REMARK = """Wherever fewer than 0.3 of the classes end with both views, which is where the regime check calls winners
clear, the theory agrees; for smaller ϱ it says up to 0.16 too many. There W is many times ϱ, several neurons of the
winning view share the logit, and so labels push losers less than the typical network says, which follows seven neurons
and lets classes with two learned views act on no other. An earlier closed form was too low by up to 0.15: it let a
loser that reaches ϱ late keep its distance, where traces pull the larger view back until the second has caught up."""

THRESHOLDS = (0.25, 0.4, 0.6, 0.8, 1.0, 1.4)
SETTING = common.SMALL | {"replicates": 3, "network.init_std": 0.003, "data.noise_norm": 1.0}
SMOKE = networks.TINY
TIME = 8000.0  # η·steps, the same for every ϱ: the stopping rule


def examine(threshold: float, smoke: bool) -> dict[str, Any]:
    """One ϱ; steps are small against the time to learn, which goes as ϱ²."""
    study = replace(Study(), SETTING | {"network.relu_threshold": threshold} | (SMOKE if smoke else {}))
    rate = min(16.0, time_scales(study).view / 40)
    study = replace(study, {"train.learning_rate": rate, "train.num_steps": round(TIME / rate)})
    found = networks.single_networks(f"threshold {threshold:g}", study, [0, study.train.num_steps])
    overlap = found["overlap"].values
    law = networks.ideal_overlaps(found, study)
    row: dict[str, Any] = {"threshold": threshold, "learning_rate": common.rounded(rate)}
    both = {"both": 1.0 - winners(overlap[:, :, -1])[1], "law": 1.0 - winners(law)[1]}  # [R, S, k]
    for name, values in both.items():
        row[name], row[f"{name}_interval"] = map(common.rounded, networks.with_interval(values, np.mean))
    difference = both["both"] - both["law"]
    row["difference"], row["difference_interval"] = map(common.rounded, networks.with_interval(difference, np.mean))
    row["both_by_network"] = common.rounded(both["both"].mean(-1))
    return row | {"train_error_0": float((found["train_wrong"].values[..., -1] == 0).mean())}


def measure(smoke: bool) -> dict[str, Any]:
    """All thresholds, and the exponent of ϱ in the share of classes with both views."""
    rows = [examine(t, smoke) for t in (THRESHOLDS[1::3] if smoke else THRESHOLDS)]
    shares = np.stack([r.pop("both_by_network") for r in rows], -1)  # [R, S, points]
    x = np.log([r["threshold"] for r in rows])

    def exponent(values: np.ndarray) -> float:
        return networks.slope(x, np.log(np.maximum(values.mean((0, 1)), 1e-3)))

    value, interval = networks.with_interval(shares, exponent)
    law = networks.slope(x, np.log(np.maximum([r["law"] for r in rows], 1e-3)))
    return {
        "rows": rows,
        "time": TIME,
        "exponent": common.rounded(value),
        "exponent_interval": common.rounded(interval),
        "law_exponent": common.rounded(law),
    }


def verdicts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The exponent, and the difference of simulation and closed form at each ϱ."""
    return [
        common.verdict(
            "exponent of ϱ in the share of classes with both views, against the mean field's",
            document["law_exponent"],
            document["exponent"],
            document["exponent_interval"],
        ),
        *(
            common.verdict(
                f"share of classes with both views at ϱ = {r['threshold']:g}, simulated minus mean field",
                0.0,
                r["difference"],
                r["difference_interval"],
                bearable=0.2,
            )
            for r in document["rows"]
        ),
    ]


def draw(document: dict[str, Any]) -> Figure:
    """Share of classes with both views against ϱ."""
    rows = document["rows"]
    thresholds = np.array([r["threshold"] for r in rows])
    figure, ax = plt.subplots(figsize=(6.5, 4.2), layout=common.AIRY)
    common.against(ax, thresholds, rows, "both", label="simulated, 95 %")
    ax.plot(
        thresholds, [r["law"] for r in rows], "s--", color="C1", markersize=4, label="mean field at the same starts"
    )
    ax.set(xlabel="threshold ϱ", ylabel="share of classes with both views", ylim=(0, None))
    low, high = document["exponent_interval"]
    ax.set_title(f"Creep of the loser: exponent {document['exponent']:.2f} ({low:.2f} to {high:.2f})")
    ax.legend(fontsize=8)
    return figure


if __name__ == "__main__":
    common.command(sys.modules[__name__])

"""Do the verdicts depend on floating-point precision?

Claim: single precision is enough. Two comparisons. The whole smoke study is run in float32 and in float64, and its
claims are judged by the same predictions; data, starts and test noise are the same numbers in both, so only arithmetic
differs. And of single networks it is recorded, step by step, how far arithmetic drives two copies apart.

Run it with `python -m experiments.precision`; it takes about a minute on one core.
"""

from __future__ import annotations

import sys
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import binomtest

from experiments import common, networks
from multiview import load_preset, predict_study, replace, run_study, streams
from multiview.config import Study, to_mapping
from multiview.measures.features import winners
from multiview.studies.study import training_tasks
from multiview.systems.blocks import start_keys, train_networks
from multiview.verdicts.claims import check_claims

NAME = "precision"
CLAIM = "Single precision is enough: every verdict of the smoke study is the same in float32 and in float64."
SECONDS = 80

SIZE = {"seeds": 8, "data.num_test_multi_view": 2000}
SMOKE = networks.TINY | {
    "self_distill.objective": "soft_cross_entropy",  # one program for both kinds of students
    "train.num_steps": 200,
    "distill.onset_step": 150,
    "distill.num_steps": 50,
    "self_distill.onset_step": 150,
    "self_distill.num_steps": 50,
}
SMOKE_PREDICTION_STUDIES = 4


def claims_in(study: Study, dtype: str, predictions: dict[str, Any]) -> list[dict[str, Any]]:
    """All claims of a study in one precision, judged by predictions made before."""
    common.say(f"the whole study in {dtype}")
    result = run_study(replace(study, {"train.dtype": dtype}))
    return [c.to_mapping() for c in check_claims(result, predictions)]


def rounding_alone(study: Study) -> dict[str, Any]:
    """Single networks step by step: the same starts on the same data, in both precisions."""
    common.say("single networks in both precisions")
    trained = []
    for dtype in ("float32", "float64"):
        one = replace(study, {"replicates": 1, "train.dtype": dtype})
        (task,) = training_tasks(one)
        keys = start_keys(one, streams.START, 0, range(one.seeds))
        trained.append(train_networks(one, task, keys, num_steps=one.train.num_steps))
    single, double = trained
    overlaps = [t.records["largest_overlap"].astype(float) for t in trained]  # [S, T, k, L]
    assert double.records["largest_overlap"].dtype == np.float64
    (winner, clear), (winner_double, clear_double) = (winners(o[:, -1]) for o in overlaps)
    difference = np.sqrt(((overlaps[0] - overlaps[1]) ** 2).sum((2, 3)) / (overlaps[1] ** 2).sum((2, 3)))
    return {
        "times": single.times.tolist(),
        "relative_overlap_difference_mean": common.rounded(difference.mean(0), 3),
        "relative_overlap_difference_largest": common.rounded(difference.max(0), 3),
        "same_winner": common.rounded((winner == winner_double).mean()),
        "same_clear_winner": common.rounded((clear == clear_double).mean()),
        "train_wrong": [int(t.records["train_wrong"][:, -1].sum()) for t in trained],
    }


def measure(smoke: bool) -> dict[str, Any]:
    """Both comparisons."""
    study = replace(load_preset("smoke"), SMOKE if smoke else SIZE)
    predictions = predict_study(study, SMOKE_PREDICTION_STUDIES) if smoke else predict_study(study)
    single, double = (
        common.cell(dtype, study, lambda dtype=dtype: {"claims": claims_in(study, dtype, predictions)})["claims"]
        for dtype in ("float32", "float64")
    )
    rows = [
        {
            "id": a["id"],
            "unit": a["unit"],
            "predicted": common.rounded(a["predicted"]),
            **{
                name: {"measured": common.rounded(c["measured"]), "interval": common.rounded(c["interval"])}
                | {"verdict": c["verdict"]}
                for name, c in (("float32", a), ("float64", b))
            },
            "same_verdict": a["verdict"] == b["verdict"],
        }
        for a, b in zip(single, double, strict=True)
    ]
    return {
        "study": to_mapping(study),
        "claims": rows,
        "different_verdicts": [r["id"] for r in rows if not r["same_verdict"]],
        "rounding_alone": common.cell("rounding alone", study, lambda: rounding_alone(study)),
    }


def verdicts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The share of equal verdicts."""
    same, of = sum(r["same_verdict"] for r in document["claims"]), len(document["claims"])
    interval = binomtest(same, of).proportion_ci(method="exact")
    return [common.verdict("share of verdicts that are the same in both precisions", 1.0, same / of, interval)]


def draw(document: dict[str, Any]) -> Figure:
    """Left: every claim in both precisions. Right: how far rounding drives two copies of a network apart."""
    rows, rounding = document["claims"], document["rounding_alone"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 1.5 + 0.36 * len(rows)), layout="constrained")
    for y, row in enumerate(rows):
        for name, offset, marker, color in (("float32", -0.15, "o", "C0"), ("float64", 0.15, "s", "C1")):
            value, (low, high) = row[name]["measured"], row[name]["interval"]
            error = np.clip([[value - low], [high - value]], 0, None)
            left.errorbar(value, y + offset, None, error, color=color, marker=marker, markersize=5, capsize=3,
                          label=name if y == 0 else None)  # fmt: skip
        verdicts = [row[n]["verdict"] for n in ("float32", "float64")]
        left.annotate(verdicts[0] if row["same_verdict"] else " / ".join(verdicts), (1.02, y), va="center", fontsize=8,
                      xycoords=("axes fraction", "data"), color="0.25" if row["same_verdict"] else "C2",
                      annotation_clip=False)  # fmt: skip
    left.set_yticks(range(len(rows)), [r["id"] for r in rows], fontsize=8)
    left.invert_yaxis()
    left.set(xlabel="measured value in the claim's unit, 95 % interval", title="One study in both precisions")
    left.legend(fontsize=8, loc="best")
    times = np.maximum(rounding["times"], 0.5)
    for name, style in (("mean", "-"), ("largest", "--")):
        value = np.maximum(rounding[f"relative_overlap_difference_{name}"], 1e-9)
        right.plot(times, value, style, color="C0", label=f"{name} over networks")
    right.set(xscale="log", yscale="log", xlabel="step", ylabel="relative difference of overlaps Λ")
    right.set_title("Rounding alone: same data, same start")
    right.legend(fontsize=8)
    return figure


if __name__ == "__main__":
    common.command(sys.modules[__name__])

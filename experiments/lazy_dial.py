"""Where, between the network and its linearisation, does the lottery of views end?

The dial is the scale α of the outputs α (F − F at the start). A winner has to grow until α times its output, a power q
below ϱ, is log k: to Λ_α = (q ϱ^(q-1) log k/α)^(1/q). While that is far above the start σ₀, one view takes all. Where
it is σ₀, at α* = q ϱ^(q-1) log k/σ₀^q, no neuron has to grow, all answer by their slopes at the start, and the network
is its linearisation (theory of lazy training: Chizat, Oyallon and Bach 2019).

Run it with `python -m experiments.lazy_dial`. Any study takes the dial: `multiview train --system lazy --output-scale
100`.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments import common, networks
from experiments.contrasts import SMOKE as SMALLER
from experiments.contrasts import WORLD
from multiview import load_preset, replace, run_study
from multiview.config import Study

NAME = "lazy_dial"
CLAIM = "One view takes all up to the output scale at which a winner need not grow; beyond it networks are lazy."
SECONDS = 75
REMARK = """The ends are right: at α = 1 the network, at 10^10 the linearised one. In between the lottery fades long
before α*, at 10^3.8 and not 10^8.4: a winner that stops at Λ_α has not left the loser far enough behind. The closed
form for this, derived after the first run, is that losers stay below what a known foreign feature gives, Λ' < Γ Λ_α;
it lies 0.4 decades below where networks trained without single-view samples turn. With these samples it is 1.7
decades sooner; a reason, not measured by itself: a sample whose view was lost is memorised in patches where the
winner's slope, (ρ Λ_α/ϱ)^(q-1), is tiny now, so it goes on pushing the loser instead. The winners' exponent is off by
four per cent; why was not separated (logits do not stop at log k). Ensembles gain everywhere on the dial."""

SCALES = (1.0, 1e2, 1e4, 1e6, 1e8, 1e10)  # at 1e12 single precision rounds away what the weights move
INSIDE = (1e2, 1e4, 1e6)  # Λ_α between ϱ and σ₀, a factor of 3 away from both: where the exponent is fitted
SIZE = {"seeds": 8, "replicates": 2, "data.num_test_multi_view": 1000}


def outcome(study: Study) -> dict[str, Any]:
    """Errors in units of μ, wrong training samples and winners' final overlaps."""
    result = run_study(study, distillation=False)
    single, mu = result.groups["single"], study.data.single_view_fraction
    return {
        "error": single.errors.in_units_of_mu(mu),
        "ensemble": result.ensembles["ensemble"].in_units_of_mu(mu),
        "train_wrong": single.train_wrong,
        "winner": single.records["largest_overlap"][:, :, -1].max(-1),
        "start": single.records["largest_overlap"][:, :, 0],
    }


def winner_at(study: Study, scale: float) -> float:
    """Λ_α, at most what is linear in the activation."""
    network = study.network
    q, threshold = network.relu_power, network.relu_threshold
    return float((q * threshold ** (q - 1) * math.log(study.data.num_classes) / scale) ** (1 / q))


def lazy_scale(study: Study) -> float:
    """α*."""
    network = study.network
    top = network.relu_power * network.relu_threshold ** (network.relu_power - 1) * math.log(study.data.num_classes)
    return float(top / network.init_std**network.relu_power)


def starved_scale(study: Study, start: np.ndarray) -> float:
    r"""log10 of the scale at which the loser of a median class is as large as a known foreign feature, Λ' = Γ Λ_α.

    Winner and loser run the race of tensor power iteration, $\Lambda'^{-(q-2)} - \Lambda^{-(q-2)}$ stays as at the
    start, so that $\Lambda_\alpha^{-(q-2)} (\Gamma^{-(q-2)} - 1)$ is the median of that.
    """
    q, data = study.network.relu_power, study.data
    foreign = data.single_view_foreign_strength * np.mean(data.single_view_foreign_ratio)
    loser, winner = np.sort(np.maximum(start, 1e-9), -1)[..., -2:].reshape(-1, 2).T
    gap = np.median(loser ** (2 - q) - winner ** (2 - q))
    overlap = ((foreign ** (2 - q) - 1) / gap) ** (1 / (q - 2))
    return math.log10(lazy_scale(study) * (study.network.init_std / overlap) ** q)


def halfway(errors: np.ndarray, scales: np.ndarray) -> float:
    """log10 α at which the mean error [..., α] is first halfway from its first to its last value, between points by
    the straight line."""
    mean = errors.mean((0, 1))
    share = (mean - mean[0]) / (mean[-1] - mean[0])
    after = int((share >= 0.5).argmax())
    low, high = share[after - 1], share[after]
    x = np.log10(scales)
    return float(x[after - 1] + (0.5 - low) / (high - low) * (x[after] - x[after - 1]))


def measure(smoke: bool) -> dict[str, Any]:
    """The dial, and the linearised networks of the same starts."""
    study = replace(load_preset("smoke"), WORLD | SIZE | (SMALLER if smoke else {}))
    scales = SCALES[::5] if smoke else SCALES
    rows, errors, winners, alone_errors = [], [], [], []
    for scale in (*scales, math.inf):
        changes = {"system": "linearised"} if scale == math.inf else {"system": "lazy", "output_scale": scale}
        label = "linearised" if scale == math.inf else f"scale {scale:g}"
        point = replace(study, changes)
        found = common.cell(label, point, lambda point=point: outcome(point))
        error, ensemble = found["error"].values, found["ensemble"].values
        value, interval = networks.with_interval(error, np.mean)
        kept, kept_interval = networks.with_interval(
            np.stack([error, np.broadcast_to(ensemble, error.shape)], -1), lambda v: v[..., 1].mean() / v[..., 0].mean()
        )
        rows.append({
            "scale": scale if math.isfinite(scale) else None,
            "error": common.rounded(value),
            "error_interval": common.rounded(interval),
            "ensemble_keeps": common.rounded(kept),
            "ensemble_keeps_interval": common.rounded(kept_interval),
            "train_error_0": float((found["train_wrong"].values == 0).mean()),
            "winner": common.rounded(np.median(found["winner"].values)),
            "winner_law": None if scale == math.inf else common.rounded(winner_at(study, scale)),
        })  # fmt: skip
        if scale != math.inf:  # without single-view samples in training nothing but the start tells views apart
            alone = replace(point, {"data.num_single_view_train": 0})
            without = common.cell(f"{label}, no single-view samples", alone, lambda alone=alone: outcome(alone))
            alone_errors.append(without["error"].values)
            start = without["start"].values
            value, interval = networks.with_interval(without["error"].values, np.mean)
            rows[-1] |= {"error_without": common.rounded(value), "error_without_interval": common.rounded(interval)}
        errors.append(error)
        winners.append(np.median(found["winner"].values, -1))
    dial, x = np.stack(errors[:-1], -1), np.array(scales)
    inside = [i for i, s in enumerate(scales) if s in INSIDE] or list(range(len(scales)))
    value, interval = networks.with_interval(
        np.log(np.stack(winners, -1)[..., inside]), lambda v: networks.slope(np.log(x[inside]), v.mean((0, 1)))
    )
    crossing, crossing_interval = networks.with_interval(dial, lambda v: halfway(v, x))
    alone, alone_interval = networks.with_interval(np.stack(alone_errors, -1), lambda v: halfway(v, x))
    first, last = (networks.with_interval(errors[i] - errors[-1], np.mean) for i in (0, -2))
    return {
        "rows": rows,
        "power": study.network.relu_power,
        "exponent": common.rounded(value),
        "exponent_interval": common.rounded(interval),
        "halfway": common.rounded(crossing),
        "halfway_interval": common.rounded(crossing_interval),
        "halfway_without": common.rounded(alone),
        "halfway_without_interval": common.rounded(alone_interval),
        "starved_scale": common.rounded(starved_scale(study, start)),
        "lazy_scale": common.rounded(lazy_scale(study)),
        "to_linearised": {
            "first": common.rounded(first[0]), "first_interval": common.rounded(first[1]),
            "last": common.rounded(last[0]), "last_interval": common.rounded(last[1]),
        },
    }  # fmt: skip


def verdicts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Both ends of the dial, where it turns, and how far winners grow on the way."""
    ends = document["to_linearised"]
    largest = document["rows"][-2]["scale"]
    return [
        common.verdict(
            "exponent of α in the winners' final overlap, σ₀ ≪ Λ_α ≪ ϱ", -1 / document["power"],
            document["exponent"], document["exponent_interval"],
        ),
        common.verdict(
            "log10 of the scale at which the error is halfway to its last value", math.log10(document["lazy_scale"]),
            document["halfway"], document["halfway_interval"],
        ),
        common.verdict(
            "the same without single-view samples, against losers that foreign features beat (derived afterwards)",
            document["starved_scale"], document["halfway_without"], document["halfway_without_interval"],
        ),
        common.verdict(
            f"error of a single network at α = {largest:g} minus that of the linearised one, in units of μ", 0.0,
            ends["last"], ends["last_interval"], bearable=0.2,
        ),
        common.verdict(
            "error of a single network at α = 1 minus that of the linearised one, in units of μ", [0.05, 1.0],
            ends["first"], ends["first_interval"], bearable=0.5,
        ),
    ]  # fmt: skip


def draw(document: dict[str, Any]) -> Figure:
    """Left: the error over the dial. Right: how far winners grow."""
    *rows, linearised = document["rows"]
    x = np.array([r["scale"] for r in rows])
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout=common.AIRY)
    common.against(left, x, rows, "error", label="single network, 95 %")
    without = [r["error_without"] for r in rows]
    left.plot(x, without, "^:", color="C3", markersize=5, label="trained without single-view samples")
    left.plot(x, [r["ensemble_keeps"] * r["error"] for r in rows], "s--", color="C1", markersize=4, label="ensemble")
    left.axhspan(*linearised["error_interval"], color="C2", alpha=0.3, label="linearised network, 95 %")
    left.axvline(document["lazy_scale"], color="0.4", linestyle=":", label="α*: a winner need not grow")
    left.set(xlabel="output scale α", ylabel="test error in units of μ", title="From feature learning to lazy training")
    left.set_xticks(x, [f"$10^{{{round(np.log10(t))}}}$" for t in x])
    left.set_ylim(top=0.78)
    left.legend(fontsize=8, framealpha=1)
    right.plot(x, [r["winner"] for r in rows], "o-", label="simulated, median")
    right.plot(
        x,
        [r["winner_law"] for r in rows],
        "s--",
        markersize=4,
        label=r"closed form $\Lambda_\alpha \propto \alpha^{-1/q}$",
    )
    right.set(xscale="log", yscale="log", xlabel="output scale α", ylabel="final overlap of winners")
    low, high = document["exponent_interval"]
    right.set_title(f"How far winners grow: exponent {document['exponent']:.3f} ({low:.2f} to {high:.2f})", fontsize=10)
    right.legend(fontsize=8)
    return figure


if __name__ == "__main__":
    common.command(sys.modules[__name__])

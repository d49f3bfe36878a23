"""How does the time to learn a view depend on the size of the start?

Tensor power iteration (docs/theory.md, section 5) says when a class's winner, from its own start Λ(0), reaches ϱ: t*
= (Λ(0)^-(q-2) − ϱ^-(q-2)) / (a (q-2)). With Λ(0) proportional to σ₀ the time goes as σ₀^-(q-2). Every class of every
network is compared with the closed form at its own start and its own strength in the training set.

Run it with `python -m experiments.learning_time`.
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
from multiview.theory import growth_rate, phase, step_size_lag, tensor_power_time, time_scales, unlearned_phase

NAME = "learning_time"
CLAIM = "The time to learn a view goes as σ₀^-(q-2), and each class learns when tensor power iteration says."
SECONDS = 60
REMARK = """The limit of small starts and the flow are both missed by a little, for reasons that are known. Descent
lags behind the flow, and relatively more where learning is quick: with `theory.step_size_lag` added the trend is gone,
and classes take 1.01 of the closed form at q = 3 and 0.965 at q = 4. The other classes give the rest at q = 3: traces
pull a view that is not learned down, by 3 % of its push, and classes learned earlier push it on.
`theory.unlearned_phase` puts both in, by the mean field, and is inside for starts up to 0.004 and 1 % too slow at the
largest. At q = 4, where traces pull less and classes are learned further apart, it goes the right way, to 0.974, and
not far enough: 2 to 3 % are still open there."""

STARTS = {3.0: (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016), 4.0: (0.015, 0.02, 0.03, 0.045, 0.06)}
SETTING = common.SMALL | {"seeds": 8, "replicates": 2, "train.learning_rate": 8.0}
SMOKE = networks.TINY
SMOKE_STARTS = {3.0: (0.004, 0.008, 0.016)}


def closed_form(start: np.ndarray, moments: np.ndarray, study: Study, steps: bool = False) -> np.ndarray:
    """Time at which the first view of each class reaches ϱ, from Λ(0) [R, S, k, L] and S [R, k, L].

    With `steps`, the lag of steps of size η behind the flow is added (`theory.step_size_lag`).
    """
    network = study.network
    rates = moments / moments.mean((-2, -1), keepdims=True) * growth_rate(study.data, network)
    times = tensor_power_time(start, rates[:, None], network.relu_power, network.relu_threshold)
    if steps:
        times = times + step_size_lag(start, network.relu_threshold, rates[:, None], study) / rates[:, None]
    return np.where(start > 0, times, np.inf).min(-1)


def by_field(start: np.ndarray, moments: np.ndarray, study: Study) -> np.ndarray:
    """The same with the lag of steps, among classes that are learned earlier or later (`theory.unlearned_phase`)."""
    network = study.network
    q, threshold = network.relu_power, network.relu_threshold
    times, taken = unlearned_phase(study, study.train.learning_rate * study.train.num_steps)
    ratio = (moments / moments.mean((-2, -1), keepdims=True))[:, None]
    lacking = np.where(start > 0, (phase(start, q) - phase(threshold, q)) / ratio, np.inf)
    lag = step_size_lag(start, threshold, 1.0, study)
    return (np.interp(lacking, taken, times, right=np.inf) + lag).min(-1)


def examine(power: float, start: float, smoke: bool) -> dict[str, Any]:
    """One start at one q."""
    study = replace(Study(), SETTING | (SMOKE if smoke else {}))
    study = replace(study, {"network.relu_power": power, "network.init_std": start})
    # The slowest of some hundred classes starts at about a third of the typical overlap.
    slowest = 3.5 ** (power - 2) * time_scales(study).view / study.train.learning_rate
    study = replace(study, {"train.num_steps": int(slowest) + 60})
    record_at = np.unique(np.linspace(0, study.train.num_steps, 150).astype(int))
    found = networks.single_networks(f"q = {power:g}, start {start:g}", study, record_at)
    overlap = found["overlap"].values
    measured = study.train.learning_rate * networks.crossing_times(
        found["steps"].values, np.moveaxis(overlap.max(-1), 2, -1), study.network.relu_threshold
    )  # [R, S, k]
    law = closed_form(overlap[:, :, 0], found["moments"].values, study)
    row: dict[str, Any] = {"power": power, "start": start, "not_learned": int(np.isnan(measured).sum())}
    with_steps = closed_form(overlap[:, :, 0], found["moments"].values, study, steps=True)
    field = by_field(overlap[:, :, 0], found["moments"].values, study)
    for name, values in (
        ("time", measured),
        ("ratio", measured / law),
        ("ratio_with_steps", measured / with_steps),
        ("ratio_field", measured / field),
    ):
        row[name], row[f"{name}_interval"] = map(common.rounded, networks.with_interval(values, np.nanmedian))
    row["law"] = common.rounded(np.median(law))
    return row | {
        "by_class": measured,
        "law_by_class": law,
        "law_with_steps_by_class": with_steps,
        "field_by_class": field,
    }


def exponent(times: np.ndarray, starts: np.ndarray) -> float:
    """Of σ₀ in the median time, from [R, S, k, points]."""
    return networks.slope(np.log(starts), np.log(np.nanmedian(times, axis=(0, 1, 2))))


def measure(smoke: bool) -> dict[str, Any]:
    """All starts; for each q the exponent, measured and of the closed form over the same range."""
    fits, rows = [], []
    for power, starts in (SMOKE_STARTS if smoke else STARTS).items():
        of_power = [examine(power, start, smoke) for start in starts]
        times = np.stack([r["by_class"] for r in of_power], -1)
        value, interval = networks.with_interval(times, lambda v, s=starts: exponent(v, np.array(s)))
        law, with_steps, field = (
            exponent(np.stack([r[n] for r in of_power], -1), np.array(starts))
            for n in ("law_by_class", "law_with_steps_by_class", "field_by_class")
        )
        fits.append(
            {
                "power": power,
                "exponent": common.rounded(value),
                "exponent_interval": common.rounded(interval),
                "law": common.rounded(law),
                "law_with_steps": common.rounded(with_steps),
                "field": common.rounded(field),
                "asymptote": -(power - 2),
            }
        )
        rows += [{n: v for n, v in r.items() if not n.endswith("by_class")} for r in of_power]
    return {"rows": rows, "fits": fits}


def verdicts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Exponents, and the time of each class in units of the closed form."""
    found = []
    for f in document["fits"]:
        numbers = f["exponent"], f["exponent_interval"]
        found.append(
            common.verdict(f"exponent of σ₀ at q = {f['power']:g}, limit of small starts", f["asymptote"], *numbers)
        )
        found.append(
            common.verdict(f"exponent of σ₀ at q = {f['power']:g}, closed form at these starts", f["law"], *numbers)
        )
        words = f"exponent of σ₀ at q = {f['power']:g}, closed form with the lag of finite steps"
        found.append(common.verdict(words, f["law_with_steps"], *numbers))
        words = f"exponent of σ₀ at q = {f['power']:g}, mean field of the other classes, with the lag of finite steps"
        found.append(common.verdict(words, f["field"], *numbers))
    for power in [f["power"] for f in document["fits"]]:
        r = min((r for r in document["rows"] if r["power"] == power), key=lambda r: r["start"])
        words = f"time of a class in units of its closed form, q = {power:g}, smallest start (median)"
        found.append(common.verdict(words, 1.0, r["ratio"], r["ratio_interval"]))
        words += ", with the lag of finite steps"
        found.append(common.verdict(words, 1.0, r["ratio_with_steps"], r["ratio_with_steps_interval"]))
    for r in document["rows"]:
        words = f"the same in units of the mean field of the other classes, q = {r['power']:g}, σ₀ = {r['start']:g}"
        found.append(common.verdict(words, 1.0, r["ratio_field"], r["ratio_field_interval"]))
    return found


def draw(document: dict[str, Any]) -> Figure:
    """Left: times with both closed forms. Right: each class's time in units of its closed form."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout=common.AIRY)
    for color, f in enumerate(document["fits"]):
        rows = [r for r in document["rows"] if r["power"] == f["power"]]
        starts = np.array([r["start"] for r in rows])
        low, high = f["exponent_interval"]
        for ax, name in ((left, "time"), (right, "ratio")):
            value = np.array([r[name] for r in rows])
            ends = np.array([r[f"{name}_interval"] for r in rows]).T
            ax.errorbar(
                starts,
                value,
                np.clip([value - ends[0], ends[1] - value], 0, None),
                fmt="os"[color],
                capsize=3,
                color=f"C{color}",
                label=f"q = {f['power']:g}, simulated, 95 %",
            )
        left.plot(
            starts,
            [r["law"] for r in rows],
            "--",
            color=f"C{color}",
            label=f"closed form; fit {f['exponent']:.2f} ({low:.2f} to {high:.2f})",
        )
        right.plot(
            starts,
            [r["ratio_with_steps"] for r in rows],
            ":",
            color=f"C{color}",
            label=f"q = {f['power']:g}, with the lag of steps",
        )
        right.plot(
            starts,
            [r["ratio_field"] for r in rows],
            "-.",
            color=f"C{color}",
            label=f"q = {f['power']:g}, and the mean field of other classes",
        )
    right.axhline(1, color="0.3", linestyle="--", linewidth=1)
    left.set(
        xscale="log", yscale="log", xlabel="start σ₀", ylabel="median time of a class, η·steps", title="Time to learn"
    )
    right.set(xscale="log", xlabel="start σ₀", ylabel="measured / closed form (median)", title="Class by class")
    left.legend(fontsize=8)
    right.set_ylim(top=1.1 * right.get_ylim()[1])  # room for the legend
    right.legend(fontsize=8)
    return figure


if __name__ == "__main__":
    common.command(sys.modules[__name__])

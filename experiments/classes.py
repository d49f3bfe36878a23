"""How many classes does it take until networks show the figures of the paper, and how does the start decide it?

The paper's figures are about k → ∞ with σ₀^(q-2) ~ 1/k. At a finite size a share b of the classes ends with both views,
and the error of a single network is (1 - b) times that of networks with exactly one view of each class
(`theory.ensemble_error`). A losing view is pushed by Ψ while its winner grows, so b is the share of starts whose views
lie closer than Ψ (docs/theory.md, section 6). Lines are the mean field (`theory.ideal_overlaps`) up to 10⁶ classes,
points are trained networks up to 100. Students are lines alone: what the race of traces can ever teach them
(`theory.race`), however long they are taught.

Run it with `python -m experiments.classes`.
"""

from __future__ import annotations

import sys
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments import common, networks
from multiview import replace, theory
from multiview.config import Study
from multiview.measures.features import winners
from multiview.theory.taught import long_race

NAME = "classes"
CLAIM = "With more classes networks approach the figures of the paper if the start shrinks with k as the theory asks."
SECONDS = 450
REMARK = (
    "All points agree with the mean field at their own starts. With the paper's scaling the share of classes with both "
    "views falls towards 0 as a power of k, slower than 1/k; with a start that stays the same it stops falling near "
    "0.01, and grows again. A larger ϱ does most at a fixed k. A line ends where 160,000 drawn classes hold none with "
    "both views."
)

SIMULATED = {"σ₀ fixed": (10, 30), "σ₀ ~ 1/k": (10, 30, 100), "σ₀ ~ 1/k, ϱ 6": (10, 30, 100)}
CLASSES = (10, 20, 30, 50, 100, 200, 300, 1_000, 10_000, 100_000, 1_000_000)
START = 3e-4  # σ₀/ϱ at k = 100, where both scalings at ϱ = 1 are one study: its networks are trained once
# Exponent of 1/k in σ₀ (q = 3, so that σ₀^(q-2) ~ 1/k is the second), and ϱ.
SCALINGS = {"σ₀ fixed": (0.0, 1.0), "σ₀ ~ 1/k": (1.0, 1.0), "σ₀ ~ 1/k, ϱ 6": (1.0, 6.0)}
TRACES = {"traces 0.4": [0.39, 0.41], "traces 0.3": [0.29, 0.31]}
ENSEMBLE = 24
DRAWN, MOST = 40_000, 2_000  # classes drawn for one point of a line, and how many of them share a training set
FIGURES = {"single": 0.49, "ensemble": 0.001, "distilled": 0.001, "self_distilled": 0.26}
SETTING = {
    "seeds": 4,
    "replicates": 2,
    "data.num_patches": 30,
    "data.feature_sparsity": 6.0,
    "data.single_view_fraction": 0.01,
    "data.label_strength": [1.0, 1.05],
    "data.weak_view_strength": 0.08,
    "data.single_view_foreign_strength": 0.3,
    "data.single_view_foreign_ratio": [1.0, 1.0],
    "data.noise_norm": 1.0,
    "data.representation": "limit_single_view_noise",
    "data.num_test_multi_view": 500,
    "data.num_test_single_view": 1000,
    "network.neurons_per_class": 18,
    "network.relu_power": 3.0,
    "train.solver": "multirate",
    "train.block_size": 4,
    "distill.temperature": 0.3,
    "distill.logit_cap": 1.2,
    "distill.weight": 24.0,
    "self_distill.temperature": 0.2,
    "self_distill.logit_cap": 1.2,
    "self_distill.weight": 9.0,
}
SMOKE = networks.TINY | {"network.init_std": 0.01, "train.solver": "gradient_descent"}


def study_of(classes: int, scaling: str, traces: str, smoke: bool = False) -> Study:
    """Ten multi-view samples a class, half a single-view sample; trained until the last class is learned."""
    exponent, threshold = SCALINGS[scaling]
    changes = {
        "data.num_classes": classes,
        "data.num_train": 10 * classes + classes // 2,
        "data.num_single_view_train": classes // 2,
        "data.foreign_strength": TRACES[traces],
        "network.relu_threshold": threshold,
        "network.init_std": START * threshold * (100 / classes) ** exponent,
        "train.learning_rate": classes * threshold,
    }
    study = replace(Study(), SETTING | changes | (SMOKE if smoke else {}))
    time = 1.3 * theory.last_view_time(study, study.replicates * study.seeds) + 2 * theory.memory_time(study)
    steps = round(time / study.train.learning_rate)
    return replace(study, {"train.num_steps": steps, "distill.onset_step": steps, "self_distill.onset_step": steps})


def ideal_both(study: Study) -> float:
    """Share of classes that the mean field gives both views, over starts and training sets of at most MOST classes."""
    rng, k = np.random.default_rng(study.data.num_classes), min(study.data.num_classes, MOST)
    per_class = study.data.num_train / study.data.num_classes
    lone = study.data.num_single_view_train / study.data.num_classes
    sizes = {
        "data.num_classes": k,
        "data.num_train": round(per_class * k),
        "data.num_single_view_train": round(lone * k),
    }
    few, found = replace(study, sizes), []
    for _ in range(4):
        moments, counts = theory.drawn_training_set(rng, few)
        shape = (max(DRAWN // (4 * k), 1), k, study.data.num_views, study.network.neurons_per_class)
        start = study.network.init_std * rng.standard_normal(shape).max(-1).clip(0)
        found.append(1 - winners(theory.ideal_overlaps(start, moments, study, counts))[1].mean())
    return float(np.mean(found))


def closed_both(study: Study) -> float:
    r"""Share of starts whose views lie closer in phase than winners' own growth pushes, for traces that pull nothing.

    While a winner grows from ϱ to W its label gives the loser the phase $\frac{E[z^q]}{E[z]}\frac{W-ϱ}{ϱ^{q-1}}$.
    """
    rng, q, threshold = np.random.default_rng(0), study.network.relu_power, study.network.relu_threshold
    time = study.train.learning_rate * study.train.num_steps
    strengths = theory.label_moment(study.data, q) / theory.label_moment(study.data, 1.0)
    push = strengths * (theory.winner_overlap(study, time) - threshold) / threshold ** (q - 1)
    start = study.network.init_std * rng.standard_normal((DRAWN, study.network.neurons_per_class)).max(-1).clip(1e-12)
    phases = np.sort(theory.phase(start, q))
    closer = np.searchsorted(phases, phases + push) - np.arange(1, DRAWN + 1)  # of all pairs of drawn views
    return float(2 * closer.mean() / (DRAWN - 1))


def never_taught(study: Study, name: str) -> float:
    """Share of all views that students lack although their teacher knows them, however long they are taught."""
    distill = getattr(study, name)
    known = theory.known_views(study, ENSEMBLE if name == "distill" else 1)
    _, course = long_race(study, distill, known, 0.0)
    time = study.train.learning_rate * distill.onset_step
    by_labels = theory.typical_network(study, time).push[-1].mean()
    return float(known * theory.share_lost(study, course.phase[-1] + by_labels))


def line(classes: int, scaling: str, traces: str, smoke: bool) -> dict[str, Any]:
    """One point of the mean field: what a study of the simulated size would show, with its interval."""
    study = study_of(classes, scaling, traces, smoke)

    def compute() -> dict[str, Any]:
        both, one = ideal_both(study), theory.ensemble_error(study, 1)
        count = study.replicates * study.seeds * classes
        ends = np.random.default_rng(1).binomial(count, both, 2000) / count
        missed = {n: never_taught(study, n) for n in ("distill", "self_distill")}
        return {
            "both": both,
            "closed_both": closed_both(study),
            "single": (1 - both) * one,
            "single_interval": np.quantile((1 - ends) * one, [0.025, 0.975]).tolist(),
            "ensemble": theory.ensemble_error(study, ENSEMBLE),
            "distilled": missed["distill"],
            "self_distilled": one / 2 * (1 - both) + missed["self_distill"],
        }

    found = common.cell(f"mean field, k = {classes}, {scaling}, {traces}", study, compute)
    found.pop("seconds")
    values = {n: _significant(v) for n, v in found.items()}
    return {"classes": classes, "scaling": scaling, "traces": traces} | values


def _significant(value: Any) -> Any:
    """Four significant digits, as values go down to 10⁻⁶; nested as they were."""
    return [_significant(v) for v in value] if isinstance(value, list) else float(f"{value:.4g}")


def point(classes: int, scaling: str, traces: str, smoke: bool) -> dict[str, Any]:
    """Networks trained at one size."""
    study = study_of(classes, scaling, traces, smoke)
    label = f"k = {classes}, {scaling}, {traces}"
    found = networks.single_networks(label, study, [0, study.train.num_steps], test=True)
    overlap, mu = found["overlap"].values, study.data.single_view_fraction
    law_both = 1 - winners(networks.ideal_overlaps(found, study))[1].mean()
    row: dict[str, Any] = {
        "classes": classes,
        "scaling": scaling,
        "traces": traces,
        "start": _significant(study.network.init_std),
        "steps": study.train.num_steps,
        "law_both": common.rounded(law_both),
        "law": common.rounded((1 - law_both) * theory.ensemble_error(study, 1)),
        "train_error_0": float((found["train_wrong"].values[..., -1] == 0).mean()),
    }
    values = {
        "error": found["e_single"].values + (1 - mu) / mu * found["e_multi"].values,
        "both": 1.0 - winners(overlap[:, :, -1])[1].mean(-1),
    }
    for key, of_networks in values.items():
        row[key], row[f"{key}_interval"] = map(common.rounded, networks.with_interval(of_networks, np.mean))
    return row


def reached(lines: list[dict[str, Any]], name: str) -> float | None:
    """The k at which a line reaches the paper's figure for good, straight between points in log k; None if never."""
    k = np.log([r["classes"] for r in lines])
    gap = np.array([r[name] - FIGURES[name] for r in lines]) * (1 if name == "single" else -1)
    if gap[-1] < 0:
        return None
    below = np.flatnonzero(gap < 0)
    if not len(below):
        return float(lines[0]["classes"])
    i = below[-1]
    return _significant(np.exp(k[i] + (k[i + 1] - k[i]) * gap[i] / (gap[i] - gap[i + 1])))


def measure(smoke: bool) -> dict[str, Any]:
    """Lines and points for each scaling and strength, exponents of b, and the k of the paper's figures."""
    kinds = [(s, t) for s in SCALINGS for t in TRACES]
    lines = [line(k, s, t, smoke) for s, t in kinds for k in ((6,) if smoke else CLASSES)]
    points = [point(k, s, t, smoke) for s, t in kinds for k in ((6,) if smoke else SIMULATED[s])]
    fits = []
    for scaling, traces in kinds:
        course = [r for r in lines if (r["scaling"], r["traces"]) == (scaling, traces)]
        far = [r for r in course if r["classes"] >= 1000]
        exponents = {}
        for name, of in (("exponent", "both"), ("closed_exponent", "closed_both")):
            seen = [r for r in far if r[of] > 0]
            x, y = np.log([r["classes"] for r in seen]), np.log([r[of] for r in seen])
            exponents[name] = _significant(networks.slope(x, y)) if len(seen) > 1 else None
        fits.append(
            {"scaling": scaling, "traces": traces} | exponents | {f"{n}_from": reached(course, n) for n in FIGURES}
        )
    return {"rows": points, "lines": lines, "fits": fits}


def verdicts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Trained networks against the mean field at their own starts, and against the paper at the largest size."""
    found = []
    for r in document["rows"]:
        words = f"k = {r['classes']}, {r['scaling']}, {r['traces']}"
        found.append(
            common.verdict(f"share of classes with both views at {words}", r["law_both"], r["both"], r["both_interval"])
        )
        found.append(common.verdict(f"error in units of μ at {words}", r["law"], r["error"], r["error_interval"]))
    for r in document["rows"]:
        if r["classes"] == document["rows"][-1]["classes"]:
            words = f"error in units of μ at k = {r['classes']}, {r['scaling']}, {r['traces']}"
            found.append(common.verdict(words, [0.49, 0.51], r["error"], r["error_interval"], paper=True))
    return found


def draw(document: dict[str, Any]) -> Figure:
    """Errors of single networks, classes with both views, and what ensembles and students miss, against k."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), layout=common.AIRY)
    kinds = [(s, t) for s in SCALINGS for t in TRACES]
    for number, kind in enumerate(kinds):
        style = {"color": f"C{number}", "linestyle": ("-", "--", "-.", ":")[number % 4]}
        words = ", ".join(kind)
        course = [r for r in document["lines"] if (r["scaling"], r["traces"]) == kind]
        rows = [r for r in document["rows"] if (r["scaling"], r["traces"]) == kind]
        k = np.array([r["classes"] for r in course])
        axes[0].plot(k, [r["single"] for r in course], label=words, **style)
        axes[0].fill_between(
            k, *np.array([r["single_interval"] for r in course]).T, color=f"C{number}", alpha=0.15, lw=0
        )
        axes[1].plot(k, [r["both"] or np.nan for r in course], label=words, **style)
        at = np.array([r["classes"] for r in rows]) * 1.05 ** (number - 2.5)
        for ax, name in ((axes[0], "error"), (axes[1], "both")):
            value, ends = np.array([r[name] for r in rows]), np.array([r[f"{name}_interval"] for r in rows]).T
            spread = np.clip([value - ends[0], ends[1] - value], 0, None)
            ax.errorbar(at, value, spread, fmt="os^Dvp"[number], capsize=3, color=f"C{number}", markersize=4)
    for number, traces in enumerate(TRACES):
        course = [r for r in document["lines"] if (r["scaling"], r["traces"]) == ("σ₀ ~ 1/k", traces)]
        k = [r["classes"] for r in course]
        for name, style in (("ensemble", "-"), ("distilled", "--"), ("self_distilled", ":")):
            words = f"{name.replace('_', '-')}, {traces}"
            axes[2].plot(k, np.maximum([r[name] for r in course], 1e-5), style, color=f"C{number + 2}", label=words)
    axes[0].axhspan(0.49, 0.51, color="0.8", linewidth=0, label="the paper, k → ∞")
    axes[0].set(ylabel="test error of a single network / μ", title="Lines: mean field; points: trained")
    axes[1].set(ylabel="share of classes with both views", yscale="log", title="What keeps the error below 1/2")
    axes[1].set_ylim(1e-5, 0.5)
    axes[2].set(ylabel="error / μ, at best", yscale="log", title="Ensemble and students, σ₀ ~ 1/k")
    for ax in axes:
        ax.set(xlabel="classes k", xscale="log")
        ax.legend(fontsize=7)
    return figure


if __name__ == "__main__":
    common.command(sys.modules[__name__])

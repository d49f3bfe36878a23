"""Which theorem holds where: planes through the preset `smoke`, with the lines of the regime check drawn in.

A network is right half of the time on single-view data, an ensemble always; so a theorem counts as seen where the
error lies nearer to its ideal value than to that of the next. Theorem 1: training error 0, and an error of 0.35 to 0.55
in units of μ (as in `experiments.regime_grid`). The others, where theorem 1 is seen and training errors are 0: ensemble
and its students keep less than a quarter of the single networks' error (ideally none), self-distilled students less
than three quarters (ideally half).

The check calls a point good for theorem 1 if all conditions on networks hold; for the ensemble also `balanced views
(ensemble)`, and if the binomial law of `theory.ensemble_error` keeps less than a quarter; for students also the
conditions on their distillation.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from scipy.stats import binomtest

from experiments import common, networks
from experiments.regime_grid import BAND
from multiview import check_regime, load_preset, replace, run_study
from multiview.config import Study
from multiview.theory import Condition, ensemble_error

SETTING = {
    "seeds": 8,
    "replicates": 1,
    "students": 4,
    "data.num_test_multi_view": 500,
    "data.num_test_single_view": 1000,
    "train.num_records": 2,
}
SMOKE = networks.TINY | {
    "data.feature_sparsity": 3.0,
    "train.learning_rate": 8.0,
    "train.num_steps": 400,
    "distill.onset_step": 300,
    "self_distill.onset_step": 300,
    "distill.num_steps": 100,
    "self_distill.num_steps": 100,
}
STYLES = ("-", (0, (5, 2)), (0, (1, 1)), (0, (5, 2, 1, 2)), (0, (5, 1, 1, 1, 1, 1)), (0, (9, 3)), (0, (2, 2)))
CASING = [withStroke(linewidth=4, foreground="white")]  # a line's white edge, on any colour of the plane
THEOREMS = {
    "single": "theorem 1, single networks",
    "ensemble": "theorem 2, their ensemble",
    "distilled": "theorem 3, students of the ensemble",
    "self_distilled": "theorem 4, students of one network",
}
KEEPS = {"ensemble": 1 / 4, "distilled": 1 / 4, "self_distilled": 3 / 4}  # of the single networks' error
ENSEMBLE_LAW = "law of the ensemble"
OWN_CONDITIONS = {
    "ensemble": ("balanced views (ensemble)", ENSEMBLE_LAW),
    "distilled": (
        "balanced views (ensemble)",
        ENSEMBLE_LAW,
        "taught view beats foreign features (distill)",
        "time to distil (distill)",
    ),
    "self_distilled": (
        "traces outrun foreign overlaps (self_distill)",
        "taught view beats foreign features (self_distill)",
        "time to distil (self_distill)",
    ),
}


class Plane(NamedTuple):
    """Two fields of the configuration, the values that they take, and the conditions whose lines cross the plane."""

    x: str
    y: str
    x_values: tuple[float, ...]
    y_values: tuple[float, ...]
    x_label: str
    y_label: str
    lines: tuple[str, ...]


def outcome(study: Study) -> dict[str, Any]:
    """Errors in units of μ and wrong training samples of all kinds of network, by kind."""
    result = run_study(study)
    mu, found = study.data.single_view_fraction, {}
    for name in THEOREMS:
        errors = result.ensembles[name] if name == "ensemble" else result.groups[name].errors
        found[f"{name}_error"] = xr.DataArray(errors.in_units_of_mu(mu)[0], dims=f"{name}_network")
        if name in result.groups:
            wrong = result.groups[name].train_wrong[0]
            found[f"{name}_train_wrong"] = xr.DataArray(wrong, dims=f"{name}_network")
    return found


def conditions_of(study: Study) -> dict[str, Condition]:
    """The regime check by name, with the law of the ensemble's size."""
    found = {c.name: c for c in check_regime(study)}
    keeps, bound = ensemble_error(study, study.seeds), KEEPS["ensemble"] * ensemble_error(study, 1)
    found[ENSEMBLE_LAW] = Condition(ENSEMBLE_LAW, "it keeps less than a quarter", keeps, bound, keeps < bound)
    return found


def examine(plane: Plane, x: float, y: float, smoke: bool) -> dict[str, Any]:
    """One point: what simulation shows, and what the check says."""
    study = replace(load_preset("smoke"), SETTING | {plane.x: x, plane.y: y} | (SMOKE if smoke else {}))
    found = common.cell(f"{plane.x.split('.')[1]} {x:g}, {plane.y.split('.')[1]} {y:g}", study, lambda: outcome(study))
    error = {name: float(found[f"{name}_error"].values.mean()) for name in THEOREMS}
    trained = {n: bool((found[f"{n}_train_wrong"].values == 0).all()) for n in THEOREMS if n != "ensemble"}
    seen = {"single": trained["single"] and BAND[0] <= error["single"] <= BAND[1]}
    for name, share in KEEPS.items():
        seen[name] = seen["single"] and trained.get(name, True) and error[name] < share * error["single"]
    conditions = conditions_of(study)
    failing = [n for n, c in conditions.items() if not c.holds]
    ratios = {n: common.rounded(min(c.left / max(c.right, 1e-30), 1e6)) for n, c in conditions.items()}
    return {
        "x": x,
        "y": y,
        "error": {n: common.rounded(v) for n, v in error.items()},
        "train_error_0": trained,
        "seen": seen,
        "failing": failing,
        "good": {name: not set(failing) & needed(name, conditions) for name in THEOREMS},
        "ratios": ratios,
    }


def needed(theorem: str, conditions: dict[str, Any]) -> set[str]:
    """Names of the conditions that a theorem asks for."""
    on_networks = {n for n in conditions if "(" not in n and n != ENSEMBLE_LAW}
    return on_networks | set(OWN_CONDITIONS.get(theorem, ()))


def border(points: list[dict[str, Any]], condition: str) -> dict[str, Any] | None:
    """The ratio of a condition up to which theorem 1 is seen, of the points where all its other conditions hold.

    The step that is wrong about the fewest points; its interval reaches over all gaps between neighbouring ratios in
    which a step is wrong about as few. None if the condition never fails, or all points or none show the theorem.
    Conditions that fail nowhere else than where this one does are its consequences, and are not asked for.
    """
    asked = needed("single", points[0]["ratios"]) - {condition}
    asked &= {name for p in points if condition not in p["failing"] for name in p["failing"]}
    others = [p for p in points if not set(p["failing"]) & asked]
    shown = np.array([p["seen"]["single"] for p in others], bool)
    if shown.all() or not shown.any() or not any(condition in p["failing"] for p in others):
        return None
    ratio = np.array([p["ratios"][condition] for p in others])
    steps = np.unique(ratio)
    wrong = np.array([((ratio <= step) != shown).sum() for step in steps[:-1]])
    best = np.flatnonzero(wrong == wrong.min(initial=len(others)))
    if not len(best):
        return None
    ends = steps[[best[0], best[-1] + 1]]
    return {
        "condition": condition,
        "ratio": common.rounded(np.sqrt(np.prod(np.maximum(ends, 1e-6)))),
        "ends": common.rounded(ends),
        "wrong": int(wrong.min()),
        "points": len(others),
    }


def measure(plane: Plane, smoke: bool) -> dict[str, Any]:
    """The whole plane."""
    xs, ys = (plane.x_values[2:3], plane.y_values[1:5:3]) if smoke else (plane.x_values, plane.y_values)
    points = [examine(plane, x, y, smoke) for x in xs for y in ys]
    shown = plane._replace(x_values=xs, y_values=ys)._asdict()
    return {"plane": shown, "band": list(BAND), "points": points}


def verdicts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """How often check and simulation agree, by theorem; where borders lie."""
    points, found = document["points"], []
    for name, words in THEOREMS.items():
        agree = sum(p["good"][name] == p["seen"][name] for p in points)
        interval = binomtest(agree, len(points)).proportion_ci(method="exact")
        claim = f"share of points where check and simulation agree, {words}"
        found.append(common.verdict(claim, 1.0, agree / len(points), interval))
    for line in document["plane"]["lines"]:
        if line not in points[0]["ratios"] or not (b := border(points, line)):
            continue
        claim = f"where theorem 1 ends along “{b['condition']}”, left side over right ({b['points']} points)"
        found.append(common.verdict(claim, 1.0, b["ratio"], b["ends"]))
    return found


def lines(document: dict[str, Any], theorem: str) -> dict[str, np.ndarray]:
    """Log ratio [y, x] of each condition on that theorem whose line crosses the plane."""
    plane, points = document["plane"], document["points"]
    shape = len(plane["x_values"]), len(plane["y_values"])
    names = [n for n in (*plane["lines"], *OWN_CONDITIONS.get(theorem, ())) if n in points[0]["ratios"]]
    ratios = {n: np.array([p["ratios"][n] for p in points]).reshape(shape).T for n in names}
    crossing = {n: r for n, r in ratios.items() if r.min() < 1 < r.max() and min(shape) > 1}  # a line needs a plane
    return {n: np.log(np.maximum(r, 1e-6)) for n, r in crossing.items()}


def draw_panel(ax: Axes, document: dict[str, Any], theorem: str) -> Any:
    """Error of one kind of network over the plane, the check's lines, and where they disagree."""
    plane, points = document["plane"], document["points"]
    x, y = np.log10(plane["x_values"]), np.log10(plane["y_values"])
    error = np.array([p["error"][theorem] for p in points]).reshape(len(x), len(y)).T
    image = ax.pcolormesh(x, y, np.clip(error, 0, 0.7), cmap="cividis", vmin=0, vmax=0.7, shading="nearest")
    every = list(dict.fromkeys(name for each in THEOREMS for name in lines(document, each)))
    for name, value in lines(document, theorem).items():
        n = every.index(name)  # the same look in all panels
        look = {"linewidths": 2, "linestyles": [STYLES[n % len(STYLES)]], "colors": [f"C{1 + n}"]}
        ax.contour(x, y, value, [0.0], **look).set_path_effects(CASING)
        label = name.replace("(distill)", "(of the ensemble)").replace("(self_distill)", "(of one network)")
        ax.plot([], [], color=f"C{1 + n}", linewidth=2, linestyle=STYLES[n % len(STYLES)], label=label)
    for p in points:
        at = np.log10(p["x"]), np.log10(p["y"])
        ax.plot(*at, "o", color="white" if p["seen"][theorem] else "none", markeredgecolor="white", markersize=6)
        if p["good"][theorem] != p["seen"][theorem]:
            ax.plot(*at, "x", color="red", markersize=9, markeredgewidth=2)
    ax.set_xticks(x, [f"{v:g}" for v in plane["x_values"]], fontsize=8)
    ax.set_yticks(y, [f"{v:g}" for v in plane["y_values"]], fontsize=8)
    agree = sum(p["good"][theorem] == p["seen"][theorem] for p in points)
    ax.set_title(f"{THEOREMS[theorem]}: agree in {agree} of {len(points)}", fontsize=9)
    ax.grid(False)
    return image


def draw(document: dict[str, Any]) -> Figure:
    """Four panels, one for each theorem."""
    figure, axes = plt.subplots(2, 2, figsize=(10.5, 8.4), layout="constrained", sharex=True, sharey=True)
    for ax, theorem in zip(axes.ravel(), THEOREMS, strict=True):
        image = draw_panel(ax, document, theorem)
    figure.colorbar(image, ax=axes, label="test error in units of μ (cut at 0.7)", shrink=0.6)
    axes[0, 0].plot([], [], "o", color="0.7", label="theorem seen (open: not)", linestyle="none")
    axes[0, 0].plot([], [], "x", color="red", label="check and simulation disagree", linestyle="none")
    handles = {label: line for ax in axes.ravel() for line, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, fontsize=8, handlelength=4)
    for ax in axes[1]:
        ax.set_xlabel(document["plane"]["x_label"])
    for ax in axes[:, 0]:
        ax.set_ylabel(document["plane"]["y_label"])
    return figure

"""Is the noise of mini-batches, or the size of steps, as good a source of diversity as the start?

Before a view is learned its phase φ = Λ^-(q-2)/(q-2) falls by η c in each step, whatever Λ, where c is the mean of
w_n (1[y_n = i] - 1/k) Σ z^q/ϱ^(q-1) over the step's samples. So mini-batches add noise to the phase, of variance
η t N²/B (1 - B/N) Var_n(c) until the winner is learned at time t, with c the difference between the two views: both
sit in the same samples, so only the spread of strengths and single-view samples count. The start gives the two views
phases that differ by much more. With what the loser has left then, M, a winner changes with probability
Φ(-M/standard deviation); nothing is fitted. Step sizes only change the lag behind the flow, hardly by view.

Four networks of each start, of other mini-batches or step sizes, are compared with networks of other starts.

Run it with `python -m experiments.batch_noise`.
"""

from __future__ import annotations

import sys
from typing import Any

import jax
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from scipy.stats import norm

from experiments import common, networks
from experiments.view_strength import winning_share
from multiview import replace, streams
from multiview.config import Study, to_mapping
from multiview.measures.features import winners
from multiview.measures.lottery import view_moments
from multiview.studies.evaluation import count_test_errors
from multiview.studies.study import training_tasks
from multiview.systems.blocks import answer_networks, start_keys, train_networks
from multiview.world.task import Task
from multiview.world.world import Chunk, World

NAME = "batch_noise"
CLAIM = (
    "Networks of one start agree on their winners as the closed form of batch noise says, far more than networks of "
    "different starts, and their ensemble keeps the error that it says."
)
SECONDS = 100
REMARK = """Batch noise is a weak source of diversity, and by how weak is derived: from 0.99 of the winners with a third
of the samples in a step to 0.88 with a single sample and large steps, on the closed form throughout. Step sizes change
half a per cent of the winners. What the ensemble keeps is not on its closed form, which counts a view as gained as soon
as one network of four knows it: measured, winners differ only in classes in which some network ends with both views
(all such classes for B > 1; 0.28 of all classes at most), and there a single network errs little, so that nothing is
left to gain. With one sample in large steps it is inside; there 0.14 of the networks miss training samples too."""
VARIANTS = 4  # networks of each start, and the size of the ensembles
BATCHES = ((4.0, 24), (4.0, 4), (4.0, 1), (16.0, 24), (16.0, 4), (16.0, 1))  # step size, samples in a step
STEP_SIZES = (4.0, 6.4, 10.0, 16.0)
TIME = 6400.0
SETTING = common.SMALL | {
    "seeds": 8,
    "replicates": 8,
    "data.label_strength": [1.0, 1.5],
    "network.neurons_per_class": 8,
}
FACTORS = np.geomspace(0.25, 4.0, 161)  # on the closed form's noise, for the fit
SMOKE = networks.TINY | {"data.label_strength": [1.0, 1.5], "replicates": 2}


def tested(study: Study, replicate: int, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Errors of networks [S, V], of the ensembles of one start [S], and of as many neighbouring starts [S]."""
    seeds, variants = weights.shape[:2]
    everyone = weights.reshape(-1, *weights.shape[2:])
    neighbours = (np.arange(seeds)[:, None] + np.arange(VARIANTS)) % seeds

    def answer(chunk: Chunk) -> dict[str, np.ndarray]:
        outputs = answer_networks(study, everyone, chunk.noise_keys(len(everyone)), chunk.task)
        outputs = outputs.reshape(seeds, variants, *outputs.shape[1:])
        return {"single": outputs, "same": outputs.mean(1), "other": outputs[neighbours, 0].mean(1)}

    world = World.of(study)
    errors = {}
    for name, wrong in count_test_errors(world, replicate, answer).items():
        for index, (kind, size) in enumerate(zip(("multi", "single"), world.test_sizes.values(), strict=True)):
            errors[f"{name}_{kind}"] = wrong[..., index] / size
    return errors


def train_arm(study: Study, step_sizes: tuple[float, ...]) -> dict[str, Any]:
    """Networks of every start with other mini-batches, or where several are given with other step sizes."""
    rows = []
    for replicate, task in enumerate(training_tasks(study)):
        keys = start_keys(study, streams.START, replicate, range(study.seeds))
        if len(step_sizes) == 1:
            keys = keys[np.repeat(np.arange(study.seeds), VARIANTS)]
            batches = jax.random.split(streams.stream(study.seed, streams.BATCHES, replicate), len(keys))
            runs = [train_networks(study, task, keys, num_steps=study.train.num_steps, batch_keys=batches)]
        else:
            runs = [
                train_networks(replace(study, {"train.learning_rate": rate}), task, keys, num_steps=round(TIME / rate))
                for rate in step_sizes
            ]

        def by_start(values: list[np.ndarray]) -> np.ndarray:
            if len(values) == 1:
                return values[0].reshape(study.seeds, VARIANTS, *values[0].shape[1:])
            return np.stack(values, 1)

        overlap = by_start([run.records["largest_overlap"] for run in runs])
        row = {"start": overlap[:, 0, 0], "overlap": overlap[:, :, -1]}
        row["train_wrong"] = by_start([run.records["train_wrong"][:, -1] for run in runs])
        rows.append(row | tested(study, replicate, by_start([run.weights for run in runs])))
    stacked = {n: np.stack([row[n] for row in rows]) for n in rows[0]}
    dims = {"start": (*networks.NETWORK, "class", "view"), "overlap": (*networks.NETWORK, "variant", "class", "view")}
    short = (*networks.NETWORK, "variant")
    return {n: xr.DataArray(a, dims=dims.get(n, short[: a.ndim])) for n, a in stacked.items()}


def phase_pushes(study: Study, task: Task) -> np.ndarray:
    r"""What each sample takes from the phase of each view of each class, by η = 1 and the full batch [N, k, L].

    $w_n (1[y_n = i] - \frac1k) \sum_p z_p^q/\varrho^{q-1}$: their sum is a view's rate before any is learned.
    """
    data, network, k = study.data, study.network, study.data.num_classes
    q, total = network.relu_power, len(task.data.labels)
    strength = np.zeros((total, data.num_features + 1))  # the last column is the background's
    feature = np.asarray(task.data.patch_feature)
    np.add.at(strength, (np.arange(total)[:, None], feature), np.asarray(task.data.coefficients, float) ** q)
    own = (np.asarray(task.data.labels)[:, None] == np.arange(k)) - 1 / k
    by_view = strength[:, :-1].reshape(total, k, data.num_views)
    return by_view * (np.asarray(task.data.weights)[:, None] * own)[..., None] / network.relu_threshold ** (q - 1)


def batch_variance(values: np.ndarray, size: int) -> np.ndarray:
    """Variance of N/B times the sum of B of N values drawn without replacement, N leading."""
    total = len(values)
    return np.asarray(total**2 / size * (1 - size / total) * values.var(0, ddof=1))


def winning_chance(study: Study, task: Task, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Chance that view 0 wins, and the noise of the phases in units of what the loser has left, both [S, k]."""
    network, push = study.network, phase_pushes(study, task)
    q, threshold, rate = network.relu_power, network.relu_threshold, study.train.learning_rate
    with np.errstate(divide="ignore"):
        phase = (start ** (2 - q) - threshold ** (2 - q)) / (q - 2)
    arrival = phase / push.sum(0)
    left = phase - push.sum(0) * arrival.min(-1, keepdims=True)
    variance = batch_variance(push[..., 0] - push[..., 1], study.train.batch_size or len(push))
    noise = np.sqrt(rate * arrival.min(-1) * variance)
    ahead = left[..., 1] - left[..., 0]
    return norm.cdf(ahead / np.maximum(noise, 1e-12)), noise / np.abs(ahead)


def agreement_with_others(winner: np.ndarray) -> np.ndarray:
    """Share of classes in which a start's networks agree with those of other starts, [R, S] from [R, S, V, k]."""
    seeds = winner.shape[1]
    equal = (winner[:, :, None] == winner[:, None]).mean((-1, -2))
    return (equal.sum(2) - 1) / (seeds - 1)


def in_units_of_mu(found: dict[str, Any], name: str, mu: float) -> np.ndarray:
    """Errors of `tested`."""
    return np.asarray((1 - mu) / mu * found[f"{name}_multi"].values + found[f"{name}_single"].values)


def examine(study: Study, step_sizes: tuple[float, ...]) -> dict[str, Any]:
    """One arm: agreement, errors, and what the closed form says of them."""
    label = f"steps {step_sizes[0]:g}, batch {study.train.batch_size}" if len(step_sizes) == 1 else "step sizes"
    found = common.cell(label, [to_mapping(study), list(step_sizes), TIME], lambda: train_arm(study, step_sizes))
    k, q = study.data.num_classes, study.network.relu_power
    chance, noise, fair = [], [], []
    for replicate, task in enumerate(training_tasks(study)):
        row = winning_chance(study, task, found["start"].values[replicate])
        chance.append(row[0])
        noise.append(row[1])
        moments = view_moments(task.data, k, 2, q)
        ratios = (moments[:, 0] / moments[:, 1]) ** (1 / q)
        fair.append([winning_share(float(r), q / (q - 2), study.network.neurons_per_class) for r in ratios])
    p, of_starts = np.stack(chance), np.array(fair)[:, None]
    winner = winners(found["overlap"].values)[0]  # [R, S, V, k]
    equal = (winner[:, :, :, None] == winner[:, :, None]).mean(-1).sum((-1, -2))
    same = (equal - VARIANTS) / (VARIANTS * (VARIANTS - 1))
    errors = {n: in_units_of_mu(found, n, study.data.single_view_fraction) for n in ("single", "same", "other")}
    errors["single"] = errors["single"].mean(-1)
    row: dict[str, Any] = {
        "arm": label,
        "learning_rate": list(step_sizes),
        "batch_size": study.train.batch_size,
        "train_error_0": common.rounded((found["train_wrong"].values == 0).mean()),
        "noise": common.rounded(np.median(np.concatenate(noise))),
    }
    measured = {"same_start": same, "other_starts": agreement_with_others(winner)} | errors
    for name, values in measured.items():
        row[name], row[f"{name}_interval"] = map(common.rounded, networks.with_interval(values, np.mean))
    row["law_same_start"] = common.rounded((p**2 + (1 - p) ** 2).mean())
    row["law_other_starts"] = common.rounded((of_starts**2 + (1 - of_starts) ** 2).mean())
    for name, chances in (("same", p), ("other", of_starts)):
        # No network of the ensemble knows the view, against one network that does not: a half.
        row[f"law_kept_{name}"] = common.rounded((chances**VARIANTS + (1 - chances) ** VARIANTS).mean())
        both = np.stack([errors[name], errors["single"]], -1)
        kept = networks.with_interval(both, lambda v: v[..., 0].mean() / v[..., 1].mean())
        row[f"kept_{name}"], row[f"kept_{name}_interval"] = map(common.rounded, kept)
    difference = networks.with_interval(same - (p**2 + (1 - p) ** 2).mean(-1), np.mean)
    row["difference"], row["difference_interval"] = map(common.rounded, difference)
    flipped = (winner != winner[:, :, :1]).any(2)
    unclear = ~winners(found["overlap"].values)[1].all(2)
    row["both_views"] = common.rounded(unclear.mean())
    row["both_views_where_winners_differ"] = common.rounded(unclear[flipped].mean()) if flipped.any() else None
    changed = norm.cdf(-1 / (FACTORS[:, None, None, None] * np.maximum(np.stack(noise), 1e-12)))
    curve = np.moveaxis((changed**2 + (1 - changed) ** 2).mean(-1), 0, -1)
    return row | {"by_start": same, "curve_by_start": curve}


def best_factor(values: np.ndarray) -> float:
    """The factor on the closed form's noise that fits best, from agreements and their curves [R, S, arm, 1 + F]."""
    mean = values.mean((0, 1))
    return float(FACTORS[((mean[:, :1] - mean[:, 1:]) ** 2).sum(0).argmin()])


def measure(smoke: bool) -> dict[str, Any]:
    """Both kinds of arm, and the noise that fits best."""
    study = replace(Study(), SETTING | (SMOKE if smoke else {}))
    rows = []
    for rate, size in BATCHES[5:] if smoke else BATCHES:
        changes = {"train.learning_rate": rate, "train.num_steps": round(TIME / rate), "train.batch_size": size}
        rows.append(examine(replace(study, changes), (rate,)))
    steps = replace(study, {"train.learning_rate": STEP_SIZES[-1], "train.num_steps": round(TIME / STEP_SIZES[-1])})
    by_step = examine(steps, STEP_SIZES)
    for name in ("by_start", "curve_by_start"):
        by_step.pop(name)
    same = np.stack([r.pop("by_start") for r in rows], -1)[..., None]
    curves = np.stack([r.pop("curve_by_start") for r in rows], -2)  # [R, S, arm, factor]
    value, interval = networks.with_interval(np.concatenate([same, curves], -1), best_factor)
    fit = {"factor": common.rounded(value), "interval": common.rounded(interval)}
    return {"study": to_mapping(study), "rows": rows, "step_sizes": by_step, "fit": fit}


def verdicts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The fitted noise; agreement and ensembles by arm against the closed form; step sizes."""
    fit, by_step = document["fit"], document["step_sizes"]
    words = "factor on the closed form's noise that fits the agreement of one start's networks best"
    found = [common.verdict(words, 1.0, fit["factor"], fit["interval"], bearable=1.0)]
    for r in document["rows"]:
        arm = f"η = {r['learning_rate'][0]:g}, B = {r['batch_size']}"
        # The closed form is about these very starts, so the interval is that of the difference.
        interval = [r["law_same_start"] + d for d in r["difference_interval"]]
        words = f"agreement of winners between mini-batches from one start, {arm}"
        found.append(common.verdict(words, r["law_same_start"], r["law_same_start"] + r["difference"], interval))
        words = f"share of the error that an ensemble of {VARIANTS} from one start keeps, {arm}"
        found.append(common.verdict(words, r["law_kept_same"], r["kept_same"], r["kept_same_interval"]))
    words = "agreement of winners between step sizes 4 to 16 from one start"
    found.append(common.verdict(words, 1.0, by_step["same_start"], by_step["same_start_interval"]))
    words = "agreement of winners between starts, full batch"
    ends = by_step["other_starts_interval"]
    found.append(common.verdict(words, by_step["law_other_starts"], by_step["other_starts"], ends))
    words = f"share of the error that an ensemble of {VARIANTS} step sizes from one start keeps"
    found.append(common.verdict(words, 1.0, by_step["kept_same"], by_step["kept_same_interval"]))
    words = f"share of the error that an ensemble of {VARIANTS} starts keeps, one step size, full batch"
    found.append(
        common.verdict(words, by_step["law_kept_other"], by_step["kept_other"], by_step["kept_other_interval"])
    )
    return found


def draw(document: dict[str, Any]) -> Figure:
    """Left: agreement against noise. Right: errors."""
    rows = sorted(document["rows"], key=lambda r: float(r["noise"]))
    noise = np.array([r["noise"] for r in rows])
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.2), layout=common.AIRY)
    for name, color, label in (("same_start", "C0", "one start, other batches"),
                               ("other_starts", "C1", "other starts")):  # fmt: skip
        value, ends = np.array([r[name] for r in rows]), np.array([r[f"{name}_interval"] for r in rows]).T
        left.errorbar(noise, value, np.clip([value - ends[0], ends[1] - value], 0, None), fmt="o", color=color,
                      capsize=3, label=label)  # fmt: skip
        left.plot(noise, [r[f"law_{name}"] for r in rows], "--", color=color, label=f"{label}, closed form")
    by_step = document["step_sizes"]
    left.axhline(by_step["same_start"], color="C2", label="one start, other step sizes")
    left.set(xscale="log", ylim=(0.4, 1.03), xlabel="noise of phases / what the loser has left (median)",
             ylabel="agreement of winners", title="Who wins")  # fmt: skip
    ticks = [0.03, 0.1, 0.3]
    left.set_xticks(ticks, [f"{t:g}" for t in ticks])
    left.minorticks_off()
    left.legend(fontsize=8, loc="center left")
    names = {"single": "single networks", "same": f"{VARIANTS} networks of one start", "other": f"{VARIANTS} starts"}
    everything = [*rows, by_step]
    x = np.arange(len(everything))
    for c, (name, label) in enumerate(names.items()):
        value, ends = np.array([r[name] for r in everything]), np.array([r[f"{name}_interval"] for r in everything]).T
        right.errorbar(x + 0.15 * (c - 1), value, np.clip([value - ends[0], ends[1] - value], 0, None), fmt="oD^"[c],
                       color=f"C{(0, 3, 1)[c]}", capsize=3, label=label)  # fmt: skip
    arms = [f"η {r['learning_rate'][0]:g}\nB {r['batch_size']}" for r in rows] + ["η 4 … 16\nall"]
    right.set_xticks(x, arms, fontsize=8)
    right.set(ylabel="test error in units of μ", title="What ensembles gain")
    right.set_ylim(bottom=-0.01)
    right.legend(fontsize=8)
    return figure


if __name__ == "__main__":
    common.command(sys.modules[__name__])

"""Which changes to training make single networks learn both views, or none draw lots?

Claim: networks trained as the theory says learn one view of two (follow-up work: minimising the loss on the samples
themselves learns one feature a class, midpoint mixup both). Mixup, dropped patches, weight decay, smoothed labels,
momentum and Adam are switched on one at a time, as options of `train`; averaging the weights of networks takes the
place of averaging their outputs.

Each arm is trained for the steps of the world times what the arm slows a view's clock down (derived, see
`theory.view_slowdown`), and up to four times as long while a training sample is wrong. Adam's rate is such that a
weight can travel in these steps as far as winners do, to about 2.

Run it with `python -m experiments.interventions`; it takes about four minutes on one core.
"""

from __future__ import annotations

import sys
from typing import Any

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments import common
from experiments.contrasts import SMOKE as SMALLER
from experiments.contrasts import WORLD
from multiview import load_preset, replace, streams
from multiview.config import Study, to_mapping
from multiview.measures.errors import error_interval, hierarchical_bootstrap
from multiview.measures.features import largest_overlap, learned_views
from multiview.studies.diversity import agreement_of_winners
from multiview.studies.evaluation import count_test_errors, error_counts
from multiview.studies.study import training_tasks
from multiview.systems.blocks import answer_networks, start_keys, train_networks
from multiview.theory import view_slowdown
from multiview.world.task import Task
from multiview.world.world import Chunk, World

NAME = "interventions"
CLAIM = (
    "Networks trained on the samples themselves learn one view of two; midpoint mixup teaches both; averaging weights "
    "does not stand in for averaging outputs."
)
SECONDS = 210
REMARK = """The mean of the networks' weights errs no more than the mean of their outputs. Every winner stands in it at
1/K of its overlap, below the threshold, where the activation is a power and foreign traces hardly count; so one network
of six that knows a view is enough. Midpoint mixup, in eight times the steps, teaches 0.88 of the views, against 0.59,
and not all; whether still longer training teaches the rest was not tried. Descent learns more than one view of two
because in a small world some classes keep both. Adam and dropped patches, of which nothing was claimed, teach nearly
all."""
SIZE = {"seeds": 6, "replicates": 2, "data.num_test_multi_view": 1000, "data.num_test_single_view": 1000}
LONGER = 4
TRAVEL = 2.0  # how far a winner's overlap comes in this world
ARMS: dict[str, dict[str, Any]] = {
    "gradient descent": {},
    "momentum 0.9": {"train.momentum": 0.9},
    "weight decay 1e-4": {"train.weight_decay": 1e-4},
    "label smoothing 0.1": {"train.label_smoothing": 0.1},
    "Adam": {"train.optimizer": "adam"},
    "dropped patches 0.2": {"train.dropped_patches": 0.2},
    "dropped patches 0.5": {"train.dropped_patches": 0.5},
    "mixup": {"train.mixup": "uniform"},
    "midpoint mixup": {"train.mixup": "midpoint"},
}


def errors_of(study: Study, replicate: int, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Wrong test samples of the networks, of their outputs' average and of their weights' average, [.., 2] by kind."""
    averaged = np.concatenate([weights, weights.mean(0)[None]])

    def answer(chunk: Chunk) -> dict[str, np.ndarray]:
        outputs = answer_networks(study, averaged, chunk.noise_keys(len(averaged)), chunk.task)
        return {"single": outputs[:-1], "ensemble": outputs[:-1].mean(0)[None], "averaged_weights": outputs[-1:]}

    return count_test_errors(World.of(study), replicate, answer)


def arm_study(study: Study, changes: dict[str, Any]) -> Study:
    """The study of one arm, with as many steps as its clock asks for."""
    study = replace(study, changes)
    steps = round(study.train.num_steps * view_slowdown(study))
    rate = TRAVEL / steps if study.train.optimizer == "adam" else study.train.learning_rate
    return replace(study, {"train.num_steps": steps, "train.learning_rate": rate})


def train_arm(study: Study, task: Task, replicate: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Weights, wrong training samples and steps of one arm on one training set."""
    steps = taken = study.train.num_steps
    keys = start_keys(study, streams.START, replicate, range(study.seeds))
    networks = train_networks(study, task, keys, num_steps=steps, record_at=[steps])
    while taken < LONGER * steps and networks.records["train_wrong"].any():
        networks = train_networks(
            study, task, None, resume=networks.state, first_step=taken, num_steps=taken, record_at=[taken]
        )
        taken *= 2
    return networks.weights, networks.records["train_wrong"][:, -1], taken


def arm_row(study: Study) -> dict[str, Any]:
    """One arm: views, agreement, errors."""
    mu, views = study.data.single_view_fraction, study.data.num_views
    wrong: dict[str, list[Any]] = {}
    learned, agreed, train_wrong, steps = [], [], [], []
    for replicate, task in enumerate(training_tasks(study)):
        weights, of_training, taken = train_arm(study, task, replicate)
        overlap = np.stack([np.asarray(largest_overlap(jnp.asarray(w), views)) for w in weights])
        learned.append(learned_views(overlap).mean((-1, -2)))
        agreed.append(float(agreement_of_winners(overlap)))
        train_wrong.append(of_training)
        steps.append(taken)
        for name, values in errors_of(study, replicate, weights).items():
            wrong.setdefault(name, []).append(values)
    row: dict[str, Any] = {"steps": steps}
    for name, values in wrong.items():
        counts = error_counts(values, study)
        row[name] = common.rounded(counts.in_units_of_mu(mu).mean())
        row[f"{name}_interval"] = common.rounded(error_interval(counts, mu))
        row[f"{name}_e_multi_view"] = common.rounded(counts.multi_view.mean() / counts.num_multi_view)
        row[f"{name}_e_single_view"] = common.rounded(counts.single_view.mean() / counts.num_single_view)
    shares, of_training = np.stack(learned), np.stack(train_wrong)
    return row | {
        "views_learned": common.rounded(shares.mean()),
        "views_learned_interval": common.rounded(hierarchical_bootstrap(shares)),
        "agreement": common.rounded(np.mean(agreed)),
        "train_error_0": f"{int((of_training == 0).sum())} of {of_training.size}",
        "counts": bool((of_training == 0).all()),
    }


def measure(smoke: bool) -> dict[str, Any]:
    """All arms."""
    study = replace(load_preset("smoke"), WORLD | SIZE | (SMALLER | {"seeds": 2} if smoke else {}))
    rows = []
    for name, changes in ARMS.items():
        if smoke and name not in ("gradient descent", "midpoint mixup"):
            continue
        arm = arm_study(study, changes)
        row = common.cell(name, [to_mapping(arm), LONGER], lambda arm=arm: arm_row(arm))
        common.say(f"{name}: views {row['views_learned']}, single {row['single']}, ensemble {row['ensemble']}, "
                   f"averaged weights {row['averaged_weights']}, train {row['train_error_0']}")  # fmt: skip
        rows.append({"arm": name} | row)
    return {"study": to_mapping(study), "arms": rows}


def verdicts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """What follow-up work says of mixup, and averages of weights."""
    rows = {r["arm"]: r for r in document["arms"]}
    found = []

    def judge(arm: str, words: str, predicted: Any, name: str) -> None:
        row = rows[arm]
        judged = common.verdict(f"{arm}: {words}", predicted, row[name], row[f"{name}_interval"])
        found.append(judged if row["counts"] else judged | {"verdict": "undecided"})

    judge("gradient descent", "a network learns one view of two (share learned)", 0.5, "views_learned")
    judge("midpoint mixup", "a network learns both views (share learned)", 1.0, "views_learned")
    single = rows["gradient descent"]["single_interval"]
    judge("midpoint mixup", "single networks gain (error in units of μ)", [0, single[0]], "single")
    worst = 1 / document["study"]["data"]["single_view_fraction"]
    # Expected before it was run: a mean of different neurons is no network.
    judge("gradient descent", "averaging weights gains nothing (error in units of μ)", [single[0], worst],
          "averaged_weights")  # fmt: skip
    return found


def draw(document: dict[str, Any]) -> Figure:
    """Views above, errors below."""
    rows = document["arms"]
    x = np.arange(len(rows))
    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 7), layout=common.AIRY, sharex=True)
    value = np.array([r["views_learned"] for r in rows])
    low, high = np.array([r["views_learned_interval"] for r in rows]).T
    above.errorbar(x, value, np.clip([value - low, high - value], 0, None), fmt="o", capsize=3,
                   label="share of views learned by a network")  # fmt: skip
    above.plot(x, [r["agreement"] for r in rows], "s", label="agreement of winners between seeds")
    above.axhline(0.5, color="0.6", linewidth=0.8, label="a lottery with one winner: both 1/2")
    above.set(ylim=(0, 1.05), ylabel="share", title="Changes to training, one at a time")
    above.legend(fontsize=8, loc="lower left")
    names = {"single": "single networks", "ensemble": "average of outputs", "averaged_weights": "average of weights"}
    for c, (name, label) in enumerate(names.items()):
        value = np.array([r[name] for r in rows])
        low, high = np.array([r[f"{name}_interval"] for r in rows]).T
        below.errorbar(x + 0.15 * (c - 1), value, np.clip([value - low, high - value], 0, None), fmt="oD^"[c],
                       color=f"C{c}", capsize=3, label=label)  # fmt: skip
    below.set_ylim(bottom=-0.02)
    starred = "" if all(r["counts"] for r in rows) else "* not every network reached training error 0"
    below.set(ylabel="test error in units of μ", xlabel=starred)
    below.legend(fontsize=8)
    below.set_xticks(x, [r["arm"] + ("" if r["counts"] else " *") for r in rows], rotation=30, ha="right")
    return figure


if __name__ == "__main__":
    common.command(sys.modules[__name__])

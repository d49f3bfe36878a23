"""Why it works here and not there: the network beside the systems that the paper contrasts it with.

Claim (docs/theory.md, section 8): the gain of ensembles and of distillation comes from features that single networks
miss. So the network gains from its ensemble and from distilling it, not from training the average; networks
linearised at their start and random features gain from either way of averaging; boosting has nothing to boost; and in
worlds of one feature a class, or of none, ensembles gain nothing. A system counts only with training error 0.

The file is long because each system is a row of one table, made and tested in the same way.

Run it with `python -m experiments.contrasts`; it takes about eight minutes on one core.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jax import Array
from matplotlib.figure import Figure

from experiments import boosting, common, gaussian, networks
from multiview import check_regime, load_preset, replace, run_study, streams
from multiview.config import Study, to_mapping
from multiview.measures.errors import ErrorCounts, error_interval, hierarchical_bootstrap
from multiview.studies.evaluation import count_test_errors, error_counts, evaluate
from multiview.studies.students import distil, ensemble_teacher, own_phase
from multiview.studies.study import training_tasks
from multiview.systems import linear
from multiview.systems.blocks import (
    Trained,
    answer_networks,
    settings_of,
    sizes_of,
    start_keys,
    train_networks,
)
from multiview.systems.descent import PATIENCE
from multiview.systems.table import load
from multiview.world.task import Task
from multiview.world.world import Chunk, World

NAME = "contrasts"
CLAIM = (
    "The network gains from its ensemble and from distilling it, not from training the average; its contrasts differ."
)
SECONDS = 480
REMARK = """Training the average gains here, less than the ensemble. A winner of one of K members adds 1/K of its output
to the logit, so it grows until K log(k - 1) before the common gradient dies; meanwhile other members take off, and not
all with the same view. As the start gets smaller the time to learn outruns this, and the paper's statement is about
that limit. This was derived and then tested, with 6 members: at σ₀, σ₀/3 and σ₀/10 the average errs by 0.15, 0.32 and
0.40, single networks by 0.39, 0.43 and 0.45. Gaussian inputs gain little, and by averaging as well: variance."""
COLUMNS = ("single", "ensemble", "average", "distilled")

# The preset `smoke` with half its classes. The step size is proportional to k, as the clocks are to k/η; memory's clock
# (496 steps by the regime check) asks for more steps.
WORLD = {
    "seeds": 12,
    "replicates": 3,
    "students": 3,
    "data.num_classes": 10,
    "data.num_train": 120,
    "data.num_test_multi_view": 5000,
    "train.learning_rate": 12.0,
    "train.num_steps": 750,
    "train.num_records": 2,
    "self_distill.num_steps": 0,
}
SMOKE = networks.TINY | {
    "train.learning_rate": 8.0,
    "train.num_steps": 300,
    "distill.onset_step": 200,
    "self_distill.onset_step": 200,
    "distill.num_steps": 100,
}
# No features, so no trace to learn from and no cap to keep traces apart: plain soft cross-entropy.
GAUSSIAN = {
    "data.representation": "dense",
    "data.num_classes": 4,
    "data.num_patches": 3,
    "data.patch_dim": 10,
    "data.feature_sparsity": 0.0,
    "data.num_train": 200,
    "data.num_test_multi_view": 4000,
    "network.neurons_per_class": 16,
    "network.init_std": 0.3,
    "train.num_steps": 4000,
    "distill.temperature": 1.0,
    "distill.logit_cap": float("inf"),
    "distill.teacher_scale": 1.0,
    "distill.weight": 1.0,
    "distill.onset_step": 0,
    "distill.num_steps": 8000,
}
SMOKE_SYSTEMS = ("linearised network (NTK)", "boosting")
# Training the average: σ₀ divided by these, with as many times the steps, as the view's clock goes like 1/σ₀ at q = 3.
STARTS = (1, 3, 10)
MEMBERS = 6
LINEAR_STEPS = 1000  # of the cross-entropy; students then take ten times as many, at their smaller step size

PAPER = {
    "network": "ensemble and its student gain, training the average does not",
    "linearised network (NTK)": "ensemble gains, training the average as much or more, its student does not",
    "random features": "as the NTK",
    "boosting": "cannot explain it: the first network has training error 0",
    "single-view world": "ensemble gains nothing",
    "Gaussian inputs": "ensemble gains nothing",
}


# Each system's step size.
RULES = {
    "network": "the study's own η; training the average K η, as its gradients carry 1/K",
    "linearised network (NTK)": "2 over the largest eigenvalue of the weighted Gram matrix (`linear.step_size`)",
    "random features": "as the NTK",
    "boosting": "as the network",
    "single-view world": "as the network",
    "Gaussian inputs": "as the NTK, for a network all of whose slopes are 1",
}


def cell(counts: ErrorCounts, mu: float, train_wrong: Any) -> dict[str, Any]:
    """One entry of the table: error in units of μ with interval, and how many runs have training error 0."""
    wrong = np.asarray(train_wrong)
    return {
        "error": common.rounded(counts.in_units_of_mu(mu).mean()),
        "interval": common.rounded(error_interval(counts, mu)),
        "e_multi_view": common.rounded(counts.multi_view.mean() / counts.num_multi_view),
        "e_single_view": common.rounded(counts.single_view.mean() / counts.num_single_view),
        "runs": int(counts.multi_view.size),
        "train_error_0": f"{int((wrong == 0).sum())} of {wrong.size}",
        "counts": bool((wrong == 0).all()),
    }


def groups_of_members(study: Study, replicate: int, averages: int) -> list[Array]:
    """Start keys of the members of each average; the first has the starts of the single networks."""
    keys = start_keys(study, streams.START, replicate, range(averages * study.seeds))
    return [keys[a * study.seeds : (a + 1) * study.seeds] for a in range(averages)]


def longer(study: Study, times: int) -> Study:
    """So many times the steps of every phase before distillation."""
    steps = times * study.train.num_steps
    return replace(study, {"train.num_steps": steps, "distill.onset_step": steps, "self_distill.onset_step": steps})


def trained_average(study: Study, task: Task, keys: Array) -> Trained:
    """Train the average of networks from these starts jointly, longer while a training sample is wrong."""
    return train_networks(study, task, keys, num_steps=study.train.num_steps, system="average")


def network_row(study: Study, averages: int) -> dict[str, Any]:
    """The network of the theory: single, ensemble, training the average, distilled; longer while one has errors."""
    first, result = study.train.num_steps, run_study(study)
    while study.train.num_steps < PATIENCE * first and any(
        result.groups[name].train_wrong.any() for name in ("single", "distilled")
    ):
        common.say(f"{study.train.num_steps} steps leave training errors")
        study = longer(study, 2)
        result = run_study(study)
    mu = study.data.single_view_fraction
    single, distilled = result.groups["single"], result.groups["distilled"]
    wrong, train_wrong, steps = [], [], []
    world = World.of(study)
    for replicate, task in enumerate(training_tasks(study, world)):
        of_replicate = []
        for keys in groups_of_members(study, replicate, averages):
            trained = trained_average(study, task, keys)
            train_wrong.append(int(trained.records["train_wrong"][0, -1]))
            steps.append(int(trained.records["gradient_evaluations"][0, -1]))
            # The error of the mean of the members' logits is what `evaluate` calls their ensemble.
            counted, _ = evaluate(study, world, replicate, {"single": trained.weights})
            of_replicate.append(counted["ensemble"])
        wrong.append(np.concatenate(of_replicate))
    return {
        "single": cell(single.errors, mu, single.train_wrong),
        "ensemble": cell(result.ensembles["ensemble"], mu, single.train_wrong),
        "average": cell(error_counts(wrong, study), mu, train_wrong) | {"steps": steps},
        "distilled": cell(distilled.errors, mu, distilled.train_wrong),
        "steps": study.train.num_steps,
    }


def start_row(study: Study) -> dict[str, Any]:
    """Training the average of K networks beside these networks alone, from one size of the start."""
    counted: dict[str, list[Any]] = {"single": [], "average": []}
    train_wrong: dict[str, list[Any]] = {"single": [], "average": []}
    steps, world = study.train.num_steps, World.of(study)
    for replicate, task in enumerate(training_tasks(study, world)):
        (keys,) = groups_of_members(study, replicate, 1)
        single = train_networks(study, task, keys, num_steps=steps, record_at=[steps], keep_state=False)
        joint = trained_average(study, task, keys)
        counted["single"].append(evaluate(study, world, replicate, {"single": single.weights})[0]["single"])
        counted["average"].append(evaluate(study, world, replicate, {"single": joint.weights})[0]["ensemble"])
        train_wrong["single"].append(single.records["train_wrong"][:, -1])
        train_wrong["average"].append(joint.records["train_wrong"][:1, -1])
    mu = study.data.single_view_fraction
    row: dict[str, Any] = {"init_std": study.network.init_std, "steps": steps, "members": study.seeds}
    for name, wrong in counted.items():
        counts = error_counts(wrong, study)
        row[name] = cell(counts, mu, np.stack(train_wrong[name]))
        row[name]["by_training_set"] = common.rounded(counts.in_units_of_mu(mu).mean(-1))
    return row


def linear_average(study: Study, task: Task, keys: Array) -> tuple[Any, Any]:
    """Train the average of linear members jointly: what answering needs of each member, and wrong training samples."""
    of, sizes = load(study.system), sizes_of(study, task)
    begun = jax.tree.map(jnp.asarray, train_networks(study, task, keys, num_steps=0).state)
    steps = study.train.num_steps
    fitted = linear.fit(linear.average_model(begun.model), task, min_steps=steps, max_steps=of.patience * steps)
    ended = begun._replace(dual=jnp.repeat(fitted.dual[None], len(keys), 0))
    kept = jax.jit(partial(of.keep, sizes=sizes))(ended, task, settings_of([study] * len(keys), of))
    return kept, (fitted.train_logits.argmax(-1) != task.data.labels).sum()


def linear_row(system: str, study: Study, averages: int, steps: int) -> dict[str, Any]:
    """A linear system: single, ensemble, training the average, distilled into one of its kind."""
    phases = ("train.num_steps", "distill.onset_step", "distill.num_steps", "self_distill.onset_step")
    study = replace(study, {"system": system} | dict.fromkeys(phases, steps))
    result, world, mu = run_study(study), World.of(study), study.data.single_view_fraction
    single, distilled = result.groups["single"], result.groups["distilled"]
    counted, train_wrong = [], []
    for replicate, task in enumerate(training_tasks(study, world)):
        joint = [linear_average(study, task, keys) for keys in groups_of_members(study, replicate, averages)]
        kept = jax.tree.map(lambda *a: np.concatenate(a), *(of_group for of_group, _ in joint))

        def answer(chunk: Chunk, kept: Any = kept) -> dict[str, np.ndarray]:
            outputs = answer_networks(study, kept, chunk.noise_keys(averages * study.seeds), chunk.task)
            return {"average": outputs.reshape(averages, study.seeds, *outputs.shape[1:]).mean(1)}

        counted.append(count_test_errors(world, replicate, answer)["average"])
        train_wrong.append([int(wrong) for _, wrong in joint])
    taken = single.records["gradient_evaluations"][:, :, -1]
    return {
        "single": cell(single.errors, mu, single.train_wrong) | {"steps": [int(taken.min()), int(taken.max())]},
        "ensemble": cell(result.ensembles["ensemble"], mu, single.train_wrong),
        "average": cell(error_counts(counted, study), mu, train_wrong),
        "distilled": cell(distilled.errors, mu, distilled.train_wrong),
    }


def boosting_row(study: Study) -> dict[str, Any]:
    """Boosting: its first network as single, its committee as ensemble; there is no joint training and no student."""
    mu, counted, first_wrong, reasons, rounds = study.data.single_view_fraction, [], [], [], []
    firsts, world = [], World.of(study)
    for replicate, task in enumerate(training_tasks(study, world)):
        keys = start_keys(study, streams.START, replicate, range(study.seeds))
        committee = boosting.boost(study, task, keys)
        reasons.append(committee.reason)
        rounds.append(len(committee.votes))
        first_wrong.append(committee.errors[0])

        def answer(chunk: Chunk, committee: boosting.Boosted = committee) -> dict[str, np.ndarray]:
            keys = chunk.noise_keys(len(committee.weights))
            outputs = answer_networks(study, committee.weights, keys, chunk.task)
            return {"first": outputs[:1], "committee": boosting.vote(outputs, committee.votes)[None]}

        wrong = count_test_errors(world, replicate, answer)
        counted.append(wrong["committee"])
        firsts.append(wrong["first"])
    return {
        "single": cell(error_counts(firsts, study), mu, first_wrong),
        "ensemble": cell(error_counts(counted, study), mu, first_wrong),
        "average": None,
        "distilled": None,
        "rounds": rounds,
        "reasons": sorted(set(reasons)),
    }


def gaussian_row(study: Study, averages: int) -> dict[str, Any]:
    """Gaussian inputs: the same four columns, as plain error rates; there is no μ."""
    rates: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    train_wrong: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    steps = study.train.num_steps
    for replicate in range(study.replicates):
        key = streams.stream(study.seed, streams.TRAINING_DATA, replicate)
        teacher_key, train_key, test_key = jax.random.split(key, 3)
        teacher = gaussian.labelling_network(teacher_key, study)
        task = gaussian.gaussian_task(train_key, teacher, study, study.data.num_train)
        test = gaussian.gaussian_task(test_key, teacher, study, study.data.num_test_multi_view)
        # The rule of the linear systems, for the Gram matrix of a network all of whose slopes are 1.
        summed = task.data.patches.sum(1)  # type: ignore[union-attr]
        gram = study.network.neurons_per_class * (summed @ summed.T)[None]
        rate = float(linear.step_size(linear.largest_curvature(gram, task.data.weights)))
        now = replace(study, {"train.learning_rate": rate})
        keys = start_keys(now, streams.START, replicate, range(now.seeds))
        single = train_networks(now, task, keys, num_steps=steps)
        if single.records["train_wrong"][:, -1].any():  # not there yet: the longer run
            single = train_networks(now, task, keys, num_steps=4 * steps)
        slower = replace(now, {"train.learning_rate": rate / (1 + now.distill.weight / now.distill.temperature)})
        student_teacher = ensemble_teacher(single.train_logits, now.students, now.distill)
        own = own_phase(slower, task, replicate, now.distill.onset_step)
        students = distil(slower, task, own, student_teacher, now.distill)
        joint = [
            trained_average(replace(now, {"train.num_steps": steps}), task, k)
            for k in groups_of_members(now, replicate, averages)
        ]
        members = jnp.concatenate([j.weights for j in joint])
        labels, everyone = np.asarray(test.data.labels), jnp.concatenate([single.weights, members, students.weights])
        outputs = answer_networks(now, everyone, jax.random.split(test_key, len(everyone)), test)
        of_single, of_members = outputs[: now.seeds], outputs[now.seeds : now.seeds + len(members)]
        values = {
            "single": of_single,
            "ensemble": of_single.mean(0)[None],
            "average": of_members.reshape(averages, now.seeds, *outputs.shape[1:]).mean(1),
            "distilled": outputs[now.seeds + len(members) :],
        }
        for name in COLUMNS:
            rates[name].append((values[name].argmax(-1) != labels).mean(-1))
        train_wrong["single"].append(single.records["train_wrong"][:, -1])
        train_wrong["ensemble"].append(single.records["train_wrong"][:, -1])
        train_wrong["average"].append(np.array([j.records["train_wrong"][0, -1] for j in joint]))
        train_wrong["distilled"].append(students.records["train_wrong"][:, -1])
    row = {}
    for name in COLUMNS:
        values, wrong = np.stack(rates[name]), np.stack(train_wrong[name])
        row[name] = {
            "error": common.rounded(values.mean()),
            "interval": common.rounded(hierarchical_bootstrap(values)),
            "runs": int(values.size),
            "train_error_0": f"{int((wrong == 0).sum())} of {wrong.size}",
            "counts": bool((wrong == 0).all()),
        }
    gain = np.stack([r.mean() for r in rates["single"]]) - np.stack([r.mean() for r in rates["ensemble"]])
    row["gain_by_replicate"] = common.rounded(gain)
    return row


def measure(smoke: bool) -> dict[str, Any]:
    """All systems."""
    longest = {"train.num_steps": 1200}  # with few neurons the last class starts low and takes longer
    study = replace(load_preset("smoke"), WORLD | (SMOKE | longest if smoke else {}))
    # With one view a class, fewer neurons compete to be first, and the last class is learned later.
    one_view = longer(replace(study, {"data.num_views": 1}), 2)
    no_features = replace(study, GAUSSIAN)
    averages, steps = (1, 200) if smoke else (2, LINEAR_STEPS)
    rows: dict[str, Callable[[], dict[str, Any]]] = {
        "network": lambda: network_row(study, averages),
        "linearised network (NTK)": lambda: linear_row("linearised", study, averages, steps),
        "random features": lambda: linear_row("random_features", study, averages, steps),
        "boosting": lambda: boosting_row(study),
        "single-view world": lambda: network_row(one_view, averages),
        "Gaussian inputs": lambda: gaussian_row(no_features, averages),
    }
    systems = []
    for name, of_system in rows.items():
        if smoke and name not in SMOKE_SYSTEMS:
            continue
        unit = "error rate" if name == "Gaussian inputs" else "μ"
        row = {"system": name, "unit": unit, "paper": PAPER[name]}
        row |= common.cell(name, [to_mapping(study), averages, steps], of_system)
        common.say(f"{name}: " + ", ".join(f"{c} {row[c]['error'] if row[c] else '–'}" for c in COLUMNS))
        systems.append(row)
    starts = []
    for times in STARTS if not smoke else ():
        smaller = {"network.init_std": study.network.init_std / times, "seeds": MEMBERS}
        at_start = longer(replace(study, smaller), times)
        row = common.cell(f"start over {times}", at_start, partial(start_row, at_start))
        common.say(f"start {row['init_std']:.2g}: single {row['single']['error']}, average {row['average']['error']}")
        starts.append(row)
    return {
        "study": to_mapping(study),
        "failing_conditions": [c.name for c in check_regime(study) if not c.holds and "self_distill" not in c.name],
        "gaussian_changes": {k: str(v) for k, v in GAUSSIAN.items()},
        "averages": averages,
        "systems": [row | {"rule": RULES[row["system"]]} for row in systems],
        "starts": starts,
    }


# What the paper says of each system's test error, against that of its single networks.
EXPECTED = (
    ("network", "ensemble", "gains"),
    ("network", "distilled", "gains"),
    ("network", "average", "gains nothing"),
    ("linearised network (NTK)", "ensemble", "gains"),
    ("linearised network (NTK)", "average", "gains"),
    ("linearised network (NTK)", "distilled", "gains nothing"),
    ("random features", "ensemble", "gains"),
    ("random features", "average", "gains"),
    ("random features", "distilled", "gains nothing"),
    ("boosting", "ensemble", "gains nothing"),
    ("single-view world", "ensemble", "gains nothing"),
    ("Gaussian inputs", "ensemble", "gains nothing"),
)


def verdicts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Whether each error lies below the single networks' interval, or meets it, as the paper says."""
    rows = {r["system"]: r for r in document["systems"]}
    found = []
    for system, name, word in EXPECTED:
        if system in rows and (entry := rows[system][name]) is not None:
            low, high = rows[system]["single"]["interval"]
            expected = [0.0, low] if word == "gains" else [low, high]
            judged = common.verdict(f"{system}: {name} {word}", expected, entry["error"], entry["interval"], paper=True)
            found.append(judged if entry["counts"] else judged | {"verdict": "undecided"})
    if starts := document.get("starts"):
        ratio = [np.array(r["average"]["by_training_set"]) / r["single"]["by_training_set"] for r in starts]
        difference = ratio[-1] - ratio[0]
        words = f"training the average: error over that of single networks, start over {STARTS[-1]} minus own start"
        found.append(
            common.verdict(words, [0.05, 1.0], difference.mean(), hierarchical_bootstrap(difference[:, None]))
        )  # fmt: skip
    return found


def draw(document: dict[str, Any]) -> Figure:
    """One panel for all systems measured in units of μ, one for Gaussian inputs."""
    in_mu = [r for r in document["systems"] if r["unit"] == "μ"]
    others = [r for r in document["systems"] if r["unit"] != "μ"]
    starts = document.get("starts", [])
    figure, axes = plt.subplots(
        1, 3, figsize=(14, 4.2), layout=common.AIRY, width_ratios=[max(len(in_mu), 1), len(others) + 0.6, 1.6]
    )
    for ax, rows in zip(axes[:2], (in_mu, others), strict=True):
        for c, name in enumerate(COLUMNS):
            for x, row in enumerate(rows):
                entry = row[name]
                if entry is None:
                    continue
                low, high = entry["interval"]
                value = entry["error"]
                ax.errorbar(
                    x + 0.16 * (c - 1.5), value, [[max(value - low, 0)], [max(high - value, 0)]], marker="osD^"[c],
                    color=f"C{c}", capsize=3, markerfacecolor=f"C{c}" if entry["counts"] else "white",
                    label=name if x == 0 and ax is axes[0] else None,
                )  # fmt: skip
        ax.set_xticks(range(len(rows)), [r["system"].replace(" (", "\n(").replace(" i", "\ni") for r in rows])
        ax.set_ylim(bottom=-0.01)
        ax.set_xlim(-0.6, len(rows) - 0.4)
    axes[0].set(ylabel="test error in units of μ", title="Systems in the multi-view world, and with one view a class")
    axes[1].set(ylabel="test error", title="No features")
    for name, marker, color in (("single", "o", "C0"), ("average", "D", "C2")):
        value = np.array([r[name]["error"] for r in starts])
        ends = np.array([r[name]["interval"] for r in starts]).reshape(-1, 2).T
        axes[2].errorbar([r["init_std"] for r in starts], value, np.abs(ends - value), marker=marker, color=color,
                         capsize=3, label=name)  # fmt: skip
    axes[2].set(
        xscale="log", xlabel="σ₀", ylabel="test error in units of μ", title=f"Average of {MEMBERS}, by the start"
    )
    axes[2].set_xticks([r["init_std"] for r in starts], [f"{r['init_std']:.1g}" for r in starts])
    axes[2].minorticks_off()
    axes[2].set_ylim(bottom=-0.01)
    axes[0].legend(title="filled: training error 0 in every run", ncols=2, fontsize=8, title_fontsize=8)
    return figure


if __name__ == "__main__":
    common.command(sys.modules[__name__])

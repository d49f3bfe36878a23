"""How many neurons does a student need?

A student cannot grow what it does not have: of a class's m neurons none has a positive start overlap with a given
view with probability 2^-m, and such a view it never learns (docs/theory.md, section 6). So the share of views that
students of a good teacher miss should fall as 2^-m. The teacher is the same ensemble of 16 networks of 12 neurons for
all students.

Run it with `python -m experiments.student_neurons`.
"""

from __future__ import annotations

import sys
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments import common, networks
from experiments.teachers import SETTING, single_view_logits
from experiments.teachers import SMOKE as SMALLER
from multiview import load_preset, replace, streams
from multiview.analysis.features import learned_views
from multiview.batching import start_keys, train_networks
from multiview.config import Study
from multiview.distillation import distil, ensemble_teacher, own_phase
from multiview.study import training_tasks

NAME = "student_neurons"
CLAIM = "Students of a good teacher miss a share 2^-m of the views, those that none of their m neurons starts with."
SECONDS = 150
REMARK = """The law is about what a student can never learn, and that is not what limits these students: nearly all
views have a neuron that starts with them from m = 8 on. Part of it is the count. A view that is taught by traces stops
where they reach the cap of the truncated logits, by `theory.taught_overlap` at 4.73, and to count as learned it has to
have half of the winner's overlap, by `theory.winner_overlap` 5.13 here. That is derived, and the errors agree: students
of 16 neurons miss 0.28 of the views by this count but err on 0.115 of single-view data only. The rest is real: errors
fall with m up to 16, as the best of more neurons starts further up. Longer distillation was not tried."""

NEURONS = (2, 4, 8, 16)


def teacher_logits(study: Study) -> dict[str, Any]:
    """Logits of the teacher of every training set [R, N, k]."""
    found = []
    for replicate, task in enumerate(training_tasks(study)):
        keys = start_keys(study, streams.START, replicate, range(study.seeds))
        single = train_networks(study, task, keys, num_steps=study.train.num_steps, keep_state=False)
        found.append(ensemble_teacher(single.train_logits, 1, study.distill)[0])
    return {"logits": xr.DataArray(np.stack(found), dims=("replicate", "sample", "class"))}


def run(study: Study, neurons: int, logits: np.ndarray) -> dict[str, Any]:
    """Errors, views missed, and views without a positive start of students with so many neurons [R, S]."""
    found: dict[str, list[Any]] = {"error": [], "missed": [], "without": [], "train_wrong": []}
    small = replace(study, {"network.neurons_per_class": neurons})
    for replicate, task in enumerate(training_tasks(study)):
        own = own_phase(small, task, replicate, study.distill.onset_step)
        start = own.records["largest_overlap"][:, 0]
        teacher = np.repeat(logits[replicate][None], study.students, axis=0)
        students = distil(small, task, jax.tree.map(jnp.array, own), teacher, study.distill)
        outputs, labels = single_view_logits(small, replicate, students.weights)
        found["error"].append((outputs.argmax(-1) != labels).mean(-1))
        found["missed"].append(1 - learned_views(students.records["largest_overlap"][:, -1]).mean((-2, -1)))
        found["without"].append((start <= 0).mean((-2, -1)))
        found["train_wrong"].append(students.records["train_wrong"][:, -1])
    return {n: xr.DataArray(np.stack(v), dims=("replicate", "student")) for n, v in found.items()}


def examine(study: Study, neurons: int, logits: np.ndarray) -> dict[str, Any]:
    """One number of neurons."""
    found = common.cell(f"m = {neurons}", [common.to_mapping(study), neurons], lambda: run(study, neurons, logits))
    right = float((found["train_wrong"].values == 0).mean())
    row: dict[str, Any] = {"neurons": neurons, "law": 2.0**-neurons, "train_error_0": right}
    for name in ("error", "missed", "without"):
        row[name], row[f"{name}_interval"] = map(common.rounded, networks.with_interval(found[name].values, np.mean))
    return row | {"by_student": common.rounded(found["missed"].values)}


def measure(smoke: bool) -> dict[str, Any]:
    """All numbers of neurons; the base b of missed ∝ b^m."""
    study = replace(load_preset("smoke"), SETTING | (SMALLER if smoke else {}))
    neurons = np.array(NEURONS[:2] if smoke else NEURONS)
    logits = common.cell("teachers", study, lambda: teacher_logits(study))["logits"].values
    rows = [examine(study, int(m), logits) for m in neurons]
    missed = np.stack([r.pop("by_student") for r in rows], -1)
    floor = 0.5 / missed[..., 0].size / study.data.num_features  # half a view of all: what no missed view counts as

    def base(values: np.ndarray) -> float:
        return float(np.exp(networks.slope(neurons, np.log(np.maximum(values.mean((0, 1)), floor)))))

    value, interval = networks.with_interval(missed, base)
    return {
        "study": common.to_mapping(study),
        "rows": rows,
        "base": common.rounded(value),
        "base_interval": common.rounded(interval),
    }


def verdicts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The factor a neuron, and the shares."""
    return [
        common.verdict(
            "factor of views missed for each further neuron",
            0.5,
            document["base"],
            document["base_interval"],
            bearable=0.3,
        ),
        *(
            common.verdict(
                f"share of views missed by students of m = {r['neurons']} neurons",
                r["law"],
                r["missed"],
                r["missed_interval"],
            )
            for r in document["rows"]
        ),
    ]


def draw(document: dict[str, Any]) -> Figure:
    """Views missed and error against m."""
    rows = document["rows"]
    m = np.array([r["neurons"] for r in rows])
    figure, ax = plt.subplots(figsize=(6.5, 4.2), layout=common.AIRY)
    for color, (name, label) in enumerate((("missed", "views missed"), ("error", "error on single-view data"))):
        value, ends = np.array([r[name] for r in rows]), np.array([r[f"{name}_interval"] for r in rows]).T
        ax.errorbar(
            m + 0.08 * color,
            value,
            np.clip([value - ends[0], ends[1] - value], 0, None),
            marker="os"[color],
            capsize=4,
            color=f"C{color}",
            label=f"{label}, 95 %",
        )
    ax.plot(m, [r["without"] for r in rows], "^:", color="0.5", label="views without a positive start, counted")
    ax.plot(m, [r["law"] for r in rows], "--", color="0.3", label="$2^{-m}$")
    ax.set(xlabel="student's neurons per class m", ylabel="share", xticks=m)
    ax.set_yscale("symlog", linthresh=0.005)
    ax.set_ylim(bottom=0)
    low, high = document["base_interval"]
    ax.set_title(f"Factor {document['base']:.2f} ({low:.2f} to {high:.2f}) a neuron")
    ax.legend(fontsize=8)
    return figure


if __name__ == "__main__":
    common.command(sys.modules[__name__])

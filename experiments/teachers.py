"""How good is a student beside its teacher?

A student of the ensemble (two-sided distillation, docs/theory.md, section 4) learns the views that its teacher knows,
and has nothing to learn the others from: it matches its teacher, so a larger ensemble is the way down (section 6).
Here the same students, from the same own phase, get ensembles of K = 1 … 16 networks as teachers.

Run it with `python -m experiments.teachers`.
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
from multiview import load_preset, replace, streams, theory
from multiview.config import Study
from multiview.measures.features import learned_views
from multiview.studies.students import distil, ensemble_teacher, own_phase
from multiview.studies.study import training_tasks
from multiview.systems.blocks import answer_networks, start_keys, train_networks
from multiview.world.world import World

NAME = "teachers"
CLAIM = "A student's error on single-view data is its teacher's, for teachers of any size."
SECONDS = 50
REMARK = """Students do not match their teacher at either end, and the race of traces and foreign overlaps says why
(`theory.race`, derived afterwards, nothing fitted). A view is taught if it lacks less phase than traces can give
before foreign overlaps answer in their place: so students of good teachers still miss the views that start lowest,
the same ones for every teacher, which is why they differ more between training sets than between teachers. A student
of one network is better than it, as its own lottery adds views that the teacher lacks. Captured classes that steps
hold in balance give a part of their push on (docs/theory.md, section 6); with it the race predicts the students of
every teacher within their intervals."""

SIZES = (1, 2, 4, 8, 16)
# The preset `smoke`, with the classes, samples and step of the small world.
SETTING = {
    "seeds": 16,
    "students": 4,
    "replicates": 3,
    "data.num_classes": 6,
    "data.num_patches": 11,
    "data.feature_sparsity": 3.0,
    "data.num_train": 72,
    "data.num_single_view_train": 12,
    "data.single_view_fraction": 0.05,
    "train.learning_rate": 7.0,
    "train.num_steps": 800,
    "train.num_records": 2,
    "train.block_size": 4,
    "distill.onset_step": 700,
    "distill.num_steps": 1500,
    "data.num_test_single_view": 1000,
}
SMOKE = networks.TINY | {"train.num_steps": 300, "distill.onset_step": 200, "distill.num_steps": 100}


def single_view_logits(study: Study, replicate: int, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits on all single-view test samples [S, n, k] and their labels [n]."""
    outputs, labels = [], []
    for chunk in World.of(study).held_out(replicate, {"single_view": study.data.num_test_single_view}):
        outputs.append(answer_networks(study, weights, chunk.noise_keys(len(weights)), chunk.task))
        labels.append(chunk.labels)
    return np.concatenate(outputs, 1), np.concatenate(labels)


def run(study: Study, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Errors of teachers [R, K], of their students [R, S, K], and views that students learned [R, S, K]."""
    found: dict[str, list[Any]] = {"teacher": [], "student": [], "learned": [], "below": [], "train_wrong": []}
    ideal: dict[str, list[Any]] = {"known": [], "start": [], "moments": [], "single_views": []}
    for replicate, task in enumerate(training_tasks(study)):
        keys = start_keys(study, streams.START, replicate, range(study.seeds))
        single = train_networks(study, task, keys, num_steps=study.train.num_steps, keep_state=False)
        own = own_phase(study, task, replicate, study.distill.onset_step)
        learned = single.records["largest_overlap"][:, -1] >= study.network.relu_threshold
        known = np.stack([learned[:size].any(0) for size in sizes])  # [K, k, L]
        of_set = networks.training_set_of(task, study) | {"known": known, "start": own.records["largest_overlap"][:, 0]}
        for name in ideal:
            ideal[name].append(of_set[name])
        outputs, labels = single_view_logits(study, replicate, single.weights)
        rows: dict[str, list[Any]] = {name: [] for name in found}
        for size in sizes:
            teacher = ensemble_teacher(single.train_logits[:size], study.students, study.distill)
            # `distil` may use up the buffers of the states that it starts from.
            students = distil(study, task, jax.tree.map(jnp.array, own), teacher, study.distill)
            answers = single_view_logits(study, replicate, students.weights)[0]
            rows["teacher"].append((outputs[:size].mean(0).argmax(-1) != labels).mean())
            rows["student"].append((answers.argmax(-1) != labels).mean(-1))
            overlap = students.records["largest_overlap"][:, -1]
            rows["learned"].append(learned_views(overlap).mean((-2, -1)))
            rows["below"].append((overlap < study.network.relu_threshold).mean((-2, -1)))
            rows["train_wrong"].append(students.records["train_wrong"][:, -1])
        for name, values in rows.items():
            found[name].append(np.stack(values, -1))
        common.say(f"training set {replicate + 1} of {study.replicates}")
    return {
        n: xr.DataArray(
            np.stack(v),
            dims=("replicate", "network", "size")[: 1 + np.ndim(v[0])] if n != "teacher" else ("replicate", "size"),
        )
        for n, v in found.items()
    } | {n: np.stack(v) for n, v in ideal.items()}


def of_race(study: Study, found: dict[str, Any], index: int) -> float:
    """Error of students by `theory.lesson`, with the teacher of this index."""
    start, known, *sets = (found[n].values for n in ("start", "known", "moments", "single_views"))
    alone = theory.student_alone(start, sets[0][:, None], study, study.distill, sets[1][:, None])
    overlap = theory.lesson(alone, known[:, None, index], study, study.distill).overlap
    return float(common.rounded(networks.ideal_errors(study, overlap)[1].mean()))


def measure(smoke: bool) -> dict[str, Any]:
    """All sizes; slope and offset of the students' error against their teacher's."""
    study = replace(load_preset("smoke"), SETTING | (SMOKE if smoke else {}))
    sizes = tuple(s for s in SIZES if s <= study.seeds)
    found = common.cell("students and starts", [common.to_mapping(study), sizes], lambda: run(study, sizes))
    teacher = np.broadcast_to(found["teacher"].values[:, None], found["student"].shape)
    pairs = np.stack([teacher, found["student"].values], -1)  # [R, S, K, 2]
    rows = []
    for i, size in enumerate(sizes):
        row: dict[str, Any] = {"size": size, "train_error_0": float((found["train_wrong"].values[..., i] == 0).mean())}
        for name, values in (
            ("teacher", teacher[..., i]),
            ("student", found["student"].values[..., i]),
            ("learned", found["learned"].values[..., i]),
            ("below", found["below"].values[..., i]),
            ("difference", pairs[..., i, 1] - pairs[..., i, 0]),
        ):
            row[name], row[f"{name}_interval"] = map(common.rounded, networks.with_interval(values, np.mean))
        rows.append(row | {"race_student": of_race(study, found, i)})

    def line(values: np.ndarray) -> np.ndarray:
        return np.polyfit(values[..., 0].mean((0, 1)), values[..., 1].mean((0, 1)), 1)

    fits = {
        name: networks.with_interval(pairs, lambda v, i=i: line(v)[i]) for i, name in enumerate(("slope", "offset"))
    }
    numbers = {k: common.rounded(v) for n, f in fits.items() for k, v in ((n, f[0]), (f"{n}_interval", f[1]))}
    return {"study": common.to_mapping(study), "rows": rows} | numbers


def verdicts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Slope and offset, and each teacher."""
    return [
        common.verdict(
            "slope of the students' error against their teacher's",
            1.0,
            document["slope"],
            document["slope_interval"],
            bearable=0.5,
        ),
        common.verdict(
            "students' error where the teacher's is 0 (offset of the line)",
            0.0,
            document["offset"],
            document["offset_interval"],
        ),
        *(
            common.verdict(
                f"students' error minus their teacher's, K = {r['size']}",
                0.0,
                r["difference"],
                r["difference_interval"],
                bearable=0.15,
            )
            for r in document["rows"]
        ),
        *(
            common.verdict(
                f"students' error, by the race of traces and foreign overlaps, K = {r['size']}",
                r["race_student"],
                r["student"],
                r["student_interval"],
                bearable=0.3,
            )
            for r in document["rows"]
        ),
    ]


def draw(document: dict[str, Any]) -> Figure:
    """Students against teachers."""
    rows = document["rows"]
    figure, ax = plt.subplots(figsize=(5.6, 4.6), layout=common.AIRY)
    x, y = (np.array([r[n] for r in rows]) for n in ("teacher", "student"))
    xe, ye = (np.abs(np.array([r[f"{n}_interval"] for r in rows]).T - v) for n, v in (("teacher", x), ("student", y)))
    ax.errorbar(x, y, ye, xe, fmt="o", capsize=3, color="C0", label="students of an ensemble of K, 95 %")
    places: dict[tuple[float, float], list[dict[str, Any]]] = {}  # one label where points lie on each other
    for r in rows:
        places.setdefault((round(r["teacher"], 1), round(r["student"], 1)), []).append(r)
    for here in places.values():
        sizes = ", ".join(str(r["size"]) for r in here)
        at = here[0]["teacher"], here[0]["student"]
        ax.annotate(f"K = {sizes}", at, (6, -12), textcoords="offset points", fontsize=8)
    ax.plot(x, [r["race_student"] for r in rows], "_", markersize=14, color="C2", label="by the race")
    end = max(x.max(), y.max()) * 1.1
    ax.plot([0, end], [0, end], "--", color="C1", label="student = teacher")
    low, high = document["slope_interval"]
    ax.set_title(f"slope {document['slope']:.2f} ({low:.2f} to {high:.2f}), offset {document['offset']:.3f}")
    ax.set(xlabel="teacher's error on single-view data", ylabel="students' error on single-view data")
    ax.legend(fontsize=8)
    return figure


if __name__ == "__main__":
    common.command(sys.modules[__name__])

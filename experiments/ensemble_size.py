"""How does the error of an ensemble fall with its size?

Claim (docs/theory.md, section 5): a network knows one view of each class, a coin's, so K networks know a view in
Binomial(K, 1/2) of them, and the ensemble errs where too few do to beat the foreign features of a single-view sample.
`theory.ensemble_error` is that law in closed form, with nothing fitted. It leaves out networks that know both views
of a class, the spread of strengths, and training sets that favour one view in all networks at once. The mean field
knows these: `theory.ideal_overlaps` at each network's own start and training set, and ideal networks with those.

Run it with `python -m experiments.ensemble_size`; it takes less than a minute on one core.
"""

from __future__ import annotations

import sys
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments import common, networks
from experiments.contrasts import SMOKE as SMALLER
from experiments.contrasts import WORLD
from multiview import load_preset, replace, streams
from multiview.config import Study, to_mapping
from multiview.measures.ensemble import disjoint_ensembles
from multiview.measures.errors import exact_upper_bound, hierarchical_bootstrap
from multiview.measures.features import winners
from multiview.studies.evaluation import count_test_errors
from multiview.studies.study import training_tasks
from multiview.systems.blocks import answer_networks, start_keys, train_networks
from multiview.theory import ensemble_error, ideal_overlaps
from multiview.world.world import Chunk, World

NAME = "ensemble_size"
CLAIM = (
    "The error of an ensemble of K networks is the binomial law of views that too few of them know; nothing is fitted."
)
SECONDS = 50
REMARK = """The law is too high at K = 1 and 2, because in 0.16 to 0.18 of the classes a network has both views and the
law knows no such class. At K = 4 it is too low: a view that one network of four has counts as known, by so narrow a
margin that a network whose overlap is 15 % below its rivals' is enough for an error, and the law holds all overlaps
equal. The mean field knows classes with both views, unequal overlaps and what the training set favours, and is inside
from K = 2 on; at K = 1 it is 0.010 too high, the same networks having both views in a few more classes than it says.
Nothing is fitted in either."""

# The world of `experiments.contrasts`, with 64 networks for each training set.
SETTING = WORLD | {"seeds": 64, "data.num_test_multi_view": 2000, "data.num_test_single_view": 2000}
SMOKE = SMALLER


def errors_by_size(study: Study) -> tuple[dict[int, np.ndarray], list[float], np.ndarray, dict[int, np.ndarray]]:
    """Errors of disjoint ensembles of K = 1, 2, 4, … networks; classes with both views; training errors.

    Returns:
        By K, e_m and e_s of each ensemble [R, groups, 2]; shares by replicate; wrong training samples [R, S]; by K, the
        e_s that the mean field gives the same networks [R, groups].
    """
    sizes = [2**p for p in range(study.seeds.bit_length()) if 2**p <= study.seeds]
    world = World.of(study)
    errors: dict[int, list[Any]] = {size: [] for size in sizes}
    both, train_wrong, ideal = [], [], []
    for replicate, task in enumerate(training_tasks(study, world)):
        keys = start_keys(study, streams.START, replicate, range(study.seeds))
        trained = train_networks(study, task, keys, num_steps=study.train.num_steps)
        train_wrong.append(trained.records["train_wrong"][:, -1])
        of_set = networks.training_set_of(task, study)
        start = trained.records["largest_overlap"][:, 0]
        ideal.append(ideal_overlaps(start, of_set["moments"], study, of_set["single_views"]))
        both.append(float(1 - winners(trained.records["largest_overlap"][:, -1])[1].mean()))

        def answer(chunk: Chunk, weights: np.ndarray = trained.weights) -> dict[str, np.ndarray]:
            return disjoint_ensembles(answer_networks(study, weights, chunk.noise_keys(study.seeds), chunk.task))

        wrong = count_test_errors(world, replicate, answer)
        for size in sizes:
            errors[size].append(wrong[f"ensemble_of_{size}"] / np.array(list(world.test_sizes.values())))
        common.say(f"training set {replicate + 1} of {study.replicates}")
    field = networks.ideal_errors(study, np.stack(ideal), sizes)
    return {size: np.stack(values) for size, values in errors.items()}, both, np.stack(train_wrong), field


def as_cell(
    errors: dict[int, np.ndarray], both: list[float], train_wrong: np.ndarray, field: dict[int, np.ndarray]
) -> dict[str, Any]:
    """What `errors_by_size` gives, by name."""
    dims = ("replicate", "group", "kind")
    arrays = {
        f"errors_{size}": xr.DataArray(values, dims=(dims[0], f"group_{size}", dims[2]))
        for size, values in errors.items()
    }
    arrays |= {f"field_{size}": xr.DataArray(v, dims=(dims[0], f"group_{size}")) for size, v in field.items()}
    return arrays | {"train_wrong": train_wrong, "both": both, "sizes": list(errors)}


def measure(smoke: bool) -> dict[str, Any]:
    """Measured and predicted errors by size."""
    study = replace(load_preset("smoke"), SETTING | (SMOKE if smoke else {}))
    found = common.cell("networks and mean field", study, lambda: as_cell(*errors_by_size(study)))
    errors = {size: found[f"errors_{size}"].values for size in found["sizes"]}
    both, train_wrong = found["both"], found["train_wrong"].values
    rows = []
    for size, values in errors.items():
        low, high = hierarchical_bootstrap(values[..., 1])
        if not values[..., 1].any():  # the test samples' own bound
            high = exact_upper_bound(0, study.data.num_test_single_view * study.replicates)
        law = ensemble_error(study, size)
        rows.append({
            "size": size,
            "ensembles": int(values[..., 0].size),
            "e_single_view": common.rounded(values[..., 1].mean()),
            "e_single_view_interval": common.rounded([low, high]),
            "e_single_view_by_training_set": common.rounded(values[..., 1].mean(1)),
            "e_multi_view": common.rounded(values[..., 0].mean()),
            "law": common.rounded(law),
            "field": common.rounded(found[f"field_{size}"].values.mean()),
            "law_is_inside": bool(low <= law <= high),
        })  # fmt: skip
    return {
        "study": to_mapping(study),
        "classes_with_both_views": common.rounded(both),
        "runs_with_train_error_0": f"{int((train_wrong == 0).sum())} of {train_wrong.size}",
        "sizes": rows,
    }


def verdicts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The law at each size; and how measured errors follow it while ensembles of every training set err."""
    rows = [r for r in document["sizes"] if min(r["e_single_view_by_training_set"]) > 0]
    law = np.log([r["law"] for r in rows])
    measured = [r["e_single_view"] for r in rows], [r["e_single_view_interval"] for r in rows]
    fit = []
    if len(rows) > 2:
        value, interval = common.from_intervals(
            *measured, lambda errors: networks.slope(law, np.log(np.maximum(errors, 1e-4)))
        )
        claim = f"slope of log error against the log of the law, K = {rows[0]['size']} to {rows[-1]['size']}"
        fit = [common.verdict(claim, 1.0, value, interval, bearable=1.0)]
    return fit + [
        common.verdict(
            f"error on single-view data of an ensemble of {r['size']}", r["law"], r["e_single_view"],
            r["e_single_view_interval"],
        )
        for r in document["sizes"]
    ] + [
        common.verdict(
            f"the same of an ensemble of {r['size']}, by the mean field at each network's start", r["field"],
            r["e_single_view"], r["e_single_view_interval"],
        )
        for r in document["sizes"]
    ]  # fmt: skip


def draw(document: dict[str, Any]) -> Figure:
    """Error against size, with the law."""
    rows = document["sizes"]
    size = np.array([r["size"] for r in rows], float)
    figure, ax = plt.subplots(figsize=(6.5, 4), layout=common.AIRY)
    common.against(ax, size, rows, "e_single_view", label="simulated, mean and 95 %")
    each = np.array([r["e_single_view_by_training_set"] for r in rows])
    ax.plot(size, each, color="0.6", linewidth=0.8, label=["one training set"] + [None] * (each.shape[1] - 1))
    ax.plot(size, [r["law"] for r in rows], "--", color="C1", label="binomial law, nothing fitted")
    ax.plot(size, [r["field"] for r in rows], ":", color="C2", label="mean field at each start, nothing fitted")
    ax.set(xlabel="networks in the ensemble K", ylabel="error on single-view test data $e_s$", title="Ensemble size")
    ax.legend(fontsize=8)
    return figure


if __name__ == "__main__":
    common.command(sys.modules[__name__])

"""A study's results as labelled data: one xarray DataTree, a node for each kind of network."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr

from multiview.config import from_mapping, to_mapping
from multiview.measures.ensemble import ENSEMBLES, ensemble_sizes
from multiview.measures.errors import ErrorCounts, combine
from multiview.measures.features import learned_views, winners
from multiview.measures.lottery import lottery
from multiview.stores.provenance import device_name, git_commit, versions
from multiview.stores.sweep_store import Variable
from multiview.studies.study import Group, StudyResult
from multiview.verdicts.claims import Claim
from multiview.verdicts.prediction import self_distilled_name

_ENSEMBLES = tuple(ENSEMBLES)
_KINDS = ("multi_view", "single_view")
_UNITS = {
    "train_error": "share of weight",
    "train_wrong": "samples",
    "train_loss": "nats",
    "gradient_evaluations": "evaluations",
}


def _group_dataset(group: Group, networks: bool) -> xr.Dataset:
    base = ("replicate", "seed")
    shapes = {3: (*base, "time"), 5: (*base, "time", "class", "view")}
    variables: dict[str, Any] = {
        name: (shapes[value.ndim], value, {"unit": _UNITS.get(name, "overlap")})
        for name, value in group.records.items()
    }
    errors = group.errors
    variables |= {
        "finite": (base, group.finite),
        "test_wrong_multi_view": (base, errors.multi_view, {"unit": f"of {errors.num_multi_view} samples"}),
        "test_wrong_single_view": (base, errors.single_view, {"unit": f"of {errors.num_single_view} samples"}),
    }
    if networks:
        variables["weights"] = ((*base, "dimension", "class", "neuron"), group.weights)
    data = xr.Dataset(variables, coords={"step": ("time", group.times)})
    data.attrs = {"num_test_multi_view": errors.num_multi_view, "num_test_single_view": errors.num_single_view}
    return data


def _by_size(result: StudyResult) -> dict[str, Any]:
    """Test errors of disjoint ensembles of K networks; there are fewer of larger ones, so the rest is NaN."""
    sizes = ensemble_sizes(result.study.seeds)
    found: dict[str, Any] = {"ensemble_size": ("size", np.array(sizes))}
    for kind in _KINDS:
        wrong = np.full((result.study.replicates, len(sizes), result.study.seeds), np.nan)
        for index, size in enumerate(sizes):
            counts = getattr(result.ensembles[f"ensemble_of_{size}"], kind)
            wrong[:, index, : counts.shape[1]] = counts
        found[f"ensemble_size_test_wrong_{kind}"] = (("replicate", "size", "ensemble"), wrong)
    return found


def from_datatree(tree: xr.DataTree) -> StudyResult:
    """The result that a stored study was made from, as far as claims go: without what only training needs.

    Args:
        tree: of `to_datatree` or `open_results`.

    Raises:
        ConfigError: its configuration is not one of this multiview.
    """
    study = from_mapping(json.loads(tree.attrs["config"]))
    data, root = study.data, tree.to_dataset()

    def counts(multi: Any, single: Any) -> ErrorCounts:
        of_multi, of_single = (np.asarray(a).reshape(study.replicates, -1).astype(int) for a in (multi, single))
        return ErrorCounts(of_multi, of_single, data.num_test_multi_view, data.num_test_single_view)

    groups = {}
    for name, node in tree.children.items():
        part = node.to_dataset()
        records = {n: part[n].values for n in map(str, part.data_vars) if "time" in part[n].dims}
        groups[name] = Group(
            weights=part["weights"].values if "weights" in part else np.empty(0),
            train_wrong=records["train_wrong"][:, :, -1],
            train_error=records["train_error"][:, :, -1],
            finite=part["finite"].values,
            times=part["step"].values,
            records=records,
            errors=counts(part["test_wrong_multi_view"], part["test_wrong_single_view"]),
        )
    return StudyResult(
        study=study,
        groups=groups,
        ensembles={n: counts(*(root[f"{n}_test_wrong_{kind}"] for kind in _KINDS)) for n in _ENSEMBLES},
        moments=root["view_moments"].values,
        dark_knowledge=root["dark_knowledge"].values,
        dropped_features=int(tree.attrs["dropped_features"]),
        features=root["features"].values if "features" in root else None,
        seconds=float(tree.attrs["seconds"]),
    )


def to_datatree(result: StudyResult, claims: list[Claim] | None = None, networks: bool = False) -> xr.DataTree:
    """Label everything that a study measured.

    Args:
        result: of `run_study`.
        claims: their JSON goes into the attributes.
        networks: whether to keep the networks themselves.

    Returns:
        A tree with nodes single, distilled, self_distilled, … (dimensions replicate, seed, time, class, view) and
        ensemble errors at the root, whose attributes hold the configuration, versions and device.
    """
    root = xr.Dataset(
        {
            "view_moments": (("replicate", "class", "view"), result.moments),
            "dark_knowledge": (("replicate",), result.dark_knowledge),
        }
        | {
            f"{name}_test_wrong_{kind}": (("replicate",), getattr(result.ensembles[name], kind)[:, 0])
            for name in _ENSEMBLES
            for kind in _KINDS
        }
        | _by_size(result)
    )
    if result.features is not None:
        root["features"] = (("feature", "dimension"), result.features)
    root.attrs = {
        "config": json.dumps(to_mapping(result.study)),
        "run_id": result.study.run_id,
        "versions": json.dumps(versions()),
        "git_commit": git_commit(),
        "device": device_name(),
        "seconds": result.seconds,
        "dropped_features": result.dropped_features,
        "claims": json.dumps([c.to_mapping() for c in claims or []]),
    }
    nodes = {name: _group_dataset(group, networks) for name, group in result.groups.items()}
    return xr.DataTree.from_dict({"/": root, **{f"/{name}": node for name, node in nodes.items()}})


_RECORDS = {
    "train_error": ("time",),
    "train_wrong": ("time",),
    "train_loss": ("time",),
    "largest_overlap": ("time", "class", "view"),
    "total_overlap": ("time", "class", "view"),
    "largest_foreign_overlap": ("time",),
    "noise_overlap_multi_view": ("time",),
    "noise_overlap_single_view": ("time",),
}
_PER_NETWORK = {
    "test_error": Variable((), "float64", "μ", "test error ((1-μ) e_multi_view + μ e_single_view)/μ"),
    "e_multi_view": Variable((), "float64", "1", "error on multi-view test samples"),
    "e_single_view": Variable((), "float64", "1", "error on single-view test samples"),
    "test_wrong_multi_view": Variable((), "int32", "samples", "wrong multi-view test samples"),
    "test_wrong_single_view": Variable((), "int32", "samples", "wrong single-view test samples"),
    "final_train_error": Variable((), "float64", "share of weight", "training error at the end"),
    "final_train_wrong": Variable((), "int32", "samples", "wrong training samples at the end"),
    "finite": Variable((), "int8", "", "1 if every number of the network is finite"),
    "learned_views": Variable((), "int32", "views", "views whose overlap is more than half of the class's largest"),
    "winner": Variable(("class",), "int8", "", "the view that won each class, if one clearly did"),
    "lottery_right": Variable((), "int32", "classes", "classes with one winner, which the start named"),
    "lottery_clear": Variable((), "int32", "classes", "classes with one winner"),
    "final_overlap": Variable(("class", "view"), "float64", "overlap", "largest overlap Λ at the end"),
}
_ERRORS = ("test_error", "e_multi_view", "e_single_view", "test_wrong_multi_view", "test_wrong_single_view")


def sweep_variables(students: bool, generations: int, precision: str) -> dict[str, Variable]:
    """What a sweep stores of each block, by name; students' measures carry their kind as a prefix.

    Args:
        students: whether students are trained.
        generations: self-distillation generations.
        precision: float32 or float64, of what is measured on networks.
    """
    found = {
        "dark_knowledge": Variable((), "float64", "share of pairs", "pairs that the ensemble's outputs order right"),
        "view_moments": Variable(("class", "view"), "float64", "", "S of each view in the training set"),
        "dropped_features": Variable((), "int32", "features", "foreign features that found no patch"),
    }
    for name in _ENSEMBLES:
        found |= {f"{name}_{error}": _PER_NETWORK[error] for error in _ERRORS}
    kinds = {"": "seed"}
    if students:
        names = ["distilled", *[self_distilled_name(g) for g in range(generations)]]
        kinds |= {f"{name}_": "student" for name in names}
    for prefix, network in kinds.items():
        for name, v in _PER_NETWORK.items():
            if prefix and name.startswith("lottery"):
                continue  # a student's start is not what decides
            found[prefix + name] = v._replace(dimensions=(network, *v.dimensions))
    for name, dims in _RECORDS.items():
        unit = _UNITS.get(name, "overlap")
        dtype = "int32" if name == "train_wrong" else precision
        found[name] = Variable(("seed", *dims), dtype, unit, f"{name.replace('_', ' ')} over time")
    return found


def sweep_values(result: StudyResult) -> dict[str, np.ndarray]:
    """The arrays of `sweep_variables` for a result of one replicate."""
    study = result.study
    mu = study.data.single_view_fraction
    found: dict[str, Any] = {
        "dark_knowledge": result.dark_knowledge[0],
        "view_moments": result.moments[0],
        "dropped_features": result.dropped_features,
    }

    def errors(counts: ErrorCounts) -> dict[str, Any]:
        multi, single = counts.multi_view[0], counts.single_view[0]
        e_multi, e_single = multi / counts.num_multi_view, single / counts.num_single_view
        return {
            "test_error": combine(e_multi, e_single, mu) if mu > 0 else np.full(multi.shape, np.nan),
            "e_multi_view": e_multi,
            "e_single_view": e_single,
            "test_wrong_multi_view": multi,
            "test_wrong_single_view": single,
        }

    for name in _ENSEMBLES:
        found |= {f"{name}_{key}": values[0] for key, values in errors(result.ensembles[name]).items()}
    for name, group in result.groups.items():
        prefix = "" if name == "single" else f"{name}_"
        values = errors(group.errors) | {
            "final_train_error": group.train_error[0],
            "final_train_wrong": group.train_wrong[0],
            "finite": group.finite[0],
        }
        if not prefix:
            values |= {key: array[0] for key, array in group.records.items() if key in _RECORDS}
        if "largest_overlap" in group.records:
            overlap = np.asarray(group.records["largest_overlap"][0], float)
            winner, clear = winners(overlap[:, -1])
            values |= {
                "final_overlap": overlap[:, -1],
                "learned_views": learned_views(overlap[:, -1]).sum((-1, -2)),
                "winner": np.where(clear, winner, -1),
            }
            if not prefix:
                network = study.network
                counted = lottery(
                    overlap[:, 0], overlap[:, -1], result.moments[0], network.relu_power, network.neurons_per_class
                )
                values |= {"lottery_right": counted.right, "lottery_clear": counted.clear}
        found |= {prefix + key: np.asarray(value) for key, value in values.items()}
    return {key: np.asarray(value) for key, value in found.items()}

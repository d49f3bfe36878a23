"""A study's results as labelled data: one xarray DataTree, a node for each kind of network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import xarray as xr

from multiview.config import Study, from_mapping, get, to_mapping
from multiview.measures.dimensions import LENGTHS
from multiview.measures.ensemble import ENSEMBLES, ensemble_sizes
from multiview.measures.errors import ErrorCounts
from multiview.measures.recorded import Measure, row_of
from multiview.parameters import ConfigError
from multiview.stores.provenance import environment
from multiview.studies.outcome import Group, StudyResult
from multiview.words import SAMPLE_KINDS

_ENSEMBLES = tuple(ENSEMBLES)


class Judged(Protocol):
    """A verdict as far as stores go, such as `verdicts.claims.Claim`."""

    def to_mapping(self) -> dict[str, Any]:
        """Plain values for JSON."""
        ...


def _group_dataset(study: Study, group: Group, networks: bool, own: Sequence[Measure]) -> xr.Dataset:
    base = ("replicate", "seed")
    variables: dict[str, Any] = {}
    for name, value in group.records.items():
        row = row_of(name, value.ndim - 3, own)
        for dimension, size in zip(row.dimensions, value.shape[3:], strict=True):
            if dimension in LENGTHS and size != get(study, LENGTHS[dimension]):
                raise ConfigError(
                    f"measure {name!r}: its dimension {dimension!r} has length {size}; it must be "
                    f"{LENGTHS[dimension]} = {get(study, LENGTHS[dimension])}"
                )
        dimensions = (*base, "time", *row.dimensions)
        variables[name] = (dimensions, value, {"unit": row.unit, "description": row.text})
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
    for kind in SAMPLE_KINDS:
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
        ensembles={n: counts(*(root[f"{n}_test_wrong_{kind}"] for kind in SAMPLE_KINDS)) for n in _ENSEMBLES},
        moments=root["view_moments"].values,
        dark_knowledge=root["dark_knowledge"].values,
        dropped_features=int(tree.attrs["dropped_features"]),
        features=root["features"].values if "features" in root else None,
        seconds=float(tree.attrs["seconds"]),
    )


def to_datatree(
    result: StudyResult, claims: Sequence[Judged] = (), networks: bool = False, measures: Sequence[Measure] = ()
) -> xr.DataTree:
    """Label everything that a study measured.

    Args:
        result: of `run_study`.
        claims: verdicts on it (`check_claims`); their JSON goes into the attributes.
        networks: whether to keep the networks themselves.
        measures: rows that describe what an own recorder recorded; without one, a measure is stored all the same,
            and its dimensions are called NAME_0, NAME_1, …

    Returns:
        A tree with nodes single, distilled, self_distilled, … (dimensions replicate, seed, time, class, view) and
        ensemble errors at the root, whose attributes hold the configuration, versions and device.

    Raises:
        ConfigError: a row does not fit the array of its measure.

    Example:
        >>> import multiview as mv
        >>> tree = mv.to_datatree(mv.run_study(mv.load_preset("smoke")))
        >>> tree["single"]["train_error"].dims
        ('replicate', 'seed', 'time')
    """
    root = xr.Dataset(
        {
            "view_moments": (("replicate", "class", "view"), result.moments),
            "dark_knowledge": (("replicate",), result.dark_knowledge),
        }
        | {
            f"{name}_test_wrong_{kind}": (("replicate",), getattr(result.ensembles[name], kind)[:, 0])
            for name in _ENSEMBLES
            for kind in SAMPLE_KINDS
        }
        | _by_size(result)
    )
    if result.features is not None:
        root["features"] = (("feature", "dimension"), result.features)
    here = environment()
    root.attrs = {
        "config": json.dumps(to_mapping(result.study)),
        "run_id": result.study.run_id,
        **here,
        "versions": json.dumps(here["versions"]),
        "settings": json.dumps(here["settings"]),
        "seconds": result.seconds,
        "dropped_features": result.dropped_features,
        "claims": json.dumps([c.to_mapping() for c in claims]),
    }
    nodes = {name: _group_dataset(result.study, group, networks, measures) for name, group in result.groups.items()}
    return xr.DataTree.from_dict({"/": root, **{f"/{name}": node for name, node in nodes.items()}})

"""A study's results as labelled data: one xarray DataTree, a node for each kind of network."""

from __future__ import annotations

import json
import platform
from typing import Any

import jax
import numpy as np
import xarray as xr

from multiview import __version__
from multiview.claims import Claim
from multiview.config import to_mapping
from multiview.study import Group, StudyResult

_UNITS = {"train_error": "share of weight", "train_wrong": "samples", "train_loss": "nats"}


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    import optax

    return {
        "multiview": __version__,
        "python": platform.python_version(),
        "jax": jax.__version__,
        "optax": optax.__version__,
        "numpy": np.__version__,
    }


def device_name() -> str:
    """The device that JAX computes on, in words."""
    device = jax.devices()[0]
    return f"{len(jax.devices())} × {device.platform} ({device.device_kind})"


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
            f"{name}_test_wrong_{kind}": (("replicate",), getattr(counts, kind)[:, 0])
            for name, counts in result.ensembles.items()
            for kind in ("multi_view", "single_view")
        }
    )
    if result.features is not None:
        root["features"] = (("feature", "dimension"), result.features)
    root.attrs = {
        "config": json.dumps(to_mapping(result.study)),
        "run_id": result.study.run_id,
        "versions": json.dumps(versions()),
        "device": device_name(),
        "seconds": result.seconds,
        "dropped_features": result.dropped_features,
        "claims": json.dumps([c.to_mapping() for c in claims or []]),
    }
    nodes = {name: _group_dataset(group, networks) for name, group in result.groups.items()}
    return xr.DataTree.from_dict({"/": root, **{f"/{name}": node for name, node in nodes.items()}})

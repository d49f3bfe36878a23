"""The store of a plan: its attributes, axes, sizes and variables, and the plan that a store was made for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from multiview.config import from_mapping, meaning, to_mapping
from multiview.measures.dimensions import LENGTHS
from multiview.stores.sweep_store import SweepStore, Variable
from multiview.sweeps.design import Design
from multiview.sweeps.grammar import labels
from multiview.sweeps.plan import Plan, make_plan
from multiview.words import parameter_value


def create_store(plan: Plan, path: Path, circumstances: Mapping[str, Any]) -> SweepStore:
    """Make the empty store of a plan.

    Args:
        plan: of the sweep.
        path: new folder.
        circumstances: attributes that are not the plan's, such as versions and device.
    """
    from multiview.systems.blocks import record_steps

    design = plan.design
    varying = {"train.num_steps", "train.num_records"} & set(design.fields)
    studies = map(plan.study, range(design.num_points if varying else 1))
    steps = [record_steps(study.train.num_steps, study.train.num_records) for study in studies]
    times = max(len(s) for s in steps)
    padded = np.stack([np.pad(s, (0, times - len(s)), mode="edge") for s in steps])
    points = dict(zip(design.dimensions, design.shape, strict=True))
    coordinates: dict[str, Any] = {
        "step": (
            (*design.dimensions, "time") if varying else ("time",),
            padded.reshape(*design.shape, times) if varying else padded[0],
            {"unit": "steps", "description": "steps taken when the measures over time were recorded"},
        )
    }
    label = labels(design.fields)
    for factor in design.factors:
        for column, name in enumerate(factor.fields):
            values = [row[column] for row in factor.rows]
            if not isinstance(values[0], int | float):
                values = [parameter_value(v) for v in values]
            description = {"field": name, "description": meaning(name)}
            coordinates[label[name]] = ((factor.dimension,), np.asarray(values), description)
    sizes = {dimension: plan.largest[name] for dimension, name in LENGTHS.items()} | {"time": times}
    attributes = {
        **circumstances,
        "config": json.dumps(to_mapping(plan.base)),
        "sweep": json.dumps(identity(plan)),
        "run_id": plan.base.run_id,
    }
    return SweepStore.create(
        path, attributes, points, sizes, variables_of(plan), coordinates, np.reshape(plan.replicates, design.shape)
    )


def variables_of(plan: Plan) -> dict[str, Variable]:
    """List what the store of a plan holds of each block."""
    from multiview.stores.sweep_variables import sweep_variables

    precision = "float64" if plan.double else "float32"
    return sweep_variables(plan.students, plan.largest["self_distill.generations"], precision)


def identity(plan: Plan) -> dict[str, Any]:
    """The design of a plan as plain values, by which its store knows it."""
    return plan.design.to_mapping() | {"students": plan.students}


def plan_of(attributes: Mapping[str, str]) -> Plan:
    """Make the plan again that a store was made for.

    Args:
        attributes: of the store.

    Raises:
        ConfigError: they are not those of a sweep of this multiview.
    """
    sweep = json.loads(attributes["sweep"])
    base = from_mapping(json.loads(attributes["config"]))
    return make_plan(base, Design.from_mapping(sweep), bool(sweep["students"]))

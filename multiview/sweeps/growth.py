"""Stores that gain points: which plan goes on with which store, and how a store grows, alone or joined with others.

New values of an axis stand behind those that are there, in whatever order they are named: a stored block keeps its
index, so that who has the store open still finds each number at its label. What is stored is not computed again, but
for one thing: an ensemble, and what it teaches, needs the outputs of all its networks, which a sweep does not store.
With more seeds all blocks are therefore computed again; what was measured on single networks stays meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from multiview.config import Study, all_fields, get, to_mapping
from multiview.files import new_path, whole_folder
from multiview.parameters import ConfigError
from multiview.stores.beside import replaced, sidecar_path
from multiview.stores.lock import reserved
from multiview.stores.store import attributes_of, is_sweep
from multiview.stores.sweep_store import DONE, FAILED, MISSING, SweepStore
from multiview.sweeps.design import Design, Factor, behind
from multiview.sweeps.layout import create_store, plan_of
from multiview.sweeps.plan import Plan, make_plan
from multiview.systems.table import load
from multiview.words import parameter_value

_GROWING = ("seeds", "replicates")  # of the study that the points start from; more of them change none that were there


class Growth(NamedTuple):
    """What becomes of a store that grows.

    Attributes:
        kept: finished blocks that stay as they are.
        new: blocks that are to be computed.
        again: how many of those were finished, with fewer seeds.
        seeds: of the store.
        more_seeds: of the plan.
    """

    kept: int
    new: int
    again: int
    seeds: int
    more_seeds: int


def continued(plan: Plan, path: Path) -> Plan:
    """Fit a plan to the store that it goes on with: on each axis the store's values come first.

    Args:
        plan: of the sweep that is asked for.
        path: the store.

    Returns:
        The plan, with its points in the order of the store.

    Raises:
        ConfigError: no store of a sweep, or one that holds what the plan does not have; the line says where.
    """
    if not is_sweep(path):
        raise ConfigError(f"--out = {str(path)!r} holds one study and no sweep; name a new folder")
    attributes = attributes_of(path)
    sweep, config = json.loads(attributes["sweep"]), json.loads(attributes["config"])
    stored = Design.from_mapping(sweep)
    here = json.loads(json.dumps(to_mapping(plan.base)))
    differences = _differences(config, here, plan.design, ("there", "here"), _GROWING)
    both = {"method": (stored.method, plan.design.method), "students": (bool(sweep["students"]), plan.students)}
    differences += [f"{name} is {old} there, {new} here" for name, (old, new) in both.items() if old != new]
    factors = _factors(stored, plan.design)
    if not differences and factors is not None:
        design = Design(plan.design.method, factors)
        return plan if design == plan.design else make_plan(plan.base, design, plan.students)
    if factors is None:
        differences += _axes_that_lose(stored, plan.design)
    first = "; ".join(differences[:4]) + (f"; and {len(differences) - 4} more" if len(differences) > 4 else "")
    raise ConfigError(
        f"--out = {str(path)!r} holds another sweep: {first}. Name a new folder, or repeat its flags "
        "(an axis may gain values, and lose none)"
    )


def _factors(stored: Design, design: Design) -> tuple[Factor, ...] | None:
    """The axes of a design with the stored values first; None where it lacks stored values or has other axes."""
    if [f.fields for f in stored.factors] != [f.fields for f in design.factors]:
        return None
    rows = [behind(old.rows, new.rows) for old, new in zip(stored.factors, design.factors, strict=True)]
    factors = [Factor(f.dimension, f.fields, r) for f, r in zip(design.factors, rows, strict=True) if r is not None]
    return tuple(factors) if len(factors) == len(rows) else None


def _differences(
    old: Mapping[str, Any], new: Mapping[str, Any], design: Design, names: tuple[str, str], growing: Sequence[str] = ()
) -> list[str]:
    """Say how the studies that two sweeps start from differ, apart from what the axes change and what may grow."""
    found = []
    for name in all_fields():
        if name == "preset" or name in design.fields:
            continue
        section, _, leaf = name.rpartition(".")
        there, here = ((m.get(section, {}) if section else m).get(leaf) for m in (old, new))
        if there != here and not (name in growing and (there or 0) < (here or 0)):
            found.append(f"{name} is {there} {names[0]}, {here} {names[1]}")
    return found


def _axes_that_lose(stored: Design, design: Design) -> list[str]:
    old, new = ({f.fields: f.rows for f in d.factors} for d in (stored, design))
    found = []
    for fields in [*old, *(f for f in new if f not in old)]:
        there, here = old.get(fields), new.get(fields)
        if there is None or here is None or behind(there, here) is None:
            found.append(f"axis {'+'.join(fields)} is {_axis_words(there)} there, {_axis_words(here)} here")
    return found or ["the order of the axes"]


def _axis_words(rows: Sequence[tuple[Any, ...]] | None) -> str:
    if rows is None:
        return "missing"
    words = ["+".join(map(parameter_value, row)) for row in rows]
    return ",".join(words) if len(words) <= 4 else f"{','.join(words[:2])},…,{words[-1]} ({len(words)} values)"


def growth_of(plan: Plan, store: SweepStore) -> Growth | None:
    """Count what a plan that goes on with a store keeps and computes; None where the store has all of its points.

    Args:
        plan: of `continued`.
        store: the store.
    """
    base = json.loads(store.attributes["config"])
    same = all(name in plan.design.fields or base[name] == get(plan.base, name) for name in _GROWING)
    if same and Design.from_mapping(json.loads(store.attributes["sweep"])) == plan.design:
        return None
    finished = int(((store.done == DONE) | (store.done == FAILED)).sum())
    seeds = plan.base.seeds if "seeds" in plan.design.fields else int(base["seeds"])
    again = finished if seeds != plan.base.seeds else 0
    return Growth(finished - again, plan.num_blocks - finished + again, again, seeds, plan.base.seeds)


def grow(plan: Plan, store: SweepStore, growth: Growth) -> SweepStore:
    """Put a store in a store's place that has room for all points of a plan, and every block that stays.

    At each moment one of the two is there. Blocks to be computed again are missing in the new one, but for what was
    measured on each network by itself.

    Args:
        plan: of `continued`.
        store: the store, whose lock is held.
        growth: of `growth_of`.
    """
    with replaced(store.path) as folder:
        larger = create_store(plan, folder, store.attributes)
        for index in store.finished():
            if not growth.again:
                larger.take(store, index, index, share=True)
            elif not load(_study_at(plan, index).system).joint:
                larger.take(store, index, index, only="seed", share=True)
    return SweepStore(store.path, writable=True)


def _study_at(plan: Plan, index: tuple[int, ...]) -> Study:
    return plan.study(plan.design.point(index[:-1]))


def join_sweeps(stores: Sequence[str | Path], out: str | Path) -> Path:
    """Join sweeps of one study with different values of one axis into one store; nothing is computed again.

    The values of the first store come first on the axis. Points that several stores hold must be equal bit by bit. The
    joined store can go on as the store of one sweep over all values.

    Args:
        stores: two or more finished stores of sweeps.
        out: new folder.

    Returns:
        The new store's path.

    Raises:
        ConfigError: a store is unfinished, damaged, being written or of another sweep, or a point differs.

    Example:
        >>> import multiview as mv
        >>> study = mv.replace(mv.load_preset("smoke"), {"seeds": 2, "replicates": 1})
        >>> for name, values in {"a.zarr": [20, 30], "b.zarr": [30, 40]}.items():
        ...     outcome = mv.run_sweep(study, {"train.num_steps": values}, name)
        >>> mv.open_results(mv.join_sweeps(["a.zarr", "b.zarr"], "ab.zarr"))["num_steps"].values.tolist()
        [20, 30, 40]
    """
    if len(stores) < 2:
        raise ConfigError("join: name two or more stores")
    path = new_path(out)
    sources = [_finished(Path(store)) for store in stores]
    plans = [plan_of(source.attributes) for source in sources]
    plan = plans[0]
    for source, other in zip(sources[1:], plans[1:], strict=True):
        plan = _joined(plan, other, sources[0], source)
    with reserved(path), whole_folder(path) as folder:
        joined = create_store(plan, folder, sources[0].attributes)
        owner: dict[tuple[int, ...], SweepStore] = {}
        for source, own in zip(sources, plans, strict=True):
            places = [
                [f.rows.index(row) for row in g.rows]
                for f, g in zip(plan.design.factors, own.design.factors, strict=True)
            ]
            for index in source.finished():
                here = (*(place[i] for place, i in zip(places, index, strict=False)), index[-1])
                if here not in owner:
                    owner[here] = source
                    joined.take(source, index, here)
                elif name := joined.difference(source, index, here):
                    point = plan.design.describe(plan.design.point(here[:-1]))
                    raise ConfigError(
                        f"{owner[here].path} and {source.path} differ in {name} at {point} replicate {here[-1]}; "
                        "what is joined must agree where both have a point"
                    )
    return path


def _finished(path: Path) -> SweepStore:
    """Open a store that is to be joined, after the check that it is whole."""
    store = SweepStore(path)
    missing = int((store.done == MISSING).sum())
    if sidecar_path(path, ".lock").exists():
        raise ConfigError(f"store = {str(path)!r} is being written, or its writer died: finish it with its own command")
    if missing:
        raise ConfigError(
            f"store = {str(path)!r} is unfinished: {missing} of {int((store.done >= MISSING).sum())} blocks are not "
            "computed; run its own command again to finish it"
        )
    if damaged := store.damaged():
        raise ConfigError(f"store = {str(path)!r} is damaged in {len(damaged)} blocks; see multiview check")
    return store


def _joined(plan: Plan, other: Plan, first: SweepStore, source: SweepStore) -> Plan:
    """The plan with the values of two; the stores are named in what refuses them."""
    names = (f"in {first.path}", f"in {source.path}")
    differences = _differences(to_mapping(plan.base), to_mapping(other.base), plan.design, names)
    designs = (plan.design, other.design)
    for name, old, new in (
        ("method", *(d.method for d in designs)),
        ("students", plan.students, other.students),
        ("settings", *(s.attributes.get("settings", "{}") for s in (first, source))),
        ("axes", *(" ".join(map("+".join, (f.fields for f in d.factors))) or "none" for d in designs)),
    ):
        if old != new:
            differences.append(f"{name} is {old} {names[0]}, {new} {names[1]}")
    missing = sorted(set(first.arrays) ^ set(source.arrays))
    if missing and not differences:
        differences.append(f"only one of them has {', '.join(missing[:4])}")
    if differences:
        raise ConfigError(f"{first.path} and {source.path} do not belong to one sweep: {'; '.join(differences[:4])}")
    apart = [f for f, g in zip(plan.design.factors, other.design.factors, strict=True) if {*f.rows} != {*g.rows}]
    if len(apart) > 1:
        raise ConfigError(
            f"{first.path} and {source.path} differ in more than one axis ({', '.join(f.dimension for f in apart)}); "
            "stores that are joined have equal values on all axes but one"
        )
    rows = [
        Factor(f.dimension, f.fields, (*f.rows, *(row for row in g.rows if row not in f.rows)))
        for f, g in zip(plan.design.factors, other.design.factors, strict=True)
    ]
    return make_plan(plan.base, Design(plan.design.method, tuple(rows)), plan.students)

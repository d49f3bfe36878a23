"""The runner of sweeps: one writer, a store that is always consistent, and the same command to resume a sweep."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from multiview.config import Study
from multiview.files import named_path, strict, writable_folder
from multiview.parameters import ConfigError
from multiview.presets import load_preset
from multiview.stores.beside import settle, sidecar_path, standing
from multiview.stores.lock import release_lock, take_lock
from multiview.stores.sweep_store import DONE, FAILED, MISSING, SweepStore
from multiview.sweeps.block import as_text, block_size_and_parallelism
from multiview.sweeps.design import make_design
from multiview.sweeps.executors import Computed, Work, check_cluster, compute_here, compute_on_cluster, connect
from multiview.sweeps.growth import continued, grow, growth_of
from multiview.sweeps.layout import create_store, plan_of, variables_of
from multiview.sweeps.plan import Plan, make_plan
from multiview.words import parameter_value

Report = Callable[[dict[str, Any]], None]  # called with one event, as it stands in the event log


class Outcome(NamedTuple):
    """The state of a sweep.

    Attributes:
        path: the store.
        done: blocks that are stored.
        failed: blocks that failed.
        total: all blocks.
    """

    path: Path
    done: int
    failed: int
    total: int


class WriteError(RuntimeError):
    """A store that cannot be written: the disk is full, a quota is reached, or the file system is gone."""


class _Events:
    """The event log: one JSON object a line, each line written at once. No result depends on it."""

    def __init__(self, path: Path, report: Report | None) -> None:
        self.path, self.report = path, report

    def __call__(self, event: str, **values: Any) -> None:
        entry = {"event": event, "time": datetime.now(UTC).isoformat(timespec="milliseconds"), **values}
        with contextlib.suppress(OSError):
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                os.write(handle, (json.dumps(strict(entry), ensure_ascii=False, allow_nan=False) + "\n").encode())
            finally:
                os.close(handle)
        if self.report is not None:
            self.report(entry)


def run_sweep(
    study: Study | str,
    over: Sequence[str] | Mapping[str, Any] = (),
    out: str | Path = "sweep.zarr",
    *,
    zipped: Sequence[Sequence[str] | Mapping[str, Any]] = (),
    method: str = "grid",
    points: int = 0,
    design_seed: int = 0,
    students: bool = False,
    cluster: Any = None,
    retry_failed: bool = False,
    any_size: bool = False,
    report: Report | None = None,
) -> Outcome:
    """Run a sweep, resume it, or let it grow.

    A sweep is stored block by block; a block is one replicate of one point. Blocks in the store are not computed again:
    after an interruption, a call with the same arguments resumes the sweep, and the results are those of an
    uninterrupted run, bit by bit. With more values of an axis, or more replicates, only the new blocks are computed;
    the new values stand behind the stored ones. With more seeds all blocks are computed again, because an ensemble
    needs the outputs of all its networks.

    Args:
        study: the configuration that the points start from, or the name of a preset.
        over: axes of the design, see `design.make_design`.
        out: the store: a new folder, or the store of this sweep, to resume or to grow.
        zipped: groups of axes of equal length that run together.
        method: grid, or a drawn design: random, sobol.
        points: how many points a drawn design has.
        design_seed: seed of a drawn design.
        students: whether to train students too.
        cluster: None for this machine; "dask", "dask:N", an address, a scheduler file, or a Dask client or cluster.
        retry_failed: whether to compute failed blocks again.
        any_size: whether to allow more than 10⁶ points.
        report: function that is called with each event, a mapping with the key "event".

    Returns:
        Blocks done and failed. Open the store with `multiview.open_results`.

    Raises:
        ConfigError: a bad axis, a store that holds what this sweep does not, or one that another process writes.
        WriteError: the store cannot be written; finished blocks are safe.
        KeyboardInterrupt: passed on, after the store has been closed properly.

    Example:
        >>> import multiview as mv
        >>> study = mv.replace(mv.load_preset("smoke"), {"seeds": 2, "replicates": 1})
        >>> outcome = mv.run_sweep(study, {"train.num_steps": [20, 30]}, "steps.zarr")
        >>> outcome.done, outcome.total
        (2, 2)
    """
    study = load_preset(study) if isinstance(study, str) else study
    design = make_design(over, zipped, method=method, points=points, design_seed=design_seed, any_size=any_size)
    return run_plan(make_plan(study, design, students), out, cluster=cluster, retry_failed=retry_failed, report=report)


def run_plan(
    plan: Plan, out: str | Path, *, cluster: Any = None, retry_failed: bool = False, report: Report | None = None
) -> Outcome:
    """Run or resume a plan; arguments, result and errors are those of `run_sweep`."""
    path = named_path(out, "out")
    if standing(path).exists():
        plan = continued(plan, path)
    if cluster is not None:
        check_cluster(cluster)
    writable_folder(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = sidecar_path(path, ".lock")
    unclean = take_lock(lock)
    events = _Events(sidecar_path(path, ".events.jsonl"), report)
    patience: float | None = 5.0  # seconds that an interrupted sweep waits for the disk
    try:
        with contextlib.ExitStack() as stack:
            client = None if cluster is None else stack.enter_context(connect(cluster))
            settle(path)
            if path.exists():  # it may have grown until the lock was taken
                plan = continued(plan, path)
            store = _open_or_create(plan, path, client, events)
            if unclean and (damaged := store.damaged()):
                events("repaired", blocks=len(damaged))
                store.forget(list(damaged))
            if unclean:
                store.tidy()
            if growth := growth_of(plan, store):
                events("grown", **growth._asdict())
                store = grow(plan, store, growth)
            if retry_failed:
                store.forget([index for index, _ in store.failures()])
            outcome = _compute(plan, store, client, events)
        patience = None
        return outcome
    except KeyboardInterrupt:
        events("interrupted")
        raise
    except OSError as error:
        events("error", reason=str(error))
        raise WriteError(
            f"{path}: {error.strerror or error}. What is finished is safe; make room and run the same command again"
        ) from error
    finally:
        release_lock(lock, patience)


def _compute(plan: Plan, store: SweepStore, client: Any, events: _Events) -> Outcome:
    pending = [b for b in plan.blocks() if store.done[(*plan.design.index(b.point), b.replicate)] == MISSING]
    group_of = {point: i for i, group in enumerate(plan.groups) for point in group}
    count = [0] * len(plan.groups)  # blocks of each group that are still to come
    for block in pending:
        count[group_of[block.point]] += 1
    outcome = _outcome(store)
    left_at = [0] * plan.design.num_points  # blocks of each point that are still to come
    for block in pending:
        left_at[block.point] += 1
    points_done = left_at.count(0)
    events(
        "start", points=plan.design.num_points, groups=len(plan.groups), blocks=outcome.total, done=outcome.done,
        failed=outcome.failed, pending=len(pending), pid=os.getpid(),
    )  # fmt: skip
    parallelism = block_size_and_parallelism
    size, in_flight = parallelism() if client is None else client.submit(parallelism, pure=False).result()
    work = (
        Work(unit, tuple(as_text(plan.study(block.point)) for block in unit))
        for unit in plan.units(pending, size, in_flight)
    )
    computed: Generator[Computed] = (
        compute_here(work, plan.students) if client is None else compute_on_cluster(work, plan.students, client)
    )
    begin, cost_done = time.perf_counter(), 0.0
    cost_left = sum(plan.cost[b.point] for b in pending)
    with contextlib.closing(computed):
        for block, (arrays, reason, seconds) in computed:
            index = (*plan.design.index(block.point), block.replicate)
            store.write_block(index, arrays, FAILED if reason else DONE, reason)
            cost_done, cost_left = cost_done + plan.cost[block.point], cost_left - plan.cost[block.point]
            group = group_of[block.point]
            count[group] -= 1
            left_at[block.point] -= 1
            points_done += left_at[block.point] == 0
            outcome = outcome._replace(done=outcome.done + (not reason), failed=outcome.failed + bool(reason))
            events(
                "block", point=block.point, replicate=block.replicate, group=group, seconds=round(seconds, 3),
                failed=outcome.failed, done=outcome.done, blocks=outcome.total, left_in_group=count[group],
                points_done=points_done,
                seconds_left=round((time.perf_counter() - begin) * max(cost_left, 0.0) / cost_done, 1),
                values={n: parameter_value(v) for n, v in plan.design.changes(block.point).items()}, reason=reason,
            )  # fmt: skip
    events("end", done=outcome.done, failed=outcome.failed, blocks=outcome.total)
    return outcome


def _outcome(store: SweepStore) -> Outcome:
    states = store.done
    return Outcome(
        store.path, int((states == DONE).sum()), int((states == FAILED).sum()), int((states >= MISSING).sum())
    )


def environment() -> dict[str, Any]:
    """Return what the results depend on beside the configuration: versions, git commit, device, compiler."""
    from multiview.stores import provenance

    return provenance.environment()


def _open_or_create(plan: Plan, path: Path, client: Any, events: _Events) -> SweepStore:
    current = environment() if client is None else client.submit(environment, pure=False).result()
    if not path.exists():
        texts = {name: json.dumps(current[name]) for name in ("versions", "settings")}
        return create_store(plan, path, {**current, **texts})
    store = SweepStore(path, writable=True)
    there = plan_of(store.attributes) if growth_of(plan, store) else plan
    missing = sorted(set(variables_of(there)) - set(store.arrays))
    if missing:
        raise ConfigError(
            f"--out = {str(path)!r} is of an older multiview and has no place for {', '.join(missing)}: "
            "continue it with that version, or name a new folder"
        )
    _check_settings(path, json.loads(store.attributes.get("settings", "{}")), current["settings"])
    versions = json.loads(store.attributes["versions"])
    changes = [
        f"{name} {then} then, {now} now"
        for name, then, now in (
            ("device", store.attributes.get("device"), current["device"]),
            *((n, versions.get(n), v) for n, v in current["versions"].items()),
        )
        if then != now
    ]
    if changes:
        events("environment", changed=changes)
    return store


def _check_settings(path: Path, there: dict[str, str], here: dict[str, str]) -> None:
    """Refuse to go on under other settings of the compiler, which would mix last digits of two kinds."""
    for name in sorted({*there, *here}):
        old, new = (settings.get(name, "not set") for settings in (there, here))
        if old != new:
            raise ConfigError(
                f"--out = {str(path)!r} was begun with {name} = {old}, here it is {new}, which can change numbers: "
                "set it as it was, or name a new folder"
            )


__all__ = ["Outcome", "WriteError", "environment", "run_plan", "run_sweep"]

"""The command that runs sweeps, and its display."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multiview import machine
from multiview.commands.common import make_console, study_from_flags, use_compilation_cache, whole_number
from multiview.commands.display import Heartbeat, progress_line
from multiview.commands.statuses import BAD_INPUT
from multiview.config import all_fields, get
from multiview.files import named_path
from multiview.parameters import ConfigError
from multiview.sweeps.draws import DRAWS
from multiview.words import format_seconds

if TYPE_CHECKING:
    from rich.console import Console

    from multiview.sweeps.plan import Plan


class Terminated(KeyboardInterrupt):
    """SIGTERM, as a batch system sends it before it kills."""


def _on_sigterm(*_: object) -> None:
    raise Terminated


class _SweepProgress:
    """Events as a display: a bar for each group on a terminal, a line for each group, and each minute, elsewhere."""

    def __init__(self, console: Console, plan: Plan) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self.console, self.plan = console, plan
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[told]}"),
            console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self.tasks: dict[int, Any] = {}
        self.heartbeat = Heartbeat(self._say)
        self.finished, self.begin, self.end = "", 0.0, 0.0

    def __call__(self, event: dict[str, Any]) -> None:
        told = getattr(self, f"_{event['event']}", None)
        if told is not None:
            told(event)

    def _start(self, event: dict[str, Any]) -> None:
        self.console.print(
            f"{event['points']} points, {event['blocks']} blocks in {event['groups']} groups; "
            f"{event['done']} done and {event['failed']} failed before, {event['pending']} to compute"
        )
        self.overall = self.bar.add_task(
            "all", total=event["blocks"], completed=event["done"] + event["failed"], told=""
        )
        self.bar.start()
        self._expect(event, self.plan.seconds * event["pending"] / max(event["blocks"], 1))
        self.begin = time.perf_counter()
        if not self.console.is_terminal:
            self.heartbeat.start()

    def _expect(self, event: dict[str, Any], seconds: float) -> None:
        """Note how many blocks are finished, and when the sweep will be."""
        self.finished = f"{event['done'] + event['failed']}/{event['blocks']} blocks"
        self.end = time.perf_counter() + seconds

    def _say(self) -> None:
        now = time.perf_counter()
        seconds, left = now - self.begin, max(self.end - now, 0.0)
        share = seconds / max(seconds + left, 1e-9)
        self.console.print(progress_line(seconds, share, f"computing, {self.finished}", left))

    def _repaired(self, event: dict[str, Any]) -> None:
        self.console.print(f"The last writer died; {event['blocks']} damaged blocks are computed again.")

    def _grown(self, event: dict[str, Any]) -> None:
        self.console.print(_growth_words(event))

    def _environment(self, event: dict[str, Any]) -> None:
        self.console.print(
            f"Not the place where the sweep began ({'; '.join(event['changed'])}): its numbers are bitwise equal "
            "within one platform and version only."
        )  # fmt: skip

    def _block(self, event: dict[str, Any]) -> None:
        group = event["group"]
        if event["reason"]:
            where = " ".join(f"{n}={v}" for n, v in event["values"].items())
            self.console.print(f"failed: {where} replicate {event['replicate']}: {event['reason']}")
        finished = event["done"] + event["failed"]
        self._expect(event, event["seconds_left"])
        told = f"{event['failed']} failed, about {format_seconds(event['seconds_left'])} left"
        if self.console.is_terminal:
            if group not in self.tasks:
                size = sum(self.plan.replicates[p] for p in self.plan.groups[group])
                self.tasks[group] = self.bar.add_task(f"group {group + 1}", total=size, told="")
            task = self.bar.tasks[self.tasks[group]]
            self.bar.update(self.tasks[group], completed=(task.total or 0) - event["left_in_group"])
            self.bar.update(self.overall, completed=finished, told=f"{event['points_done']} points, {told}")
        elif event["left_in_group"] == 0:
            self.heartbeat.said = time.perf_counter()
            self.console.print(
                f"group {group + 1}/{len(self.plan.groups)} finished; in all {finished}/{event['blocks']} blocks, "
                f"{event['points_done']} points, {told}"
            )  # fmt: skip

    def close(self) -> None:
        """Leave the terminal in order."""
        self.heartbeat.stop()
        self.bar.stop()


def _sweep(arguments: argparse.Namespace) -> int:
    study = study_from_flags(arguments)
    from multiview.stores.beside import standing
    from multiview.sweeps.design import make_design
    from multiview.sweeps.growth import continued
    from multiview.sweeps.plan import make_plan
    from multiview.sweeps.runner import WriteError, run_plan

    drawn = {name: count for name in DRAWS if (count := getattr(arguments, name)) is not None}
    if len(drawn) > 1:
        raise ConfigError(f"{' and '.join(f'--{name}' for name in drawn)} exclude each other")
    method, count = next(iter(drawn.items()), ("grid", "0"))
    design = make_design(
        arguments.over, arguments.zip, method=method, points=whole_number(f"--{method}", count, len(drawn)),
        design_seed=whole_number("--design-seed", arguments.design_seed, 0), any_size=arguments.yes,
    )  # fmt: skip
    plan = make_plan(study, design, arguments.with_students)
    out = named_path(arguments.out)
    if standing(out).exists():
        plan = continued(plan, out)
    if arguments.dry_run:
        _print_plan(make_console(), plan, out)
        return 0
    if arguments.cluster is None:
        use_compilation_cache()
    console = make_console()
    console.quiet = arguments.quiet
    before = signal.signal(signal.SIGTERM, _on_sigterm)
    progress = _SweepProgress(console, plan)
    try:
        outcome = run_plan(plan, out, cluster=arguments.cluster, retry_failed=arguments.retry_failed, report=progress)
    except WriteError as error:
        progress.close()
        print(f"multiview: error: {error}", file=sys.stderr)
        _leave(BAD_INPUT)
    except KeyboardInterrupt as stop:
        progress.close()
        word, status = ("terminated", 143) if isinstance(stop, Terminated) else ("interrupted", 130)
        print(f"multiview: {word}; finished blocks are in {out}, the same command continues", file=sys.stderr)
        _leave(status)
    finally:
        progress.close()
        signal.signal(signal.SIGTERM, before)
    console.print(f"Store: {out} ({outcome.done} blocks done, {outcome.failed} failed)")
    if outcome.failed:
        console.print("multiview show names the failures; --retry-failed computes them again.")
    return int(outcome.failed > 0)


def _growth_words(growth: dict[str, Any]) -> str:
    """Say what a store that grows keeps and computes."""
    words = f"The store grows: {growth['kept']} blocks are kept, {growth['new']} are to be computed"
    if growth["again"]:
        words += (
            f", {growth['again']} of them again with {growth['more_seeds']} seeds, not {growth['seeds']}: an ensemble, "
            "and what it teaches, needs the outputs of all its networks, which a sweep does not store"
        )
    return words + "."


def _join(arguments: argparse.Namespace) -> int:
    from multiview.stores.sweep_store import DONE, FAILED, SweepStore
    from multiview.sweeps.growth import join_sweeps

    out = join_sweeps(arguments.stores, arguments.out)
    done = SweepStore(out).done
    print(f"Store: {out} ({(done == DONE).sum()} blocks done, {(done == FAILED).sum()} failed)")
    return 0


def _leave(status: int) -> None:
    """End at once: a thread in the middle of a compiled stretch of steps would hold the interpreter back."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _print_plan(console: Console, plan: Plan, out: Path) -> None:
    from multiview.sweeps.cost import CPU_BLOCK

    design, base = plan.design, plan.base
    shape = " × ".join(f"{n} {d}" for d, n in zip(design.dimensions, design.shape, strict=True)) or "1"
    console.print(f"{design.num_points} points ({design.method}: {shape})")
    units = [len(unit) for unit in plan.units(plan.blocks(), CPU_BLOCK, machine.processors())]
    console.print(f"{plan.num_blocks} blocks (one replicate of one point), {plan.largest['seeds']} seeds each")
    console.print(f"Computed in {len(units)} units of work on this CPU, up to {max(units)} points trained together")
    for number, group in list(enumerate(plan.groups, 1))[:20]:
        studies = [plan.study(p) for p in (group[0], group[-1])]
        static = [
            f"{name}={get(studies[0], name)}" for name in design.fields
            if not all_fields()[name][0].metadata["traced"]
        ]  # fmt: skip
        of = f" ({', '.join(static)})" if static else ""
        console.print(f"  group {number}: {len(group)} points, one compiled program{of}")
    if len(plan.groups) > 20:
        console.print(f"  and {len(plan.groups) - 20} more groups")
    console.print(f"Students: {'yes' if plan.students else 'no (--with-students trains them)'}")
    console.print(
        f"Predicted: about {format_seconds(plan.seconds)} on this machine, compiling apart; "
        f"about {plan.bytes / 1e9:.1f} GB of memory a process"
    )
    from multiview.stores.beside import standing

    if standing(out).exists():
        from multiview.stores.sweep_store import DONE, FAILED, SweepStore
        from multiview.sweeps.growth import growth_of

        store = SweepStore(out)
        done, growth = store.done, growth_of(plan, store)
        console.print(f"{out}: {(done == DONE).sum()} blocks done, {(done == FAILED).sum()} failed")
        if growth:
            console.print(_growth_words(growth._asdict()))
    elif base.replicates == 1:
        console.print("One replicate: intervals will not include the training set's share.")


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Declare the commands of this family."""
    sweep = command("sweep", _sweep, "run a study at many points, into one store; the same command continues, and "
                    "with more values of an axis, replicates or seeds the store grows", "reference")  # fmt: skip
    sweep.add_argument("--over", nargs="+", action="extend", default=[], metavar="FIELD=VALUES",
                       help="an axis: 2,3,4 or LOW:HIGH:COUNT or LOW:HIGH:COUNT:log; several make a grid")  # fmt: skip
    sweep.add_argument("--zip", nargs="+", action="append", default=[], metavar="FIELD=VALUES",
                       help="axes of equal length that run together")  # fmt: skip
    for name, draw in DRAWS.items():
        sweep.add_argument(f"--{name}", metavar="N", help=f"N {draw.text}; ranges are then LOW:HIGH or LOW:HIGH:log")
    sweep.add_argument("--design-seed", default="0", metavar="N", help="seed of drawn points (%(default)s)")
    sweep.add_argument("--out", required=True, metavar="STORE", help="zarr store: new, or one to continue or to grow")
    sweep.add_argument("--with-students", action="store_true", help="train students too, not only single networks")
    sweep.add_argument("--cluster", metavar="WHERE",
                       help="dask, dask:WORKERS, tcp://HOST:PORT, or a Dask scheduler file")  # fmt: skip
    sweep.add_argument("--dry-run", action="store_true", help="print the plan and compute nothing")
    sweep.add_argument("--retry-failed", action="store_true", help="compute again what failed before")
    sweep.add_argument("--yes", action="store_true", help="allow more than 10⁶ points")
    sweep.add_argument("--quiet", action="store_true", help="print nothing unless it goes wrong")
    join = command(
        "join", _join, "join sweeps of one study with different values of one axis; nothing is computed again"
    )
    join.add_argument("stores", nargs="+", metavar="STORE", help="two or more finished stores")
    join.add_argument("--out", required=True, metavar="STORE", help="new zarr store")

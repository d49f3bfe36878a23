"""Commands around sweeps and stores: sweep, ls, show, table, check, export, init."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multiview.commands.common import make_console, study_of, use_compilation_cache, whole
from multiview.config import ConfigError, all_fields, from_mapping, get, load_preset, to_mapping

if TYPE_CHECKING:
    from rich.console import Console

    from multiview.sweep import Plan


class Terminated(KeyboardInterrupt):
    """SIGTERM, as a batch system sends it before it kills."""


def _on_sigterm(*_: object) -> None:
    raise Terminated


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class _SweepProgress:
    """Events as a display: a bar for each group on a terminal, a line for each group (or half minute) elsewhere."""

    def __init__(self, console: Console, plan: Plan) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self.console, self.plan = console, plan
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[told]}"),
            console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self.tasks: dict[int, Any] = {}
        self.last = time.monotonic()

    def __call__(self, event: dict[str, Any]) -> None:
        told = getattr(self, f"_{event['event']}", None)
        if told is not None:
            told(event)

    def _start(self, event: dict[str, Any]) -> None:
        self.console.print(
            f"{event['points']} points, {event['blocks']} blocks in {event['groups']} groups; "
            f"{event['done']} done and {event['failed']} failed before, {event['pending']} to compute",
            markup=False,
        )
        self.overall = self.bar.add_task(
            "all", total=event["blocks"], completed=event["done"] + event["failed"], told=""
        )
        self.bar.start()

    def _repaired(self, event: dict[str, Any]) -> None:
        self.console.print(f"The last writer died; {event['blocks']} damaged blocks are computed again.")

    def _environment(self, event: dict[str, Any]) -> None:
        self.console.print(
            f"Not the place where the sweep began ({'; '.join(event['changed'])}): its numbers are bitwise equal "
            "within one platform and version only.", markup=False,
        )  # fmt: skip

    def _block(self, event: dict[str, Any]) -> None:
        group = event["group"]
        if event["reason"]:
            where = " ".join(f"{n}={v}" for n, v in event["values"].items())
            self.console.print(f"failed: {where} replicate {event['replicate']}: {event['reason']}", markup=False)
        finished = event["done"] + event["failed"]
        told = f"{event['failed']} failed, about {_span(event['seconds_left'])} left"
        if self.console.is_terminal:
            if group not in self.tasks:
                size = sum(self.plan.replicates[p] for p in self.plan.groups[group])
                self.tasks[group] = self.bar.add_task(f"group {group + 1}", total=size, told="")
            task = self.bar.tasks[self.tasks[group]]
            self.bar.update(self.tasks[group], completed=(task.total or 0) - event["left_in_group"])
            self.bar.update(self.overall, completed=finished, told=f"{event['points_done']} points, {told}")
        elif event["left_in_group"] == 0 or time.monotonic() - self.last > 30:
            self.last = time.monotonic()
            state = "finished" if event["left_in_group"] == 0 else f"{event['left_in_group']} blocks left"
            self.console.print(
                f"group {group + 1}/{len(self.plan.groups)} {state}; in all {finished}/{event['blocks']} blocks, "
                f"{event['points_done']} points, {told}", markup=False,
            )  # fmt: skip

    def close(self) -> None:
        """Leave the terminal in order."""
        self.bar.stop()


def _optional_whole(flag: str, word: str | None, least: int) -> int | None:
    return None if word is None else whole(flag, word, least)


def _sweep(arguments: argparse.Namespace) -> int:
    study = study_of(arguments)
    from multiview.sweep import make_design, make_plan
    from multiview.sweep.runner import WriteError, check_same, run_plan

    design = make_design(
        arguments.over, arguments.zip, random=_optional_whole("--random", arguments.random, 1),
        sobol=_optional_whole("--sobol", arguments.sobol, 1),
        design_seed=whole("--design-seed", arguments.design_seed, 0), any_size=arguments.yes,
    )  # fmt: skip
    plan = make_plan(study, design, arguments.with_students)
    out = Path(arguments.out)
    if out.exists():
        check_same(plan, out)
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
        _leave(1)
    except KeyboardInterrupt as stop:
        progress.close()
        word, status = ("terminated", 143) if isinstance(stop, Terminated) else ("interrupted", 130)
        print(f"multiview: {word}; finished blocks are in {out}, the same command continues", file=sys.stderr)
        _leave(status)
    finally:
        progress.close()
        signal.signal(signal.SIGTERM, before)
    console.print(f"Store: {out} ({outcome.done} blocks done, {outcome.failed} failed)", markup=False)
    if outcome.failed:
        console.print("multiview show names the failures; --retry-failed computes them again.")
    return int(outcome.failed > 0)


def _leave(status: int) -> None:
    """End at once: a thread in the middle of a compiled stretch of steps would hold the interpreter back."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _print_plan(console: Console, plan: Plan, out: Path) -> None:
    design, base = plan.design, plan.base
    shape = " × ".join(f"{n} {d}" for d, n in zip(design.dimensions, design.shape, strict=True)) or "1"
    console.print(f"{design.num_points} points ({design.method}: {shape})", markup=False)
    console.print(f"{plan.num_blocks} blocks (one replicate of one point), {plan.largest['seeds']} seeds each")
    for number, group in list(enumerate(plan.groups, 1))[:20]:
        studies = [plan.study(p) for p in (group[0], group[-1])]
        static = [
            f"{name}={get(studies[0], name)}" for name in design.fields
            if not all_fields()[name][0].metadata["traced"]
        ]  # fmt: skip
        of = f" ({', '.join(static)})" if static else ""
        console.print(f"  group {number}: {len(group)} points, one compiled program{of}", markup=False)
    if len(plan.groups) > 20:
        console.print(f"  and {len(plan.groups) - 20} more groups")
    console.print(f"Students: {'yes' if plan.students else 'no (--with-students trains them)'}")
    console.print(
        f"Predicted: about {_span(plan.seconds)} on this machine, compiling apart; about {plan.bytes / 1e9:.1f} GB "
        "of memory a process"
    )
    if out.exists():
        from multiview.store import DONE, FAILED, SweepStore

        done = SweepStore(out).done
        console.print(f"{out}: {(done == DONE).sum()} blocks done, {(done == FAILED).sum()} failed", markup=False)
    elif base.replicates == 1:
        console.print("One replicate: intervals will not include the training set's share.")


def _stores(folder: Path) -> Iterator[Path]:
    """Stores in a folder: itself, and two levels below."""
    for pattern in ("zarr.json", "*/zarr.json", "*/*/zarr.json"):
        for path in sorted(folder.glob(pattern)):
            try:
                if "config" in json.loads(path.read_text(encoding="utf-8")).get("attributes", {}):
                    yield path.parent
            except (OSError, ValueError, AttributeError):
                continue


def _state(path: Path) -> str:
    from multiview.store import DONE, FAILED, MISSING, SweepStore, is_sweep

    if not is_sweep(path):
        return "study, whole"
    done = SweepStore(path).done
    failed = f", {int((done == FAILED).sum())} failed" if (done == FAILED).any() else ""
    return f"sweep, {int((done == DONE).sum())} of {int((done >= MISSING).sum())} blocks done{failed}"


def _ls(arguments: argparse.Namespace) -> int:
    folder = Path(arguments.folder)
    if not folder.is_dir():
        raise ConfigError(f"folder = {arguments.folder!r} is not there")
    found = False
    for path in _stores(folder):
        found = True
        try:
            attributes = json.loads((path / "zarr.json").read_text(encoding="utf-8"))["attributes"]
            preset = json.loads(attributes["config"]).get("preset", "")
            print(f"{path}  {attributes.get('run_id', '')}  {preset}  {_state(path)}")
        except (ConfigError, ValueError, AttributeError, TypeError) as error:
            print(f"{path}  unreadable: {error}")
    if not found:
        print(f"no stores in {folder}")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    import xarray as xr

    from multiview.store import SweepStore, open_results
    from multiview.sweep.design import as_word

    path = Path(arguments.store)
    data = open_results(path)
    console = make_console()
    versions = json.loads(data.attrs["versions"])
    study = from_mapping(json.loads(data.attrs["config"]))
    console.print(f"{path}: {_state(path)}", markup=False)
    console.print(f"preset {study.preset}, run {data.attrs['run_id']}, device {data.attrs['device']}",
                  markup=False)  # fmt: skip
    commit = data.attrs.get("git_commit", "")
    console.print(", ".join(f"{n} {v}" for n, v in versions.items()) + (f", commit {commit}" if commit else ""))
    default = load_preset(study.preset) if study.preset != "custom" else type(study)()
    changed = [n for n in all_fields() if n != "preset" and get(study, n) != get(default, n)]
    console.print("Changed from the preset: " + (", ".join(f"{n} = {get(study, n)}" for n in changed) or "nothing"),
                  markup=False)  # fmt: skip
    if not isinstance(data, xr.Dataset):
        for name, node in data.children.items():
            console.print(f"{name}: {dict(node.sizes)}", markup=False)
        return 0
    sweep = json.loads(data.attrs["sweep"])
    console.print(f"Design: {sweep['method']}")
    for factor in sweep["factors"]:
        rows = factor["rows"]
        for column, name in enumerate(factor["fields"]):
            values = [as_word(tuple(r[column]) if isinstance(r[column], list) else r[column]) for r in rows]
            words = ", ".join(values if len(values) <= 8 else [*values[:3], "…", values[-1]])
            console.print(f"  {factor['dimension']}: {name} = {words}", markup=False)
    console.print(f"Dimensions: {dict(data.sizes)}", markup=False)
    console.print(f"Measures: {', '.join(sorted(map(str, data.data_vars)))}", markup=False)
    store = SweepStore(path)
    for index, reason in store.failures():
        console.print(f"failed: {_place(data, index)}: {reason}", markup=False)
    return 0


def _place(data: Any, index: tuple[int, ...]) -> str:
    dims = [d for d in data["done"].dims if d != "replicate"]
    words = []
    for name, axis in data.coords.items():
        if len(axis.dims) == 1 and axis.dims[0] in dims:
            words.append(f"{name}={axis.values[index[dims.index(axis.dims[0])]]}")
    return " ".join([*words, f"replicate {index[-1]}"])


def _table(arguments: argparse.Namespace) -> int:
    import xarray as xr

    from multiview import tables
    from multiview.store import open_results

    data = open_results(arguments.store)
    if not isinstance(data, xr.Dataset):
        raise ConfigError(f"store = {arguments.store!r} holds one study; tables are made of sweeps")
    measures = [m for m in (arguments.measure or ",".join(tables.DEFAULT_MEASURES)).split(",") if m]
    by = [b for b in (arguments.by or "").split(",") if b]
    table = tables.summarise(data, measures, by)
    writers: dict[str, Callable[[tables.Table], str]] = {
        "markdown": tables.markdown, "csv": tables.comma_separated, "latex": tables.latex
    }  # fmt: skip
    if arguments.format in writers:
        print(writers[arguments.format](table), end="")
        return 0
    from rich.table import Table as RichTable

    header, rows = tables.as_words(table)
    shown = RichTable(box=None, pad_edge=False, header_style="bold")
    for name in header:
        shown.add_column(name)
    for row in rows:
        shown.add_row(*row)
    make_console().print(shown)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from multiview.store import MISSING, SweepStore, damaged_variables, is_sweep, open_results

    path = Path(arguments.store)
    if not is_sweep(path):
        bad = damaged_variables(path)
        for name in bad:
            print(f"damaged: {name}")
        print(f"{path}: {len(bad)} damaged arrays" if bad else f"{path}: whole")
        return int(bool(bad))
    store = SweepStore(path)
    data = open_results(path)
    damaged = store.damaged()
    for index, what in damaged.items():
        print(f"damaged: {_place(data, index)}: {what}")
    missing = [i for i in zip(*(store.done == MISSING).nonzero(), strict=True) if tuple(map(int, i)) not in damaged]
    for index in missing[:10]:
        print(f"missing: {_place(data, tuple(map(int, index)))}")
    if len(missing) > 10:
        print(f"missing: and {len(missing) - 10} more blocks")
    for index, reason in store.failures():
        print(f"failed: {_place(data, index)}: {reason}")
    print(f"{path}: {_state(path)}; {len(missing)} missing, {len(damaged)} damaged")
    if damaged and arguments.repair:
        from multiview.sweep.lock import release_lock, take_lock
        from multiview.sweep.runner import beside

        take_lock(beside(path, ".lock"))
        try:
            SweepStore(path, writable=True).forget(list(damaged))
        finally:
            release_lock(beside(path, ".lock"))
        print("The damaged blocks are marked as missing; the sweep's command computes them again.")
    return int(bool(missing or damaged))


def _export(arguments: argparse.Namespace) -> int:
    from multiview.store import export_data, export_network, open_results, writable_folder

    writable_folder(Path(arguments.out).parent)
    replicate, network = (whole(f"--{n}", getattr(arguments, n), 0) for n in ("replicate", "network"))
    data = open_results(arguments.store)
    if arguments.to == "npz":
        export_network(data, arguments.group, replicate, network, arguments.out)
        print(f"Network: {arguments.out}")
    else:
        export_data(data, arguments.to, arguments.group, arguments.out)
        print(f"Data: {arguments.out}")
    return 0


def preset_toml(name: str) -> str:
    """A TOML file of a preset in which every parameter stands with its meaning and what is allowed."""
    study = load_preset(name)
    lines = [f"# Study begun from the preset {name}; every parameter stands here with its meaning.",
             "# Run it with: multiview verify --config FILE (or train, sweep). Lines may be left out.",
             f'preset = "{name}"', ""]  # fmt: skip
    mapping = to_mapping(study)
    section = ""
    ordered = sorted(all_fields().items(), key=lambda item: "." in item[0])
    for field, (declared, _) in ordered:
        if field == "preset":
            continue
        part, _, leaf = field.rpartition(".")
        if part != section:
            section = part
            lines += ["", f"[{section}]"]
        value = (mapping[part] if part else mapping)[leaf]
        allowed = declared.metadata["allowed"]
        lines += [f"# {declared.metadata['help']}" + (f" ({allowed})" if allowed else ""), f"{leaf} = {_toml(value)}"]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)


def _init(arguments: argparse.Namespace) -> int:
    text = preset_toml(arguments.name)
    if arguments.out is None:
        print(text, end="")
        return 0
    from multiview.store import new_path, write_file

    write_file(new_path(arguments.out), lambda path: path.write_text(text, encoding="utf-8"))
    print(f"Study: {arguments.out}")
    return 0


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Declare the commands of this family."""
    sweep = command("sweep", _sweep, "run a study at many points, into one store; the same command continues",
                    "reference")  # fmt: skip
    sweep.add_argument("--over", nargs="+", action="extend", default=[], metavar="FIELD=VALUES",
                       help="an axis: 2,3,4 or LOW:HIGH:COUNT or LOW:HIGH:COUNT:log; several make a grid")  # fmt: skip
    sweep.add_argument("--zip", nargs="+", action="append", default=[], metavar="FIELD=VALUES",
                       help="axes of equal length that run together")  # fmt: skip
    sweep.add_argument("--random", metavar="N", help="N random points; ranges are then LOW:HIGH or LOW:HIGH:log")
    sweep.add_argument("--sobol", metavar="N", help="N points of a scrambled Sobol sequence, likewise")
    sweep.add_argument("--design-seed", default="0", metavar="N", help="seed of random and Sobol points (%(default)s)")
    sweep.add_argument("--out", required=True, metavar="STORE", help="zarr store, new or begun by this command")
    sweep.add_argument("--with-students", action="store_true", help="train students too, not only single networks")
    sweep.add_argument("--cluster", metavar="WHERE",
                       help="dask, dask:WORKERS, tcp://HOST:PORT, or a Dask scheduler file")  # fmt: skip
    sweep.add_argument("--dry-run", action="store_true", help="print the plan and compute nothing")
    sweep.add_argument("--retry-failed", action="store_true", help="compute again what failed before")
    sweep.add_argument("--yes", action="store_true", help="allow more than 10⁶ points")
    sweep.add_argument("--quiet", action="store_true", help="print nothing unless it goes wrong")
    listing = command("ls", _ls, "list the stores in a folder")
    listing.add_argument("folder", nargs="?", default=".")
    show = command("show", _show, "say what a store holds: configuration, versions, design, failures")
    show.add_argument("store")
    table = command("table", _table, "means over seeds and replicates with their intervals")
    table.add_argument("store")
    table.add_argument("--by", metavar="AXES", help="axes to keep, with commas between them (default: all)")
    table.add_argument("--measure", metavar="NAMES", help="measures, with commas between them")
    table.add_argument("--format", choices=("text", "markdown", "csv", "latex"), default="text")
    check = command("check", _check, "verify a store: names what is missing or damaged")
    check.add_argument("store")
    check.add_argument("--repair", action="store_true", help="mark damaged blocks as missing")
    export = command("export", _export, "write a store as NetCDF, CSV or Parquet, or one of its networks as .npz")
    export.add_argument("store")
    export.add_argument("--to", choices=("npz", "netcdf", "csv", "parquet"), default="npz", help="(%(default)s)")
    export.add_argument("--group", default="single", help="single, distilled, self_distilled, … (%(default)s)")
    export.add_argument("--replicate", default="0")
    export.add_argument("--network", default="0", help="seed, or number of the student")
    export.add_argument("--out", required=True, metavar="FILE")
    init = command("init", _init, "write a preset as a commented TOML file")
    init.add_argument("name", nargs="?", default="reference", metavar="PRESET")
    init.add_argument("--out", metavar="FILE", help="new file (default: the terminal)")

"""Commands around stores: ls, show, table, check, export."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from multiview.commands.common import make_console, refuse_lost_numbers, whole_number
from multiview.commands.display import print_table
from multiview.config import all_fields, from_mapping, get
from multiview.parameters import ConfigError, shown
from multiview.presets import load_preset
from multiview.words import parameter_value


def _stores(folder: Path) -> Iterator[Path]:
    """Stores in a folder: itself, and two levels below."""
    for pattern in ("zarr.json", "*/zarr.json", "*/*/zarr.json"):
        for path in sorted(folder.glob(pattern)):
            try:
                if "config" in json.loads(path.read_text(encoding="utf-8")).get("attributes", {}):
                    yield path.parent
            except (OSError, ValueError, AttributeError, TypeError, RecursionError):
                continue


def _state(path: Path) -> str:
    from multiview.stores.store import is_sweep
    from multiview.stores.sweep_store import DONE, FAILED, MISSING, SweepStore

    if not is_sweep(path):
        return "study, complete"
    done = SweepStore(path).done
    failed = f", {int((done == FAILED).sum())} failed" if (done == FAILED).any() else ""
    return f"sweep, {int((done == DONE).sum())} of {int((done >= MISSING).sum())} blocks done{failed}"


def _ls(arguments: argparse.Namespace) -> int:
    folder = Path(arguments.folder)
    if not os.path.isdir(folder):
        raise ConfigError(f"folder = {shown(arguments.folder)} is not there")
    found = False
    for path in _stores(folder):
        found = True
        try:
            attributes = json.loads((path / "zarr.json").read_text(encoding="utf-8"))["attributes"]
            preset = json.loads(attributes["config"]).get("preset", "")
            print(f"{path}  {attributes.get('run_id', '')}  {preset}  {_state(path)}")
        except (ConfigError, ValueError, AttributeError, TypeError, RecursionError) as error:
            print(f"{path}  unreadable: {error}")
    if not found:
        print(f"no stores in {folder}")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    import xarray as xr

    from multiview.stores.store import open_results
    from multiview.stores.sweep_store import SweepStore

    path = Path(arguments.store)
    data = open_results(path)
    console = make_console()
    versions = json.loads(data.attrs["versions"])
    study = from_mapping(json.loads(data.attrs["config"]))
    console.print(f"{path}: {_state(path)}")
    console.print(f"preset {study.preset}, run {data.attrs['run_id']}, device {data.attrs['device']}")
    commit = data.attrs.get("git_commit", "")
    console.print(", ".join(f"{n} {v}" for n, v in versions.items()) + (f", commit {commit}" if commit else ""))
    settings = json.loads(data.attrs.get("settings", "{}"))
    if settings:
        console.print("Settings: " + ", ".join(f"{n} = {v}" for n, v in settings.items()))
    default = load_preset(study.preset) if study.preset != "custom" else type(study)()
    changed = [n for n in all_fields() if n != "preset" and get(study, n) != get(default, n)]
    words = ", ".join(f"{n} = {get(study, n)}" for n in changed) or "nothing"
    console.print(f"Changed from the preset: {words}")
    if not isinstance(data, xr.Dataset):
        for name, node in data.children.items():
            console.print(f"{name}: {dict(node.sizes)}")
        return 0
    sweep = json.loads(data.attrs["sweep"])
    console.print(f"Design: {sweep['method']}")
    for factor in sweep["factors"]:
        rows = factor["rows"]
        for column, name in enumerate(factor["fields"]):
            values = [parameter_value(tuple(r[column]) if isinstance(r[column], list) else r[column]) for r in rows]
            words = ", ".join(values if len(values) <= 8 else [*values[:3], "…", values[-1]])
            console.print(f"  {factor['dimension']}: {name} = {words}")
    console.print(f"Dimensions: {dict(data.sizes)}")
    console.print(f"Measures: {', '.join(sorted(map(str, data.data_vars)))}")
    store = SweepStore(path)
    for index, reason in store.failures():
        console.print(f"failed: {_place(data, index)}: {reason}")
    return 0


def _place(data: Any, index: tuple[int, ...]) -> str:
    dims = [d for d in data["done"].dims if d != "replicate"]
    words = []
    for name, axis in data.coords.items():
        if len(axis.dims) == 1 and axis.dims[0] in dims:
            words.append(f"{name}={axis.values[index[dims.index(axis.dims[0])]]}")
    return " ".join([*words, f"replicate {index[-1]}"])


def _table(arguments: argparse.Namespace) -> int:
    from multiview.stores import tables
    from multiview.stores.store import open_results

    data = open_results(arguments.store)
    refuse_lost_numbers(arguments.store)
    measures = [m for m in (arguments.measure or "").split(",") if m]
    by = [b for b in (arguments.by or "").split(",") if b]
    table = tables.summarise(data, measures, by)
    writers: dict[str, Callable[[tables.Table], str]] = {
        "markdown": tables.markdown, "csv": tables.comma_separated, "latex": tables.latex
    }  # fmt: skip
    if arguments.format in writers:
        print(writers[arguments.format](table), end="")
        return 0
    print_table(make_console(), *tables.as_words(table))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from multiview.stores.store import damaged_variables, is_sweep, open_results
    from multiview.stores.sweep_store import MISSING, SweepStore

    path = Path(arguments.store)
    if not is_sweep(path):
        bad = damaged_variables(path)
        for name, what in bad.items():
            print(f"{name}: {what}")
        print(f"{path}: {len(bad)} damaged arrays; train it again" if bad else f"{path}: complete")
        _explain_copy(path, bool(bad))
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
    _explain_copy(path, bool(damaged))
    if damaged and arguments.repair:
        from multiview.stores.beside import sidecar_path
        from multiview.stores.lock import release_lock, take_lock

        take_lock(sidecar_path(path, ".lock"))
        try:
            SweepStore(path, writable=True).forget(list(damaged))
        finally:
            release_lock(sidecar_path(path, ".lock"))
        print("The damaged blocks are marked as missing; the sweep's command computes them again.")
    return int(bool(missing or damaged))


def _explain_copy(path: Path, incomplete: bool) -> None:
    """Say of a copy by xarray why it may lack chunks and yet be whole."""
    from multiview.stores.store import is_copy

    if incomplete and is_copy(path):
        print(
            "xarray wrote this copy, and leaves out chunks that hold fill values alone: copy the folder, or with "
            "multiview.open_results(STORE).to_zarr(COPY)"
        )


def _export(arguments: argparse.Namespace) -> int:
    from multiview.files import output_file
    from multiview.stores.export import export_data, export_network
    from multiview.stores.store import open_results

    arguments.out = output_file(arguments.out, others=(arguments.store,))
    replicate, network = (whole_number(f"--{n}", getattr(arguments, n), 0) for n in ("replicate", "network"))
    data = open_results(arguments.store)
    if arguments.to == "npz":
        export_network(data, arguments.group, replicate, network, arguments.out)
        print(f"Network: {arguments.out}")
    else:
        refuse_lost_numbers(arguments.store)
        export_data(data, arguments.to, arguments.group, arguments.out)
        print(f"Data: {arguments.out}")
    return 0


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Declare the commands of this family."""
    listing = command("ls", _ls, "list the stores in a folder")
    listing.add_argument("folder", nargs="?", default=".")
    show = command("show", _show, "say what a store holds: configuration, versions, design, failures")
    show.add_argument("store")
    table = command("table", _table, "means with their intervals over seeds and replicates: a row for each point of a "
                    "sweep, for each kind of network of a study")  # fmt: skip
    table.add_argument("store")
    table.add_argument("--by", metavar="AXES", help="axes of a sweep to keep, with commas between them (default: all)")
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

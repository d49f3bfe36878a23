"""Shared by the commands: a flag for every parameter, the study that flags describe, the console, the machine."""

from __future__ import annotations

import argparse
import contextlib
import math
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multiview.commands.statuses import check_jax, leave_pipe
from multiview.config import Study, all_fields, explained, replace
from multiview.files import cache_folder
from multiview.parameters import ConfigError, refusal
from multiview.presets import load_preset, load_toml, preset_names

if TYPE_CHECKING:
    from rich.console import Console


def _flag(name: str) -> str:
    """Name the flag of a parameter."""
    return "--" + name.replace("_", "-")


def refuse_lost_numbers(store: str) -> None:
    """Refuse a store that lacks numbers: a table or a figure would leave them out silently.

    Raises:
        ConfigError: a finished block of a sweep, or an array of a study, is not whole.
    """
    from multiview.stores.store import damaged_variables, is_sweep
    from multiview.stores.sweep_store import SweepStore

    if not is_sweep(store):
        if damaged := damaged_variables(store):
            name, what = next(iter(damaged.items()))
            more = f", and {len(damaged) - 1} more (see multiview check)" if len(damaged) > 1 else ""
            raise ConfigError(f"store = {store!r} is damaged: {name}: {what}{more}; run multiview train again")
        return
    lost = SweepStore(Path(store)).lost()
    if lost:
        name = next(iter(lost.values()))
        raise ConfigError(
            f"store = {store!r} is damaged: {name} is missing in a finished block, {len(lost)} such blocks in all; "
            "see multiview check"
        )


def add_study_flags(parser: argparse.ArgumentParser, default_preset: str) -> None:
    """Add a flag for every parameter, `--section.field-name`, and --preset and --config.

    Args:
        parser: of one command.
        default_preset: where the study starts if neither --preset nor --config is given.
    """
    parser.set_defaults(default_preset=default_preset)
    parser.add_argument("--preset", metavar="NAME", help=f"{', '.join(preset_names())} (default: {default_preset})")
    parser.add_argument("--config", metavar="FILE", help="a TOML file of parameters, on top of its own preset key")
    groups: dict[str, Any] = {}
    for name in all_fields():
        section = name.rpartition(".")[0]
        if name == "preset":
            continue
        if section not in groups:
            groups[section] = parser.add_argument_group(section or "study")
        groups[section].add_argument(_flag(name), dest=name, metavar="VALUE", help=explained(name).replace("%", "%%"))


def study_from_flags(arguments: argparse.Namespace) -> Study:
    """Build the study that the flags describe.

    Raises:
        ConfigError: a flag or a file has a value that is not allowed, or --preset and --config are both given.
    """
    if arguments.preset and arguments.config:
        raise ConfigError('--preset and --config exclude each other: name the preset in the file, preset = "NAME"')
    study = (
        load_toml(arguments.config) if arguments.config else load_preset(arguments.preset or arguments.default_preset)
    )
    given = vars(arguments)
    return replace(
        study, {name: given[name] for name in all_fields() if name != "preset" and given.get(name) is not None}
    )


def whole_number(flag: str, word: str, least: int) -> int:
    """Read a whole number ≥ `least` from a word of the command line.

    Raises:
        ConfigError: it is no such number.
    """
    try:
        number = int(word)
    except ValueError:
        number = least - 1
    if number < least:
        raise refusal(flag, word, f"a whole number ≥ {least}")
    return number


def make_console(stderr: bool = False, quiet: bool = False) -> Console:
    """Make a console that prints text as it stands; its width does not depend on where the output goes."""
    from rich.console import Console

    class Lasting(Console):
        def print(self, *objects: Any, **options: Any) -> None:
            """Leave the breaking of lines to the terminal: a path or a number with a line break in it is another."""
            if all(isinstance(o, str) for o in objects):
                options.setdefault("soft_wrap", True)
            super().print(*objects, **options)

        def on_broken_pipe(self) -> None:
            """Go on without a reader: results are not on the terminal alone."""
            self.quiet = True
            leave_pipe()

    # No markup and no emoji: names of files and words of a store may hold [brackets] and :colons:.
    make = partial(Lasting, stderr=stderr, highlight=False, markup=False, emoji=False, quiet=quiet)
    console = make()
    # Tables are 110 wide; a file or a pipe has no width of its own.
    return console if console.is_terminal else make(width=120)


def draw_beside(console: Console, path: Path, draw: Callable[[Path], Any]) -> None:
    """Draw a picture beside results that are written already; where that fails, say so in one line and go on."""
    from multiview.files import write_file

    try:
        write_file(path, draw, keep=False)
    except Exception as error:  # libraries of figures raise many kinds, and none of them takes a result away
        reason = " ".join(str(error).split())[:200]
        print(f"multiview: {path} was not drawn: {error.__class__.__name__}: {reason}", file=sys.stderr)
    else:
        console.print(f"Picture: {path}")


def use_compilation_cache() -> None:
    """Keep compiled programs between runs, in the user's cache folder."""
    import os

    import jax

    cache = cache_folder()
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ and cache is not None:
        jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def add_resource_flags(parser: argparse.ArgumentParser) -> None:
    """Add flags for the machine: devices, memory, and the other processes of a job."""
    group = parser.add_argument_group("machine")
    group.add_argument("--devices", metavar="N", help="local devices to train on (default: all)")
    group.add_argument(
        "--memory",
        metavar="SIZE",
        help="memory for networks in training, such as 800MB or 4GB (default: half of the CPU's, four fifths of an "
        "accelerator's)",
    )
    group.add_argument("--distributed", action="store_true", help="share the work with the other processes of this job")
    group.add_argument(
        "--coordinator", metavar="HOST:PORT", help="address of process 0, where no scheduler is recognised"
    )
    group.add_argument("--rank", metavar="I", help="number of this process, from 0")
    group.add_argument("--processes", metavar="N", help="how many processes there are")
    group.add_argument(
        "--timeout", metavar="SECONDS", default="60", help="time to wait for the other processes (%(default)s)"
    )


@contextlib.contextmanager
def resources(arguments: argparse.Namespace, study: Study) -> Iterator[bool]:
    """Train on the devices, within the memory and with the other processes that the flags name.

    Yields:
        Whether this process is the one that prints and writes.

    Raises:
        ConfigError: a flag has a bad value, or the other processes do not join or train another study.
    """
    from multiview.training import devices, processes

    joined = [n for n in ("coordinator", "rank", "processes") if getattr(arguments, n) is not None]
    if joined and not arguments.distributed:
        raise ConfigError(f"--{joined[0]} is for several processes: give --distributed too")
    count = None if arguments.devices is None else whole_number("--devices", arguments.devices, 1)
    memory = None if arguments.memory is None else parse_bytes("--memory", arguments.memory)
    if arguments.distributed:
        rank, count_of_processes = (
            None if getattr(arguments, n) is None else whole_number(f"--{n}", getattr(arguments, n), least)
            for n, least in (("rank", 0), ("processes", 1))
        )
        timeout = whole_number("--timeout", arguments.timeout, 1)
        processes.start_distributed(arguments.coordinator, rank, count_of_processes, timeout)
    import jax

    check_jax()
    with devices.using(count, memory):
        processes.check_agreement(study.run_id)
        yield jax.process_index() == 0


def parse_bytes(flag: str, word: str) -> int:
    """Read a size in bytes from a word such as 800MB, 1.5GB or 2e9.

    Raises:
        ConfigError: it is no size.
    """
    match = re.fullmatch(r"([0-9.]+(?:e[0-9]+)?) *([kMGT]?)(i?)B?", word.strip(), re.IGNORECASE)
    try:
        number = float(match[1]) if match else math.nan
    except ValueError:
        number = math.nan
    if not match or not 0 < number < 1e15:
        raise refusal(flag, word, "a size such as 800MB or 4GB")
    return int(number * (1024 if match[3] else 1000) ** ("KMGT".index(match[2].upper()) + 1 if match[2] else 0))

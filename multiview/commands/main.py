"""The command line: one thin function a command; heavy imports inside, so that --help is instant.

Every parameter is a flag, `--section.field-name`, made from the dataclasses of `config`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from multiview import __version__
from multiview.commands import data, experiments, figures, presets, stores, studies, sweeps, web
from multiview.commands.common import add_study_flags
from multiview.commands.statuses import any_encoding, no_window, status_of
from multiview.config import convert
from multiview.parameters import ConfigError

# Families of commands, in the order in which --help lists them. A new one is a file in this room and a name here.
FAMILIES = (studies, data, web, presets, sweeps, figures, experiments, stores)


class _Parser(argparse.ArgumentParser):
    """argparse whose complaints are one line and exit status 2."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def _parser() -> _Parser:
    parser = _Parser(prog="multiview", description="Simulate the multi-view theory of ensembles and distillation.",
                     allow_abbrev=False)  # fmt: skip
    parser.add_argument("--version", action="version", version=f"multiview {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)

    def command(name: str, run: Callable[[argparse.Namespace], int], help: str, preset: str | None = None) -> _Parser:
        sub: _Parser = commands.add_parser(name, help=help, description=help, allow_abbrev=False)
        sub.set_defaults(run=run)
        if preset:
            add_study_flags(sub, preset)
        return sub

    for family in FAMILIES:
        family.add_commands(command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit status: 0 fine, 1 a claim fails or a store is not whole, 2 bad input, environment or a full disk, 70 a
        fault of the program; signals as shells count them.
    """
    with any_encoding(), no_window():
        try:
            try:
                return _run(argv)
            finally:  # here, and not when Python ends: a pipe may have closed, a disk be full
                if sys.stdout is not None:
                    sys.stdout.flush()
        except (Exception, KeyboardInterrupt) as error:
            return status_of(error)


def _run(argv: Sequence[str] | None) -> int:
    parser = _parser()
    arguments, unknown = parser.parse_known_args(argv)
    for word, following in zip(unknown, [*unknown, ""][1:], strict=True):
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            convert(name.replace("-", "_"), value or following)
        raise ConfigError(f"{word!r} is not understood; see multiview --help")
    if not arguments.command:
        parser.print_help()
        return 0
    run: Callable[[argparse.Namespace], int] = arguments.run
    return run(arguments)

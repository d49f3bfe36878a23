"""The command line: one thin function a command; heavy imports inside, so that --help is instant.

Every parameter is a flag, `--section.field-name`, made from the dataclasses of `config`.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from multiview import __version__
from multiview.commands import data, experiments, figures, lab, stores, sweeps, theory
from multiview.commands.common import add_study_flags
from multiview.config import convert
from multiview.parameters import ConfigError
from multiview.presets import preset_names, preset_text


class _Parser(argparse.ArgumentParser):
    """argparse whose complaints are one line and exit status 2."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def _explore(arguments: argparse.Namespace) -> int:
    import webbrowser

    from multiview.web.explorer import page_path

    page = page_path()
    if not page.is_file():
        raise ConfigError(f"{page} is missing; reinstall the package")
    opened = False
    if not arguments.print_path:
        # A launcher that fails differs by system; the path is of use after every such failure.
        with contextlib.suppress(Exception):
            opened = webbrowser.open(page.as_uri())
    print(page if arguments.print_path else f"Explorer: {page}" if opened else f"No browser opened; open {page}")
    return 0


def _presets(arguments: argparse.Namespace) -> int:
    if arguments.name:
        print(preset_text(arguments.name), end="")
        return 0
    for name in preset_names():
        print(f"{name:12s} {preset_text(name).splitlines()[0].lstrip('# ')}")
    return 0


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

    theory.add_commands(command)
    data.add_commands(command)
    explore = command("explore", _explore, "open the explorer, a simulation in the browser")
    explore.add_argument("--print-path", action="store_true", help="print where the page is, and open nothing")
    presets = command("presets", _presets, "list the presets, or print one as TOML")
    presets.add_argument("name", nargs="?")
    lab.add_command(command)
    sweeps.add_commands(command)
    figures.add_commands(command)
    experiments.add_commands(command)
    stores.add_commands(command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (0 fine, 1 a claim fails, 2 bad input)."""
    parser = _parser()
    try:
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
    except ConfigError as error:
        print(f"multiview: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("multiview: interrupted; nothing was written", file=sys.stderr)
        return 130

"""Commands around presets: presets, init."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from multiview.presets import preset_names, preset_text, preset_toml


def _presets(arguments: argparse.Namespace) -> int:
    if arguments.name:
        print(preset_text(arguments.name), end="")
        return 0
    for name in preset_names():
        print(f"{name:12s} {preset_text(name).splitlines()[0].lstrip('# ')}")
    return 0


def _init(arguments: argparse.Namespace) -> int:
    text = preset_toml(arguments.name)
    if arguments.out is None:
        print(text, end="")
        return 0
    from multiview.files import new_path, write_text
    from multiview.stores.lock import reserved

    out = new_path(arguments.out)
    with reserved(out):
        write_text(out, text)
    print(f"Study: {out}")
    return 0


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Declare the commands of this family."""
    presets = command("presets", _presets, "list the presets, or print one as TOML")
    presets.add_argument("name", nargs="?")
    init = command("init", _init, "write a preset as a commented TOML file")
    init.add_argument("name", nargs="?", default="reference", metavar="PRESET")
    init.add_argument("--out", metavar="FILE", help="new file (default: the terminal)")

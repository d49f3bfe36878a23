"""What the commands share: flags of every parameter, the study they make, the console."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multiview.config import ConfigError, Study, all_fields, load_preset, load_toml, preset_names, replace

if TYPE_CHECKING:
    from rich.console import Console


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def add_study_flags(parser: argparse.ArgumentParser, default_preset: str) -> None:
    """Every parameter as a flag, `--section.field-name`, with --preset and --config."""
    parser.set_defaults(default_preset=default_preset)
    parser.add_argument("--preset", metavar="NAME", help=f"{', '.join(preset_names())} (default: {default_preset})")
    parser.add_argument("--config", metavar="FILE", help="a TOML file of parameters, on top of its own preset key")
    groups: dict[str, Any] = {}
    for name, (field, _) in all_fields().items():
        section = name.rpartition(".")[0]
        if name == "preset":
            continue
        group = groups.setdefault(section, parser.add_argument_group(section or "study"))
        allowed = field.metadata["allowed"]
        text = field.metadata["help"] + (f" ({allowed})" if allowed else "")
        group.add_argument(_flag(name), dest=name, metavar="VALUE", help=text.replace("%", "%%"))


def study_of(arguments: argparse.Namespace) -> Study:
    """The study that the flags describe."""
    if arguments.preset and arguments.config:
        raise ConfigError('--preset and --config exclude each other: name the preset in the file, preset = "NAME"')
    study = (
        load_toml(arguments.config) if arguments.config else load_preset(arguments.preset or arguments.default_preset)
    )
    given = vars(arguments)
    return replace(
        study, {name: given[name] for name in all_fields() if name != "preset" and given.get(name) is not None}
    )


def whole(flag: str, word: str, least: int) -> int:
    """A whole number ≥ `least` from a word of the command line."""
    try:
        number = int(word)
    except ValueError:
        number = least - 1
    if number < least:
        raise ConfigError(f"{flag} = {word!r} is not allowed: it must be a whole number ≥ {least}")
    return number


def make_console(stderr: bool = False) -> Console:
    """A console of a width that does not depend on where the output goes."""
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False)
    # Tables are 110 wide; a file or a pipe has no width of its own.
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=120)


def use_compilation_cache() -> None:
    """Keep compiled programs between runs, in the user's cache folder."""
    import os

    import jax

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(base / "multiview"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)

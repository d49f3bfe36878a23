"""The presets that come with the package, and studies as TOML files."""

from __future__ import annotations

import codecs
import dataclasses
import importlib.resources
import io
import json
import tomllib
from pathlib import Path
from typing import Any

from multiview.config import Study, all_fields, explained, from_mapping, get
from multiview.parameters import ConfigError, refusal, shown


def load_toml(path: str | Path) -> Study:
    """Read a study from a TOML file; its key `preset` names the preset that it starts from.

    Args:
        path: the file, in UTF-8; or in UTF-16 with a byte-order mark, as a redirection in PowerShell writes it.

    Returns:
        The study: the values of the file, else those of the preset, else the defaults.

    Raises:
        ConfigError: the file cannot be read or parsed, or a value in it is not allowed.

    Example:
        >>> import pathlib
        >>> import multiview as mv
        >>> text = 'preset = "smoke"\\nseeds = 4\\n[data]\\nnum_classes = 6\\n'
        >>> _ = pathlib.Path("study.toml").write_text(text)
        >>> mv.load_toml("study.toml").seeds
        4
    """
    try:
        content = Path(path).read_bytes()
        encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
        text = io.TextIOWrapper(io.BytesIO(content), encoding).read()
    except UnicodeDecodeError:
        raise ConfigError(f"--config = {shown(str(path))} cannot be read: it must be text in UTF-8") from None
    except (OSError, ValueError) as error:  # not there, no name of a file
        raise ConfigError(f"--config = {shown(str(path))} cannot be read: {error.__class__.__name__}") from None
    try:
        mapping = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # lists in lists, numbers of thousands of digits
        raise ConfigError(f"--config = {shown(str(path))} is not valid TOML: {' '.join(str(error).split())}") from None
    name = mapping.pop("preset", "custom")
    return from_mapping(mapping, None if name == "custom" else load_preset(name))


def preset_names() -> list[str]:
    """List the names of the presets that come with the package.

    Example:
        >>> import multiview as mv
        >>> mv.preset_names()
        ['dense', 'explorer', 'paper', 'reference', 'smoke']
    """
    folder = importlib.resources.files("multiview") / "presets"
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml"))


def preset_text(name: str) -> str:
    """Read the TOML text of a preset.

    Raises:
        ConfigError: no preset has this name.
    """
    if name not in preset_names():
        raise refusal("preset", name, f"one of {', '.join(preset_names())}")
    return (importlib.resources.files("multiview") / "presets" / f"{name}.toml").read_text(encoding="utf-8")


def load_preset(name: str) -> Study:
    """Load the study of a preset.

    Args:
        name: one of `preset_names()`.

    Raises:
        ConfigError: no preset has this name.

    Example:
        >>> import multiview as mv
        >>> mv.load_preset("reference").preset
        'reference'
    """
    return dataclasses.replace(from_mapping(tomllib.loads(preset_text(name))), preset=name)


def preset_toml(name: str) -> str:
    """Write out a preset as TOML in which every parameter stands with its meaning and what is allowed.

    Raises:
        ConfigError: no preset has this name.
    """
    study = load_preset(name)
    lines = [
        f"# Study begun from the preset {name}; every parameter stands here with its meaning.",
        "# Run it with: multiview verify --config FILE (or train, sweep). Lines may be left out.",
        f'preset = "{name}"',
        "",
    ]
    section = ""
    for parameter in sorted(all_fields(), key=lambda n: "." in n):  # those of no section come first
        if parameter == "preset":
            continue
        part, _, leaf = parameter.rpartition(".")
        if part != section:
            section = part
            lines += ["", f"[{section}]"]
        lines += [f"# {explained(parameter)}", f"{leaf} = {_toml(get(study, parameter))}"]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """Write a value as TOML."""
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)

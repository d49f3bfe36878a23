"""The presets that come with the package, and studies from TOML files."""

from __future__ import annotations

import dataclasses
import importlib.resources
import tomllib
from pathlib import Path

from multiview.config import Study, from_mapping
from multiview.parameters import ConfigError


def load_toml(path: str | Path) -> Study:
    """Read a study from a TOML file; a `preset` key names the preset that it starts from.

    Raises:
        ConfigError: the file cannot be read or parsed, or a value in it is bad.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config = {str(path)!r} cannot be read: {error.__class__.__name__}") from None
    try:
        mapping = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"--config = {str(path)!r} is not valid TOML: {error}") from None
    name = mapping.pop("preset", "custom")
    return from_mapping(mapping, None if name == "custom" else load_preset(name))


def preset_names() -> list[str]:
    """The names of the presets that come with the package."""
    folder = importlib.resources.files("multiview") / "presets"
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml"))


def preset_text(name: str) -> str:
    """The TOML text of a preset.

    Raises:
        ConfigError: no preset has this name.
    """
    if name not in preset_names():
        raise ConfigError(f"preset = {name!r} is not allowed: it must be one of {', '.join(preset_names())}")
    return (importlib.resources.files("multiview") / "presets" / f"{name}.toml").read_text(encoding="utf-8")


def load_preset(name: str) -> Study:
    """The study of a preset, by name."""
    return dataclasses.replace(from_mapping(tomllib.loads(preset_text(name))), preset=name)

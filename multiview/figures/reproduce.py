"""The command that computes a store again."""

from __future__ import annotations

import shlex
from typing import Any

import xarray as xr

from multiview.config import all_fields, get
from multiview.figures.stored import Results, design_of, study_of
from multiview.presets import load_preset, preset_names


def command_of(results: Results) -> str:
    """Write the command that computes this store again, from the preset that it started from.

    Raises:
        ConfigError: the store's configuration or design is damaged.
    """
    study = study_of(results)
    preset = study.preset if study.preset in preset_names() else "reference"
    base = load_preset(preset)
    changed = {n: get(study, n) for n in all_fields() if n != "preset" and get(study, n) != get(base, n)}
    flags = [f"--{name.replace('_', '-')}={flag_value(value)}" for name, value in changed.items()]
    words = ["multiview", "train", "--preset", preset, *flags]
    if isinstance(results, xr.Dataset):
        words[1] = "sweep"
        design = design_of(results)
        over: list[list[str]] = []
        zips: list[list[str]] = []
        for factor in design["factors"]:
            fields, rows = list(factor["fields"]), list(factor["rows"])
            axes = [f"{field}={','.join(_axis_word(row[i]) for row in rows)}" for i, field in enumerate(fields)]
            (over if len(axes) == 1 else zips).append(axes)
        words += ["--over", *(axis for axes in over for axis in axes)] if over else []
        for axes in zips:
            words += ["--zip", *axes]
        words += ["--with-students"] if design["students"] else []
    elif len(results.children) == 1:
        words.append("--no-distillation")
    return " ".join(shlex.quote(str(word)) for word in [*words, "--out", "again.zarr"])


def flag_value(value: Any) -> str:
    """Write a value of a parameter as the command line takes it."""
    return ",".join(map(repr, value)) if isinstance(value, tuple) else value if isinstance(value, str) else repr(value)


def _axis_word(value: Any) -> str:
    return f"[{','.join(map(repr, value))}]" if isinstance(value, list | tuple) else flag_value(value)

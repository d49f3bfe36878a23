"""Where numbers come from: versions, commit, device, settings."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import jax
import numpy as np

from multiview import __version__
from multiview.settings import compiler_settings, refuse_settings


def versions() -> dict[str, str]:
    """Collect the versions of what the numbers depend on."""
    import optax

    return {
        "multiview": __version__,
        "python": platform.python_version(),
        "jax": jax.__version__,
        "optax": optax.__version__,
        "numpy": np.__version__,
    }


def environment() -> dict[str, Any]:
    """Collect what numbers are computed with: versions, git commit, device, and settings of the compiler.

    Raises:
        ConfigError: a setting of JAX changes the numbers.
    """
    refuse_settings()
    return {
        "versions": versions(), "git_commit": git_commit(), "device": device_name(), "settings": compiler_settings()
    }  # fmt: skip


def git_commit() -> str:
    """Read the commit of the checkout that this package is imported from, or "" for an installed package."""
    root = Path(__file__).resolve().parents[2]
    try:
        git = root / ".git"
        if git.is_file():  # a worktree: gitdir: PATH
            git = Path(git.read_text(encoding="utf-8").partition(":")[2].strip())
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        common = git / "commondir"
        base = (git / common.read_text(encoding="utf-8").strip()).resolve() if common.exists() else git
        if (base / name).exists():
            return (base / name).read_text(encoding="utf-8").strip()
        packed = (base / "packed-refs").read_text(encoding="utf-8").splitlines()
        return next((line.split()[0] for line in packed if line.endswith(" " + name)), "")
    except OSError:
        return ""


def device_name() -> str:
    """Name the device that JAX computes on."""
    device = jax.devices()[0]
    return f"{len(jax.devices())} × {device.platform} ({device.device_kind})"

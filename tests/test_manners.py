"""A guest's manners: importing or calling the library changes nothing of its user's process (`manners` says what)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import multiview

pytestmark = pytest.mark.slow  # one process that uses everything: minutes
HERE = Path(__file__).parent
NAMES = [name for name in multiview.__all__ if name != "__version__"]
MORE = [
    "import", "stores", "a study in double precision", "a sweep in double precision", "a report", "a film",
    "a damaged store",
]  # fmt: skip


@pytest.fixture(scope="module")
def changed(once) -> dict[str, list[str]]:
    """By case, what changed in a fresh process."""
    return once("manners", run_everything)


def run_everything(folder: Path) -> dict[str, list[str]]:
    """Runs `manners` in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # what is compiled changes no manners
    environment["JAXTYPING_DISABLE"] = "1"  # beartype draws the items that it checks from `random`
    run = subprocess.run(
        [sys.executable, HERE / "manners.py", folder],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize("case", [*MORE, *NAMES])
def test_the_users_process_is_as_it_was(case, changed):
    assert changed[case] == []


def test_every_offence_is_seen(changed):
    """The tests above can fail."""
    seen = {name.removeprefix("offence: "): lines for name, lines in changed.items() if name.startswith("offence: ")}
    assert len(seen) > 20
    for name, lines in seen.items():
        assert any(line.startswith(name + ":") for line in lines), name

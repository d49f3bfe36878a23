"""Shared by the tests of sweeps: a sweep of twelve blocks that takes a second, and a server that starts it quickly.

The server imports everything once and forks for each command, so that a command that is killed at a random moment costs
its own time alone. No JAX backend exists before the fork.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import zarr

from multiview.config import Study, replace
from multiview.presets import load_preset

FIELDS = {
    "seeds": 3,
    "replicates": 2,
    "data.num_classes": 4,
    "data.num_patches": 8,
    "data.feature_sparsity": 2.0,
    "data.single_view_fraction": 0.1,
    "data.num_train": 40,
    "data.num_single_view_train": 8,
    "data.representation": "limit_single_view_noise",
    "data.num_test_multi_view": 100,
    "data.num_test_single_view": 100,
    "network.neurons_per_class": 4,
    "network.init_std": 0.02,
    "train.learning_rate": 8.0,
    "train.num_steps": 40,
    "train.num_records": 4,
}
OVER = ["train.num_steps=20,30,40", "seed=0,1"]  # neither changes a compiled program
BLOCKS = 12
HERE = Path(__file__).parent


def small() -> Study:
    """The study that the sweeps start from."""
    return replace(load_preset("smoke"), FIELDS)


def words(out: Path, over: list[str] = OVER, **fields: object) -> list[str]:
    """The command line of the sweep."""
    flags = [f"--{n.replace('_', '-')}={v}" for n, v in {**FIELDS, **fields}.items()]
    return ["sweep", "--preset=smoke", *flags, "--over", *over, "--out", str(out)]


def contents(store: Path) -> dict[str, bytes]:
    """Every array of a store, bit by bit."""
    group = zarr.open_group(store, mode="r")
    return {n: np.asarray(a[...]).tobytes() for n, a in group.arrays() if n != "reason"}


def events(store: Path) -> list[dict]:
    """The event log of a sweep."""
    path = store.with_name(store.name + ".events.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


_SERVER = """
import json, os, signal, sys, warnings
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
import runtime_types
runtime_types.install()
warnings.simplefilter("ignore")
import jax, multiview.commands.main, multiview.sweeps.runner, multiview.studies.study, multiview.stores.labelled
import xarray, zarr, rich.progress
for line in sys.stdin:
    job = json.loads(line)
    if "wait" in job:
        print(os.waitstatus_to_exitcode(os.waitpid(job["wait"], 0)[1]), flush=True)
        continue
    pid = os.fork()
    if pid == 0:
        file = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, 1); os.dup2(file, 2)
        status = multiview.commands.main.main(job["words"])
        sys.stdout.flush(); sys.stderr.flush()
        os._exit(status)
    print(pid, flush=True)
"""


class Server:
    """Starts commands in processes of their own, quickly."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": f"{HERE}:{HERE.parent}"},
        )  # fmt: skip

    def _ask(self, **job: object) -> int:
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def start(self, command: list[str], log: Path) -> int:
        """Start a command; its process id."""
        return self._ask(words=command, log=str(log))

    def wait(self, pid: int) -> int:
        """Exit status of a command; −9 if it was killed."""
        return self._ask(wait=pid)

    def close(self) -> None:
        """End the server."""
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


def wait_for(condition, seconds: float = 60.0) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def kill(pid: int, what: int = signal.SIGKILL) -> None:
    """Send a signal to a process that may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, what)

"""The share of the machine: what affinity, containers and limits leave is what is counted."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from multiview import machine
from multiview.sweeps.cost import seconds_for
from multiview.training import devices


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Files of a made-up system, by path."""
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)

    def write(**files: str) -> None:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return lambda files: write(**files)


def test_without_limits_all_that_affinity_leaves_is_counted(system):
    assert machine.processors() == 16
    system({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n", "sys/fs/cgroup/memory.max": "max\n"})
    assert machine.processors() == 16
    assert machine.memory_bytes() > 1e8


@pytest.mark.parametrize(("quota", "expected"), [("200000 100000", 2), ("250000 100000", 3), ("1000 100000", 1)])
def test_the_quota_of_a_group_around_this_one_counts(system, quota, expected):
    system({
        "proc/self/cgroup": "0::/job/step\n",
        "sys/fs/cgroup/job/step/cpu.max": "max 100000\n",
        "sys/fs/cgroup/job/cpu.max": f"{quota}\n",
        "sys/fs/cgroup/job/step/memory.max": "max\n",
        "sys/fs/cgroup/job/memory.max": "300000000\n",
    })  # fmt: skip
    assert machine.processors() == expected
    assert machine.memory_bytes() == 300_000_000


def test_older_control_groups_count(system):
    system({
        "proc/self/cgroup": "5:memory:/box\n3:cpu,cpuacct:/box\n1:name=systemd:/\n",
        "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": "400000\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "100000000\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    })  # fmt: skip
    assert machine.processors() == 4
    assert machine.memory_bytes() == 100_000_000


def test_a_system_that_does_not_say_is_given_a_guess(system, monkeypatch):
    monkeypatch.delattr(os, "sysconf")
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.processors() == 1
    assert machine.memory_bytes() > 0


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_affinity_and_a_limit_on_memory_count():
    code = (
        "import os, resource; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); "
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 33, 1 << 33)); "
        "from multiview.machine import *; print(processors(), memory_bytes() <= 1 << 33)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "True"]


def test_training_and_estimates_take_the_share(monkeypatch):
    monkeypatch.setattr(machine, "processors", lambda: 1)
    monkeypatch.setattr(machine, "memory_bytes", lambda: 1000)
    assert devices.memory_budget() == 500
    assert devices.blocks_in_flight(10, "") == devices.jax.local_device_count()
    one = seconds_for(1e9)
    monkeypatch.setattr(machine, "processors", lambda: 2)
    assert one == 2 * seconds_for(1e9)


def test_nothing_else_counts_the_machine():
    from pathlib import Path

    for path in Path(machine.__file__).parent.rglob("*.py"):
        if path.name != "machine.py":
            text = path.read_text(encoding="utf-8")
            assert not any(word in text for word in ("cpu_count", "sysconf", "sched_getaffinity")), path

"""Sweeps that never lose a run: killed, interrupted, out of disk, two writers, dead workers, damaged files."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import resource
import signal
import socket
import subprocess
import time
from collections import Counter

import numpy as np
import pytest
from sweeping import BLOCKS, Server, contents, events, kill, small, wait_for, words

import multiview
from multiview.parameters import ConfigError
from multiview.stores.lock import release_lock, take_lock
from multiview.stores.sweep_store import SweepStore
from multiview.sweeps.runner import WriteError

pytestmark = [pytest.mark.slow, pytest.mark.bits]
# Three points share their blocks, four times.
OVER = ["train.learning_rate=4,6,8", "seed=0,1"]
LONG = bool(os.environ.get("MULTIVIEW_LONG_TESTS"))


@pytest.fixture(scope="module")
def server():
    found = Server()
    yield found
    found.close()


@pytest.fixture(scope="module")
def whole(server, once):
    """The contents of a sweep that nothing disturbed."""

    def make(folder):
        pid = server.start(words(folder / "sweep.zarr", OVER), folder / "log")
        assert server.wait(pid) == 0, (folder / "log").read_text()
        return contents(folder / "sweep.zarr")

    return once("whole", make)


def blocks_computed(store):
    return Counter((e["point"], e["replicate"]) for e in events(store) if e["event"] == "block")


def wait_for_blocks(store, more):
    """Wait until so many more blocks are done, or all."""
    wanted = min(sum(blocks_computed(store).values()) + more, BLOCKS)
    wait_for(lambda: sum(blocks_computed(store).values()) >= wanted)


@pytest.mark.release
def test_killed_at_random_moments_every_point_is_there_once_and_bitwise_right(server, whole, tmp_path):
    kills = 50 if LONG else 6
    rng = np.random.default_rng(7)
    counted = found = 0
    while counted < kills:
        store = tmp_path / f"sweep-{found}.zarr"
        found += 1
        while True:
            pid = server.start(words(store, OVER), tmp_path / "log")
            if counted < kills:
                if rng.random() < 0.6:  # in the middle of blocks and of their writing
                    wait_for_blocks(store, int(rng.integers(0, 4)))
                    time.sleep(rng.uniform(0.0, 0.15))
                else:  # at any moment, before the store is there too
                    time.sleep(rng.uniform(0.0, 1.5))
                kill(pid)
            status = server.wait(pid)
            assert status in (0, -9), (tmp_path / "log").read_text()
            if status == 0:
                break
            counted += 1
        assert contents(store) == whole
        done = blocks_computed(store)
        assert set(done.values()) == {1}
        assert not list(store.rglob("*.partial"))
    print(f"{counted} kills over {found} sweeps")


@pytest.mark.parametrize(("what", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_sweep_within_seconds_and_says_how_to_continue(server, whole, tmp_path, what, status):
    store, log = tmp_path / "sweep.zarr", tmp_path / "log"
    # The last points would take minutes: the signal comes in the middle of their first stretch.
    slow = [*words(store, over=["train.num_steps=20,3000000"])]
    pid = server.start(slow, log)
    wait_for(lambda: len(blocks_computed(store)) == 2)
    time.sleep(0.3)
    begin = time.monotonic()
    kill(pid, what)
    assert server.wait(pid) == status
    assert time.monotonic() - begin < 5
    last = log.read_text().splitlines()[-1]
    assert "the same command continues" in last
    assert str(store) in last
    assert not store.with_name("sweep.zarr.lock").exists()
    assert events(store)[-1]["event"] == "interrupted"
    assert (SweepStore(store).done == 1).sum() == 2


@contextlib.contextmanager
def small_disk(folder, kind):
    """A disk that gets full after some blocks, and a function that makes room."""
    if kind == "tmpfs":
        folder.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False, capture_output=True
        )
        if mounted.returncode:
            pytest.skip("needs the right to mount")
        try:
            yield lambda event: None, lambda: subprocess.run(["mount", "-o", "remount,size=9m", folder], check=True)
        finally:
            subprocess.run(["umount", folder], check=True)
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(event):
        if event["event"] == "block":
            resource.setrlimit(resource.RLIMIT_FSIZE, (16, before[1]))

    def room():
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    folder.mkdir()
    try:
        yield fill, room
    finally:
        room()


@pytest.mark.parametrize("kind", ["tmpfs", "limit"])
def test_a_full_disk_is_one_clear_line_and_the_store_continues_when_there_is_room(kind, whole, tmp_path):
    with small_disk(tmp_path / "disk", kind) as (fill, room):
        store = tmp_path / "disk" / "sweep.zarr"
        with pytest.raises(WriteError, match=r"run the same command again") as error:
            multiview.run_sweep(small(), OVER, store, report=fill)
        assert len(str(error.value).splitlines()) == 1
        room()
        before = int((SweepStore(store).done == 1).sum())
        assert 0 < before < BLOCKS
        assert not store.with_name("sweep.zarr.lock").exists()
        assert multiview.run_sweep(small(), OVER, store).done == BLOCKS
        assert contents(store) == whole


class Disk:
    """What is on the disk for sure, by inode: contents of files, and names in folders, that were asked to reach it."""

    def __init__(self, root, monkeypatch):
        self.root, self.contents, self.names = root, {}, {}
        fsync = os.fsync

        def recorded(handle):
            self.settle(pathlib.Path(f"/proc/self/fd/{handle}").resolve())
            fsync(handle)

        monkeypatch.setattr(os, "fsync", recorded)
        monkeypatch.setattr(os, "sync", lambda: [self.settle(path) for path in [root, *root.rglob("*")]])

    def settle(self, path):
        """A file or folder as it is now is on the disk."""
        if path.is_dir():
            self.names[path.stat().st_ino] = {(p.name, p.stat().st_ino) for p in path.iterdir()}
        else:
            self.contents[path.stat().st_ino] = path.read_bytes()

    def cut_power(self, after, rng):
        """A copy of the tree as a power cut may leave it: what need not be there is whole, cut, zero or gone."""
        lost = self._copy(self.root, after, rng)
        lock = after / "sweep.zarr.lock"
        if lock.exists():
            with contextlib.suppress(ValueError):
                lock.write_text(json.dumps(json.loads(lock.read_text()) | {"boot": "before the power cut"}))
        return lost

    def _copy(self, source, target, rng):
        target.mkdir()
        known = self.names.get(source.stat().st_ino, set())
        lost = 0
        for path in source.iterdir():
            inode = path.stat().st_ino
            if (path.name, inode) not in known and rng.random() < 0.2:
                lost += 1
            elif path.is_dir():
                lost += self._copy(path, target / path.name, rng)
            else:
                content = path.read_bytes()
                if self.contents.get(inode) != content:
                    fate = rng.integers(5)
                    content = [content, content, b"", content[: len(content) // 2], bytes(len(content))][fate]
                    lost += fate > 1
                (target / path.name).write_bytes(content)
        return lost


@pytest.mark.release
def test_a_power_cut_that_loses_what_was_not_on_the_disk_yet_costs_no_result(whole, tmp_path, monkeypatch):
    before = tmp_path / "before"
    before.mkdir()
    disk = Disk(before, monkeypatch)
    rng = np.random.default_rng(5)
    afterwards, lost = [], []

    def cut(event):
        if event["event"] in ("start", "block", "end") and event.get("done") in (0, 4, 7, BLOCKS):
            afterwards.append(tmp_path / f"after-{len(afterwards)}")
            lost.append(disk.cut_power(afterwards[-1], rng))

    multiview.run_sweep(small(), OVER, before / "sweep.zarr", report=cut)
    afterwards.append(tmp_path / "after the end")
    assert disk.cut_power(afterwards[-1], rng) == 0
    assert len(afterwards) == 6
    assert min(lost[1:]) > 0
    for folder in afterwards:
        assert multiview.run_sweep(small(), OVER, folder / "sweep.zarr").done == BLOCKS
        assert contents(folder / "sweep.zarr") == whole


def test_a_second_writer_is_told_who_holds_the_store(tmp_path):
    lock = tmp_path / "a.zarr.lock"
    assert take_lock(lock) is False
    with pytest.raises(ConfigError, match=rf"a.zarr is being written by process {os.getpid()} on .* wait for it"):
        multiview.run_sweep(small(), OVER, tmp_path / "a.zarr")
    assert not (tmp_path / "a.zarr").exists()
    release_lock(lock)
    assert not lock.exists()


@pytest.mark.parametrize("how", ["gone", "another process with its number", "before the last boot", "requeued", "torn"])
def test_the_lock_of_a_dead_process_is_recognised(how, tmp_path, monkeypatch):
    lock = tmp_path / "a.zarr.lock"
    take_lock(lock)
    holder = json.loads(lock.read_text())
    if how == "gone":
        child = subprocess.Popen(["true"])
        child.wait()
        holder["pid"] = child.pid
    if how == "another process with its number":
        holder["start"] -= 1
    if how == "before the last boot":
        holder["boot"] = "another"
    if how == "requeued":
        monkeypatch.setenv("SLURM_JOB_ID", "5")
        monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
        holder |= {"host": "node1", "job": "5", "restart": "0"}
    lock.write_text("{" if how == "torn" else json.dumps(holder))
    assert take_lock(lock) is True
    assert json.loads(lock.read_text())["pid"] == os.getpid()
    release_lock(lock)


def test_the_lock_of_another_machine_is_respected_and_says_what_to_do(tmp_path):
    lock = tmp_path / "a.zarr.lock"
    take_lock(lock)
    holder = json.loads(lock.read_text()) | {"host": "elsewhere"}
    lock.write_text(json.dumps(holder))
    with pytest.raises(ConfigError, match=rf"on elsewhere since .*from {socket.gethostname()}; .*delete"):
        take_lock(lock)
    release_lock(lock)
    assert lock.exists()  # not ours


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=60) as found:
        yield found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.release
def test_two_workers_killed_cost_their_blocks_only(cluster, whole, tmp_path):
    from distributed import Client

    store = tmp_path / "sweep.zarr"
    with Client(cluster) as client:
        workers = list(client.run(os.getpid).values())

        def kill_one(event):
            if event["event"] == "block" and workers:
                kill(workers.pop())

        outcome = multiview.run_sweep(small(), OVER, store, cluster=client, report=kill_one)
    assert not workers
    assert (outcome.done, outcome.failed) == (BLOCKS, 0)
    assert contents(store) == whole
    assert set(blocks_computed(store).values()) == {1}


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_is_named_by_its_address_or_its_scheduler_file(cluster, whole, tmp_path):
    # What `dask scheduler --scheduler-file` leaves.
    (tmp_path / "scheduler.json").write_text(json.dumps({"type": "Scheduler", "address": cluster.scheduler_address}))
    for number, name in enumerate([cluster.scheduler_address, tmp_path / "scheduler.json"]):
        store = tmp_path / f"sweep-{number}.zarr"
        assert multiview.run_sweep(small(), OVER, store, cluster=name).done == BLOCKS
        assert contents(store) == whole

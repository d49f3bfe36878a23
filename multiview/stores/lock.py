"""One writer for a store: a lock file that names its holder, and recognises one that is dead.

The lock is also the store's dirty flag. It reaches the disk before the first block is written, and is taken away only
when all blocks have: whatever a power cut takes, a store that may have lost something has a lock.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from multiview.files import write_file
from multiview.parameters import ConfigError
from multiview.stores.beside import sidecar_path


def _start_time(pid: int) -> int | None:
    """Look up when a process of this machine started, in clock ticks since boot; None where that is unknown."""
    try:
        # The name, in brackets, may hold blanks; field 22 is the twentieth after it.
        return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _myself() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "start": _start_time(os.getpid()),
        "boot": _boot(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "job": os.environ.get("SLURM_JOB_ID", ""),
        "restart": os.environ.get("SLURM_RESTART_COUNT", "0"),
    }


def _alive(holder: dict[str, Any]) -> bool | None:
    """Look up whether the holder lives; None for a process of another machine, which cannot be seen from here."""
    me = _myself()
    if me["job"] and holder.get("job") == me["job"] and holder.get("restart") != me["restart"]:
        return False  # the batch system started this job again, so its earlier run is over
    if holder.get("host") != me["host"]:
        return None
    pid = holder.get("pid")
    if holder.get("boot") != me["boot"] or not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it lives and is somebody else's
    return holder.get("start") is None or _start_time(pid) == holder["start"]


def _read(path: Path) -> dict[str, Any] | None:
    """Who holds the lock; None if the file is not there; an empty mapping if it is unreadable."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


@contextlib.contextmanager
def _guard(path: Path) -> Iterator[None]:
    """Hold the system's own lock on a file beside the lock, so that two processes never take over at once."""
    try:
        import fcntl
    except ImportError:  # no such locks here: the window of a race is a few microseconds
        yield
        return
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems have none
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def take_lock(path: Path) -> bool:
    """Take the lock of a store for this process.

    Args:
        path: the lock file.

    Returns:
        Whether a dead process had left its lock, so that the store may hold damage from its end.

    Raises:
        ConfigError: it is held; the line says by whom and what to do.
    """
    me = _myself()
    with _guard(path):
        holder = _read(path)
        if holder is not None:
            state = _alive(holder) if holder else False
            if state is not False:
                who = f"process {holder.get('pid')} on {holder.get('host')} since {holder.get('since')}"
                advice = (
                    "wait for it, or stop it"
                    if state
                    else f"whether it lives cannot be seen from {me['host']}; if it does not, delete {path}"
                )
                raise ConfigError(f"{path.name.removesuffix('.lock')} is being written by {who}: {advice}")
        try:
            write_file(
                path, lambda new: new.write_text(json.dumps(me) + "\n", encoding="utf-8"), durable=True, keep=False
            )
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from None
    return holder is not None


@contextlib.contextmanager
def reserved(path: Path) -> Iterator[None]:
    """Hold the lock of an output that is written whole when its numbers are there, so that nobody begins it meanwhile.

    Args:
        path: the output; its lock stands beside it.

    Raises:
        ConfigError: it is held; the line says by whom and what to do.
    """
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = sidecar_path(path, ".lock")
    take_lock(lock)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink(missing_ok=True)
            for folder in made:  # in which nothing came to be
                folder.rmdir()


def release_lock(path: Path, seconds: float | None = None) -> None:
    """Give the lock back, if it is this process's own, once everything written is on the disk.

    Args:
        path: the lock file.
        seconds: how long the system may take for that, None for ever. After that the lock stays, and the next writer
            will look for damage.
    """
    if not _all_on_disk(seconds):
        return
    with contextlib.suppress(OSError), _guard(path):
        holder = _read(path) or {}
        if (holder.get("pid"), holder.get("host")) == (os.getpid(), socket.gethostname()):
            path.unlink(missing_ok=True)


def _all_on_disk(seconds: float | None) -> bool:
    """Let the system write all that it holds back: one call, where each file of each block would need its own."""
    sync = threading.Thread(target=getattr(os, "sync", lambda: None), daemon=True)
    sync.start()
    sync.join(seconds)
    return not sync.is_alive()

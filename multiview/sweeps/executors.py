"""Executors of blocks: a thread of this process, or the workers of a Dask cluster."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from multiview import machine
from multiview.parameters import ConfigError
from multiview.sweeps.block import Abandoned, Result, run_blocks
from multiview.sweeps.plan import Block


class Work(NamedTuple):
    """Blocks of one replicate to compute together, with their studies as JSON text."""

    blocks: tuple[Block, ...]
    texts: tuple[str, ...]

    def one_by_one(self) -> list[Work]:
        """Split the unit into units of one block."""
        return [Work((block,), (text,)) for block, text in zip(self.blocks, self.texts, strict=True)]


Computed = tuple[Block, Result]


def compute_here(work: Iterable[Work], students: bool) -> Generator[Computed]:
    """Compute blocks in a thread, unit after unit, so that the caller can write and receive signals meanwhile.

    Closing the generator abandons the current unit before its next stretch of steps.

    Args:
        work: the units, in order.
        students: whether to train students too.

    Yields:
        Each block with its result.
    """
    stop = threading.Event()
    # One finished unit may wait for the writer while the next is computed.
    finished: queue.Queue[list[Computed] | BaseException | None] = queue.Queue(maxsize=1)

    def put(item: list[Computed] | BaseException | None) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                return finished.put(item, timeout=0.2)

    def loop() -> None:
        try:
            for blocks, texts in work:
                put(list(zip(blocks, run_blocks(texts, blocks[0].replicate, students, stop), strict=True)))
                if stop.is_set():
                    return
            put(None)
        except Abandoned:
            pass
        except BaseException as error:  # passed on to the caller
            put(error)

    thread = threading.Thread(target=loop, name="multiview-sweep", daemon=True)
    thread.start()
    try:
        while (item := finished.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield from item
    finally:
        stop.set()
        thread.join(timeout=1)


def check_cluster(cluster: Any) -> None:
    """Refuse a cluster name that has no known form, before any work starts.

    Raises:
        ConfigError: Dask is missing, or the name is neither `dask`, `dask:N`, an address nor a scheduler file.
    """
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise ConfigError("--cluster needs Dask: pip install 'multiview-theory[cluster]'") from None
    if not isinstance(cluster, str | Path):
        return
    word = str(cluster)
    kind, _, count = word.partition(":")
    if kind == "dask" and (not count or (count.isascii() and count.isdigit() and 0 < int(count) < 10**4)):
        return
    if "://" in word or Path(word).is_file():
        return
    raise ConfigError(
        f"--cluster = {word!r} is not allowed: it must be dask, dask:WORKERS, an address such as tcp://host:8786, "
        "or a Dask scheduler file that is there"
    )


@contextlib.contextmanager
def connect(cluster: Any) -> Generator[Any]:
    """Connect to a cluster, inside a `with` block.

    Args:
        cluster: a name (see `check_cluster`), or a Dask client or cluster object.

    Yields:
        The Dask client.

    Raises:
        ConfigError: the cluster cannot be reached.
    """
    import logging

    from distributed import Client, LocalCluster

    own: Any = None
    word = str(cluster)
    try:
        if isinstance(cluster, Client):
            yield cluster
            return
        if not isinstance(cluster, str | Path):
            client = Client(cluster)
        elif word.partition(":")[0] == "dask":
            # Each worker uses several cores by itself.
            count = int(word.partition(":")[2] or max(1, machine.processors() // 2))
            own = LocalCluster(
                n_workers=count, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
            )
            client = Client(own)
        elif "://" in word:
            client = Client(word, timeout=20)
        else:
            client = Client(scheduler_file=word, timeout=20)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"--cluster = {word!r} cannot be reached: {' '.join(str(error).split())[:120]}") from None
    try:
        yield client
    finally:
        with contextlib.suppress(Exception):
            client.close(timeout=2)
        if own is not None:
            with contextlib.suppress(Exception):
                own.close(timeout=5)


def compute_on_cluster(work: Iterable[Work], students: bool, client: Any) -> Generator[Computed]:
    """Compute blocks on a Dask cluster, in whatever order they finish.

    Plain JSON goes to the workers and arrays come back. When a worker dies, Dask gives its unit to another worker. If a
    unit kills several workers in a row, its blocks are tried one by one; a block that kills several workers by itself
    is recorded as failed.

    Args:
        work: the units.
        students: whether to train students too.
        client: a Dask client, from `connect`.

    Yields:
        Each block with its result.

    Raises:
        ConfigError: the connection to the cluster was lost.
    """
    from distributed import as_completed

    waiting = iter(work)
    retries: list[Work] = []
    units: dict[Any, Work] = {}
    finished = as_completed()

    def submit() -> bool:
        unit = retries.pop() if retries else next(waiting, None)
        if unit is None:
            return False
        future = client.submit(run_blocks, unit.texts, unit.blocks[0].replicate, students, pure=False)
        units[future] = unit
        finished.add(future)
        return True

    def room() -> int:
        # Two units for each worker, one running and one waiting. Workers may come and go.
        return max(2, 2 * len(client.scheduler_info(n_workers=-1)["workers"])) - len(units)

    try:
        while room() > 0 and submit():
            pass
        for future in finished:
            unit = units.pop(future)
            error = future.exception()
            if error is None:
                yield from zip(unit.blocks, future.result(), strict=True)
            elif len(unit.blocks) > 1 and _worker_reason(error):
                retries += unit.one_by_one()
            else:
                yield unit.blocks[0], Result({}, _worker_reason(error), 0.0)
            while room() > 0 and submit():
                pass
    finally:
        with contextlib.suppress(Exception):
            client.cancel(list(units), force=True)


def _worker_reason(error: BaseException) -> str:
    name = error.__class__.__name__
    if name == "KilledWorker":
        return "worker died: the block was lost with several workers in a row (out of memory?)"
    if name in ("CancelledError", "FutureCancelledError", "CommClosedError"):
        raise ConfigError("--cluster: the cluster went away; run the same command again to continue") from None
    return f"{name}: {' '.join(str(error).split())[:160]}"

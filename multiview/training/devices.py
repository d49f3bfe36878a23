"""Devices and processes that train networks, and the memory that training may take.

Networks exchange nothing while they train. So blocks of networks are distributed, block b to process b mod P and in
each process to one device after the other, and only finished results are gathered. A network's numbers depend on its
block alone, hence neither on the number of devices nor on the number of processes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np

from multiview import machine
from multiview.parameters import ConfigError
from multiview.settings import own_settings
from multiview.words import format_bytes


class Resources(NamedTuple):
    """Limits of what training may use.

    Attributes:
        devices: number of local devices; None for all.
        memory: bytes on each device; None for the device's own limit.
    """

    devices: int | None = None
    memory: int | None = None


_resources = Resources()


@contextlib.contextmanager
def using(devices: int | None = None, memory: int | None = None) -> Iterator[None]:
    """Train on the first `devices` local devices within `memory` bytes, inside a `with` block.

    Args:
        devices: number of local devices; None for all.
        memory: bytes on each device; None for the device's own limit.

    Raises:
        ConfigError: there are fewer devices.
    """
    global _resources
    present = jax.local_device_count()
    if devices is not None and not 1 <= devices <= present:
        raise ConfigError(f"--devices = {devices} is not allowed: it must be 1 … {present}, as many as there are here")
    before, _resources = _resources, Resources(devices, memory)
    try:
        yield
    finally:
        _resources = before


def training_devices() -> list[jax.Device]:
    """Return the local devices that train blocks."""
    return jax.local_devices()[: _resources.devices]


def memory_budget() -> int:
    """Return the bytes that the blocks in flight may take together on one device.

    The number is that of `using` if it was called with one. Otherwise it is four fifths of the memory that an
    accelerator's allocator has, and on the CPU half of this process's share of the memory.
    """
    if _resources.memory is not None:
        return _resources.memory
    limit = (training_devices()[0].memory_stats() or {}).get("bytes_limit")
    if limit:
        return int(0.8 * limit)
    return machine.memory_bytes() // 2


def blocks_in_flight(block_bytes: int, advice: str) -> int:
    """Return how many blocks are trained at the same time.

    On the CPU it is one block for each core, or as many as fit the memory; on accelerators one block for each device.

    Args:
        block_bytes: predicted peak memory of one block, in bytes.
        advice: what a user can do if not a single block fits.

    Returns:
        Number of blocks, at least 1.

    Raises:
        ConfigError: not a single block fits the memory.
    """
    budget, devices = memory_budget(), len(training_devices())
    if block_bytes > budget:
        raise ConfigError(
            f"--memory = {format_bytes(budget)} is not allowed: one block of networks takes about "
            f"{format_bytes(block_bytes)}; {advice}"
        )
    if jax.default_backend() != "cpu":
        return devices
    return max(1, min(max(machine.processors(), devices), budget // max(block_bytes, 1)))


def over_blocks(count: int, size: int, in_flight: int, work: Callable[[np.ndarray, int, jax.Device], Any]) -> Any:
    """Distribute blocks of `size` networks over processes and devices, and collect the results.

    Args:
        count: number of networks.
        size: networks in a block; the last block repeats its last network until it is full.
        in_flight: blocks that this process trains at the same time.
        work: function from the indices of a block's networks [size], the number of networks that are no repeats, and a
            device, to a pytree of arrays with leading axis `size`.

    Returns:
        The pytree of NumPy arrays with leading axis `count`; the same in every process.
    """
    processes, rank, devices = jax.process_count(), jax.process_index(), training_devices()
    blocks = -(-count // size)
    share = -(-blocks // processes)
    dtype = "float64" if jax.enable_x64.value else "float32"  # worker threads do not inherit this thread's context

    def run_turn(turn: int) -> Any:
        block = min(rank + turn * processes, blocks - 1)  # a process without a block of its own repeats the last
        indices = np.minimum(np.arange(block * size, (block + 1) * size), count - 1)
        real = min(size, count - block * size) if rank + turn * processes < blocks else 0
        device = devices[turn % len(devices)]
        with own_settings(dtype), jax.default_device(device):
            return jax.tree.map(np.asarray, work(indices, real, device))

    with ThreadPoolExecutor(in_flight) as pool:
        results = list(pool.map(run_turn, range(share)))
    if processes == 1:
        return jax.tree.map(lambda *a: np.concatenate(a)[:count], *results)
    from jax.experimental.multihost_utils import process_allgather

    stacked = jax.tree.map(lambda *a: np.stack(a), *results)
    gathered = process_allgather(stacked)  # [process, turn, size, …]
    return jax.tree.map(lambda a: _in_block_order(a, size)[:count], gathered)


def _in_block_order(gathered: Any, size: int) -> np.ndarray:
    by_turn = np.swapaxes(np.asarray(gathered), 0, 1)
    return by_turn.reshape(-1, *by_turn.shape[3:])

"""Processes of one distributed job: how they join, and the check that all run the same configuration."""

from __future__ import annotations

import socket
import time

import jax
import numpy as np

from multiview.parameters import ConfigError


def start_distributed(coordinator: str | None, rank: int | None, processes: int | None, timeout: float) -> None:
    """Join the other processes of a job; without an address, a job of Slurm, Open MPI and others is recognised.

    Args:
        coordinator: host:port of process 0.
        rank: number of this process, from 0.
        processes: number of processes.
        timeout: seconds to wait for the other processes.

    Raises:
        ConfigError: only some of the first three arguments, no recognised job, or a coordinator that does not answer.
    """
    present = [x is not None for x in (coordinator, rank, processes)]
    if any(present) and not all(present):
        raise ConfigError("--coordinator, --rank and --processes belong together: give all three, or none of them")
    if coordinator is not None:
        host, separator, port = coordinator.rpartition(":")
        if not separator or not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ConfigError(f"--coordinator = {coordinator!r} is not allowed: it must be host:port")
        if rank is None or processes is None or not 0 <= rank < processes:
            raise ConfigError(
                f"--rank = {rank} is not allowed: it must be at least 0 and below --processes = {processes}"
            )
        if rank > 0:
            _wait_for(host, int(port), timeout)
    try:
        jax.distributed.initialize(coordinator, processes, rank, initialization_timeout=int(timeout))
    except (ValueError, RuntimeError) as error:
        if coordinator is None:
            raise ConfigError(
                "--distributed: no job of several processes is recognised here; give --coordinator, --rank and "
                "--processes"
            ) from None
        reason = str(error).splitlines()[0][:100]
        raise ConfigError(f"--coordinator = {coordinator!r}: not all processes joined ({reason})") from None


def _wait_for(host: str, port: int, timeout: float) -> None:
    """Wait until a coordinator listens; JAX's own time-out would end the process without a clear message."""
    end = time.monotonic() + timeout
    while True:
        try:
            with socket.create_connection((host, port), timeout=1):
                return
        except OSError as error:
            if time.monotonic() > end:
                raise ConfigError(
                    f"--coordinator = {host}:{port} did not answer within {timeout:g} s ({error.strerror or error})"
                ) from None
            time.sleep(0.2)


def check_agreement(run_id: str) -> None:
    """Refuse to start if the processes run different configurations.

    Args:
        run_id: hash of this process's configuration (`Study.run_id`).

    Raises:
        ConfigError: the configurations differ; every process raises it.
    """
    if jax.process_count() == 1:
        return
    from jax.experimental.multihost_utils import process_allgather

    code = np.frombuffer(run_id.encode()[:12].ljust(12), np.uint8).astype(np.int32)
    run_ids = [bytes(row.astype(np.uint8)).decode().strip() for row in np.asarray(process_allgather(code))]
    if len(set(run_ids)) > 1:
        raise ConfigError(f"--distributed: the processes disagree on the configuration (runs {', '.join(run_ids)})")

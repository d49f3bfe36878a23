"""What the machine can do, measured in the same run: the rate of matrix products, and the memory bandwidth."""

from __future__ import annotations

import datetime
import importlib.util
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from multiview.stores.provenance import device_name, versions


def best_seconds(function: Callable[[], Any], repeats: int) -> float:
    """Shortest time of several calls, after one that does not count."""
    function()
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def matrix_product_rates(size: int, repeats: int = 5) -> dict[str, float]:
    """GFLOP/s of a product of two single-precision matrices, 2·size³ operations, by library; all cores.

    On an accelerator in full single precision, as the rows compute (`train.matrix_precision` "highest"): what it makes
    of float32 by itself has fewer digits and is several times faster (`precision_rates`).
    """
    a, b = np.random.default_rng(0).standard_normal((2, size, size), np.float32)
    on_device = jnp.asarray(a), jnp.asarray(b)
    product = jax.jit(jnp.matmul)

    def jax_product() -> None:
        with jax.default_matmul_precision("highest"):
            product(*on_device).block_until_ready()

    calls: dict[str, Callable[[], Any]] = {"jax": jax_product}
    if jax.default_backend() == "cpu":
        calls["numpy"] = lambda: a @ b
        if importlib.util.find_spec("torch"):
            import torch

            tensors = torch.from_numpy(a), torch.from_numpy(b)
            calls["torch"] = lambda: tensors[0] @ tensors[1]
    return {name: 2 * size**3 / best_seconds(call, repeats) / 1e9 for name, call in calls.items()}


def precision_rates(size: int, repeats: int = 5) -> dict[str, dict[str, float]]:
    """Of each named matrix precision: GFLOP/s of the same product, and its error relative to the largest entry."""
    a, b = np.random.default_rng(0).standard_normal((2, size, size), np.float32)
    on_device = jnp.asarray(a), jnp.asarray(b)
    rows = a[:8].astype(float) @ b.astype(float)
    found = {}
    for name in ("default", "high", "highest"):
        product = jax.jit(lambda x, y, name=name: jnp.matmul(x, y, precision=name))
        seconds = best_seconds(lambda product=product: product(*on_device).block_until_ready(), repeats)
        error = np.abs(np.asarray(product(*on_device))[:8] - rows).max() / np.abs(rows).max()
        found[name] = {"gflops": round(2 * size**3 / seconds / 1e9, 1), "relative_error": float(f"{error:.2g}")}
    return found


def memory_bandwidths(numbers: int, repeats: int = 5) -> dict[str, float]:
    """GB/s of the triad a = b + s·c on single-precision arrays much larger than the caches, by library."""
    b, c = jnp.ones(numbers), jnp.ones(numbers)
    triad = jax.jit(lambda a, b, c: b + 3.0 * c, donate_argnums=0)
    a = jnp.zeros(numbers)

    def jax_triad() -> None:
        nonlocal a
        a = triad(a, b, c).block_until_ready()

    calls: dict[str, Callable[[], Any]] = {"jax": jax_triad}
    if jax.default_backend() == "cpu":
        calls["numpy"] = threaded_triad(numbers)
        if importlib.util.find_spec("torch"):
            import torch

            x, y, out = torch.ones(numbers), torch.ones(numbers), torch.zeros(numbers)
            calls["torch"] = lambda: torch.add(x, y, alpha=3.0, out=out)
    return {name: 3 * 4 * numbers / best_seconds(call, repeats) / 1e9 for name, call in calls.items()}


def threaded_triad(numbers: int) -> Callable[[], Any]:
    """The triad in NumPy: one thread a core, in pieces that stay in the cache between its two passes."""
    a, b, c = np.zeros(numbers, np.float32), np.ones(numbers, np.float32), np.ones(numbers, np.float32)
    piece, threads = 1 << 14, os.cpu_count() or 1

    def work(thread: int) -> None:
        for begin in range(thread * numbers // threads, (thread + 1) * numbers // threads, piece):
            here = slice(begin, min(begin + piece, (thread + 1) * numbers // threads))
            np.multiply(c[here], np.float32(3.0), out=a[here])
            np.add(a[here], b[here], out=a[here])

    def call() -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(threads)))

    return call


def rates() -> dict[str, dict[str, float]]:
    """Both measurements, at sizes that suit the device."""
    on_cpu = jax.default_backend() == "cpu"
    return {
        "matrix_product_gflops": matrix_product_rates(2048 if on_cpu else 8192),
        "memory_gbytes_per_s": memory_bandwidths(1 << (25 if on_cpu else 28)),
    }


def best_of(measured: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """The best of several measurements, taken before, between and after the rows: others may use the machine too."""
    return {
        kind: {name: float(f"{max(m[kind][name] for m in measured):.4g}") for name in measured[0][kind]}
        for kind in measured[0]
    }


def cpu_name() -> str:
    """The processor's own name for itself, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    return next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "unknown")


def describe() -> dict[str, Any]:
    """Date, processor, device and versions."""
    found = versions()
    if importlib.util.find_spec("torch"):
        import torch

        found["torch"] = torch.__version__
    return {
        "date": datetime.date.today().isoformat(),
        "processor": cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "device": device_name(),
        "versions": found,
    }

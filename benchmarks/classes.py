"""Cost of a step against the number of classes: steps of all pairs beside multirate steps, of one core, in one run.

Both train one network at a time on labels, from the same start, at sizes as the theory wants them: 20 multi-view
samples a class, and a smaller start the more classes there are. Multirate steps are timed over a whole training,
borders of blocks included; a step of all pairs costs the same at any time, so a few suffice. Numbers are processor
time, medians over turns in which both are timed. Beside them stand operations and bytes of one step, as the compiler
counts them, and their share of the machine's rates.
"""

from __future__ import annotations

import os
import statistics
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import machine
from benchmarks.report import say
from multiview import streams
from multiview.config import Study, replace
from multiview.multirate.live import constants, live_step
from multiview.multirate.training import problem_of
from multiview.network.outputs import logits
from multiview.presets import load_preset
from multiview.systems import blocks, network
from multiview.training.losses import cross_entropy_logit_gradient
from multiview.world.task import Task
from multiview.world.world import World

# k, neurons m of a class, single-view samples, σ₀, steps until every training sample is right.
SIZES = ((28, 24, 20, 2e-3, 800), (50, 20, 30, 1e-3, 2000), (100, 18, 50, 3e-4, 6000), (200, 16, 100, 2e-4, 8000))
QUICK = ((6, 4, 6, 2e-3, 60), (10, 4, 10, 2e-3, 60))


def study_of(k: int, m: int, singles: int, init_std: float, steps: int) -> Study:
    """A study of k classes with traces of 0.3."""
    return replace(load_preset("reference"), {
        "data.num_classes": k, "data.num_train": 20 * k + singles, "data.num_single_view_train": singles,
        "data.num_patches": 21, "data.foreign_strength": (0.28, 0.3), "data.single_view_fraction": 0.01,
        "data.single_view_foreign_strength": 0.3, "network.neurons_per_class": m, "network.init_std": init_std,
        "train.learning_rate": float(k), "train.num_steps": steps, "train.solver": "multirate",
    })  # fmt: skip


class Timed(NamedTuple):
    """One way to train: its programs, the starts of its networks, and the number of steps that are timed."""

    task: Task
    settings: Any
    sizes: Any
    keys: jax.Array
    steps: int

    def begun(self) -> Any:
        """The state before the first step, with all programs compiled."""
        state = network.SYSTEM.start(self.keys, None, self.task, self.settings, self.sizes)
        return self._advanced(state, 0)

    def trained(self, state: Any) -> Any:
        """The state after all steps."""
        return self._advanced(state, self.steps)

    def _advanced(self, state: Any, to: int) -> Any:
        zero, end = jnp.int32(0), jnp.int32(to)
        advance = network.SYSTEM.advance
        return jax.block_until_ready(advance(state, zero, end, end, self.task, None, self.settings, self.sizes))

    def milliseconds(self) -> tuple[float, Any]:
        """Processor time of a step, and the state at the end."""
        state = self.begun()
        begin = time.process_time()
        state = self.trained(state)
        return 1e3 * (time.process_time() - begin) / self.steps, state


def timed(study: Study, steps: int, networks: int = 1) -> Timed:
    """Prepare a block of networks of a study."""
    task = World.of(study).tasks(with_pairs=study.train.solver == "multirate")[0]
    settings = blocks.settings_of([study] * networks, network.SYSTEM)
    keys = blocks.start_keys(study, streams.START, 0, range(networks))
    return Timed(task, settings, blocks.sizes_of(study, task), keys, steps)


def cost_of_a_step(study: Study) -> dict[str, dict[str, float]]:
    """Operations and bytes of one step of each kind, as the compiler counts them; loops over neurons count once."""
    one = timed(study, 1)
    state = network.SYSTEM.start(one.keys, None, one.task, one.settings, one.sizes)
    state = jax.tree.map(lambda a: a[0], state)

    def fast(s: Any, task: Task) -> Any:
        problem = problem_of(task, None, study.network, study.train, None)
        return live_step(s.live, s.pushes, s.border, constants(s.border, problem), problem, jnp.zeros(()))

    plain = timed(replace(study, {"train.solver": "gradient_descent"}), 1)
    begun = network.SYSTEM.start(plain.keys, None, plain.task, plain.settings, plain.sizes)
    parameters = jax.tree.map(lambda a: a[0], begun.parameters)

    def all_pairs(p: Any, task: Task) -> Any:
        outputs, pull_back = jax.vjp(lambda q: logits(q, task.patches, study.network), p)
        return pull_back(cross_entropy_logit_gradient(outputs, task.data.labels, task.data.weights))

    found = {}
    rows = (("all_pairs", all_pairs, parameters, plain.task), ("fast", fast, state, one.task))
    for name, function, argument, task in rows:
        counted = jax.jit(function).lower(argument, task).compile().cost_analysis()
        found[name] = {"operations": float(counted["flops"]), "bytes": float(counted["bytes accessed"])}
    return found


def measure(quick: bool = False, turns: int = 3) -> dict[str, Any]:
    """Time both steps at every size.

    Args:
        quick: whether to time tiny sizes, to see that all runs.
        turns: number of turns.

    Returns:
        The document, ready for JSON.
    """
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    if cores:
        os.sched_setaffinity(0, {min(cores)})
    try:
        return _measure(QUICK if quick else SIZES, 2 if quick else turns)
    finally:
        if cores:
            os.sched_setaffinity(0, cores)


def _measure(sizes: tuple[tuple[int, int, int, float, int], ...], turns: int) -> dict[str, Any]:
    rates = [machine.rates()]
    results = []
    for k, m, singles, init_std, steps in sizes:
        study = study_of(k, m, singles, init_std, steps)
        few = max(3, min(steps, 4_000_000 // k**3))
        rows = {
            "all_pairs": timed(replace(study, {"train.solver": "gradient_descent"}), few),
            "fast": timed(study, steps),
        }
        samples: dict[str, list[float]] = {name: [] for name in rows}
        ended = None
        for _ in range(turns):
            for name, row in rows.items():
                milliseconds, state = row.milliseconds()
                samples[name].append(milliseconds)
                ended = state if name == "fast" else ended
        counted = cost_of_a_step(study)
        for name, values in samples.items():
            line: dict[str, Any] = {
                "name": name, "k": k, "m": m, "samples": study.data.num_train, "steps": rows[name].steps,
                "ms_per_network_step": float(f"{statistics.median(values):.4g}"),
                "turns": [float(f"{v:.4g}") for v in values], **counted[name],
            }  # fmt: skip
            if name == "fast" and ended is not None:
                line["all_pairs_steps"] = int(ended.all_pairs_steps[0])
            results.append(line)
            say(f"{name} at k = {k}: {line['ms_per_network_step']} ms")
        rates.append(machine.rates())
    best = machine.best_of(rates)
    by_name = {n: [r for r in results if r["name"] == n] for n in ("all_pairs", "fast")}
    exponents = {}
    for name, rows_of_name in by_name.items():
        k, cost = (np.log([row[key] for row in rows_of_name]) for key in ("k", "ms_per_network_step"))
        exponents[name] = round(float(np.polyfit(k, cost, 1)[0]), 2)
    peak = max(best["matrix_product_gflops"].values()), max(best["memory_gbytes_per_s"].values())
    for row in results:
        seconds = row["ms_per_network_step"] / 1e3
        row["share_of_operations"] = float(f"{row['operations'] / seconds / 1e9 / peak[0]:.3g}")
        row["share_of_bandwidth"] = float(f"{row['bytes'] / seconds / 1e9 / peak[1]:.3g}")
    ratios = {
        str(slow["k"]): round(slow["ms_per_network_step"] / fast["ms_per_network_step"], 1)
        for slow, fast in zip(by_name["all_pairs"], by_name["fast"], strict=True)
    }
    return {"machine": machine.describe() | best, "results": results, "exponents": exponents, "ratios": ratios}

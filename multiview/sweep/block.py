"""Computing one block of a sweep: plain JSON in, arrays out, in this process or in a worker anywhere."""

from __future__ import annotations

import functools
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from multiview.config import Study, from_mapping, to_mapping
from multiview.sweep.plan import ROW_MULTIPLE


class Abandoned(Exception):
    """Raised inside a block that nobody waits for any more."""


@functools.lru_cache(maxsize=1)
def _tasks(text: str) -> tuple[list[Any], Any]:
    """Training samples of every replicate and the features of a study; the replicates of a point run in a row."""
    from multiview.study import study_features, training_tasks

    study = from_mapping(json.loads(text))
    return training_tasks(study, row_multiple=ROW_MULTIPLE), study_features(study)


def as_text(study: Study) -> str:
    """A study as JSON text, which is what travels to workers."""
    return json.dumps(to_mapping(study))


def run_block(
    text: str, replicate: int, students: bool, stop: threading.Event | None = None
) -> tuple[dict[str, np.ndarray], str, float]:
    """Train and measure one replicate of one study.

    Args:
        text: the study, of `as_text`.
        replicate: its number.
        students: whether to train students too.
        stop: when set, the block is abandoned at its next stretch of steps.

    Returns:
        The arrays of `results.sweep_values`, the reason why the block failed, or "", and the seconds it took.

    Raises:
        Abandoned: `stop` was set.
    """
    begin = time.perf_counter()
    import jax

    from multiview.results import sweep_values
    from multiview.study import collect, run_replicate

    study = from_mapping(json.loads(text))
    # Of the whole process, because worker threads do not inherit a context.
    if jax.config.read("jax_enable_x64") != (study.train.dtype == "float64"):
        jax.config.update("jax_enable_x64", study.train.dtype == "float64")

    def telling(what: str, number: int) -> Callable[[int], None]:
        def progress(steps: int) -> None:
            if stop is not None and stop.is_set():
                raise Abandoned

        progress(0)
        return progress

    try:
        tasks, features = _tasks(text)
        measured = run_replicate(study, replicate, tasks[replicate], telling, features=features, distillation=students)
        result = collect(study, [measured], features, 0.0)
    except Abandoned:
        raise
    except Exception as error:  # out of memory, a shape that the compiler refuses: the rest of the sweep goes on
        return {}, _reason(error), time.perf_counter() - begin
    broken = {name: int((~group.finite).sum()) for name, group in result.groups.items()}
    told = [f"{n} of {result.groups[name].finite.size} {name} networks" for name, n in broken.items() if n]
    reason = f"non-finite: {', '.join(told)}" if told else ""
    return sweep_values(result), reason, time.perf_counter() - begin


def _reason(error: BaseException) -> str:
    """One short line for what went wrong."""
    word = str(error)
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in word or "out of memory" in word.lower():
        return f"out of memory: {' '.join(word.split())[:160]}"
    return f"{error.__class__.__name__}: {' '.join(word.split())[:160]}"

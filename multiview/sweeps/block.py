"""Computing blocks of a sweep: plain JSON in, arrays out, in this process or in a worker anywhere."""

from __future__ import annotations

import functools
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from multiview.config import Study, from_mapping, get, replace, to_mapping
from multiview.sweeps.plan import ROW_MULTIPLE

if TYPE_CHECKING:
    from multiview.studies.outcome import StudyResult


class Abandoned(Exception):
    """Raised inside a block that nobody waits for any more."""


@functools.lru_cache(maxsize=1)
def _world(study: Study) -> tuple[Any, list[Any]]:
    """The world of a study and the training samples of every replicate; those who share them are computed in a row."""
    from multiview.studies.study import training_tasks
    from multiview.world.world import World

    world = World.of(study)
    return world, training_tasks(study, world, ROW_MULTIPLE)


def _world_of(study: Study) -> Study:
    """What of a study its training samples depend on; the rest is at its defaults."""
    names = ("seed", "replicates", "train.dtype", "train.mixup", "train.dropped_patches")
    return replace(Study(data=study.data), {name: get(study, name) for name in names})


def as_text(study: Study) -> str:
    """A study as JSON text, which is what travels to workers."""
    return json.dumps(to_mapping(study))


def places() -> tuple[int, int]:
    """Networks in a block of the compiled program where `train.block_size` is 0, and blocks in flight, here."""
    from multiview.config import TrainConfig
    from multiview.systems.block_plan import block_size
    from multiview.training.devices import blocks_in_flight

    return block_size(TrainConfig()), blocks_in_flight(0, "")


class Result(NamedTuple):
    """What became of a block.

    Attributes:
        arrays: of `sweep_variables.sweep_values`.
        reason: why it failed, or "".
        seconds: its share of the time.
    """

    arrays: dict[str, np.ndarray]
    reason: str
    seconds: float


def run_blocks(
    texts: Sequence[str], replicate: int, students: bool, stop: threading.Event | None = None
) -> list[Result]:
    """Train and measure one replicate of several studies together; if that fails, each by itself.

    Args:
        texts: the studies, of `as_text`, with equal `plan.batch_key`.
        replicate: its number.
        students: whether to train students too.
        stop: when set, the blocks are abandoned at their next stretch of steps.

    Returns:
        The result of each study.

    Raises:
        Abandoned: `stop` was set.
    """
    begin = time.perf_counter()
    from multiview.stores.sweep_variables import sweep_values
    from multiview.studies.outcome import collect
    from multiview.studies.replicate import run_replicates

    studies = [from_mapping(json.loads(text)) for text in texts]
    first = studies[0]

    def start_phase(what: str, number: int) -> Callable[[int], None]:
        def progress(steps: int) -> None:
            if stop is not None and stop.is_set():
                raise Abandoned

        progress(0)
        return progress

    try:
        world, tasks = _world(_world_of(first))
        measured = run_replicates(
            studies, world, replicate, tasks[replicate], start_phase=start_phase, distillation=students
        )
        collected = [collect(s, [m], world.features, 0.0) for s, m in zip(studies, measured, strict=True)]
        found = [(sweep_values(result), _non_finite(result)) for result in collected]
    except Abandoned:
        raise
    except Exception as error:  # out of memory, a shape that the compiler refuses: the rest of the sweep goes on
        if len(texts) > 1:  # one study's failure is not the others'
            return [result for text in texts for result in run_blocks([text], replicate, students, stop)]
        found = [({}, _reason(error))]
    share = (time.perf_counter() - begin) / len(texts)
    return [Result(arrays, reason, share) for arrays, reason in found]


def _non_finite(result: StudyResult) -> str:
    """Which networks turned non-finite, or ""."""
    broken = {name: int((~group.finite).sum()) for name, group in result.groups.items()}
    told = [f"{n} of {result.groups[name].finite.size} {name} networks" for name, n in broken.items() if n]
    return f"non-finite: {', '.join(told)}" if told else ""


def _reason(error: BaseException) -> str:
    """One short line for what went wrong."""
    word = str(error)
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in word or "out of memory" in word.lower():
        return f"out of memory: {' '.join(word.split())[:160]}"
    return f"{error.__class__.__name__}: {' '.join(word.split())[:160]}"

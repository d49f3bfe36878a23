"""Blocks of a sweep: studies come in as JSON text, arrays go out, in this process or in a worker on any machine."""

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
    """Stop of a block whose result nobody waits for any more."""


@functools.lru_cache(maxsize=1)
def _world(study: Study) -> tuple[Any, list[Any]]:
    """Make the world of a study and the training samples of every replicate.

    The last result is kept: blocks with the same samples are computed one after another.
    """
    from multiview.studies.study import training_tasks
    from multiview.world.world import World

    world = World.of(study)
    return world, training_tasks(study, world, ROW_MULTIPLE)


def _world_of(study: Study) -> Study:
    """Reduce a study to the parameters that its training samples depend on; all others take their defaults."""
    names = ("seed", "replicates", "train.dtype", "train.mixup", "train.dropped_patches")
    return replace(Study(data=study.data), {name: get(study, name) for name in names})


def as_text(study: Study) -> str:
    """Write a study as JSON text, the form in which it travels to workers."""
    return json.dumps(to_mapping(study))


def block_size_and_parallelism() -> tuple[int, int]:
    """Return how this machine trains by default.

    Returns:
        Networks in a block of the compiled program where `train.block_size` is 0, and the number of blocks that are
        trained at the same time.
    """
    from multiview.config import TrainConfig
    from multiview.systems.block_plan import block_size
    from multiview.training.devices import blocks_in_flight

    return block_size(TrainConfig()), blocks_in_flight(0, "")


class Result(NamedTuple):
    """The result of one block.

    Attributes:
        arrays: values to store by name, from `sweep_variables.sweep_values`.
        reason: why the block failed; "" if it did not.
        seconds: the block's share of the wall time of all blocks computed together.
    """

    arrays: dict[str, np.ndarray]
    reason: str
    seconds: float


def run_blocks(
    texts: Sequence[str], replicate: int, students: bool, stop: threading.Event | None = None
) -> list[Result]:
    """Train and measure one replicate of several studies together; if this fails, each study by itself.

    Args:
        texts: the studies as JSON text (`as_text`), with equal `plan.batch_key`.
        replicate: number of the replicate.
        students: whether to train students too.
        stop: event that abandons the blocks before their next stretch of steps.

    Returns:
        One result for each study.

    Raises:
        Abandoned: `stop` was set.
    """
    begin = time.perf_counter()
    from multiview.stores.sweep_variables import sweep_values
    from multiview.studies.outcome import collect
    from multiview.studies.replicate import run_replicates

    studies = [from_mapping(json.loads(text)) for text in texts]
    first = studies[0]

    def start_phase(phase: str, networks: int) -> Callable[[int], None]:
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
        values = [(sweep_values(result), _non_finite(result)) for result in collected]
    except Abandoned:
        raise
    except Exception as error:  # out of memory, or a shape that the compiler refuses: the sweep continues
        if len(texts) > 1:  # one study must not make the others fail
            return [result for text in texts for result in run_blocks([text], replicate, students, stop)]
        values = [({}, _reason(error))]
    share = (time.perf_counter() - begin) / len(texts)
    return [Result(arrays, reason, share) for arrays, reason in values]


def _non_finite(result: StudyResult) -> str:
    """Say which networks turned non-finite; "" if none did."""
    broken = {name: int((~group.finite).sum()) for name, group in result.groups.items()}
    counts = [f"{n} of {result.groups[name].finite.size} {name} networks" for name, n in broken.items() if n]
    return f"non-finite: {', '.join(counts)}" if counts else ""


def _reason(error: BaseException) -> str:
    """Say in one short line what went wrong."""
    message = str(error)
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in message or "out of memory" in message.lower():
        return f"out of memory: {' '.join(message.split())[:160]}"
    return f"{error.__class__.__name__}: {' '.join(message.split())[:160]}"

"""How networks are trained together: the size of a block, what memory it takes, and how many blocks run at a time."""

from __future__ import annotations

import jax

from multiview.config import Study, TrainConfig
from multiview.systems import table
from multiview.training import devices, forecast
from multiview.words import format_bytes
from multiview.world.task import Task


def block_size(train: TrainConfig) -> int:
    """Networks in a block: `train.block_size`, or where that is 0 two on the CPU and 64 on an accelerator."""
    return train.block_size or (2 if jax.default_backend() == "cpu" else 64)


def block_bytes(study: Study, task: Task, size: int | None = None, system: str | None = None) -> int:
    """Predicted peak memory of one block while it trains, from shapes alone (`training.forecast`).

    Args:
        study: the configuration.
        task: training samples.
        size: networks in the block, by default `block_size`, or all where they are trained as one.
        system: what is trained; by default the study's.
    """
    of = table.load(system or study.system)
    size = size or (study.seeds if of.joint else block_size(study.train))
    return round(forecast.training_bytes(forecast.shapes_of(task, study), study, of.footprint, size))


def block_plan(study: Study, task: Task, count: int, system: str | None = None) -> tuple[int, int]:
    """How networks are trained together: those of a block, and blocks at a time.

    Raises:
        ConfigError: one block does not fit the budget.
    """
    of = table.load(system or study.system)
    size = count if of.joint else block_size(study.train)
    advice = "lower seeds or data.num_train" if of.joint else "lower train.block_size, data.num_train or data.patch_dim"
    in_flight = devices.blocks_in_flight(block_bytes(study, task, size, system), advice)
    return size, 1 if of.joint or (of.alone and jax.default_backend() == "cpu") else in_flight


def memory_plan(study: Study, task: Task) -> str:
    """One line that says how networks are trained together, and what memory that takes.

    Raises:
        ConfigError: one block does not fit the budget.
    """
    size, in_flight = block_plan(study, task, study.seeds)
    return (
        f"memory: about {format_bytes(block_bytes(study, task, size))} for each block of {size} networks, "
        f"{in_flight} at a time on {len(devices.training_devices())} device(s); "
        f"budget {format_bytes(devices.memory_budget())}"
    )

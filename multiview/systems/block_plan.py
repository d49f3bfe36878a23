"""Plan of blocks: how many networks form a block, what memory a block takes, and how many blocks run in parallel."""

from __future__ import annotations

import jax

from multiview.config import Study, TrainConfig
from multiview.multirate.training import why_not
from multiview.systems import table
from multiview.training import devices, forecast
from multiview.words import format_bytes
from multiview.world.task import Task


def block_size(train: TrainConfig) -> int:
    """Return the networks in a block: `train.block_size`; if it is 0, 2 on the CPU and 64 on an accelerator."""
    return train.block_size or (2 if jax.default_backend() == "cpu" else 64)


def block_bytes(study: Study, task: Task, size: int | None = None, system: str | None = None) -> int:
    """Predict the peak memory of one block while it trains, from shapes alone (`training.forecast`).

    Args:
        study: the configuration.
        task: training samples.
        size: networks in the block; by default `block_size`, or all networks if they are trained jointly.
        system: name of the system; by default the study's.

    Returns:
        Bytes.
    """
    functions = table.load(system or study.system)
    size = size or (study.seeds if functions.joint else block_size(study.train))
    return round(forecast.training_bytes(forecast.shapes_of(task, study), study, functions.footprint, size))


def block_plan(study: Study, task: Task, count: int, system: str | None = None) -> tuple[int, int]:
    """Decide how networks are trained together.

    Args:
        study: the configuration.
        task: training samples.
        count: number of networks.
        system: name of the system; by default the study's.

    Returns:
        Networks in a block, and the number of blocks that are trained at the same time.

    Raises:
        ConfigError: one block does not fit the memory.
    """
    functions = table.load(system or study.system)
    joint = functions.joint
    size = count if joint else block_size(study.train)
    advice = "lower seeds or data.num_train" if joint else "lower train.block_size, data.num_train or data.patch_dim"
    in_flight = devices.blocks_in_flight(block_bytes(study, task, size, system), advice)
    return size, 1 if joint or (functions.alone and jax.default_backend() == "cpu") else in_flight


def memory_plan(study: Study, task: Task) -> str:
    """Say in one line how networks are trained together, and how much memory they take.

    Raises:
        ConfigError: one block does not fit the memory.
    """
    size, in_flight = block_plan(study, task, study.seeds)
    reasons = [why_not(study.train, study.network, distill, task) for distill in (study.distill, study.self_distill)]
    steps = ""
    if study.train.solver == "multirate" and any(reasons):
        steps = f"; no multirate steps: {next(filter(None, reasons))}"
    return (
        f"memory: about {format_bytes(block_bytes(study, task, size))} for each block of {size} networks, "
        f"{in_flight} at a time on {len(devices.training_devices())} device(s); "
        f"budget {format_bytes(devices.memory_budget())}{steps}"
    )

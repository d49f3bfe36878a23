"""Training of one network by multirate steps: the loop over blocks, and the step of all pairs where they do not fit."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from multiview.config import DistillConfig, NetworkConfig, TrainConfig
from multiview.multirate.dormant import (
    PAUSE,
    a_pair_is_large,
    all_logits,
    apply_pushes,
    block_goes_on,
    cross_border,
    set_border,
)
from multiview.multirate.live import constants, live_step
from multiview.multirate.state import (
    Dormant,
    Live,
    MultirateState,
    Problem,
    merge,
    no_pushes,
    split,
)
from multiview.network.activation import activation_of, raised_to
from multiview.network.outputs import logits
from multiview.network.parameters import Parameters
from multiview.training import step
from multiview.training.losses import TERMS, soft_outputs, truncation
from multiview.training.optimizer import make_optimizer
from multiview.training.step import TrainingState
from multiview.world.patches import NoiselessRows, NoisyRows
from multiview.world.task import Task


def why_not(train: TrainConfig, network: NetworkConfig, distill: DistillConfig | None, task: Task) -> str:
    """Say why a network is not trained by multirate steps; "" if it is.

    Args:
        train: how it is trained; only what is part of compiled programs is read.
        network: its activation.
        distill: the distillation term; None without a teacher.
        task: the training samples.

    Returns:
        The reason in words, for the line that tells how networks are trained.
    """
    if train.solver != "multirate":
        return f"train.solver is {train.solver}"
    if task.pairs is None:
        return "they need data.representation limit_single_view_noise, noise on features alone, one patch a feature"
    if jax.default_backend() != "cpu":
        return "they run on the CPU alone"
    if train.dtype != "float32":
        return "they are of single precision"
    if activation_of(network).power is None or network.relu_power == 1:
        return "the activation is no power q > 1 below its threshold"
    if distill is not None and distill.objective not in TERMS:
        return f"objective {distill.objective} depends on more than a difference of soft outputs"
    return ""


def problem_of(
    task: Task, teacher_logits: Array | None, network: NetworkConfig, train: TrainConfig, distill: DistillConfig | None
) -> Problem:
    """Collect what a network is trained on; the arguments are those of `advance`."""
    rows = task.patches[0]
    assert isinstance(rows, NoiselessRows)
    assert task.pairs is not None
    activation, dtype = activation_of(network), task.data.weights.dtype
    assert activation.power is not None
    targets = None
    if teacher_logits is not None and distill is not None:
        targets = soft_outputs(teacher_logits, *truncation(distill, dtype))
    return Problem(
        rows, task.pairs, raised_to(rows.table, activation.power).sum(-1), jnp.maximum(rows.table.max((0, 2)), 0),
        task.data.weights, activation, activation.power, jnp.asarray(network.relu_threshold, dtype),
        jnp.asarray(train.learning_rate, dtype), targets, distill if teacher_logits is not None else None,
    )  # fmt: skip


FIRST_BLOCK = 8  # steps; later blocks are as long as they may be


def _begin(live: Live, dormant: Dormant, problem: Problem) -> dict[str, Any]:
    """Set the first border, from which a network's blocks begin."""
    means = jnp.zeros_like(live.foreign[0]), jnp.zeros_like(live.foreign)
    return {
        "live": live, "dormant": dormant, "border": set_border(live, dormant, means, problem),
        "steps": jnp.zeros((), jnp.int32), "longest": jnp.full((), FIRST_BLOCK, jnp.int32),
        "pause": jnp.where(a_pair_is_large(dormant, problem), PAUSE, 0).astype(jnp.int32),
    }  # fmt: skip


def start(parameters: Parameters, task: Task, network: NetworkConfig, train: TrainConfig) -> MultirateState:
    """Make the state of training from the start parameters of a network.

    Args:
        parameters: the start.
        task: the training samples, with pairs.
        network: activation.
        train: learning rate.

    Returns:
        The state before the first step.
    """
    problem, zero = problem_of(task, None, network, train, None), jnp.zeros((), jnp.int32)
    begun = _begin(*split(parameters, problem), problem)
    return MultirateState(**begun, pushes=no_pushes(problem, 0), all_pairs_steps=zero, reached=zero)


def advance(
    state: MultirateState,
    last_step: Array | int,
    task: Task,
    teacher_logits: Float[Array, "n k"] | None,
    network: NetworkConfig,
    train: TrainConfig,
    distill: DistillConfig | None,
) -> MultirateState:
    """Take the steps `state.reached` … `last_step` − 1, or fewer if a pause becomes necessary.

    Blocks end where the network requires it, or after `MultirateState.longest` steps, so that the result does not
    depend on where training is interrupted.

    Args:
        state: the state of training.
        last_step: number of the step before which to stop.
        task: the training samples, with pairs.
        teacher_logits: the teacher's scaled logits on the training samples; None without a teacher.
        network: activation.
        train: learning rate.
        distill: the distillation term; None without a teacher.

    Returns:
        The state, perhaps inside a block.
    """
    problem = problem_of(task, teacher_logits, network, train, distill)
    last = jnp.asarray(last_step, jnp.int32)

    def taught_weight(index: Array) -> Array:
        if problem.distill is None:
            return jnp.zeros((), problem.weights.dtype)
        weight = jnp.asarray(problem.distill.weight, problem.weights.dtype)
        return jnp.where(index >= problem.distill.onset_step, weight, 0)

    def block(state: MultirateState) -> MultirateState:
        fixed = constants(state.border, problem)

        def take_step(now: MultirateState) -> MultirateState:
            live, pushes = live_step(now.live, now.pushes, now.border, fixed, problem, taught_weight(now.reached))
            return now._replace(live=live, pushes=pushes, steps=now.steps + 1, reached=now.reached + 1)

        def goes_on(now: MultirateState) -> Array:
            return (now.reached < last) & block_goes_on(now, fixed, problem)

        state = jax.lax.while_loop(goes_on, take_step, state)
        ended = ~block_goes_on(state, fixed, problem)
        return jax.lax.cond(ended, lambda s: cross_border(s, problem), lambda s: s, state)

    return jax.lax.while_loop(lambda s: (s.reached < last) & (s.pause == 0), block, state)


def advance_all_pairs(
    state: MultirateState,
    last_step: Array | int,
    task: Task,
    teacher_logits: Float[Array, "n k"] | None,
    network: NetworkConfig,
    train: TrainConfig,
    distill: DistillConfig | None,
) -> MultirateState:
    """Take the steps of a pause with all pairs, up to its end or to `last_step` − 1; arguments as in `advance`.

    Returns:
        The state; blocks begin anew after the pause.
    """
    problem = problem_of(task, teacher_logits, network, train, distill)
    noisy = task.patches[1]
    assert isinstance(noisy, NoisyRows)
    count = jnp.minimum(state.pause, jnp.asarray(last_step, jnp.int32) - state.reached)

    def steps(state: MultirateState) -> MultirateState:
        parameters = merge(state.live, state.dormant, problem, noisy)
        begin = TrainingState(parameters, make_optimizer(train).init(parameters))
        end = state.reached + count
        trained = step.advance(begin, state.reached, end, task, teacher_logits, network, train, distill)
        state = state._replace(pause=state.pause - count, all_pairs_steps=state.all_pairs_steps + count, reached=end)
        live, dormant = split(trained.parameters, problem)
        return jax.lax.cond(
            state.pause > 0,
            lambda: state._replace(live=live, dormant=dormant),
            lambda: state._replace(**_begin(live, dormant, problem)),
        )

    return jax.lax.cond(count > 0, steps, lambda s: s, state)


def look(
    state: MultirateState,
    task: Task,
    network: NetworkConfig,
    train: TrainConfig,
    distill: DistillConfig | None = None,
) -> tuple[Parameters, Float[Array, "n k"]]:
    """Return the parameters of a network and its logits on the training samples; its state stays inside its block.

    Args:
        state: the state of training.
        task: the training samples.
        network: activation.
        train: learning rate.
        distill: the distillation term; None without a teacher.

    Returns:
        Parameters, and logits of all samples.
    """
    problem = problem_of(task, None, network, train, None)
    live, dormant, _ = apply_pushes(state.live, state.dormant, state, problem._replace(distill=distill))
    noisy = task.patches[1]
    assert isinstance(noisy, NoisyRows)
    parameters = merge(live, dormant, problem, noisy)
    outputs = jax.lax.cond(
        state.pause > 0,
        lambda: logits(parameters, task.patches, network),
        lambda: all_logits(live, dormant, state, problem),
    )
    return parameters, outputs

r"""Adaptive steps along the gradient flow: the same training time ηT with fewer gradient evaluations.

Gradient descent of step size η is Euler's method for $dw/dt = -\nabla L$ with one evaluation per time η, on plateaus
too. Here the flow is integrated by the embedded Runge–Kutta pair of Bogacki and Shampine (orders 3 and 2, three
evaluations a step): long steps where little happens, short ones where a class learns its view. Time is counted in steps
of gradient descent, so that records, onsets and the stopping rule mean the same for both solvers.

A step may reach beyond the time that is asked for; values there are interpolated between the ends of the step, so
records cost no evaluations and do not change the trajectory.

The pair is from P. Bogacki and L. F. Shampine, "A 3(2) pair of Runge-Kutta formulas", Applied Mathematics Letters 2
(1989).
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from multiview.config import DistillConfig, NetworkConfig, TrainConfig
from multiview.network import Parameters, logits
from multiview.training import Task, TrainingState, logit_gradient

Tree = TypeVar("Tree", Parameters, "FlowState")

# Stages evaluate the slope at front + length · (_LATEST · the latest slope + _SUM · the weighted sum so far), the third
# at the end of the step. Errors are those weights minus the weights of the embedded method of order 2.
_LATEST = (1 / 2, 3 / 4, 0.0)
_SUM = (0.0, 0.0, 1.0)
_WEIGHTS = (2 / 9, 1 / 3, 4 / 9)
_ERRORS = (2 / 9 - 7 / 24, 1 / 3 - 1 / 4, 4 / 9 - 1 / 3, -1 / 8)
_ORDER = 3

FIRST_STEP = 1.0  # a step of gradient descent; the controller enlarges it within a few steps
SMALLEST_STEP = 1e-4  # below it the flow cannot be followed: the network is marked as non-finite
_SAFETY, _SHRINK, _GROW = 0.65, 0.2, 5.0  # of the step size; at 0.9 a third of the evaluations were rejected steps


class FlowState(NamedTuple):
    """The integrator's own state: the two ends of its last step, and where it stands.

    Attributes:
        before: parameters at the start of the last step.
        before_slope: dw/dt there.
        front: parameters at its end.
        front_slope: dw/dt there; not yet known while `step_size` is 0.
        before_time: time of `before`, in steps of gradient descent.
        time: time of `front`; infinite for a network that could not be followed.
        step_size: what the controller proposes next; 0 means to evaluate the slope first (a step of length 0).
        evaluations: gradient evaluations so far, rejected steps included.
    """

    before: Parameters
    before_slope: Parameters
    front: Parameters
    front_slope: Parameters
    before_time: Float[Array, ""]
    time: Float[Array, ""]
    step_size: Float[Array, ""]
    evaluations: Int[Array, ""]


def start_flow(parameters: Parameters) -> FlowState:
    """The integrator at time 0, before its first evaluation."""
    zero = jnp.zeros((), parameters.weights.dtype)
    nothing = jax.tree.map(jnp.zeros_like, parameters)
    return FlowState(parameters, nothing, parameters, nothing, zero, zero, zero, jnp.int32(0))


def _restart(flow: FlowState, parameters: Parameters, time: Array) -> FlowState:
    """Begin anew at a jump of the vector field, such as a teacher that sets in."""
    fresh = start_flow(parameters)
    return fresh._replace(before_time=time, time=time, evaluations=flow.evaluations)


def _choose(condition: Array, one: Tree, other: Tree) -> Tree:
    chosen: Tree = jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)
    return chosen


def _plus(total: Parameters, factor: Array | float, slope: Parameters) -> Parameters:
    added: Parameters = jax.tree.map(lambda a, b: a + factor * b, total, slope)
    return added


def _error(difference: Parameters, one: Parameters, other: Parameters, scale: Array, tolerance: Array) -> Array:
    """Largest error of any overlap, in units of tolerance · (σ₀ + its size): 1 is just acceptable."""

    def of_leaf(e: Array, a: Array, b: Array) -> Array:
        return (jnp.abs(e) / (tolerance * (scale + jnp.maximum(jnp.abs(a), jnp.abs(b))))).max(initial=0.0)

    return jnp.stack(jax.tree.leaves(jax.tree.map(of_leaf, difference, one, other))).max()


def interpolated(flow: FlowState, time: Array) -> Parameters:
    """Parameters at a time within the last step: the cubic through both ends with their slopes.

    Args:
        flow: the integrator.
        time: between `before_time` and `time`, in steps of gradient descent.

    Returns:
        Parameters; exactly an end of the step where `time` is one.
    """
    length = flow.time - flow.before_time
    x = (time - flow.before_time) / jnp.where(length > 0, length, 1)
    rise = x * x * (3 - 2 * x)
    factors = (1 - rise, rise, length * x * (1 - x) * (1 - x), length * x * x * (x - 1))

    def cubic(a: Array, b: Array, slope_a: Array, slope_b: Array) -> Array:
        return factors[0] * a + factors[1] * b + factors[2] * slope_a + factors[3] * slope_b

    inner = jax.tree.map(cubic, flow.before, flow.front, flow.before_slope, flow.front_slope)
    return _choose(x >= 1, flow.front, _choose(x <= 0, flow.before, inner))


def flow(
    state: TrainingState,
    first_step: Array | int,
    last_step: Array | int,
    task: Task,
    teacher_logits: Float[Array, "n k"] | None,
    network: NetworkConfig,
    train: TrainConfig,
    distill: DistillConfig | None,
) -> TrainingState:
    r"""Follow $dw/dt = -\eta \nabla L$ on the device, in the shape of `training.advance`.

    A teacher's onset is a jump of the field: no step crosses it, and the integrator begins anew there.

    Args:
        state: parameters, and the integrator as `optimizer_state` (`start_flow`).
        first_step: time to begin, in steps of gradient descent.
        last_step: time to end.
        task: the training samples.
        teacher_logits: the (scaled) teacher on the same samples; None without a teacher.
        network: activation; its σ₀ is the scale below which errors do not count.
        train: learning rate η and `flow_tolerance`.
        distill: the distillation term; None without a teacher.

    Returns:
        Parameters at `last_step`, and the integrator, which may stand beyond; `optimizer_state.evaluations` counts the
        gradient evaluations. A network that cannot be followed ends with parameters that are not numbers.
    """
    begun: FlowState = state.optimizer_state
    dtype = state.parameters.weights.dtype
    first, last = jnp.asarray(first_step, dtype), jnp.asarray(last_step, dtype)
    onset = jnp.asarray(jnp.inf, dtype)
    if distill is not None and teacher_logits is not None:
        onset = jnp.asarray(distill.onset_step, dtype)
        begun = _choose(first == onset, _restart(begun, state.parameters, first), begun)

    def slope(parameters: Parameters, taught: Array) -> Parameters:
        outputs, pull_back = jax.vjp(lambda p: logits(p, task.patches, network), parameters)
        push = logit_gradient(outputs, taught, task, teacher_logits, distill)
        (gradient,) = pull_back((-train.learning_rate * push).astype(dtype))
        return gradient

    def step(s: FlowState) -> FlowState:
        taught = s.time >= onset
        length = jnp.where(taught, s.step_size, jnp.minimum(s.step_size, onset - s.time))
        latest, weights, errors = (jnp.asarray(c, dtype) for c in (_LATEST, _WEIGHTS, _ERRORS))
        of_sum = jnp.asarray(_SUM, dtype)

        def stage(i: Array, carry: tuple[Parameters, ...]) -> tuple[Parameters, ...]:
            k, total, difference, _ = carry
            total, difference = _plus(total, weights[i], k), _plus(difference, errors[i], k)
            point = _plus(_plus(s.front, length * latest[i], k), length * of_sum[i], total)
            return slope(point, taught), total, difference, point

        nothing = jax.tree.map(jnp.zeros_like, s.front)
        # A loop and not three calls: the network's passes are compiled once.
        end_slope, _, difference, end = jax.lax.fori_loop(
            0, len(_WEIGHTS), stage, (s.front_slope, nothing, nothing, s.front)
        )
        difference = jax.tree.map(lambda e: length * e, _plus(difference, errors[-1], end_slope))
        scale, tolerance = jnp.asarray(network.init_std, dtype), jnp.asarray(train.flow_tolerance, dtype)
        error = _error(difference, s.front, end, scale, tolerance)
        good = error <= 1  # false for an error that is not a number
        lost = ~good & (length <= SMALLEST_STEP)
        factor = jnp.clip(_SAFETY * jnp.maximum(error, 1e-9) ** (-1 / _ORDER), _SHRINK, _GROW)
        proposed = length * jnp.where(good, factor, jnp.where(jnp.isnan(factor), _SHRINK, jnp.minimum(factor, 1)))
        proposed = jnp.where(length > 0, proposed, FIRST_STEP)
        arrived = s.time + length
        arrived = jnp.where(~taught & (length >= onset - s.time), onset, arrived)
        moved = FlowState(
            before=s.front,
            before_slope=s.front_slope,
            front=end,
            front_slope=end_slope,
            before_time=s.time,
            time=jnp.where(lost, jnp.inf, arrived),
            step_size=jnp.where(arrived == onset, jnp.where(taught, proposed, 0), proposed),
            evaluations=s.evaluations,
        )
        stayed = s._replace(step_size=proposed)
        return _choose(good | lost, moved, stayed)._replace(evaluations=s.evaluations + len(_WEIGHTS))

    ended = jax.lax.while_loop(lambda s: s.time < last, step, begun)
    not_followed = jnp.isinf(ended.time)
    parameters = jax.tree.map(lambda a: jnp.where(not_followed, jnp.nan, a), interpolated(ended, last))
    return TrainingState(parameters, ended)

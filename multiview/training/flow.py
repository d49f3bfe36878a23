r"""Adaptive integration of the gradient flow: the same training time ηT with fewer gradient evaluations.

Gradient descent of step size η is Euler's method for $dw/dt = -\nabla L$, with one evaluation for each time η even on
plateaus. This module integrates the flow with step size control: long steps while little happens, short steps while a
class learns its view. Time is counted in steps of gradient descent, so that records, onsets and the number of steps
mean the same for both solvers.

Without a teacher the vector field is smooth, and the embedded Runge–Kutta pair of Bogacki and Shampine (orders 3 and 2,
three evaluations a step) integrates it. With a teacher the field is neither smooth nor mild: the teacher pushes a logit
up to the cap, the labels push it down from above, and the slopes of some overlaps change sign within a third of a step
of descent. So with a teacher the method is a damped version of Heun's method, of order 2 with two evaluations a step.
For each overlap it evaluates the slope $s$ at the start and $s'$ at the end of Euler's step, and moves with their mean
$s + d/2$, where $d = s' - s$. Where $d$ and $s$ have opposite signs, it moves with $s^2 / (s - d/2)$ instead: this
agrees to second order, and comes to rest where $s + d/2$ would oscillate.

A step may end after the time that is asked for. Values at that time are interpolated between the ends of the step, so
records cost no evaluations and do not change the trajectory.

The pair is from P. Bogacki and L. F. Shampine, "A 3(2) pair of Runge-Kutta formulas", Applied Mathematics Letters 2
(1989).
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from multiview.config import DistillConfig, NetworkConfig, TrainConfig
from multiview.network.outputs import logits, overlap_sizes
from multiview.network.parameters import Parameters
from multiview.training.step import TrainingState, logit_gradient
from multiview.world.task import Task

Tree = TypeVar("Tree", Parameters, "FlowState")

# A stage of the pair evaluates the slope at front + length · (_LATEST · latest slope + _SUM · weighted sum so far); the
# third stage is the end of the step. _ERRORS are the weights minus those of the embedded method of order 2.
_LATEST = (1 / 2, 3 / 4, 0.0)
_SUM = (0.0, 0.0, 1.0)
_WEIGHTS = (2 / 9, 1 / 3, 4 / 9)
_ERRORS = (2 / 9 - 7 / 24, 1 / 3 - 1 / 4, 4 / 9 - 1 / 3, -1 / 8)

FIRST_STEP = 1.0  # a step of gradient descent; the controller enlarges it within a few steps
SMALLEST_STEP = 1e-4  # if even this step is rejected, integration stops and the network counts as non-finite
_SAFETY, _SHRINK, _GROW = 0.65, 0.2, 5.0  # factors of the step size control


class FlowState(NamedTuple):
    """The integrator's state: both ends of its last step, and the size of the next.

    Attributes:
        before: parameters at the start of the last step.
        before_slope: dw/dt at `before`.
        front: parameters at the end of the last step.
        front_slope: dw/dt at `front`, valid if `known`.
        before_time: time of `before`, in steps of gradient descent.
        time: time of `front`, in the same unit; infinite if the integration failed.
        step_size: size of the next step, as the controller proposes it.
        known: whether `front_slope` has been evaluated.
        evaluations: gradient evaluations so far, rejected steps included.
    """

    before: Parameters
    before_slope: Parameters
    front: Parameters
    front_slope: Parameters
    before_time: Float[Array, ""]
    time: Float[Array, ""]
    step_size: Float[Array, ""]
    known: Bool[Array, ""]
    evaluations: Int[Array, ""]


def start_flow(parameters: Parameters) -> FlowState:
    """Make the integrator's state at time 0, before the first evaluation."""
    zero = jnp.zeros((), parameters.weights.dtype)
    nothing = jax.tree.map(jnp.zeros_like, parameters)
    first = jnp.asarray(FIRST_STEP, zero.dtype)
    return FlowState(parameters, nothing, parameters, nothing, zero, zero, first, jnp.zeros((), bool), jnp.int32(0))


def _restart(flow: FlowState, parameters: Parameters, time: Array) -> FlowState:
    """Restart the integrator at a jump of the vector field, such as the start of distillation."""
    fresh = start_flow(parameters)
    return fresh._replace(before_time=time, time=time, evaluations=flow.evaluations)


def _choose(condition: Array, if_true: Tree, if_false: Tree) -> Tree:
    chosen: Tree = jax.tree.map(lambda a, b: jnp.where(condition, a, b), if_true, if_false)
    return chosen


def _plus(total: Parameters, factor: Array | float, slope: Parameters) -> Parameters:
    added: Parameters = jax.tree.map(lambda a, b: a + factor * b, total, slope)
    return added


def _mean_slope(start: Array, end: Array) -> Array:
    """Average the slopes at both ends of Euler's step (Heun), damped where the slope changes sign."""
    change = end - start
    turns = change * start < 0
    return jnp.where(turns, start * start / jnp.where(turns, start - change / 2, 1), start + change / 2)


def _error(difference: Parameters, sizes: Parameters, smallest: Array) -> Array:
    """Return the largest error of any overlap, in units of σ₀ + the overlap's size."""
    errors = jax.tree.map(lambda e, s: (jnp.abs(e) / (smallest + s)).max(initial=0.0), difference, sizes)
    return jnp.stack(jax.tree.leaves(errors)).max()


def interpolate(flow: FlowState, time: Array) -> Parameters:
    """Interpolate the parameters at a time within the last step.

    The polynomial is the cubic that has the values and slopes of both ends, or the parabola without the slope at the
    second end while it is not known.

    Args:
        flow: the integrator.
        time: time between `flow.before_time` and `flow.time`, in steps of gradient descent.

    Returns:
        Parameters; at the ends of the step exactly theirs.
    """
    length = flow.time - flow.before_time
    x = (time - flow.before_time) / jnp.where(length > 0, length, 1)

    def between(a: Array, b: Array, slope_a: Array, slope_b: Array) -> Array:
        rise = b - a
        slope_b = jnp.where(flow.known, length * slope_b, 2 * rise - length * slope_a)
        return a + x * x * (3 - 2 * x) * rise + x * (1 - x) * ((1 - x) * length * slope_a - x * slope_b)

    inner = jax.tree.map(between, flow.before, flow.front, flow.before_slope, flow.front_slope)
    return _choose(x >= 1, flow.front, _choose(x <= 0, flow.before, inner))


def _after_attempt(s: FlowState, error: Array, order: int, length: Array, moved: FlowState) -> FlowState:
    """Accept or reject a step, and propose the size of the next step."""
    good = error <= 1  # false for an error that is not a number
    lost = ~good & (length <= SMALLEST_STEP)
    factor = jnp.clip(_SAFETY * jnp.maximum(error, 1e-9) ** (-1 / order), _SHRINK, _GROW)
    factor = jnp.where(good, factor, jnp.where(jnp.isnan(factor), _SHRINK, jnp.minimum(factor, 1)))
    proposed = jnp.where(length > 0, length * factor, s.step_size)
    moved = moved._replace(time=jnp.where(lost, jnp.inf, moved.time), before=s.front, before_time=s.time)
    return _choose(good | lost, moved, s)._replace(step_size=proposed)


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
    r"""Integrate $dw/dt = -\eta \nabla L$ on the device, with the arguments of `step.advance`.

    The onset of distillation is a jump of the vector field: no step crosses it, and the integrator restarts at it.

    Args:
        state: parameters, and the integrator as `optimizer_state` (`start_flow`).
        first_step: start time, in steps of gradient descent.
        last_step: end time, in the same unit.
        task: the training samples.
        teacher_logits: the teacher's (scaled) logits on the training samples; None without a teacher.
        network: activation, and σ₀, the size below which errors are absolute instead of relative.
        train: learning rate η and `flow_tolerance`.
        distill: the distillation term; None without a teacher.

    Returns:
        Parameters at `last_step`, and the integrator, whose time may be later; `optimizer_state.evaluations` counts the
        gradient evaluations. If the integration fails, the parameters are NaN.
    """
    begun: FlowState = state.optimizer_state
    dtype = state.parameters.weights.dtype
    scale, tolerance = jnp.asarray(network.init_std, dtype), jnp.asarray(train.flow_tolerance, dtype)
    first, last = jnp.asarray(first_step, dtype), jnp.asarray(last_step, dtype)

    def slope(parameters: Parameters, taught: bool) -> Parameters:
        outputs, pull_back = jax.vjp(lambda p: logits(p, task.patches, network), parameters)
        push = logit_gradient(outputs, jnp.asarray(taught), task, teacher_logits, distill)
        (gradient,) = pull_back((-train.learning_rate * push).astype(dtype))
        return gradient

    def relative_error(difference: Parameters, start: Parameters, end: Parameters) -> Array:
        sizes = jax.tree.map(jnp.maximum, *(overlap_sizes(p, task.patches) for p in (start, end)))
        return _error(difference, sizes, scale) / tolerance

    def smooth_step(end_time: Array, s: FlowState) -> FlowState:
        """Attempt a step of the pair, with three evaluations; its length is 0 while the first slope is not known."""
        length = jnp.where(s.known, jnp.minimum(s.step_size, end_time - s.time), 0)
        latest, weights, errors = (jnp.asarray(c, dtype) for c in (_LATEST, _WEIGHTS, _ERRORS))
        sums = jnp.asarray(_SUM, dtype)

        def stage(i: Array, carry: tuple[Parameters, ...]) -> tuple[Parameters, ...]:
            k, total, difference, _ = carry
            total, difference = _plus(total, weights[i], k), _plus(difference, errors[i], k)
            point = _plus(_plus(s.front, length * latest[i], k), length * sums[i], total)
            return slope(point, False), total, difference, point

        nothing = jax.tree.map(jnp.zeros_like, s.front)
        # A loop instead of three calls, so that the network's passes are compiled once.
        end_slope, _, difference, end = jax.lax.fori_loop(
            0, len(_WEIGHTS), stage, (s.front_slope, nothing, nothing, s.front)
        )
        difference = jax.tree.map(lambda e: length * e, _plus(difference, errors[-1], end_slope))
        arrived = jnp.where(s.known & (length >= end_time - s.time), end_time, s.time + length)
        moved = s._replace(
            before_slope=s.front_slope, front=end, front_slope=end_slope, time=arrived, known=jnp.ones((), bool)
        )
        tried = _after_attempt(s, relative_error(difference, s.front, end), 3, length, moved)
        return tried._replace(evaluations=s.evaluations + len(_WEIGHTS))

    def taught_turn(s: FlowState) -> FlowState:
        """Evaluate one slope of Heun's damped step: first at the front, in the next turn at the end of Euler's step."""
        ahead = _plus(s.front, s.step_size, s.front_slope)
        new_slope = slope(_choose(s.known, ahead, s.front), True)
        end = _plus(s.front, s.step_size, jax.tree.map(_mean_slope, s.front_slope, new_slope))
        error = relative_error(jax.tree.map(jnp.subtract, end, ahead), s.front, end)
        moved = s._replace(before_slope=s.front_slope, front=end, time=s.time + s.step_size, known=jnp.zeros((), bool))
        tried = _after_attempt(s, error, 2, s.step_size, moved)
        evaluated = s._replace(front_slope=new_slope, known=jnp.ones((), bool))
        return _choose(s.known, tried, evaluated)._replace(evaluations=s.evaluations + 1)

    if distill is None or teacher_logits is None:
        end_time = jnp.asarray(jnp.inf, dtype)
        ended = jax.lax.while_loop(lambda s: s.time < last, lambda s: smooth_step(end_time, s), begun)
    else:
        onset = jnp.asarray(distill.onset_step, dtype)
        begun = _choose(first == onset, _restart(begun, state.parameters, first), begun)
        until = jnp.minimum(last, onset)
        before = jax.lax.while_loop(lambda s: s.time < until, lambda s: smooth_step(onset, s), begun)
        before = _choose((before.time == onset) & (last > onset), _restart(before, before.front, onset), before)
        ended = jax.lax.while_loop(lambda s: s.time < last, taught_turn, before)
    failed = jnp.isinf(ended.time)
    parameters = jax.tree.map(lambda a: jnp.where(failed, jnp.nan, a), interpolate(ended, last))
    return TrainingState(parameters, ended)

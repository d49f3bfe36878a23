"""One step of the live pairs: their logits, the pushes on them, and descent.

Sums over rows, places and patches are short and unrolled over the first axis, as in `network.rows`, so that XLA
vectorises over the long axes and padded tables change no bit.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from multiview.config import DistillConfig
from multiview.multirate.state import Border, Live, Problem, Pushes, barrier
from multiview.network.activation import raised_to
from multiview.network.rows import row_sums, sum_over_neurons
from multiview.training.losses import TERMS, truncation
from multiview.world.pairs import Presence


class Absent(NamedTuple):
    """What absent classes add to the normalisations of a block's steps, for one group of samples.

    Attributes:
        logits: what dormant pairs add to the logits of the classes in each sample.
        sum: Σ e^D over the absent classes.
        soft_sum: the same for truncated logits at the teacher's temperature; 0 without a teacher.
        targets: the teacher's soft outputs for the classes in each sample; 0 without a teacher.
    """

    logits: Float[Array, "q n"]
    sum: Float[Array, " n"]
    soft_sum: Float[Array, " n"]
    targets: Float[Array, "q n"]


class Constants(NamedTuple):
    """What is fixed in a block, in the form that steps need.

    Attributes:
        quiet: what absent classes add to multi-view samples.
        noisy: what absent classes add to single-view samples.
        soft: e^(D/T) of the truncated logits of absent classes, 0 for the others; None without a teacher.
        soft_targets: the teacher's soft outputs of absent classes, 0 for the others; None without a teacher.
        small: 1 for the neurons that add up in closed form, 0 for the large ones.
    """

    quiet: Absent
    noisy: Absent
    soft: Float[Array, "n k"] | None
    soft_targets: Float[Array, "n k"] | None
    small: Float[Array, "m f"]


def constants(border: Border, problem: Problem) -> Constants:
    """Prepare the steps of a block."""
    soft = soft_targets = None
    quiet, noisy = problem.pairs.quiet.present, problem.pairs.noisy.present
    count = quiet.place.shape[0]
    absent = jnp.concatenate([quiet.place, noisy.place]) < 0
    if problem.distill is not None and problem.targets is not None:
        _, cap = truncation(problem.distill, border.logits.dtype)
        below = border.logits / problem.distill.temperature
        soft = jnp.where(absent, jnp.exp(jnp.minimum(below, cap / problem.distill.temperature)), 0)
        soft_targets = jnp.where(absent, problem.targets, 0)
    sums = jnp.where(absent, jnp.exp(border.logits), 0).sum(1)

    def group(present: Presence, rows: slice) -> Absent:
        samples = jnp.arange(present.place.shape[0])
        zero = jnp.zeros(present.place.shape[0], border.logits.dtype)
        return Absent(
            border.logits[rows][samples, present.classes],
            sums[rows],
            zero if soft is None else soft[rows].sum(1),
            zero[None] if problem.targets is None else problem.targets[rows][samples, present.classes],
        )

    rank = jnp.argsort(border.order, axis=0)
    small = jnp.where(rank < border.large, 0, 1).astype(border.logits.dtype)
    return Constants(group(quiet, slice(None, count)), group(noisy, slice(count, None)), soft, soft_targets, small)


def _total(terms: Iterable[Array]) -> Array:
    return functools.reduce(operator.add, terms)


def _with_zero(values: Array) -> Array:
    """Flatten an array and append the zero that entries without a place point to."""
    return jnp.append(values.reshape(-1), jnp.zeros((), values.dtype))


class Outputs(NamedTuple):
    """Logits of the classes in each sample, and what the reverse pass reads again.

    Attributes:
        quiet: logits in multi-view samples.
        noisy: logits in single-view samples.
        own: pre-activations of the patches by feature.
        foreign: pre-activations of the patches by pair.
    """

    quiet: Float[Array, "q n"]
    noisy: Float[Array, "q2 n2"]
    own: Float[Array, "m t f"]
    foreign: Float[Array, "m t2 u"]


def _in_rows(values: Float[Array, " f"], problem: Problem) -> Float[Array, " r"]:
    """Copy a value of each feature to its rows."""
    return barrier(barrier(values)[jnp.minimum(problem.rows.feature, len(values) - 1)])


def _large_neuron(live: Live, border: Border, rank: Array) -> tuple[Array, Array]:
    """Return, for each feature, the neuron with this rank and its overlap."""
    neuron = border.order[rank]
    return neuron, live.own[neuron, jnp.arange(live.own.shape[1])]


def live_logits(live: Live, border: Border, fixed: Constants, problem: Problem) -> Outputs:
    """Compute the logits of the classes in each sample.

    Args:
        live: overlaps of live pairs.
        border: what is fixed since the last border.
        fixed: the same in the form that steps need.
        problem: what the network is trained on.

    Returns:
        Logits and intermediate results.
    """
    q, threshold, value = problem.power, problem.threshold, problem.activation.value
    quiet, noisy, z = problem.pairs.quiet, problem.pairs.noisy, problem.rows.coefficient
    small = (raised_to(jnp.maximum(live.own, 0), q) * fixed.small).sum(0) / (q * threshold ** (q - 1))

    def add_large(rank: Array, total: Array) -> Array:
        return total + value(_in_rows(_large_neuron(live, border, rank)[1], problem) * z, threshold)

    slots = jax.lax.fori_loop(0, border.large, add_large, raised_to(z, q) * _in_rows(small, problem))
    slots = _with_zero(barrier(slots))
    quiet_logits = slots[quiet.patches] + fixed.quiet.logits
    if quiet.further_patches.size:
        further = quiet.further_patches
        more = quiet_logits[: further.shape[1]] + _total(slots[further[v]] for v in range(len(further)))
        quiet_logits = jax.lax.dynamic_update_slice(quiet_logits, more, (0, 0))

    own = live.own[:, None] * noisy.own.coefficient + noisy.own.noise_norm * live.own_noise
    foreign = live.foreign[:, None] * noisy.foreign.coefficient + noisy.foreign.noise_norm * live.label_noise
    own_values = _with_zero(barrier(sum_over_neurons(len(own), lambda r: value(own[r], threshold))))
    foreign_values = _with_zero(barrier(sum_over_neurons(len(foreign), lambda r: value(foreign[r], threshold))))
    noisy_logits = _total([fixed.noisy.logits, *(own_values[of] for of in noisy.own_of)])
    noisy_logits = noisy_logits.at[0].add(_total(foreign_values[of] for of in noisy.foreign_of))
    return Outputs(quiet_logits, noisy_logits, own, foreign)


def _label_push(logits: Array, present: Presence, absent: Absent, weights: Array) -> tuple[Array, Array]:
    """Compute w (softmax − 1[label]) of the classes in each sample, and w softmax of an absent class of logit 0."""
    top = jnp.maximum(jnp.where(present.is_class, logits, 0).max(0), 0)
    powers, one = jnp.where(present.is_class, jnp.exp(logits - top), 0), jnp.exp(-top)
    share = weights / (powers.sum(0) + absent.sum * one)
    is_label = jnp.zeros((len(logits), 1), logits.dtype).at[0].set(1)
    return powers * share - is_label * weights, one * share


def _taught_push(
    logits: Array, present: Presence, absent: Absent, weights: Array, distill: DistillConfig
) -> tuple[Array, Array]:
    """Compute the weighted distillation term of the classes in each sample; also 1/Σ of the softmax."""
    temperature, cap = truncation(distill, logits.dtype)
    soft = jnp.minimum(logits, cap) / temperature
    top = jnp.maximum(jnp.where(present.is_class, soft, 0).max(0), 0)
    powers, one = jnp.where(present.is_class, jnp.exp(soft - top), 0), jnp.exp(-top)
    share = 1 / (powers.sum(0) + absent.soft_sum * one)
    term = TERMS[distill.objective](powers * share - absent.targets)
    return jnp.where(present.is_class & (logits < cap), weights * term, 0), one * share


def live_step(
    live: Live, pushes: Pushes, border: Border, fixed: Constants, problem: Problem, taught: Array
) -> tuple[Live, Pushes]:
    """Take one step of descent with the live pairs, and add its pushes to the sums.

    Args:
        live: overlaps of live pairs.
        pushes: sums since the last border.
        border: what is fixed since then.
        fixed: the same in the form that steps need.
        problem: what the network is trained on.
        taught: the weight of the distillation term in this step [].

    Returns:
        The next overlaps and sums.
    """
    q, threshold, slope = problem.power, problem.threshold, problem.activation.slope
    quiet, noisy, z = problem.pairs.quiet, problem.pairs.noisy, problem.rows.coefficient
    count = quiet.present.place.shape[0]
    weights = problem.weights[:count], problem.weights[count:]
    outputs = live_logits(live, border, fixed, problem)
    quiet_push, quiet_absent = _label_push(outputs.quiet, quiet.present, fixed.quiet, weights[0])
    noisy_push, noisy_absent = _label_push(outputs.noisy, noisy.present, fixed.noisy, weights[1])
    taught_sums = pushes.taught
    if problem.distill is not None and fixed.soft is not None and fixed.soft_targets is not None:
        quiet_term, quiet_share = _taught_push(outputs.quiet, quiet.present, fixed.quiet, weights[0], problem.distill)
        noisy_term, noisy_share = _taught_push(outputs.noisy, noisy.present, fixed.noisy, weights[1], problem.distill)
        quiet_push, noisy_push = quiet_push + taught * quiet_term, noisy_push + taught * noisy_term
        share = barrier(jnp.concatenate([quiet_share, noisy_share]))[:, None]
        taught_sums = taught_sums + taught * TERMS[problem.distill.objective](share * fixed.soft - fixed.soft_targets)
    quiet_push, noisy_push = barrier(quiet_push), barrier(noisy_push)

    def by_feature(by_row: Array) -> Array:
        by_row = _with_zero(barrier(by_row))
        return barrier(_total(by_row[rows] for rows in quiet.rows))

    slot_push = barrier(_with_zero(quiet_push)[quiet.place])
    zg = barrier(z * slot_push)
    powers = by_feature((raised_to(z, q) * slot_push).sum(0))
    gradient = raised_to(jnp.maximum(live.own, 0), q - 1) * fixed.small * (powers / threshold ** (q - 1))
    order = jnp.arange(len(live.own), dtype=border.order.dtype)[:, None]

    def add_large(rank: Array, total: Array) -> Array:
        neuron, overlaps = _large_neuron(live, border, rank)
        rows = row_sums(_in_rows(overlaps, problem), problem.activation, threshold, z, zg, None, None)
        return total + jnp.where(order == neuron, by_feature(rows), 0)

    gradient = jax.lax.fori_loop(0, border.large, add_large, gradient)
    # Multi-view samples push live foreign pairs like those of an absent class, but where they hold the class.
    met = quiet.meetings
    absent = by_feature((raised_to(z, q) * barrier(quiet_absent)[problem.rows.sample]).sum(0))
    differences = _with_zero(quiet_push)[met.place] - _with_zero(quiet_absent)[met.sample]
    differences = raised_to(met.coefficient, q) * barrier(differences)
    foreign_push = border.rate + _total(differences[t] for t in range(len(differences)))
    foreign_push = foreign_push + absent[jnp.minimum(noisy.foreign_feature, len(absent) - 1)]
    own_push = barrier(_with_zero(noisy_push)[noisy.own.place])
    label_push = barrier(_with_zero(noisy_push)[noisy.foreign.place])
    own = slope(outputs.own, threshold) * own_push
    foreign = slope(outputs.foreign, threshold) * label_push
    rate = problem.rate
    by_pair = _total((foreign * noisy.foreign.coefficient)[:, t] for t in range(foreign.shape[1]))
    by_own = _total((own * noisy.own.coefficient)[:, t] for t in range(own.shape[1]))
    stepped = Live(
        live.own - rate * (gradient + by_own),
        live.foreign - rate * (by_pair + foreign_push * slope(live.foreign, threshold)) - border.drift,
        live.own_noise - rate * (own * noisy.own.noise_norm),
        live.label_noise - rate * (foreign * noisy.foreign.noise_norm),
    )
    absent = pushes.absent + jnp.concatenate([quiet_absent, noisy_absent])
    return stepped, Pushes(
        pushes.quiet + quiet_push, pushes.noisy + noisy_push, absent, pushes.foreign + foreign_push, taught_sums
    )

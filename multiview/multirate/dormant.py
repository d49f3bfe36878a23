"""Borders between blocks: the summed pushes reach the dormant pairs, and what these add to the logits is computed anew.

A dormant overlap moves so little in a block that the order of its steps does not matter: its slope is taken in the
middle of the block. (Skipping small overlaps altogether would not be exact: over a whole training they move by about a
per cent.)
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from multiview.multirate.live import Constants, live_logits
from multiview.multirate.live import constants as constants_of
from multiview.multirate.state import (
    LONGEST_BLOCK,
    Border,
    Dormant,
    Live,
    MultirateState,
    Problem,
    feature_class,
    no_pushes,
    whole_weights,
)
from multiview.network.activation import raised_to
from multiview.training.losses import truncation

# What dormant pairs add to a logit may change by so much in a block: the rounding of a logit of 1 in single precision.
LARGEST_CHANGE = 1e-7
# The largest foreign overlaps may change by this share of themselves in a block. One step of a block is off by about a
# twelfth of the third power of this share.
LARGEST_SHARE = 0.01
# Where blocks would have to be shorter, or a pair is no longer small, the next steps step all pairs.
SHORTEST_BLOCK = 4
PAUSE = 64


def gain(overlaps: Float[Array, "... m"], problem: Problem) -> Float[Array, ...]:
    """Compute Σ_r [⟨w_r, v⟩]_+^q / (q ϱ^{q−1}), the output for a patch of strength 1 while all are below ϱ."""
    q = problem.power
    powers = raised_to(jnp.maximum(overlaps, 0), q)
    # A product with ones: a plain reduction over the last axis is slow on the CPU.
    return (powers @ jnp.ones(powers.shape[-1], powers.dtype)) / (q * problem.threshold ** (q - 1))


def foreign_gain(live: Live, problem: Problem) -> Float[Array, " u"]:
    """Compute the gain of each live foreign pair."""
    q = problem.power
    return raised_to(jnp.maximum(live.foreign, 0), q).sum(0) / (q * problem.threshold ** (q - 1))


def _noisy_pre_activations(weights: Array, noise: Array, problem: Problem) -> Float[Array, "j k m"]:
    """Compute the pre-activations of dormant pairs of the patches with noise; 0 for live pairs."""
    pairs = problem.pairs.noisy
    pre = pairs.coefficient[:, None, None] * weights[pairs.feature] + pairs.noise_norm[:, None, None] * noise
    return jnp.where(pairs.is_dormant[..., None], pre, 0)


def _foreign(problem: Problem, classes: int) -> Float[Array, "f k"]:
    """Mark with 1 the pairs of a feature and a class other than its own."""
    own = feature_class(problem)[:, None] == jnp.arange(classes, dtype=jnp.int32)
    return jnp.where(own, 0, 1).astype(problem.weights.dtype)


def dormant_logits(dormant: Dormant, problem: Problem) -> Float[Array, "n k"]:
    """Compute what dormant pairs, and live foreign ones in multi-view samples, add to the logits of all samples."""
    k = dormant.weights.shape[1]
    quiet = problem.powers @ (gain(dormant.weights, problem) * _foreign(problem, k))
    values = problem.activation.value(
        _noisy_pre_activations(dormant.weights, dormant.noise, problem), problem.threshold
    )
    by_patch = values @ jnp.ones(values.shape[-1], values.dtype)
    pairs = problem.pairs.noisy
    count = pairs.present.place.shape[0]
    noisy = jax.ops.segment_sum(by_patch, pairs.sample, count + 1, indices_are_sorted=True)[:-1]
    return jnp.concatenate([quiet, noisy])


def set_border(live: Live, dormant: Dormant, means: tuple[Array, Array], problem: Problem) -> Border:
    """Fix what the steps of the next block need.

    Args:
        live: overlaps of live pairs.
        dormant: overlaps of all pairs, live ones with features written in.
        means: `Border.rate` and `Border.drift`.
        problem: what the network is trained on.

    Returns:
        The border.
    """
    order = jnp.argsort(-live.own, axis=0).astype(jnp.int32)
    # With room to grow: a block ends when a small neuron reaches ϱ, and may not end at once.
    is_large = live.own * problem.largest_coefficient > problem.threshold / 2
    large = is_large.sum(0, dtype=jnp.int32).max()
    return Border(dormant_logits(dormant, problem), foreign_gain(live, problem), *means, order, large)


def apply_pushes(
    live: Live, dormant: Dormant, state: MultirateState, problem: Problem
) -> tuple[Live, Dormant, tuple[Float[Array, " u"], Float[Array, "m u"]]]:
    """Let the sums since the last border reach the dormant pairs; without steps since then nothing changes.

    Args:
        live: overlaps of live pairs now.
        dormant: overlaps of all pairs at the last border.
        state: the sums and what was fixed.
        problem: what the network is trained on.

    Returns:
        Live and dormant overlaps, live ones with features written in, and the block's `Border.rate` and `Border.drift`.
    """
    pushes, border, steps = state.pushes, state.border, state.steps.astype(problem.weights.dtype)
    pairs, slope, rate, threshold = problem.pairs, problem.activation.slope, problem.rate, problem.threshold
    k = border.logits.shape[1]
    count = pairs.quiet.present.place.shape[0]

    def all_classes(present_pushes: Array, place: Array, absent: Array) -> Array:
        own = jnp.take_along_axis(present_pushes.T, jnp.maximum(place, 0), axis=1)
        return jnp.where(place >= 0, own, absent)

    absent = jnp.exp(border.logits) * pushes.absent[:, None]
    if problem.distill is not None and pushes.taught.size:
        _, cap = truncation(problem.distill, absent.dtype)
        absent = absent + jnp.where(border.logits < cap, problem.weights[:, None] * pushes.taught, 0)
    push = jnp.concatenate([
        all_classes(pushes.quiet, pairs.quiet.present.place, absent[:count]),
        all_classes(pushes.noisy, pairs.noisy.present.place, absent[count:]),
    ])  # fmt: skip
    foreign_push = problem.powers.T @ push[:count] * _foreign(problem, k)
    noisy = pairs.noisy
    of_patch = rate * jnp.concatenate([push[count:], jnp.zeros((1, k), push.dtype)])[noisy.sample][..., None]

    def moves(at: Dormant) -> tuple[Dormant, Array]:
        """Sum the steps of the block, all with the slopes at one point; also those by single-view samples alone."""
        pre = _noisy_pre_activations(at.weights, at.noise, problem)
        moved = jnp.where(noisy.is_dormant[..., None], slope(pre, threshold) * of_patch, 0)
        by_patch = noisy.coefficient[:, None, None] * moved
        by_patch = jnp.concatenate([by_patch, jnp.zeros_like(by_patch[:1])])
        by_feature = by_patch[noisy.own.patch[0]]
        for patches in noisy.own.patch[1:]:
            by_feature = by_feature + by_patch[patches]
        weights = rate * foreign_push[..., None] * slope(at.weights, threshold) + by_feature
        return Dormant(weights, noisy.noise_norm[:, None, None] * moved), by_feature

    # With slopes at this point, one step equals n equal steps of descent but for terms of the third order.
    ahead = 0.5 - 0.5 / jnp.maximum(steps, 1)
    middle = jax.tree.map(lambda x, move: x - ahead * move, dormant, moves(dormant)[0])
    all_moves, by_feature = moves(middle)
    weights, noise = dormant.weights - all_moves.weights, dormant.noise - all_moves.noise

    def at_pairs(values: Array) -> Array:
        return values.at[noisy.foreign_feature, noisy.foreign_class].get(mode="fill", fill_value=0)

    owed = at_pairs(foreign_push) - pushes.foreign  # what steps have not seen of the pushes of multi-view samples
    between = 0.5 * (live.foreign + at_pairs(dormant.weights).T)  # steps have moved them meanwhile
    by_others = at_pairs(by_feature).T
    also_owed = by_others - steps * border.drift
    halfway = between - ahead * (rate * owed * slope(between, threshold) + also_owed)
    foreign = live.foreign - rate * owed * slope(halfway, threshold) - also_owed
    some = steps > 0
    live = live._replace(foreign=jnp.where(some, foreign, live.foreign))
    weights = whole_weights(live, jnp.where(some, weights, dormant.weights), problem)
    number = jnp.maximum(steps, 1)
    means = border.rate + owed / number, jnp.where(some, by_others / number, border.drift)
    return live, Dormant(weights, jnp.where(some, noise, dormant.noise)), means


def a_pair_is_large(dormant: Dormant, problem: Problem) -> Bool[Array, ""]:
    """Say whether a pre-activation that should stay far below ϱ exceeds half of it."""
    foreign = dormant.weights.max(-1) * _foreign(problem, dormant.weights.shape[1])
    largest = (foreign.max(1) * problem.largest_coefficient).max()
    noisy = _noisy_pre_activations(dormant.weights, dormant.noise, problem).max()
    return jnp.maximum(largest, noisy) > 0.5 * problem.threshold


def cross_border(state: MultirateState, problem: Problem) -> MultirateState:
    """End a block: step the dormant pairs, fix what the next block needs, and choose its longest length."""
    live, dormant, means = apply_pushes(state.live, state.dormant, state, problem)
    border = set_border(live, dormant, means, problem)
    change = jnp.abs(border.logits - state.border.logits).max()
    foreign = _foreign(problem, dormant.weights.shape[1])[..., None]
    moved = (jnp.abs(dormant.weights - state.dormant.weights) * foreign).max()
    share = moved / (dormant.weights * foreign).max()  # the largest ones move most
    excess = jnp.maximum(change / LARGEST_CHANGE, share / LARGEST_SHARE)
    factor = jnp.clip(0.8 / excess, 0.25, 2)
    factor = jnp.where(jnp.isfinite(factor), factor, 2)  # a network that turned non-finite ends soon
    fitting = state.steps.astype(factor.dtype) * factor
    fitting = jnp.where((factor >= 1) & (state.steps < state.longest), state.longest.astype(factor.dtype), fitting)
    longest = jnp.clip(fitting, 1, LONGEST_BLOCK).astype(jnp.int32)
    pause = jnp.where((longest < SHORTEST_BLOCK) | a_pair_is_large(dormant, problem), PAUSE, 0).astype(jnp.int32)
    return state._replace(
        live=live, dormant=dormant, pushes=no_pushes(problem, len(state.pushes.taught)), border=border,
        steps=jnp.zeros_like(state.steps), longest=longest, pause=pause,
    )  # fmt: skip


def block_goes_on(state: MultirateState, fixed: Constants, problem: Problem) -> Bool[Array, ""]:
    """Say whether another step may follow before the next border; after a border one always may."""
    drift = jnp.abs(foreign_gain(state.live, problem) - state.border.gain).max(initial=0)
    drifts = drift * raised_to(problem.largest_coefficient.max(), problem.power) > LARGEST_CHANGE
    grown = ((state.live.own * fixed.small).max(0) * problem.largest_coefficient).max() > problem.threshold
    return (state.steps == 0) | ((state.steps < state.longest) & ~drifts & ~grown)


def all_logits(live: Live, dormant: Dormant, state: MultirateState, problem: Problem) -> Float[Array, "n k"]:
    """Compute the logits of all samples and classes, from overlaps to which all pushes have been applied."""
    border = state.border._replace(logits=dormant_logits(dormant, problem))
    fixed = constants_of(border, problem._replace(distill=None, targets=None))
    outputs = live_logits(live, border, fixed, problem)

    def spread(present_logits: Array, place: Array, absent: Array) -> Array:
        own = jnp.take_along_axis(present_logits.T, jnp.maximum(place, 0), axis=1)
        return jnp.where(place >= 0, own, absent)

    quiet, noisy = problem.pairs.quiet.present.place, problem.pairs.noisy.present.place
    count = quiet.shape[0]
    return jnp.concatenate([
        spread(outputs.quiet, quiet, border.logits[:count]), spread(outputs.noisy, noisy, border.logits[count:])
    ])  # fmt: skip

"""A network while it trains by multirate steps, and how it becomes `Parameters` and is made of them.

Multirate methods (Gear and Wells, 1984) step the fast components of a system often and the slow ones seldom. Here the
fast components are the overlaps of live pairs (`world.pairs`). They are stepped in every step, and their pushes, the
logit gradients, are summed over a block of steps. At the border of the block these sums reach the dormant pairs in one
step, and what dormant pairs add to the logits is computed anew. Borders depend on the network alone: a network that is
looked at, stored or resumed inside a block stays inside it.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from multiview.config import DistillConfig
from multiview.network.activation import Activation
from multiview.network.parameters import Parameters
from multiview.world.pairs import Pairs
from multiview.world.patches import NoiselessRows, NoisyRows

LONGEST_BLOCK = 256  # steps; longer blocks gain little, because a border then costs less than a tenth of its block


class Live(NamedTuple):
    """Overlaps of live pairs.

    Attributes:
        own: neurons of each feature's class with the feature.
        foreign: neurons of the label with the foreign features of single-view samples, by pair.
        own_noise: neurons of the class of the feature in a single-view patch with the patch's noise.
        label_noise: neurons of the label with the noise of the patches of foreign features, by pair.
    """

    own: Float[Array, "m f"]
    foreign: Float[Array, "m u"]
    own_noise: Float[Array, "m t f"]
    label_noise: Float[Array, "m t2 u"]


class Dormant(NamedTuple):
    """Overlaps of all pairs as they were at the last border; those of live noise are stale.

    Attributes:
        weights: overlaps with features.
        noise: overlaps with the noise of the J patches of single-view samples.
    """

    weights: Float[Array, "f k m"]
    noise: Float[Array, "j k m"]


class Pushes(NamedTuple):
    """Sums of the logit gradients over the steps of a block.

    Attributes:
        quiet: for the classes in each multi-view sample.
        noisy: for the classes in each single-view sample.
        absent: for an absent class whose logit is 0; that of another logit D is e^D times as large.
        foreign: on the live foreign pairs, by multi-view samples, as far as steps have taken them.
        taught: distillation term of absent classes, before its weight; without a teacher it has no rows.
    """

    quiet: Float[Array, "q n"]
    noisy: Float[Array, "q2 n2"]
    absent: Float[Array, " n3"]
    foreign: Float[Array, " u"]
    taught: Float[Array, "n4 k"]


class Border(NamedTuple):
    """What is fixed between two borders.

    Attributes:
        logits: what dormant pairs add to the logits of all samples.
        gain: Σ_r [⟨w_r, v⟩]_+^q of the live foreign pairs, which multi-view samples see as they were at the border.
        rate: mean push of multi-view samples on the live foreign pairs, as far as steps do not compute it (that of a
            teacher on absent classes), from the block before.
        drift: mean step of these pairs by single-view samples of other classes, from the block before.
        order: neurons of each feature's class, from the largest overlap to the smallest.
        large: how many of them are evaluated one by one; all others stay below ϱ and add up in closed form.
    """

    logits: Float[Array, "n k"]
    gain: Float[Array, " u"]
    rate: Float[Array, " u"]
    drift: Float[Array, "m u"]
    order: Int[Array, "m f"]
    large: Int[Array, ""]


class MultirateState(NamedTuple):
    """The state of training of one network.

    Attributes:
        live: overlaps of live pairs now.
        dormant: overlaps of all pairs at the last border.
        pushes: sums since then.
        border: what is fixed since then.
        steps: number of steps since then.
        longest: number of steps after which the next border comes at the latest.
        pause: number of steps that are to step all pairs now, because dormant pairs grow.
        all_pairs_steps: number of such steps so far.
        reached: number of the next step.
    """

    live: Live
    dormant: Dormant
    pushes: Pushes
    border: Border
    steps: Int[Array, ""]
    longest: Int[Array, ""]
    pause: Int[Array, ""]
    all_pairs_steps: Int[Array, ""]
    reached: Int[Array, ""]


class Problem(NamedTuple):
    """What one network is trained on: samples, activation, rate, teacher.

    Attributes:
        rows: the patches of multi-view samples.
        pairs: the live pairs of the training set.
        powers: Σ z^q of each feature in each multi-view sample.
        largest_coefficient: the largest z of each feature in a multi-view sample.
        weights: weight of each sample.
        activation: of the neurons; a power below ϱ.
        power: its q.
        threshold: ϱ.
        rate: η.
        targets: the teacher's truncated soft outputs; None without a teacher.
        distill: the distillation term; None without a teacher.
    """

    rows: NoiselessRows
    pairs: Pairs
    powers: Float[Array, "n f"]
    largest_coefficient: Float[Array, " f"]
    weights: Float[Array, " n2"]
    activation: Activation
    power: float
    threshold: Float[Array, ""]
    rate: Float[Array, ""]
    targets: Float[Array, "n2 k"] | None
    distill: DistillConfig | None

    @property
    def views(self) -> int:
        """The number of views L."""
        return self.pairs.noisy.own_of.shape[0]


def feature_class(problem: Problem) -> Int[Array, " f"]:
    """Return the class of each feature."""
    features = problem.largest_coefficient.shape[0]
    return jnp.arange(features, dtype=jnp.int32) // problem.views


def no_pushes(problem: Problem, taught_rows: int) -> Pushes:
    """Return sums over no steps."""
    quiet, noisy = problem.pairs.quiet.present, problem.pairs.noisy.present
    dtype, k = problem.weights.dtype, quiet.place.shape[1]
    return Pushes(
        jnp.zeros(quiet.classes.shape, dtype),
        jnp.zeros(noisy.classes.shape, dtype),
        jnp.zeros(problem.weights.shape, dtype),
        jnp.zeros(problem.pairs.noisy.foreign_class.shape, dtype),
        jnp.zeros((taught_rows, k), dtype),
    )


def split(parameters: Parameters, problem: Problem) -> tuple[Live, Dormant]:
    """Split the parameters of a network into live and dormant overlaps."""
    pairs, own_class = problem.pairs.noisy, feature_class(problem)
    weights, noise = parameters.weights, parameters.noise[1]
    assert noise is not None
    m, k = noise.shape[:2]
    noise = noise.reshape(m, k, -1).at[:, :, pairs.slot].get(mode="fill", fill_value=0).transpose(2, 1, 0)

    def of(patch: Array, classes: Array) -> Array:
        return noise.at[patch, jnp.broadcast_to(classes, patch.shape)].get(mode="fill", fill_value=0).transpose(2, 0, 1)

    live = Live(
        weights[jnp.arange(len(own_class)), own_class].T,
        weights.at[pairs.foreign_feature, pairs.foreign_class].get(mode="fill", fill_value=0).T,
        of(pairs.own.patch, own_class),
        of(pairs.foreign.patch, pairs.foreign_class),
    )
    return live, Dormant(weights, noise)


def whole_weights(live: Live, weights: Float[Array, "f k m"], problem: Problem) -> Float[Array, "f k m"]:
    """Write the live overlaps into the overlaps of all pairs with features."""
    pairs, own_class = problem.pairs.noisy, feature_class(problem)
    weights = weights.at[jnp.arange(len(own_class)), own_class].set(live.own.T)
    return weights.at[pairs.foreign_feature, pairs.foreign_class].set(live.foreign.T, mode="drop")


def merge(live: Live, dormant: Dormant, problem: Problem, noisy: NoisyRows) -> Parameters:
    """Put live and dormant overlaps together as the parameters of a network."""
    pairs, own_class = problem.pairs.noisy, feature_class(problem)

    def write(noise: Array, patch: Array, classes: Array, values: Array) -> Array:
        return noise.at[patch, jnp.broadcast_to(classes, patch.shape)].set(values.transpose(1, 2, 0), mode="drop")

    noise = write(dormant.noise, pairs.own.patch, own_class, live.own_noise)
    noise = write(noise, pairs.foreign.patch, pairs.foreign_class, live.label_noise)
    _, k, m = noise.shape
    rows = jnp.zeros((m, k, noisy.coefficient.size), noise.dtype)
    rows = rows.at[:, :, pairs.slot].set(noise.transpose(2, 1, 0), mode="drop")
    return Parameters(
        whole_weights(live, dormant.weights, problem), (None, rows.reshape(m, k, *noisy.coefficient.shape))
    )


def expect_teacher(state: MultirateState) -> MultirateState:
    """Make room for the pushes of a teacher, where there is none yet; works on a block of networks."""
    if state.pushes.taught.size:
        return state
    return state._replace(pushes=state.pushes._replace(taught=jnp.zeros_like(state.border.logits)))


def barrier(*values: Array) -> Array:
    """Keep XLA from computing a value inside the gathers and sums that follow, element by element."""
    return jax.lax.optimization_barrier(values[0])

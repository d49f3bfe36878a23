"""The theory's network as a system: hand-written passes, gradient descent with its options, or the gradient flow.

By multirate steps the networks of a block are trained one after another, as each ends its blocks of steps where it has
to. Otherwise they take every step together.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from multiview import streams
from multiview.config import DistillConfig, NetworkConfig, Study, TrainConfig
from multiview.multirate import training as multirate
from multiview.multirate.state import LONGEST_BLOCK, MultirateState, expect_teacher
from multiview.network.outputs import fresh_logits, logits
from multiview.network.parameters import Parameters, init_network
from multiview.systems.protocol import Seen, Settings, Sizes, System
from multiview.training.flow import flow, start_flow
from multiview.training.forecast import Footprint, Shapes, Work, expected_slots
from multiview.training.optimizer import decays_alone, make_optimizer
from multiview.training.step import TrainingState, advance
from multiview.world.task import Task

FORWARD_SHARE = 0.4  # a forward pass is about 0.4 of a step


@partial(streams.jit_for_draws, static_argnames=("sizes",))
def _start(
    keys: Array, batch_keys: Array | None, task: Task, settings: Settings, sizes: Sizes
) -> TrainingState | MultirateState:
    def start_one(
        key: Array, network: NetworkConfig, train: TrainConfig, batch_key: Array | None
    ) -> TrainingState | MultirateState:
        dtype = jnp.dtype(train.dtype)
        parameters = init_network(key, task.patches, sizes.dimension, sizes.classes, network, dtype)
        if not multirate.why_not(train, network, None, task):
            return multirate.start(parameters, task, network, train)
        if train.solver == "gradient_flow":
            return TrainingState(parameters, start_flow(parameters))
        batches = () if batch_key is None else jax.random.key_data(batch_key)
        optimizer, whole = make_optimizer(train), jnp.ones((), dtype)
        decays = task.data.patches is None and decays_alone(train)
        idle = (whole, optimizer.init(whole)) if decays else ()
        return TrainingState(parameters, optimizer.init(parameters), batches, idle)

    return jax.vmap(start_one)(keys, settings.network, settings.train, batch_keys)


# Held while networks take no steps, so that one thread compiles the program of pauses, which is seldom needed.
_compiling = threading.Lock()


@partial(jax.jit, donate_argnums=0, static_argnames=("all_pairs",))
def _multirate_steps(
    state: MultirateState, last: Array, task: Task, teacher: Array | None, settings: Settings, *, all_pairs: bool
) -> MultirateState:
    """Take steps one network after another, each up to `last` or to the next border of its pauses."""
    follow = multirate.advance_all_pairs if all_pairs else multirate.advance
    return jax.lax.map(
        lambda one: follow(one[0], last, task, *one[1:]),
        (state, teacher, settings.network, settings.train, settings.distill),
    )


def _advance(
    state: TrainingState | MultirateState,
    first: Array,
    last: Array,
    least: Array,
    task: Task,
    teacher: Array | None,
    settings: Settings,
    sizes: Sizes,
) -> TrainingState | MultirateState:
    """Take all steps; `least` is for systems that may continue while a sample is wrong."""
    if isinstance(state, MultirateState) and multirate.why_not(
        settings.train, settings.network, settings.distill, task
    ):
        parameters = _look(state, task, settings, sizes).parameters  # a teacher whose objective they do not cover
        state = jax.vmap(lambda p, t: TrainingState(p, make_optimizer(t).init(p)))(parameters, settings.train)
    if not isinstance(state, MultirateState):
        return all_pairs_steps(state, first, last, task, teacher, settings)
    state = state._replace(reached=jnp.broadcast_to(first, state.reached.shape))
    if teacher is not None:
        state = expect_teacher(state)
    now = _multirate_steps(state, last, task, teacher, settings, all_pairs=False)
    while bool((now.reached < last).any()):
        with _compiling:
            now = _multirate_steps(now, first, task, teacher, settings, all_pairs=True)
        now = _multirate_steps(now, last, task, teacher, settings, all_pairs=True)
        now = _multirate_steps(now, last, task, teacher, settings, all_pairs=False)
    return now


@partial(jax.jit, donate_argnums=0)
def all_pairs_steps(
    state: TrainingState, first: Array, last: Array, task: Task, teacher: Array | None, settings: Settings
) -> TrainingState:
    """Take the steps `first` … `last` − 1 of all networks of a block, of descent or along the gradient flow.

    Args:
        state: states of the networks; their memory is used again.
        first: number of the first step.
        last: number of the step before which to stop.
        task: the training samples.
        teacher: the teacher's scaled logits, for each network; None without a teacher.
        settings: of each network.

    Returns:
        Their states.
    """

    def advance_one(
        s: TrainingState, t: Array | None, network: NetworkConfig, train: TrainConfig, distill: DistillConfig | None
    ) -> TrainingState:
        follow = flow if train.solver == "gradient_flow" else advance
        return follow(s, first, last, task, t, network, train, distill)

    return jax.vmap(advance_one)(state, teacher, settings.network, settings.train, settings.distill)


def _look(state: TrainingState | MultirateState, task: Task, settings: Settings, sizes: Sizes) -> Seen:
    if isinstance(state, MultirateState):
        parameters, outputs = jax.lax.map(
            lambda one: multirate.look(one[0], task, *one[1:]),
            (state, settings.network, settings.train, settings.distill),
        )
        return Seen(parameters, outputs, task, all_pairs_steps=state.all_pairs_steps)
    outputs = jax.vmap(lambda p, n: logits(p, task.patches, n))(state.parameters, settings.network)
    flows = settings.train.solver == "gradient_flow"
    return Seen(state.parameters, outputs, task, None, state.optimizer_state.evaluations if flows else None)


def _keep(
    state: TrainingState | MultirateState, task: Task, settings: Settings, sizes: Sizes
) -> Array | tuple[Array, Array]:
    if isinstance(state, MultirateState):
        return _look(state, task, settings, sizes).parameters.weights
    return (state.parameters.weights, state.idle[0]) if state.idle else state.parameters.weights


@partial(jax.jit, static_argnames=("sizes",))
def answer(kept: Array | tuple[Array, Array], keys: Array, task: Task, settings: Settings, sizes: Sizes) -> Array:
    """Compute logits of networks on test samples, with fresh noise overlaps [B, n, k].

    Args:
        kept: weights [B, D, k, m]; or these, and what decay has left of each unit of an overlap with fresh noise [B].
        keys: typed keys of the noise [B].
        task: the test samples.
        settings: gives σ₀.
        sizes: not needed here.
    """
    weights, left = kept if isinstance(kept, tuple) else (kept, None)

    def answer_one(w: Array, key: Array, network: NetworkConfig, share: Array | None) -> Array:
        if share is not None:
            network = dataclasses.replace(network, init_std=network.init_std * share)  # type: ignore[arg-type]
        return fresh_logits(key, w, task.patches, network)

    return jax.vmap(answer_one)(weights, keys, settings.network, left)


def footprint(shapes: Shapes, study: Study) -> Footprint:
    """Count the parameters, the state of solver or optimiser, and the numbers that forward passes keep."""
    each = shapes.classes * shapes.neurons
    parameters = (shapes.dimension + shapes.tracked) * each
    if _by_multirate_steps(study):
        # Live pairs are stored twice, and for each network the part of the logits that is fixed between borders.
        # Crossing a border takes about nine arrays of the size of the parameters, of one network at a time.
        return Footprint(1.07 * parameters + shapes.samples * shapes.classes, 0, 9 * parameters)
    # Vectors keep their pre-activations three times; rows keep four numbers for each class, because neurons are summed
    # one after another.
    kept = 3 * shapes.vectors * each + 4 * shapes.slots * shapes.classes
    if study.train.changes_patches:  # each network stores its own patches, and mixed noise with its gradient
        mixes_noise = study.train.mixup != "none" and shapes.noise
        kept += shapes.samples * shapes.patches * (shapes.dimension + (2 * each if mixes_noise else 0))
    return Footprint(parameters * (1 + _optimizer_numbers(jax.tree.structure(study.train))), kept)


def work(shapes: Shapes, study: Study) -> Work:
    """Count the activations of a network: every patch once in each step, and a forward pass over the test samples.

    The gradient flow takes fewer steps than descent, but each step costs more, so that its wall time is about the same.
    """
    data = study.data
    each, noisy = _each_patch(study)
    if data.representation != "limit_single_view_noise":
        trained, test = data.num_train * noisy, (data.num_test_multi_view + data.num_test_single_view) * noisy
    else:
        trained = (data.num_train - data.num_single_view_train) * each + data.num_single_view_train * noisy
        test = data.num_test_multi_view * each + data.num_test_single_view * noisy
    step = expected_slots(data, trained)
    if _by_multirate_steps(study):
        quiet_patches = expected_slots(data, data.num_train - data.num_single_view_train)
        noisy_patches = expected_slots(data, data.num_single_view_train)
        parameters = (data.num_features + noisy_patches) * data.num_classes * study.network.neurons_per_class
        step = 6 * quiet_patches + 4 * noisy_patches * study.network.neurons_per_class + 10 * parameters / LONGEST_BLOCK
    if study.train.changes_patches and data.representation != "dense":  # every patch, as a vector, on every neuron
        per_vector = shapes.classes * shapes.neurons * max(1.0, data.num_features / 8)
        step = data.num_train * data.num_patches * per_vector
    return Work(step, FORWARD_SHARE * expected_slots(data, test))


def _by_multirate_steps(study: Study) -> bool:
    """Say whether the configuration alone lets a network be trained by multirate steps."""
    return study.train.solver == "multirate" and study.data.representation == "limit_single_view_noise"


def _each_patch(study: Study) -> tuple[float, float]:
    """Count the activations of one patch without noise and of one with noise.

    Without noise, features of other classes are summed in closed form (`network.noiseless`), and only the neurons of
    the feature's class are evaluated.
    """
    data, m = study.data, study.network.neurons_per_class
    if data.representation == "dense":
        return (data.num_classes * m * max(1.0, data.patch_dim / 8),) * 2
    quiet = m + 2.0 * data.num_classes
    return quiet, quiet if data.noise_norm == 0 else float(data.num_classes * m)


@functools.cache
def _optimizer_numbers(static: jax.tree_util.PyTreeDef) -> int:
    """Count the numbers that the solver or optimiser stores for each parameter, from the static part of `train`."""
    train: TrainConfig = jax.tree.unflatten(static, [1] * static.num_leaves)
    weights = jax.ShapeDtypeStruct((1, 1, 64), jnp.float32)  # much larger than an optimiser's counters
    begin = start_flow if train.solver == "gradient_flow" else make_optimizer(train).init
    state = jax.eval_shape(begin, Parameters(weights, ()))  # type: ignore[arg-type]
    return sum(a.size for a in jax.tree.leaves(state)) // weights.size


SYSTEM = System(_start, _advance, _look, _keep, answer, footprint, work, answered_together=4)

r"""Systems linear in their trained parameters, $F_i(X) = F_i^{(0)}(X) + \langle \varphi_i(X), \theta_i\rangle$.

Section 8 of docs/theory.md. Gradient descent moves $\theta_i$ in the span of the training samples' features, so its
steps are taken exactly in the dual:
$\theta_i = \sum_n \alpha_{n,i} \varphi_i(X_n)$, $\alpha \leftarrow \alpha - \eta\,\partial\text{loss}/\partial F$, with
the Gram matrices $G_i = \varphi_i \varphi_i^\top$. A step costs k N² operations, whatever the number of features.

These systems read patches as vectors. In the limit of large d they draw their own noise overlaps.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from multiview.config import DistillConfig, NetworkConfig, Study
from multiview.network.parameters import Parameters, init_network
from multiview.systems.descent import PATIENCE, as_vectors
from multiview.systems.protocol import Seen, Settings, Sizes, System
from multiview.training.forecast import Footprint, Shapes, Work
from multiview.training.losses import cross_entropy_logit_gradient, distillation_logit_gradient
from multiview.training.stopping import count_wrong, until_fitted
from multiview.world.patches import DenseVectors
from multiview.world.task import Task

# Steps that a linear student takes for each step that is asked for: its step size is 1 + weight/T times smaller than
# without a teacher.
STUDENT_STEPS = 10


class LinearModel(NamedTuple):
    """A linear model on its training samples.

    Attributes:
        start_logits: logits at the start [N, k].
        gram: Gram matrix of each class's features [k, N, N]; [1, N, N] if all classes share their features.
    """

    start_logits: Float[Array, "*b n k"]
    gram: Float[Array, "*b g n n"]


class Fitted(NamedTuple):
    """A linear model after gradient descent.

    Attributes:
        dual: coefficients α of the training samples [N, k].
        train_logits: logits on the training samples [N, k].
        steps: steps taken.
    """

    dual: Float[Array, "*b n k"]
    train_logits: Float[Array, "*b n k"]
    steps: Int[Array, "*b"]


class LinearState(NamedTuple):
    """State of a linear system in training.

    Attributes:
        key: data of the typed key of the start, from which the start is drawn again whenever it is needed.
        model: the linear model on the training samples.
        curvature: largest curvature of the loss, from `largest_curvature`.
        dual: coefficients α of the training samples [N, k].
        logits: logits on the training samples [N, k].
        taken: steps taken since this phase of training began.
    """

    key: Array
    model: LinearModel
    curvature: Float[Array, "*b"]
    dual: Float[Array, "*b n k"]
    logits: Float[Array, "*b n k"]
    taken: Int[Array, "*b"]


def pre_activations(weights: Float[Array, "d k m"], noise: Array | None, part: DenseVectors) -> Float[Array, "n p k m"]:
    """Compute the pre-activations of every neuron on every patch, in operations that JAX differentiates forwards."""
    pre = jnp.einsum("npd,dkm->npkm", part.vectors, weights)
    if noise is not None and part.noise_norm is not None:
        pre = pre + part.noise_norm[..., None, None] * noise
    return pre


def largest_curvature(gram: Float[Array, "g n n"], weights: Float[Array, " n"]) -> Array:
    r"""Compute the largest eigenvalue $\lambda_{\max}(W^{1/2} G_i W^{1/2})$ of all weighted Gram matrices."""
    root = jnp.sqrt(weights)
    return jnp.linalg.eigvalsh(root[:, None] * gram * root)[:, -1].max()


def step_size(curvature: Array, distill: DistillConfig | None = None) -> Array:
    r"""Compute the step size of linear systems, $\eta = 2 / (c\,\lambda_{\max})$.

    The curvature of the cross-entropy in the logits of a sample is at most $w_n/2$, and that of the distillation term
    $w_n/(2T)$ times its weight: so $c = 1 + \text{weight}/T$ with a teacher, else 1. Then η times the largest
    curvature is at most 1 and the loss falls in every step. The scale of the features, $(\sigma_0/\varrho)^{q-1}$ for
    tangents and $\sigma_0^q/\varrho^{q-1}$ for random features, enters squared through G.

    Args:
        curvature: $\lambda_{\max}$, from `largest_curvature`.
        distill: the distillation term; None without a teacher.

    Returns:
        η.
    """
    return 2 / (curvature * (1.0 if distill is None else 1 + distill.weight / distill.temperature))


def outputs(model: LinearModel, dual: Float[Array, "n k"]) -> Float[Array, "n k"]:
    """Compute the logits on the training samples at dual coefficients α."""
    if len(model.gram) == 1:
        return model.start_logits + model.gram[0] @ dual
    return model.start_logits + jnp.einsum("knp,pk->nk", model.gram, dual)


def _descend(
    model: LinearModel, curvature: Array, now: tuple[Array, Array], task: Task, first: Array | int, last: Array | int,
    least: Array | int, teacher_logits: Array | None, distill: DistillConfig | None,
) -> Fitted:  # fmt: skip
    labels, weights = task.data.labels, task.data.weights
    rate = step_size(curvature, distill)

    def step(state: tuple[Array, Array]) -> tuple[Array, Array]:
        dual, logits = state
        push = cross_entropy_logit_gradient(logits, labels, weights)
        if distill is not None and teacher_logits is not None:
            push = push + distill.weight * distillation_logit_gradient(logits, teacher_logits, weights, distill)
        dual = dual - rate * push
        return dual, outputs(model, dual)

    (dual, logits), index = until_fitted(step, lambda s: count_wrong(s[1], labels), now, first, last, least)
    return Fitted(dual, logits, index - first)


@jax.jit
def fit(
    model: LinearModel,
    task: Task,
    *,
    min_steps: int | Array,
    max_steps: int | Array,
    dual: Float[Array, "n k"] | None = None,
    teacher_logits: Float[Array, "n k"] | None = None,
    distill: DistillConfig | None = None,
) -> Fitted:
    """Train by gradient descent on all samples, with the step size of `step_size`.

    Args:
        model: the linear model.
        task: the training samples.
        min_steps: number of steps if the training error is 0 after them.
        max_steps: largest number of steps.
        dual: coefficients before the first step [N, k]; by default 0, the model's start.
        teacher_logits: the teacher's scaled logits on the training samples; None without a teacher.
        distill: the distillation term; None without a teacher.

    Returns:
        The trained model.
    """
    begin = jnp.zeros_like(model.start_logits) if dual is None else dual
    curvature = largest_curvature(model.gram, task.data.weights)
    now = (begin, outputs(model, begin))
    return _descend(model, curvature, now, task, 0, max_steps, min_steps, teacher_logits, distill)


def average_model(models: LinearModel) -> LinearModel:
    r"""Make the linear model of the average of K linear models that are trained jointly.

    The gradient in each member carries the factor $1/K$; at a step size K times larger, the Gram matrix of the average
    is the mean of the members' Gram matrices.

    Args:
        models: the members; both arrays have the leading axis K.

    Returns:
        The model.
    """
    return LinearModel(models.start_logits.mean(0), models.gram.mean(0))


def linear_footprint(shapes: Shapes, *, tangents: bool) -> Footprint:
    """Count the numbers that a linear system stores, as the compiler lays them out.

    Networks of a block are trained one after another, so the block stores once: for each patch and neuron the
    pre-activation, the slope and products with it, and as many numbers again if noise is drawn; three copies of the
    features; three copies of the Gram matrices (plain, weighted, and in the computation of eigenvalues). For each
    network it stores the weights, their change, the Gram matrices and the logits.

    Args:
        shapes: shapes of the samples and the network.
        tangents: whether each of k classes has its own m·D tangent features; else all classes share k·m random
            features.

    Returns:
        The footprint of a block.
    """
    n, k, m = shapes.samples, shapes.classes, shapes.neurons
    passes = (10 if shapes.noise else 5) * n * shapes.patches * k * m
    features = n * k * m * (shapes.dimension if tangents else 1)
    gram = (k if tangents else 1) * n**2
    once = passes + 3 * features + 3 * gram + 2 * n * shapes.patches * shapes.dimension
    changed = k * m * (2 * shapes.dimension + max(shapes.dimension, k))
    return Footprint(0, changed + gram + 3 * n * k, once)


def linear_work(shapes: Shapes, study: Study, *, tangents: bool) -> Work:
    """Count the activations of a linear system.

    Before the first step it computes Gram matrices and their eigenvalues, in each step a product with the Gram
    matrices, and in answering the features of each test sample.

    Args:
        shapes: shapes of the samples and the network.
        study: gives the numbers of test samples.
        tangents: see `linear_footprint`.

    Returns:
        The work of one network.
    """
    n, k, m, data = shapes.samples, shapes.classes, shapes.neurons, study.data
    matrices, features = (k, m * shapes.dimension) if tangents else (1, k * m)
    once = matrices * n**2 * (features + 10 * n) / 8
    passes = shapes.patches * k * m * max(1.0, shapes.dimension / 8)
    return Work(k * n**2 / 8, 2 * passes * (data.num_test_multi_view + data.num_test_single_view), once)


def linear_system(
    model: Callable[[Parameters, DenseVectors, NetworkConfig], LinearModel],
    moved: Callable[[Parameters, DenseVectors, NetworkConfig, Array], Parameters],
    change: Callable[[Parameters, DenseVectors, NetworkConfig, Array], Array],
    answers: Callable[[Parameters, Array, DenseVectors, NetworkConfig], Array],
    *,
    tangents: bool,
) -> System:
    """Make a system from a model that is linear in its trained parameters.

    Args:
        model: function from a network's start, the training samples and the activation to the linear model.
        moved: function from start, training samples, activation and dual coefficients to the network's parameters: as
            training moved them, or frozen.
        change: function with the same arguments, to the change of the trained parameters.
        answers: function from the start, this change, any samples and the activation to logits.
        tangents: see `linear_footprint`.

    Returns:
        The system.
    """

    def redraw_start(key: Array, part: DenseVectors, network: NetworkConfig, sizes: Sizes) -> Parameters:
        typed, dtype = jax.random.wrap_key_data(key), part.vectors.dtype
        return init_network(typed, (part,), sizes.dimension, sizes.classes, network, dtype)

    @partial(jax.jit, static_argnames=("sizes",))
    def start(keys: Array, batch_keys: None, task: Task, settings: Settings, sizes: Sizes) -> LinearState:
        part, dtype = as_vectors(task, sizes), task.data.weights.dtype

        def start_one(network: tuple[Array, Settings]) -> LinearState:
            key, one = network
            begin = init_network(key, (part,), sizes.dimension, sizes.classes, one.network, dtype)
            linear = model(begin, part, one.network)
            dual = jnp.zeros_like(linear.start_logits)
            curvature = largest_curvature(linear.gram, task.data.weights)
            return LinearState(
                jax.random.key_data(key), linear, curvature, dual, outputs(linear, dual), jnp.zeros((), jnp.int32)
            )

        return jax.lax.map(start_one, (keys, settings))

    @partial(jax.jit, donate_argnums=0, static_argnames=("sizes",))
    def advance(
        state: LinearState, first: Array, last: Array, least: Array, task: Task, teacher: Array | None,
        settings: Settings, sizes: Sizes,
    ) -> LinearState:  # fmt: skip
        def train_one(network: tuple[LinearState, Array | None, Settings]) -> Fitted:
            now, taught, one = network
            begin = (now.dual, now.logits)
            return _descend(now.model, now.curvature, begin, task, first, last, least, taught, one.distill)

        ended = jax.lax.map(train_one, (state, teacher, settings))
        return state._replace(dual=ended.dual, logits=ended.train_logits, taken=state.taken + ended.steps)

    def look(state: LinearState, task: Task, settings: Settings, sizes: Sizes) -> Seen:
        part = as_vectors(task, sizes)

        def parameters(values: tuple[Array, Array, NetworkConfig]) -> Parameters:
            key, dual, network = values
            return moved(redraw_start(key, part, network, sizes), part, network, dual)

        now = jax.lax.map(parameters, (state.key, state.dual, settings.network))
        return Seen(now, state.logits, Task(task.data, (part,)), None, state.taken)

    def keep(state: LinearState, task: Task, settings: Settings, sizes: Sizes) -> tuple[Array, Array]:
        part = as_vectors(task, sizes)

        def weights_and_change(values: tuple[Array, Array, NetworkConfig]) -> tuple[Array, Array]:
            key, dual, network = values
            begin = redraw_start(key, part, network, sizes)
            return begin.weights, change(begin, part, network, dual)

        return jax.lax.map(weights_and_change, (state.key, state.dual, settings.network))

    @partial(jax.jit, static_argnames=("sizes",))
    def answer(kept: tuple[Array, Array], keys: Array, task: Task, settings: Settings, sizes: Sizes) -> Array:
        part = as_vectors(task, sizes)

        def answer_one(values: tuple[Array, Array, Array, NetworkConfig]) -> Array:
            weights, changed, key, network = values
            fresh = init_network(key, (part,), len(weights), sizes.classes, network, weights.dtype)
            return answers(Parameters(weights, fresh.noise), changed, part, network)

        return jax.lax.map(answer_one, (*kept, keys, settings.network))

    def footprint(shapes: Shapes, study: Study) -> Footprint:
        return linear_footprint(shapes, tangents=tangents)

    def work(shapes: Shapes, study: Study) -> Work:
        return linear_work(shapes, study, tangents=tangents)

    return System(
        start, advance, look, keep, answer, footprint, work,
        resume=lambda state: state._replace(taken=jnp.zeros_like(state.taken)),
        patience=PATIENCE, student_steps=STUDENT_STEPS, alone=True,
    )  # fmt: skip

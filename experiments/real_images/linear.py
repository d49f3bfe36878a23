r"""The convolutional network linearised at its start, and random features: linear in what they train, hence convex.

A linear system is $F = F^{(0)} + \langle\varphi, \theta\rangle$ with features φ that do not change: all tangents
$\nabla F_{\theta_0}$, or those of the readout alone, which are the outputs of the frozen convolutions and a constant.
Gradient descent moves θ in the span of the training images' features, so it is taken exactly in the dual,
$\theta = \sum_{n,i} \alpha_{n,i} \varphi_i(X_n)$, with the Gram matrix $G = \varphi\varphi^\top$.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from experiments.real_images.convolutional import Recipe, Weights, hidden, objective, outputs, wrong_images

System = Literal["lazy", "random_features"]
_State = tuple[Array, Array, Array, Array, Array, Array]
LARGEST_GRAM = 4000  # rows of a Gram matrix that is held; of 100 classes and 200 images it would take 1.6 GB
SMALL_GRADIENT = 1e-3  # of that at the start: the optimum is reached, and what is wrong there stays wrong


class TangentGram(NamedTuple):
    r"""A Gram matrix that is too large to hold, by what it is made of: $G = JJ^\top + (HH^\top + 1) \otimes I_k$.

    Attributes:
        tangents: J, those of the convolutions [N k, p].
        readout: $HH^\top + 1$, of what the readout sees [N, N].
    """

    tangents: Float[Array, "nk p"]
    readout: Float[Array, "n n"]


Gram = Array | TangentGram


class LinearModel(NamedTuple):
    """A linear system as its training images see it.

    Attributes:
        start_logits: F at the start [N, k].
        gram: G, [N k, N k], or its parts; [N, N] where all classes share features.
    """

    start_logits: Float[Array, "n k"]
    gram: Gram


class LinearFit(NamedTuple):
    """A linear system after training.

    Attributes:
        dual: α [N, k].
        train_logits: F on the training images [N, k].
        train_wrong: wrong training images.
        steps: steps taken.
        gradient_left: length of the gradient in θ, in units of that at the start.
    """

    dual: Float[Array, "n k"]
    train_logits: Float[Array, "n k"]
    train_wrong: Array
    steps: Array
    gradient_left: Array


@partial(jax.jit, static_argnames="system")
def linear_model(system: System, begin: Weights, x: Float[Array, "n h w c"]) -> LinearModel:
    """The linear system of one network's start.

    Args:
        system: all tangents, or those of the readout.
        begin: the start.
        x: training images.

    Returns:
        Start logits and Gram matrix.
    """
    features, logits = hidden(begin, x), outputs(begin, x)
    readout = features @ features.T + 1
    if system == "random_features":
        return LinearModel(logits, readout)

    def of_image(image: Array) -> Array:
        def of_convolutions(convolutions: tuple[Any, Any]) -> Array:
            return outputs(Weights(*convolutions, begin.readout), image[None])[0]

        tangents = jax.jacrev(of_convolutions)((begin.first, begin.second))
        return jnp.concatenate([t.reshape(logits.shape[1], -1) for t in jax.tree.leaves(tangents)], axis=1)

    # Some images at a time: the tangents of all of them at once would take far more memory than their result.
    tangents = jax.lax.map(of_image, x, batch_size=16).reshape(logits.size, -1)
    if logits.size > LARGEST_GRAM:
        return LinearModel(logits, TangentGram(tangents, readout))
    of_readout = jnp.kron(readout, jnp.eye(logits.shape[1], dtype=readout.dtype))
    return LinearModel(logits, tangents @ tangents.T + of_readout)


def average_model(models: list[LinearModel]) -> LinearModel:
    r"""The mean of K linear systems trained as one: Gram matrices add up, by $1/K^2$, which the step size undoes by K.

    Args:
        models: the members.
    """
    count, grams = len(models), [m.gram for m in models]
    logits: Any = sum(m.start_logits for m in models) / count
    parts = [gram for gram in grams if isinstance(gram, TangentGram)]
    if parts:
        tangents = jnp.concatenate([g.tangents for g in parts], axis=1) / jnp.sqrt(jnp.float32(count))
        return LinearModel(logits, TangentGram(tangents, jnp.stack([g.readout for g in parts]).mean(0)))
    return LinearModel(logits, sum(grams) / count)  # type: ignore[arg-type]


def _apply(gram: Gram, dual: Array) -> Array:
    if isinstance(gram, TangentGram):
        moved = gram.tangents @ (gram.tangents.T @ dual.reshape(-1))
        return moved.reshape(dual.shape) + gram.readout @ dual
    return gram @ dual if len(gram) == len(dual) else (gram @ dual.reshape(-1)).reshape(dual.shape)


def largest_eigenvalue(gram: Gram, shape: tuple[int, ...]) -> Array:
    """λ_max of a Gram matrix, by 60 rounds of power iteration on dual coefficients of this shape."""

    def turn(_: int, v: Array) -> Array:
        v = _apply(gram, v)
        return v / jnp.linalg.norm(v)

    v = jax.lax.fori_loop(0, 60, turn, 1 + 0.1 * jax.random.normal(jax.random.key(0), shape))
    return (v * _apply(gram, v)).sum() / (v**2).sum()


@partial(jax.jit, static_argnames=("recipe", "min_steps", "max_steps"))
def fit(
    model: LinearModel,
    labels: Int[Array, " n"],
    recipe: Recipe,
    weight: float | Array,
    teacher: Float[Array, "n k"],
    *,
    min_steps: int,
    max_steps: int,
) -> LinearFit:
    r"""Full-batch gradient descent with Nesterov's momentum, begun anew where it points uphill.

    The rule of the step size: $\eta = 2N / ((1 + \text{weight})\,\lambda_{\max}(G))$, one over the largest curvature,
    which the cross-entropy bounds by half in the logits, and the distillation term, times T², likewise. The objective
    is convex, so no other rate or start leads elsewhere.

    Args:
        model: the system.
        labels: of the training images.
        recipe: gives the temperature.
        weight: of the distillation term; 0 without teacher.
        teacher: its logits on the training images.
        min_steps: steps, if the training error is 0 after them.
        max_steps: the longest run otherwise.

    Returns:
        The trained system.
    """
    # Power iteration comes from below; 2 % keep the step on the safe side.
    rate = 2 * len(labels) / ((1 + weight) * 1.02 * largest_eigenvalue(model.gram, model.start_logits.shape))
    slope = jax.grad(lambda logits: objective(logits, labels, teacher, weight, recipe.temperature))

    def logits_at(dual: Array) -> Array:
        return model.start_logits + _apply(model.gram, dual)

    def step(state: _State) -> _State:
        index, dual, logits, ahead, logits_ahead, clock = state
        push = slope(logits_ahead)
        new = ahead - rate * push
        new_logits = logits_at(new)
        clock = jnp.where((push * (new_logits - logits)).sum() > 0, 1.0, clock)
        later = (1 + jnp.sqrt(1 + 4 * clock**2)) / 2
        momentum = (clock - 1) / later
        ahead, logits_ahead = (a + momentum * (a - b) for a, b in ((new, dual), (new_logits, logits)))
        return index + 1, new, new_logits, ahead, logits_ahead, later

    def goes_on(state: _State) -> Array:
        index, _, logits, *_ = state
        return (index < min_steps) | ((wrong_images(logits, labels) > 0) & (index < max_steps))

    zero, begin = jnp.zeros_like(model.start_logits), model.start_logits
    first = (jnp.zeros((), jnp.int32), zero, begin, zero, begin, jnp.ones(()))
    steps, dual, logits, *_ = jax.lax.while_loop(goes_on, step, first)
    length = [jnp.sqrt(jnp.maximum((g * _apply(model.gram, g)).sum(), 0)) for g in (slope(logits), slope(begin))]
    return LinearFit(dual, logits, wrong_images(logits, labels), steps, length[0] / length[1])


@partial(jax.jit, static_argnames="system")
def linear_logits(
    system: System, begin: Weights, dual: Float[Array, "n k"], x: Float[Array, "n h w c"], seen: Float[Array, "t h w c"]
) -> Float[Array, "t k"]:
    """Logits of a trained linear system on other images.

    Args:
        system: which.
        begin: its start.
        dual: α of `fit`.
        x: training images.
        seen: the other images.
    """
    if system == "random_features":
        return outputs(begin, seen) + (hidden(begin, seen) @ hidden(begin, x).T + 1) @ dual
    _, pull_back = jax.vjp(lambda w: outputs(w, x), begin)
    (change,) = pull_back(dual)
    value, derivative = jax.jvp(lambda w: outputs(w, seen), (begin,), (change,))
    return value + derivative

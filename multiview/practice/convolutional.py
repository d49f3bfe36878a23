r"""A small convolutional network, and the systems of the contrast made of it.

Two layers of 3 × 3 convolutions with ReLU and mean pooling, and a trained readout. Everything is trained full batch by
Adam at one rate: Adam does not see the scale of a gradient, so that the average of K networks (gradients divided by K)
and linearised networks need no step size of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float, Int, Key

System = Literal["network", "lazy", "random_features", "average", "lazy_average", "random_features_average"]


class Weights(NamedTuple):
    """Weights of one network.

    Attributes:
        first: [9·C, c₁] and its biases [c₁].
        second: [9·c₁, c₂] and its biases.
        readout: [h, k] and its biases.
    """

    first: tuple[Array, Array]
    second: tuple[Array, Array]
    readout: tuple[Array, Array]


class Recipe(NamedTuple):
    """How networks are made and trained.

    Attributes:
        channels: c₁ and c₂.
        learning_rate: of Adam.
        steps: full-batch steps, the stopping rule.
        temperature: of distillation.
        weight: of the distillation term.
    """

    channels: tuple[int, int] = (8, 16)
    learning_rate: float = 3e-3
    steps: int = 300
    temperature: float = 4.0
    weight: float = 1.0


def _neighbourhoods(x: Float[Array, "n h w c"]) -> Float[Array, "n h w c9"]:
    """The 3 × 3 neighbourhood of every pixel: a convolution is then a product, quick in a batch of networks too."""
    h, w = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return jnp.concatenate([padded[:, a : a + h, b : b + w] for a in range(3) for b in range(3)], -1)


def _pooled(x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c"]:
    n, h, w, c = x.shape
    return x[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))


def hidden(weights: Weights, x: Float[Array, "n h w c"]) -> Float[Array, "n f"]:
    """Outputs of the two convolutional layers, flattened."""
    for kernel, bias in (weights.first, weights.second):
        x = _pooled(jax.nn.relu(_neighbourhoods(x) @ kernel + bias))
    return x.reshape(len(x), -1)


def outputs(weights: Weights, x: Float[Array, "n h w c"]) -> Float[Array, "n k"]:
    """Logits."""
    kernel, bias = weights.readout
    return hidden(weights, x) @ kernel + bias


def start(key: Key[Array, ""], shape: tuple[int, ...], num_classes: int, recipe: Recipe) -> Weights:
    """He's start: N(0, 2/fan-in), biases 0; the readout N(0, 1/fan-in).

    Args:
        key: the network's own.
        shape: height, width and channels of an image.
        num_classes: k.
        recipe: gives the channels.
    """
    height, width, channels = shape
    c1, c2 = recipe.channels
    fans = (9 * channels, 9 * c1, (height // 4) * (width // 4) * c2)
    layers = []
    for k, fan, out, gain in zip(jax.random.split(key, 3), fans, (c1, c2, num_classes), (2.0, 2.0, 1.0), strict=True):
        layers.append((jnp.sqrt(gain / fan) * jax.random.normal(k, (fan, out)), jnp.zeros(out)))
    return Weights(*layers)


def system_outputs(system: System, now: Weights, begin: Weights, x: Array) -> Float[Array, "n k"]:
    r"""Logits of a system: the network, the network linearised at its start, random features, or the mean of K of them.

    Args:
        system: which; averages have the members' axis leading in all weights.
        now: its trained weights.
        begin: its start; lazy is $F_{\theta_0} + \langle\nabla F_{\theta_0}, \theta - \theta_0\rangle$, and random
            features keep its convolutional layers.
        x: images.
    """
    if system.endswith("average"):
        member: Any = system.removesuffix("average").removesuffix("_") or "network"
        return jax.vmap(lambda a, b: system_outputs(member, a, b, x))(now, begin).mean(0)
    if system == "lazy":
        change = jax.tree.map(jnp.subtract, now, begin)
        value, derivative = jax.jvp(lambda w: outputs(w, x), (begin,), (change,))
        return value + derivative
    if system == "random_features":
        return outputs(begin._replace(readout=now.readout), x)
    return outputs(now, x)


def objective(
    logits: Float[Array, "n k"], labels: Int[Array, " n"], teacher: Float[Array, "n k"] | None, recipe: Recipe
) -> Array:
    r"""Cross-entropy, plus weight · T² times the cross-entropy of softened outputs if there is a teacher (Hinton)."""
    loss = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()
    if teacher is None:
        return loss
    t = recipe.temperature
    soft = -(jax.nn.softmax(teacher / t) * jax.nn.log_softmax(logits / t)).sum(-1).mean()
    return loss + recipe.weight * t**2 * soft


class Fitted(NamedTuple):
    """Trained systems, leading axis S: weights, their starts, and wrong training images [S]."""

    weights: Weights
    begin: Weights
    train_wrong: Array


@partial(jax.jit, static_argnames=("system", "num_classes", "recipe"))
def train(
    keys: Key[Array, " *s"],
    x: Float[Array, "n h w c"],
    labels: Int[Array, " n"],
    num_classes: int,
    recipe: Recipe,
    system: System = "network",
    teachers: Float[Array, "s n k"] | None = None,
) -> Fitted:
    """Train one system for each key.

    Args:
        keys: typed keys of the starts [S]; [S, K] for averages of K.
        x: standardised training images.
        labels: their labels.
        num_classes: k.
        recipe: size and training.
        system: which.
        teachers: logits of each student's teacher on the training images.

    Returns:
        The systems.
    """
    optimizer = optax.adam(recipe.learning_rate)
    new: Callable[[Array], Weights] = partial(start, shape=x.shape[1:], num_classes=num_classes, recipe=recipe)

    def one(given: tuple[Array, Array | None]) -> Fitted:
        key, teacher = given
        begin = jax.vmap(new)(key) if system.endswith("average") else new(key)

        def loss(now: Weights) -> Array:
            return objective(system_outputs(system, now, begin, x), labels, teacher, recipe)

        def step(_: int, state: tuple[Weights, optax.OptState]) -> tuple[Weights, optax.OptState]:
            now, memory = state
            change, memory = optimizer.update(jax.grad(loss)(now), memory, now)
            return optax.apply_updates(now, change), memory

        now, _ = jax.lax.fori_loop(0, recipe.steps, step, (begin, optimizer.init(begin)))
        wrong = (system_outputs(system, now, begin, x).argmax(-1).astype(labels.dtype) != labels).sum()
        return Fitted(now, begin, wrong)

    if jax.default_backend() == "cpu":  # one after the other: a batch is no quicker on a core, and needs more memory
        return jax.lax.map(one, (keys, teachers))
    return jax.vmap(one, in_axes=((0, None if teachers is None else 0),))((keys, teachers))


@partial(jax.jit, static_argnames="system")
def logits_of(fitted: Fitted, x: Float[Array, "n h w c"], system: System = "network") -> Float[Array, "s n k"]:
    """Logits of trained systems on images."""
    return jax.lax.map(lambda f: system_outputs(system, f.weights, f.begin, x), fitted)

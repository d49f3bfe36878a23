r"""A small convolutional network, and training K of them as one.

Two layers of 3 × 3 convolutions with ReLU and mean pooling, and a trained readout, trained full batch by Adam.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float, Int, Key

from multiview import streams


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
        steps: full-batch steps, if the training error is 0 after them.
        longest: steps of the longer run otherwise.
        temperature: of distillation.
        weight: of the distillation term.
    """

    channels: tuple[int, int] = (8, 16)
    steps: int = 300
    longest: int = 6000
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
        layers.append((jnp.sqrt(gain / fan) * streams.normal(k, shape=(fan, out)), jnp.zeros(out)))
    return Weights(*layers)


def objective(
    logits: Float[Array, "n k"],
    labels: Int[Array, " n"],
    teacher: Float[Array, "n k"],
    weight: float | Array,
    temperature: float,
) -> Array:
    r"""Cross-entropy, plus weight · T² times the cross-entropy of softened outputs (Hinton, Vinyals and Dean 2015).

    Args:
        logits: of the student.
        labels: of the images.
        teacher: the teacher's logits.
        weight: 0 for training without a teacher.
        temperature: T.
    """
    loss = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()
    soft = -(jax.nn.softmax(teacher / temperature) * jax.nn.log_softmax(logits / temperature)).sum(-1).mean()
    return loss + weight * temperature**2 * soft


def wrong_images(logits: Float[Array, "n k"], labels: Int[Array, " n"]) -> Array:
    """Number of images whose largest logit is not that of their label."""
    return (logits.argmax(-1).astype(labels.dtype) != labels).sum()


class Fitted(NamedTuple):
    """Trained networks, leading axis S; averages have an axis of members K after it in their weights.

    Attributes:
        weights: all of them.
        train_logits: on the training images [S, n, k].
        train_wrong: wrong training images [S].
        steps: steps taken [S].
    """

    weights: Weights
    train_logits: Array
    train_wrong: Array
    steps: Array


class _State(NamedTuple):
    taken: Array  # steps that led to `now`
    now: Weights
    logits: Array
    wrong: Array
    after: Weights
    memory: optax.OptState


@partial(streams.jit_for_draws, static_argnames=("shape", "num_classes", "recipe"))
def _starts(keys: Array, shape: tuple[int, ...], num_classes: int, recipe: Recipe) -> Weights:
    """Starts of all members of all systems [S, K]."""
    return jax.vmap(jax.vmap(lambda key: start(key, shape, num_classes, recipe)))(keys)


@partial(jax.jit, static_argnames="recipe")
def _train(
    starts: Weights,
    x: Array,
    labels: Array,
    recipe: Recipe,
    rate: Array,
    teachers: Array,
    weight: Array,
    longest: Array,
) -> Fitted:
    optimizer = optax.adam(rate)

    def one(given: tuple[Weights, Array]) -> Fitted:
        begin, teacher = given

        def loss(now: Weights) -> tuple[Array, Array]:
            now_logits = mean_outputs(now, x)
            return objective(now_logits, labels, teacher, weight, recipe.temperature), now_logits

        # One evaluation more than steps: what is returned are the weights whose logits were looked at.
        def step(state: _State) -> _State:
            now = state.after
            gradient, now_logits = jax.grad(loss, has_aux=True)(now)
            change, memory = optimizer.update(gradient, state.memory, now)
            after = optax.apply_updates(now, change)
            return _State(state.taken + 1, now, now_logits, wrong_images(now_logits, labels), after, memory)

        def goes_on(state: _State) -> Array:
            return (state.taken < recipe.steps) | ((state.wrong > 0) & (state.taken < longest))

        nothing = jnp.zeros((), jnp.int32)
        first = _State(nothing - 1, begin, jnp.zeros_like(teacher), nothing + 1, begin, optimizer.init(begin))
        end = jax.lax.while_loop(goes_on, step, first)
        return Fitted(end.now, end.logits, end.wrong, end.taken)

    if jax.default_backend() == "cpu":  # one after the other: a batch is no quicker on a core, and needs more memory
        return jax.lax.map(one, (starts, teachers))
    return jax.vmap(lambda *given: one(given))(starts, teachers)


def train(
    keys: Key[Array, "s members"],
    x: Float[Array, "n h w c"],
    labels: Int[Array, " n"],
    num_classes: int,
    recipe: Recipe,
    learning_rate: float,
    teachers: Float[Array, "s n k"] | None = None,
) -> Fitted:
    """Train S systems, each the average of as many networks as it has keys, by Adam.

    At least `recipe.steps` steps; then on while a training image is wrong, up to `recipe.longest`.

    Args:
        keys: typed keys of the starts [S, K]; K = 1 is a network.
        x: standardised training images.
        labels: their labels.
        num_classes: k.
        recipe: size and training.
        learning_rate: of Adam; another one is the same compiled program.
        teachers: logits of each student's teacher on the training images.

    Returns:
        The systems.
    """
    weight = 0.0 if teachers is None else recipe.weight
    teachers = jnp.zeros((len(keys), len(x), num_classes)) if teachers is None else teachers
    numbers = jnp.float32(learning_rate), teachers, jnp.float32(weight), jnp.int32(recipe.longest)
    recipe = recipe._replace(longest=0)
    return _train(_starts(keys, x.shape[1:], num_classes, recipe), x, labels, recipe, *numbers)


def mean_outputs(members: Weights, x: Float[Array, "n h w c"]) -> Float[Array, "n k"]:
    """Mean of the logits of K networks, whose axis leads in all weights."""
    return jax.vmap(lambda w: outputs(w, x))(members).mean(0)


@jax.jit
def logits_of(weights: Weights, x: Float[Array, "n h w c"]) -> Float[Array, "s n k"]:
    """Logits of trained systems on images; axes S and K lead in all weights."""
    return jax.lax.map(lambda w: mean_outputs(w, x), weights)

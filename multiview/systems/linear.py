r"""Models that are linear in what they train, $F_i(X) = F_i^{(0)}(X) + \langle \varphi_i(X), \theta_i\rangle$.

Gradient descent moves $\theta_i$ in the span of the training samples' features, so it is taken exactly in the dual:
$\theta_i = \sum_n \alpha_{n,i} \varphi_i(X_n)$, $\alpha \leftarrow \alpha - \eta\,\partial\text{loss}/\partial F$, with
the Gram matrices $G_i = \varphi_i \varphi_i^\top$. A step costs k N² operations, whatever the number of features.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from multiview.config import DistillConfig
from multiview.systems.descent import wrong_samples
from multiview.training.losses import cross_entropy_logit_gradient, distillation_logit_gradient
from multiview.world.patches import DenseVectors


class LinearModel(NamedTuple):
    """A linear model as its training samples see it.

    Attributes:
        start_logits: logits at the start [N, k].
        gram: Gram matrix of each class's features [k, N, N]; [1, N, N] where all classes share features.
    """

    start_logits: Float[Array, "n k"]
    gram: Float[Array, "g n n"]


class Fitted(NamedTuple):
    """A linear model after gradient descent.

    Attributes:
        dual: coefficients α of the training samples [N, k].
        train_logits: logits on the training samples [N, k].
        train_wrong: wrong training samples.
        steps: steps taken.
    """

    dual: Float[Array, "n k"]
    train_logits: Float[Array, "n k"]
    train_wrong: Array
    steps: Array


def pre_activations(weights: Float[Array, "d k m"], noise: Array | None, part: DenseVectors) -> Float[Array, "n p k m"]:
    """Pre-activations of every neuron on every patch, in plain operations that JAX can differentiate forwards."""
    pre = jnp.einsum("npd,dkm->npkm", part.vectors, weights)
    if noise is not None and part.noise_norm is not None:
        pre = pre + part.noise_norm[..., None, None] * noise
    return pre


def step_size(gram: Float[Array, "g n n"], weights: Float[Array, " n"], distill: DistillConfig | None = None) -> Array:
    r"""The step size rule of all linear systems: $\eta = 2 / (c\,\lambda_{\max}(W^{1/2} G_i W^{1/2}))$.

    The cross-entropy's curvature in the logits of a sample is at most $w_n/2$, that of the distillation term
    $w_n/(2T)$ times its weight, so that $c = 1 + \text{weight}/T$ with a teacher, else 1. Then η times the largest
    curvature is at most 1 and the loss falls in every step. The features' own scale, $(\sigma_0/\varrho)^{q-1}$ for
    tangents and $\sigma_0^q/\varrho^{q-1}$ for random features, enters squared through G.

    Args:
        gram: Gram matrices.
        weights: sample weights.
        distill: the distillation term, where there is one.

    Returns:
        η.
    """
    root = jnp.sqrt(weights)
    largest = jnp.linalg.eigvalsh(root[:, None] * gram * root)[:, -1].max()
    return 2 / (largest * (1.0 if distill is None else 1 + distill.weight / distill.temperature))


def outputs(model: LinearModel, dual: Float[Array, "n k"]) -> Float[Array, "n k"]:
    """Logits on the training samples at dual coefficients α."""
    if len(model.gram) == 1:
        return model.start_logits + model.gram[0] @ dual
    return model.start_logits + jnp.einsum("knp,pk->nk", model.gram, dual)


@jax.jit
def fit(
    model: LinearModel,
    labels: Int[Array, " n"],
    weights: Float[Array, " n"],
    *,
    min_steps: int | Array,
    max_steps: int | Array,
    dual: Float[Array, "n k"] | None = None,
    teacher_logits: Float[Array, "n k"] | None = None,
    distill: DistillConfig | None = None,
) -> Fitted:
    """Full-batch gradient descent at the rule's step size.

    Args:
        model: the linear model.
        labels: of the training samples.
        weights: of the training samples.
        min_steps: steps, if the training error is 0 after them.
        max_steps: the longest run otherwise.
        dual: where to start; the model's own start by default.
        teacher_logits: the scaled teacher on the training samples, with `distill`.
        distill: the distillation term.

    Returns:
        The trained model.
    """
    rate = step_size(model.gram, weights, distill)

    def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        index, now, logits = state
        push = cross_entropy_logit_gradient(logits, labels, weights)
        if distill is not None and teacher_logits is not None:
            push = push + distill.weight * distillation_logit_gradient(logits, teacher_logits, weights, distill)
        now = now - rate * push
        return index + 1, now, outputs(model, now)

    def goes_on(state: tuple[Array, Array, Array]) -> Array:
        index, _, logits = state
        return (index < min_steps) | ((wrong_samples(logits, labels) > 0) & (index < max_steps))

    now = jnp.zeros_like(model.start_logits) if dual is None else dual
    start = (jnp.zeros((), jnp.int32), now, outputs(model, now))
    steps, now, logits = jax.lax.while_loop(goes_on, step, start)
    return Fitted(now, logits, wrong_samples(logits, labels), steps)


def average_model(models: LinearModel) -> LinearModel:
    r"""The average of K linear models, trained jointly.

    Its gradient in each member carries $1/K$; with the rule's step size, K times larger, the Gram matrix is the mean.

    Args:
        models: with the member axis leading in both arrays.
    """
    return LinearModel(models.start_logits.mean(0), models.gram.mean(0))

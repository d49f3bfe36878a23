r"""Networks at an output scale α, $\alpha (F_\theta - F_{\theta_0})$: from feature learning to linearised training.

Section 8 of docs/theory.md. At α = 1 this is the network minus its tiny start outputs. The larger α, the less the
weights have to move, and for α → ∞ training becomes that of the network linearised at its start (Chizat, Oyallon and
Bach 2019). The step size is `learning_rate`, but at most that of the linearised network.
"""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key

from multiview.config import Study
from multiview.network.outputs import fresh_logits, logits
from multiview.network.parameters import Parameters, init_network
from multiview.parameters import ConfigError
from multiview.systems import linearised, network
from multiview.systems.descent import Descent, as_vectors, by_descent
from multiview.systems.linear import largest_curvature, linear_footprint, linear_work, step_size
from multiview.systems.protocol import Settings, Sizes
from multiview.training.forecast import Footprint, Shapes, Work
from multiview.world.patches import Patches
from multiview.world.task import Task


def learning_rate(study: Study) -> float:
    r"""Compute the step size at output scale α, $\eta_\alpha = \eta / (\alpha\,(\Lambda_\alpha/\varrho)^{q-1})^2$.

    The tangent features at the end of training are α times those at an overlap $\Lambda_\alpha$: the overlap at which
    the output $\alpha\Lambda^q/(q\varrho^{q-1})$ of one neuron reaches $\log k$, bounded to σ₀ … ϱ. The step size is
    η at α = 1 and approaches $\eta / (\alpha^2(\sigma_0/\varrho)^{2(q-1)})$ for α → ∞.

    Args:
        study: gives η, q, ϱ, σ₀, k and `output_scale` α.

    Returns:
        The step size.

    Raises:
        ConfigError: α is not a finite number ≥ 1.
    """
    output_scale, sizes = study.output_scale, study.network
    if not (math.isfinite(output_scale) and output_scale >= 1):
        raise ConfigError(f"output_scale = {output_scale!r} is not allowed: it must be a finite number ≥ 1")
    q, threshold = sizes.relu_power, sizes.relu_threshold
    overlap = (q * threshold ** (q - 1) * math.log(study.data.num_classes) / output_scale) ** (1 / q)
    overlap = min(max(overlap, sizes.init_std), threshold) if output_scale > 1 else threshold
    return study.train.learning_rate / (output_scale * (overlap / threshold) ** (q - 1)) ** 2


def _own(study: Study, networks: int) -> tuple[float, float]:
    return learning_rate(study), study.output_scale


def _init(key: Key[Array, ""], task: Task, settings: Settings, sizes: Sizes) -> Parameters:
    dtype = task.data.weights.dtype
    return init_network(key, task.patches, sizes.dimension, sizes.classes, settings.network, dtype)


def _outputs(now: Parameters, start: Parameters, patches: Patches, settings: Settings) -> Float[Array, "n k"]:
    _, output_scale = settings.own
    return output_scale * (logits(now, patches, settings.network) - logits(start, patches, settings.network))


def _curvature(key: Key[Array, ""], task: Task, settings: Settings, sizes: Sizes) -> Array:
    """Compute the largest curvature of the linearised network at its start; it draws its own noise overlaps."""
    part = as_vectors(task, sizes)
    begin = init_network(key, (part,), sizes.dimension, sizes.classes, settings.network, task.data.weights.dtype)
    return largest_curvature(linearised.tangent_model(begin, part, settings.network).gram, task.data.weights)


def _rate(curvature: Array, settings: Settings) -> Array:
    rate, output_scale = settings.own
    return jnp.minimum(rate, step_size(curvature, settings.distill) / output_scale**2)


def _keep(state: Descent) -> tuple[Array, Array]:
    return state.parameters.weights, state.start.weights


@partial(jax.jit, static_argnames=("sizes",))
def _answer(
    kept: tuple[Array, Array], keys: Array, task: Task, settings: Settings, sizes: Sizes
) -> Float[Array, "b n k"]:
    """Answer test samples.

    Training moves no weight along fresh noise directions, so the network and its start have the same overlaps with
    them: they are drawn from the same key.
    """

    def answer_one(weights: tuple[Array, Array], key: Array, one: Settings) -> Array:
        now, start = (fresh_logits(key, w, task.patches, one.network) for w in weights)
        _, output_scale = one.own
        return output_scale * (now - start)

    return jax.vmap(answer_one)(kept, keys, settings)


def _footprint(shapes: Shapes, study: Study) -> Footprint:
    """Count the numbers of the network and of the Gram matrices of its start's tangents."""
    plain, tangents = network.footprint(shapes, study), linear_footprint(shapes, tangents=True)
    return Footprint(plain.state, plain.kept + tangents.kept, plain.once + tangents.once)


def _work(shapes: Shapes, study: Study) -> Work:
    """Count the passes of the network and of its start, and the Gram matrices of the start's tangents."""
    plain, tangents = network.work(shapes, study), linear_work(shapes, study, tangents=True)
    return Work(2 * plain.step, 2 * plain.answer, tangents.once)


SYSTEM = by_descent(
    _init, _outputs, lambda now: now, rate=_rate, curvature=_curvature, own=_own, keep=_keep, answer=_answer,
    footprint=_footprint, work=_work, alone=True,
)._replace(answered_together=network.SYSTEM.answered_together)  # fmt: skip

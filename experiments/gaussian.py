"""Gaussian-like inputs: patches without features, labelled by a random network of the same kind."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key

from multiview import streams
from multiview.config import Study
from multiview.network.outputs import logits
from multiview.network.parameters import Parameters
from multiview.parameters import ConfigError
from multiview.world.patches import DenseVectors
from multiview.world.samples import MultiViewDataset
from multiview.world.task import Task


def labelling_network(key: Key[Array, ""], study: Study) -> Float[Array, "d k m"]:
    """Weights N(0, 1) of the network that gives labels: the study's own architecture, dense patches."""
    shape = (study.data.patch_dim, study.data.num_classes, study.network.neurons_per_class)
    return streams.normal(key, shape=shape)


def gaussian_task(key: Key[Array, ""], teacher: Float[Array, "d k m"], study: Study, num_samples: int) -> Task:
    r"""Samples with P patches $x_p \sim N(0, I/d)$ and the label $\arg\max_i F_i$ of the random network.

    Args:
        key: typed key of the samples.
        teacher: weights of the labelling network.
        study: gives P, d and the activation; `data.representation` is dense.
        num_samples: how many.

    Returns:
        Samples of equal weight, all counted as multi-view, without ground-truth features.

    Raises:
        ConfigError: the representation is not dense, or there are no samples.
    """
    if study.data.representation != "dense":
        raise ConfigError(
            f"data.representation = {study.data.representation!r} is not allowed with Gaussian inputs: it must be dense"
        )
    if num_samples < 1:
        raise ConfigError(f"num_samples = {num_samples} is not allowed: it must be a whole number ≥ 1")
    n, p, d = num_samples, study.data.num_patches, study.data.patch_dim
    patches = streams.normal(key, shape=(n, p, d)) / jnp.sqrt(jnp.float32(d))
    part = DenseVectors(patches, None)
    labels = logits(Parameters(teacher, (None,)), (part,), study.network).argmax(-1).astype(jnp.int32)
    data = MultiViewDataset(
        labels=labels,
        is_single_view=jnp.zeros(n, bool),
        chosen_view=jnp.full(n, -1, jnp.int32),
        patch_feature=jnp.full((n, p), -1, jnp.int32),
        coefficients=jnp.zeros((n, p)),
        noise_norms=jnp.zeros((n, p)),
        weights=jnp.full(n, 1.0 / n),
        dropped_features=jnp.zeros(n, jnp.int32),
        feature_noise=None,
        patches=patches,
    )
    return Task(data, (part,))

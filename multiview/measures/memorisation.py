"""Memorisation: overlaps of the label's neurons with the private noise of training samples."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from multiview.network.parameters import Parameters
from multiview.world.patches import NoiselessRows, NoisyRows
from multiview.world.task import Task


def largest_noise_overlaps(parameters: Parameters, task: Task, features: Array | None) -> tuple[Array, Array]:
    r"""Largest $\langle w_{y,r}, \xi_p \rangle$ over training samples: of multi-view and of single-view ones.

    In the dense representation the noise is what a patch holds beyond its feature, x_p − z_p v.

    Args:
        parameters: one network.
        task: its training samples.
        features: feature vectors in the dense representation, else None.

    Returns:
        Two scalars; 0 where no noise is tracked.
    """
    multi = single = jnp.zeros((), parameters.weights.dtype)
    first = 0
    for part, noise in zip(task.patches, parameters.noise, strict=True):
        if isinstance(part, NoiselessRows):
            first += part.slot.shape[0]
            continue
        if isinstance(part, NoisyRows):
            sample, size = part.sample + first, part.slot.shape[0]
            if noise is not None:
                labels = task.data.labels[sample]  # [T, R]
                of_label = jnp.take_along_axis(noise.max(0), labels[None], 0)[0]
                value = of_label * part.noise_norm
                is_single = task.data.is_single_view[sample]
                multi = jnp.maximum(multi, jnp.where(is_single, 0.0, value).max())
                single = jnp.maximum(single, jnp.where(is_single, value, 0.0).max())
            first += size
            continue
        size = part.vectors.shape[0]
        labels = task.data.labels[first : first + size]
        is_single = task.data.is_single_view[first : first + size, None]
        first += size
        if noise is not None and part.noise_norm is not None:
            of_label = jnp.take_along_axis(noise.max(3), labels[:, None, None], 2)[:, :, 0]
            value = of_label * part.noise_norm
        elif features is not None:
            vectors = jnp.concatenate([features, jnp.zeros_like(features[:1])])[task.data.patch_feature]
            residual = part.vectors - task.data.coefficients[..., None] * vectors
            value = jnp.einsum("npd,dnm->npm", residual, parameters.weights[:, labels]).max(-1)
        else:
            continue
        multi = jnp.maximum(multi, jnp.where(is_single, 0.0, value).max())
        single = jnp.maximum(single, jnp.where(is_single, value, 0.0).max())
    return multi, single

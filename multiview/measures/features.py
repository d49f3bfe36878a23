"""Feature learning: overlaps of neurons with features, and which views a network has learned."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

# An overlap that is so many times the next one of its class has clearly won; a view counts as learned when no overlap
# of its class is so many times its own (docs/theory.md, section 5).
CLEAR_RATIO = 2.0


def own_overlaps(overlaps: Float[Array, "f k m"], num_views: int) -> Float[Array, "k l m"]:
    """Select the overlaps ⟨w_{i,r}, v_{i,ℓ}⟩ of each class's neurons with its own views."""
    k, m = overlaps.shape[1:]
    by_class = overlaps.reshape(k, num_views, k, m)
    return by_class[jnp.arange(k), :, jnp.arange(k), :]


def largest_overlap(overlaps: Float[Array, "f k m"], num_views: int) -> Float[Array, "k l"]:
    r"""$\Lambda_{i,\ell} = \max_r [\langle w_{i,r}, v_{i,\ell}\rangle]^+$."""
    return jnp.maximum(own_overlaps(overlaps, num_views), 0.0).max(-1)


def total_overlap(overlaps: Float[Array, "f k m"], num_views: int) -> Float[Array, "k l"]:
    r"""$\Phi_{i,\ell} = \sum_r [\langle w_{i,r}, v_{i,\ell}\rangle]^+$."""
    return jnp.maximum(own_overlaps(overlaps, num_views), 0.0).sum(-1)


def largest_foreign_overlap(overlaps: Float[Array, "f k m"], num_views: int) -> Float[Array, ""]:
    r"""$\max_{r,\,j \ne i,\,\ell} \langle w_{i,r}, v_{j,\ell}\rangle$; the theory keeps it of the order of σ₀."""
    k = overlaps.shape[1]
    own = jnp.repeat(jnp.eye(k, dtype=bool), num_views, axis=0)[:, :, None]
    return jnp.where(own, -jnp.inf, overlaps).max()


def winners(overlap: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the winning view of each class, and whether it is clear (its overlap ≥ 2 times the next).

    Args:
        overlap: Λ, shape [..., k, L].

    Returns:
        Index of the winner [..., k] and a mask of clear winners [..., k]. With one view every class is clear.
    """
    ordered = np.sort(overlap, axis=-1)
    if overlap.shape[-1] == 1:
        return np.zeros(overlap.shape[:-1], int), np.ones(overlap.shape[:-1], bool)
    return overlap.argmax(-1), ordered[..., -1] >= CLEAR_RATIO * ordered[..., -2]


def learned_views(overlap: np.ndarray) -> np.ndarray:
    """Mark learned views: overlap more than half of the strongest of the class. Shape of `overlap`, bool."""
    return overlap > overlap.max(-1, keepdims=True) / CLEAR_RATIO

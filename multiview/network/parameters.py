"""A network's parameters, their random start, and their overlaps with the features."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key

from multiview.config import NetworkConfig
from multiview.world.patches import NoisyRows, Patches, noise_shape


class Parameters(NamedTuple):
    """The trained numbers of a network.

    Attributes:
        weights: [D, k, m]. In the limit D = kL, and entry (j·L+ℓ, i, r) is the overlap ⟨w_{i,r}, v_{j,ℓ}⟩. In the
            dense representation D = d, and these are the weights themselves.
        noise: for each part of the training patches, the overlaps ⟨w_{i,r}, ξ⟩/ν with private noise directions; None
            if the part has none.

    Example:
        >>> import jax
        >>> import multiview as mv
        >>> study = mv.load_preset("smoke")
        >>> data = mv.World.of(study).train()
        >>> patches = mv.represent([data], study.data)[0]
        >>> features, classes = study.data.num_features, study.data.num_classes
        >>> network = mv.init_network(jax.random.key(0), patches, features, classes, study.network, "float32")
        >>> network.weights.shape[-1] == study.network.neurons_per_class
        True
    """

    weights: Float[Array, "d k m"]
    noise: tuple[Array | None, ...]


def init_network(
    key: Key[Array, ""], patches: Patches, dimension: int, num_classes: int, network: NetworkConfig, dtype: Any
) -> Parameters:
    """Draw the random start w ~ N(0, σ₀² I) of a network, in either representation.

    In the limit, overlaps with features and with noise directions are independent N(0, σ₀²): docs/theory.md, section 7.

    Args:
        key: the network's typed key.
        patches: the training patches, which say how many noise overlaps there are.
        dimension: D of the patches: d, or kL in the limit.
        num_classes: k.
        network: gives m and σ₀.
        dtype: dtype of the parameters. Draws are made in float32, so that the start is the same for every dtype.

    Returns:
        Parameters.

    Example:
        >>> import jax
        >>> import multiview as mv
        >>> study = mv.load_preset("smoke")
        >>> data = mv.World.of(study).train()
        >>> patches = mv.represent([data], study.data)[0]
        >>> features, classes = study.data.num_features, study.data.num_classes
        >>> network = mv.init_network(jax.random.key(0), patches, features, classes, study.network, "float32")
        >>> network.weights.ndim
        3
    """
    weight_key, *noise_keys = jax.random.split(key, 1 + len(patches))
    m = network.neurons_per_class

    def normal(normal_key: Key[Array, ""], shape: tuple[int, ...]) -> Array:
        return network.init_std * jax.random.normal(normal_key, shape, jnp.float32).astype(dtype)

    noise: list[Array | None] = []
    for part, noise_key in zip(patches, noise_keys, strict=True):
        shape = noise_shape(part, num_classes, m)
        if shape is not None and isinstance(part, NoisyRows):
            # Drawn row by row, so that padding to shared shapes changes no start.
            noise.append(normal(noise_key, (shape[3], shape[1], shape[0], shape[2])).transpose(2, 1, 3, 0))
        else:
            noise.append(None if shape is None else normal(noise_key, shape))
    return Parameters(normal(weight_key, (dimension, num_classes, m)), tuple(noise))


def feature_overlaps(weights: Float[Array, "d k m"], features: Float[Array, "f d"] | None) -> Float[Array, "f k m"]:
    """Compute the overlaps ⟨w_{i,r}, v_{j,ℓ}⟩ of every neuron with every feature, in either representation.

    Args:
        weights: weights, or in the limit the overlaps themselves.
        features: feature vectors [kL, d] in the dense representation; None in the limit.

    Returns:
        Overlaps [kL, k, m].
    """
    return weights if features is None else jnp.einsum("fd,dkm->fkm", features, weights)

r"""Random features: the first layer stays at its start, the second layer is trained (docs/theory.md, section 8).

$F_i(X) = \sum_{j,r} a_{i,(j,r)} h_{j,r}(X)$ with $h_{j,r}(X) = \sum_p \mathrm{act}(\langle w_{j,r}, x_p\rangle)$. All
classes read all km neurons. The second layer a starts as that of the network: 1 for the neurons of class i, else 0.
"""

from __future__ import annotations

from jax import Array
from jaxtyping import Float

from multiview.config import NetworkConfig
from multiview.network.activation import activation_of
from multiview.network.parameters import Parameters
from multiview.systems.linear import LinearModel, linear_system, pre_activations
from multiview.world.patches import DenseVectors


def hidden_features(start: Parameters, part: DenseVectors, network: NetworkConfig) -> Float[Array, "n h"]:
    """Compute the outputs of all km frozen neurons, summed over patches [n, k·m]."""
    pre = pre_activations(start.weights, start.noise[0], part)
    hidden = activation_of(network).value(pre, network.relu_threshold).sum(1)
    return hidden.reshape(len(hidden), -1)


def random_feature_model(start: Parameters, part: DenseVectors, network: NetworkConfig) -> LinearModel:
    """Make the linear model on its training samples; all classes share one Gram matrix."""
    hidden = hidden_features(start, part, network)
    return LinearModel(_own_sum(hidden, start), (hidden @ hidden.T)[None])


def readout_change(
    start: Parameters, part: DenseVectors, network: NetworkConfig, dual: Float[Array, "n k"]
) -> Float[Array, "h k"]:
    """Compute the change of the second layer in training, from the dual coefficients of the training samples."""
    return hidden_features(start, part, network).T @ dual


def random_feature_outputs(
    at: Parameters, change: Float[Array, "h k"], part: DenseVectors, network: NetworkConfig
) -> Float[Array, "n k"]:
    """Compute the logits on any samples; `at` holds the start's overlaps with these samples' noise directions."""
    hidden = hidden_features(at, part, network)
    return _own_sum(hidden, at) + hidden @ change


def _own_sum(hidden: Float[Array, "n h"], start: Parameters) -> Float[Array, "n k"]:
    return hidden.reshape(len(hidden), *start.weights.shape[1:]).sum(-1)


def _frozen(start: Parameters, part: DenseVectors, network: NetworkConfig, dual: Float[Array, "n k"]) -> Parameters:
    return start


SYSTEM = linear_system(random_feature_model, _frozen, readout_change, random_feature_outputs, tangents=False)

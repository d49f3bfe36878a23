"""Every activation: value and slope by their definition, in compiled programs and as plain numbers."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from multiview.config import DataConfig, NetworkConfig, Study
from multiview.network.activation import ACTIVATIONS, SmoothedRelu, activation_of, smoothed_relu, smoothed_relu_slope
from multiview.network.noiseless import noiseless_logits
from multiview.parameters import ConfigError
from multiview.verdicts.claims import check_verifiable
from multiview.world.law import sample_dataset
from multiview.world.patches import NoiselessRows, represent

POWERS = [1.0, 1.5, 2.0, 3.0, 4.0]
EPS = float(np.finfo(np.float32).eps)
GRID = np.linspace(-1.017, 2.023, 101).astype(np.float32)  # hits neither 0 nor the threshold


def expected_value(x: np.ndarray, q: float, threshold: float) -> np.ndarray:
    """The three pieces of section 4, literally."""
    x = np.asarray(x, float)
    bent = np.clip(x, 0, None) ** q / (q * threshold ** (q - 1))
    return np.where(x <= 0, 0.0, np.where(x <= threshold, bent, x - (1 - 1 / q) * threshold))


def expected_slope(x: np.ndarray, q: float, threshold: float) -> np.ndarray:
    x = np.asarray(x, float)
    return np.where(x <= 0, 0.0, np.where(x <= threshold, (np.clip(x, 0, None) / threshold) ** (q - 1), 1.0))


@pytest.mark.parametrize("q", POWERS)
@pytest.mark.parametrize("threshold", [0.5, 1.0])
def test_the_smoothed_relu_is_its_definition(q, threshold):
    """Value and slope; also for q = 1, the plain ReLU: slope 0 below 0."""
    x = np.concatenate([np.linspace(-2, 3, 202), [threshold, 1e-6, -1e-6]]).astype(np.float32)
    np.testing.assert_allclose(
        smoothed_relu(x, q, threshold), expected_value(x, q, threshold), rtol=8 * EPS, atol=4 * EPS
    )
    np.testing.assert_allclose(
        smoothed_relu_slope(x, q, threshold), expected_slope(x, q, threshold), rtol=8 * EPS, atol=EPS
    )
    value, slope = SmoothedRelu(q).numbers(x.astype(float), threshold)
    np.testing.assert_allclose(value, expected_value(x, q, threshold), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(slope, expected_slope(x, q, threshold), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("q", POWERS)
def test_the_smoothed_relu_is_continuous_and_its_slope_too_for_q_above_1(q):
    threshold = 0.5
    for point in (0.0, threshold):
        x = point + np.array([-1e-6, 1e-6], np.float32)
        value = np.asarray(smoothed_relu(x, q, threshold))
        assert abs(value[1] - value[0]) <= 3e-6
        if q > 1:
            slope = np.asarray(smoothed_relu_slope(x, q, threshold))
            # |slope(δ) − slope(0)| is at most (δ/ϱ)^min(q−1, 1) up to a factor q.
            assert abs(slope[1] - slope[0]) <= q * (4e-6) ** min(q - 1, 1) + 4 * EPS


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("q", POWERS)
def test_slope_is_the_derivative_that_autodiff_finds(name, q):
    activation = ACTIVATIONS[name](NetworkConfig(relu_power=q))
    automatic = jax.vmap(jax.grad(lambda v: activation.value(v, 0.7)))(jnp.asarray(GRID))
    np.testing.assert_allclose(activation.slope(GRID, 0.7), automatic, rtol=2e-5, atol=4 * EPS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_plain_numbers_are_those_of_compiled_programs(name):
    activation = ACTIVATIONS[name](NetworkConfig(relu_power=2.5))
    value, slope = activation.numbers(GRID.astype(float), 0.7)
    np.testing.assert_allclose(value, activation.value(GRID, 0.7), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(slope, activation.slope(GRID, 0.7), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_declared_power_is_the_law_below_the_threshold(name):
    """Kernels add up neurons below ϱ in closed form where an activation declares its power."""
    activation = ACTIVATIONS[name](NetworkConfig(relu_power=3.0))
    if activation.power is not None:
        x = np.linspace(-1, 0.7, 50)
        law = np.maximum(x, 0) ** activation.power / (activation.power * 0.7 ** (activation.power - 1))
        np.testing.assert_allclose(activation.numbers(x, 0.7)[0], law, rtol=1e-12, atol=1e-15)


def test_the_network_names_its_activation():
    assert activation_of(NetworkConfig(relu_power=2.5)) == SmoothedRelu(2.5)


@dataclasses.dataclass(frozen=True)
class WithoutLaw:
    """The smoothed ReLU of power 3, which does not say that it is a power."""

    name = "without_law"
    power = None

    def value(self, x, threshold):
        """Cube."""
        return smoothed_relu(x, 3.0, threshold)

    def slope(self, x, threshold):
        """Square."""
        return smoothed_relu_slope(x, 3.0, threshold)

    def numbers(self, x, threshold):
        """Both."""
        return SmoothedRelu(3.0).numbers(x, threshold)


def test_rows_without_a_power_law_are_evaluated_neuron_by_neuron():
    """A new activation without a closed form gives right logits and gradients in the limit of large d."""
    config = DataConfig(num_classes=4, num_patches=7, feature_sparsity=1.5, noise_norm=0.0, representation="limit")
    patches = represent([sample_dataset(jax.random.key(0), config, 12)], config)[0]
    (part,) = patches
    assert isinstance(part, NoiselessRows)
    weights = 0.5 * jax.random.normal(jax.random.key(1), (8, 4, 3))

    def answered(activation):
        def squares(weights, threshold):
            return (noiseless_logits(activation, threshold, weights, part) ** 2).sum()

        return jax.jit(jax.value_and_grad(squares))(weights, jnp.float32(0.8))

    for ours, closed in zip(answered(WithoutLaw()), answered(SmoothedRelu(3.0)), strict=True):
        np.testing.assert_allclose(ours, closed, rtol=1e-4, atol=1e-5)


def test_claims_are_not_judged_with_an_activation_that_the_closed_forms_do_not_know(monkeypatch):
    monkeypatch.setitem(ACTIVATIONS, SmoothedRelu.name, lambda network: WithoutLaw())
    with pytest.raises(ConfigError, match=r"need a power q"):
        check_verifiable(Study())

"""The logit gradients are the derivatives they claim to be, and the one-sided term only ever pushes up."""

from __future__ import annotations

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax, softmax

import multiview.training.step  # noqa: F401 (where JAX learns which settings are arguments of a program)
from multiview.config import DistillConfig
from multiview.config.values import type_hints
from multiview.measures import training_error
from multiview.training import losses

N, K = 6, 4
LABELS = np.array([0, 1, 2, 3, 0, 2], np.int32)
WEIGHTS = (np.arange(1, N + 1) / 21).astype(np.float32)
LOGITS = arrays(np.float32, (N, K), elements=st.floats(-30, 30, width=32))
OBJECTIVES = list(losses.OBJECTIVES)

cross_entropy = jax.jit(training_error.cross_entropy)
cross_entropy_gradient = jax.jit(jax.grad(training_error.cross_entropy))
cross_entropy_logit_gradient = jax.jit(losses.cross_entropy_logit_gradient)
soft_outputs = jax.jit(losses.soft_outputs)
distillation_logit_gradient = jax.jit(losses.distillation_logit_gradient)


@jax.jit
@jax.grad
def soft_loss_gradient(outputs: jax.Array, target: jax.Array, temperature: float, cap: float) -> jax.Array:
    """Automatic derivative of temperature times the cross-entropy of truncated soft outputs."""
    log_p = jax.nn.log_softmax(jnp.minimum(outputs, cap) / temperature)
    return -temperature * (WEIGHTS[:, None] * target * log_p).sum()


def test_every_objective_that_a_study_may_name_has_its_function():
    assert set(OBJECTIVES) == set(get_args(type_hints(DistillConfig)["objective"]))


@given(LOGITS)
def test_cross_entropy_is_its_definition(outputs):
    expected = -(WEIGHTS * log_softmax(outputs.astype(float), axis=1)[np.arange(N), LABELS]).sum()
    # Rounding of logits up to 60 apart, N terms.
    assert float(cross_entropy(outputs, LABELS, WEIGHTS)) == pytest.approx(expected, rel=1e-5, abs=1e-4)


@given(LOGITS)
def test_cross_entropy_logit_gradient_is_the_derivative_of_the_cross_entropy(outputs):
    automatic = cross_entropy_gradient(outputs, LABELS, WEIGHTS)
    np.testing.assert_allclose(cross_entropy_logit_gradient(outputs, LABELS, WEIGHTS), automatic, rtol=1e-5, atol=1e-6)


@given(LOGITS)
def test_cross_entropy_pushes_the_label_up_and_the_rest_down_and_sums_to_zero(outputs):
    gradient = np.asarray(cross_entropy_logit_gradient(outputs, LABELS, WEIGHTS))
    own = np.arange(K)[None] == LABELS[:, None]
    assert (gradient[own] <= 0).all()
    assert (gradient[~own] >= 0).all()
    np.testing.assert_allclose(gradient.sum(1), 0, atol=1e-6)


@given(LOGITS, st.floats(0.2, 5), st.floats(0.5, 20))
def test_soft_outputs_are_the_softmax_of_capped_logits_over_temperature(outputs, temperature, cap):
    expected = softmax(np.minimum(outputs.astype(float), cap) / temperature, axis=1)
    np.testing.assert_allclose(soft_outputs(outputs, temperature, cap), expected, rtol=2e-4, atol=1e-6)


def test_the_papers_form_of_the_truncated_soft_outputs(random):
    """softmax(min(τ² F, 1)/τ) is temperature 1/τ with a cap of 1/τ², which `logit_cap = 0` means."""
    outputs = random.normal(0, 10, (N, K)).astype(np.float32)
    tau = 0.4
    distill = DistillConfig(temperature=1 / tau)
    assert distill.cap == pytest.approx(1 / tau**2)
    expected = softmax(np.minimum(tau**2 * outputs, 1) / tau, axis=1)
    np.testing.assert_allclose(soft_outputs(outputs, distill.temperature, distill.cap), expected, rtol=1e-5, atol=1e-6)
    assert DistillConfig(temperature=1 / tau, logit_cap=3.0).cap == 3.0


def near_cap(outputs: np.ndarray, cap: float) -> np.ndarray:
    """Logits moved off the cap, where the minimum has no derivative."""
    return np.where(np.abs(outputs - cap) < 1e-2, outputs + 0.1, outputs).astype(np.float32)


@given(LOGITS, LOGITS, st.floats(0.3, 4), st.sampled_from([2.0, 9.0, np.inf]))
def test_soft_objective_is_the_gradient_of_temperature_times_cross_entropy(student, teacher, temperature, cap):
    distill = DistillConfig("soft_cross_entropy", temperature=temperature, logit_cap=cap)
    student = near_cap(student, cap)
    target = soft_outputs(teacher, temperature, cap)
    automatic = soft_loss_gradient(student, target, temperature, cap)
    found = distillation_logit_gradient(student, teacher, WEIGHTS, distill)
    np.testing.assert_allclose(found, automatic, rtol=1e-4, atol=2e-6)


@given(LOGITS, LOGITS, st.floats(0.3, 4), st.floats(0.5, 20))
def test_one_sided_keeps_the_pushes_up_of_the_soft_objective_and_nothing_else(student, teacher, temperature, cap):
    one, soft = (
        np.asarray(
            distillation_logit_gradient(
                student, teacher, WEIGHTS, DistillConfig(objective, temperature=temperature, logit_cap=cap)
            )
        )
        for objective in ("one_sided", "soft_cross_entropy")
    )
    assert (one <= 0).all()
    np.testing.assert_array_equal(one, np.minimum(soft, 0))
    np.testing.assert_array_equal(one[student >= np.float32(cap)], 0)


@pytest.mark.parametrize("objective", OBJECTIVES)
@given(LOGITS, LOGITS)
def test_logits_above_the_cap_get_no_push(objective, student, teacher):
    distill = DistillConfig(objective, logit_cap=1.0)
    found = np.asarray(distillation_logit_gradient(student, teacher, WEIGHTS, distill))
    np.testing.assert_array_equal(found[student >= 1.0], 0)


def test_one_sided_does_push_up_where_the_teacher_is_surer():
    """The counterpart: below the cap a surer teacher pushes, by the difference of the soft outputs."""
    student = np.zeros((N, K), np.float32)
    teacher = np.zeros((N, K), np.float32)
    teacher[:, 1] = 2.0
    distill = DistillConfig("one_sided", temperature=1.0, logit_cap=5.0)
    found = np.asarray(distillation_logit_gradient(student, teacher, WEIGHTS, distill))
    gap = 0.25 - softmax([0, 2, 0, 0])[1]
    np.testing.assert_allclose(found[:, 1], WEIGHTS * gap, rtol=1e-5)
    np.testing.assert_array_equal(found[:, [0, 2, 3]], 0)


@pytest.mark.parametrize("objective", OBJECTIVES)
@given(LOGITS)
def test_a_student_equal_to_its_teacher_is_not_pushed(objective, outputs):
    outputs, weights = jnp.asarray(outputs), jnp.asarray(WEIGHTS)
    found = losses.distillation_logit_gradient(outputs, outputs, weights, DistillConfig(objective))
    np.testing.assert_array_equal(found, 0)


@pytest.mark.parametrize("objective", OBJECTIVES)
@given(LOGITS, LOGITS)
def test_gradients_are_proportional_to_the_weights_of_the_samples(objective, student, teacher):
    distill = DistillConfig(objective)
    whole = np.asarray(distillation_logit_gradient(student, teacher, WEIGHTS, distill))
    ones = np.asarray(distillation_logit_gradient(student, teacher, np.ones_like(WEIGHTS), distill))
    np.testing.assert_allclose(whole, WEIGHTS[:, None] * ones, rtol=1e-6, atol=0)

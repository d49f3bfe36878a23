"""Strengths of features and weights of samples, averaged over the sampling law; the activation as plain numbers."""

from __future__ import annotations

import math

import numpy as np

from multiview.config import DataConfig, NetworkConfig, Study
from multiview.network.activation import activation_of
from multiview.theory.power_iteration import uniform_moment

# Gauss-Legendre nodes and weights for expectations over label strengths.
NODES = np.polynomial.legendre.leggauss(5)
# Beyond this logit a softmax is 0 or 1 in double precision.
LARGEST_LOGIT = 600.0


def activation(pre_activation: np.ndarray | float, network: NetworkConfig) -> tuple[np.ndarray, np.ndarray]:
    """The network's activation, at most `LARGEST_LOGIT`, and its slope."""
    value, slope = activation_of(network).numbers(pre_activation, network.relu_threshold)
    return np.asarray(np.minimum(value, LARGEST_LOGIT)), slope


def effective_samples(data: DataConfig) -> float:
    """Inverse weight of a single-view training sample: N, or N_s/μ in `limit_single_view_noise`; infinite without."""
    if data.representation == "limit_single_view_noise" and data.single_view_fraction > 0:
        return data.num_single_view_train / data.single_view_fraction if data.num_single_view_train else math.inf
    return float(data.num_train)


def _view_factor(study: Study) -> float:
    """Strength of an average view in units of `label_strength`: $E[f^q]^{1/q}$ over `view_strengths`."""
    q = study.network.relu_power
    return float(np.mean(np.power(study.data.view_strengths or (1.0,), q)) ** (1 / q))


def mean_label_strength(study: Study) -> float:
    """Mean strength of a view of the label in a multi-view sample."""
    return _view_factor(study) * uniform_moment(study.data.label_strength, 1.0)


def known_traces(data: DataConfig) -> float:
    """Expected foreign features in a sample that a network of one view a class knows, s(1 − 1/k)."""
    return min(data.feature_sparsity * (1 - 1 / data.num_classes), data.num_classes - 1.0)


def mean_foreign_strength(data: DataConfig) -> float:
    """Mean strength of a foreign feature in a single-view sample, Γ times its ratio."""
    return data.single_view_foreign_strength * uniform_moment(data.single_view_foreign_ratio, 1.0)


def label_strengths(study: Study) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of an expectation over label strengths [Z, 1, 1]."""
    nodes, weights = NODES
    low, high = (_view_factor(study) * strength for strength in study.data.label_strength)
    return ((low + high) / 2 + (high - low) / 2 * nodes)[:, None, None], weights[:, None, None] / 2

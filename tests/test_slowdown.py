"""By how much options of training slow a view down."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from multiview.config import Study, replace
from multiview.network.outputs import logits
from multiview.network.parameters import Parameters
from multiview.studies.study import training_tasks
from multiview.theory import view_slowdown
from multiview.training.augmentation import change_samples
from multiview.training.losses import cross_entropy_logit_gradient
from multiview.world.patches import represent

MIDPOINT = {"train.mixup": "midpoint"}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(MIDPOINT, marks=pytest.mark.slow),
        {"train.mixup": "uniform"},
        {"train.dropped_patches": 0.25, "train.label_smoothing": 0.2},
    ],
    ids=["midpoint", "uniform", "dropped and smoothed"],
)
def test_slowdown_is_what_is_left_of_the_push_on_a_view(changes):
    """One neuron knows a little of one view, and no class holds another's features; over many steps."""
    world = {
        "data.num_classes": 6, "data.num_patches": 16, "data.feature_sparsity": 0.0, "data.noise_norm": 0.0,
        "data.num_train": 240, "data.representation": "limit", "data.single_view_fraction": 0.0, "replicates": 1,
        "network.neurons_per_class": 1,
    }  # fmt: skip
    study = replace(Study(), world | changes)
    task = training_tasks(study)[0]
    patches = represent([task.data], study.data, as_vectors=True)[0]
    weights = jnp.zeros((12, 6, 1)).at[0, 0, 0].set(0.01)

    def push(key, train):
        seen, targets = change_samples(patches, task.data, 6, key, jnp.int32(0), train)
        outputs, pull_back = jax.vjp(lambda p: logits(*seen(p), study.network), Parameters(weights, (None,)))
        return pull_back(cross_entropy_logit_gradient(outputs, targets, task.data.weights))[0].weights[0, 0, 0]

    keys = jax.random.split(jax.random.key(0), 400)
    changed_push = jax.jit(jax.vmap(lambda key: push(key, study.train)))(keys).mean()
    plain = push(keys[0], dataclasses.replace(study.train, mixup="none", dropped_patches=0.0, label_smoothing=0.0))
    assert float(plain / changed_push) == pytest.approx(view_slowdown(study), rel=0.1)


def test_slowdown_at_power_three():
    study = replace(Study(), {"network.relu_power": 3.0})
    assert view_slowdown(study) == 1
    assert view_slowdown(replace(study, MIDPOINT)) == 8
    assert view_slowdown(replace(study, {"train.mixup": "uniform"})) == 2.5

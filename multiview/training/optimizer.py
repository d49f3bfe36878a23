"""The optimiser of gradient descent, made of its name and options."""

from __future__ import annotations

import optax

from multiview.config import TrainConfig
from multiview.config.training import optimizer_arguments, optimizer_function, split_optimizer

# Optimisers whose own decay is w ← w (1 − η λ), beside the step of the gradient.
DECOUPLED = ("adamw", "nadamw", "adamaxw", "lion")


def decays_alone(train: TrainConfig) -> bool:
    """Return whether a weight without any gradient decays."""
    return train.weight_decay > 0 or split_optimizer(train.optimizer)[0] in DECOUPLED


def make_optimizer(train: TrainConfig) -> optax.GradientTransformation:
    """Make the optax optimiser of a study; "sgd" is gradient descent, with `train.momentum` if it is not 0.

    Weight decay adds λ w to the gradient before the optimiser sees it.

    Args:
        train: optimiser, learning rate, momentum and weight decay.

    Returns:
        The optimiser.
    """
    optimizer: optax.GradientTransformation
    if train.momentum > 0:
        optimizer = optax.sgd(train.learning_rate * (1 - train.momentum), train.momentum)
    else:
        name, given = split_optimizer(train.optimizer)
        kinds = optimizer_arguments(name)
        own = {n: kinds[n](value) for n, value in given.items()}
        optimizer = optimizer_function(name)(train.learning_rate, **own)
    return optax.chain(optax.add_decayed_weights(train.weight_decay), optimizer) if train.weight_decay else optimizer

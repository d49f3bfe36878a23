"""The optimiser of gradient descent, made of its name and options."""

from __future__ import annotations

import optax
import optax.contrib

from multiview.config import TrainConfig


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
        # A name of optax.contrib moves to optax when it has proved itself.
        known = optax if hasattr(optax, train.optimizer) else optax.contrib
        optimizer = getattr(known, train.optimizer)(train.learning_rate)
    return optax.chain(optax.add_decayed_weights(train.weight_decay), optimizer) if train.weight_decay else optimizer

"""Boosting of these networks: AdaBoost for several classes (SAMME, Zhu, Zou, Rosset and Hastie 2009).

Each round trains a network on reweighted samples, and the next round weighs up what it got wrong. A network of the
theory has training error 0, so after the first round no sample can be weighed up and boosting ends.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Key

from multiview.config import Study
from multiview.parameters import ConfigError
from multiview.systems.blocks import train_networks
from multiview.world.task import Task


class Boosted(NamedTuple):
    """A boosted committee.

    Attributes:
        weights: weights of its B networks [B, D, k, m].
        votes: their votes β [B].
        errors: weighted training error of each, on the weights that it was trained with [B].
        reason: why boosting ended, in words.
    """

    weights: Array
    votes: np.ndarray
    errors: np.ndarray
    reason: str

    @property
    def nothing_left(self) -> bool:
        """Whether boosting ended because a network had training error 0."""
        return bool(self.errors[-1] == 0)


def reweight(
    weights: Float[np.ndarray, " n"], wrong: np.ndarray, num_classes: int
) -> tuple[Float[np.ndarray, " n"], float]:
    r"""A round of SAMME: $\beta = \log\frac{1-\epsilon}{\epsilon} + \log(k-1)$, $w_n \leftarrow w_n e^\beta$ if wrong.

    Afterwards the wrong samples hold $(k-1)/k$ of the weight, the error of guessing.

    Args:
        weights: sample weights, sum 1.
        wrong: which samples the network got wrong.
        num_classes: k.

    Returns:
        New weights, sum 1, and the vote β (infinite, with weights unchanged, if nothing is wrong).

    Raises:
        ConfigError: the weighted error is not below that of guessing, $1 - 1/k$.
    """
    total = weights.sum()
    error = float(weights[wrong].sum() / total)
    if error == 0:
        return weights / total, float("inf")
    if error >= 1 - 1 / num_classes:
        allowed = f"below {1 - 1 / num_classes:.3g}, that of guessing"
        raise ConfigError(f"weighted training error = {error:.3g} is not allowed in boosting: it must be {allowed}")
    vote = float(np.log((1 - error) / error) + np.log(num_classes - 1))
    weights = np.where(wrong, weights * np.exp(vote), weights)
    return weights / weights.sum(), vote


def boost(study: Study, task: Task, keys: Key[Array, " rounds"]) -> Boosted:
    """Boost networks of the study: one round for each key, until nothing is left to boost.

    Args:
        study: configuration; every round takes `train.num_steps` steps.
        task: training samples; their weights are those of the first round.
        keys: typed keys of the starts, one for each round at most.

    Returns:
        The committee. A network with training error 0 decides alone and ends it.
    """
    labels = np.asarray(task.data.labels)
    sample_weights = np.asarray(task.data.weights, float)
    members: list[Array] = []
    votes: list[float] = []
    errors: list[float] = []
    reason = f"all {len(keys)} rounds done"
    for round_ in range(len(keys)):
        data = dataclasses.replace(task.data, weights=jnp.asarray(sample_weights, task.data.weights.dtype))
        trained = train_networks(
            study, Task(data, task.patches), keys[round_ : round_ + 1],
            num_steps=study.train.num_steps, record_at=[study.train.num_steps],
        )  # fmt: skip
        wrong = trained.train_logits[0].argmax(-1) != labels
        error = float(sample_weights[wrong].sum() / sample_weights.sum())
        try:
            sample_weights, vote = reweight(sample_weights, wrong, study.data.num_classes)
        except ConfigError:
            reason = f"round {round_ + 1} is no better than guessing"
            if members:
                break
            vote = 1.0
        members.append(trained.weights[0])
        errors.append(error)
        if error == 0:
            reason = f"round {round_ + 1} has training error 0: nothing is left to boost"
            votes.append(1.0)
            votes[:-1] = [0.0] * (len(votes) - 1)
            break
        votes.append(vote)
        if reason.endswith("guessing"):
            break
    return Boosted(jnp.stack(members), np.array(votes), np.array(errors), reason)


def vote(logits: np.ndarray, votes: np.ndarray) -> np.ndarray:
    r"""Votes for each class, $\sum_b \beta_b 1[\arg\max F^{(b)} = i]$.

    Args:
        logits: of the members [B, n, k].
        votes: β [B].

    Returns:
        Array [n, k].
    """
    one_hot = np.eye(logits.shape[-1])[logits.argmax(-1)]
    return np.einsum("b,bnk->nk", votes, one_hot)

"""Test errors of many networks on fresh samples, chunk by chunk, so that memory does not grow with the test set."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jax import Array

from multiview.config import Study
from multiview.measures.dark_knowledge import classes_present, ordered_share
from multiview.measures.ensemble import by_group, disjoint_ensembles
from multiview.measures.errors import ErrorCounts
from multiview.settings import in_own_settings
from multiview.systems.blocks import answer_networks
from multiview.world.samples import Kind
from multiview.world.task import Task
from multiview.world.world import Chunk, World

Answer = Callable[[Chunk], Mapping[str, Any]]
Tested = tuple[dict[str, np.ndarray], float]


def count_test_errors(
    world: World, replicate: int, answer: Answer, sizes: Mapping[Kind, int] | None = None
) -> dict[str, np.ndarray]:
    """Count the wrong test samples of each kind, for any model that answers a task.

    Args:
        world: the world that draws the test samples.
        replicate: number of the replicate, which has its own test set.
        answer: function from a chunk of samples to logits [..., n, k] by name, for example of networks and their
            ensembles.
        sizes: number of samples of each kind; by default the world's `test_sizes`.

    Returns:
        Numbers of wrong samples by name [..., kinds], with kinds in the order of `sizes`.

    Example:
        >>> import jax
        >>> import multiview as mv
        >>> study = mv.load_preset("smoke")
        >>> world = mv.World.of(study)
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> trained = mv.train_networks(study, world.tasks()[0], keys, num_steps=10)
        >>> def answer(chunk):
        ...     logits = mv.answer_networks(study, trained.kept, chunk.noise_keys(2), chunk.task)
        ...     return {"single": logits, "ensemble": logits.mean(0)}
        >>> wrong = mv.count_test_errors(world, 0, answer)
        >>> wrong["single"].shape, wrong["ensemble"].shape  # multi-view and single-view samples
        ((2, 2), (2,))
    """
    sizes = world.test_sizes if sizes is None else sizes
    column = {kind: i for i, kind in enumerate(sizes)}
    wrong: dict[str, np.ndarray] = {}
    for chunk in world.held_out(replicate, sizes):
        for name, logits in answer(chunk).items():
            count = (np.asarray(logits).argmax(-1) != chunk.labels).sum(-1)
            wrong.setdefault(name, np.zeros((*count.shape, len(sizes)), int))[..., column[chunk.kind]] += count
    return wrong


def evaluate(study: Study, world: World, replicate: int, groups: dict[str, np.ndarray]) -> Tested:
    """Count the wrong test samples of groups of networks, and of the ensembles of the group "single".

    Args:
        study: the configuration.
        world: the world that draws the test samples, for example `World.of(study)`.
        replicate: number of the replicate, which has its own test set.
        groups: weights [S, D, k, m] by name.

    Returns:
        The numbers of wrong multi-view and single-view samples by name [S, 2], with `ensemble_of_K` for the disjoint
        ensembles of K networks [S // K, 2]; and the dark knowledge of the ensemble (the share of pairs of classes that
        its logits order right, on multi-view samples).
    """
    return evaluate_points([study], world, replicate, [groups])[0]


@in_own_settings
def evaluate_points(
    studies: Sequence[Study],
    world: World,
    replicate: int,
    points: Sequence[dict[str, np.ndarray]],
    answer: Callable[[Array, Task], np.ndarray] | None = None,
) -> list[Tested]:
    """Evaluate the networks of several studies of one world together; see `evaluate`.

    Args:
        studies: configurations, equal in data and base seed.
        world: the world of all studies.
        replicate: number of the replicate, which has its own test set.
        points: for each study, groups of networks as in `evaluate`.
        answer: function from noise keys [S] and samples to logits [S, n, k], if networks answer in another way than
            from their weights.

    Returns:
        For each study, wrong samples and dark knowledge as in `evaluate`.
    """
    sizes = [{name: len(weights) for name, weights in groups.items()} for groups in points]
    counts = [sum(point_sizes.values()) for point_sizes in sizes]
    all_weights = np.concatenate([weights for groups in points for weights in groups.values()])
    each = [s for s, count in zip(studies, counts, strict=True) for _ in range(count)]
    indices = np.concatenate([np.arange(size) for point_sizes in sizes for size in point_sizes.values()])
    dark: list[list[float]] = [[] for _ in points]

    def answers(chunk: Chunk) -> dict[str, np.ndarray]:
        keys, task = chunk.noise_keys(indices), chunk.task
        answered = answer_networks(each, all_weights, keys, task) if answer is None else answer(keys, task)
        logits: dict[str, np.ndarray] = {}
        for point, point_logits in enumerate(np.split(answered, np.cumsum(counts)[:-1])):
            outputs = by_group(point_logits, sizes[point])
            if "single" in outputs:
                outputs |= disjoint_ensembles(outputs["single"])
            logits |= {f"{point}/{name}": values for name, values in outputs.items()}
            if "ensemble" in outputs and chunk.kind == "multi_view" and chunk.number < 4:
                present = classes_present(task.data, world.config.num_classes, world.config.num_views)
                dark[point].append(ordered_share(outputs["ensemble"][0], present, chunk.labels))
        return logits

    wrong: list[dict[str, np.ndarray]] = [{} for _ in points]
    for name, counted in count_test_errors(world, replicate, answers).items():
        point, _, group = name.partition("/")
        wrong[int(point)][group] = counted
    return [
        (counted, float(np.nanmean(d)) if np.isfinite(d).any() else math.nan)
        for counted, d in zip(wrong, dark, strict=True)
    ]


def error_counts(per_replicate: Sequence[np.ndarray], study: Study) -> ErrorCounts:
    """Collect the counts of several replicates.

    Args:
        per_replicate: numbers of wrong multi-view and single-view samples [S, 2], one array for each replicate.
        study: gives the numbers of test samples.

    Returns:
        Counts with arrays [R, S].
    """
    wrong = np.stack(per_replicate)
    return ErrorCounts(wrong[..., 0], wrong[..., 1], study.data.num_test_multi_view, study.data.num_test_single_view)

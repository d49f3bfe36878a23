"""Test errors of many networks on fresh samples, chunk by chunk, so that memory stays flat."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from multiview import streams
from multiview.config import Study
from multiview.measures.dark_knowledge import classes_present, ordered_share
from multiview.measures.ensemble import by_group, disjoint_ensembles
from multiview.measures.errors import ErrorCounts
from multiview.precision import in_own_precision
from multiview.systems.blocks import answer_networks
from multiview.world.patches import represent
from multiview.world.samples import Kind, held_out_set
from multiview.world.task import Task

# Samples a chunk: large enough that a call's overhead vanishes, small enough for dense patches of large d.
CHUNK = 1000


def held_out_chunks(
    study: Study, replicate: int, kind: Kind, num_samples: int, features: Array | None = None
) -> Iterator[Task]:
    """Fresh test samples of one kind, in chunks of `CHUNK`; dense if `features` are given."""
    dtype = jnp.dtype(study.train.dtype)
    for chunk, begin in enumerate(range(0, num_samples, CHUNK)):
        size = min(CHUNK, num_samples - begin)
        data = held_out_set(study.seed, replicate, study.data, kind, size, chunk, features, dtype)
        yield Task(data, represent([data], study.data, dtype, row_multiple=64)[0])


Tested = tuple[dict[str, tuple[np.ndarray, np.ndarray]], float]


def evaluate(study: Study, replicate: int, groups: dict[str, np.ndarray], features: Array | None = None) -> Tested:
    """Wrong test samples of groups of networks, and of the ensembles of the group "single".

    Args:
        study: configuration.
        replicate: whose test streams to use.
        groups: weights [S, D, k, m] by name.
        features: feature vectors of the world in the dense representation.

    Returns:
        By name, the numbers of wrong multi-view and single-view samples [S], with `ensemble_of_K` for the disjoint
        ensembles of K networks [S // K]; and the dark knowledge of the ensemble (share of pairs ordered right, from
        its logits on multi-view samples).
    """
    return evaluate_points([study], replicate, [groups], features)[0]


@in_own_precision
def evaluate_points(
    studies: Sequence[Study],
    replicate: int,
    points: Sequence[dict[str, np.ndarray]],
    features: Array | None = None,
    answer: Callable[[Array, Task], np.ndarray] | None = None,
) -> list[Tested]:
    """`evaluate` for several studies of one world, whose networks are asked together.

    Args:
        studies: configurations, equal in data and base seed.
        replicate: whose test streams to use.
        points: groups of networks of each study.
        features: see `evaluate`.
        answer: noise keys [S] and samples to logits [S, n, k], for members that are no networks.
    """
    study = studies[0]
    samples: dict[Kind, int] = {
        "multi_view": study.data.num_test_multi_view,
        "single_view": study.data.num_test_single_view,
    }
    sizes = [{name: len(weights) for name, weights in groups.items()} for groups in points]
    counts = [sum(of_point.values()) for of_point in sizes]
    everyone = np.concatenate([weights for groups in points for weights in groups.values()])
    each = [s for s, count in zip(studies, counts, strict=True) for _ in range(count)]
    indices = np.concatenate([np.arange(size) for of_point in sizes for size in of_point.values()])
    wrong: list[dict[str, list[Any]]] = [{} for _ in points]
    dark: list[list[float]] = [[] for _ in points]
    for index, kind in enumerate(samples):
        for chunk, task in enumerate(held_out_chunks(study, replicate, kind, samples[kind], features)):
            labels = np.asarray(task.data.labels)
            keys = _noise_keys(streams.stream(study.seed, streams.TEST_NOISE, replicate, index, chunk), indices)
            answered = answer_networks(each, everyone, keys, task) if answer is None else answer(keys, task)
            for point, of_point in enumerate(np.split(answered, np.cumsum(counts)[:-1])):
                outputs = by_group(of_point, sizes[point])
                if "single" in outputs:
                    outputs |= disjoint_ensembles(outputs["single"])
                for name, answers in outputs.items():
                    counted = wrong[point].setdefault(name, [0, 0])
                    counted[index] = counted[index] + (answers.argmax(-1) != labels).sum(-1)
                if "ensemble" in outputs and kind == "multi_view" and chunk < 4:
                    present = classes_present(task.data, study.data.num_classes, study.data.num_views)
                    dark[point].append(ordered_share(outputs["ensemble"][0], present, labels))
    return [
        ({n: (w[0], w[1]) for n, w in counted.items()}, float(np.nanmean(d)) if np.isfinite(d).any() else math.nan)
        for counted, d in zip(wrong, dark, strict=True)
    ]


def _noise_keys(base: Array, indices: np.ndarray) -> Array:
    """One noise key for each network, from its index in its group, so that adding networks changes nothing."""
    return jax.vmap(lambda i: jax.random.fold_in(base, i))(jnp.asarray(indices))


def error_counts(per_replicate: list[tuple[np.ndarray, np.ndarray]], study: Study) -> ErrorCounts:
    """Counts of several replicates as arrays [R, S]."""
    multi, single = (np.stack([r[i] for r in per_replicate]) for i in (0, 1))
    return ErrorCounts(multi, single, study.data.num_test_multi_view, study.data.num_test_single_view)

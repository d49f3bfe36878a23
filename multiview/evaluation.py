"""Test errors of many networks on fresh samples, chunk by chunk, so that memory stays flat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from multiview import streams
from multiview.analysis.dark_knowledge import classes_present, ordered_share
from multiview.analysis.errors import ErrorCounts
from multiview.batching import block_logits
from multiview.config import Study
from multiview.data import Kind, held_out_set
from multiview.ensemble import ENSEMBLES, disjoint_ensembles, ensemble_sizes
from multiview.representations import represent
from multiview.training import Task

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


def evaluate(
    study: Study,
    replicate: int,
    groups: dict[str, np.ndarray],
    features: Array | None = None,
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], float]:
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
    sizes: dict[Kind, int] = {
        "multi_view": study.data.num_test_multi_view,
        "single_view": study.data.num_test_single_view,
    }
    by_size = ensemble_sizes(len(groups["single"])) if "single" in groups else []
    names = [*groups, *(ENSEMBLES if by_size else ()), *(f"ensemble_of_{size}" for size in by_size)]
    wrong: dict[str, list[Any]] = {name: [0, 0] for name in names}
    dark = []
    for index, kind in enumerate(sizes):
        for chunk, task in enumerate(held_out_chunks(study, replicate, kind, sizes[kind], features)):
            labels = np.asarray(task.data.labels)
            for name, weights in groups.items():
                keys = _noise_keys(
                    streams.stream(study.seed, streams.TEST_NOISE, replicate, index, chunk), len(weights)
                )
                outputs = block_logits(study, weights, keys, task)
                wrong[name][index] = wrong[name][index] + (outputs.argmax(-1) != labels).sum(-1)
                if name == "single":
                    for size in by_size:
                        answers = disjoint_ensembles(outputs, size).argmax(-1)
                        at = wrong[f"ensemble_of_{size}"]
                        at[index] = at[index] + (answers != labels).sum(-1)
                    for ensemble, combine in ENSEMBLES.items():
                        together = combine(outputs)
                        wrong[ensemble][index] = wrong[ensemble][index] + (together.argmax(-1) != labels).sum()[None]
                        if ensemble == "ensemble" and kind == "multi_view" and chunk < 4:
                            present = classes_present(task.data, study.data.num_classes, study.data.num_views)
                            dark.append(ordered_share(together, present, labels))
    return {n: (w[0], w[1]) for n, w in wrong.items()}, float(np.nanmean(dark)) if np.isfinite(dark).any() else float(
        "nan"
    )


def _noise_keys(base: Array, count: int) -> Array:
    """One noise key for each network, from its index, so that adding networks changes nothing."""
    return jax.vmap(lambda i: jax.random.fold_in(base, i))(jnp.arange(count))


def error_counts(per_replicate: list[tuple[np.ndarray, np.ndarray]], study: Study) -> ErrorCounts:
    """Counts of several replicates as arrays [R, S]."""
    multi, single = (np.stack([r[i] for r in per_replicate]) for i in (0, 1))
    return ErrorCounts(multi, single, study.data.num_test_multi_view, study.data.num_test_single_view)

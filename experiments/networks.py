"""What the experiments on laws share: single networks with their records, as kept cells, and intervals of fits."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr

from experiments import common
from multiview import streams, theory
from multiview.config import Study
from multiview.measures.lottery import single_view_counts, view_moments
from multiview.studies.evaluation import count_test_errors, evaluate
from multiview.studies.students import own_phase
from multiview.studies.study import training_tasks
from multiview.systems.blocks import start_keys, train_networks
from multiview.verdicts.prediction import ideal_logits
from multiview.world.task import Task
from multiview.world.world import Chunk, World

NETWORK = ("replicate", "seed")

# The tiny size of the tests: the same shapes in every experiment, so that one compiled program serves many.
TINY = {
    "replicates": 1,
    "seeds": 4,
    "students": 4,
    "data.num_classes": 6,
    "data.num_patches": 11,
    "data.feature_sparsity": 3.0,
    "data.num_train": 72,
    "data.num_single_view_train": 12,
    "data.num_test_multi_view": 200,
    "data.num_test_single_view": 200,
    "network.neurons_per_class": 4,
    "train.block_size": 4,
}


def single_networks(
    label: str, study: Study, record_at: Sequence[int] | np.ndarray | None = None, test: bool = False
) -> dict[str, Any]:
    """Single networks of every replicate, as a cell.

    Args:
        label: of the cell.
        study: what to train.
        record_at: steps to record at; log-spaced by default.
        test: whether to test them, and their ensemble, on fresh samples.

    Returns:
        `overlap` Λ [replicate, seed, time, class, view], `train_wrong` [replicate, seed, time], `steps` [time],
        `moments` S and `single_views` [replicate, class, view], and with `test` the errors `e_multi`, `e_single`
        [replicate, seed] and the ensemble's `ensemble_e_multi`, `ensemble_e_single` [replicate].
    """
    settings = [common.to_mapping(study), None if record_at is None else np.asarray(record_at).tolist(), test]
    return common.cell(label, settings, lambda: _train_all(study, record_at, test))


def _train_all(study: Study, record_at: Any, test: bool) -> dict[str, Any]:
    world, found = World.of(study), []
    for replicate, task in enumerate(training_tasks(study, world)):
        keys = start_keys(study, streams.START, replicate, range(study.seeds))
        trained = train_networks(
            study, task, keys, num_steps=study.train.num_steps, record_at=record_at, keep_state=False
        )
        row = {n: np.asarray(trained.records[n]) for n in ("largest_overlap", "train_wrong")}
        row |= training_set_of(task, study)
        if test:
            wrong, _ = evaluate(study, world, replicate, {"single": trained.weights})
            for prefix, name in (("", "single"), ("ensemble_", "ensemble")):
                for kind, counts, number in zip(
                    ("multi", "single"), wrong[name].T, world.test_sizes.values(), strict=True
                ):
                    row[f"{prefix}e_{kind}"] = counts / number
        found.append(row)
    arrays = {name: np.stack([row[name] for row in found]) for name in found[0]}
    arrays["overlap"] = arrays.pop("largest_overlap")
    dims = {
        "overlap": (*NETWORK, "time", "class", "view"),
        "train_wrong": (*NETWORK, "time"),
        "moments": ("replicate", "class", "view"),
        "single_views": ("replicate", "class", "view"),
    }
    labelled = {
        n: xr.DataArray(a, dims=dims.get(n, NETWORK if a.shape[1] > 1 or study.seeds == 1 else ("replicate", "one")))
        for n, a in arrays.items()
    }
    return labelled | {"steps": np.asarray(trained.times)}


def resampled(
    values: np.ndarray, statistic: Callable[[np.ndarray], Any], seed: int = 0, draws: int = 500
) -> np.ndarray:
    """A statistic of values [replicate, seed, …] drawn again: replicates first, then networks within each.

    Args:
        values: replicates and seeds lead; everything of one network stays together.
        statistic: of an array of that shape.
        seed: of the drawing.
        draws: how many.

    Returns:
        The statistic of each draw.
    """
    rng = np.random.default_rng(seed)
    replicates, seeds = values.shape[:2]
    rows = rng.integers(0, replicates, (draws, replicates, 1))
    columns = rng.integers(0, seeds, (draws, replicates, seeds))
    return np.array([statistic(values[r, c]) for r, c in zip(rows, columns, strict=True)])


def with_interval(values: np.ndarray, statistic: Callable[[np.ndarray], Any]) -> tuple[float, list[float]]:
    """A statistic and its 95 % interval by `resampled`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # draws in which a class or sample never gets there are NaN
        draws = resampled(values, statistic)
        return float(statistic(values)), np.nanquantile(draws, [0.025, 0.975]).tolist()


def ideal_overlaps(found: dict[str, Any], study: Study) -> np.ndarray:
    """What the theory makes of the starts and training sets of `single_networks` [replicate, seed, class, view]."""
    start, moments, counts = (found[n].values for n in ("overlap", "moments", "single_views"))
    return theory.ideal_overlaps(start[:, :, 0], moments[:, None], study, counts[:, None])


def training_set_of(task: Task, study: Study) -> dict[str, np.ndarray]:
    """Moments S and single-view counts of each view of a training set [k, L], by name."""
    data = study.data
    return {
        "moments": view_moments(task.data, data.num_classes, data.num_views, study.network.relu_power),
        "single_views": single_view_counts(task.data, data.num_classes, data.num_views),
    }


def student_starts(study: Study, task: Task, replicate: int, generation: int = 0) -> np.ndarray:
    """Λ(0) of the students of one training set [S, k, L]."""
    return own_phase(study, task, replicate, 0, generation=generation).records["largest_overlap"][:, 0]


def ideal_errors(study: Study, overlaps: np.ndarray, sizes: Sequence[int] = (1,)) -> dict[int, np.ndarray]:
    """Errors on the study's single-view test samples of networks that know exactly these views, and nothing else.

    Args:
        study: whose test samples.
        overlaps: Λ [replicate, network, class, view] of one neuron a view.
        sizes: K of the disjoint ensembles to ask.

    Returns:
        By K, errors [replicate, ensemble].
    """
    world, number, count = World.of(study), study.data.num_test_single_view, overlaps.shape[1]
    found: dict[int, list[np.ndarray]] = {size: [] for size in sizes}
    for replicate, networks in enumerate(overlaps):

        def answer(chunk: Chunk, networks: np.ndarray = networks) -> dict[str, np.ndarray]:
            outputs = np.asarray(ideal_logits(jnp.asarray(networks, jnp.float32), chunk.task.data, study.network))
            groups = {size: outputs[: count // size * size].reshape(-1, size, *outputs.shape[1:]) for size in sizes}
            return {str(size): networks.mean(1) for size, networks in groups.items()}

        wrong = count_test_errors(world, replicate, answer, {"single_view": number})
        for size in sizes:
            found[size].append(wrong[str(size)][:, 0] / number)
    return {size: np.stack(values) for size, values in found.items()}


def slope(x: np.ndarray, y: np.ndarray) -> float:
    """Of the straight line through (x, y), least squares."""
    return float(np.polyfit(x, y, 1)[0])


def crossing_times(steps: np.ndarray, values: np.ndarray, level: float | np.ndarray) -> np.ndarray:
    """First time at which growing values [..., time] reach a level, between records by the straight line; else NaN."""
    reached = values >= np.asarray(level)[..., None]
    after = reached.argmax(-1)
    before = np.maximum(after - 1, 0)
    high, low = (np.take_along_axis(values, i[..., None], -1)[..., 0] for i in (after, before))
    share = np.where(high > low, (level - low) / np.where(high > low, high - low, 1.0), 0.0)
    return np.where(reached.any(-1), steps[before] + np.clip(share, 0, 1) * (steps[after] - steps[before]), np.nan)

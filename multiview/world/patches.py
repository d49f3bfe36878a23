"""Patches in the form that networks read: dense vectors, or the exact limit of large d (docs/theory.md, section 7).

In the limit a patch is a triple (feature, coefficient, private noise direction), and a network is two sets of overlaps:
those with features and those with private directions. Patches without noise need no private direction.

Layout. Patches are sorted by feature into rows of T slots; rows are the innermost axis in memory. All slots of a row
have the same feature, so pre-activations are an outer product of neuron overlaps and coefficients: no gather has the
size (neurons × patches), empty patches cost nothing, and the innermost axis is long enough for vector instructions.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from multiview.config import DataConfig
from multiview.world.samples import MultiViewDataset

# Slots of a row. Long rows need less arithmetic for sums over rows. Short rows have fewer empty slots if features are
# rare; with noise, an empty slot costs memory traffic besides arithmetic.
ROW_LENGTH = 32
NOISY_ROW_LENGTHS = (8, 16, 32)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NoisyRows:
    """Sparse patches of n samples with their own noise directions, sorted by feature into R rows of T slots.

    Attributes:
        feature: feature of each row; kL (one past the last) for background and padding rows.
        coefficient: z of each slot.
        sample: which of the n samples each slot belongs to.
        slot: the slots of each sample's patches, t·R + r, padded by T·R, the index of an appended zero.
        noise_norm: ν of each slot.
    """

    feature: Int[Array, " r"]
    coefficient: Float[Array, "t r"]
    sample: Int[Array, "t r"]
    slot: Int[Array, "n p"]
    noise_norm: Float[Array, "t r"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NoiselessRows:
    """Sparse patches of n samples without noise: the same rows, and the samples as a table over features.

    Attributes:
        feature: feature of each row; kL for padding rows.
        coefficient: z of each slot.
        sample: which of the n samples each slot belongs to.
        slot: slot of each sample's c-th patch of each feature, padded by T·R.
        table: coefficient of the same patch, 0 where there is none.
    """

    feature: Int[Array, " r"]
    coefficient: Float[Array, "t r"]
    sample: Int[Array, "t r"]
    slot: Int[Array, "n f c"]
    table: Float[Array, "n f c"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DenseVectors:
    """Patches as vectors in R^D, with their noise either inside (D = d) or tracked apart (D = kL, the limit).

    Attributes:
        vectors: the patches.
        noise_norm: ν of each patch whose private direction is tracked apart, or None.
    """

    vectors: Float[Array, "n p d"]
    noise_norm: Float[Array, "n p"] | None


Part = NoisyRows | NoiselessRows | DenseVectors
Patches = tuple[Part, ...]  # consecutive groups of samples, in the order of the dataset


def noise_shape(part: Part, num_classes: int, neurons: int) -> tuple[int, ...] | None:
    """Return the shape of the noise overlaps of a part, or None if it has none."""
    if isinstance(part, NoisyRows):
        return (neurons, num_classes, *part.noise_norm.shape)
    if isinstance(part, NoiselessRows) or part.noise_norm is None:
        return None
    return (*part.noise_norm.shape, num_classes, neurons)


def _groups(data: MultiViewDataset) -> list[slice]:
    """Divide samples into runs with and without noise, so that noiseless samples need no noise overlaps."""
    noisy = np.asarray(data.noise_norms).max(axis=1) > 0
    edges = [0, *(np.flatnonzero(np.diff(noisy)) + 1), len(noisy)]
    # A mixture of noisy and noiseless samples in many short runs is kept as one noisy group.
    if len(edges) > 3:
        return [slice(0, len(noisy))]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def _used(data: MultiViewDataset, group: slice) -> np.ndarray:
    """Mark the patches that act on a network: those with a coefficient or with noise."""
    return (np.asarray(data.coefficients)[group] > 0) | (np.asarray(data.noise_norms)[group] > 0)


def _counts(data: MultiViewDataset, group: slice, num_features: int) -> np.ndarray:
    """Count the patches of each feature and, last, of the background."""
    feature = np.asarray(data.patch_feature)[group][_used(data, group)]
    return np.bincount(np.where(feature >= 0, feature, num_features), minlength=num_features + 1)


def _rows(data: MultiViewDataset, group: slice, num_features: int, length: int) -> dict[str, np.ndarray]:
    """Lay out one group of samples in rows of `length` slots; the number of rows depends on the group."""
    feature = np.asarray(data.patch_feature)[group]
    coefficient = np.asarray(data.coefficients)[group]
    norm = np.asarray(data.noise_norms)[group]
    used = _used(data, group)
    sample, patch = np.nonzero(used)
    kind = np.where(feature[used] >= 0, feature[used], num_features)
    order = np.argsort(kind, kind="stable")
    sample, patch, kind = sample[order], patch[order], kind[order]
    # The position of a patch within its feature's run determines its row and slot.
    count = _counts(data, group, num_features)
    within = np.arange(len(kind)) - np.repeat(np.cumsum(count) - count, count)
    rows_of = -(-count // length)
    first_row = np.cumsum(rows_of) - rows_of
    row, slot = first_row[kind] + within // length, within % length
    num_rows = int(rows_of.sum())
    out = {
        "feature": np.repeat(np.arange(num_features + 1), rows_of).astype(np.int32),
        "coefficient": np.zeros((length, num_rows), coefficient.dtype),
        "noise_norm": np.zeros((length, num_rows), norm.dtype),
        "sample": np.zeros((length, num_rows), np.int32),
        "row_of": np.full(feature.shape, -1, np.int64),
        "slot_of": np.zeros(feature.shape, np.int64),
    }
    out["coefficient"][slot, row] = coefficient[sample, patch]
    out["noise_norm"][slot, row] = norm[sample, patch]
    out["sample"][slot, row] = sample
    out["row_of"][sample, patch] = row
    out["slot_of"][sample, patch] = slot
    return out


def _finish(
    rows: dict[str, np.ndarray], num_rows: int, num_features: int, width: int, noisy: bool, dtype: Any
) -> NoisyRows | NoiselessRows:
    """Pad to `num_rows` rows and `width` patches, so that several datasets share one compiled program."""
    length, missing = len(rows["coefficient"]), num_rows - len(rows["feature"])
    pad = ((0, 0), (0, missing))
    used = rows["row_of"] >= 0
    slot = np.where(used, rows["slot_of"] * num_rows + rows["row_of"], num_rows * length)
    feature = np.pad(rows["feature"], (0, missing), constant_values=num_features)
    coefficient = np.pad(rows["coefficient"], pad)
    shared = {
        "feature": jnp.asarray(feature),
        "coefficient": jnp.asarray(coefficient, dtype),
        "sample": jnp.asarray(np.pad(rows["sample"], pad)),
    }
    if noisy:
        slot = np.sort(slot, axis=1)[:, :width]  # used patches first, then cut the columns that no sample uses
        norm = jnp.asarray(np.pad(rows["noise_norm"], pad), dtype)
        return NoisyRows(**shared, slot=jnp.asarray(slot, jnp.int32), noise_norm=norm)
    sample, patch = np.nonzero(used)
    kind = feature[rows["row_of"][sample, patch]]
    position = _position_in_run(sample * (num_features + 1) + kind)
    slot_table = np.full((len(slot), num_features, width), num_rows * length, np.int32)
    slot_table[sample, kind, position] = slot[sample, patch]
    table = np.append(coefficient.reshape(-1), 0)[slot_table]
    return NoiselessRows(**shared, slot=jnp.asarray(slot_table), table=jnp.asarray(table, dtype))


def _position_in_run(labels: np.ndarray) -> np.ndarray:
    """Count, for each element, the equal elements before it."""
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    first = np.searchsorted(ordered, ordered)
    position = np.empty(len(labels), np.int64)
    position[order] = np.arange(len(labels)) - first
    return position


def vectors(data: MultiViewDataset, num_features: int) -> DenseVectors:
    """Convert every patch to a vector.

    Args:
        data: the samples.
        num_features: kL.

    Returns:
        The dense patches [N, P, d] if the data hold them; else coefficients over features with feature noise
        [N, P, kL], and apart from them the noise norms.
    """
    if data.patches is not None:
        return DenseVectors(data.patches, None)
    one_hot = jax.nn.one_hot(data.patch_feature, num_features, dtype=data.coefficients.dtype)
    coefficients = data.coefficients[..., None] * one_hot
    if data.feature_noise is not None:
        coefficients = coefficients + data.feature_noise
    return DenseVectors(coefficients, data.noise_norms)


def represent(
    datasets: list[MultiViewDataset],
    config: DataConfig,
    dtype: Any = jnp.float32,
    row_multiple: int = 1,
    as_vectors: bool = False,
) -> list[Patches]:
    """Convert the patches of several datasets of equal size to the form that networks read, in shared shapes.

    Datasets with dense patches give dense vectors (D = d). The others give the limit of large d (docs/theory.md,
    section 7): sparse rows, or vectors of coefficients (D = kL) with their noise apart. With feature noise γ > 0 they
    are always vectors, because every patch holds every feature.

    Args:
        datasets: datasets of one configuration, for example the training sets of all replicates.
        config: their configuration.
        dtype: dtype of the arrays.
        row_multiple: number of which the number of rows is a multiple; above 1, slots are padded to P patches too, so
            that later datasets share the shapes.
        as_vectors: whether to return vectors of coefficients instead of rows, so that patches can be mixed or dropped.

    Returns:
        For each dataset a tuple of parts, which cover its samples in order.

    Example:
        >>> import multiview as mv
        >>> study = mv.load_preset("smoke")
        >>> world = mv.World.of(study)
        >>> data = [world.train(replicate) for replicate in range(2)]
        >>> len(mv.represent(data, study.data))
        2
    """
    num_features = config.num_features
    if datasets[0].patches is not None or config.feature_noise > 0:
        return [(cast_vectors(vectors(d, num_features), dtype),) for d in datasets]
    groups = [_groups(data) for data in datasets]
    if any(g != groups[0] for g in groups):
        groups = [[slice(0, data.num_samples)] for data in datasets]
    if as_vectors:
        return [
            tuple(cast_vectors(part, dtype) for part in _slices(vectors(d, num_features), groups[0])) for d in datasets
        ]
    result: list[Patches] = [()] * len(datasets)
    for group in groups[0]:
        length = ROW_LENGTH
        if any(np.asarray(d.noise_norms)[group].max(initial=0) > 0 for d in datasets):
            count = sum(_counts(d, group, num_features) for d in datasets) / len(datasets)
            # The overhead of a row is about that of two slots.
            length = min(NOISY_ROW_LENGTHS, key=lambda n: float(np.ceil(count / n).sum() * (n + 2)))
        parts = [_rows(d, group, num_features, length) for d in datasets]
        num_rows = -(-max(len(p["feature"]) for p in parts) // row_multiple) * row_multiple
        noisy = any(p["noise_norm"].max(initial=0) > 0 for p in parts)
        if not noisy:
            most = max(_most_patches_of_a_feature(d, group, num_features) for d in datasets)
            width = max(most, config.patches_per_feature)
        elif row_multiple == 1:
            width = max(int((p["row_of"] >= 0).sum(1).max()) for p in parts)
        else:
            width = config.num_patches
        for i, p in enumerate(parts):
            result[i] = (*result[i], _finish(p, num_rows, num_features, max(width, 1), noisy, dtype))
    return result


def _slices(part: DenseVectors, groups: list[slice]) -> list[DenseVectors]:
    return [DenseVectors(part.vectors[g], None if part.noise_norm is None else part.noise_norm[g]) for g in groups]


def cast_vectors(part: DenseVectors, dtype: Any) -> DenseVectors:
    """Cast to the training dtype; drop the noise norms if all are zero."""
    norm = part.noise_norm
    if norm is not None:
        norm = norm.astype(dtype) if bool((norm > 0).any()) else None
    return DenseVectors(jnp.asarray(part.vectors, dtype), norm)


def _most_patches_of_a_feature(data: MultiViewDataset, group: slice, num_features: int) -> int:
    sample, patch = np.nonzero(_used(data, group))
    kind = np.asarray(data.patch_feature)[group][sample, patch]
    return int(_position_in_run(sample * (num_features + 1) + kind).max(initial=0)) + 1

"""The search for the pairs that can grow in a training set: from samples in rows to the tables of `pairs`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from multiview.config import DataConfig
from multiview.world.pairs import Entries, Meetings, NoisyPairs, Pairs, Presence, QuietPairs
from multiview.world.patches import NoiselessRows, NoisyRows, Patches
from multiview.world.samples import MultiViewDataset


def find_pairs(
    datasets: Sequence[MultiViewDataset], patches: Sequence[Patches], config: DataConfig, multiple: int = 1
) -> list[Pairs | None]:
    """Find the live pairs of several training sets, as tables of equal shapes.

    Args:
        datasets: the training sets of one configuration.
        patches: their patches, from `represent`.
        config: their configuration.
        multiple: number of which lengths of tables are a multiple, so that later training sets share the shapes.

    Returns:
        The tables of each set; None for all unless a set is a group of samples without noise in rows, then a group
        whose patches with noise all hold a feature, each feature in one patch of a sample.
    """
    counted = [_count(d, p, config) for d, p in zip(datasets, patches, strict=True)]
    found = [c for c in counted if c is not None]
    if len(found) < len(counted):
        return [None] * len(counted)
    lengths = (max(c.lengths[i] for c in found) for i in range(len(_Lengths._fields)))
    shared = _Lengths(*(-(-max(n, 1) // multiple) * multiple for n in lengths))
    return [_tables(c, shared) for c in found]


class _Lengths(NamedTuple):
    """Lengths of tables that depend on the draws of a training set."""

    quiet_classes: int
    quiet_classes_with_further_patches: int
    rows_of_feature: int
    noisy_classes: int
    own: int
    foreign: int
    foreign_pairs: int
    foreign_of_sample: int
    meetings: int
    noisy_patches: int


class _Counted(NamedTuple):
    """One training set, its lists not yet padded; −1 stands for no entry."""

    config: DataConfig
    quiet: NoiselessRows
    quiet_present: tuple[np.ndarray, np.ndarray]  # place of each class in each sample [n, k], its inverse [Q, n]
    quiet_patches: np.ndarray  # slots of each class's patches in each sample [L, Q, n]
    rows: np.ndarray
    noisy_present: tuple[np.ndarray, np.ndarray]
    labels: np.ndarray  # of the single-view samples
    patches: dict[str, np.ndarray]  # of the single-view samples: sample, feature, coefficient, noise_norm, slot [J]
    own: np.ndarray  # patches by feature
    pairs: np.ndarray  # pairs of a foreign feature and a label, feature · k + label
    foreign: np.ndarray  # patches by pair
    foreign_of: np.ndarray  # entries t · U + u of each sample, as (t, u) [2, E, n]
    noisy_slots: int
    meetings: np.ndarray  # samples by pair
    coefficients: np.ndarray  # of the features in multi-view samples [n, kL]
    lengths: _Lengths


def _lists(keys: np.ndarray, count: int) -> np.ndarray:
    """List the positions of each key 0 … count − 1 in columns [T, count]; −1 where a list has ended."""
    lengths = np.bincount(keys, minlength=count)
    table = np.full((max(1, int(lengths.max(initial=0))), count), -1)
    order = np.argsort(keys, kind="stable")
    within = np.arange(len(keys)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    table[within, keys[order]] = order
    return table


def _presence(samples: np.ndarray, classes: np.ndarray, labels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Give the classes of each sample their places: the label, then those with more patches, then in order.

    Args:
        samples: the sample of each patch.
        classes: the class of its feature.
        labels: the label of each sample.
        k: number of classes.

    Returns:
        The place of each class in each sample [n, k], −1 if it is absent, and the class in each place [Q, n].
    """
    count = np.zeros((len(labels), k), int)
    np.add.at(count, (samples, classes), 1)
    count[np.arange(len(labels)), labels] = 1 + count.max(initial=0)  # first of all
    order = np.argsort(-count, axis=1, kind="stable")
    width = max(1, int((count > 0).sum(1).max(initial=0)))
    inverse = np.where(np.take_along_axis(count, order, 1) > 0, order, -1)[:, :width]
    place = np.full(count.shape, -1)
    n, q = np.nonzero(inverse >= 0)
    place[n, inverse[n, q]] = q
    return place, inverse.T


def _count(data: MultiViewDataset, patches: Patches, config: DataConfig) -> _Counted | None:
    if [type(part) for part in patches] != [NoiselessRows, NoisyRows] or config.patches_per_feature != 1:
        return None
    quiet, noisy = patches
    assert isinstance(quiet, NoiselessRows)
    assert isinstance(noisy, NoisyRows)
    if quiet.slot.shape[2] != 1:  # a feature in two patches of one sample, in a user's own data
        return None
    k, views, features = config.num_classes, config.num_views, config.num_features
    labels = np.asarray(data.labels)
    first = len(quiet.slot)  # of the single-view samples

    slot = np.asarray(quiet.slot)[:, :, 0]
    none = quiet.coefficient.size
    sample, feature = np.nonzero(slot < none)
    quiet_present = _presence(sample, feature // views, labels[:first], k)
    inverse = quiet_present[1]
    by_view = np.where(slot < none, slot, -1).reshape(first, k, views)
    n, q = np.arange(first)[:, None], inverse.T
    own = np.where(q[:, :, None] >= 0, by_view[n, np.maximum(q, 0)], -1)  # [n, Q, L]
    own = -np.sort(-(own + 1), axis=2) - 1  # patches first, −1 after them
    own = np.where(own >= 0, own, -1)
    quiet_patches = own.transpose(2, 1, 0)
    with_further = int(np.flatnonzero((quiet_patches[1:] >= 0).any((0, 2))).max(initial=-1)) + 1
    row_feature = np.asarray(quiet.feature)
    rows = np.where(row_feature < features)[0]
    rows = np.take(np.append(rows, -1), _lists(row_feature[rows], features))

    rows_of_patches = np.asarray(noisy.feature)
    in_sample = np.asarray(noisy.slot)  # [n, P], padded
    length = rows_of_patches.shape[0]
    sample, column = np.nonzero(in_sample < noisy.coefficient.size)
    place = in_sample[sample, column]
    kind = rows_of_patches[place % length]
    if (kind >= features).any() or not len(kind):  # noise in the background
        return None
    order = np.lexsort((kind, sample))
    sample, kind, place = sample[order], kind[order], place[order]
    if (np.diff(sample * features + kind) == 0).any():
        return None
    z, norm = np.asarray(noisy.coefficient).reshape(-1)[place], np.asarray(noisy.noise_norm).reshape(-1)[place]
    single_labels = labels[first:]
    foreign = np.flatnonzero(kind // views != single_labels[sample])
    pairs, pair = np.unique(kind[foreign] * k + single_labels[sample[foreign]], return_inverse=True)
    by_pair = _lists(pair, max(1, len(pairs)))
    t, u = np.nonzero(by_pair >= 0)
    entries = _lists(sample[foreign[by_pair[t, u]]], len(single_labels))
    foreign_of = np.where(entries >= 0, np.stack([t, u])[:, entries] if len(t) else -1, -1)
    meets = (slot < none)[:, pairs // k] & (quiet_present[0] >= 0)[:, pairs % k]
    sample_of, pair_of = np.nonzero(meets)
    meetings = np.append(sample_of, -1)[_lists(pair_of, max(1, len(pairs)))]
    patch_lists = _lists(kind, features)
    noisy_present = _presence(sample, kind // views, single_labels, k)
    return _Counted(
        config, quiet, quiet_present, quiet_patches, rows, noisy_present, single_labels,
        {"sample": sample, "feature": kind, "coefficient": z, "noise_norm": norm, "slot": place},
        patch_lists, pairs, np.where(by_pair >= 0, np.append(foreign, -1)[by_pair], -1), foreign_of,
        noisy.coefficient.size, meetings, np.asarray(quiet.table)[:, :, 0],
        _Lengths(
            len(inverse), with_further, len(rows), len(noisy_present[1]), len(patch_lists), len(by_pair), len(pairs),
            foreign_of.shape[1], len(meetings), len(kind),
        ),
    )  # fmt: skip


def _fill(table: np.ndarray, shape: tuple[int, ...], none: int) -> Array:
    """Pad a table at the ends of its axes, and write `none` where there is no entry."""
    pad = [(0, n - m) for n, m in zip(shape, table.shape, strict=True)]
    table = np.pad(table, pad, constant_values=-1)
    return jnp.asarray(np.where(table >= 0, table, none), jnp.int32)


def _tables(c: _Counted, lengths: _Lengths) -> Pairs:
    """Write the tables of one training set in the shared shapes."""
    k, views, features = c.config.num_classes, c.config.num_views, c.config.num_features
    dtype = c.quiet.coefficient.dtype

    def present(found: tuple[np.ndarray, np.ndarray], width: int) -> Presence:
        place, inverse = found
        classes = _fill(inverse, (width, len(place)), 0)
        return Presence(classes, _fill(inverse, (width, len(place)), k) < k, jnp.asarray(place, jnp.int32))

    place = c.quiet_present[0]
    count = len(place)
    row_class = np.minimum(np.asarray(c.quiet.feature), features - 1) // views
    sample = np.asarray(c.quiet.sample)
    at = place[sample, row_class]
    at = np.where((np.asarray(c.quiet.coefficient) > 0) & (at >= 0), at * count + sample, lengths.quiet_classes * count)
    no_slot, no_row = c.quiet.coefficient.size, len(c.quiet.feature)
    lists = np.asarray(_fill(c.meetings, (lengths.meetings, lengths.foreign_pairs), count))
    real = np.minimum(lists, count - 1)
    feature, label = (np.asarray(_fill(a, (lengths.foreign_pairs,), 0)) for a in (c.pairs // k, c.pairs % k))
    met_at = place[real, label] * count + real
    meetings = Meetings(
        jnp.asarray(np.where(lists < count, c.coefficients[real, feature], 0), dtype),
        jnp.asarray(lists, jnp.int32),
        jnp.asarray(np.where(lists < count, met_at, lengths.quiet_classes * count), jnp.int32),
    )
    further = c.quiet_patches[1:, : lengths.quiet_classes_with_further_patches]
    quiet = QuietPairs(
        present(c.quiet_present, lengths.quiet_classes),
        _fill(c.quiet_patches[0], (lengths.quiet_classes, count), no_slot),
        _fill(further, (views - 1, lengths.quiet_classes_with_further_patches, count), no_slot),
        jnp.asarray(at, jnp.int32),
        _fill(c.rows, (lengths.rows_of_feature, features), no_row),
        meetings,
    )

    place, singles, noisy = c.noisy_present[0], len(c.labels), c.patches
    total, none = lengths.noisy_patches, lengths.noisy_classes * singles

    def entries(lists: np.ndarray, shape: tuple[int, int], label: bool) -> Entries:
        patch = np.asarray(_fill(lists, shape, total))
        real = np.append(np.arange(len(noisy["sample"])), [-1] * (total + 1 - len(noisy["sample"])))[patch]
        is_patch = real >= 0
        at = noisy["sample"][real] + (
            0 if label else singles * place[noisy["sample"][real], noisy["feature"][real] // views]
        )
        return Entries(
            jnp.asarray(patch, jnp.int32),
            jnp.asarray(np.where(is_patch, noisy["coefficient"][real], 0), dtype),
            jnp.asarray(np.where(is_patch, noisy["noise_norm"][real], 0), dtype),
            jnp.asarray(np.where(is_patch, at, none), jnp.int32),
        )

    pairs = lengths.foreign_pairs
    t, f = np.nonzero(c.own >= 0)
    patch = c.own[t, f]
    own_of = np.full((views, lengths.noisy_classes, singles), lengths.own * features)
    own_of[f % views, place[noisy["sample"][patch], f // views], noisy["sample"][patch]] = t * features + f
    t, u = c.foreign_of
    foreign_of = np.where(t >= 0, t * pairs + u, -1)
    is_dormant = np.ones((total, k), bool)
    each = np.arange(len(noisy["sample"]))
    is_dormant[each, c.labels[noisy["sample"]]] = is_dormant[each, noisy["feature"] // views] = False
    is_dormant[len(each) :] = False

    def padded(name: str, none: int) -> Array:
        return jnp.asarray(np.append(noisy[name], np.full(total - len(each), none)))

    return Pairs(
        quiet,
        NoisyPairs(
            present=present(c.noisy_present, lengths.noisy_classes),
            own=entries(c.own, (lengths.own, features), label=False),
            own_of=jnp.asarray(own_of, jnp.int32),
            foreign=entries(c.foreign, (lengths.foreign, pairs), label=True),
            foreign_of=_fill(foreign_of, (lengths.foreign_of_sample, singles), lengths.foreign * pairs),
            foreign_feature=_fill(c.pairs // k, (pairs,), features),
            foreign_class=_fill(c.pairs % k, (pairs,), k),
            sample=padded("sample", singles).astype(jnp.int32),
            feature=padded("feature", 0).astype(jnp.int32),
            coefficient=padded("coefficient", 0).astype(dtype),
            noise_norm=padded("noise_norm", 0).astype(dtype),
            slot=padded("slot", c.noisy_slots).astype(jnp.int32),
            is_dormant=jnp.asarray(is_dormant),
        ),
    )

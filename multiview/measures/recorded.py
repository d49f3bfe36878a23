"""The table of measures recorded over training: names, dimensions, units, meanings, and the functions themselves.

Records, stores, sweeps and their documentation follow from `MEASURES`; a new measure is a function in this room and a
row here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from jax import Array
from jaxtyping import Bool, Float

from multiview.measures.features import largest_foreign_overlap, largest_overlap, total_overlap
from multiview.measures.memorisation import largest_noise_overlaps
from multiview.measures.training_error import cross_entropy, weighted_error, wrong_samples
from multiview.network.parameters import Parameters, feature_overlaps
from multiview.parameters import ConfigError
from multiview.world.task import Task


class Snapshot:
    """One network at one instant of its training, with intermediate results that several measures share."""

    def __init__(
        self, parameters: Parameters, outputs: Array, task: Task, features: Array | None, num_views: int
    ) -> None:
        """Hold a network; nothing is computed yet.

        Args:
            parameters: the network.
            outputs: its logits on the training samples [N, k].
            task: the training samples.
            features: feature vectors [kL, d] in the dense representation, else None.
            num_views: L.
        """
        self.parameters, self.outputs, self.task, self.features = parameters, outputs, task, features
        self.num_views = num_views

    @functools.cached_property
    def wrong(self) -> Bool[Array, " n"]:
        """Which training samples are wrong."""
        return wrong_samples(self.outputs, self.task.data.labels)

    @functools.cached_property
    def overlaps(self) -> Float[Array, "f k m"]:
        """Overlaps of all neurons with all features."""
        return feature_overlaps(self.parameters.weights, self.features)

    @functools.cached_property
    def noise_overlaps(self) -> tuple[Array, Array]:
        """Largest overlaps with the noise of multi-view and of single-view training samples."""
        return largest_noise_overlaps(self.parameters, self.task, self.features)

    @property
    def knows_features(self) -> bool:
        """Whether the features are known; those of a user's own dense data may not be."""
        dimension, classes, _ = self.overlaps.shape
        return dimension == classes * self.num_views


class Measure(NamedTuple):
    """One row of the table: a measure of one network, recorded over training.

    Attributes:
        name: of the variable.
        dimensions: after seed and time, names of `dimensions.LENGTHS`; in a single study's store any names will do.
        unit: of its numbers.
        text: what it is.
        function: computes it, on the device; None for a measure that a recorder or a solver brings along.
        dtype: of the stored numbers; "float" is the precision of the networks.
        needs_features: whether it is left out where the features are not known.

    Example:
        >>> import multiview as mv
        >>> row = mv.Measure("largest_weight", (), "overlap", "largest weight in size")
        >>> def record(parameters, *rest):
        ...     return {"largest_weight": abs(parameters.weights).max(), **mv.record_measures(parameters, *rest)}
        >>> study = mv.replace(mv.load_preset("smoke"), {"replicates": 1, "train.num_steps": 10})
        >>> result = mv.run_study(study, distillation=False, recorder=record)
        >>> mv.to_datatree(result, measures=[row])["single"]["largest_weight"].attrs["unit"]
        'overlap'
    """

    name: str
    dimensions: tuple[str, ...]
    unit: str
    text: str
    function: Callable[[Snapshot], Array] | None = None
    dtype: str = "float"
    needs_features: bool = False


_VIEWS = ("class", "view")

MEASURES = (
    Measure(
        "train_error", (), "share of weight", "training error",
        lambda s: weighted_error(s.wrong, s.task.data.weights),
    ),
    Measure("train_wrong", (), "samples", "wrong training samples", lambda s: s.wrong.sum(), "int32"),
    Measure(
        "train_loss", (), "nats", "training loss, the weighted cross-entropy",
        lambda s: cross_entropy(s.outputs, s.task.data.labels, s.task.data.weights),
    ),
    Measure(
        "largest_overlap", _VIEWS, "overlap", "Λ, the largest overlap of a class's neurons with each of its views",
        lambda s: largest_overlap(s.overlaps, s.num_views), needs_features=True,
    ),
    Measure(
        "total_overlap", _VIEWS, "overlap", "Φ, the sum of a class's positive overlaps with each of its views",
        lambda s: total_overlap(s.overlaps, s.num_views), needs_features=True,
    ),
    Measure(
        "largest_foreign_overlap", (), "overlap", "largest overlap of a neuron with a view of another class",
        lambda s: largest_foreign_overlap(s.overlaps, s.num_views), needs_features=True,
    ),
    Measure(
        "noise_overlap_multi_view", (), "overlap",
        "largest overlap of a label's neuron with the noise of a multi-view training sample",
        lambda s: s.noise_overlaps[0], needs_features=True,
    ),
    Measure(
        "noise_overlap_single_view", (), "overlap",
        "largest overlap of a label's neuron with the noise of a single-view training sample",
        lambda s: s.noise_overlaps[1], needs_features=True,
    ),
    Measure(
        "gradient_evaluations", (), "evaluations",
        "gradients computed so far, where a solver does not take one for each step", dtype="int32",
    ),
    Measure(
        "all_pairs_steps", (), "steps",
        "steps so far that stepped all pairs, because one had grown that should stay small", dtype="int32",
    ),
)  # fmt: skip


def record_measures(
    parameters: Parameters, outputs: Array, task: Task, features: Array | None, num_views: int
) -> dict[str, Array]:
    """Record every measure of the table that has a function: the default recorder.

    Without ground-truth features (a user's own dense data) only errors and loss are recorded.

    Args:
        parameters: one network.
        outputs: its logits on the training samples [N, k].
        task: the training samples.
        features: feature vectors [kL, d] in the dense representation, else None.
        num_views: L.

    Returns:
        Arrays by name, in the dimensions of their rows.

    Example:
        >>> import jax
        >>> import multiview as mv
        >>> study = mv.load_preset("smoke")
        >>> world = mv.World.of(study)
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> trained = mv.train_networks(study, world.tasks()[0], keys, num_steps=10, recorder=mv.record_measures)
        >>> sorted(trained.records)[:3]
        ['largest_foreign_overlap', 'largest_overlap', 'noise_overlap_multi_view']
    """
    snapshot = Snapshot(parameters, outputs, task, features, num_views)
    return {
        row.name: row.function(snapshot)
        for row in MEASURES
        if row.function is not None and (snapshot.knows_features or not row.needs_features)
    }


def row_of(name: str, num_dimensions: int, own: Sequence[Measure] = ()) -> Measure:
    """Find the row of a recorded measure; an own measure without a row gets dimensions NAME_0, NAME_1, …

    Args:
        name: of the measure.
        num_dimensions: of its array, after seed and time.
        own: rows of a user's own measures.

    Raises:
        ConfigError: the row has another number of dimensions.
    """
    generic = tuple(f"{name}_{axis}" for axis in range(num_dimensions))
    rows = {row.name: row for row in (*MEASURES, *own)}
    row = rows.get(name, Measure(name, generic, "", "measure of an own recorder"))
    if len(row.dimensions) != num_dimensions:
        raise ConfigError(
            f"measure {name!r}: its array has {num_dimensions} dimensions after seed and time; its row must name as "
            f"many, not {row.dimensions}"
        )
    return row

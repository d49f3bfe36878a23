"""Model of the memory and the work of training, for the shapes of real samples and for expected shapes.

Each system says how many numbers it stores and how many activations it computes (`System.footprint`, `System.work`);
this module defines the shapes and turns numbers into bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from multiview.config import DataConfig, Study

if TYPE_CHECKING:
    from multiview.world.task import Task


class Shapes(NamedTuple):
    """Sizes of the training samples and of a network.

    Attributes:
        samples: N.
        patches: P.
        dimension: D of the weights.
        classes: k.
        neurons: m.
        vectors: number of patches that are kept as vectors, over all samples.
        slots: number of slots of rows, over all samples.
        tracked: number of patches or slots whose noise overlaps are parameters.
        task_bytes: bytes of the samples.
    """

    samples: int
    patches: int
    dimension: int
    classes: int
    neurons: int
    vectors: float
    slots: float
    tracked: float
    task_bytes: float

    @property
    def noise(self) -> bool:
        """Whether noise overlaps are parameters."""
        return self.tracked > 0


class Footprint(NamedTuple):
    """Count of the numbers that a block stores while it trains.

    Attributes:
        state: numbers in the state of one network; the next state and the gradient together take as many again.
        kept: numbers that the forward and backward passes of one network keep.
        once: numbers that the whole block stores once, because its networks are trained one after another.
    """

    state: float
    kept: float
    once: float = 0.0


class Work(NamedTuple):
    """Count of the activations that one network computes; dense products count by their multiplications.

    Attributes:
        step: activations in a step of training.
        answer: activations in answering all test samples of a replicate.
        once: activations before the first step.
    """

    step: float
    answer: float
    once: float = 0.0


def block_bytes(footprint: Footprint, networks: int, item: int, task_bytes: float) -> float:
    """Predict the peak memory of a block of networks while it trains.

    Args:
        footprint: numbers that the block stores.
        networks: networks in the block.
        item: bytes of a number.
        task_bytes: bytes of the training samples.

    Returns:
        Bytes.
    """
    return item * (networks * (2 * footprint.state + footprint.kept) + footprint.once) + task_bytes


def shapes_of(task: Task, study: Study) -> Shapes:
    """Return the shapes of training samples that are drawn, for a study's networks."""
    from multiview.world.patches import DenseVectors

    (n, p), data = task.data.coefficients.shape, study.data
    vectors = slots = tracked = 0
    for part in task.patches:
        if isinstance(part, DenseVectors):
            vectors += part.vectors.shape[0] * part.vectors.shape[1]
        else:
            slots += part.coefficient.size
        noise = getattr(part, "noise_norm", None)
        tracked += 0 if noise is None else noise.size
    if task.pairs is not None:  # multirate steps have no empty slots
        tracked = len(task.pairs.noisy.sample)
    return Shapes(
        n, p, task.dimension(data.num_features), data.num_classes, study.network.neurons_per_class,
        vectors, slots, tracked, tree_bytes(task),
    )  # fmt: skip


def tree_bytes(tree: object) -> int:
    """Count the bytes of all arrays of a pytree; typed keys do not count."""
    import jax

    arrays = [a for a in jax.tree.leaves(tree) if hasattr(a, "dtype") and a.dtype.kind != "V"]
    return sum(a.size * a.dtype.itemsize for a in arrays)


def expected_slots(data: DataConfig, samples: float) -> float:
    """Predict how many patches of so many samples act on a network: all but empty background."""
    if data.representation == "dense" or data.feature_noise > 0 or data.background_noise_norm > 0:
        return samples * data.num_patches
    features = data.num_views * (1 + (data.num_classes - 1) * min(1.0, data.feature_sparsity / data.num_classes))
    return samples * min(data.num_patches, features * data.patches_per_feature)


def expected_shapes(study: Study) -> Shapes:
    """Predict the shapes of a study's training samples before they are drawn, at the expected number of patches."""
    data, train = study.data, study.train
    dense = data.representation == "dense"
    as_vectors = dense or data.feature_noise > 0 or train.changes_patches
    noisy = 0.0 if dense or data.noise_norm + data.background_noise_norm == 0 else float(data.num_train)
    if data.representation == "limit_single_view_noise":
        noisy = min(noisy, float(data.num_single_view_train))
    dimension = data.patch_dim if dense else data.num_features
    patches = data.num_train * data.num_patches
    return Shapes(
        data.num_train, data.num_patches, dimension, data.num_classes, study.network.neurons_per_class,
        vectors=patches if as_vectors else 0,
        slots=0 if as_vectors else expected_slots(data, data.num_train),
        tracked=noisy * data.num_patches if as_vectors else expected_slots(data, noisy),
        task_bytes=item_bytes(study) * patches * (dimension if as_vectors else 4),
    )  # fmt: skip


def item_bytes(study: Study) -> int:
    """Return the bytes of a number in training: 4, or 8 in double precision."""
    return 8 if study.train.dtype == "float64" else 4


def training_bytes(shapes: Shapes, study: Study, footprint: Callable[[Shapes, Study], Footprint], size: int) -> float:
    """Predict the peak memory of a block while it trains, from a system's footprint.

    Args:
        shapes: shapes of drawn samples (`shapes_of`) or expected shapes (`expected_shapes`).
        study: the configuration.
        footprint: the system's `System.footprint`.
        size: networks in the block.

    Returns:
        Bytes.
    """
    return block_bytes(footprint(shapes, study), size, item_bytes(study), shapes.task_bytes)

"""What training takes of memory and work: one formula each, for shapes of real samples and for those that are expected.

Each system says how many numbers it stores and how many activations it passes (`System.footprint`, `System.work`); here
is what shapes are, and how numbers become bytes.
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
        vectors: patches that are kept as vectors, in all samples.
        slots: slots of rows, in all samples.
        tracked: patches or slots whose noise overlaps are parameters.
        task_bytes: of the samples themselves.
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
        """Whether noise is tracked apart from the patches."""
        return self.tracked > 0


class Footprint(NamedTuple):
    """Numbers that a block stores while it trains.

    Attributes:
        state: of each network; the next state and the gradient take as much again.
        kept: of each network, by its passes.
        once: of the block, whatever the number of networks: those that follow one another share it.
    """

    state: float
    kept: float
    once: float = 0.0


class Work(NamedTuple):
    """Activations that one network passes, with dense products counted by their multiplications.

    Attributes:
        step: in a step of training.
        answer: in answering all test samples of a replicate.
        once: when it starts.
    """

    step: float
    answer: float
    once: float = 0.0


def block_bytes(footprint: Footprint, networks: int, item: int, task_bytes: float) -> float:
    """Peak of a block of networks while it trains.

    Args:
        footprint: numbers stored.
        networks: in the block.
        item: bytes of a number.
        task_bytes: of the training samples.
    """
    return item * (networks * (2 * footprint.state + footprint.kept) + footprint.once) + task_bytes


def shapes_of(task: Task, study: Study) -> Shapes:
    """Shapes of real training samples."""
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
    return Shapes(
        n, p, task.dimension(data.num_features), data.num_classes, study.network.neurons_per_class,
        vectors, slots, tracked, tree_bytes(task),
    )  # fmt: skip


def tree_bytes(tree: object) -> int:
    """Bytes of all arrays of a pytree, typed keys apart."""
    import jax

    arrays = [a for a in jax.tree.leaves(tree) if hasattr(a, "dtype") and a.dtype.kind != "V"]
    return sum(a.size * a.dtype.itemsize for a in arrays)


def expected_slots(data: DataConfig, samples: float) -> float:
    """Patches that act on a network, in so many samples."""
    if data.representation == "dense" or data.feature_noise > 0 or data.background_noise_norm > 0:
        return samples * data.num_patches
    features = data.num_views * (1 + (data.num_classes - 1) * min(1.0, data.feature_sparsity / data.num_classes))
    return samples * min(data.num_patches, features * data.patches_per_feature)


def expected_shapes(study: Study) -> Shapes:
    """Shapes of training samples before they are drawn, at the number of patches that is expected."""
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
    """Bytes of a number of training."""
    return 8 if study.train.dtype == "float64" else 4


def training_bytes(shapes: Shapes, study: Study, footprint: Callable[[Shapes, Study], Footprint], size: int) -> float:
    """Peak of a block while it trains, by a system's `footprint` at these shapes.

    Args:
        shapes: of real samples, or those that are expected.
        study: the configuration.
        footprint: of the system.
        size: networks in the block.
    """
    return block_bytes(footprint(shapes, study), size, item_bytes(study), shapes.task_bytes)

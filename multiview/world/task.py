"""The task of a network: samples to be trained or tested on, and their patches."""

from __future__ import annotations

from typing import NamedTuple

from multiview.world.pairs import Pairs
from multiview.world.patches import Patches
from multiview.world.samples import MultiViewDataset


class Task(NamedTuple):
    """Samples with their ground truth, and their patches in the form that networks read.

    Attributes:
        data: the samples.
        patches: parts that cover the samples in order, from `represent`.
        pairs: the pairs that can grow, which `World.tasks` finds for multirate steps; None otherwise.

    Example:
        >>> import multiview as mv
        >>> study = mv.load_preset("smoke")
        >>> data = mv.World.of(study).train()
        >>> task = mv.Task(data, mv.represent([data], study.data)[0])
        >>> task.dimension(study.data.num_features) == study.data.num_features  # in the limit
        True
    """

    data: MultiViewDataset
    patches: Patches
    pairs: Pairs | None = None

    def dimension(self, num_features: int) -> int:
        """Return the dimension D of the weights: d with dense patches, the number of features kL in the limit."""
        return num_features if self.data.patches is None else int(self.data.patches.shape[-1])

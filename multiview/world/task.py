"""What a network is trained and tested on: samples and their patches."""

from __future__ import annotations

from typing import NamedTuple

from multiview.world.patches import Patches
from multiview.world.samples import MultiViewDataset


class Task(NamedTuple):
    """What a network is trained on: the samples with their ground truth, and their patches as it sees them.

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

    def dimension(self, num_features: int) -> int:
        """D of the weights: d where the data hold dense patches, the number of features kL in the limit."""
        return num_features if self.data.patches is None else int(self.data.patches.shape[-1])

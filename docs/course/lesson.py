"""What the lessons share: their world, answers of networks on fresh samples, and figures in the size of a slide.

Keep this file beside a lesson that you take home. Everything else comes from `multiview`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import multiview as mv
from multiview.measures.errors import combine
from multiview.systems.blocks import answer_networks
from multiview.world.world import Chunk, World

KINDS = ("multi_view", "single_view")
SLIDES = Path("slides")
Outputs = dict[str, np.ndarray]  # logits [networks, samples, classes] by kind of test sample

plt.style.use("petroff10")
plt.rcParams.update(
    {"figure.figsize": (8, 4.5), "figure.dpi": 110, "font.size": 12, "figure.constrained_layout.use": True}
)


def world(changes: Mapping[str, Any] | None = None) -> mv.Study:
    """The world of the course: the preset `smoke` with one training set, and what you change."""
    base = {"replicates": 1, "data.num_test_multi_view": 1000, "data.num_test_single_view": 1000}
    return mv.replace(mv.load_preset("smoke"), base | dict(changes or {}))


def slide(figure: Figure, name: str) -> None:
    """Keep a figure for slides (16:9), as PDF and PNG in the folder `slides`."""
    SLIDES.mkdir(exist_ok=True)
    for kind in ("pdf", "png"):
        figure.savefig(SLIDES / f"{name}.{kind}", dpi=200)


def test_samples(study: mv.Study, kind: str) -> Chunk:
    """At most 1000 fresh samples of one kind, the same in every cell of a lesson."""
    world = World.of(study)
    return next(world.held_out(0, {kind: world.test_sizes[kind]}))


def answers(study: mv.Study, weights: Any) -> Outputs:
    """Logits of trained networks on fresh samples of both kinds."""
    tests = {kind: test_samples(study, kind) for kind in KINDS}
    return {kind: answer_networks(study, weights, t.noise_keys(len(weights)), t.task) for kind, t in tests.items()}


def wrong(study: mv.Study, outputs: Outputs, kind: str) -> np.ndarray:
    """Which fresh samples are answered wrongly [networks, samples]."""
    return outputs[kind].argmax(-1) != test_samples(study, kind).labels


def errors(study: mv.Study, outputs: Outputs) -> np.ndarray:
    """Test error of each network in units of μ, multi-view and single-view samples combined."""
    return combine(*(wrong(study, outputs, kind).mean(-1) for kind in KINDS), study.data.single_view_fraction)


def averaged(outputs: Outputs) -> Outputs:
    """The average of the networks' logits, as one network."""
    return {kind: logits.mean(0, keepdims=True) for kind, logits in outputs.items()}

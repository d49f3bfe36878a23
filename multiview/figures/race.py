"""The race of views in a report: a figure whose class and network the reader chooses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from multiview.figures.markup import section
from multiview.figures.stored import Results, group_of, steps_of, values_of
from multiview.parameters import ConfigError

MOST_NETWORKS, MOST_NUMBERS = 8, 40_000  # that the page carries


def race(results: Results) -> tuple[str, str]:
    """The section of the race and its script; two empty texts for stores without overlaps."""
    try:
        data = group_of(results, "single", ("largest_overlap", "step", "finite"))
    except ConfigError:
        return "", ""
    overlap = values_of(data.isel(replicate=[0]), "largest_overlap", "replicate", "seed", "class", "view", "time")[0]
    numbers = int(np.prod(overlap.shape[1:]))
    overlap = overlap[: max(1, min(MOST_NETWORKS, MOST_NUMBERS // max(numbers, 1)))]
    step = steps_of(data)
    if not np.isfinite(overlap).all() or not (overlap > 0).any() or len(step) < 2:
        return "", ""
    low = max(float(overlap[overlap > 0].min()), float(overlap.max()) * 1e-6)
    rounded = [
        [[[float(f"{v:.4g}") for v in line] for line in views] for views in classes] for classes in overlap.tolist()
    ]
    shown = {"step": step.tolist(), "low": 0.7 * low, "high": 1.5 * float(overlap.max()), "overlap": rounded}
    text = json.dumps(shown, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")

    def choice(id: str, word: str, count: int) -> str:
        options = "".join(f'<option value="{i}">{i + 1}</option>' for i in range(count))
        return f'<label>{word} <select id="{id}">{options}</select></label>'

    body = (
        "<p>Choose a class and a network of the first training set. Each starts with small overlaps; the view that "
        "leads takes off first, and its success takes the gradient away from the other.</p>"
        f'<div class="choices">{choice("race-network", "Network", len(overlap))}'
        f"{choice('race-class', 'Class', overlap.shape[1])}</div>"
        '<svg id="race" viewBox="0 0 640 300" role="img" aria-label="Overlap with each view over time"></svg>'
        '<p id="race-summary" role="status"></p><noscript><p>This figure needs JavaScript.</p></noscript>'
        f'<script type="application/json" id="race-data">{text}</script>'
    )
    return section("race-section", "One race", body), Path(__file__).with_name("report.js").read_text(encoding="utf-8")

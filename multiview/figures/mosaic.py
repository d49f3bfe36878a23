"""Who learned what: class × view × network as a mosaic."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import ListedColormap

from multiview.config import Study
from multiview.figures.stored import Results, group_of, replicate_of, student_groups, study_of, values_of
from multiview.figures.style import EMPTY, INK, PAPER, VIEW_COLORS, legend, letters, title
from multiview.measures.features import learned_views
from multiview.words import name_of

GAP = 1.0  # between kinds of networks, in rows


def who_learned_what(results: Results, replicate: int = 0) -> dict[str, np.ndarray]:
    """Find the views that each network of a training set has learned, by kind of network.

    Returns:
        By kind, arrays [S, k, L] with 1 for learned, 0 for not; NaN for networks that turned non-finite.
    """
    found = {}
    group_of(results, "single", ())
    for name in ("single", *student_groups(results)):
        data = group_of(results, name, ("largest_overlap", "finite"))
        last = data.isel(replicate=replicate_of(data, replicate), time=-1)
        overlap = values_of(last, "largest_overlap", "seed", "class", "view")
        finite = values_of(last, "finite", "seed") > 0
        found[name] = np.where(finite[:, None, None], learned_views(np.nan_to_num(overlap)), np.nan)
    return found


def draw_rows(ax: Axes, rows: dict[str, np.ndarray], study: Study, **options: Any) -> QuadMesh:
    """Draw blocks of rows, one for each kind of network, over the views of all classes.

    Args:
        ax: where to draw.
        rows: values [networks, k·L] by name of the kind.
        study: for its classes and views.
        options: of `pcolormesh`.

    Returns:
        What was drawn last.
    """
    k, views = study.data.num_classes, study.data.num_views
    top, ticks, drawn = 0.0, [], None
    for name, values in rows.items():
        edges = top + np.arange(len(values) + 1)
        drawn = ax.pcolormesh(np.arange(k * views + 1), edges, np.ma.masked_invalid(values), **options)
        # Between classes, and between networks where rows are high enough.
        ax.vlines(views * np.arange(1, k), top, edges[-1], color=PAPER, linewidth=letters() / 9)
        ax.hlines(edges[1:-1], 0, k * views, color=PAPER, linewidth=letters() / 25)
        ticks.append(((top + edges[-1]) / 2, name))
        top = edges[-1] + GAP
    ax.set_xlim(0, k * views)
    ax.set_ylim(top - GAP, 0)
    ax.set_yticks([at for at, _ in ticks], [_lines(name) for _, name in ticks])
    every = next(n for n in (1, 2, 5, 10, 20, 50, 100, 10**9) if k / n <= 15)
    shown = [i for i in range(k) if (i + 1) % every == 0 or (i == 0 and every > 2)]
    ax.set_xticks([views * (i + 0.5) for i in shown], [str(i + 1) for i in shown])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_xlabel("class; a column for each of its views" if views > 1 else "class")
    assert drawn is not None
    return drawn


def _lines(name: str) -> str:
    """A name in short lines for the margin."""
    first, _, rest = name.partition(", ")
    words = first.replace("self-distilled", "self-\ndistilled").replace(" ", "\n")
    return words + (f"\n({rest.replace('generation', 'gen.')})" if rest else "")


def plot_mosaic(results: Results, ax: Axes, replicate: int = 0) -> Axes:
    """Draw which views of which classes each network has learned: a row a network, a column a view.

    A view counts as learned if its overlap is more than half of the class's largest. The place of a cell says which
    view it is; the colours only repeat it.

    Args:
        results: the store of a study.
        ax: where to draw.
        replicate: of which training set.

    Returns:
        ax.
    """
    study, found = study_of(results), who_learned_what(results, replicate)
    k, views = study.data.num_classes, study.data.num_views
    number = np.tile(np.arange(1, views + 1), k)  # 0 stands for a view that is not learned
    colors = [EMPTY, *(VIEW_COLORS[v % len(VIEW_COLORS)] for v in range(views))]
    rows = {name_of(name): values.reshape(len(values), -1) * number for name, values in found.items()}
    draw_rows(ax, rows, study, cmap=ListedColormap(colors), vmin=-0.5, vmax=views + 0.5)
    ax.set_facecolor(PAPER)
    for view in range(views):
        ax.plot([], [], marker="s", linestyle="", color=colors[view + 1], label=f"view {view + 1} learned")
    ax.plot(
        [], [], marker="s", linestyle="", color=EMPTY, markeredgecolor=INK, markeredgewidth=0.3, label="not learned"
    )
    legend(ax, ncols=3, handletextpad=0.1)
    note = f"training set {replicate + 1}"
    if views > 1:
        note += f"; several views in {(found['single'].sum(-1) > 1).mean():.0%} of networks' classes"
    title(ax, "Who learned what", note)
    return ax


def describe_mosaic(results: Results) -> str:
    """Describe the figure in one sentence with its numbers."""
    words = []
    for name, values in who_learned_what(results).items():
        finite = values[np.isfinite(values)]
        words.append(f"{name_of(name)} {f'{finite.mean():.0%}' if finite.size else '(none is finite)'}")
    return f"Share of views learned: {', '.join(words)}."

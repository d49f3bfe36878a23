"""How fast do networks on dense patches approach the exact limit of large d?

Claim (docs/theory.md, section 7): as the patch dimension d grows at fixed noise norm, training on dense vectors
becomes training in the limit. Noise directions of different patches overlap by about d^(-1/2), so differences should
fall like that. Both representations get the same ground truth and exactly the same start: feature overlaps that
are the same for every d, and the overlaps of the dense weights with the dense data's own noise vectors.

Run it with `python -m experiments.dense_to_limit`; it takes about a minute on one core.
"""

from __future__ import annotations

import dataclasses
import sys
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jax import Array, vmap
from matplotlib.figure import Figure

from experiments import common
from multiview import World, replace, represent, streams
from multiview.config import Study, to_mapping
from multiview.measures.features import own_overlaps, winners
from multiview.network.parameters import Parameters, feature_overlaps
from multiview.studies.evaluation import evaluate
from multiview.systems.blocks import start_keys, train_networks
from multiview.world.patches import NoisyRows, Patches
from multiview.world.samples import MultiViewDataset
from multiview.world.task import Task

NAME = "dense_to_limit"
CLAIM = (
    "Training on dense patches approaches the exact limit as the patch dimension grows, with differences of d^(-1/2)."
)
SECONDS = 80
REMARK = """Even at d = 1024 a network's error on single-view data differs from the limit's by 0.054 on average."""

# One patch a feature and no background noise, so that (sample, feature) names a patch.
SETTING = {
    "seeds": 4,
    "replicates": 6,
    "data.representation": "dense",
    "data.num_classes": 5,
    "data.num_patches": 8,
    "data.feature_sparsity": 1.5,
    "data.single_view_fraction": 0.1,
    "data.noise_norm": 0.6,
    "data.num_train": 50,
    "data.num_test_multi_view": 100,
    "data.num_test_single_view": 500,
    "network.neurons_per_class": 5,
    "network.relu_power": 3.0,
    "network.relu_threshold": 1.0,
    "network.init_std": 0.005,
    "train.learning_rate": 8.0,
    "train.num_steps": 200,
    "train.block_size": 4,
}
IN_THE_LIMIT = {"data.representation": "limit", "data.patch_dim": 1}  # d means nothing there: one program for all d
DIMENSIONS = (64, 128, 256, 512, 1024)
SMOKE = {"replicates": 1, "train.num_steps": 120, "data.num_test_multi_view": 50, "data.num_test_single_view": 50}
SMOKE_DIMENSIONS = (32, 512)


def limit_noise(weights: Array, dense: MultiViewDataset, features: Array, rows: NoisyRows, norm: float) -> Array:
    r"""Noise overlaps of dense weights, $A = \langle w, \xi \rangle / \nu$, in the layout of the limit.

    Args:
        weights: of several networks [S, d, k, m].
        dense: the dense training set.
        features: rows $v_{j,\ell}$ [kL, d].
        rows: its sparse patches in the limit.
        norm: ν.

    Returns:
        Array [S, m, k, T, R], 0 in slots without a patch.
    """
    vectors = jnp.concatenate([features, jnp.zeros_like(features[:1])])[dense.patch_feature]
    residual = dense.patches - dense.coefficients[..., None] * vectors
    sample = np.asarray(rows.sample)
    here = np.asarray(dense.patch_feature)[sample] == np.asarray(rows.feature)[:, None]  # [T, R, P]
    used = np.asarray(rows.noise_norm)[..., None] > 0
    noise = jnp.where(used, residual[sample, here.argmax(-1)], 0.0)  # [T, R, d]
    return jnp.einsum("trd,sdkm->smktr", noise, weights) / norm


class Pair(NamedTuple):
    """The same networks trained on dense patches and in the limit, with what is compared."""

    start_difference: float  # of the logits of both starts, in units of the largest
    overlaps: tuple[np.ndarray, np.ndarray]  # dense and limit, [S, k, L, m]
    single_error: tuple[np.ndarray, np.ndarray]  # [S]


def train_pair(study: Study, replicate: int, dense_data: MultiViewDataset, patches: Patches, features: Array) -> Pair:
    r"""Train the networks of one replicate of a dense study, and the same ones in the limit.

    Args:
        study: the dense study.
        replicate: which one.
        dense_data: its training set.
        patches: the same samples as the limit sees them.
        features: rows $v_{j,\ell}$ [kL, d].

    Returns:
        Both kinds of networks.
    """
    config, limit = study.data, replace(study, IN_THE_LIMIT)
    dense_task = Task(dense_data, represent([dense_data], config)[0])
    limit_task = Task(dataclasses.replace(dense_data, patches=None), patches)
    (rows,) = patches
    assert isinstance(rows, NoisyRows)

    keys = start_keys(study, streams.START, replicate, range(study.seeds))
    dense_start, limit_start = (
        train_networks(s, task, keys, num_steps=0).state for s, task in ((study, dense_task), (limit, limit_task))
    )
    # The feature overlaps are those of the limit's own start, the same for every d; noise overlaps follow the weights.
    overlaps, weights = limit_start.parameters.weights, dense_start.parameters.weights
    change = overlaps - vmap(lambda w: feature_overlaps(w, features))(weights)
    weights = weights + jnp.einsum("fd,sfkm->sdkm", features, change)
    noise = limit_noise(weights, dense_data, features, rows, config.noise_norm)
    dense_start = dense_start._replace(parameters=Parameters(weights, (None,)))
    limit_start = limit_start._replace(parameters=Parameters(overlaps, (noise,)))

    steps = study.train.num_steps
    first, trained, errors = [], [], []
    for s, task, state, f in ((study, dense_task, dense_start, features), (limit, limit_task, limit_start, None)):
        first.append(train_networks(s, task, None, resume=state, num_steps=0, features=f).train_logits)
        end = train_networks(s, task, None, resume=state, num_steps=steps, features=f, record_at=[0, steps])
        trained.append(vmap(lambda w, f=f: own_overlaps(feature_overlaps(w, f), config.num_views))(end.weights))
        wrong, _ = evaluate(s, World.of(s), replicate, {"networks": end.weights})
        errors.append(wrong["networks"][:, 1] / config.num_test_single_view)
    return Pair(
        float(np.abs(first[0] - first[1]).max() / np.abs(first[1]).max()),
        (np.asarray(trained[0]), np.asarray(trained[1])),
        (errors[0], errors[1]),
    )


def train_pairs(study: Study) -> list[Pair]:
    """All replicates at one d: their ground truth is the same for every d, their noise vectors are not."""
    world, in_the_limit = World.of(study), World.of(replace(study, IN_THE_LIMIT))
    dense, limit = [], []
    for replicate in range(study.replicates):
        dense.append(world.train(replicate))
        limit.append(in_the_limit.train(replicate))
        for field in dataclasses.fields(limit[-1]):
            if (value := getattr(limit[-1], field.name)) is not None:
                assert jnp.array_equal(value, getattr(dense[-1], field.name)), f"{field.name} differs"
    assert world.features is not None
    patches = represent(limit, in_the_limit.config)
    return [train_pair(study, r, data, patches[r], world.features) for r, data in enumerate(dense)]


def stacked_pairs(study: Study) -> dict[str, Any]:
    """All replicates at one d as arrays [R, S, …]."""
    pairs = train_pairs(study)
    found: dict[str, Any] = {"start_difference": max(p.start_difference for p in pairs)}
    for i, name in enumerate(("dense", "limit")):
        overlaps, errors = np.stack([p.overlaps[i] for p in pairs]), np.stack([p.single_error[i] for p in pairs])
        found[f"overlaps_{name}"] = xr.DataArray(overlaps, dims=("replicate", "seed", "class", "view", "neuron"))
        found[f"errors_{name}"] = xr.DataArray(errors, dims=("replicate", "seed"))
    return found


def typical(values: np.ndarray) -> np.ndarray:
    """Geometric mean over networks and training sets, the last two axes; a plain one would see near-ties alone."""
    return np.exp(np.log(values).mean((-2, -1)))


def plain(values: np.ndarray) -> np.ndarray:
    """Mean over networks and training sets, the last two axes."""
    return values.mean((-2, -1))


def power_law(dimensions: list[int], values: np.ndarray) -> np.ndarray:
    """Exponent of d in a least-squares fit of log values, along the last axis."""
    x = np.log(dimensions) - np.log(dimensions).mean()
    return (np.log(values) * x).sum(-1) / (x**2).sum()


def drawn_again(values: np.ndarray, seed: int) -> np.ndarray:
    """Values [R, S] drawn again: training sets with their networks, then networks within each. Shape [B, R, S].

    Networks of one training set share its noise vectors and so are no independent sample of them.
    """
    rng = np.random.default_rng(seed)
    replicates, seeds = values.shape
    rows = rng.integers(0, replicates, (common.BOOTSTRAP_SAMPLES, replicates, 1))
    return values[rows, rng.integers(0, seeds, (common.BOOTSTRAP_SAMPLES, replicates, seeds))]


def measure(smoke: bool) -> dict[str, Any]:
    """All dimensions; the noise vectors are new at each d, so each d is drawn again by itself."""
    study = replace(Study(), SETTING | (SMOKE if smoke else {}))
    dimensions = list(SMOKE_DIMENSIONS if smoke else DIMENSIONS)
    rows, relative, redrawn = [], [], []
    for d in dimensions:
        at_d = replace(study, {"data.patch_dim": d})
        pairs = common.cell(f"d = {d}", at_d, partial(stacked_pairs, at_d))
        dense, limit = (pairs[f"overlaps_{n}"].values for n in ("dense", "limit"))  # [R, S, k, L, m]
        errors = [pairs[f"errors_{n}"].values for n in ("dense", "limit")]
        winner_dense, winner_limit = (winners(o.clip(0).max(-1))[0] for o in (dense, limit))
        difference = np.sqrt(((dense - limit) ** 2).sum((2, 3, 4)) / (limit**2).sum((2, 3, 4)))
        relative.append(typical(difference))
        redrawn.append(typical(drawn_again(difference, d)))
        row: dict[str, Any] = {
            "patch_dim": d,
            "start_logit_difference": common.rounded(pairs["start_difference"], 2),
        }
        for name, values, mean in (
            ("same_winner", (winner_dense == winner_limit).mean(-1), plain),
            ("relative_overlap_difference", difference, typical),
            ("single_view_error_difference", np.abs(errors[0] - errors[1]), plain),
        ):
            row[name] = common.rounded(mean(values))
            row[f"{name}_interval"] = common.percentiles(mean(drawn_again(values, d)))
        row["relative_overlap_difference_by_network"] = common.rounded(difference, 4)
        row["e_single_view_dense"], row["e_single_view_limit"] = (common.rounded(e.mean()) for e in errors)
        rows.append(row)
        common.say(f"d = {d}: overlaps differ by {row['relative_overlap_difference']}, {row['same_winner']} same")
    return {
        "study": to_mapping(study),
        "dimensions": rows,
        "rate": common.rounded(power_law(dimensions, np.array(relative))),
        "rate_interval": common.percentiles(power_law(dimensions, np.stack(redrawn, -1))),
        "expected_rate": -0.5,
    }


def verdicts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The rate."""
    return [
        common.verdict(
            "exponent of d in the difference of final overlaps", document["expected_rate"], document["rate"],
            document["rate_interval"], bearable=0.5,
        )
    ]  # fmt: skip


def draw(document: dict[str, Any]) -> Figure:
    """Three panels over d: same winner, difference of overlaps with its power law, difference of errors."""
    rows = document["dimensions"]
    d = np.array([r["patch_dim"] for r in rows], float)
    figure, axes = plt.subplots(1, 3, figsize=(13, 3.8), layout=common.AIRY)
    panels = (
        ("same_winner", "share of (class, network) pairs", "Same winning view"),
        ("relative_overlap_difference", "relative difference of final overlaps", "Overlaps"),
        ("single_view_error_difference", "mean |difference| of $e_s$ of a network", "Error on single-view data"),
    )
    for ax, (name, label, title) in zip(axes, panels, strict=True):
        common.against(ax, d, rows, name, label="mean, 95 % interval")
        ax.set(xlabel="patch dimension d", ylabel=label, title=title)
    axes[0].set_ylim(min(0.8, axes[0].get_ylim()[0]), 1.02)
    overlaps = np.array([r["relative_overlap_difference"] for r in rows])
    middle = np.exp(np.log(d).mean()), np.exp(np.log(overlaps).mean())
    for row in rows:
        values = np.ravel(row["relative_overlap_difference_by_network"])
        axes[1].plot(np.full(len(values), row["patch_dim"]), values, "_", color="0.55", markersize=8)
    for rate, style, name in ((document["rate"], "-", "fit"), (document["expected_rate"], "--", "expected")):
        axes[1].plot(d, middle[1] * (d / middle[0]) ** rate, style, color="0.3", label=f"{name}: $d^{{{rate:.2f}}}$")
    axes[1].set_yscale("log")
    axes[1].legend(loc="lower left", fontsize=8)
    axes[2].set_ylim(bottom=0)
    return figure


if __name__ == "__main__":
    common.command(sys.modules[__name__])

"""Does a library's gradient boosting learn one view or both, and does its ensemble gain?

Claim (docs/theory.md, section 8): boosting does not explain what ensembles of networks gain. A reference from outside:
scikit-learn's gradient boosting of trees on the world of the contrasts, given the features themselves as columns (the
sum of each sample's patches). Its first model has training error 0, so boosting is done with it; what a second model
of another seed sees differently is the draw of samples and columns, and not boosting.

Run it with `python -m experiments.tree_boosting`; it takes some seconds on one core.
"""

from __future__ import annotations

import sys
from typing import Any

import jax
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments import common
from experiments.contrasts import SMOKE as SMALLER
from experiments.contrasts import WORLD
from multiview import load_preset, replace, streams
from multiview.config import Study, to_mapping
from multiview.measures.errors import error_interval, hierarchical_bootstrap
from multiview.measures.features import learned_views
from multiview.parameters import ConfigError
from multiview.studies.evaluation import count_test_errors, error_counts
from multiview.studies.study import training_tasks
from multiview.world.patches import vectors
from multiview.world.samples import MultiViewDataset
from multiview.world.world import Chunk, World

NAME = "tree_boosting"
CLAIM = "Gradient boosting of trees has training error 0 after its first model, and an error like a single network's."
SECONDS = 15
REMARK = """Trees that may look at four of twenty columns in each split come to use both views, so they err less than
half as often as a single network of this world (0.393). What is left is not a missing view, and averaging seeds removes
little of it."""
SIZE = {"seeds": 6, "data.num_test_multi_view": 1000, "data.num_test_single_view": 1000}
TREES = {"n_estimators": 50, "max_depth": 3, "subsample": 0.7, "max_features": "sqrt"}


def columns(data: MultiViewDataset, study: Study, noise_dim: int, key: jax.Array) -> np.ndarray:
    """What trees see of a sample: its patches summed, in the basis of the features, with the patches' noise.

    Noise of norm ν in d dimensions puts ν/√d on each feature's axis; d is the world's `noise_dim`.
    """
    part = vectors(data, study.data.num_features)
    noise = (
        streams.normal(key, shape=part.vectors.shape) * (part.noise_norm / np.float32(np.sqrt(noise_dim)))[..., None]
    )  # type: ignore[operator]
    return np.asarray((part.vectors + noise).sum(1))


def train_models(seen: np.ndarray, labels: np.ndarray, weights: np.ndarray, seeds: int) -> list[Any]:
    """One model for each seed.

    Raises:
        ConfigError: scikit-learn is missing.
    """
    try:
        from sklearn.ensemble import GradientBoostingClassifier
    except ImportError:
        raise ConfigError(
            "scikit-learn is missing; install it with: pip install 'multiview-theory[baselines]'"
        ) from None
    return [
        GradientBoostingClassifier(**TREES, random_state=seed).fit(seen, labels, weights * len(labels))
        for seed in range(seeds)
    ]


def responses(models: list[Any], study: Study) -> np.ndarray:
    """What each view alone does to its class's output, against the mean of the others [S, k, L]."""
    k, views = study.data.num_classes, study.data.num_views
    outputs = np.stack([m.decision_function(np.eye(k * views)) for m in models])  # [S, kL, k]
    own = outputs.reshape(len(models), k, views, k)[:, np.arange(k), :, np.arange(k)].transpose(1, 0, 2)
    return own - (outputs.sum(-1).reshape(own.shape) - own) / (k - 1)


def boosted(study: Study) -> dict[str, Any]:
    """Errors, training errors and views of all models."""
    world = World.of(study)
    wrong: dict[str, list[Any]] = {"single": [], "ensemble": []}
    learned, train_wrong = [], []
    for replicate, task in enumerate(training_tasks(study, world)):
        key = streams.stream(study.seed, streams.TRAINING_DATA, replicate, 2)
        seen, labels = columns(task.data, study, study.data.patch_dim, key), np.asarray(task.data.labels)
        models = train_models(seen, labels, np.asarray(task.data.weights, float), study.seeds)
        train_wrong.append([int((m.predict(seen) != labels).sum()) for m in models])
        learned.append(learned_views(responses(models, study)).mean((-1, -2)))

        def answer(chunk: Chunk, models: list[Any] = models) -> dict[str, np.ndarray]:
            seen = columns(chunk.task.data, study, study.data.patch_dim, chunk.noise_key)
            outputs = np.stack([m.decision_function(seen) for m in models])
            return {"single": outputs, "ensemble": outputs.mean(0)[None]}

        for name, counted in count_test_errors(world, replicate, answer).items():
            wrong[name].append(counted)
    mu, row = study.data.single_view_fraction, {}
    for name, values in wrong.items():
        counts = error_counts(values, study)
        row[name] = common.rounded(counts.in_units_of_mu(mu).mean())
        row[f"{name}_interval"] = common.rounded(error_interval(counts, mu))
        row[f"{name}_e_multi_view"] = common.rounded(counts.multi_view.mean() / counts.num_multi_view)
        row[f"{name}_e_single_view"] = common.rounded(counts.single_view.mean() / counts.num_single_view)
    share = np.stack(learned)
    return row | {
        "views_learned": common.rounded(share.mean()),
        "views_learned_interval": common.rounded(hierarchical_bootstrap(share)),
        "models_with_train_error_0": int((np.array(train_wrong) == 0).sum()),
        "models": int(np.size(train_wrong)),
    }


def measure(smoke: bool) -> dict[str, Any]:
    """The reference row."""
    study = replace(load_preset("smoke"), WORLD | SIZE | (SMALLER | {"seeds": 2} if smoke else {}))
    return {
        "study": to_mapping(study),
        "trees": TREES,
        **common.cell("trees", [to_mapping(study), TREES], lambda: boosted(study)),
    }


def verdicts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Training error 0, and one view of two; what single networks err by is a half."""
    share = document["models_with_train_error_0"] / document["models"]
    views = document["views_learned"], document["views_learned_interval"]
    return [
        common.verdict("one model of boosted trees has training error 0: nothing is left to boost (share of models)",
                       1.0, share, [share, share], paper=True),
        common.verdict("boosted trees learn one view of two, as networks do (share learned)", 0.5, *views),
        common.verdict("the ensemble of boosted models gains (error in units of μ)",
                       [0, document["single_interval"][0]], document["ensemble"], document["ensemble_interval"]),
    ]  # fmt: skip


def draw(document: dict[str, Any]) -> Figure:
    """Errors of one model and of several, and views learned."""
    figure, ax = plt.subplots(figsize=(5.5, 3.6), layout=common.AIRY)
    names = {"single": "one model", "ensemble": "mean of models", "views_learned": "views learned,\nshare"}
    for x, name in enumerate(names):
        low, high = document[f"{name}_interval"]
        value = document[name]
        ax.errorbar(x, value, [[max(value - low, 0)], [max(high - value, 0)]], fmt="o", capsize=4)
    ax.axhline(0.5, color="0.6", linewidth=0.8, label="a lottery with one winner: 1/2")
    ax.legend(fontsize=8)
    ax.set_xticks(range(len(names)), names.values())
    ax.set(ylabel="test error in units of μ; share", title="Gradient boosting of trees", ylim=(0, None))
    return figure


if __name__ == "__main__":
    common.command(sys.modules[__name__])

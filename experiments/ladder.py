"""From a world in which all seeds learn the same to one in which the theory holds, one ingredient at a time, and back.

Claim (docs/theory.md, sections 1 and 6): ensembles gain where single networks draw lots for their views, and the draw
needs every ingredient of the theory: patches with shared weights, an activation whose slope grows with the overlap, a
small start, single-view samples, foreign features, many samples and a high dimension. In a world with none of
them all seeds should learn the same.

Every rung is measured in the same way: a view counts as learned if a noiseless sample with this view alone moves the
label's logit, against the mean of the others, by more than half of what the strongest view of the class does; it wins
if it moves it most. All rungs are tested on the single-view data of the full world too, whatever they were trained on.

The file is long because the rungs are read together: each changes one ingredient of the one below.

Run it with `python -m experiments.ladder`; it takes about six minutes on one core.
"""

from __future__ import annotations

import dataclasses
import sys
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jax import Array
from matplotlib.figure import Figure

from experiments import common
from experiments.contrasts import SMOKE as SMALLER
from experiments.contrasts import WORLD
from multiview import load_preset, replace, streams
from multiview.config import Study, to_mapping
from multiview.measures.errors import ErrorCounts, error_interval, hierarchical_bootstrap
from multiview.measures.features import learned_views
from multiview.network.parameters import Parameters, init_network
from multiview.studies.diversity import agreement, error_correlation
from multiview.studies.study import training_tasks
from multiview.systems import linear
from multiview.systems.blocks import answer_networks, start_keys, train_networks
from multiview.systems.descent import descend, start_state
from multiview.world.patches import DenseVectors, vectors
from multiview.world.task import Task
from multiview.world.world import World

NAME = "ladder"
CLAIM = (
    "Without the theory's ingredients all seeds learn the same; with all of them the theory holds; without any one of "
    "them the ensemble gains nothing."
)
SECONDS = 380
REMARK = """Single-view samples and foreign features are not needed for the lottery, only for the missing view to show
in the test error. With a large start, plain ReLU or a linear network little or nothing is left to gain: single networks
learn both views and hardly err. Noise on every one of the 120 samples changes nothing in the limit. At the bottom of
the ladder all seeds learn the same views, but which of two learned views is the stronger is left to the large start. At
d = 32 test noise costs all networks the same samples, so that the ensemble removes a sixth of the error and not all."""
SIZE = {"seeds": 8, "replicates": 3, "data.num_test_multi_view": 1000, "data.num_test_single_view": 1000}
LOW_DIMENSION = 32
# The standard deviation of the usual start of linear layers, U(±1/√d), at d = 32.
LARGE_START = 0.1
LONGER = 8  # training goes on up to so many times as long while a training sample is wrong


class Rung(NamedTuple):
    """What a rung has of the theory's ingredients; the defaults have all of them."""

    name: str
    linear: bool = False  # a network without activation
    flat: bool = False  # one weight for each patch position
    power: float = 3.0  # q of the smoothed ReLU; 1 is plain ReLU
    init_std: float | None = None  # None is the world's own
    single_view: bool = True
    foreign: bool = True
    many_samples: bool = True  # noise of multi-view samples averaged out; else each has its own
    high_dimension: bool = True

    @property
    def is_plain(self) -> bool:
        """Whether the package's own representation serves."""
        return self.high_dimension and self.many_samples and not (self.linear or self.flat)


_BOTTOM = Rung(
    "linear, flat input, large start, all views in every sample", linear=True, flat=True, power=1.0,
    init_std=LARGE_START, single_view=False, foreign=False, many_samples=False, high_dimension=False,
)  # fmt: skip
_STEPS_UP: tuple[tuple[str, dict[str, Any]], ...] = (
    ("+ plain ReLU", {"linear": False}),
    ("+ patches, shared weights", {"flat": False}),
    ("+ smoothed ReLU, q = 3", {"power": 3.0}),
    ("+ small start", {"init_std": None}),
    ("+ single-view samples", {"single_view": True}),
    ("+ foreign features", {"foreign": True}),
    ("+ many samples", {"many_samples": True}),
    ("+ high dimension: all", {"high_dimension": True}),
)
# q = 4 with the start that keeps the view's clock, k ϱ^(q-1) / ((q-2) Λ₀^(q-2)) with Λ₀ ∝ σ₀.
DOWN = (
    Rung("all, with q = 4", power=4.0),
    Rung("− activation: linear", linear=True, power=1.0),
    Rung("− patches: flat input", flat=True),
    Rung("− smoothed: plain ReLU", power=1.0),
    Rung("− small start", init_std=LARGE_START),
    Rung("− single-view samples", single_view=False),
    Rung("− foreign features", foreign=False),
    Rung("− many samples", many_samples=False),
    Rung("− high dimension", high_dimension=False),
)


def rungs_up() -> list[Rung]:
    """The ladder, from all seeds learning the same to the full setting."""
    rungs = [_BOTTOM]
    for name, change in _STEPS_UP:
        rungs.append(rungs[-1]._replace(name=name, **change))
    return rungs


def start_at_equal_clock(study: Study, power: float) -> float:
    """σ₀ at which the view's clock is that of the world's own q, with Λ₀ = cσ₀ and c the maximum of m Gaussians."""
    own = study.network
    c = np.sqrt(2 * np.log(own.neurons_per_class))
    clock = (own.relu_power - 2) * (c * own.init_std / own.relu_threshold) ** (own.relu_power - 2)
    return float((clock / (power - 2)) ** (1 / (power - 2)) / c * own.relu_threshold)


def study_of(world: Study, rung: Rung) -> Study:
    """The configuration of a rung."""
    changes: dict[str, Any] = {"network.relu_power": rung.power}
    if rung.init_std is not None:
        changes["network.init_std"] = rung.init_std
    elif rung.power > 2:
        changes["network.init_std"] = start_at_equal_clock(world, rung.power)
    if not rung.single_view:
        changes["data.num_single_view_train"] = 0
    if not rung.foreign:
        changes["data.feature_sparsity"] = 0.0
    return replace(world, changes)


def as_seen(task: Task, rung: Rung, study: Study, key: Array) -> Task:
    """Samples as the rung's system sees them.

    The start is invariant under rotations, so features are the first kL axes of R^d. A flat network on P patches is
    the same network on one patch of P·D numbers.
    """
    if rung.is_plain:
        return task
    data = task.data
    if not rung.many_samples:
        norms = jnp.where(data.patch_feature >= 0, study.data.noise_norm, study.data.background_noise_norm)
        data = dataclasses.replace(data, noise_norms=norms.astype(data.noise_norms.dtype))
    part = vectors(data, study.data.num_features)
    patches, norm = part.vectors, part.noise_norm
    if not rung.high_dimension:
        padding = LOW_DIMENSION - patches.shape[-1]
        patches = jnp.pad(patches, ((0, 0), (0, 0), (0, padding)))
        noise = streams.normal(key, shape=patches.shape) / np.sqrt(np.float32(LOW_DIMENSION))
        patches, norm = patches + norm[..., None] * noise, None
    if rung.flat:
        patches = patches.reshape(len(patches), 1, -1)
        norm = None if norm is None else jnp.sqrt((norm**2).sum(1, keepdims=True))
    return Task(dataclasses.replace(data, patches=patches), (DenseVectors(patches, norm),))


def probes(rung: Rung, study: Study) -> Array:
    """Samples of one view alone, without noise: [kL · positions, 1, D]."""
    features = study.data.num_features
    width = features if rung.high_dimension else LOW_DIMENSION
    one = jnp.eye(width)[:features]
    if not rung.flat:
        return one[:, None]
    positions = study.data.num_patches
    return jnp.einsum("fd,pq->fpqd", one, jnp.eye(positions)).reshape(features * positions, 1, positions * width)


def responses(outputs: np.ndarray, study: Study) -> np.ndarray:
    """What each view does to its class: F_i minus the mean of the others, on its own probes [S, k, L]."""
    k, views = study.data.num_classes, study.data.num_views
    by_view = outputs.reshape(len(outputs), k, views, -1, k).mean(3)  # [S, k, L, k], positions averaged
    own = by_view[:, np.arange(k), :, np.arange(k)].transpose(1, 0, 2)
    return own - (by_view.sum(-1) - own) / (k - 1)


def rate_of(task: Task, study: Study, neurons: int) -> float:
    """The rule of linear systems, 2 / λ_max of the weighted Gram matrix, for a network all of whose slopes are 1."""
    data = task.data
    part = vectors(data, study.data.num_features) if data.patches is None else task.patches[0]
    assert isinstance(part, DenseVectors)
    summed = part.vectors.sum(1)
    gram = summed @ summed.T
    if part.noise_norm is not None:
        gram = gram + jnp.diag((part.noise_norm**2).sum(1))
    return float(linear.step_size(linear.largest_curvature(neurons * gram[None], data.weights)))


@partial(jax.jit, static_argnames=("study", "max_steps"))
def _train_linear(keys: Array, task: Task, study: Study, rate: Array, max_steps: int) -> Any:
    steps = study.train.num_steps

    def outputs(parameters: Parameters, patches: Any) -> Array:
        return linear.pre_activations(parameters.weights, parameters.noise[0], patches[0]).sum((1, 3))

    def one(key: Array) -> Any:
        dimension = task.dimension(study.data.num_features)
        start = init_network(key, task.patches, dimension, study.data.num_classes, study.network, jnp.float32)
        done = descend(outputs, start_state(start), 0, max_steps, steps, task, rate)
        wrong = (outputs(done.parameters, task.patches).argmax(-1) != task.data.labels).sum()
        return done.parameters.weights, wrong, done.taken

    return jax.lax.map(one, keys)


class Trained(NamedTuple):
    """Networks of one rung: weights [S, D, k, m], wrong training samples [S], steps taken."""

    weights: np.ndarray
    train_wrong: np.ndarray
    steps: int


def linear_study(study: Study) -> Study:
    """m linear neurons of a class are one, of √m times the start."""
    m = study.network.neurons_per_class
    return replace(
        study, {"network.neurons_per_class": 1, "network.init_std": study.network.init_std * float(np.sqrt(m))}
    )


def train(rung: Rung, study: Study, task: Task, keys: Array) -> Trained:
    """Train the networks of one rung, longer while a training sample is wrong."""
    steps = study.train.num_steps
    if rung.linear:
        m = study.network.neurons_per_class
        # One neuron that stands for m of them moves m times as far.
        rate = m * rate_of(task, study, m)
        weights, wrong, taken = _train_linear(keys, task, linear_study(study), jnp.float32(rate), LONGER * steps)
        return Trained(np.asarray(weights), np.asarray(wrong), int(taken.max()))
    if rung.power == 1:
        study = replace(study, {"train.learning_rate": rate_of(task, study, study.network.neurons_per_class)})
    trained = train_networks(study, task, keys, num_steps=steps, record_at=[steps])
    taken = steps
    while trained.records["train_wrong"][:, -1].any() and taken < LONGER * steps:
        more = min(taken, LONGER * steps - taken)
        state = jax.tree.map(jnp.asarray, trained.state)
        trained = train_networks(study, task, None, resume=state, num_steps=more, record_at=[more])
        taken += more
    return Trained(trained.weights, trained.records["train_wrong"][:, -1], taken)


def logits_of(rung: Rung, study: Study, weights: np.ndarray, key: Array, task: Task) -> np.ndarray:
    """Logits of all networks of a rung on samples with fresh noise [S, n, k]."""
    keys = jax.random.split(key, len(weights))
    if not rung.linear:
        return answer_networks(study, weights, keys, task)
    part = task.patches[0]

    def one(args: Any) -> Array:
        w, fresh_key = args
        fresh = init_network(fresh_key, task.patches, w.shape[0], w.shape[1], linear_study(study).network, w.dtype)
        return linear.pre_activations(w, fresh.noise[0], part).sum((1, 3))

    return np.asarray(jax.lax.map(one, (jnp.asarray(weights), keys)))


def measure_rung(world: Study, rung: Rung) -> dict[str, Any]:
    """Train and measure one rung: views, agreement, errors."""
    study = study_of(world, rung)
    own_data = {"own_multi_view": (study, "multi_view"), "own_single_view": (study, "single_view")}
    tests = {"common": (world, "single_view")} | own_data
    counts: dict[str, list[Any]] = {name: [] for name in tests} | {f"ensemble_{name}": [] for name in tests}
    learned, agreed, same_sets, correlation, train_wrong, steps = [], [], [], [], [], []
    number = world.data.num_test_single_view
    for replicate, samples in enumerate(training_tasks(study)):
        noise = streams.stream(study.seed, streams.TRAINING_DATA, replicate, 1)
        task = as_seen(samples, rung, study, noise)
        trained = train(rung, study, task, start_keys(study, streams.START, replicate, range(study.seeds)))
        train_wrong.append(trained.train_wrong)
        steps.append(trained.steps)
        probe = Task(task.data, (DenseVectors(probes(rung, study), None),))
        response = responses(logits_of(rung, study, trained.weights, noise, probe), study)
        views = learned_views(response)
        learned.append(views.mean((-1, -2)))
        same_sets.append(agreement(views.transpose(1, 0, 2)))
        agreed.append(agreement(response.argmax(-1).T[..., None]))
        for index, (name, (of, kind)) in enumerate(tests.items()):
            wrong, together = [], 0
            for chunk in World.of(of).held_out(replicate, {kind: number}):  # type: ignore[dict-item]
                # Noise of its own for each of the three test sets, two of which share their kind.
                key = streams.stream(study.seed, streams.TEST_NOISE, replicate, index, chunk.number)
                sample_key, test_key = jax.random.split(key)
                seen = as_seen(chunk.task, rung, study, sample_key)
                outputs = logits_of(rung, study, trained.weights, test_key, seen)
                wrong.append(outputs.argmax(-1) != chunk.labels)
                together += (outputs.mean(0).argmax(-1) != chunk.labels).sum()
            each = np.concatenate(wrong, 1)
            counts[name].append(each.sum(-1))
            counts[f"ensemble_{name}"].append(np.array([together]))
            if name == "common":
                correlation.append(error_correlation(each))
    wrong_of = {name: np.stack(values) for name, values in counts.items()}
    mu = world.data.single_view_fraction if rung.single_view else 0.0
    row: dict[str, Any] = {"rung": rung.name, "steps": steps}
    for prefix, label in (("", "single"), ("ensemble_", "ensemble")):
        of_common = wrong_of[f"{prefix}common"]
        row[f"e_single_view_{label}"] = common.rounded(of_common.mean() / number)
        row[f"e_single_view_{label}_interval"] = common.rounded(_rate_interval(of_common, number))
        multi, single = wrong_of[f"{prefix}own_multi_view"], wrong_of[f"{prefix}own_single_view"]
        row[f"own_error_{label}"] = common.rounded(((1 - mu) * multi + mu * single).mean() / number)
        row[f"own_error_{label}_interval"] = common.rounded(_mixture_interval(multi, single, number, mu))
    shares, equal, wrong_train = np.stack(learned), np.stack(agreed), np.stack(train_wrong)
    return row | {
        "views_learned": common.rounded(shares.mean()),
        "views_learned_interval": common.rounded(hierarchical_bootstrap(shares)),
        "agreement": common.rounded(equal.mean()),
        "agreement_interval": common.rounded(hierarchical_bootstrap(equal)),
        "same_views": common.rounded(np.mean(same_sets)),
        "same_views_interval": common.rounded(hierarchical_bootstrap(np.stack(same_sets))),
        "error_correlation": None if np.isnan(correlation).all() else common.rounded(np.nanmean(correlation)),
        "train_error_0": f"{int((wrong_train == 0).sum())} of {wrong_train.size}",
        "counts": bool((wrong_train == 0).all()),
    }


def _rate_interval(wrong: np.ndarray, number: int) -> tuple[float, float]:
    return error_interval(ErrorCounts(np.zeros_like(wrong), wrong, number, number), 1.0)


def _mixture_interval(multi: np.ndarray, single: np.ndarray, number: int, mu: float) -> tuple[float, float]:
    if mu == 0:
        return _rate_interval(multi, number)
    low, high = error_interval(ErrorCounts(multi, single, number, number), mu)
    return mu * low, mu * high


def measure(smoke: bool) -> dict[str, Any]:
    """The ladder up, and each ingredient taken away from the full setting."""
    world = replace(load_preset("smoke"), WORLD | SIZE | (SMALLER if smoke else {}))
    up, down = rungs_up(), list(DOWN)
    if smoke:
        up, down = [up[0], up[-1]], [r for r in down if r.name in ("− activation: linear", "− small start")]
    rows: dict[str, list[Any]] = {"up": [], "down": []}
    for name, rungs in (("up", up), ("down", down)):
        for rung in rungs:
            settings = [to_mapping(world), rung._asdict(), LOW_DIMENSION, LONGER]
            row = common.cell(rung.name, settings, lambda rung=rung: measure_rung(world, rung))
            common.say(
                f"{rung.name}: views {row['views_learned']}, agreement {row['agreement']}, e_s "
                f"{row['e_single_view_single']}, ensemble {row['e_single_view_ensemble']}, train {row['train_error_0']}"
            )
            rows[name].append(row)
    return {
        "study": to_mapping(world),
        "low_dimension": LOW_DIMENSION,
        "large_start": LARGE_START,
        "start_of_q_4": common.rounded(start_at_equal_clock(world, 4.0)),
        **rows,
    }


def verdicts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Both ends of the ladder, and what each missing ingredient should do to the gain of the ensemble."""
    found = []

    def judge(row: dict[str, Any], words: str, predicted: Any, name: str, paper: bool = False) -> None:
        claim = f"{row['rung']}: {words}"
        judged = common.verdict(claim, predicted, row[name], row[f"{name}_interval"], paper=paper)
        found.append(judged if row["counts"] else judged | {"verdict": "undecided"})

    bottom, top = document["up"][0], document["up"][-1]
    ensemble = "e_single_view_ensemble"
    judge(bottom, "the same view is the stronger in all seeds (agreement of winners)", 1.0, "agreement")
    judge(bottom, "all seeds learn the same views (agreement on what is learned)", 1.0, "same_views")
    judge(bottom, "the ensemble gains nothing", bottom["e_single_view_single_interval"], ensemble)
    judge(top, "seeds draw lots for their views (agreement of winners)", 0.5, "agreement", paper=True)
    judge(top, "a network learns one view of two (share learned)", 0.5, "views_learned", paper=True)
    judge(top, "the ensemble gains", [0, top["e_single_view_single_interval"][0]], ensemble, paper=True)
    for row in document["down"]:
        low, high = row["e_single_view_single_interval"]
        if row["rung"].startswith("−"):
            judge(row, "the ensemble gains nothing", [low, high], ensemble)
        else:
            judge(row, "the ensemble gains", [0, low], ensemble, paper=True)
    return found


def draw(document: dict[str, Any]) -> Figure:
    """Views and agreement above, errors below; the ladder left, the way back right."""
    up, down = document["up"], document["down"]
    figure, axes = plt.subplots(
        2, 2, figsize=(12, 8), layout=common.AIRY, sharex="col", sharey="row", width_ratios=[len(up), len(down) + 1]
    )
    for column, (rows, title) in enumerate(
        ((up, "One ingredient more at each rung"), ([up[-1], *down], "All of them, and all but one"))
    ):
        x = np.arange(len(rows))
        above, below = axes[:, column]
        above.plot(x, [r["views_learned"] for r in rows], "o-", label="share of views learned by a network")
        above.plot(x, [r["same_views"] for r in rows], "D-.", label="agreement between seeds on what is learned")
        above.plot(x, [r["agreement"] for r in rows], "s--", label="agreement between seeds on the stronger view")
        above.axhline(0.5, color="0.6", linewidth=0.8, label="a lottery with one winner: both 1/2")
        for offset, name, marker, color in ((-0.08, "single", "o", "C0"), (0.08, "ensemble", "D", "C1")):
            value = np.array([r[f"e_single_view_{name}"] for r in rows])
            low, high = np.array([r[f"e_single_view_{name}_interval"] for r in rows]).T
            bars = np.clip([value - low, high - value], 0, None)
            below.errorbar(x + offset, value, bars, fmt=marker, color=color, capsize=3,
                           label="single networks" if name == "single" else "their ensemble")  # fmt: skip
        above.set(title=title, ylim=(0, 1.05))
        names = [
            r["rung"].replace("flat input, large start, all views in", "flat input,\nlarge start, all views\nin")
            for r in rows
        ]
        names = [name if r["counts"] else f"{name} *" for name, r in zip(names, rows, strict=True)]
        below.set_xticks(x, names, rotation=40, ha="right", fontsize=8)
        above.grid(axis="x", alpha=0.3)
        below.grid(axis="x", alpha=0.3)
    axes[0, 0].set_ylabel("share")
    axes[1, 0].set_ylabel("error on the full world's\nsingle-view test data")
    axes[1, 0].set_xlabel("* not every network reached training error 0", fontsize=8)
    axes[0, 0].legend(fontsize=8, loc="lower left")
    axes[1, 0].legend(fontsize=8, loc="lower left")
    return figure


if __name__ == "__main__":
    common.command(sys.modules[__name__])

"""The rows of the benchmark: one function for each implementation of the same gradient descent on the same data.

A row is a function of a number of steps. It begins at the start that all rows share, takes that many full-batch steps
of the network of docs/theory.md, section 4, and returns the weights of all seeds, [S, d, k, m].

The dense rows work on patches in R^d, x_p = z_p v + ξ_p. The limit row is the exact limit of large d of the same
problem (section 7): the same features, coefficients and noise norms, with the overlaps ⟨w, ξ_p⟩/ν of all N·P noise
directions as parameters. Every patch holds a feature and noise, so no implementation can leave a patch out.

The file is long because every row stands beside those that it is compared with.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import multiview
from multiview import streams
from multiview.config import Study
from multiview.systems.blocks import Trained, start_keys, train_networks
from multiview.world.law import orthonormal_features
from multiview.world.samples import MultiViewDataset
from multiview.world.task import Task

POWER, THRESHOLD, NOISE_NORM, NUM_VIEWS = 3, 1.0, 0.6, 2
# A large start and a large step: within three steps the weights move by much of their own size, so rows that agree then
# agree in their gradients. Neither changes what a step costs.
INIT_STD, LEARNING_RATE = 0.2, 4.0

Row = Callable[[int], Any]


@dataclass(frozen=True)
class Problem:
    """The size of the work; the defaults are the reference size of the published figures."""

    num_classes: int = 10
    neurons_per_class: int = 16
    num_train: int = 400
    num_patches: int = 11
    patch_dim: int = 1024
    block_size: int | None = None  # multiview's own choice if None

    @property
    def overlaps(self) -> int:
        """Pre-activations of one seed, k·m·N·P."""
        return self.num_classes * self.neurons_per_class * self.num_train * self.num_patches

    @property
    def dense_operations(self) -> int:
        """Operations of one dense step of one seed by the customary count, 6·N·P·d·k·m.

        It takes a backward pass for twice the forward one. But samples need no gradient: only 4·N·P·d·k·m have to be
        computed where pre-activations are kept, so shares of the product rate by this count can exceed 1.
        """
        return 6 * self.patch_dim * self.overlaps

    @property
    def limit_operations(self) -> int:
        """Operations of one step of one seed in the limit: 25 for each overlap.

        Forward: pre-activation 3, activation 8, sum 1. Reverse: pre-activation 3, slope 4, times the sample's gradient
        1, times ν 1, times z and summed 2, the update 2.
        """
        return 25 * self.overlaps

    @property
    def limit_bytes(self) -> int:
        """Least memory traffic of one step of one seed in the limit, in single precision.

        The softmax of a sample stands between the two passes, so each overlap is read twice and written once.
        """
        return 3 * 4 * self.overlaps

    def study(self, representation: str) -> Study:
        """The configuration that multiview's own rows run with."""
        changes: dict[str, Any] = {
            "data.representation": representation,
            "data.num_classes": self.num_classes,
            "data.num_views": NUM_VIEWS,
            "data.patch_dim": self.patch_dim,
            "data.num_patches": self.num_patches,
            "data.feature_sparsity": 0.0,  # the data are given (`make_world`), not drawn from this configuration
            "data.noise_norm": NOISE_NORM,
            "data.num_train": self.num_train,
            "network.neurons_per_class": self.neurons_per_class,
            "network.relu_power": float(POWER),
            "network.relu_threshold": THRESHOLD,
            "network.init_std": INIT_STD,
            "train.learning_rate": LEARNING_RATE,
        }
        if self.block_size is not None:
            changes["train.block_size"] = self.block_size
        return multiview.replace(Study(), changes)


class World(NamedTuple):
    """What all rows share: the problem, its samples with dense patches, and the features [kL, d]."""

    problem: Problem
    data: MultiViewDataset
    features: np.ndarray


def make_world(problem: Problem) -> World:
    """Samples whose every patch holds a feature: the label's views first, then random ones, in random order."""
    random = np.random.default_rng(0)
    n, p, k, d = problem.num_train, problem.num_patches, problem.num_classes, problem.patch_dim
    labels = random.integers(0, k, n)
    of_label = labels[:, None] * NUM_VIEWS + np.arange(NUM_VIEWS)
    foreign = (of_label[:, -1:] + random.integers(1, k * NUM_VIEWS - NUM_VIEWS + 1, (n, p))) % (k * NUM_VIEWS)
    index = random.permuted(np.concatenate([of_label, foreign], axis=1)[:, :p], axis=1)
    own = index // NUM_VIEWS == labels[:, None]
    z = np.where(own, random.uniform(1.0, 1.5, (n, p)), random.uniform(0.3, 0.4, (n, p)))
    key = streams.stream(0, streams.FEATURES)
    features = np.asarray(orthonormal_features(key, problem.study("dense").data))
    noise = random.standard_normal((n, p, d), np.float32) * np.float32(NOISE_NORM / np.sqrt(d))
    patches = z[..., None].astype(np.float32) * features[index] + noise
    data = MultiViewDataset(
        labels=jnp.asarray(labels, jnp.int32),
        is_single_view=jnp.zeros(n, bool),
        chosen_view=jnp.full(n, -1, jnp.int32),
        patch_feature=jnp.asarray(index, jnp.int32),
        coefficients=jnp.asarray(z, jnp.float32),
        noise_norms=jnp.full((n, p), NOISE_NORM, jnp.float32),
        weights=jnp.full(n, 1.0 / n, jnp.float32),
        dropped_features=jnp.zeros(n, jnp.int32),
        patches=jnp.asarray(patches),
    )
    return World(problem, data, features)


# --- multiview, through its public training function alone ---------------------------------------------------------


class MultiviewRow(NamedTuple):
    """multiview's training of S seeds in one representation."""

    study: Study
    task: Task
    seeds: int

    def train(self, num_steps: int, resume: Any = None, keep_state: bool = True) -> Trained:
        """Train, recording once at the end."""
        keys = None if resume is not None else start_keys(self.study, streams.START, 0, range(self.seeds))
        return train_networks(
            self.study,
            self.task,
            keys,
            num_steps=num_steps,
            resume=resume,
            record_at=[num_steps],
            keep_state=keep_state,
        )

    def __call__(self, num_steps: int) -> Any:
        """Weights, or feature overlaps in the limit, after so many steps."""
        return jax.block_until_ready(self.train(num_steps, keep_state=False).weights)


def multiview_row(world: World, seeds: int, representation: str) -> MultiviewRow:
    """Our own training: "dense", or "limit", where the noise vectors are forgotten and their overlaps are tracked."""
    study = world.problem.study(representation)
    data = world.data if representation == "dense" else replace(world.data, patches=None)
    return MultiviewRow(study, Task(data, multiview.represent([data], study.data)[0]), seeds)


def dense_start(world: World, seeds: int) -> np.ndarray:
    """The start that all dense rows share: multiview's own, [S, d, k, m]."""
    return np.array(multiview_row(world, seeds, "dense").train(0).weights)


# --- the other dense rows ------------------------------------------------------------------------------------------


def numpy_row(world: World, start: np.ndarray) -> Row:
    """NumPy: two matrix products and the gradient by hand, one seed after the other."""
    n, p, d = world.data.patches.shape  # type: ignore[union-attr]
    x = np.asarray(world.data.patches).reshape(n * p, d)
    target = np.eye(world.problem.num_classes, dtype=np.float32)[np.asarray(world.data.labels)]

    def step(w: np.ndarray) -> np.ndarray:
        k, m = w.shape[1:]
        pre = x @ w.reshape(d, k * m)
        logits = activation(pre).reshape(n, p, k, m).sum((1, 3))
        push = (softmax(logits) - target) / n
        pre_gradient = slope(pre).reshape(n, p, k, m) * push[:, None, :, None]
        return w - LEARNING_RATE * (x.T @ pre_gradient.reshape(n * p, k * m)).reshape(d, k, m)

    return loop_over_seeds(step, start)


def loop_over_seeds(step: Callable[[np.ndarray], np.ndarray], start: np.ndarray) -> Row:
    """A row that trains one seed after the other by `step`."""

    def run(num_steps: int) -> np.ndarray:
        trained = []
        for w in start:
            for _ in range(num_steps):
                w = step(w)
            trained.append(w)
        return np.stack(trained)

    return run


def activation(z: np.ndarray) -> np.ndarray:
    """The smoothed ReLU in NumPy."""
    bent = np.clip(z, 0, THRESHOLD)
    return bent**POWER / (POWER * THRESHOLD ** (POWER - 1)) + np.maximum(z - THRESHOLD, 0)


def slope(z: np.ndarray) -> np.ndarray:
    """Its derivative."""
    return (np.clip(z, 0, THRESHOLD) / THRESHOLD) ** (POWER - 1)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis."""
    exponential = np.exp(logits - logits.max(-1, keepdims=True))
    return exponential / exponential.sum(-1, keepdims=True)


def jax_row(world: World, start: np.ndarray) -> Row:
    """Plain JAX: jit of vmap of grad of the loss as one would write it down; autodiff, no tricks."""
    x, labels = world.data.patches, world.data.labels

    def loss(w: jax.Array) -> jax.Array:
        z = jnp.einsum("npd,dkm->npkm", x, w)
        bent = jnp.where(z <= 0, 0.0, z**POWER / (POWER * THRESHOLD ** (POWER - 1)))
        logits = jnp.where(z <= THRESHOLD, bent, z - (1 - 1 / POWER) * THRESHOLD).sum((1, 3))
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()

    step = jax.jit(lambda w: w - LEARNING_RATE * jax.vmap(jax.grad(loss))(w))
    on_device = jnp.asarray(start)

    def run(num_steps: int) -> jax.Array:
        w = on_device
        for _ in range(num_steps):
            w = step(w)
        return w.block_until_ready()

    return run


def torch_rows(world: World, start: np.ndarray) -> dict[str, Row]:
    """PyTorch: autograd in a loop over seeds, and torch.func's vmap of grad. Empty where torch is missing."""
    if importlib.util.find_spec("torch") is None:
        return {}
    import torch

    device = "cuda" if jax.default_backend() == "gpu" and torch.cuda.is_available() else "cpu"
    if jax.default_backend() != "cpu" and device == "cpu":
        return {}  # two cores beside an accelerator would be no comparison
    x = torch.tensor(np.asarray(world.data.patches), device=device)
    labels = torch.tensor(np.asarray(world.data.labels), device=device).long()
    on_device = torch.tensor(start, device=device)

    def loss(w: Any) -> Any:
        z = (x.flatten(0, 1) @ w.flatten(1)).unflatten(0, x.shape[:2]).unflatten(-1, w.shape[1:])
        bent = torch.where(z <= 0, 0.0, z**POWER / (POWER * THRESHOLD ** (POWER - 1)))
        logits = torch.where(z <= THRESHOLD, bent, z - (1 - 1 / POWER) * THRESHOLD).sum((1, 3))
        return torch.nn.functional.cross_entropy(logits, labels)

    def loop_step(w: Any) -> Any:
        w = w.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(w), w)
        return (w - LEARNING_RATE * gradient).detach()

    gradients = torch.func.vmap(torch.func.grad(loss))

    def rows(step: Callable[[Any], Any], batches: Any) -> Row:
        def run(num_steps: int) -> np.ndarray:
            trained = []
            for w in batches:
                for _ in range(num_steps):
                    w = step(w)
                trained.append(w)
            return np.asarray(torch.stack(trained).reshape(start.shape).cpu())

        return run

    return {
        "torch_loop": rows(loop_step, on_device),
        "torch_func": rows(lambda w: w - LEARNING_RATE * gradients(w), on_device[None]),
    }


def dense_rows(world: World, seeds: int) -> dict[str, Row]:
    """All dense rows that make sense on this device, from one start."""
    start = dense_start(world, seeds)
    rows: dict[str, Row] = {"numpy": numpy_row(world, start)} if jax.default_backend() == "cpu" else {}
    rows |= torch_rows(world, start)
    return rows | {"jax_vmap_dense": jax_row(world, start), "multiview_dense": multiview_row(world, seeds, "dense")}


# --- agreement, checked before anything is timed -------------------------------------------------------------------

CHECK_STEPS = 3
TOLERANCE = 2e-4  # of the distance travelled, in single precision


class Disagreement(RuntimeError):
    """Two rows that should have done the same work did not."""


def limit_in_numpy(world: World, overlaps: np.ndarray, noise: np.ndarray, num_steps: int) -> tuple[np.ndarray, ...]:
    """The limit written plainly, for one seed: U [kL, k, m] and A [N, P, k, m] after so many steps."""
    data = world.data
    index, labels = np.asarray(data.patch_feature), np.asarray(data.labels)
    z, norm = (np.asarray(a)[..., None, None] for a in (data.coefficients, data.noise_norms))
    target = np.eye(world.problem.num_classes, dtype=np.float32)[labels]
    u, a = overlaps.copy(), noise.copy()
    for _ in range(num_steps):
        pre = z * u[index] + norm * a
        push = (softmax(activation(pre).sum((1, 3))) - target) / len(labels)
        pre_gradient = slope(pre) * push[:, None, :, None]
        np.subtract.at(u, index, LEARNING_RATE * z * pre_gradient)
        a -= LEARNING_RATE * norm * pre_gradient
    return u, a


def difference(name: str, ours: Any, reference: np.ndarray, start: np.ndarray) -> float:
    """Root-mean-square difference of two ends of training, relative to the distance from their start.

    Raises:
        Disagreement: it is above the tolerance, or not finite.
    """
    ours = np.asarray(ours)
    if ours.shape != reference.shape:
        raise Disagreement(f"{name}: weights have shape {ours.shape}, those of the reference {reference.shape}")
    value = float(np.linalg.norm(ours - reference) / np.linalg.norm(reference - start))
    if not value < TOLERANCE:
        raise Disagreement(f"{name}: differs by {value:.2g} of the distance travelled; {TOLERANCE:g} is allowed")
    return value


def check(world: World, seeds: int = 2) -> dict[str, float]:
    """Check that all rows do the same work, before anything is timed.

    Dense rows are compared with NumPy's, the limit row with the limit written plainly in NumPy, and the limit itself
    with the dense data: from U = ⟨w, v⟩ and A = ⟨w, ξ⟩/ν of the dense start, its change of U tends to that of the
    dense rows as d grows (docs/experiments.md). That last number is reported, not judged.

    Args:
        world: the data.
        seeds: how many to compare.

    Returns:
        The difference of each row from its reference, in units of the distance travelled.

    Raises:
        Disagreement: a row did other work than its reference.
    """
    precision = jax.config.jax_default_matmul_precision  # accelerators round products by default
    jax.config.update("jax_default_matmul_precision", "highest")
    try:
        start = dense_start(world, seeds)
        reference = numpy_row(world, start)(CHECK_STEPS)
        found = {
            name: difference(name, row(CHECK_STEPS), reference, start) for name, row in dense_rows(world, seeds).items()
        }
        found["multiview_limit"] = _check_limit(world, seeds)
    finally:
        jax.config.update("jax_default_matmul_precision", precision)
    found["limit_against_dense"] = limit_against_dense(world, start[0], reference[0])
    return found


def limit_against_dense(world: World, start: np.ndarray, end: np.ndarray) -> float:
    """How far the limit ends from the dense row in feature overlaps, of the distance travelled; falls as d grows.

    Args:
        world: the dense data.
        start: dense weights of one seed [d, k, m], from which the limit starts too.
        end: the same seed after the steps of the check.
    """
    overlaps = np.einsum("fd,dkm->fkm", world.features, start)
    index, z = np.asarray(world.data.patch_feature), np.asarray(world.data.coefficients)
    residual = np.asarray(world.data.patches) - z[..., None] * world.features[index]
    noise = np.einsum("npd,dkm->npkm", residual, start, optimize=True) / NOISE_NORM
    limit, _ = limit_in_numpy(world, overlaps, noise, CHECK_STEPS)
    dense = np.einsum("fd,dkm->fkm", world.features, end)
    return float(np.linalg.norm(limit - dense) / np.linalg.norm(dense - overlaps))


def _check_limit(world: World, seeds: int) -> float:
    """The limit row against NumPy, from noise overlaps that are all equal, so that no layout has to be known."""
    row = multiview_row(world, seeds, "limit")
    state = row.train(0).state
    level = INIT_STD / 2
    noise = jax.tree.map(lambda a: jnp.full_like(a, level), state.parameters.noise)
    state = state._replace(parameters=state.parameters._replace(noise=noise))
    start = np.array(state.parameters.weights)
    p = world.problem
    flat = np.full((p.num_train, p.num_patches, p.num_classes, p.neurons_per_class), level, np.float32)
    reference = np.stack([limit_in_numpy(world, u, flat, CHECK_STEPS)[0] for u in start])
    return difference("multiview_limit", row.train(CHECK_STEPS, state).weights, reference, start)

"""What the lessons share: their world, answers of networks on fresh samples, and figures in the size of a slide.

Keep this file beside a lesson that you take home. Everything else comes from `multiview`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import multiview as mv
from multiview.measures.errors import combine
from multiview.network.parameters import Parameters, init_network
from multiview.systems import linear, linearised, random_features
from multiview.systems.blocks import answer_networks
from multiview.world.patches import vectors
from multiview.world.task import Task
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


# Two systems that are linear in what they train. Each is three functions: the model that the training samples see, what
# training changed, and the outputs on other samples.
SYSTEMS: dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]] = {
    "NTK": (linearised.tangent_model, linearised.weight_change, linearised.linearised_outputs),
    "random features": (
        random_features.random_feature_model,
        random_features.readout_change,
        random_features.random_feature_outputs,
    ),
}


def train_linear(study: mv.Study, task: Task, keys: Any, system: str, steps: int = 500) -> dict[str, Any]:
    """Train linear models from their own starts, and all of them jointly as one model.

    Returns:
        `single` and `joint`: their outputs on fresh samples (the members', to be averaged); `train_wrong` and
        `joint_train_wrong`: wrong training samples.
    """
    model_of, change_of, outputs_of = SYSTEMS[system]
    part, sizes = vectors(task.data, study.data.num_features), (study.data.num_features, study.data.num_classes)
    starts = jax.vmap(lambda key: init_network(key, (part,), *sizes, study.network, jnp.float32))(keys)
    models = jax.lax.map(jax.jit(lambda start: model_of(start, part, study.network)), starts)

    def fit(model: Any) -> Any:
        return linear.fit(model, task, min_steps=steps, max_steps=8 * steps)

    fits, joint = jax.lax.map(fit, models), fit(linear.average_model(models))
    found: dict[str, Any] = {"single": {}, "joint": {}}
    for kind in KINDS:
        test = test_samples(study, kind)
        seen = vectors(test.task.data, study.data.num_features)

        @jax.jit
        def outputs(starts: Parameters, duals: Any, noise: Any, seen: Any = seen) -> Any:
            def one(arguments: Any) -> Any:
                start, dual, key = arguments
                at = Parameters(start.weights, init_network(key, (seen,), *sizes, study.network, jnp.float32).noise)
                return outputs_of(at, change_of(start, part, study.network, dual), seen, study.network)

            return jax.lax.map(one, (starts, duals, noise))

        noise = test.noise_keys(len(keys))
        found["single"][kind] = np.asarray(outputs(starts, fits.dual, noise))
        found["joint"][kind] = np.asarray(outputs(starts, jnp.repeat(joint.dual[None], len(keys), 0), noise))
    alone, together = (np.asarray((f.train_logits.argmax(-1) != task.data.labels).sum(-1)) for f in (fits, joint))
    return found | {"train_wrong": alone, "joint_train_wrong": int(together)}

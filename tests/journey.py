"""What a user does with multiview, from public names alone: a test runs this program, and a type checker reads it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import multiview as mv

study = mv.replace(
    mv.load_preset("smoke"),
    {
        "seeds": 4, "replicates": 1, "data.num_classes": 4, "data.num_patches": 8, "data.feature_sparsity": 2,
        "data.num_train": 40, "data.num_single_view_train": 8, "data.num_test_multi_view": 200,
        "data.num_test_single_view": 200, "network.neurons_per_class": 4, "network.init_std": 0.02,
        "train.num_steps": 60, "train.num_records": 6,
    },
)  # fmt: skip

# Sample a world.
world = mv.World.of(study)
train, test = world.train(), world.test("single_view", 20)
assert (train.num_samples, test.num_samples) == (40, 20)

# Train a block of networks, and test them and their ensemble on held-out data.
(task,) = world.tasks()
keys = jax.random.split(jax.random.key(0), study.seeds)
trained = mv.train_networks(study, task, keys, num_steps=study.train.num_steps)
assert trained.finite.all()


def answer(chunk: mv.Chunk) -> dict[str, np.ndarray]:
    """Logits of the networks, and of their ensemble, on a chunk of test samples."""
    logits = mv.answer_networks(study, trained.kept, chunk.noise_keys(study.seeds), chunk.task)
    return {"single": logits, "ensemble": logits.mean(0)}


wrong = mv.count_test_errors(world, 0, answer)
assert wrong["single"].shape == (study.seeds, 2)
assert wrong["ensemble"].shape == (2,)


# Record an own measure beside the usual ones.
def record(
    parameters: mv.Parameters, logits: Array, task: mv.Task, features: Array | None, views: int
) -> dict[str, Array]:
    """The usual measures, and the largest weight."""
    usual = mv.record_measures(parameters, logits, task, features, views)
    return usual | {"largest_weight": jnp.abs(parameters.weights).max()}


result = mv.run_study(study, distillation=False, recorder=record)
row = mv.Measure("largest_weight", (), "overlap", "largest weight in size")
mv.write_store("study.zarr", mv.to_datatree(result, measures=[row]))
assert mv.open_results("study.zarr")["single"]["largest_weight"].attrs["unit"] == "overlap"

# Sweep, summarise, and draw.
outcome = mv.run_sweep(study, {"train.learning_rate": [4.0, 8.0]}, "rates.zarr")
assert outcome.done == outcome.total == 2
results = mv.open_results("rates.zarr")
table = mv.summarise(results, ["final_train_error"])
assert [keys for keys, *_ in table.rows] == [(4.0,), (8.0,)]
mv.save_figure(mv.make_figure(results, "sweep"), "rates.pdf")

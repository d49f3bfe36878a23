"""What accelerators run, as far as a machine without one can tell: the same function, in programs that compile fast."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from layouts import NETWORK, make, scaled, start, world

from multiview.network.outputs import logits
from multiview.world.patches import NoiselessRows


def both_passes(parameters, patches):
    """Logits and a gradient of them; a function of its own, so that nothing traced before is used again."""

    def weighted(p):
        outputs = logits(p, patches, NETWORK)
        return (outputs * jnp.cos(jnp.arange(outputs.size, dtype=outputs.dtype)).reshape(outputs.shape)).sum(), outputs

    (_, outputs), gradient = jax.value_and_grad(weighted, has_aux=True)(parameters)
    return outputs, gradient


@pytest.mark.parametrize(
    ("noise", "largest"), [(0.0, 0.3), (0.0, 4.0), (0.7, None)], ids=["below ϱ", "beyond ϱ", "noise"]
)
def test_an_accelerators_program_is_the_same_function(noise, largest, monkeypatch):
    """Its sums are written otherwise; here its branch runs on the CPU."""
    config = world(noise_norm=noise)
    _, patches = make(config)
    parameters = start(patches, config.num_features)
    if isinstance(patches[0], NoiselessRows):
        parameters = scaled(parameters, patches[0], largest)
    expected = jax.jit(lambda p: both_passes(p, patches))(parameters)
    taken = []

    def accelerator(*arguments, cpu, default):
        taken.append(default)
        return default(*arguments)

    monkeypatch.setattr(jax.lax, "platform_dependent", accelerator)
    found = jax.jit(lambda p: both_passes(p, patches))(parameters)
    assert taken
    # Sums of some twenty terms in another order: a few units in the last place of the largest.
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-5 * float(jnp.abs(other).max()))


def program_text(platform, **changes):
    """Both passes as they are handed to the compiler of a platform, which need not be there."""
    config = world(**changes)
    _, patches = make(config)
    parameters = start(patches, config.num_features)
    return jax.jit(both_passes).trace(parameters, patches).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("noise", [0.0, 0.7], ids=["no noise", "noise"])
@pytest.mark.parametrize(("platform", "is_marked"), [("cuda", False), ("cpu", True)])
def test_rows_are_marked_as_sorted_on_the_cpu_alone(platform, is_marked, noise):
    """XLA's code for sorted rows takes minutes to compile on a GPU, at a hundred classes."""
    assert ("indices_are_sorted = true" in program_text(platform, noise_norm=noise)) == is_marked


@pytest.mark.parametrize(("platform", "is_unrolled"), [("cuda", False), ("cpu", True)])
def test_sums_are_unrolled_on_the_cpu_alone(platform, is_unrolled):
    lengths = [len(program_text(platform, background_noise_norm=0.4, num_patches=p).splitlines()) for p in (7, 10)]
    assert (lengths[1] > lengths[0]) == is_unrolled

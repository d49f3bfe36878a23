"""The parameters of the network: its size, its activation, its start."""

from __future__ import annotations

from dataclasses import dataclass

from multiview.parameters import above, at_least, parameter


@dataclass(frozen=True)
class NetworkConfig:
    r"""The two-layer smoothed-ReLU network of section 4 of docs/theory.md.

    The output of class i is $F_i(x) = \sum_{r \le m} \sum_p \mathrm{act}(\langle w_{i,r}, x_p\rangle)$, with
    $w_{i,r} \sim N(0, \sigma_0^2 I)$ at the start; below the threshold ϱ, act is proportional to the power q.

    Example:
        >>> import multiview as mv
        >>> study = mv.Study(network=mv.NetworkConfig(neurons_per_class=8))
        >>> study.network.relu_power
        3.0
    """

    neurons_per_class: int = parameter(16, **at_least(1))
    """Number of neurons m of each class."""
    relu_power: float = parameter(3.0, **at_least(1))
    """Power q of the smoothed ReLU."""
    relu_threshold: float = parameter(1.0, **above(0), traced=True)
    """Threshold ϱ above which the smoothed ReLU is linear."""
    init_std: float = parameter(0.003, **above(0), traced=True)
    """Standard deviation σ₀ of the weights at the start."""

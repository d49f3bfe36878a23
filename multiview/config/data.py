"""The parameters of the data: the distribution of section 3 of docs/theory.md, and the sizes of its samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from multiview.config.values import check_section
from multiview.parameters import BOUNDS, FRACTION, Bounds, ConfigError, at_least, parameter, refusal


@dataclass(frozen=True)
class DataConfig:
    r"""The distribution of multi-view data, and the sizes of the training and test sets.

    A patch of feature v holds $x_p = z_p v + \sum_{v'} \alpha_{p,v'} v' + \xi_p$, with Gaussian noise $\xi_p$ of
    norm ν; the strength of a feature is the sum Σz of its coefficients over its patches.

    Example:
        >>> import multiview as mv
        >>> data = mv.DataConfig(num_classes=4, noise_norm=0.8, patch_dim=64)
        >>> data.num_features, data.noise_std
        (8, 0.1)
    """

    num_classes: int = parameter(10, **at_least(2))
    """Number of classes k."""
    num_views: int = parameter(2, **at_least(1))
    """Number of views (features) L of each class."""
    patch_dim: int = parameter(256, **at_least(1))
    """Dimension d of a patch; used by the dense representation only."""
    num_patches: int = parameter(13, **at_least(1))
    """Number of patches P of a sample."""
    patches_per_feature: int = parameter(1, **at_least(1))
    """Number of patches C_p that carry one feature."""
    patch_split: Literal["equal", "random"] = parameter("equal", traced=True)
    """How a feature's strength is split over its patches."""
    feature_sparsity: float = parameter(3.0, **at_least(0), traced=True)
    """Sparsity s: each foreign feature joins a sample with probability s/k."""
    single_view_fraction: float = parameter(0.05, **FRACTION, traced=True)
    """Fraction μ of single-view samples."""
    label_strength: Bounds = parameter((1.0, 1.5), **BOUNDS, traced=True)
    """Interval of the strength Σz of a view of the label."""
    view_strengths: tuple[float, ...] = parameter(
        (), check=lambda v: all(x > 0 for x in v), allowed="empty or one number > 0 for each view", traced=True
    )
    """A factor on label_strength for each view; empty means that all are 1."""
    foreign_strength: Bounds = parameter((0.3, 0.4), **BOUNDS, traced=True)
    """Interval of the strength Σz of a foreign feature in a multi-view sample."""
    weak_view_strength: float = parameter(0.1, **at_least(0), traced=True)
    """Factor ρ: the missing views of a single-view sample have strength ρ · label_strength."""
    single_view_foreign_strength: float = parameter(0.3, **at_least(0), traced=True)
    """Largest strength Γ of a foreign feature in a single-view sample."""
    single_view_foreign_ratio: Bounds = parameter((0.5, 1.0), **BOUNDS, traced=True)
    """Interval of foreign strengths in single-view samples, in units of Γ."""
    feature_noise: float = parameter(0.0, **at_least(0), traced=True)
    """Feature noise γ: every patch also holds α v' for every feature v', with α uniform in [0, γ]."""
    noise_norm: float = parameter(0.6, **at_least(0), traced=True)
    """Norm ν = σ_p √d of the Gaussian noise of a patch with a feature."""
    background_noise_norm: float = parameter(0.0, **at_least(0), traced=True)
    """Norm of the Gaussian noise of a patch without a feature (in the paper: γ k)."""
    num_train: int = parameter(400, **at_least(1))
    """Number of training samples N, the single-view samples N_s below included."""
    num_single_view_train: int = parameter(40, **at_least(0))
    """Exact number N_s of single-view training samples, of total weight μ; used by limit_single_view_noise only."""
    representation: Literal["dense", "limit", "limit_single_view_noise"] = parameter("limit")
    """Patches as dense vectors, as the exact limit of large d, or as that limit with noise on single-view samples."""
    num_test_multi_view: int = parameter(4000, **at_least(1))
    """Number of fresh multi-view test samples."""
    num_test_single_view: int = parameter(4000, **at_least(1))
    """Number of fresh single-view test samples."""

    @property
    def num_features(self) -> int:
        """All features k · L."""
        return self.num_classes * self.num_views

    @property
    def noise_std(self) -> float:
        """σ_p = ν / √d, the standard deviation of one coordinate of a feature patch's noise."""
        return self.noise_norm / math.sqrt(self.patch_dim)

    @property
    def overflow_probability(self) -> float:
        """Probability P(Binomial(L(k-1), s/k) > P/C_p − L) that a sample has more features than fit."""
        room = self.num_patches // self.patches_per_feature - self.num_views
        rate = min(1.0, self.feature_sparsity / self.num_classes)
        most = self.num_views * (self.num_classes - 1)
        if room < 0 or (room < most and rate == 1):
            return 1.0
        if rate == 0:
            return 0.0

        middle, spread = most * rate, math.sqrt(most * rate * (1 - rate))
        if spread > 1000:  # a sum of so many terms takes long, and is normal
            return math.erfc((room + 0.5 - middle) / (spread * math.sqrt(2))) / 2

        def chance(count: int) -> float:
            ways = math.lgamma(most + 1) - math.lgamma(count + 1) - math.lgamma(most - count + 1)
            return math.exp(ways + count * math.log(rate) + (most - count) * math.log1p(-rate))

        first, last = max(room + 1, int(middle - 40 * spread - 40)), min(most, int(middle + 40 * spread + 40))
        return math.fsum(map(chance, range(first, last + 1)))  # what lies beyond is below 10⁻³⁰


def check_data(data: DataConfig, prefix: str = "data.") -> DataConfig:
    """Check a distribution: every parameter, and the conditions that join several.

    Args:
        data: the distribution, as built in Python; NumPy numbers are allowed.
        prefix: what stands before the names in messages.

    Returns:
        The distribution with plain Python values.

    Raises:
        ConfigError: one line that names the first bad parameter, its value and what is allowed.
    """
    data = check_section(data, prefix)

    def refuse(name: str, allowed: str) -> ConfigError:
        return refusal(prefix + name, getattr(data, name), allowed)

    if data.feature_sparsity > data.num_classes:
        raise refuse("feature_sparsity", f"at most num_classes = {data.num_classes}")
    if data.view_strengths and len(data.view_strengths) != data.num_views:
        raise refuse("view_strengths", f"empty or {data.num_views} numbers, one for each view")
    if data.num_patches < data.num_views * data.patches_per_feature:
        raise refuse("num_patches", f"≥ num_views · patches_per_feature = {data.num_views * data.patches_per_feature}")
    if data.overflow_probability > 0.05:
        raise ConfigError(
            f"{prefix}num_patches = {data.num_patches!r} is not allowed: {data.overflow_probability:.1%} of samples "
            "would hold more features than patches, at most 5 % may"
        )
    if data.representation == "dense" and data.patch_dim < data.num_features:
        raise refuse("patch_dim", f"≥ num_classes · num_views = {data.num_features} in dense")
    if data.representation == "limit_single_view_noise" and data.num_single_view_train >= data.num_train:
        raise refuse("num_single_view_train", f"< num_train = {data.num_train}")
    return data

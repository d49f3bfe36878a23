"""Multi-view data as NumPy arrays, by scikit-learn's conventions."""

from __future__ import annotations

import numpy as np

from multiview import streams
from multiview.config import DataConfig
from multiview.parameters import ConfigError
from multiview.world.samples import Kind, orthonormal_features, sample_dataset


def make_multiview(
    n_samples: int = 100,
    *,
    config: DataConfig | None = None,
    kind: Kind = "mixture",
    flatten: bool = True,
    random_state: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Multi-view data as NumPy arrays, by the conventions of scikit-learn's `make_*` functions.

    Args:
        n_samples: number of samples.
        config: the distribution; default `DataConfig()`.
        kind: "mixture", "multi_view" or "single_view".
        flatten: X of shape (n_samples, P·d) if true, (n_samples, P, d) otherwise.
        random_state: seed; None draws one from the operating system.

    Returns:
        X (float32) and y (int64).

    Raises:
        ConfigError: n_samples is no whole number ≥ 1, or d is smaller than the number of features.

    Example:
        >>> import multiview as mv
        >>> X, y = mv.make_multiview(50, config=mv.DataConfig(num_classes=4, patch_dim=32), random_state=0)
        >>> X.shape, y.shape
        ((50, 416), (50,))
    """
    config = config or DataConfig()
    if isinstance(n_samples, bool) or not isinstance(n_samples, int | np.integer) or n_samples < 1:
        raise ConfigError(f"n_samples = {n_samples!r} is not allowed: it must be a whole number ≥ 1")
    if config.patch_dim < config.num_features:
        raise ConfigError(f"patch_dim = {config.patch_dim} is not allowed: it must be ≥ {config.num_features} features")
    seed = int(np.random.SeedSequence().entropy % 2**31) if random_state is None else random_state  # type: ignore[operator]
    features = orthonormal_features(streams.stream(seed, streams.FEATURES), config)
    data = sample_dataset(streams.stream(seed, streams.TRAINING_DATA), config, int(n_samples), kind, features)
    patches = np.asarray(data.patches)
    return patches.reshape(len(patches), -1) if flatten else patches, np.asarray(data.labels, np.int64)

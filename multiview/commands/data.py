"""The command that writes a dataset."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from multiview import __version__
from multiview.commands.common import study_from_flags, whole_number
from multiview.parameters import ConfigError

if TYPE_CHECKING:
    pass


def _generate(arguments: argparse.Namespace) -> int:
    study = study_from_flags(arguments)
    count = study.data.num_train if arguments.samples is None else whole_number("--samples", arguments.samples, 1)
    if study.data.patch_dim < study.data.num_features and not arguments.no_vectors:
        raise ConfigError(
            f"data.patch_dim = {study.data.patch_dim} is not allowed: it must be ≥ {study.data.num_features} "
            "to hold the features as orthonormal vectors (or give --no-vectors)"
        )
    from multiview.files import new_path

    path = new_path(arguments.out)
    from multiview import streams
    from multiview.config import to_mapping
    from multiview.world.files import save_dataset
    from multiview.world.samples import orthonormal_features, sample_dataset

    features = None
    if not arguments.no_vectors:
        features = orthonormal_features(streams.stream(study.seed, streams.FEATURES), study.data)
    key = streams.stream(study.seed, streams.TRAINING_DATA, 0)
    data = sample_dataset(key, study.data, count, arguments.kind, features)
    description = json.dumps({"program": f"multiview {__version__}", "kind": arguments.kind, "seed": study.seed,
                              "data": to_mapping(study)["data"], "arrays": _ARRAYS})  # fmt: skip
    save_dataset(path, data, features, description)
    dropped = int(data.dropped_features.sum())
    print(f"{count} samples, {int(data.is_single_view.sum())} single-view, {dropped} foreign features dropped: {path}")
    return 0


_ARRAYS = {
    "patches": "[N, P, d] dense patches x_p",
    "labels": "[N] class y",
    "features": "[kL, d] orthonormal feature vectors; row j*L + l is v_{j,l}",
    "patch_feature": "[N, P] row of the feature in each patch, -1 for background",
    "coefficients": "[N, P] z_p",
    "is_single_view": "[N]",
    "chosen_view": "[N] strong view of single-view samples, -1 in others",
    "noise_norms": "[N, P] norm of each patch's Gaussian noise",
    "weights": "[N] sample weights",
    "dropped_features": "[N] foreign features that found no patch",
    "feature_noise": "[N, P, kL] feature noise, where there is any",
}


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Declare the command."""
    generate = command("generate", _generate, "write a dataset with its ground truth to .npz", "reference")
    generate.add_argument("--out", required=True, metavar="FILE")
    generate.add_argument("--samples", metavar="N", help="number of samples (default: data.num_train)")
    generate.add_argument("--kind", choices=("mixture", "multi_view", "single_view"), default="mixture")
    generate.add_argument("--no-vectors", action="store_true", help="ground truth only, no dense patches")

"""The command that writes a dataset."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

from multiview import __version__
from multiview.commands.common import study_from_flags, whole_number
from multiview.config import replace, to_mapping


def _generate(arguments: argparse.Namespace) -> int:
    study = study_from_flags(arguments)
    count = study.data.num_train if arguments.samples is None else whole_number("--samples", arguments.samples, 1)
    # Vectors of patches and features make it dense; the truth alone does not depend on d.
    study = replace(study, {"data.representation": "limit" if arguments.no_vectors else "dense"})
    from multiview.files import new_path
    from multiview.stores.lock import reserved
    from multiview.world.values import check_kind, check_split

    path = new_path(arguments.out)
    check_kind(arguments.kind)
    check_split(arguments.split)
    from multiview.world.arrays import RULES
    from multiview.world.files import save_dataset
    from multiview.world.world import World

    world = World.of(study)
    names = {name: f"[{', '.join(rule.dims.split())}] {rule.meaning}" for name, rule in RULES.items()}
    description = {"program": f"multiview {__version__}", "kind": arguments.kind, "split": arguments.split,
                   "seed": study.seed, "data": to_mapping(study)["data"], "arrays": names}  # fmt: skip
    with reserved(path):
        data = world.sample(count, arguments.kind, arguments.split)
        save_dataset(path, data, world.features, json.dumps(description))
    dropped = int(data.dropped_features.sum())
    print(f"{count} samples, {int(data.is_single_view.sum())} single-view, {dropped} foreign features dropped: {path}")
    return 0


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Declare the command."""
    generate = command("generate", _generate, "write a dataset with its ground truth to .npz", "reference")
    generate.add_argument("--out", required=True, metavar="FILE")
    generate.add_argument("--samples", metavar="N", help="number of samples (default: data.num_train)")
    kinds, splits = "mixture, multi_view or single_view", "train, or test for fresh samples of the same world"
    generate.add_argument("--kind", metavar="KIND", default="mixture", help=f"{kinds} (%(default)s)")
    generate.add_argument("--split", metavar="SPLIT", default="train", help=f"{splits} (%(default)s)")
    generate.add_argument("--no-vectors", action="store_true", help="ground truth only, no dense patches")

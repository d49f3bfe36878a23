"""Commands that train and judge: verify, train, regime."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multiview import __version__
from multiview.commands.common import (
    add_resource_flags,
    draw_beside,
    make_console,
    resources,
    study_from_flags,
    use_compilation_cache,
)
from multiview.config import Study
from multiview.systems.table import SYSTEMS
from multiview.words import significant

if TYPE_CHECKING:
    from rich.console import Console

from multiview.commands.display import ProgressDisplay, print_claims, print_predictions, print_regime


def _own_inputs(arguments: argparse.Namespace, study: Study) -> dict[str, Any]:
    """The world and the teacher of a user's own files, as `run_study` takes them; empty without such files."""
    inputs: dict[str, Any] = {}
    count = study.data.num_train
    if arguments.data:
        from multiview.world.files import load_dataset
        from multiview.world.own import OwnWorld

        samples, features = load_dataset(arguments.data, study.data)
        inputs["world"] = OwnWorld.of(study, samples=samples, own_features=features)
        count = samples.num_samples
    if arguments.teacher:
        from multiview.studies.students import load_teacher

        inputs["teacher_logits"] = load_teacher(arguments.teacher, count, study.data.num_classes)
    return inputs


def _verify(arguments: argparse.Namespace) -> int:
    study = study_from_flags(arguments)
    from multiview.files import output_file, writable_folder

    arguments.out = writable_folder(arguments.out)
    read = (arguments.config, arguments.data, arguments.teacher)
    picture = output_file(arguments.out / _picture(study), others=read)
    if arguments.json:
        arguments.json = output_file(arguments.json, "--json", others=(*read, picture))
    from multiview.verdicts.claims import check_verifiable

    check_verifiable(study)
    use_compilation_cache()
    inputs = _own_inputs(arguments, study)
    with resources(arguments, study) as first:
        return _run_verify(arguments, study, inputs, make_console(quiet=not first), first)


def _run_verify(
    arguments: argparse.Namespace, study: Study, inputs: dict[str, Any], console: Console, first: bool
) -> int:
    from multiview.files import write_json
    from multiview.stores.labelled import to_datatree
    from multiview.sweeps.cost import expected_seconds
    from multiview.theory import check_regime
    from multiview.verdicts.verification import predict_first, verify

    console.print(f"multiview {__version__}: preset {study.preset}, run {study.run_id}")
    if not SYSTEMS[study.system].predicted:
        console.print(f"What is trained is system = {study.system}; conditions and predictions are the network's.")
    conditions = check_regime(study)
    if all(c.holds for c in conditions):
        console.print(f"All {len(conditions)} conditions of the theory hold here (multiview regime lists them).")
    else:
        console.print("Outside the theory's regime; these conditions fail:")
        print_regime(console, conditions, only_failing=True)
    with ProgressDisplay(console, expected_seconds(study, students=True)) as progress:
        predictions = predict_first(study, progress)
        print_predictions(console, predictions, time.perf_counter() - progress.begin)
        verification = verify(study, progress, predictions, **inputs)
    claims, result = verification.claims, verification.result
    console.print(f"Trained and tested in {result.seconds:.0f} s; stopping rule: {_stopping_rule(study)}. "
                  f"Unit μ = {study.data.single_view_fraction:g}.")  # fmt: skip
    if result.dropped_features:
        console.print(
            f"{result.dropped_features} foreign features found no free patch in the training sets and were dropped."
        )
    print_claims(console, claims)
    status = int(any(c.verdict == "fails" for c in claims))
    if not first:
        return status
    if arguments.json:
        write_json(arguments.json, verification.to_mapping())
        console.print(f"JSON: {arguments.json}")
    if "largest_overlap" in result.groups["single"].records:
        picture = arguments.out / _picture(study)

        def draw(path: Path) -> None:
            from multiview.figures.verify import verify_figure

            verify_figure(to_datatree(result, claims), path)

        draw_beside(console, picture, draw)
    return status


def _picture(study: Study) -> str:
    """Name the picture of a verification."""
    return f"verify-{study.preset}.png"


def _stopping_rule(study: Study) -> str:
    """How long networks, or what takes their place, were trained."""
    from multiview.systems.table import load

    train, patience = study.train, load(study.system).patience
    if patience == 1:
        return f"{train.num_steps} steps, learning rate {train.learning_rate:g}"
    return f"{train.num_steps} steps, up to {patience} times as many while a training sample is wrong"


def _train(arguments: argparse.Namespace) -> int:
    study = study_from_flags(arguments)
    from multiview.files import new_path
    from multiview.stores.lock import reserved
    from multiview.stores.store import keep_store

    out = new_path(arguments.out)
    use_compilation_cache()
    from multiview.stores.labelled import to_datatree
    from multiview.studies.study import run_study
    from multiview.sweeps.cost import expected_seconds

    inputs = _own_inputs(arguments, study)
    with resources(arguments, study) as first, reserved(out) if first else nullcontext():
        console = make_console(quiet=not first)
        with ProgressDisplay(console, expected_seconds(study, students=not arguments.no_distillation)) as progress:
            result = run_study(study, progress, distillation=not arguments.no_distillation, **inputs)
        if not first:
            return 0
        keep_store(out, to_datatree(result, networks=True))
    for name, group in result.groups.items():
        errors = group.errors
        console.print(
            f"{name}: {group.finite.size} networks, training error 0 in {int((group.train_wrong == 0).sum())}, "
            f"non-finite {int((~group.finite).sum())}, mean test error on multi-view data "
            f"{errors.multi_view.mean() / errors.num_multi_view:.4f}, "
            f"on single-view data {errors.single_view.mean() / errors.num_single_view:.4f}"
        )
    console.print(f"Store: {out} ({result.seconds:.0f} s)")
    return 0


def _regime(arguments: argparse.Namespace) -> int:
    study = study_from_flags(arguments)
    from multiview.theory import check_regime, time_scales

    console = make_console()
    conditions = check_regime(study)
    print_regime(console, conditions)
    console.print("Clocks, in steps:")
    for name, value in time_scales(study)._asdict().items():
        console.print(f"  {name:15s} {significant(value / study.train.learning_rate)}")
    failing = sum(not c.holds for c in conditions)
    console.print("All conditions hold." if not failing else f"{failing} of {len(conditions)} conditions fail.")
    return 0


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Declare the commands of this family."""
    verify = command("verify", _verify, "check the claims of the theory: table, picture, JSON", "reference")
    verify.add_argument(
        "--out", default="multiview-results", metavar="DIR", help="folder for the picture (%(default)s)"
    )
    verify.add_argument("--json", metavar="FILE", help="write configuration and claims as JSON")
    train = command("train", _train, "train one study and store it with its networks", "reference")
    train.add_argument("--out", required=True, metavar="STORE", help="new zarr store")
    train.add_argument("--no-distillation", action="store_true", help="single networks only")
    for sub in (verify, train):
        add_resource_flags(sub)
        sub.add_argument("--data", metavar="FILE", help="train on your own dataset (.npz)")
        sub.add_argument("--teacher", metavar="FILE", help="your own teacher logits on the training samples (.npz)")
    command("regime", _regime, "print each condition of the theory, its numbers and whether it holds", "reference")

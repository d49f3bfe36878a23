"""The command line: one thin function a command; heavy imports inside, so that --help is instant.

Every parameter is a flag, `--section.field-name`, made from the dataclasses of `config`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from multiview import __version__
from multiview.commands import experiments, figures, lab, stores, sweeps
from multiview.commands.common import add_resource_flags, resources
from multiview.commands.common import add_study_flags as _add_study_flags
from multiview.commands.common import make_console as _console
from multiview.commands.common import study_of as _study
from multiview.commands.common import use_compilation_cache as _use_compilation_cache
from multiview.commands.common import whole as _whole
from multiview.config import (
    ConfigError,
    Study,
    convert,
    preset_names,
    preset_text,
)

if TYPE_CHECKING:
    from rich.console import Console

    from multiview.claims import Claim
    from multiview.prediction import Prediction
    from multiview.theory import Condition


class _Parser(argparse.ArgumentParser):
    """argparse whose complaints are one line and exit status 2."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


class _Progress:
    """A progress bar on a terminal, a line for each new piece of work elsewhere; both say what is left from the start.

    Args:
        console: where to.
        expected: seconds that all of it takes by a guess made before, which counts less the more is done.
    """

    def __init__(self, console: Console, expected: float) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self.console, self.expected = console, expected
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"), console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        self.task = self.bar.add_task("starting", total=None, left="")
        self.begin = time.perf_counter()
        self.last = ""

    def __enter__(self) -> _Progress:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        seconds, share = time.perf_counter() - self.begin, done / total
        left = f"about {seconds_left(seconds, share, self.expected):.0f} s left"
        if what.startswith("memory:"):
            self.console.print(f"{what[0].upper()}{what[1:]}")
            return
        self.bar.update(self.task, description=what, completed=done, total=total, left=left)
        if not self.console.is_terminal and what != self.last:
            self.console.print(f"{seconds:6.1f} s  {share:4.0%}  {what}, {left}")
        self.last = what


def seconds_left(elapsed: float, share: float, expected: float) -> float:
    """What is left when a share is done: the whole is what has passed, and the rest at the speed that was expected.

    At first this is the guess, in the end the measured speed; compiling, which comes first and once, never counts for
    the rest.
    """
    return (1 - share) * (elapsed + (1 - share) * expected)


def _number(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".") if abs(value) < 10 else f"{value:.0f}"


def _interval(interval: tuple[float, float]) -> str:
    low, high = interval
    return _number(low) if low == high else f"{_number(low)} … {_number(high)}"


_COLOR = {"holds": "green", "fails": "bold red", "undecided": "yellow"}


def _print_claims(console: Console, claims: Sequence[Claim]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in ("claim", "predicted", "paper", "measured", "95 % interval", "verdict"):
        table.add_column(header, no_wrap=True)
    for c in claims:
        verdict = f"[{_COLOR[c.verdict]}]{c.verdict}[/]"
        table.add_row(
            c.id, _interval(c.predicted), _interval(c.paper), _number(c.measured), _interval(c.interval), verdict
        )
    console.print(table)
    for c in claims:
        if c.note:
            console.print(f"  {c.id}: {c.note}")


def _print_regime(console: Console, conditions: Sequence[Condition], only_failing: bool = False) -> None:
    for c in conditions:
        if only_failing and c.holds:
            continue
        word = "holds" if c.holds else "FAILS"
        console.print(f"  {word}  {c.name}: {c.statement}   [{c.left:.4g} < {c.right:.4g}]", markup=False)


def _print_predictions(console: Console, predictions: dict[str, Prediction], seconds: float) -> None:
    console.print(f"Predicted for this size, before training ({seconds:.0f} s), errors in units of μ:")
    for name, p in predictions.items():
        console.print(f"  {name:24s} {_interval((p.low, p.high)):22s} width {_number(p.high - p.low)}", markup=False)


def _own_inputs(arguments: argparse.Namespace, study: Study) -> dict[str, Any]:
    inputs: dict[str, Any] = {}
    if arguments.data:
        from multiview.data import load_dataset

        inputs["own_data"], inputs["own_features"] = load_dataset(arguments.data, study.data)
    if arguments.teacher:
        from multiview.distillation import load_teacher

        count = inputs["own_data"].num_samples if "own_data" in inputs else study.data.num_train
        inputs["own_teacher"] = load_teacher(arguments.teacher, count, study.data.num_classes)
    return inputs


def _verify(arguments: argparse.Namespace) -> int:
    study = _study(arguments)
    from multiview.store import writable_folder

    writable_folder(arguments.out)
    if arguments.json:
        writable_folder(Path(arguments.json).parent, "--json")
    from multiview.claims import check_verifiable
    from multiview.verification import enable_precision

    check_verifiable(study)
    enable_precision(study)
    _use_compilation_cache()
    inputs = _own_inputs(arguments, study)
    with resources(arguments, study) as first:
        return _run_verify(arguments, study, inputs, _console(quiet=not first), first)


def _run_verify(
    arguments: argparse.Namespace, study: Study, inputs: dict[str, Any], console: Console, first: bool
) -> int:
    from multiview.results import to_datatree
    from multiview.store import write_file
    from multiview.sweep.plan import expected_seconds
    from multiview.theory import regime
    from multiview.verification import predict_first, verify

    console.print(f"multiview {__version__}: preset {study.preset}, run {study.run_id}")
    if study.system != "network":
        console.print(f"What is trained is system = {study.system}; conditions and predictions are the network's.")
    conditions = regime(study)
    if all(c.holds for c in conditions):
        console.print(f"All {len(conditions)} conditions of the theory hold here (multiview regime lists them).")
    else:
        console.print("The theory does not speak here; these conditions fail:")
        _print_regime(console, conditions, only_failing=True)
    with _Progress(console, expected_seconds(study, students=True)) as progress:
        predictions = predict_first(study, progress)
        _print_predictions(console, predictions, time.perf_counter() - progress.begin)
        verification = verify(study, progress, predictions, **inputs)
    claims, result = verification.claims, verification.result
    console.print(f"Trained and tested in {result.seconds:.0f} s; stopping rule: {_stopping_rule(study)}. "
                  f"Unit μ = {study.data.single_view_fraction:g}.")  # fmt: skip
    if result.dropped_features:
        console.print(
            f"{result.dropped_features} foreign features found no free patch in the training sets and were dropped."
        )
    _print_claims(console, claims)
    if not first:
        return int(any(c.verdict == "fails" for c in claims))
    picture = Path(arguments.out) / f"verify-{study.preset}.png"
    if "largest_overlap" in result.groups["single"].records:
        from multiview.plotting.verify import verify_figure

        write_file(picture, lambda path: verify_figure(to_datatree(result, claims), path))
        console.print(f"Picture: {picture}")
    if arguments.json:
        text = json.dumps(verification.to_mapping(), indent=1, ensure_ascii=False)
        write_file(arguments.json, lambda path: path.write_text(text + "\n", encoding="utf-8"))
        console.print(f"JSON: {arguments.json}")
    return int(any(c.verdict == "fails" for c in claims))


def _stopping_rule(study: Study) -> str:
    """How long networks, or what takes their place, were trained."""
    train = study.train
    if study.system == "network":
        return f"{train.num_steps} steps of {train.learning_rate:g}"
    from multiview.contrasts.systems import LONGER

    return f"{train.num_steps} steps, up to {LONGER} times as many while a training sample is wrong"


def _train(arguments: argparse.Namespace) -> int:
    study = _study(arguments)
    from multiview.store import new_path, write_store

    new_path(arguments.out)
    _use_compilation_cache()
    from multiview.results import to_datatree
    from multiview.study import run_study
    from multiview.sweep.plan import expected_seconds
    from multiview.verification import enable_precision

    enable_precision(study)
    inputs = _own_inputs(arguments, study)
    with resources(arguments, study) as first:
        console = _console(quiet=not first)
        with _Progress(console, expected_seconds(study, students=not arguments.no_distillation)) as progress:
            result = run_study(study, progress, distillation=not arguments.no_distillation, **inputs)
    if not first:
        return 0
    write_store(arguments.out, to_datatree(result, networks=True))
    for name, group in result.groups.items():
        errors = group.errors
        console.print(
            f"{name}: {group.finite.size} networks, training error 0 in {int((group.train_wrong == 0).sum())}, "
            f"non-finite {int((~group.finite).sum())}, mean test error on multi-view data "
            f"{errors.multi_view.mean() / errors.num_multi_view:.4f}, "
            f"on single-view data {errors.single_view.mean() / errors.num_single_view:.4f}"
        )
    console.print(f"Store: {arguments.out} ({result.seconds:.0f} s)")
    return 0


def _generate(arguments: argparse.Namespace) -> int:
    study = _study(arguments)
    count = study.data.num_train if arguments.samples is None else _whole("--samples", arguments.samples, 1)
    if study.data.patch_dim < study.data.num_features and not arguments.no_vectors:
        raise ConfigError(
            f"data.patch_dim = {study.data.patch_dim} is not allowed: it must be ≥ {study.data.num_features} "
            "to hold the features as orthonormal vectors (or give --no-vectors)"
        )
    from multiview.store import new_path

    path = new_path(arguments.out)
    from multiview import streams
    from multiview.config import to_mapping
    from multiview.data import orthonormal_features, sample_dataset, save_dataset

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


def _regime(arguments: argparse.Namespace) -> int:
    study = _study(arguments)
    from multiview.theory import regime, time_scales

    console = _console()
    conditions = regime(study)
    _print_regime(console, conditions)
    console.print("Clocks, in steps:")
    for name, value in time_scales(study)._asdict().items():
        console.print(f"  {name:15s} {value / study.train.learning_rate:.4g}")
    failing = sum(not c.holds for c in conditions)
    console.print("All conditions hold." if not failing else f"{failing} of {len(conditions)} conditions fail.")
    return 0


def _explore(arguments: argparse.Namespace) -> int:
    import webbrowser

    from multiview.web.page import PAGE

    if not PAGE.is_file():
        raise ConfigError(f"{PAGE} is missing; reinstall the package, or in a checkout run python -m multiview.web")
    opened = False
    if not arguments.print_path:
        # A launcher that fails differs by system; the path is of use after every such failure.
        with contextlib.suppress(Exception):
            opened = webbrowser.open(PAGE.as_uri())
    print(PAGE if arguments.print_path else f"Explorer: {PAGE}" if opened else f"No browser opened; open {PAGE}")
    return 0


def _presets(arguments: argparse.Namespace) -> int:
    if arguments.name:
        print(preset_text(arguments.name), end="")
        return 0
    for name in preset_names():
        print(f"{name:12s} {preset_text(name).splitlines()[0].lstrip('# ')}")
    return 0


def _parser() -> _Parser:
    parser = _Parser(prog="multiview", description="Simulate the multi-view theory of ensembles and distillation.",
                     allow_abbrev=False)  # fmt: skip
    parser.add_argument("--version", action="version", version=f"multiview {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)

    def command(name: str, run: Callable[[argparse.Namespace], int], help: str, preset: str | None = None) -> _Parser:
        sub: _Parser = commands.add_parser(name, help=help, description=help, allow_abbrev=False)
        sub.set_defaults(run=run)
        if preset:
            _add_study_flags(sub, preset)
        return sub

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
    generate = command("generate", _generate, "write a dataset with its ground truth to .npz", "reference")
    generate.add_argument("--out", required=True, metavar="FILE")
    generate.add_argument("--samples", metavar="N", help="number of samples (default: data.num_train)")
    generate.add_argument("--kind", choices=("mixture", "multi_view", "single_view"), default="mixture")
    generate.add_argument("--no-vectors", action="store_true", help="ground truth only, no dense patches")
    command("regime", _regime, "print each condition of the theory, its numbers and whether it holds", "reference")
    explore = command("explore", _explore, "open the explorer, a simulation in the browser")
    explore.add_argument("--print-path", action="store_true", help="print where the page is, and open nothing")
    presets = command("presets", _presets, "list the presets, or print one as TOML")
    presets.add_argument("name", nargs="?")
    lab.add_command(command)
    sweeps.add_commands(command)
    figures.add_commands(command)
    experiments.add_commands(command)
    stores.add_commands(command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (0 fine, 1 a claim fails, 2 bad input)."""
    parser = _parser()
    try:
        arguments, unknown = parser.parse_known_args(argv)
        for word, following in zip(unknown, [*unknown, ""][1:], strict=True):
            if word.startswith("--"):
                name, _, value = word[2:].partition("=")
                convert(name.replace("-", "_"), value or following)
            raise ConfigError(f"{word!r} is not understood; see multiview --help")
        if not arguments.command:
            parser.print_help()
            return 0
        run: Callable[[argparse.Namespace], int] = arguments.run
        return run(arguments)
    except ConfigError as error:
        print(f"multiview: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("multiview: interrupted; nothing was written", file=sys.stderr)
        return 130

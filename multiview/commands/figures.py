"""Commands that show a store: plot, animate, report."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multiview.commands.common import refuse_lost_numbers, whole_number
from multiview.figures.kinds import KINDS, figure_kind, file_name, make_figure
from multiview.parameters import ConfigError

if TYPE_CHECKING:
    from multiview.figures.stored import Results


def _open(arguments: argparse.Namespace) -> Results:
    """Open a store; a damaged one is refused, and an unfinished sweep without --partial."""
    import numpy as np
    import xarray as xr

    from multiview.stores.store import load, open_results

    results = open_results(arguments.store)
    refuse_lost_numbers(arguments.store)
    if isinstance(results, xr.Dataset) and not arguments.partial:
        load(results, ["done"])
        state = results["done"].values
        missing, blocks = int((state == 0).sum()), int((state >= 0).sum())
        if missing:
            raise ConfigError(
                f"store = {arguments.store!r} is unfinished: {missing} of {blocks} blocks are not computed; "
                "run its command again to continue, or add --partial to show what there is"
            )
    if isinstance(results, xr.DataTree) and not np.size(list(results.children)):
        raise ConfigError(f"store = {arguments.store!r} is empty: it holds no networks; run multiview train again")
    return results


def _words(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(word for word in text.split(",") if word)


def _plot(arguments: argparse.Namespace) -> int:
    figure_kind(arguments.kind)
    from multiview.figures.style import check_ending, save_figure
    from multiview.files import output_file, write_file

    path = check_ending(arguments.out or file_name(arguments.store, arguments.kind, ".png"))
    out = output_file(path, others=(arguments.store,))
    results = _open(arguments)
    replicate = None if arguments.replicate is None else whole_number("--replicate", arguments.replicate, 0)
    figure = make_figure(
        results, arguments.kind, arguments.width,
        measures=_words(arguments.measure), by=_words(arguments.by), replicate=replicate,
    )  # fmt: skip
    write_file(out, lambda path: save_figure(figure, path, out.suffix.lower()))
    print(f"Figure: {out}")
    return 0


def _animate(arguments: argparse.Namespace) -> int:
    from multiview.figures.animation import animate, check_film
    from multiview.files import output_file, write_file

    path = check_film(arguments.out or file_name(arguments.store, "views", ".gif"))
    out = output_file(path, others=(arguments.store,))
    results = _open(arguments)
    replicate = whole_number("--replicate", arguments.replicate, 0)
    ending = out.suffix.lower()
    write_file(out, lambda path: animate(results, path, ending, replicate))
    print(f"Film: {out}")
    return 0


def _judged(results: Results) -> tuple[list[dict[str, Any]], str]:
    """The claims of a stored study against the prediction for its configuration, or why there are none."""
    import xarray as xr

    if not isinstance(results, xr.DataTree):
        return [], "claims are about single studies, this is a sweep"
    from multiview.figures.stored import study_of
    from multiview.stores.labelled import from_datatree
    from multiview.verdicts.claims import check_claims, check_verifiable
    from multiview.verdicts.prediction import predict_study

    try:
        study = study_of(results)
        check_verifiable(study)
        claims = check_claims(from_datatree(results), predict_study(study))
    except (ConfigError, LookupError, ValueError) as error:
        return [], f"this store does not hold all that the claims are about ({error})"
    return [claim.to_mapping() for claim in claims], ""


def _report(arguments: argparse.Namespace) -> int:
    from multiview.figures.style import check_ending
    from multiview.files import output_file, write_text

    path = check_ending(arguments.out or file_name(arguments.store, "report", ".html"), (".html",))
    out = output_file(path, others=(arguments.store,))
    results = _open(arguments)
    from multiview.figures.report import page

    text = page(results, Path(arguments.store).resolve().name, *_judged(results))
    write_text(out, text)
    print(f"Report: {out}")
    return 0


def add_commands(command: Callable[..., Any]) -> None:
    """Register the commands; `command` makes a subparser."""
    plot = command("plot", _plot, "draw one figure of a store: PDF, PNG or SVG")
    kinds = "; ".join(f"{name}: {kind.text}" for name, kind in KINDS.items())
    plot.add_argument("store")
    plot.add_argument("--kind", required=True, help=kinds)
    plot.add_argument("--out", metavar="FILE", help="ending in .pdf, .png or .svg (default: STORE-KIND.png here)")
    plot.add_argument("--width", choices=("column", "slide"), default="column", help="(%(default)s)")
    plot.add_argument("--measure", metavar="NAMES", help="of a sweep, with commas between them (default: test errors)")
    plot.add_argument("--by", metavar="AXES", help="of a sweep: across, and for a second axis (default: the longest)")
    plot.add_argument("--replicate", metavar="N", help="training set of mosaic and dark-knowledge (default: 0)")
    plot.add_argument("--partial", action="store_true", help="show an unfinished sweep as far as it is")
    animate = command("animate", _animate, "make a film of the views being learned: GIF, or MP4 where ffmpeg is")
    animate.add_argument("store")
    animate.add_argument("--out", metavar="FILE", help="ending in .gif or .mp4 (default: STORE-views.gif here)")
    animate.add_argument("--replicate", metavar="N", default="0", help="training set (%(default)s)")
    animate.set_defaults(partial=False)
    report = command("report", _report, "write one self-contained page: claims, figures, regime, how to reproduce")
    report.add_argument("store")
    report.add_argument("--out", metavar="FILE", help="ending in .html (default: STORE-report.html here)")
    report.add_argument("--partial", action="store_true", help="show an unfinished sweep as far as it is")

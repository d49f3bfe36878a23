"""What commands print: progress, claims, conditions, predictions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from multiview.words import decimal, interval, significant

if TYPE_CHECKING:
    from rich.console import Console

    from multiview.theory import Condition
    from multiview.verdicts.claims import Claim
    from multiview.verdicts.prediction import Prediction


class ProgressDisplay:
    """A progress bar on a terminal, a line for each new piece of work elsewhere; both say what is left from the start.

    Args:
        console: where to.
        expected: seconds by a forecast made before, which counts less the more is done.
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

    def __enter__(self) -> ProgressDisplay:
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
    """Predict the seconds left: the total is what has passed, and the rest at the speed that was expected.

    At first this is the guess, in the end the measured speed; compiling, which comes first and once, never counts for
    the rest.
    """
    return (1 - share) * (elapsed + (1 - share) * expected)


DIGITS = 4  # decimals of errors on the terminal


_COLOR = {"holds": "green", "fails": "bold red", "undecided": "yellow"}


def print_claims(console: Console, claims: Sequence[Claim]) -> None:
    """Print the claims with their predictions and verdicts as a table, then their notes."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in ("claim", "predicted", "paper", "measured", "95 % interval", "verdict"):
        table.add_column(header, no_wrap=True)
    for c in claims:
        verdict = f"[{_COLOR[c.verdict]}]{c.verdict}[/]"
        table.add_row(
            c.id,
            interval(c.predicted, DIGITS),
            interval(c.paper, DIGITS),
            decimal(c.measured, DIGITS),
            interval(c.interval, DIGITS),
            verdict,
        )
    console.print(table)
    for c in claims:
        if c.note:
            console.print(f"  {c.id}: {c.note}")


def print_regime(console: Console, conditions: Sequence[Condition], only_failing: bool = False) -> None:
    """Print each condition of the theory, both sides, and whether it holds."""
    for c in conditions:
        if only_failing and c.holds:
            continue
        word = "holds" if c.holds else "FAILS"
        console.print(
            f"  {word}  {c.name}: {c.statement}   [{significant(c.left)} < {significant(c.right)}]", markup=False
        )


def print_predictions(console: Console, predictions: dict[str, Prediction], seconds: float) -> None:
    """Print the predicted intervals, and how long they took."""
    console.print(f"Predicted for this size, before training ({seconds:.0f} s), errors in units of μ:")
    for name, p in predictions.items():
        console.print(
            f"  {name:24s} {interval((p.low, p.high), DIGITS):22s} width {decimal(p.high - p.low, DIGITS)}",
            markup=False,
        )

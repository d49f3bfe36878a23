"""What commands print: progress, claims, conditions, predictions."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from multiview.words import decimal, format_seconds, interval, significant

if TYPE_CHECKING:
    from rich.console import Console

    from multiview.theory import Condition
    from multiview.verdicts.claims import Claim
    from multiview.verdicts.prediction import Prediction


SILENCE = 50.0  # seconds without a line, where there is no terminal


class Heartbeat:
    """Say something whenever nothing was said for a while: a piece of work may take an hour.

    Args:
        say: prints a line.
    """

    def __init__(self, say: Callable[[], None]) -> None:
        self.say, self.said, self.ended = say, time.perf_counter(), threading.Event()
        self.speaker = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self.speaker.start()

    def _run(self) -> None:
        while not self.ended.wait(max(self.said + SILENCE - time.perf_counter(), 0.01)):
            if time.perf_counter() - self.said >= SILENCE:
                self.beat()

    def beat(self) -> None:
        """Say it now; the next silence begins."""
        self.said = time.perf_counter()
        self.say()

    def stop(self) -> None:
        """Say nothing more."""
        self.ended.set()
        if self.speaker.is_alive():
            self.speaker.join()


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
        self.last, self.share = "starting", 0.0
        self.heartbeat = Heartbeat(self._say)

    def __enter__(self) -> ProgressDisplay:
        self.bar.start()
        if not self.console.is_terminal:
            self.heartbeat.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.heartbeat.stop()
        self.bar.stop()

    def _say(self) -> None:
        seconds = time.perf_counter() - self.begin
        left = seconds_left(seconds, self.share, self.expected)
        self.console.print(progress_line(seconds, self.share, self.last, left))

    def __call__(self, what: str, done: int, total: int) -> None:
        seconds, share = time.perf_counter() - self.begin, done / total
        left = f"about {seconds_left(seconds, share, self.expected):.0f} s left"
        if what.startswith("memory:"):
            self.console.print(f"{what[0].upper()}{what[1:]}")
            return
        self.bar.update(self.task, description=what, completed=done, total=total, left=left)
        new, self.last, self.share = what != self.last, what, share
        if new and not self.console.is_terminal:
            self.heartbeat.beat()


def progress_line(seconds: float, share: float, what: str, left: float) -> str:
    """Write what is done, at which rate, and what is left, as a line of a log."""
    rate = 6000 * share / max(seconds, 1e-9)
    return f"{seconds:6.1f} s  {share:4.0%}  {what}, {rate:.2g} %/min, about {format_seconds(left)} left"


def seconds_left(elapsed: float, share: float, expected: float) -> float:
    """Predict the seconds left: the total is what has passed, and the rest at the speed that was expected.

    At first this is the guess, in the end the measured speed; compiling, which comes first and once, never counts for
    the rest.
    """
    return (1 - share) * (elapsed + (1 - share) * expected)


DIGITS = 4  # decimals of errors on the terminal


_COLOR = {"holds": "green", "fails": "bold red", "undecided": "yellow"}


def print_table(console: Console, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table in which nothing is cut: where it is too wide the first column is folded, or each cell has a line.

    Args:
        console: where to.
        header: of the columns.
        rows: words; a verdict has its colour.
    """
    from rich.table import Table
    from rich.text import Text

    gap, least = 2, 12
    widths = [max(len(line[column]) for line in (header, *rows)) for column in range(len(header))]
    room = console.width - sum(widths[1:]) - gap * (len(header) - 1)
    if room < min(least, widths[0]):
        for row in rows:
            console.print(Text(f"{header[0]}: ").append(row[0], "bold"), soft_wrap=True)
            for name, word in zip(header[1:], row[1:], strict=True):
                console.print(Text(f"  {name}: ").append(word, _COLOR.get(word, "")), soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
    for column, name in enumerate(header):
        folded = column == 0 and room < widths[0]
        table.add_column(name, overflow="fold", no_wrap=not folded, width=room if folded else widths[column])
    for row in rows:
        table.add_row(*(Text(word, _COLOR.get(word, "")) for word in row))
    console.print(table)


def print_claims(console: Console, claims: Sequence[Claim]) -> None:
    """Print the claims with their predictions and verdicts as a table, then their notes."""
    rows = [
        (
            c.id,
            interval(c.predicted, DIGITS),
            interval(c.paper, DIGITS),
            decimal(c.measured, DIGITS),
            interval(c.interval, DIGITS),
            c.verdict,
        )
        for c in claims
    ]
    print_table(console, ("claim", "predicted", "paper", "measured", "95 % interval", "verdict"), rows)
    for c in claims:
        if c.note:
            console.print(f"  {c.id}: {c.note}")


def print_regime(console: Console, conditions: Sequence[Condition], only_failing: bool = False) -> None:
    """Print each condition of the theory, both sides, and whether it holds."""
    for c in conditions:
        if only_failing and c.holds:
            continue
        word = "holds" if c.holds else "FAILS"
        console.print(f"  {word}  {c.name}: {c.statement}   [{significant(c.left)} < {significant(c.right)}]")


def print_predictions(console: Console, predictions: dict[str, Prediction], seconds: float) -> None:
    """Print the predicted intervals, and how long they took."""
    console.print(f"Predicted for this size, before training ({seconds:.0f} s), errors in units of μ:")
    for name, p in predictions.items():
        console.print(f"  {name:24s} {interval((p.low, p.high), DIGITS):22s} width {decimal(p.high - p.low, DIGITS)}")

"""The look of every figure in one place: colours, lines, markers, sizes, and how files are written.

Colours are those of petroff10. Nothing rests on colour alone: whatever is told apart by colour is told apart by line
style, marker or place as well, so that figures read in grey and by colour-blind readers.

Figures are made without pyplot: it would choose a backend for the user's process and keep every figure in its list.
"""

from __future__ import annotations

import contextlib
import contextvars
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from multiview.parameters import ConfigError, shown

STYLE = "petroff10"
BLUE, ORANGE, RED, GREY, PURPLE, BROWN, VERMILION, SAND, SLATE, SKY = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
INK, QUIET, EMPTY, PAPER = "#1b1f27", "#5b6472", "#e6e9ee", "#ffffff"  # text, notes, cells of nothing, background

WINNER: dict[str, Any] = {"color": BLUE, "linestyle": "-"}
LOSER: dict[str, Any] = {"color": RED, "linestyle": "--"}
VIEW_COLORS = (PURPLE, ORANGE, BLUE, RED, SLATE, SKY)  # far apart in grey
SERIES: tuple[dict[str, Any], ...] = tuple(
    {"color": color, "marker": marker, "linestyle": line}
    for color, marker, line in zip(
        (BLUE, RED, PURPLE, ORANGE, SLATE, BROWN, VERMILION, SKY, SAND, GREY),
        ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*"),
        ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), "-", "--", "-.", ":"),
        strict=True,
    )
)
# From paper to ink through the palette's blue: lightness falls all the way, so it reads in grey.
SHADES = LinearSegmentedColormap.from_list("multiview", [EMPTY, BLUE, "#1c3f73", INK], N=32)


class Size(NamedTuple):
    """A place for a figure: its width in inches, the largest height that fits, and the size of its letters."""

    width: float
    height: float
    letters: float


SIZES = {"column": Size(3.3, 5.0, 7.5), "slide": Size(10.0, 5.6, 15.0)}
ENDINGS = (".pdf", ".png", ".svg")


_inside_style = contextvars.ContextVar("inside style", default=False)


@contextlib.contextmanager
def style(size: str = "column") -> Iterator[Size]:
    """The house style while figures are made.

    Args:
        size: column or slide.
    """
    place = SIZES[size]
    letters, stroke = place.letters, place.letters / 7.5
    settings: dict[str, Any] = {
        "font.size": letters, "axes.titlesize": letters, "axes.labelsize": letters, "legend.fontsize": 0.87 * letters,
        "xtick.labelsize": 0.9 * letters, "ytick.labelsize": 0.9 * letters, "axes.titlelocation": "left",
        "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
        "axes.linewidth": 0.6 * stroke, "lines.linewidth": 1.3 * stroke, "lines.markersize": 3.5 * stroke,
        "xtick.major.width": 0.6 * stroke, "ytick.major.width": 0.6 * stroke, "xtick.major.size": 2.5 * stroke,
        "ytick.major.size": 2.5 * stroke, "xtick.minor.size": 1.5 * stroke, "ytick.minor.size": 1.5 * stroke,
        "xtick.minor.width": 0.4 * stroke, "ytick.minor.width": 0.4 * stroke, "patch.linewidth": 0.6 * stroke,
        "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "legend.handlelength": 2.4,
        "figure.constrained_layout.use": True,
    }  # fmt: skip
    token = _inside_style.set(True)
    try:
        with matplotlib.style.context([STYLE, settings], after_reset=True):  # whatever the user's own settings are
            yield place
    finally:
        _inside_style.reset(token)


def new_figure(place: Size, shape: float = 0.75) -> tuple[Figure, Axes]:
    """A figure with one panel, inside `style`.

    Args:
        place: of `style`.
        shape: height in units of the width; the height never exceeds the place's.
    """
    figure = _canvas(place.width, min(shape * place.width, place.height))
    return figure, figure.subplots()


def new_pair() -> tuple[Figure, Any]:
    """A figure for the screen with two panels side by side, inside `style`."""
    figure = _canvas(12, 5.4)
    return figure, figure.subplots(1, 2)


def _canvas(width: float, height: float) -> Figure:
    """An empty figure of a size in inches that can be drawn without a screen."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def taller(ax: Axes) -> None:
    """Make a figure as high as its place allows, where a panel that needs the room has it to itself."""
    figure = ax.figure
    if isinstance(figure, Figure) and len(figure.axes) == 1 and _inside_style.get():
        figure.set_figheight(max(size.height for size in SIZES.values() if size.width == figure.get_figwidth()))


def save_figure(figure: Figure, path: str | Path | io.StringIO, ending: str = "", dots: int = 300) -> None:
    """Write a figure as PDF, PNG or SVG by the file's ending, the same bytes for the same figure.

    Args:
        figure: of `new_figure`.
        path: where to.
        ending: of the format, by default that of the path.
        dots: per inch, of a PNG.

    Raises:
        ConfigError: no format has this ending.

    Example:
        >>> import multiview as mv
        >>> figure = mv.make_figure(mv.open_results("sweep.zarr"), "sweep", size="slide")
        >>> mv.save_figure(figure, "sweep.png")
    """
    ending = ending or check_ending(str(path), name="path").suffix.lower()
    # Dates would make every file differ from the last.
    metadata = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}, ".png": {}}[ending]
    fixed = {"pdf.fonttype": 42, "svg.hashsalt": "multiview"}
    # Outside `style` the user's own settings would act: a page's colour, letters of ticks, text through LaTeX.
    with matplotlib.style.context(fixed, after_reset=not _inside_style.get()):
        figure.savefig(path, format=ending[1:], metadata=metadata, dpi=dots)


def check_ending(path: str | Path, allowed: Sequence[str] = ENDINGS, name: str = "--out") -> Path:
    """Refuse a file whose ending names no format.

    Raises:
        ConfigError: its ending is not allowed.
    """
    path = Path(path)
    if path.suffix.lower() not in allowed:
        raise ConfigError(f"{name} = {shown(str(path))} is not allowed: it must end in {', '.join(allowed)}")
    return path


def plain(text: object) -> str:
    """Escape text from a store for a figure: a dollar sign begins no formula, and a long text is cut."""
    word = "".join(c if c.isprintable() else " " for c in str(text))
    word = word if len(word) <= 60 else word[:59] + "…"
    return word.replace("$", r"\$")


def title(ax: Axes, text: str, note: str = "") -> None:
    """A title with a quieter line below it."""
    ax.set_title(text + ("\n" if note else ""), fontweight="bold")
    if note:
        ax.annotate(note, (0, 1), xycoords="axes fraction", xytext=(0, 4), textcoords="offset points",
                    color=QUIET, fontsize=0.87 * matplotlib.rcParams["font.size"], annotation_clip=False)  # fmt: skip


def legend(ax: Axes, **options: Any) -> None:
    """The legend: below the panel where it has the figure to itself, else inside it."""
    handles, labels = ax.get_legend_handles_labels()
    figure = ax.figure
    if not handles:
        return
    if isinstance(figure, Figure) and len(figure.axes) == 1 and figure.get_constrained_layout():
        options = {"ncols": 2, "columnspacing": 1.2, "borderpad": 0.2} | options
        figure.legend(handles, labels, loc="outside lower left", **options)
    else:
        ax.legend(loc="best", **{name: value for name, value in options.items() if name != "ncols"})


def letters() -> float:
    """Size of the letters of the style in force."""
    return float(matplotlib.rcParams["font.size"])


def colored_scale(ax: Axes, drawn: Any, label: str) -> Colorbar:
    """A bar that says what the shades of a panel mean; it holds no picture, so that SVG stays vector."""
    bar = ax.figure.colorbar(drawn, ax=ax, pad=0.02, aspect=25)
    if bar.solids is not None:
        bar.solids.set_rasterized(False)
        bar.solids.set_edgecolor("face")
    bar.outline.set_visible(False)
    bar.set_label(label)
    return bar

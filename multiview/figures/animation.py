"""A film of the views being learned: every network's overlaps as they grow, and the medians they belong to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib import animation
from matplotlib.artist import Artist

from multiview.figures.dynamics import SMALLEST, winner_and_loser
from multiview.figures.mosaic import draw_rows
from multiview.figures.stored import Results, as_study, group_of, replicate_of, steps_of, study_of, values_of
from multiview.figures.style import INK, LOSER, SHADES, WINNER, check_ending, new_pair, style, title
from multiview.parameters import ConfigError

ENDINGS = (".gif", ".mp4")
FRAMES = 60  # of growth; with the rest at the end some seven seconds
REST = 18  # frames that the end is held
PER_SECOND = 12
DOTS_PER_INCH = {".gif": 72, ".mp4": 160}  # a GIF stays small; a film of a slide's width fills 1,920 pixels


def check_film(path: str | Path) -> Path:
    """Refuse a film that cannot be written here.

    Raises:
        ConfigError: its ending names no format, or is .mp4 where there is no ffmpeg.
    """
    path = check_ending(path, ENDINGS)
    if path.suffix.lower() == ".mp4" and not animation.FFMpegWriter.isAvailable():
        raise ConfigError(
            f"--out = {str(path)!r} needs the program ffmpeg, which is not on the path; name a .gif instead"
        )
    return path


def growth(results: xr.DataTree, replicate: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Interpolate the overlaps of one training set's single networks at the frames of the film.

    Frames are closer where overlaps change much.

    Returns:
        Steps [F] and Λ in units of each network's largest at the end [F, S, k·L].
    """
    data = group_of(results, "single", ("largest_overlap", "step", "finite"))
    data = data.isel(replicate=[replicate_of(data, replicate)])
    step = steps_of(data)
    overlap = values_of(data, "largest_overlap", "replicate", "time", "seed", "class", "view")[0]
    overlap = overlap.reshape(*overlap.shape[:2], -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        overlap = overlap / np.fmax.reduce(overlap[-1], axis=-1)[:, None]  # without a warning where none is finite
    # Half of the frames go by log time, half by how much there is to see.
    change = np.append(0.0, np.nan_to_num(np.abs(np.diff(overlap, axis=0))).mean((1, 2)).cumsum())
    elapsed = np.log(step / step[0])
    progress = elapsed / max(elapsed[-1], 1e-12) + change / max(change[-1], 1e-12)
    frames = step[0] * np.exp(np.interp(np.linspace(0, progress[-1], FRAMES), progress, elapsed))
    frames[-1] = step[-1]
    place = np.interp(np.log(frames), np.log(step), np.arange(len(step)))
    below = np.minimum(place.astype(int), max(len(step) - 2, 0))
    above, share = np.minimum(below + 1, len(step) - 1), (place - below)[:, None, None]
    return frames, (1 - share) * overlap[below] + share * overlap[above]


def animate(results: Results, path: str | Path, ending: str = "", replicate: int = 0) -> None:
    """Write the film: GIF, or MP4 where ffmpeg is present.

    Left: a row a network, a column a view of a class, its shade Λ in units of the network's largest at the end. Right:
    medians over all networks of the winning and the losing view of each class, up to that step.

    Args:
        results: the store of a study.
        path: of the file.
        ending: of the format, by default that of the path.
        replicate: the training set on the left.

    Raises:
        ConfigError: the store lacks the overlaps.
    """
    ending = ending or Path(path).suffix.lower()
    results = as_study(results)
    study = study_of(results)
    frames, shades = growth(results, replicate)
    step, pairs = winner_and_loser(results)
    medians = np.maximum(np.median(pairs, 0), SMALLEST) if len(pairs) else np.full((len(step), 1), SMALLEST)
    with style("slide"):
        figure, (left, right) = new_pair()
        rows = {"networks": shades[0]}
        mesh = draw_rows(left, rows, study, cmap=SHADES, vmin=0.0, vmax=1.0)
        left.set_yticks([])
        left.set_ylabel("networks")
        title(left, "Which views they know", f"training set {replicate + 1}")
        lines = []
        for index, (name, look) in enumerate((("winning view", WINNER), ("losing view", LOSER))):
            if index < medians.shape[1]:
                right.plot(step, medians[:, index], **look, alpha=0.18)
                lines.append(right.plot([], [], **look, label=name)[0])
        now = right.axvline(frames[0], color=INK, linewidth=1.0)
        right.set(
            xscale="log", yscale="log", xlabel="step", ylabel="largest overlap Λ, median", xlim=(step[0], step[-1])
        )
        right.legend(loc="upper left")
        heading = right.set_title("step 0\n", fontweight="bold")
        figure.canvas.draw()
        figure.set_layout_engine("none")  # where things stand is settled; a frame only changes what they show

        def show(frame: int) -> list[Artist]:
            frame = min(frame, len(frames) - 1)
            at = frames[frame]
            mesh.set_array(np.ma.masked_invalid(shades[frame]))
            for index, line in enumerate(lines):
                x = np.append(step[step < at], at)
                line.set_data(x, np.exp(np.interp(np.log(x), np.log(step), np.log(medians[:, index]))))
            now.set_xdata([at, at])
            heading.set_text(f"step {0 if frame == 0 else round(at)}\n")
            return [mesh, *lines, now, heading]

        film = animation.FuncAnimation(figure, show, frames=len(frames) + REST, blit=False)
        writer: animation.AbstractMovieWriter
        writer = animation.PillowWriter(fps=PER_SECOND) if ending == ".gif" else animation.FFMpegWriter(fps=PER_SECOND)
        film.save(str(path), writer=writer, dpi=DOTS_PER_INCH[ending])

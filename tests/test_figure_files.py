"""Figures and films as files: every kind in every size and format, and a failure leaves what was there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from multiview.commands.main import main
from multiview.figures import animation, kinds, style
from multiview.figures.verify import verify_figure
from multiview.stores.labelled import to_datatree
from multiview.stores.store import open_results


@pytest.fixture(scope="module")
def results(study_store) -> xr.DataTree:
    return open_results(study_store).load()


@pytest.mark.slow
@pytest.mark.parametrize("width", style.SIZES)
def test_every_kind_is_written_and_fits_its_place(study_store, sweep_store, empty, capsys, width):
    for name, kind in kinds.KINDS.items():
        if width == "slide" and name not in ("mosaic", "errors", "phase"):
            continue
        store = study_store if kind.store == "study" else sweep_store
        assert main(["plot", str(store), "--kind", name, "--width", width]) == 0
        assert capsys.readouterr().out == f"Figure: {store.name.removesuffix('.zarr')}-{name}.png\n"
        with Image.open(empty / f"{store.name.removesuffix('.zarr')}-{name}.png") as image:
            assert image.width == pytest.approx(300 * style.SIZES[width].width, abs=2)
            assert image.height <= 300 * style.SIZES[width].height + 2


@pytest.mark.slow
def test_the_ending_names_the_format_and_the_same_store_gives_the_same_bytes(study_store, empty):
    for ending, begins in ((".pdf", b"%PDF"), (".svg", b"<?xml"), (".png", b"\x89PNG")):
        for name in ("a", "b"):
            assert main(["plot", str(study_store), "--kind=errors", f"--out={name}{ending}"]) == 0
        first, second = ((empty / f"{name}{ending}").read_bytes() for name in ("a", "b"))
        assert first.startswith(begins)
        assert first == second
    assert b"<image" not in (empty / "a.svg").read_bytes()


# Films.


@pytest.fixture
def brief(monkeypatch):
    monkeypatch.setattr(animation, "FRAMES", 8)
    monkeypatch.setattr(animation, "REST", 2)


def test_a_film_begins_at_the_start_and_ends_at_the_end(results, study_store, empty, capsys, brief):
    steps, shades = animation.growth(results, replicate=1)
    final = results["single"]["largest_overlap"].values[1].reshape(5, -1, 8)
    scale = final[:, -1].max(-1, keepdims=True)
    np.testing.assert_allclose(shades[0], final[:, 0] / scale, rtol=1e-6)
    np.testing.assert_allclose(shades[-1], final[:, -1] / scale, rtol=1e-6)
    assert (steps[0], steps[-1]) == (0.5, 60)
    assert main(["animate", str(study_store)]) == 0
    assert capsys.readouterr().out == "Film: study-views.gif\n"
    with Image.open(empty / "study-views.gif") as film:
        assert film.format == "GIF"
        assert film.n_frames >= 5  # equal frames are merged
    assert (empty / "study-views.gif").stat().st_size < 2e6


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg on this machine")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_film_as_mp4_plays_the_frames_of_the_gif(study_store, empty, brief):
    assert main(["animate", str(study_store), "--out=a.mp4"]) == 0
    assert b"ftyp" in (empty / "a.mp4").read_bytes()[:16]
    decode = ["ffmpeg", "-v", "error", "-i", "a.mp4", "-fps_mode", "passthrough", "frame%02d.png"]
    subprocess.run(decode, check=True, capture_output=True)
    frames = []
    for path in sorted(empty.glob("frame*.png")):
        with Image.open(path) as image:
            assert image.width == 1920  # as wide as a projector
            frames.append(np.asarray(image.convert("L").resize((96, 43)), dtype=float))
    assert len(frames) == 8 + 2
    mosaic = [frame[6:-6, 3:44] for frame in frames]
    assert mosaic[0].min() > 150  # nothing is known
    assert mosaic[-1].min() < 60  # and at the end a view of each class
    assert np.abs(mosaic[-1] - mosaic[-2]).max() < 8  # the end is held
    probe = ["ffmpeg", "-i", "a.mp4", "-f", "null", "-"]
    # What every player decodes.
    assert "yuv420p" in subprocess.run(probe, check=True, capture_output=True, text=True).stderr


def test_a_figure_that_fails_leaves_what_was_there(study_store, empty, monkeypatch, capsys):
    Path("a.png").write_bytes(b"before")

    def fail(*_, **__):
        raise RuntimeError("power cut")

    monkeypatch.setattr(style.Figure, "savefig", fail)
    assert main(["plot", str(study_store), "--kind=errors", "--out=a.png"]) == 70
    assert "power cut" in capsys.readouterr().err
    assert Path("a.png").read_bytes() == b"before"
    assert [p.name for p in empty.iterdir()] == ["a.png"]


def test_the_picture_of_verify_has_both_panels(tiny_result, tmp_path):
    verify_figure(to_datatree(tiny_result), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (1560, 702)
        assert len(set(image.convert("RGB").resize((60, 27)).get_flattened_data())) > 50  # something is drawn

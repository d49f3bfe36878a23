"""Outputs: named before the work, written whole or through, and never lost once their numbers are there."""

from __future__ import annotations

import contextlib
import json
import math
import os
import stat
import threading
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from multiview.commands.common import draw_beside, make_console
from multiview.config import replace
from multiview.figures.kinds import KINDS, description, make_figure
from multiview.figures.style import save_figure
from multiview.files import OutputError, named_path, output_file, write_file, write_json, write_text
from multiview.parameters import ConfigError
from multiview.stores.labelled import to_datatree
from multiview.stores.lock import reserved
from multiview.stores.store import keep_store, open_results
from multiview.studies.study import run_study


@pytest.mark.parametrize(
    "word", ["s3://bucket/a.json", "https://host/a.json", "file:///a.json", "", "-", "a\0b", "~nobody-at-all/a"]
)
def test_a_name_that_is_no_path_here_is_refused(word):
    with pytest.raises(ConfigError, match="--json = "):
        output_file(word, "--json")


def test_a_url_is_refused_as_a_path_too():
    with pytest.raises(ConfigError, match="URL"):
        named_path(Path("gs://bucket/store.zarr"))


def test_the_users_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_text("~/a.txt", "at home")
    assert output_file("~/a.txt") == tmp_path / "a.txt"
    assert (tmp_path / "a.txt").read_text() == "at home"


@pytest.mark.parametrize("word", ["folder", "new/", "loop", "file/below"])
def test_what_cannot_be_a_file_is_refused_before_the_work(word, empty):
    (empty / "folder").mkdir()
    (empty / "file").write_text("")
    (empty / "loop").symlink_to("loop")
    with pytest.raises(ConfigError, match="--json = "):
        output_file(word, "--json")


@pytest.mark.parametrize("word", ["data.npz", "store/zarr.json", "store/new/a.csv", "link", "./store/../data.npz"])
def test_what_the_command_reads_or_writes_besides_is_no_output(word, empty):
    (empty / "store").mkdir()
    (empty / "store" / "zarr.json").write_text("{}")
    (empty / "data.npz").write_text("own")
    (empty / "link").symlink_to("data.npz")
    with pytest.raises(ConfigError, match=r"--json = .* another file than"):
        output_file(word, "--json", others=("data.npz", None, "store", "a\0b"))
    for other in ("new.json", "store.json", "/dev/null"):  # beside folders that are no stores, devices are no files
        output_file(other, "--json", others=("data.npz", None, "", ".", "store", "/dev/null"))


@pytest.mark.parametrize("name", ["a\udcff.zarr", "\ud800"])
def test_what_of_a_name_is_no_text_hinders_no_text(name, tmp_path):
    write_text(tmp_path / "a.html", f"<h1>{name}</h1>")
    assert (tmp_path / "a.html").read_text(encoding="utf-8").startswith("<h1>")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_read_only_file_is_refused_before_the_work(tmp_path):
    (tmp_path / "a").write_text("")
    (tmp_path / "a").chmod(0o444)
    with pytest.raises(ConfigError, match="Permission denied"):
        output_file(tmp_path / "a")


def test_a_pipe_is_written_through_and_stays_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    write_text(output_file(tmp_path / "pipe"), "through")
    reader.join(10)
    assert read == ["through"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_device_is_written_through_and_stays_a_device(tmp_path):
    try:
        os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")
    for path in (tmp_path / "null", Path("/dev/null")):
        with contextlib.suppress(OutputError):  # some file systems open no devices
            write_text(output_file(path), "through")
        assert stat.S_ISCHR(path.stat().st_mode)


def test_a_disk_is_refused(tmp_path):
    try:
        os.mknod(tmp_path / "disk", stat.S_IFBLK | 0o600, os.makedev(7, 250))
    except PermissionError:
        pytest.skip("only root makes devices")
    with pytest.raises(ConfigError, match="no file that can be written"):
        output_file(tmp_path / "disk")


def test_the_terminal_is_written_through(capfd):
    write_text(output_file("/dev/stdout"), "shown")
    write_text(output_file("/dev/fd/2"), "aside")
    assert capfd.readouterr() == ("shown", "aside")


def test_a_symbolic_link_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real/file")
    for text in ("new", "again"):
        write_text(output_file(tmp_path / "link"), text)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "real" / "file").read_text() == text


@pytest.mark.parametrize("umask", [0o077, 0o002])
def test_the_umask_is_heeded_and_an_old_file_keeps_its_permissions(tmp_path, umask):
    (tmp_path / "old").write_text("")
    (tmp_path / "old").chmod(0o640)
    before = os.umask(umask)
    try:
        write_text(tmp_path / "new", "")
        write_text(tmp_path / "old", "")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o666 & ~umask
    assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o640


def test_json_is_strict(tmp_path):
    write_json(tmp_path / "a.json", {"a": [math.nan, (1.0, math.inf)], "b": {"c": -math.inf, "d": 1}})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"a": [None, [1.0, None]], "b": {"c": None, "d": 1}}


def full_disk(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_file_that_cannot_be_written_is_kept_and_the_line_says_where(tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    folder.mkdir()

    def write(path: Path) -> None:
        if path.parent == folder:
            full_disk()
        path.write_text("numbers")

    with pytest.raises(OutputError, match="No space left") as raised:
        write_file(folder / "a.json", write)
    kept = Path(str(raised.value).rpartition("kept as ")[2])
    assert kept.name == "a.json"
    assert kept.read_text() == "numbers"
    assert not (folder / "a.json").exists()


@pytest.mark.parametrize("trouble", ["appeared", "disk", "folder"])
def test_a_store_that_cannot_be_written_is_kept_and_the_line_says_where(tiny_result, tmp_path, monkeypatch, trouble):
    path = tmp_path / "folder" / "run.zarr"
    if trouble == "appeared":
        path.mkdir(parents=True)
    if trouble == "folder":
        path.parent.write_text("a file in its place")
    if trouble == "disk":
        real = xr.DataTree.to_zarr

        def to_zarr(self: xr.DataTree, store: Path, **options: object) -> object:
            return full_disk() if store.parent.parent == path.parent else real(self, store, **options)

        monkeypatch.setattr(xr.DataTree, "to_zarr", to_zarr)
    tree = to_datatree(tiny_result, networks=True)
    with pytest.raises(OutputError, match="kept as ") as raised:
        keep_store(path, tree)
    kept = open_results(str(raised.value).rpartition("kept as ")[2])
    np.testing.assert_array_equal(kept["single"]["weights"], tree["single"]["weights"])


def test_a_limit_on_the_size_of_files_loses_no_network(tiny_result, tmp_path):
    resource = pytest.importorskip("resource")
    tree = to_datatree(tiny_result, networks=True)
    noise = np.random.default_rng(0).standard_normal((40, 60, 100))
    tree["noise"] = xr.DataTree(xr.Dataset({"weights": (("a", "b", "c"), noise)}))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        with pytest.raises(OutputError, match="kept as ") as raised:
            keep_store(tmp_path / "run.zarr", tree)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    kept = open_results(str(raised.value).rpartition("kept as ")[2])
    np.testing.assert_array_equal(kept["noise"]["weights"], noise)


def test_a_store_is_reserved_while_its_numbers_are_computed(tmp_path):
    store = tmp_path / "run.zarr"
    holder = f"run.zarr is being written by process {os.getpid()}"
    with reserved(store), pytest.raises(ConfigError, match=holder), reserved(store):
        pass
    with reserved(store):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error", [ValueError("cannot\nconvert"), OSError(28, "No space left on device"), KeyError("x")]
)
def test_a_picture_that_fails_is_one_line_and_no_more(tmp_path, capsys, error):
    def draw(path: Path) -> None:
        raise error

    draw_beside(make_console(), tmp_path / "a.png", draw)
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert "a.png was not drawn" in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def lost_result(tiny):
    """A study whose networks have all turned non-finite."""
    wild = {"train.learning_rate": 1e30, "train.num_steps": 5, "seeds": 2, "replicates": 1, "students": 1}
    return run_study(replace(tiny, wild), distillation=False)


@pytest.mark.parametrize("kind", [name for name in KINDS if name not in ("sweep", "phase")])
def test_a_figure_of_numbers_that_are_not_finite_is_drawn_or_refused_in_one_line(lost_result, tmp_path, kind):
    with contextlib.suppress(ConfigError):
        save_figure(make_figure(to_datatree(lost_result), kind), tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["mosaic", "dark-knowledge", "errors"])
def test_a_sentence_about_numbers_that_are_not_finite_says_so(tiny_result, kind):
    """As a report has them; no warning either, as the suite has those for errors."""
    tree = to_datatree(tiny_result, networks=True)
    for node in (tree, *tree.children.values()):
        for name, values in node.data_vars.items():
            if np.issubdtype(values.dtype, np.floating):
                node[name] = values * np.nan
        if "finite" in node:
            node["finite"] = node["finite"] * 0
    assert "nan" not in description(tree, kind)
    with contextlib.suppress(ConfigError):
        make_figure(tree, kind)


@pytest.mark.parametrize(
    "own",
    [
        {"savefig.facecolor": "black", "axes.facecolor": "black", "font.size": 30},
        {"savefig.bbox": "tight", "savefig.dpi": 7, "text.usetex": True},
    ],
)
def test_figures_do_not_depend_on_the_users_own_settings(tiny_result, tmp_path, own):
    import matplotlib

    def drawn() -> bytes:
        save_figure(make_figure(to_datatree(tiny_result), "dynamics"), tmp_path / "a.png", dots=40)
        return (tmp_path / "a.png").read_bytes()

    plain = drawn()
    with matplotlib.rc_context(own):
        assert drawn() == plain

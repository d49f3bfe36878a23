"""The laboratory: the notebook runs as a script, its functions say what networks did, and bad input is one line."""

from __future__ import annotations

import importlib.util
import mimetypes
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import BROWSER, DESKTOP

from multiview.commands.main import main

pytestmark = BROWSER[1:]  # what Playwright leaves behind
QUICKLY = ("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # processes that compile for longer than they train
needs_marimo = pytest.mark.skipif(importlib.util.find_spec("marimo") is None, reason="the extra lab is not installed")


def line_of(words, capsys):
    """The one line of a refused command."""
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


def test_a_port_in_use_is_one_line(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"--port = {port} is in use" in line_of(["lab", "--port", str(port)], capsys)


@pytest.mark.parametrize("word", ["0", "70000", "eighty"])
def test_a_port_that_is_none_is_one_line(word, capsys):
    assert "--port = " in line_of(["lab", "--port", word], capsys)


def test_without_marimo_the_line_says_how_to_install_it(capsys, monkeypatch):
    monkeypatch.setattr("multiview.commands.web.importlib.util.find_spec", lambda name: None)
    assert "pip install 'multiview-theory[lab]'" in line_of(["lab", "--port", "27180"], capsys)


def test_an_export_does_not_overwrite(capsys, tmp_path):
    (tmp_path / "lab.html").write_text("mine")
    assert "exists already" in line_of(["lab", "--export", str(tmp_path / "lab.html")], capsys)
    assert (tmp_path / "lab.html").read_text() == "mine"


def test_an_export_is_a_page(capsys, tmp_path):
    assert "must end in .html" in line_of(["lab", "--export", str(tmp_path / "lab.pdf")], capsys)


@needs_marimo
def test_an_export_that_fails_says_why_and_leaves_nothing(capsys, empty, monkeypatch):
    Path("broken.py").write_text("import marimo\napp = marimo.App()\n@app.cell\ndef _():\n    1 / 0\n")
    monkeypatch.setattr("multiview.commands.web.NOTEBOOK", Path("broken.py"))
    assert "--export = 'lab.html' was not written" in line_of(["lab", "--export", "lab.html"], capsys)
    assert [path.name for path in empty.iterdir() if path.suffix == ".html"] == []


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The exported page."""
    path = tmp_path_factory.mktemp("export") / "lab.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(*QUICKLY)
        assert main(["lab", "--export", str(path)]) == 0
    return path


@needs_marimo
@pytest.mark.slow
@BROWSER[0]
def test_an_export_shows_the_race_and_the_table(exported, browser):
    """Marimo's pages take its front end from the network; here it comes from the installed package."""
    import marimo

    front_end = Path(marimo.__file__).parent / "_static"

    def answer(route):
        file = front_end / route.request.url.partition("/dist/")[2]
        kind = mimetypes.guess_type(file.name)[0]
        route.fulfill(path=file, content_type=kind, headers={"Access-Control-Allow-Origin": "*"})

    page = browser.new_page(viewport=DESKTOP)
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.route(lambda url: url.startswith("https://"), answer)
    page.goto(exported.as_uri())
    page.get_by_text("their ensemble").first.wait_for()
    assert page.get_by_text("8 of 8").count() == 1  # networks with training error 0
    assert page.get_by_text("All conditions of the theory hold here.").is_visible()
    assert page.locator("img").last.bounding_box()["width"] > 600  # the race
    assert page.get_by_role("slider").count() == 10
    assert wrong == []


@needs_marimo
def test_the_command_serves_the_notebook_on_the_port(capsys, monkeypatch):
    calls = []

    def execve(program, words, environment):
        calls.append((words, environment))
        raise SystemExit(0)  # the real one does not come back either

    monkeypatch.setattr("multiview.commands.web.os.execve", execve)
    with pytest.raises(SystemExit):
        main(["lab", "--port", "27181", "--no-browser"])
    ((words, environment),) = calls
    assert environment["JAX_COMPILATION_CACHE_DIR"] == os.environ["JAX_COMPILATION_CACHE_DIR"]
    assert environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] == "0"
    assert words[words.index("--port") + 1] == "27181"
    assert "--headless" in words
    assert "http://127.0.0.1:27181" in capsys.readouterr().out


@needs_marimo
def test_table_and_race_say_what_the_networks_did(tiny_result):
    from multiview.web import lab

    rows = lab.table(tiny_result)
    assert [r["network"] for r in rows] == list(lab.NAMES.values())
    mu, single = tiny_result.study.data.single_view_fraction, tiny_result.groups["single"]
    assert rows[0]["test error / μ"] == pytest.approx(single.errors.in_units_of_mu(mu).mean(), abs=1e-3)
    assert rows[0]["with training error 0"].endswith(f" of {single.train_wrong.size}")
    figure = lab.race(tiny_result, 2)
    assert len(figure.axes) == tiny_result.study.data.num_classes
    drawn = figure.axes[1].lines[0].get_ydata()
    assert np.allclose(drawn, np.maximum(single.records["largest_overlap"][0, 2, :, 1, 0], 1e-6))


@needs_marimo
@pytest.mark.slow
def test_the_notebook_runs_as_a_script_and_sliders_need_no_new_program():
    """All cells run headless; then another start, other traces and another seed are trained by the same programs."""
    code = """
from multiview.web import lab
_, found = lab.app.run()
assert {r["network"] for r in found["rows"]} == {lab.NAMES["single"], lab.NAMES["ensemble"]}, found["rows"]
import jax
from multiview.systems.network import all_pairs_steps
before = all_pairs_steps._cache_size()
study = lab.study_from_sliders({"network.init_std": 0.01, "data.feature_sparsity": 0.8, "data.weak_view_strength": 0.3,
                      "seed": 3, "train.num_steps": 200})
lab.train(study, False)
assert all_pairs_steps._cache_size() == before > 0
"""
    own = os.environ | dict([QUICKLY])
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=own)
    assert out.returncode == 0, out.stderr

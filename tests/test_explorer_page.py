"""The explorer's page: built from its sources, small, opened by a command, and naming no other host."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import webbrowser
import zipfile
from pathlib import Path

import pytest

from multiview.commands.main import main
from multiview.files import cache_folder, write_file
from multiview.web import explorer as web

ROOT = Path(__file__).parent.parent


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Sources of the page in a folder where none is built yet, and a cache folder of its own."""
    monkeypatch.setattr(web, "SOURCES", Path(shutil.copytree(web.SOURCES, tmp_path / "web" / "src")))
    monkeypatch.setattr(web, "PAGE", tmp_path / "web" / "explorer.html")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return web.PAGE


def test_a_checkout_builds_the_page_and_builds_it_again_after_a_change(checkout):
    assert web.page_path() == checkout
    assert checkout.read_text(encoding="utf-8") == web.page()
    written = checkout.stat().st_mtime_ns
    assert web.page_path().stat().st_mtime_ns == written
    with (web.SOURCES / "app.js").open("a", encoding="utf-8") as file:
        file.write("// changed\n")
    assert "// changed" in web.page_path().read_text(encoding="utf-8")


def test_a_checkout_that_cannot_be_written_has_its_page_in_the_cache_folder(checkout, monkeypatch):
    def write(path, fill, keep):
        if path == checkout:
            raise PermissionError(path)
        write_file(path, fill)

    monkeypatch.setattr(web, "write_file", write)
    assert web.page_path().read_text(encoding="utf-8") == web.page()
    assert web.page_path() == cache_folder() / "explorer.html"
    assert not checkout.exists()


def test_an_installed_page_is_taken_as_it_is(checkout):
    checkout.write_text("built", encoding="utf-8")
    shutil.rmtree(web.SOURCES)
    assert web.page_path().read_text(encoding="utf-8") == "built"


def test_the_page_is_built_by_python_alone():
    """Whoever builds a wheel has neither NumPy nor SciPy."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from multiview.web import explorer; print(explorer.page())"
    run = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.rstrip("\n") == web.page().rstrip("\n"), run.stderr


@pytest.mark.slow
def test_a_wheel_from_the_source_distribution_holds_the_page(tmp_path):
    pytest.importorskip("hatchling", reason="hatchling is not installed; pip install '.[test]'")
    build = f"import hatchling.build; hatchling.build.build_sdist({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], check=True, cwd=ROOT, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        assert not [name for name in source.getnames() if name.endswith("web/explorer.html")]
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, archive]
    subprocess.run(pip, check=True, capture_output=True)
    (path,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        assert wheel.read("multiview/web/explorer.html").decode() == web.page()
    assert len(names) == len(set(names))
    assert not [name for name in names if name.startswith("multiview/web/src")]


def test_the_page_is_small_and_names_no_other_host():
    page = web.page()
    assert len(page.encode()) <= 1_500_000
    assert not re.findall(r"https?://|//[a-z]+\.|@import|url\(|\bimport\(", page)
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    # Text that is not ours reaches the page as text only.
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", page)


@pytest.mark.parametrize("outcome", [True, False, OSError("no display")])
def test_explore_opens_the_page_or_prints_where_it_is(monkeypatch, capsys, outcome):
    asked = []

    def open_browser(address):
        asked.append(address)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(webbrowser, "open", open_browser)
    assert main(["explore"]) == 0
    assert asked == [web.page_path().as_uri()]
    out = capsys.readouterr()
    assert str(web.page_path()) in out.out
    assert ("No browser" in out.out) == (outcome is not True)
    assert out.err == ""


def test_explore_can_print_the_path_alone(monkeypatch, capsys):
    monkeypatch.setattr(webbrowser, "open", lambda address: pytest.fail("opened"))
    assert main(["explore", "--print-path"]) == 0
    assert capsys.readouterr().out == f"{web.page_path()}\n"


def test_a_missing_page_is_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(web, "PAGE", tmp_path / "gone.html")
    monkeypatch.setattr(web, "SOURCES", tmp_path / "src")
    assert main(["explore"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("multiview: error: ")
    assert err.count("\n") == 1
    assert "gone.html" in err

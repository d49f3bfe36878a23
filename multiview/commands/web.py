"""Commands that open something in the browser: the explorer, a simulation, and the laboratory, a marimo notebook."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from multiview.commands.common import whole_number
from multiview.files import cache_folder
from multiview.parameters import ConfigError

NOTEBOOK = Path(__file__).parents[1] / "web" / "lab.py"
HOST = "127.0.0.1"


def _free_port(word: str) -> int:
    port = whole_number("--port", word, 1)
    if port > 65535:
        raise ConfigError(f"--port = {port} is not allowed: it must be a whole number from 1 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError:
            raise ConfigError(f"--port = {port} is not allowed to this user; take one above 1023") from None
        except OSError:
            raise ConfigError(f"--port = {port} is in use; stop what listens there, or take another port") from None
    return port


def _environment() -> dict[str, str]:
    """The notebook's process keeps compiled programs too, so that its first result waits only on the first day."""
    cache = cache_folder()
    kept = {"JAX_COMPILATION_CACHE_DIR": str(cache), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"} if cache else {}
    return kept | os.environ


def _export(out: Path, marimo: list[str]) -> int:
    """Run the notebook at its defaults and write what it shows; a page appears whole or not at all."""
    from multiview.files import write_file
    from multiview.stores.lock import reserved

    def export(path: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:  # marimo leaves a folder of its own beside a notebook
            notebook = shutil.copy(NOTEBOOK, folder)
            words = ["export", "html", notebook, "--no-include-code", "--force", "--output", str(path.resolve())]
            done = subprocess.run([*marimo, *words], check=False, capture_output=True, text=True, env=_environment())
        if done.returncode:
            reason = (done.stderr or done.stdout).strip().rpartition("\n")[2]
            raise ConfigError(f"--export = {str(out)!r} was not written, the notebook failed: {reason}")

    with reserved(out):
        write_file(out, export)
    print(f"Laboratory: {out}")
    return 0


def _lab(arguments: argparse.Namespace) -> int:
    port = _free_port(arguments.port)
    out = None
    if arguments.export:
        from multiview.figures.style import check_ending
        from multiview.files import new_path

        out = new_path(check_ending(arguments.export, (".html",), "--export"), "--export")
    if importlib.util.find_spec("marimo") is None:
        raise ConfigError("lab needs marimo, which is not installed: pip install 'multiview-theory[lab]'")
    marimo = [sys.executable, "-m", "marimo", "--quiet"]
    if out:
        return _export(out, marimo)
    print(f"Laboratory: http://{HOST}:{port} (Ctrl-C ends it)", flush=True)
    headless = ["--headless"] if arguments.no_browser else []
    # In place of this process, so that a signal to it ends the server.
    words = [*marimo, "run", str(NOTEBOOK), "--host", HOST, "--port", str(port), *headless]
    os.execve(sys.executable, words, _environment())


def _explore(arguments: argparse.Namespace) -> int:
    import webbrowser

    from multiview.web.explorer import page_path

    page = page_path()
    if not page.is_file():
        raise ConfigError(f"{page} is missing; reinstall the package")
    opened = False
    if not arguments.print_path:
        # A launcher that fails differs by system; the path is of use after every such failure.
        with contextlib.suppress(Exception):
            opened = webbrowser.open(page.as_uri())
    print(page if arguments.print_path else f"Explorer: {page}" if opened else f"No browser opened; open {page}")
    return 0


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Declare the commands of this family."""
    explore = command("explore", _explore, "open the explorer, a simulation in the browser")
    explore.add_argument("--print-path", action="store_true", help="print where the page is, and open nothing")
    lab = command("lab", _lab, "open the laboratory: sliders to trained networks, in your browser (needs marimo)")
    lab.add_argument("--port", default="2718", metavar="N", help="on this machine (%(default)s)")
    lab.add_argument("--no-browser", action="store_true", help="serve, and open no browser")
    lab.add_argument("--export", metavar="FILE", help="write the page with its results as HTML, and serve nothing")

"""The explorer: one self-contained page, built from the small sources in `src`.

It is built into wheels (`hatch_build.py`), and in a checkout whenever somebody asks for it; no built page is kept under
version control. Building needs nothing but Python.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from multiview.config import to_mapping
from multiview.figures.page import content_security_policy
from multiview.files import cache_folder, write_file
from multiview.presets import load_preset

SOURCES = Path(__file__).parent / "src"  # not in a wheel
PAGE = Path(__file__).parent / "explorer.html"
SCRIPTS = ("engine.js", "address.js", "draw.js", "lesson.js", "world.js", "jobs.js", "panels.js", "app.js")


def page() -> str:
    """Build the page as one HTML text: template, style and scripts, defaults from the preset `explorer`.

    Its content-security policy allows this one script and this one style by their hashes and nothing else, so the
    page can ask no other host for anything.
    """
    read = {path.name: path.read_text(encoding="utf-8") for path in SOURCES.iterdir()}
    defaults = json.dumps(to_mapping(load_preset("explorer")), separators=(",", ":"))
    inside = "\n".join([f"const DEFAULTS = {defaults};", *(read[name] for name in SCRIPTS)])
    script = f'"use strict";\n(() => {{\n{inside}}})();\n'  # one scope for all scripts, and no name in the window's
    style = read["explorer.css"]
    parts = {"policy": content_security_policy(style, script), "style": style, "script": script}
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], read["explorer.html"])


def page_path() -> Path:
    """Find the file of the page; in a checkout build it where it is missing or not of these sources.

    Returns:
        The file beside this module, or in the user's cache folder where this folder cannot be written.
    """
    if not SOURCES.is_dir():  # an installed wheel
        return PAGE
    text = page()
    cache = cache_folder()
    for path in (PAGE, *([cache / PAGE.name] if cache else [])):
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            return path
        try:
            write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"), keep=False)
        except OSError:
            continue
        return path
    return PAGE

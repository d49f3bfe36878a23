"""The explorer: one self-contained page, built from the small sources beside this file by `python -m multiview.web`."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

from multiview.config import to_mapping
from multiview.presets import load_preset

SOURCES = Path(__file__).parent / "src"
PAGE = Path(__file__).parent / "explorer.html"
SCRIPTS = ("engine.js", "address.js", "draw.js", "lesson.js", "app.js")


def _hash(text: str) -> str:
    """The source expression by which a content-security policy allows exactly this inline text."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def build() -> str:
    """The page as one HTML text: template, style and scripts in one file, defaults from the preset `explorer`.

    Its content-security policy allows this one script and this one style by their hashes and nothing else, so the
    page can ask no other host for anything.
    """
    read = {path.name: path.read_text(encoding="utf-8") for path in SOURCES.iterdir()}
    defaults = json.dumps(to_mapping(load_preset("explorer")), separators=(",", ":"))
    script = "\n".join([f"const DEFAULTS = {defaults};", *(read[name] for name in SCRIPTS)])
    style = read["explorer.css"]
    allowed = f"script-src {_hash(script)}; style-src {_hash(style)}"
    policy = f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
    parts = {"policy": policy, "style": style, "script": script}
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], read["explorer.html"])

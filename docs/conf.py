"""Configuration of the documentation. Built and read without network access: no intersphinx, no remote assets."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from PIL import Image

import multiview
from multiview.config import meanings
from multiview.files import cache_folder
from multiview.measures.recorded import MEASURES
from multiview.web import explorer

project = "multiview"
author = "the multiview authors"
project_copyright = "2026, the multiview authors"
release = version = multiview.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",  # copies MathJax into the pages, which else load it from elsewhere
]
exclude_patterns = ["_build", "figures", "course/slides"]  # figures/benchmark.md is included by performance.md

# MyST: $…$ mathematics, definition lists, boxes, links to headings.
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
# [a moment](explorer:screen=4&do=seeds), on pages of the course.
myst_url_schemes = {"http": None, "https": None, "explorer": "../_static/explorer.html#{{path}}"}

# The lessons of the course are executed, and an error in a cell is an error of the build. Their kernels import the
# package that this file imports, and keep compiled programs where the command line keeps them.
nb_execution_mode = "auto"
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 600  # seconds for a cell; on a busy machine one has taken more than 300
nb_merge_streams = True
nb_code_prompt_show = "Reveal the {type}"  # lessons hide the answer to a question
nb_code_prompt_hide = "Hide the {type}"
PACKAGE = Path(multiview.__file__).resolve().parent
os.environ["PYTHONPATH"] = str(PACKAGE.parent)
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache_folder()))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

# Docstrings: Google style; `name` is code; NamedTuple attributes are described once, by the class.
default_role = "code"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False  # the signature has the types already
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True

html_theme = "pydata_sphinx_theme"
html_title = f"multiview {release}"
html_copy_source = False
# The explorer lies beside the style, so that pages can link to its moments.
html_static_path = ["_static", str(explorer.page_path())]
html_css_files = ["multiview.css"]
html_context = {"default_mode": "auto"}  # light or dark as the reader's system is
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}
# A bar at the left only where a part has several pages; elsewhere tables and figures need the room.
html_sidebars = {path.stem: [] for path in Path(__file__).parent.glob("*.md")}


def _mathematics(text: str) -> str:
    """`$…$` of our docstrings to reStructuredText."""
    return re.sub(r"\$([^$]+)\$", lambda m: f":math:`{m.group(1)}`", text)


UNDESCRIBED = ("web.lab",)  # a notebook


def _public_names() -> list[str]:
    """The table of public names: each with the first line of its docstring."""
    rows = []
    for name in sorted(multiview._PUBLIC, key=str.lower):
        value = getattr(multiview, name)
        first = (value.__doc__ or "").strip().partition("\n")[0].replace("|", "\\|")
        rows.append(f"| {{py:obj}}`{name} <{value.__module__}.{name}>` | {first} |")
    return ["| name | meaning |", "|---|---|", *rows]


def _recorded_measures() -> list[str]:
    """The table of what is recorded of each network over training."""
    rows = [
        f"| `{row.name}` | {', '.join(('seed', 'time', *row.dimensions))} | {row.unit} | {row.text} |"
        for row in MEASURES
    ]
    return ["| name | dimensions | unit | meaning |", "|---|---|---|---|", *rows]


def _modules(room: str) -> list[str]:
    """The room's own words, then its modules; what a room exports is described in the modules."""
    lines = []
    inside = sorted(p.stem for p in (PACKAGE / room).glob("*.py")) if (PACKAGE / room).is_dir() else []
    for name in [room, *(f"{room}.{stem}" for stem in inside if stem != "__init__")]:
        if name not in UNDESCRIBED:
            exports = ["   :no-members:"] if name == room and set(inside) > {"__init__"} else []
            lines += [f"### `{name}`", "", "```{eval-rst}", f".. automodule:: multiview.{name}", *exports, "```", ""]
    return lines


def _reference(app: Any, page: str, text: list[str]) -> None:
    """Fill the page of the reference at its marks."""
    if page == "api":
        text[0] = re.sub(
            r"<!-- modules: (.*?) -->",
            lambda match: "\n".join(line for room in match[1].split() for line in _modules(room)),
            text[0]
            .replace("<!-- public names -->", "\n".join(_public_names()))
            .replace("<!-- recorded measures -->", "\n".join(_recorded_measures())),
        )


def _process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    # A parameter described by its symbol alone ("k.") is a sentence and not the first point of a list.
    lines[:] = [re.sub(r"^(\s+[A-Za-z])\.$", r"\1\\.", line) for line in lines]
    lines[:] = _mathematics("\n".join(lines)).split("\n")
    if what == "attribute" and name.startswith("multiview.config."):
        # Napoleon takes words before a colon for a type.
        owner, field = getattr(multiview, name.split(".")[-2]), name.split(".")[-1]
        allowed = owner.__dataclass_fields__[field].metadata.get("allowed")
        lines[:] = [meanings(owner)[field] + (f" ({allowed})." if allowed else ".")]


def _skip(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    # Fields of a NamedTuple say nothing beyond the class's own text. Imported functions are not ours to describe, and
    # autodoc stumbles over the signature of one of SciPy's before it leaves them out by itself.
    foreign = callable(obj) and not (getattr(obj, "__module__", None) or "").startswith("multiview")
    return True if foreign or type(obj).__name__ == "_tuplegetter" else None


def _signature(app: Any, what: str, name: str, obj: Any, options: Any, signature: str, returned: str) -> Any:
    # Where JAX keeps its array class is no business of a reader.
    return tuple(text and text.replace("jaxlib._jax.", "") for text in (signature, returned))


def _size_of_figures(app: Any, doctree: Any) -> None:
    """Letters of one size in all figures; multiview.css lets wide ones scroll where there is no room."""
    for node in doctree.findall(nodes.image):
        path = Path(app.srcdir) / node["uri"]
        if path.suffix in (".png", ".gif") and path.is_file():
            with Image.open(path) as image:
                inches = image.width / image.info.get("dpi", (72,))[0]
            pixels = 72 * inches if inches > 8.5 else 100 * inches if inches > 4 else 150 * inches
            node["width"] = f"{round(min(pixels, 960))}px"  # 960: the text's width on a desktop


def setup(app: Any) -> None:
    app.connect("source-read", _reference)
    app.connect("doctree-read", _size_of_figures)
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-process-docstring", _process)
    app.connect("autodoc-skip-member", _skip)

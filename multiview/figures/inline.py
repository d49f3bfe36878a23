"""A figure as SVG inside a page: no style attributes, which a strict policy forbids, and names of its own."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

from matplotlib.figure import Figure

from multiview.figures.style import save_figure

_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"


def inline_svg(figure: Figure, name: str, label: str, description: str) -> str:
    """The figure as an SVG element for a page.

    Args:
        figure: of `kinds.make_figure`.
        name: prefix of every identifier in it, unique on the page.
        label: what it is, in a few words.
        description: what it shows, for those who do not see it.
    """
    buffer = io.StringIO()
    save_figure(figure, buffer, ".svg")
    root = ElementTree.fromstring(re.sub(r"<!DOCTYPE[^>]*>", "", buffer.getvalue()))
    for parent in root.iter():
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    text = ElementTree.tostring(root, encoding="unicode")
    used = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
    # Prefixes are written by hand: to register them would change how the user's own documents are written.
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{_SVG}}}")
        element.attrib = {key.replace(f"{{{_LINK}}}", "xlink:"): value for key, value in element.attrib.items()}
        for rule in element.attrib.pop("style", "").split(";"):
            key, _, value = rule.partition(":")
            if value:
                element.set(key.strip(), value.strip())
        if element.get("id") in used:
            element.set("id", f"{name}-{element.get('id')}")
        else:
            element.attrib.pop("id", None)
        for key, value in element.attrib.items():
            if key.endswith("href"):
                element.set(key, value.replace("#", f"#{name}-", 1))
            else:
                element.set(key, re.sub(r"url\(#", f"url(#{name}-", value))
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib = {"xmlns": _SVG, "xmlns:xlink": _LINK} | root.attrib
    root.attrib |= {
        "role": "img", "aria-labelledby": f"{name}-title {name}-text",
        "stroke-linejoin": "round", "stroke-linecap": "butt",
    }  # fmt: skip
    for tag, text in (("desc", description), ("title", label)):
        element = ElementTree.Element(tag, {"id": f"{name}-{'text' if tag == 'desc' else 'title'}"})
        element.text = text
        root.insert(0, element)
    return ElementTree.tostring(root, encoding="unicode")

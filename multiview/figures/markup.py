"""Pieces of an HTML page: escaped text, tables, sections."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


def safe(value: object) -> str:
    """Escape a value for text and attributes."""
    return html.escape(str(value), quote=True)


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are escaped already, the first of each row its heading."""
    head = "".join(f'<th scope="col">{cell}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>' + "".join(f'<td class="number">{cell}</td>' for cell in row[1:]) + "</tr>"
        for row in rows
    )
    words = f"<caption>{caption}</caption>" if caption else ""
    # A region that scrolls has to be reached by keyboard.
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{caption or "table"}">'
        f"<table>{words}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def section(name: str, heading: str, body: str) -> str:
    """A section with its heading, which names it for screen readers."""
    return (
        f'<section id="{name}" aria-labelledby="{name}-heading"><h2 id="{name}-heading">{heading}</h2>{body}</section>'
    )

"""The report: one self-contained page of a store, with its claims, figures, configuration and regime check.

The page asks no other host for anything. Its content-security policy allows its one style and its one script by their
hashes and nothing else, and everything that comes from the store is escaped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from multiview import __version__
from multiview.config import Study, all_fields, get, meaning
from multiview.figures.axes import axes_of, axis_label
from multiview.figures.dynamics import clock_steps
from multiview.figures.errors import measured_errors
from multiview.figures.inline import inline_svg
from multiview.figures.kinds import KINDS, description, make_figure
from multiview.figures.markup import safe, section, table
from multiview.figures.page import content_security_policy
from multiview.figures.race import race
from multiview.figures.reproduce import command_of, flag_value
from multiview.figures.stored import Results, study_of
from multiview.parameters import ConfigError
from multiview.presets import load_preset, preset_names
from multiview.stores.tables import DEFAULT_MEASURES, as_words, summarise
from multiview.theory import check_regime
from multiview.words import count, decimal, interval, name_of, significant

_HERE = Path(__file__).parent
MOST_ROWS = 200  # of the table of a sweep

Claims = Sequence[Mapping[str, Any]]


def _figures(results: Results) -> str:
    """Every figure that the store has data for, and which others say why not."""
    of = "sweep" if isinstance(results, xr.Dataset) else "study"
    shown, missing = [], []
    for kind, about in KINDS.items():
        if about.store != of:
            continue
        try:
            words = description(results, kind) or ("Its numbers are in the table above." if of == "sweep" else "")
            label = about.text[0].upper() + about.text[1:]
            drawn = inline_svg(make_figure(results, kind), kind, label, words)
            shown.append(f"<figure>{drawn}<figcaption>{safe(f'{label}. {words}'.strip())}</figcaption></figure>")
        except ConfigError as error:
            reason = str(error).removeprefix(f"--kind {kind}: ")
            missing.append(f"<li>{safe(kind)}: {safe(reason)}</li>")
    left_out = f'<p class="quiet">Not drawn:</p><ul class="quiet">{"".join(missing)}</ul>' if missing else ""
    return f'<div class="figures">{"".join(shown)}</div>{left_out}'


def _verdict(word: str) -> str:
    return f'<span class="{word if word in ("holds", "fails", "undecided") else "quiet"}">{safe(word)}</span>'


def _claims(claims: Claims, reason: str) -> str:
    if not claims:
        return f"<p>Not judged: {safe(reason)}.</p>"
    words = [str(c["verdict"]) for c in claims]
    counted = ", ".join(f"{words.count(w)} × {w}" for w in ("holds", "fails", "undecided") if w in words)
    rows = [
        (
            f'{safe(c["statement"])}<br><span class="quiet">{safe(c["unit"])}</span>', _verdict(str(c["verdict"])),
            decimal(c["measured"]), interval(c["interval"]), interval(c["predicted"]), interval(c["paper"]),
        )
        for c in claims
    ]  # fmt: skip
    header = ("Claim", "Verdict", "Measured", "95 % interval", "Predicted", "Paper")
    notes = "".join(f"<li>{safe(c['statement'])}: {safe(c['note'])}</li>" for c in claims if c.get("note"))
    return (
        f"<p>Verdicts: {counted}. The prediction is for this size, from the configuration alone; it judges. The "
        "paper's figures are for ever more classes; they judge nothing.</p>"
        + table("Claims of the theory", header, rows)
        + (f'<ul class="quiet">{notes}</ul>' if notes else "")
    )


def _errors(results: xr.DataTree) -> str:
    try:
        found = measured_errors(results)
    except ConfigError as error:
        return f"<p>{safe(error)}</p>"
    rows = [
        (
            name_of(m.name), str(m.networks.size), decimal(m.mean), interval(m.interval), decimal(m.paper),
            f"{m.e_multi_view:.4g}", f"{m.e_single_view:.4g}",
        )
        for m in found
    ]  # fmt: skip
    header = ("Kind", "Runs", "Error (μ)", "95 % interval", "Paper", "On multi-view data", "On single-view data")
    return table("Test errors in units of μ", header, [tuple(map(safe, row)) for row in rows])


def _sweep_table(results: xr.Dataset) -> str:
    measures = [m for m in DEFAULT_MEASURES if m in results]
    header, rows = as_words(summarise(results, measures))
    more = f"<p>Here are the first {MOST_ROWS} of {len(rows)} rows; multiview table prints all.</p>"
    axes = axes_of(results)
    words = [axis_label(results, name) if name in axes else name.replace("_", " ") for name in header]
    return table(
        "Means with 95 % intervals", [safe(w) for w in words], [[safe(c) for c in r] for r in rows[:MOST_ROWS]]
    ) + (more if len(rows) > MOST_ROWS else "")


def _regime(study: Study) -> str:
    conditions = check_regime(study)
    failing = sum(not c.holds for c in conditions)
    rows = [
        (
            f'{safe(c.name)}<br><span class="quiet">{safe(c.statement)}</span>',
            _verdict("holds" if c.holds else "fails"),
            significant(c.left),
            significant(c.right),
        )
        for c in conditions
    ]
    clocks = [(safe(name), significant(step)) for name, step in clock_steps(study).items()]
    summary = (
        "All conditions hold."
        if not failing
        else f"{failing} of {len(conditions)} conditions fail: the study lies outside the theory's regime."
    )
    header = ("Condition", "Verdict", "Left", "Right")
    return (
        f"<p>{summary}</p>" + table("Conditions of the theory, left side below right side", header, rows)
        + "<h3>Clocks</h3>" + table("Times of the theory in steps", ("Event", "Step"), clocks)
    )  # fmt: skip


def _configuration(study: Study) -> str:
    known = study.preset in preset_names()
    base = load_preset(study.preset) if known else Study()
    names = [n for n in all_fields() if n != "preset"]
    changed = [n for n in names if get(study, n) != get(base, n)]

    def rows(chosen: Sequence[str]) -> list[Sequence[str]]:
        return [(f"<code>{n}</code>", safe(flag_value(get(study, n))), safe(meaning(n))) for n in chosen]

    origin = f"the preset {safe(study.preset)}" if known else "the defaults"
    first = f"<p>{len(changed)} parameters differ from {origin}.</p>"
    header = ("Parameter", "Value", "Meaning")
    if changed:
        first += table("Changed parameters", header, rows(changed))
    return (
        first
        + "<details><summary>All parameters</summary>"
        + table("All parameters", header, rows(names))
        + "</details>"
    )


def _versions(results: Results) -> str:
    try:
        versions = {str(n): str(v) for n, v in json.loads(results.attrs["versions"]).items()}
    except (KeyError, ValueError, AttributeError, TypeError):
        versions = {}
    rows = list(versions.items())
    rows += [(name, str(results.attrs.get(key, ""))) for name, key in (("commit", "git_commit"), ("device", "device"))]
    rows.append(("report made by", f"multiview {__version__}"))
    return table("What the numbers were computed with", ("What", "Version"), [(safe(n), safe(v)) for n, v in rows if v])


def page(results: Results, name: str, claims: Claims = (), reason: str = "") -> str:
    """The report as one HTML text.

    Args:
        results: a store, of `multiview.open_results`.
        name: of the store.
        claims: plain claims with their verdicts (`Claim.to_mapping`).
        reason: why there are none.

    Raises:
        ConfigError: the store's configuration is damaged.
    """
    study = study_of(results)
    sweep = isinstance(results, xr.Dataset)
    race_section, script = race(results)
    if isinstance(results, xr.Dataset):
        state = results["done"].values
        kind = f"Sweep of {int((state >= 0).sum())} blocks: {(state == 1).sum()} done, {(state == 2).sum()} failed, {(state == 0).sum()} not computed"  # noqa: E501
        sections = [("numbers", "Results", _sweep_table(results))]
    else:
        kind = f"Study of {count(study.replicates, 'training set')} × {study.seeds} networks"
        sections = [("claims", "Claims", _claims(claims, reason)), ("numbers", "Test errors", _errors(results))]
    regime_of = "Of the study that the sweep starts from." if sweep else ""
    command = command_of(results)
    sections += [
        ("figures", "Figures", _figures(results)),
        ("regime", "Regime check", f"<p>{regime_of}</p>{_regime(study)}" if regime_of else _regime(study)),
        ("configuration", "Configuration", _configuration(study)),
        ("reproduce", "Reproduce",
         f"<p>One command computes this store again:</p><pre><code>{safe(command)}</code></pre>"
         '<p class="quiet">Equality bit by bit holds on one platform and version. Files that were given with --data or '
         "--teacher have to be given again.</p>"),
        ("versions", "Versions", _versions(results)),
    ]  # fmt: skip
    parts = {id: section(id, heading, body) for id, heading, body in sections}
    parts["figures"] += race_section
    links = "".join(f'<li><a href="#{id}">{heading}</a></li>' for id, heading, _ in sections)
    css = (_HERE / "report.css").read_text(encoding="utf-8")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{content_security_policy(css, script)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{safe(name)} · multiview report</title>
<style>{css}</style>
</head>
<body>
<header>
<h1>{safe(name)}</h1>
<p>{kind}; preset {safe(study.preset)}, run {safe(results.attrs.get("run_id", ""))}.</p>
<nav aria-label="Sections"><ul>{links}</ul></nav>
</header>
<main>
{"".join(parts.values())}
</main>
<footer><p>Made by multiview {__version__} from the store alone.</p></footer>
{f"<script>{script}</script>" if script else ""}
</body>
</html>
"""

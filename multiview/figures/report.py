"""The report: one self-contained page of a store, with its claims, figures, configuration and regime check.

The page asks no other host for anything. Its content-security policy allows its one style and its one script by their
hashes and nothing else, and everything that comes from the store is escaped.
"""

from __future__ import annotations

import html
import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from multiview import __version__
from multiview.config import Study, all_fields, get, meaning
from multiview.figures.dynamics import clock_steps, winner_and_loser
from multiview.figures.ensemble import errors_by_size
from multiview.figures.errors import measured_errors
from multiview.figures.inline import inline_svg
from multiview.figures.kinds import KINDS, make_figure
from multiview.figures.lottery import leads
from multiview.figures.memorisation import fitted_step
from multiview.figures.mosaic import who_learned_what
from multiview.figures.page import content_security_policy
from multiview.figures.stored import Results, group_of, name_of, steps_of, study_of, values_of
from multiview.figures.style import short
from multiview.figures.sweeps import axes_of, axis_label, design_of
from multiview.parameters import ConfigError
from multiview.presets import load_preset, preset_names
from multiview.stores.tables import DEFAULT_MEASURES, as_words, summarise
from multiview.theory import check_regime

_HERE = Path(__file__).parent
MOST_ROWS = 200  # of the table of a sweep
MOST_NETWORKS, MOST_NUMBERS = 8, 40_000  # of the race that a reader chooses from

Claims = Sequence[Mapping[str, Any]]


def _safe(value: object) -> str:
    return html.escape(str(value), quote=True)


def _digits(value: float) -> str:
    """A number as it is read: no exponent where it is not needed."""
    return "∞" if value == math.inf else f"{value:.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.4g}"


def _interval(ends: Sequence[float]) -> str:
    low, high = ends
    return short(low) if low == high else f"{short(low)} … {short(high)}"


def _table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
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


def _section(name: str, heading: str, body: str) -> str:
    return (
        f'<section id="{name}" aria-labelledby="{name}-heading"><h2 id="{name}-heading">{heading}</h2>{body}</section>'
    )


def _value(value: Any) -> str:
    """A value of a parameter as the command line takes it."""
    return ",".join(map(repr, value)) if isinstance(value, tuple) else value if isinstance(value, str) else repr(value)


def command_of(results: Results) -> str:
    """The command that computes this store again, from the preset that it started from.

    Raises:
        ConfigError: the store's configuration or design is damaged.
    """
    study = study_of(results)
    preset = study.preset if study.preset in preset_names() else "reference"
    base = load_preset(preset)
    changed = {n: get(study, n) for n in all_fields() if n != "preset" and get(study, n) != get(base, n)}
    flags = [f"--{name.replace('_', '-')}={_value(value)}" for name, value in changed.items()]
    words = ["multiview", "train", "--preset", preset, *flags]
    if isinstance(results, xr.Dataset):
        words[1] = "sweep"
        design = design_of(results)
        over: list[list[str]] = []
        zips: list[list[str]] = []
        for factor in design["factors"]:
            fields, rows = list(factor["fields"]), list(factor["rows"])
            axes = [f"{field}={','.join(_axis_word(row[i]) for row in rows)}" for i, field in enumerate(fields)]
            (over if len(axes) == 1 else zips).append(axes)
        words += ["--over", *(axis for axes in over for axis in axes)] if over else []
        for axes in zips:
            words += ["--zip", *axes]
        words += ["--with-students"] if design["students"] else []
    elif len(results.children) == 1:
        words.append("--no-distillation")
    return " ".join(shlex.quote(str(word)) for word in [*words, "--out", "again.zarr"])


def _axis_word(value: Any) -> str:
    return f"[{','.join(map(repr, value))}]" if isinstance(value, list | tuple) else _value(value)


def _describe_dynamics(results: xr.DataTree) -> str:
    _, pairs = winner_and_loser(results)
    if not len(pairs):
        return "No network stayed finite."
    first, last = np.median(pairs[:, 0], 0), np.median(pairs[:, -1], 0)
    loser = f"; the losing view goes from {first[1]:.2g} to {last[1]:.2g}" if pairs.shape[-1] > 1 else ""
    return (
        f"In the median over classes and networks the winning view grows from {first[0]:.2g} to {last[0]:.2g}{loser}."
    )


def _describe_mosaic(results: xr.DataTree) -> str:
    shares = {name: np.nanmean(values) for name, values in who_learned_what(results).items()}
    return "Share of views learned: " + ", ".join(f"{name_of(n)} {share:.0%}" for n, share in shares.items()) + "."


def _describe_lottery(results: xr.DataTree) -> str:
    found = leads(results)
    right, wrong = int(found.right.sum()), int(found.wrong.sum())
    return f"The view that leads at the start wins {right} of {right + wrong} clear races of {len(found.start)} in all."


def _describe_errors(results: xr.DataTree) -> str:
    return "Test error in units of μ: " + ", ".join(
        f"{name_of(m.name)} {short(m.mean)} (paper {short(m.paper)})" for m in measured_errors(results)
    ) + "."  # fmt: skip


def _describe_ensemble(results: xr.DataTree) -> str:
    means = [f"{size} {short(float(errors.mean()))}" for size, (errors, _) in errors_by_size(results).items()]
    return "Mean test error in units of μ by size: " + ", ".join(means) + "."


def _describe_memorisation(results: xr.DataTree) -> str:
    step, clock = fitted_step(results), clock_steps(study_of(results)).get("memorised")
    first = f"reaches training error 0 by step {step:.0f}" if np.isfinite(step) else "never reaches training error 0"
    return f"The median network {first}" + (f"; the theory's clock says {clock:.0f}." if clock else ".")


def _describe_dark_knowledge(results: xr.DataTree) -> str:
    right = float(np.nanmean(results.to_dataset()["dark_knowledge"].values))
    return f"The ensemble's outputs order {right:.1%} of pairs of samples with and without a trace right."


_DESCRIBE = {
    "dynamics": _describe_dynamics,
    "mosaic": _describe_mosaic,
    "lottery": _describe_lottery,
    "errors": _describe_errors,
    "ensemble": _describe_ensemble,
    "memorisation": _describe_memorisation,
    "dark-knowledge": _describe_dark_knowledge,
}


def _figures(results: Results) -> str:
    """Every figure that the store has data for, and which others say why not."""
    of = "sweep" if isinstance(results, xr.Dataset) else "study"
    shown, missing = [], []
    for kind, about in KINDS.items():
        if about.store != of:
            continue
        try:
            words = (
                _DESCRIBE[kind](results) if isinstance(results, xr.DataTree) else "Its numbers are in the table above."
            )
            label = about.text[0].upper() + about.text[1:]
            drawn = inline_svg(make_figure(results, kind), kind, label, words)
            shown.append(f"<figure>{drawn}<figcaption>{_safe(label)}. {_safe(words)}</figcaption></figure>")
        except ConfigError as error:
            reason = str(error).removeprefix(f"--kind {kind}: ")
            missing.append(f"<li>{_safe(kind)}: {_safe(reason)}</li>")
    left_out = f'<p class="quiet">Not drawn:</p><ul class="quiet">{"".join(missing)}</ul>' if missing else ""
    return f'<div class="figures">{"".join(shown)}</div>{left_out}'


def _race(results: Results) -> tuple[str, str]:
    """The race of views that a reader chooses, and its script; nothing for stores without overlaps."""
    try:
        data = group_of(results, "single", ("largest_overlap", "step", "finite"))
    except ConfigError:
        return "", ""
    overlap = values_of(data.isel(replicate=[0]), "largest_overlap", "replicate", "seed", "class", "view", "time")[0]
    numbers = int(np.prod(overlap.shape[1:]))
    overlap = overlap[: max(1, min(MOST_NETWORKS, MOST_NUMBERS // max(numbers, 1)))]
    step = steps_of(data)
    if not np.isfinite(overlap).all() or not (overlap > 0).any() or len(step) < 2:
        return "", ""
    low = max(float(overlap[overlap > 0].min()), float(overlap.max()) * 1e-6)
    rounded = [
        [[[float(f"{v:.4g}") for v in line] for line in views] for views in classes] for classes in overlap.tolist()
    ]
    told = {"step": step.tolist(), "low": 0.7 * low, "high": 1.5 * float(overlap.max()), "overlap": rounded}
    text = json.dumps(told, separators=(",", ":")).replace("<", "\\u003c")

    def choice(id: str, word: str, count: int) -> str:
        options = "".join(f'<option value="{i}">{i + 1}</option>' for i in range(count))
        return f'<label>{word} <select id="{id}">{options}</select></label>'

    body = (
        "<p>Choose a class and a network of the first training set. Each starts with small overlaps; the view that "
        "leads takes off first, and its success takes the gradient away from the other.</p>"
        f'<div class="choices">{choice("race-network", "Network", len(overlap))}'
        f"{choice('race-class', 'Class', overlap.shape[1])}</div>"
        '<svg id="race" viewBox="0 0 640 300" role="img" aria-label="Overlap with each view over time"></svg>'
        '<p id="race-summary" role="status"></p><noscript><p>This figure needs JavaScript.</p></noscript>'
        f'<script type="application/json" id="race-data">{text}</script>'
    )
    return _section("race-section", "One race", body), (_HERE / "report.js").read_text(encoding="utf-8")


def _verdict(word: str) -> str:
    return f'<span class="{word if word in ("holds", "fails", "undecided") else "quiet"}">{_safe(word)}</span>'


def _claims(claims: Claims, reason: str) -> str:
    if not claims:
        return f"<p>Not judged: {_safe(reason)}.</p>"
    words = [str(c["verdict"]) for c in claims]
    counted = ", ".join(f"{words.count(w)} × {w}" for w in ("holds", "fails", "undecided") if w in words)
    rows = [
        (
            f'{_safe(c["statement"])}<br><span class="quiet">{_safe(c["unit"])}</span>', _verdict(str(c["verdict"])),
            short(c["measured"]), _interval(c["interval"]), _interval(c["predicted"]), _interval(c["paper"]),
        )
        for c in claims
    ]  # fmt: skip
    header = ("Claim", "Verdict", "Measured", "95 % interval", "Predicted", "Paper")
    notes = "".join(f"<li>{_safe(c['statement'])}: {_safe(c['note'])}</li>" for c in claims if c.get("note"))
    return (
        f"<p>Verdicts: {counted}. The prediction is for this size, from the configuration alone; it judges. The "
        "paper's figures are for ever more classes; they judge nothing.</p>"
        + _table("Claims of the theory", header, rows)
        + (f'<ul class="quiet">{notes}</ul>' if notes else "")
    )


def _errors(results: xr.DataTree) -> str:
    try:
        found = measured_errors(results)
    except ConfigError as error:
        return f"<p>{_safe(error)}</p>"
    rows = [
        (
            name_of(m.name), str(m.networks.size), short(m.mean), _interval(m.interval), short(m.paper),
            f"{m.e_multi_view:.4g}", f"{m.e_single_view:.4g}",
        )
        for m in found
    ]  # fmt: skip
    header = ("Kind", "Runs", "Error (μ)", "95 % interval", "Paper", "On multi-view data", "On single-view data")
    return _table("Test errors in units of μ", header, [tuple(map(_safe, row)) for row in rows])


def _sweep_table(results: xr.Dataset) -> str:
    measures = [m for m in DEFAULT_MEASURES if m in results]
    header, rows = as_words(summarise(results, measures))
    more = f"<p>Here are the first {MOST_ROWS} of {len(rows)} rows; multiview table prints all.</p>"
    axes = axes_of(results)
    words = [axis_label(results, name) if name in axes else name.replace("_", " ") for name in header]
    return _table(
        "Means with 95 % intervals", [_safe(w) for w in words], [[_safe(c) for c in r] for r in rows[:MOST_ROWS]]
    ) + (more if len(rows) > MOST_ROWS else "")


def _regime(study: Study) -> str:
    conditions = check_regime(study)
    failing = sum(not c.holds for c in conditions)
    rows = [
        (
            f'{_safe(c.name)}<br><span class="quiet">{_safe(c.statement)}</span>',
            _verdict("holds" if c.holds else "fails"),
            _digits(c.left),
            _digits(c.right),
        )
        for c in conditions
    ]
    clocks = [(_safe(name), _digits(step)) for name, step in clock_steps(study).items()]
    summary = (
        "All conditions hold."
        if not failing
        else f"{failing} of {len(conditions)} conditions fail: where they do, the theory does not speak."
    )
    header = ("Condition", "Verdict", "Left", "Right")
    return (
        f"<p>{summary}</p>" + _table("Conditions of the theory, left side below right side", header, rows)
        + "<h3>Clocks</h3>" + _table("Times of the theory in steps", ("Event", "Step"), clocks)
    )  # fmt: skip


def _configuration(study: Study) -> str:
    known = study.preset in preset_names()
    base = load_preset(study.preset) if known else Study()
    names = [n for n in all_fields() if n != "preset"]
    changed = [n for n in names if get(study, n) != get(base, n)]

    def rows(chosen: Sequence[str]) -> list[Sequence[str]]:
        return [(f"<code>{n}</code>", _safe(_value(get(study, n))), _safe(meaning(n))) for n in chosen]

    origin = f"the preset {_safe(study.preset)}" if known else "the defaults"
    first = f"<p>{len(changed)} parameters differ from {origin}.</p>"
    header = ("Parameter", "Value", "Meaning")
    if changed:
        first += _table("Changed parameters", header, rows(changed))
    return (
        first
        + "<details><summary>All parameters</summary>"
        + _table("All parameters", header, rows(names))
        + "</details>"
    )


def _versions(results: Results) -> str:
    try:
        versions = {str(n): str(v) for n, v in json.loads(results.attrs["versions"]).items()}
    except (KeyError, ValueError, AttributeError, TypeError):
        versions = {}
    told = list(versions.items())
    told += [(name, str(results.attrs.get(key, ""))) for name, key in (("commit", "git_commit"), ("device", "device"))]
    told.append(("report made by", f"multiview {__version__}"))
    return _table(
        "What the numbers were computed with", ("What", "Version"), [(_safe(n), _safe(v)) for n, v in told if v]
    )


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
    race, script = _race(results)
    if isinstance(results, xr.Dataset):
        state = results["done"].values
        kind = f"Sweep of {int((state >= 0).sum())} blocks: {(state == 1).sum()} done, {(state == 2).sum()} failed, {(state == 0).sum()} not computed"  # noqa: E501
        sections = [("numbers", "Results", _sweep_table(results))]
    else:
        kind = f"Study of {study.replicates} training sets × {study.seeds} networks"
        sections = [("claims", "Claims", _claims(claims, reason)), ("numbers", "Test errors", _errors(results))]
    regime_of = "Of the study that the sweep starts from." if sweep else ""
    command = command_of(results)
    sections += [
        ("figures", "Figures", _figures(results)),
        ("regime", "Regime check", f"<p>{regime_of}</p>{_regime(study)}" if regime_of else _regime(study)),
        ("configuration", "Configuration", _configuration(study)),
        ("reproduce", "Reproduce",
         f"<p>One command computes this store again:</p><pre><code>{_safe(command)}</code></pre>"
         '<p class="quiet">Equality bit by bit holds on one platform and version. Files that were given with --data or '
         "--teacher have to be given again.</p>"),
        ("versions", "Versions", _versions(results)),
    ]  # fmt: skip
    parts = {id: _section(id, heading, body) for id, heading, body in sections}
    parts["figures"] += race
    links = "".join(f'<li><a href="#{id}">{heading}</a></li>' for id, heading, _ in sections)
    css = (_HERE / "report.css").read_text(encoding="utf-8")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{content_security_policy(css, script)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_safe(name)} · multiview report</title>
<style>{css}</style>
</head>
<body>
<header>
<h1>{_safe(name)}</h1>
<p>{kind}; preset {_safe(study.preset)}, run {_safe(results.attrs.get("run_id", ""))}.</p>
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

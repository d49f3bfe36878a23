"""The report: self-contained, escaped, judged like the study itself, and reproduced by the command that it names."""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import html.parser
import json
import re
import shlex
import shutil
import sys
import types
from pathlib import Path

import pytest
from stores import rewritten

from multiview.commands import figures
from multiview.commands.common import study_from_flags
from multiview.commands.main import _parser, main
from multiview.config import replace, to_mapping
from multiview.figures import report
from multiview.figures.reproduce import command_of
from multiview.figures.stored import study_of
from multiview.stores.store import open_results
from multiview.sweeps.design import make_design
from multiview.verdicts.prediction import predict_study

FEW_STUDIES = functools.partial(predict_study, num_studies=4)  # a rougher prediction, in a tenth of the time
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


class Reader(html.parser.HTMLParser):
    """Collects tags, their attributes and text outside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.words, self.inside = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside not in ("script", "style"):
            self.words.append(data)


@pytest.fixture(scope="module")
def pages(study_store, sweep_store, tmp_path_factory) -> dict[str, str]:
    """The reports of a study and of a sweep, as the command writes them."""
    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("multiview.verdicts.prediction.predict_study", FEW_STUDIES)
        for name, store in (("study", study_store), ("sweep", sweep_store)):
            assert main(["report", str(store), "--out", str(folder / f"{name}.html")]) == 0
    return {path.stem: path.read_text(encoding="utf-8") for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["study", "sweep"])
def test_the_page_asks_nobody_and_allows_only_itself(pages, name):
    text = pages[name]
    read = Reader(text)
    (policy,) = [a["content"] for t, a in read.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    allowed = set(re.findall(r"'sha256-[^']+'", policy))
    inline = re.findall(r"<(?:style|script)>(.*?)</(?:style|script)>", text, re.DOTALL)
    assert allowed == {
        "'sha256-" + base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() + "'" for part in inline
    }
    assert not [a for _, a in read.tags if "style" in a or any(key.startswith("on") for key in a)]
    asked = [v for _, a in read.tags for k, v in a.items() if k in ("src", "href", "xlink:href", "action", "data")]
    assert all(v.startswith("#") for v in asked)
    assert not {t for t, _ in read.tags} & {"link", "iframe", "object", "embed", "img", "image", "form"}


@pytest.mark.parametrize("name", ["study", "sweep"])
def test_the_page_is_whole(pages, name):
    read = Reader(pages[name])
    ids = [a["id"] for _, a in read.tags if "id" in a]
    assert len(ids) == len(set(ids))
    for _, attributes in read.tags:
        for key in ("href", "xlink:href"):
            if attributes.get(key, "").startswith("#"):
                assert attributes[key][1:] in ids
        for match in re.findall(r"url\(#([^)]+)\)", " ".join(filter(None, attributes.values()))):
            assert match in ids
        for word in (attributes.get("aria-labelledby") or "").split():
            assert word in ids
    headings = [t for t, _ in read.tags if re.fullmatch(r"h\d", t)]
    assert headings[0] == "h1"
    assert headings.count("h1") == 1
    figures = 7 if name == "study" else 2
    assert sum(t == "figure" for t, _ in read.tags) == figures
    assert "Not drawn" not in pages[name]


def test_the_claims_are_those_of_the_study(pages, study_store):
    from multiview.stores.labelled import from_datatree
    from multiview.verdicts.claims import check_claims

    result = from_datatree(open_results(study_store))
    for claim in check_claims(result, FEW_STUDIES(result.study)):
        row = re.search(
            rf'<th scope="row">{re.escape(html.escape(claim.statement))}<br>.*?</tr>', pages["study"], re.DOTALL
        )
        assert row, claim.id
        assert f">{claim.verdict}<" in row[0]
    assert "All parameters" in pages["study"]
    assert all(c in pages["study"] for c in ("small start", "views learned", "jax", "0.1.0"))


def test_a_sweep_is_a_table_and_its_curve(pages, sweep_store):
    rows = re.findall(r"<tr><th scope=\"row\">\d+</th>", pages["sweep"])
    assert len(rows) == 6
    assert "12 blocks: 12 done" in pages["sweep"]
    assert "data.weak_view_strength" in pages["sweep"]


def test_the_command_computes_the_same_study_again(study_store, sweep_store, tiny):
    words = shlex.split(command_of(open_results(study_store)))
    assert words[:2] == ["multiview", "train"]
    parsed = study_from_flags(_parser().parse_args(words[1:]))
    assert replace(parsed, {"preset": tiny.preset}) == tiny

    sweep = open_results(sweep_store)
    words = shlex.split(command_of(sweep))
    arguments = _parser().parse_args(words[1:])
    assert study_from_flags(arguments) == study_of(sweep)
    design = make_design(arguments.over, arguments.zip)
    assert json.loads(json.dumps(design.to_mapping())) == {
        key: value for key, value in json.loads(sweep.attrs["sweep"]).items() if key != "students"
    }


def test_lists_random_points_and_axes_that_run_together_come_back(sweep_store):
    sweep = open_results(sweep_store)
    design = make_design(["data.label_strength=[1,1.5],[1,2]"], [["train.learning_rate=4,8", "train.num_steps=40,20"]])
    sweep.attrs["sweep"] = json.dumps(design.to_mapping() | {"students": True})
    arguments = _parser().parse_args(shlex.split(command_of(sweep))[1:])
    assert make_design(arguments.over, arguments.zip) == design
    assert arguments.with_students


@pytest.mark.parametrize("kind", [pytest.param("study", marks=pytest.mark.slow), "sweep"])
def test_hostile_words_in_a_store_stay_words(kind, study_store, sweep_store, empty, monkeypatch):
    monkeypatch.setattr(figures, "_judged", lambda results: ([], HOSTILE))
    source = study_store if kind == "study" else sweep_store
    name = "<b>&.zarr"
    shutil.copytree(source, name)
    file = Path(name) / "zarr.json"
    whole = json.loads(file.read_text(encoding="utf-8"))
    attributes = whole["attributes"]
    config = json.loads(attributes["config"])
    config["preset"] = HOSTILE
    attributes |= {"config": json.dumps(config), "run_id": HOSTILE, "device": HOSTILE, "git_commit": HOSTILE}
    attributes["versions"] = json.dumps({HOSTILE: HOSTILE})
    file.write_text(json.dumps(whole), encoding="utf-8")
    if kind == "sweep":
        rewritten(Path(name) / "weak_view_strength", "data.weak_view_strength", "<i>$\\\\frac</i>")
        rewritten(Path(name) / "test_error", '"unit": "\\u03bc"', '"unit": "<u>$x"')
    assert main(["report", name, "--out", "a.html"]) == 0
    text = Path("a.html").read_text(encoding="utf-8")
    read = Reader(text)
    assert not {t for t, _ in read.tags} & {"img", "b", "i", "u"}
    assert not [a for _, a in read.tags if "onerror" in a]
    scripts = [t for t, a in read.tags if t == "script" and a.get("type") != "application/json"]
    assert len(scripts) == (1 if kind == "study" else 0)
    assert "alert(1)" in "".join(read.words)
    assert HOSTILE not in text


def test_the_numbers_of_the_race_are_those_of_the_store(pages, study_store, tiny):
    text = re.search(r'<script type="application/json" id="race-data">(.*?)</script>', pages["study"])[1]
    race = json.loads(text)
    stored = open_results(study_store)["single"]["largest_overlap"].values[0]
    assert len(race["overlap"]) == tiny.seeds
    assert race["overlap"][3][2][1] == pytest.approx(stored[3, :, 2, 1].tolist(), rel=1e-3)
    assert to_mapping(tiny)  # the study is unchanged


def test_a_new_kind_of_figure_reaches_the_report_by_its_row_and_its_module(study_store, monkeypatch):
    """A kind that describes nothing is shown with its label alone."""
    from multiview.figures.kinds import KINDS, FigureKind

    module = types.ModuleType("multiview.figures.brand_new")
    module.plot_brand_new = lambda results, ax: ax.plot([0, 1], [0, 1])
    monkeypatch.setitem(sys.modules, "multiview.figures.brand_new", module)
    monkeypatch.setattr("multiview.figures.report.KINDS", {"brand-new": FigureKind("study", 1.0, "a line")})
    monkeypatch.setattr("multiview.figures.kinds.KINDS", KINDS | {"brand-new": FigureKind("study", 1.0, "a line")})
    assert "<figcaption>A line.</figcaption>" in report.page(open_results(study_store), "store")

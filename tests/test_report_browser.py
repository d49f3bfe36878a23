"""The report in headless Chromium: no outside request, no console error, accessibility, phone width, a race."""

from __future__ import annotations

import json
import shutil

import pytest
from conftest import BROWSER, DESKTOP, PHONE, serious_violations
from test_report import FEW_STUDIES

from multiview.commands.main import main

pytestmark = BROWSER


@pytest.fixture(scope="module")
def pages(study_store, sweep_store, tmp_path_factory):
    """Files of the reports of a study, of the same with hostile words, and of a sweep."""
    folder = tmp_path_factory.mktemp("reports")
    stores = {"study": study_store, "sweep": sweep_store, "hostile": folder / "hostile.zarr"}
    shutil.copytree(stores["study"], stores["hostile"])
    file = stores["hostile"] / "zarr.json"
    whole = json.loads(file.read_text(encoding="utf-8"))
    for key in ("run_id", "device"):
        whole["attributes"][key] = "<img src=https://example.org/x onerror=alert(1)><script>alert(2)</script>"
    file.write_text(json.dumps(whole), encoding="utf-8")
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("multiview.verdicts.prediction.predict_study", FEW_STUDIES)
        for name, store in stores.items():
            found[name] = folder / f"{name}.html"
            assert main(["report", str(store), "--out", str(found[name])]) == 0
    return found


@pytest.fixture
def visit(open_page, pages):
    """Opens a report."""
    return lambda name, **options: open_page(pages[name].as_uri(), **options)


@pytest.mark.parametrize(
    ("name", "scheme", "viewport"),
    [("study", "light", PHONE), ("study", "dark", DESKTOP), ("sweep", "light", DESKTOP)],
    ids=["study on a phone", "study in the dark", "sweep"],
)
def test_no_serious_accessibility_violation(visit, name, scheme, viewport):
    page = visit(name, color_scheme=scheme, viewport=viewport, bypass_csp=True)
    assert not serious_violations(page)


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE, {"width": 320, "height": 640}], ids=lambda v: str(v["width"]))
def test_nothing_is_wider_than_the_screen(visit, viewport):
    for name in ("study", "sweep", "hostile"):
        page = visit(name, viewport=viewport)
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


def test_hostile_words_do_nothing_but_be_read(visit):
    page = visit("hostile")  # the fixture fails on any request, dialog or message of the policy
    page.wait_for_timeout(100)
    assert page.locator("img").count() == 0
    assert "onerror=alert(1)" in page.locator("header").inner_text()


def test_a_reader_chooses_a_race_and_figures_are_drawn_as_they_were(visit):
    page = visit("study")  # with its policy in force
    first = page.locator("#race-summary").inner_text()
    assert first.startswith("Network 1, class 1: view ")
    page.select_option("#race-network", label="3")
    page.select_option("#race-class", label="4")
    assert page.locator("#race-summary").inner_text().startswith("Network 3, class 4: view ")
    assert page.locator("#race path.view").count() == 2
    # A style attribute that the policy drops would leave everything black: strokes are attributes and arrive.
    strokes = page.evaluate("[...document.querySelectorAll('figure svg path')].map((p) => getComputedStyle(p).stroke)")
    assert len(set(strokes)) > 3
    page.click("summary")
    assert page.locator("text=network.relu_power").first.is_visible()

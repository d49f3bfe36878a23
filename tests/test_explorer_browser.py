"""The explorer in headless Chromium: every control, the tour, no outside request, no console error, accessibility."""

from __future__ import annotations

import pytest
from conftest import BROWSER, DESKTOP, PHONE, serious_violations

from multiview.web import explorer

pytestmark = BROWSER


@pytest.fixture
def visit(open_page):
    """Opens the page at an address; `quick` asks for reduced motion, so that training is done at once."""

    def visit(hash="", *, quick=True, **options):
        motion = {"reduced_motion": "reduce" if quick else "no-preference"}
        return open_page(explorer.page_path().as_uri() + hash, **{**motion, **options})

    return visit


def finish(page, seconds=60):
    """Wait until nothing is being trained. (The page's policy forbids Playwright's own waiting, which uses eval.)"""
    for _ in range(seconds * 10):
        if page.locator("#pause").is_disabled():
            return
        page.wait_for_timeout(100)
    raise AssertionError("still training")


def errors(page) -> dict[str, str]:
    """The table of errors, by who."""
    rows = page.locator("#errors-body tr").all()
    return {row.locator("th").inner_text(): row.locator("td").first.inner_text() for row in rows}


def test_every_button_does_what_it_says(visit):
    page = visit()
    assert "nothing trained" in page.locator("#race-who").inner_text()
    page.click("#train")
    finish(page)
    assert "Training error 0.00 μ" in page.locator("#status").inner_text()
    first = page.locator("#mosaic-body").inner_text()
    page.click("#new-seed")
    finish(page)
    assert "network 2" in page.locator("#race-who").inner_text()
    assert page.locator("#mosaic-body").inner_text() != first
    for button, who in (
        ("#seeds", "mean of 8 trained networks"),
        ("#ensemble", "ensemble of 8"),
        ("#distil", "4 students of the ensemble"),
        ("#self", "4 students of one network"),
        ("#average", "8 networks as one model"),
    ):
        assert errors(page).get(who, "–") == "–"
        page.click(button)
        finish(page)
        assert 0 <= float(errors(page)[who]) < 1, who
        assert " μ" in page.locator("#status").inner_text()
    # The theory's order of things, at the settings that the page opens with.
    e = {who: float(value) for who, value in errors(page).items()}
    assert e["ensemble of 8"] < 0.15 < 0.25 < e["mean of 8 trained networks"] < 0.5
    assert e["4 students of the ensemble"] < e["4 students of one network"] < e["4 students, labels alone"]
    page.click("#new-data")
    assert errors(page)["ensemble of 8"] == "–"
    assert "seed=1" in page.url
    page.click("#reset")
    assert page.url.endswith("#")


def test_every_slider_changes_the_world_and_the_address(visit):
    page = visit()
    for slider in page.locator("#sliders input").all():
        name = slider.get_attribute("id").removeprefix("slider-")
        before = page.locator(f"#value-{name}").inner_text()
        slider.focus()
        slider.press("ArrowLeft")
        after = page.locator(f"#value-{name}").inner_text()
        assert float(after) < float(before), name
        assert f"{name}={after}" in page.url
        assert slider.get_attribute("aria-valuetext") == after
    assert page.locator("#race-legend .key").count() == 1  # the last but one was the number of views
    page.click("#train")
    finish(page)
    assert "Training error" in page.locator("#status").inner_text()


def test_samples_themes_and_link(visit):
    page = visit("#do=single")
    finish(page)
    rows = page.locator("#samples-body tr")
    assert rows.count() == 7
    before = page.locator("#samples-body").inner_text()
    page.click("#others")
    assert page.locator("#samples-body").inner_text() != before
    page.select_option("#which", "train")
    # Training error 0: every training sample is answered right, single-view ones from memory.
    assert page.locator("#samples-body .right").count() == 7
    colours = []
    for theme in ("light", "dark"):
        page.select_option("#theme", theme)
        colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert colours[0] != colours[1]
    page.click("#link")
    # The clipboard answers when it likes, with a yes or a no; the page says which.
    page.wait_for_function("document.getElementById('linked').textContent !== ''")


def test_the_tour_by_keyboard_alone(visit):
    page = visit()
    page.focus("#lesson-begin")
    page.keyboard.press("Enter")
    for number in range(1, 9):
        assert page.locator("#lesson-number").inner_text() == f"Screen {number} of 8"
        assert page.evaluate("document.activeElement.id") == "lesson-title"
        assert page.locator(".panel.look").count() == 1
        assert page.locator("#lesson-reveal").is_disabled()  # no reveal without a prediction
        page.focus("#option-0")
        page.keyboard.press("Space")
        page.focus("#lesson-reveal")
        page.keyboard.press("Enter")
        finish(page)
        answer = page.locator("#lesson-answer").inner_text()
        assert "The theory says" in answer or "what the theory says" in answer
        assert "–" not in answer.partition("\n")[2], answer  # every number in it was measured
        assert f"screen={number}" in page.url
        page.focus("#lesson-next")
        page.keyboard.press("Enter")
    assert page.locator("#lesson-start").is_visible()
    page.click("#lesson-begin")
    page.click("#lesson-next")
    page.click("#lesson-back")
    assert page.locator("#lesson-number").inner_text() == "Screen 1 of 8"
    page.click("#lesson-end")
    assert page.locator("#lesson-start").is_visible()


def test_an_address_leads_to_a_moment(visit):
    page = visit("#seed=5&net=2&do=single&at=300&q=4&s0=0.01&screen=3")
    finish(page)
    assert "Λ at step 300" in page.locator("#race-summary").inner_text()
    assert page.locator("#lesson-number").inner_text() == "Screen 3 of 8"
    assert page.locator("#notice").is_hidden()
    there = page.locator("#race-summary").inner_text()
    again = visit(page.url[page.url.index("#") :])
    finish(again)
    assert again.locator("#race-summary").inner_text() == there


def test_a_broken_address_falls_back_and_says_so(visit):
    page = visit("#q=banana&do=<img src=x onerror=alert(1)>&seed=4")
    assert page.locator("#notice").is_visible()
    assert "q=banana" in page.locator("#notice").inner_text()
    assert page.locator("#notice img").count() == 0
    assert page.locator("#value-q").inner_text() == "3"
    assert "seed=4" in page.url


def test_frames_pause_and_the_moment_of_a_pause(visit):
    """At least 20 frames a second with several steps in each, while one network trains."""
    page = visit(quick=False)
    page.click("#train")
    page.wait_for_timeout(900)
    page.click("#pause")
    assert page.locator("#pause").inner_text() == "Resume"
    words = page.locator("#status").inner_text()
    assert words.startswith("Paused at step ")
    assert f"at={words.removeprefix('Paused at step ').rstrip('.')}" in page.url
    page.click("#pause")
    finish(page)
    page.select_option("#speed", "0")
    page.click("#seeds")
    finish(page)
    assert float(page.evaluate("document.documentElement.dataset.frames")) >= 20


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("hash", ["", "#screen=7&do=distil", "#q=banana&views=3"])
def test_no_serious_accessibility_violation(visit, scheme, hash):
    for viewport in (DESKTOP, PHONE):
        page = visit(hash, color_scheme=scheme, viewport=viewport, bypass_csp=True)
        finish(page)
        assert not serious_violations(page)


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE, {"width": 320, "height": 640}])
def test_nothing_is_wider_than_the_screen(visit, viewport):
    page = visit("#screen=4&do=ensemble", viewport=viewport)
    finish(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    # Targets are large enough for a finger.
    for button in page.locator("button:visible").all():
        if button.get_attribute("class") != "link":
            assert button.bounding_box()["height"] >= 32

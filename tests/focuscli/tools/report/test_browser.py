"""The page in a real browser: it requests nothing, fits a phone, and its slider works."""

from __future__ import annotations

import pytest

from focuscli.data.folder import read_folder
from focuscli.evaluation.closed_set import evaluate
from focuscli.inference.recognizer import Recognizer
from focuscli.tools.report.page import render_page

READOUT = ("threshold", "precision", "recall", "mA", "F1")


@pytest.fixture(scope="module")
def page(collected, small_run, tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(render_page(collected(small_run)), encoding="utf-8")
    return file


def shown(browser, name):
    return browser.evaluate(f"document.querySelector('[data-out={name}]').textContent")


def lines(browser):
    return [
        browser.evaluate(f"document.querySelector('.threshold .{name} path').getAttribute('d')")
        for name in ("precision", "recall", "mA")
    ]


def test_the_slider_is_clicked_and_the_numbers_follow(browser, page):
    browser.open(page)
    assert browser.problems == []
    before = [shown(browser, name) for name in READOUT]
    cursor = browser.evaluate("document.querySelector('.cursor path').getAttribute('d')")
    browser.click("input[type=range]", at=0.97)
    low = float(shown(browser, "recall"))
    assert browser.evaluate("document.querySelector('.cursor path').getAttribute('d')") != cursor
    assert "optimistic" in shown(browser, "source")
    browser.click("input[type=range]", at=0.03)
    assert float(shown(browser, "recall")) > low
    at = float(shown(browser, "threshold").replace("−", "-"))
    browser.press("ArrowRight")
    assert float(shown(browser, "threshold").replace("−", "-")) > at
    browser.click(".jumps button")
    assert [shown(browser, name) for name in READOUT] == before
    assert shown(browser, "source").startswith("global: one value")
    assert browser.problems == []


def test_the_script_draws_the_lines_where_matplotlib_drew_them(browser, page):
    browser.open(page, scripts=False)
    boxes = "['precision', 'recall', 'mA', 'cursor'].map(n => {const b = document.querySelector('.threshold .' + n)"
    boxes += ".getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]}).flat()"
    drawn = browser.evaluate(boxes)
    browser.open(page)
    # The controls push the chart down, by the same amount for all of it.
    scripted = browser.evaluate(boxes)
    assert scripted[0::2] == pytest.approx(drawn[0::2], abs=1)
    shift = scripted[1] - drawn[1]
    assert scripted[1::2] == pytest.approx([y + shift for y in drawn[1::2]], abs=1)


@pytest.mark.parametrize("mode", ["val", "global", "oracle"])
def test_an_attribute_at_each_mark_shows_the_metrics_of_evaluate(browser, page, small_run, noisy_dataset, mode):
    report = evaluate(
        Recognizer.from_checkpoint(small_run, device="cpu"), read_folder(noisy_dataset), "test", threshold=mode
    )
    browser.open(page)
    common = lines(browser)
    for index, row in enumerate(report.attributes, start=1):
        browser.evaluate(
            f"{{ const s = document.querySelector('.threshold select'); s.value = {index}; "
            "s.dispatchEvent(new Event('change')); }"
        )
        assert lines(browser) != common
        labels = browser.evaluate("[...document.querySelectorAll('.jumps button')].map(b => b.textContent)")
        browser.click(".jumps button", index=next(n for n, label in enumerate(labels) if label.startswith(mode)))
        assert report.threshold_source in shown(browser, "source")
        for name, value in (("mA", row.mA), ("recall", row.recall), ("precision", row.precision), ("F1", row.f1)):
            assert shown(browser, name) == f"{100 * value:.2f}"


def test_nothing_but_the_file_is_requested(browser, page):
    browser.open(page)
    assert [url for url in browser.requests if not url.startswith("data:")] == [page.resolve().as_uri()]


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize(("width", "dark"), [(1200, False), (1200, True), (360, False)])
def test_it_is_readable_at_every_width_light_and_dark_with_and_without_scripts(browser, page, scripts, width, dark):
    browser.open(page, scripts=scripts, width=width, dark=dark)
    assert browser.problems == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert all(len(path) > 100 for path in lines(browser))
    # The controls appear only where they work.
    assert browser.evaluate("document.querySelector('.controls').hidden") is not scripts
    assert shown(browser, "threshold") != ""
    ground, ink, label, line = browser.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color, "
        "getComputedStyle(document.querySelector('svg text')).fill, "
        "getComputedStyle(document.querySelector('.threshold .recall path')).stroke]"
    )
    lightness = [sum(map(int, colour[4:-1].split(","))) for colour in (ground, ink, label, line)]
    assert (lightness[0] < lightness[1]) is dark
    assert abs(lightness[0] - lightness[1]) > 450
    assert all(abs(lightness[0] - value) > 250 for value in lightness[2:])

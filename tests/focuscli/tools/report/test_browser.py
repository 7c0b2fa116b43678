"""The page in a real browser: it asks nobody, fits a telephone, and its slider moves."""

from __future__ import annotations

import contextlib

import pytest

from focuscli.data.folder import read_folder
from focuscli.evaluation.closed_set import evaluate
from focuscli.inference.recognizer import Recognizer
from focuscli.tools.report.collect import Options, collect
from focuscli.tools.report.page import render_page


@contextlib.contextmanager
def silent(_label):
    yield lambda done, total: None


@pytest.fixture(scope="module")
def page(small_run, tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(render_page(collect([str(small_run)], Options(device="cpu"), silent)), encoding="utf-8")
    return file


def shown(browser, name):
    return browser.evaluate(f"document.querySelector('[data-out={name}]').textContent")


def drawn(browser):
    return browser.evaluate("[...document.querySelectorAll('.threshold [data-series]')].map(p => p.getAttribute('d'))")


def test_the_slider_is_clicked_and_the_numbers_follow(browser, page):
    browser.open(page)
    assert browser.problems == []
    before = [shown(browser, name) for name in ("threshold", "precision", "recall", "mA", "F1")]
    cursor = browser.evaluate("document.querySelector('.cursor').getAttribute('d')")
    browser.click("input[type=range]", across=0.97)
    low = float(shown(browser, "recall"))
    assert browser.evaluate("document.querySelector('.cursor').getAttribute('d')") != cursor
    assert "optimistic" in shown(browser, "source")
    browser.click("input[type=range]", across=0.03)
    assert float(shown(browser, "recall")) > low
    at = float(shown(browser, "threshold").replace("−", "-"))
    browser.press("ArrowRight")
    assert float(shown(browser, "threshold").replace("−", "-")) > at
    browser.click(".jumps button")
    assert [shown(browser, name) for name in ("threshold", "precision", "recall", "mA", "F1")] == before
    assert shown(browser, "source").startswith("global: one value")
    assert browser.problems == []


@pytest.mark.parametrize("mode", ["val", "global", "oracle"])
def test_an_attribute_at_each_mark_shows_evaluates_figures(browser, page, small_run, noisy_dataset, mode):
    report = evaluate(
        Recognizer.from_checkpoint(small_run, device="cpu"), read_folder(noisy_dataset), "test", threshold=mode
    )
    browser.open(page)
    whole = drawn(browser)
    for index, row in enumerate(report.attributes, start=1):
        browser.evaluate(
            f"{{ const s = document.querySelector('.threshold select'); s.value = {index}; "
            "s.dispatchEvent(new Event('change')); }"
        )
        assert drawn(browser) != whole
        labels = browser.evaluate("[...document.querySelectorAll('.jumps button')].map(b => b.textContent)")
        browser.click(".jumps button", index=next(n for n, label in enumerate(labels) if label.startswith(mode)))
        assert report.threshold_source in shown(browser, "source")
        assert shown(browser, "mA") == f"{100 * row.mA:.2f}"
        assert shown(browser, "recall") == f"{100 * row.recall:.2f}"
        assert shown(browser, "precision") == f"{100 * row.precision:.2f}"
        assert shown(browser, "F1") == f"{100 * row.f1:.2f}"


def test_nothing_is_requested_but_the_file(browser, page):
    browser.open(page)
    assert [url for url in browser.requests if not url.startswith("data:")] == [page.resolve().as_uri()]


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize(("width", "dark"), [(1200, False), (1200, True), (360, False)])
def test_it_is_readable_at_every_width_light_and_dark_with_and_without_scripts(browser, page, scripts, width, dark):
    browser.open(page, scripts=scripts, width=width, dark=dark)
    assert browser.problems == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    # The chart is there in any case, the controls only where they work.
    assert len(drawn(browser)) == 3
    assert all(len(path) > 100 for path in drawn(browser))
    assert browser.evaluate("document.querySelector('.controls').hidden") is not scripts
    assert shown(browser, "threshold") != ""
    ground, ink = browser.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    lightness = [sum(map(int, colour[4:-1].split(","))) for colour in (ground, ink)]
    assert (lightness[0] < lightness[1]) is dark
    assert abs(lightness[0] - lightness[1]) > 450

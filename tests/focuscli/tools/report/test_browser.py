"""The page in a real browser: it requests nothing, fits a phone, is readable without scripts, and its slider works."""

from __future__ import annotations

import itertools

import pytest

LAYOUT = """(document, window) => {
  const style = (name) => window.getComputedStyle(document.querySelector(name));
  const box = (name) => document.querySelector(`.threshold .${name}`).getBoundingClientRect();
  const frame = document.querySelector(".threshold svg").getBoundingClientRect();
  return {
    overflow: document.documentElement.scrollWidth - window.innerWidth,
    requests: window.performance.getEntriesByType("resource").map((entry) => entry.name),
    controls: !document.querySelector(".controls").hidden,
    threshold: document.querySelector("[data-out=threshold]").textContent,
    colours: [style("body").backgroundColor, style("body").color, style("svg text").fill],
    lines: ["recall", "cursor"].flatMap((name) => [box(name).left - frame.left, box(name).bottom - frame.top]),
  };
}"""
SLIDER = """(document) => {
  const select = document.querySelector(".threshold select"), slider = document.querySelector("input[type=range]");
  const shown = () => ({
    ...Object.fromEntries([...document.querySelectorAll("[data-out]")].map((cell) => [cell.dataset.out, cell.textContent])),
    cursor: document.querySelector(".cursor path").getAttribute("d"),
    line: document.querySelector(".threshold .recall path").getAttribute("d"),
  });
  const move = (value) => { slider.value = value; slider.dispatchEvent(new Event("input")); return shown(); };
  const steps = [shown(), move(2), move(70)];
  document.querySelector(".jumps button").click();
  steps.push(shown());
  const jumps = [];
  for (let index = 1; index < select.length; index++) {
    select.value = index;
    select.dispatchEvent(new Event("change"));
    for (const button of document.querySelectorAll(".jumps button")) {
      button.click();
      jumps.push({index: index - 1, mode: button.textContent.split(",")[0], ...shown()});
    }
  }
  return {steps, jumps};
}"""


def test_it_is_readable_at_every_width_light_and_dark_with_and_without_scripts(probe, page):
    cases = [
        {"scripts": scripts, "width": width, "dark": dark}
        for scripts, (width, dark) in itertools.product((True, False), [(1200, False), (1200, True), (360, False)])
    ]
    found = probe(page, LAYOUT, *cases)
    for case, layout in zip(cases, found, strict=True):
        assert layout["overflow"] <= 0, case
        assert [url for url in layout["requests"] if not url.startswith("data:")] == []
        # The controls appear only where they work.
        assert layout["controls"] is case["scripts"]
        assert layout["threshold"] != ""
        ground, ink, *rest = (sum(map(int, colour[4:-1].split(","))) for colour in layout["colours"])
        assert (ground < ink) is case["dark"]
        assert abs(ground - ink) > 450
        assert all(abs(ground - value) > 250 for value in rest)
    # The script draws the lines where matplotlib drew them.
    for scripted, drawn in zip(found[:3], found[3:], strict=True):
        assert scripted["lines"] == pytest.approx(drawn["lines"], abs=1)


def test_the_slider_moves_the_numbers_and_each_jump_shows_the_metrics_of_evaluate(probe, page, report):
    (found,) = probe(page, SLIDER, {})
    first, low, high, back = found["steps"]
    assert float(low["recall"]) > float(high["recall"])
    assert low["cursor"] != high["cursor"]
    assert "optimistic" in low["source"]
    assert back == first
    assert first["source"].startswith("global: one value")
    assert len(found["jumps"]) == 3 * len(report.curves)
    for jump in found["jumps"]:
        evaluation = report.evaluations[jump["mode"]]
        row = evaluation.attributes[jump["index"]]
        assert evaluation.threshold_source in jump["source"]
        assert jump["line"] != first["line"]
        for name, value in (("mA", row.mA), ("recall", row.recall), ("precision", row.precision), ("F1", row.f1)):
            assert jump[name] == f"{100 * value:.2f}"

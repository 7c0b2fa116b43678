"""Figures: they show the numbers that they are given, on the page and as files."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from focuscli.tools.report import figures
from focuscli.tools.report.curves import AttributeCurve, CommonCurve
from focuscli.tools.report.drawing import inline_svg, style, write_figures

HISTORY = [
    {"epoch": 1, "loss": 3.0, "v2t": 2.0, "t2v": 1.0, "lsim": 0.0, "racl": None, "learning_rate": 0.1, "val": {}},
    {"epoch": 2, "loss": 2.0, "v2t": None, "t2v": 1.0, "lsim": 0.0, "learning_rate": 0.2, "val": {"mA": 0.6}},
    {"epoch": 3, "loss": 1.0, "v2t": 0.5, "t2v": 0.5, "learning_rate": 0.1, "val": {"mA": None, "F1": 0.3}},
]
CURVE = CommonCurve(
    [0.0, 1.0, 2.0], {"Prec": [0.2, 0.5, None], "Recall": [1.0, 0.5, 0.0], "mA": [0.5] * 3}, {"global": 1}
)


def drawn(chart):
    """Label -> x and y of each line of a chart's first axes."""
    return {
        line.get_label(): (np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float))
        for line in chart.figure.axes[0].lines
    }


def svg(chart):
    text = str(inline_svg(chart, "test"))
    return ElementTree.fromstring(text.replace("<svg ", '<svg xmlns:xlink="http://www.w3.org/1999/xlink" ')), text


def test_losses_are_drawn_where_they_are_defined_and_not_always_0():
    lines = drawn(figures.loss_chart(HISTORY))
    assert set(lines) == {"total", "v2t", "t2v"}
    assert lines["total"][1].tolist() == [3, 2, 1]
    assert np.isnan(lines["v2t"][1]).tolist() == [False, True, False]
    assert figures.loss_chart([{"epoch": 1, "loss": None}]) is None


def test_val_metrics_are_percent_and_the_best_epoch_is_marked():
    lines = drawn(figures.val_chart(HISTORY, 2))
    assert lines["mA"][0].tolist() == [2, 3]
    assert lines["mA"][1].tolist() == pytest.approx([60, np.nan], nan_ok=True)
    assert lines["best epoch"][0].tolist() == [2, 2]
    assert figures.val_chart(HISTORY[:1], 0) is None
    assert drawn(figures.rate_chart(HISTORY))["learning rate"][1].tolist() == [0.1, 0.2, 0.1]


def test_the_page_knows_where_the_threshold_axes_are():
    with style():
        chart = figures.threshold_chart(CURVE)
    tree, _ = svg(chart)
    left, top, width, height, first, last = map(float, tree.get("data-plot").split())
    assert (first, last) == (0, 2)
    path = tree.find(".//g[@class='recall']/path").get("d")
    points = [float(number) for number in re.findall(r"[\d.]+", path)]
    assert points == pytest.approx([left, top, left + width / 2, top + height / 2, left + width, top + height], abs=0.1)
    # An undefined value breaks the line.
    assert tree.find(".//g[@class='precision']/path").get("d").count("L") == 1
    assert tree.find(".//g[@class='cursor']/path") is not None


def test_an_inline_figure_has_the_pages_colours_and_no_ids_of_its_own():
    with style():
        chart = figures.loss_chart(HISTORY)
    tree, text = svg(chart)
    assert tree.get("aria-label") == "Training losses per epoch, logarithmic"
    assert not re.search(r"https?:|url\(|#[0-9a-f]{6}[;\"]|DejaVu|<metadata|<style", text.split(">", 1)[1])
    assert "var(--blue)" in text
    assert "total" in [node.text for node in tree.iter("text")]
    ids = set(re.findall(r' id="([^"]+)"', text))
    assert ids == set(re.findall(r'href="#([^"]+)"', text))
    assert ids.isdisjoint(re.findall(r' id="([^"]+)"', inline_svg(chart, "other")))


def test_phrases_are_text_in_figures():
    row = {"positives": 2, "negatives": 2, "positions": {"val": 0, "oracle": 1}}
    curve = AttributeCurve("a <b> & c", "head", [0.0, 1.0], [2, 0], [1, 0], **row)
    with style():
        tree, text = svg(figures.attribute_threshold_chart([curve] * 4, CURVE))
    assert "<b>" not in text
    assert [node.text for node in tree.iter("text")].count("a <b> & c") == 4


@pytest.mark.parametrize(("file_format", "head"), [("pdf", b"%PDF"), ("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_files_of_each_format(tmp_path, file_format, head):
    with style():
        charts = {"losses": figures.loss_chart(HISTORY)}
    (file,) = write_figures(charts, tmp_path / "figures", file_format)
    assert file == tmp_path / "figures" / f"losses.{file_format}"
    assert file.read_bytes().startswith(head)


def test_every_figure_of_a_run(report, collected, ablated_run):
    charts = figures.run_charts(report)
    when = [f"{name}-{state}" for state in ("before", "after") for name in ("attention-similarity", "region-tokens")]
    assert {"losses", "val-metrics", "learning-rate", "thresholds", "thresholds-by-attribute", "block-matrix"} < {
        *charts
    }
    assert {*when, "token-similarity-before", "attributes-head", "attributes-lower"} < {*charts}
    (image,) = charts["attention-similarity-after"].figure.axes[0].images
    opacity = np.asarray(image.get_array())[..., 3]
    assert opacity == pytest.approx(0.85 * report.similarities.after.attention.clip(0, 1))
    numbers = [text.get_text() for text in charts["token-similarity-after"].figure.axes[0].texts]
    assert numbers[:2] == [f"{value:.2f}".replace("0.", ".") for value in report.similarities.after.mix[0, :2]]
    bars = charts["attributes-lower"].figure.axes[0].patches
    rows = dict(report.regions)["lower"]
    assert [bar.get_x() + bar.get_width() for bar in bars] == pytest.approx([row.mA for row, _ in rows])
    ablated = figures.run_charts(collected(ablated_run)[0])
    assert not any("token" in name or "matrix" in name for name in ablated)

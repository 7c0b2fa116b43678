"""Figures: they show the numbers that they are given, on the page and as files."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest

from focuscli.tools.report import figures
from focuscli.tools.report.collect import Curve, Epoch
from focuscli.tools.report.figures import STYLE, inline_svg

VALUES = [
    {"epoch": 1, "loss": 3.0, "v2t": 2.0, "t2v": 1.0, "lsim": 0.0, "racl": None, "learning_rate": 0.1},
    {"epoch": 2, "loss": 2.0, "v2t": None, "t2v": 1.0, "lsim": 0.0, "learning_rate": 0.2, "val": {"mA": 0.6}},
    {"epoch": 3, "loss": 1.0, "v2t": 0.5, "t2v": 0.5, "learning_rate": 0.1, "val": {"mA": None, "F1": 0.3}},
]
HISTORY = [Epoch(**values) for values in VALUES]


def drawn(figure):
    """Label -> x and y of each line of a figure's first axes."""
    return {line.get_label(): ([*line.get_xdata()], [*line.get_ydata()]) for line in figure.axes[0].lines}


def test_charts_over_epochs_show_what_is_defined():
    found = figures.epoch_figures(HISTORY, 2)
    # A loss that is always 0 is not drawn.
    assert drawn(found["losses"]) == {
        "total": ([1, 2, 3], [3, 2, 1]),
        "v2t": ([1, 3], [2, 0.5]),
        "t2v": ([1, 2, 3], [1, 1, 0.5]),
    }
    assert found["losses"].axes[0].get_ylim() == (0.1, 10)
    metrics = drawn(found["val-metrics"])
    assert metrics["best epoch"][0] == [2, 2]
    assert {name: metrics[name] for name in ("mA", "F1")} == {"mA": ([2], [60]), "F1": ([3], [30])}
    assert drawn(found["learning-rate"]) == {"learning rate": ([1, 2, 3], [0.1, 0.2, 0.1])}
    assert {*figures.epoch_figures([Epoch(epoch=1)], 0).values()} == {None}


def test_an_inline_figure_has_the_pages_colours_and_says_where_its_axes_are():
    metrics = {"precision": [0.2, 0.5, 0], "recall": [1.0, 0.5, 0.0], "mA": [0.5] * 3}
    arrays = {name: np.array(values) for name, values in metrics.items()}
    with matplotlib.rc_context(fname=STYLE):
        figure = figures.threshold_figure(Curve(np.arange(3.0), arrays, {"global": 1}))
    figure.set_label("a <b> & c")
    text = str(inline_svg(figure, "test"))
    tree = ElementTree.fromstring(text.replace("<svg ", '<svg xmlns:xlink="http://www.w3.org/1999/xlink" '))
    assert tree.get("aria-label") == "a <b> & c"
    left, top, width, height, first, last = map(float, tree.get("data-plot").split())
    assert (first, last) == (0, 2)
    path = tree.find(".//g[@class='recall']/path").get("d")
    points = [float(number) for number in re.findall(r"[\d.]+", path)]
    assert points == pytest.approx([left, top, left + width / 2, top + height / 2, left + width, top + height], abs=0.1)
    # Without any positive prediction there is no precision.
    assert tree.find(".//g[@class='precision']/path").get("d").count("L") == 1
    assert tree.find(".//g[@class='cursor']/path") is not None
    assert "global, from val" in [node.text for node in tree.iter("text")]
    assert not re.search(r"https?:|url\(|#[0-9a-f]{6}[;\"]|DejaVu|<metadata|<style", text.split(">", 1)[1])
    assert "var(--blue)" in text
    ids = set(re.findall(r' id="([^"]+)"', text))
    assert ids == set(re.findall(r'href="#([^"]+)"', text))
    assert ids.isdisjoint(re.findall(r' id="([^"]+)"', inline_svg(figure, "other")))


def test_every_figure_of_a_run(report, collected, ablated_run):
    found = figures.run_figures(report)
    kinds = ("attention-similarity", "region-tokens", "token-similarity")
    names = {f"{kind}-{when}" for kind in kinds for when in ("before", "after")}
    names |= {"losses", "val-metrics", "learning-rate", "thresholds", "thresholds-by-attribute", "block-matrix"}
    assert {*found} == names | {"attributes-head", "attributes-lower"}
    (image,) = found["attention-similarity-after"].axes[0].images
    after = report.similarities.states["after"]
    assert np.asarray(image.get_array())[..., 3] == pytest.approx(0.85 * after["attention"].clip(0, 1))
    bars = found["attributes-lower"].axes[0].patches
    accuracy = sorted((row.mA for row in report.main.attributes if row.region == "lower"), reverse=True)
    assert [bar.get_x() + bar.get_width() for bar in bars] == pytest.approx(accuracy)
    assert [panel.get_title() for panel in found["thresholds-by-attribute"].axes] == [
        row.phrase for row in report.main.attributes
    ]
    ablated = figures.run_figures(collected(ablated_run)[0])
    assert not any("token" in name or "matrix" in name for name in ablated)

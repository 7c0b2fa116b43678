"""The page: self-contained, well-formed, equal to `evaluate`, safe to share without crops."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser

import pytest

from focuscli.data.folder import read_folder
from focuscli.errors import UsageError
from focuscli.evaluation.closed_set import evaluate
from focuscli.inference.recognizer import Recognizer
from focuscli.tools.report import page as page_module
from focuscli.tools.report.collect import short_names
from focuscli.tools.report.page import render_page, without_folders

VOID = {"meta", "img", "input", "br", "link", "hr", "wbr"}


class Outline(HTMLParser):
    """Refuses tags that are not closed in order; keeps cells, attributes that load something, and texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._cell = False
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [value for name, value in attributes if name == "id"]
        loading = ("src", "href", "srcset", "action", "poster", "data", "xlink:href")
        self.links += [value for name, value in attributes if name in loading]
        if tag == "script":
            self.scripts.append("")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
            self._cell = True

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        self._cell = self._cell and tag not in ("td", "th")
        if tag not in VOID:
            assert self.open, f"</{tag}> closes nothing"
            assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        self.text += data
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        if self._cell and self.rows[-1]:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def report(collected, small_run):
    return collected(small_run)[0]


@pytest.fixture(scope="module")
def html(report):
    return render_page([report])


def test_it_is_one_well_formed_file_that_requests_nothing(html):
    found = Outline(html)
    assert len(found.ids) == len(set(found.ids))
    assert all(value.startswith(("#", "data:image/webp;base64,", "data:image/png;base64,")) for value in found.links)
    assert all(value[1:] in found.ids for value in found.links if value.startswith("#"))
    words = re.sub(r"base64,[A-Za-z0-9+/=]+", "", html)
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<link|<iframe|<object", words)
    assert "default-src 'none'" in html
    assert len(html.encode()) < 3_000_000


def test_every_metric_equals_evaluate_and_names_its_threshold(html, small_run, noisy_dataset):
    recognizer, data = Recognizer.from_checkpoint(small_run, device="cpu"), read_folder(noisy_dataset)
    found = Outline(html)
    rows = {row[0].strip(): row[1:] for row in found.rows if row}
    for mode in ("val", "global", "oracle"):
        report = evaluate(recognizer, data, "test", threshold=mode)
        wanted = [report.metrics[name] for name in ("mA", "Acc", "Prec", "Recall", "F1", "F1h", "mAP", "AUC")]
        shown = [cell.strip() for cell in rows[report.threshold_source]]
        assert shown == ["16", *(f"{100 * value:.2f}" for value in wanted)]
        assert ("optimistic" in report.threshold_source) is (mode == "oracle")
    for row in evaluate(recognizer, data, "test").attributes:
        cells = next(cells for cells in found.rows if cells and cells[0] == row.phrase and len(cells) == 11)
        wanted = (row.mA, row.recall, row.specificity, row.precision, row.f1, row.AP, row.AUC)
        assert cells[2:] == [
            str(row.positives),
            *(f"{100 * value:.2f}" for value in wanted),
            f"{row.threshold:.3f}".replace("-", "−"),
        ]
        assert f">{100 * row.mA:.2f}</text>" in html


def test_the_slider_holds_the_metrics_of_evaluate_at_each_mark(html, small_run, noisy_dataset):
    common, *views = json.loads(Outline(html).scripts[0])
    recognizer, folder = Recognizer.from_checkpoint(small_run, device="cpu"), read_folder(noisy_dataset)
    for mode in ("val", "global", "oracle"):
        for view, row in zip(views, evaluate(recognizer, folder, "test", threshold=mode).attributes, strict=True):
            at = view["positions"][mode]
            hits, wrong = view["true_positives"][at], view["false_positives"][at]
            assert (view["phrase"], view["region"]) == (row.phrase, row.region)
            assert view["thresholds"][at] == pytest.approx(row.threshold, abs=1e-4)
            assert hits / view["positives"] == pytest.approx(row.recall)
            assert 1 - wrong / view["negatives"] == pytest.approx(row.specificity)
            assert hits / max(1, hits + wrong) == pytest.approx(row.precision)
    wanted = evaluate(recognizer, folder, "test", threshold="global").metrics
    at = common["positions"]["global"]
    shown = {"mA": "mA", "precision": "Prec", "recall": "Recall", "F1": "F1"}
    assert {key: common["metrics"][key][at] for key in shown} == pytest.approx(
        {key: wanted[name] for key, name in shown.items()}, abs=1e-6
    )


def test_it_has_every_part_and_says_where_the_model_comes_from(html, report):
    found = Outline(html)
    for part in ("metrics", "training", "attributes", "thresholds", "errors", "regions", "tokens", "configuration"):
        assert f"run-1-{part}" in found.ids
    labels = re.findall(r'aria-label="([^"]+)"', html)
    for when in ("before", "after"):
        assert sum(f"{when} training" in label for label in labels) == 3
    assert html.count("<img") == html.count("data:image/webp") >= 4
    text = " ".join(found.text.split())
    assert "Trained from scratch, without CLIP’s weights, on coloured (40 images, train)" in text
    assert report.data.fingerprint in text
    assert "model: yes, label: no" in text or "model: no, label: yes" in text
    for name, value in (("learning_rate", "0.001"), ("global_tokens", "2"), ("seed", "0")):
        assert [name, value] in [row[:2] for row in found.rows]


def test_without_crops_there_is_no_picture_and_no_folder(collected, small_run, noisy_dataset, html):
    shared = render_page(collected(small_run, crops=False))
    Outline(shared)
    assert "<img" not in shared
    # What is left are the matrices, one pixel for each of their cells.
    assert "data:image/webp" not in shared
    assert str(noisy_dataset.parent) not in shared
    assert "This page contains no pictures of the dataset" in shared
    assert "model: yes, label: no" in shared or "model: no, label: yes" in shared
    assert len(shared) < len(html)


def test_texts_of_users_stay_text(report):
    evil = '</script ><img src=x onerror="alert(1)"> & <!-- <script>'
    row, *rest = report.main.attributes
    main = dataclasses.replace(report.main, attributes=[dataclasses.replace(row, phrase=evil), *rest])
    first, *others = report.curves
    changed = dataclasses.replace(
        report,
        name=evil,
        evaluations={**report.evaluations, "val": main},
        curves=[dataclasses.replace(first, phrase=evil), *others],
    )
    html = render_page([changed])
    assert evil not in html
    found = Outline(html)
    assert "x" not in found.links
    data, script = found.scripts
    # Browsers end a script at more than Python's parser does, so it must not contain any of these at all.
    assert not re.search("[<>&]", data)
    assert json.loads(data)[1]["phrase"] == evil
    assert script.strip().startswith('"use strict"')


def test_undefined_metrics_are_dashes(report):
    history = [{**report.history[0], "loss": None, "val": {"mA": None, "F1": 0.5}}]
    html = render_page([dataclasses.replace(report, history=history)])
    row = next(row for row in Outline(html).rows if row and row[0] == "1" and len(row) == 11)
    assert (row[1], row[8], row[9]) == ("–", "–", "50.00")


def test_several_runs_are_compared_like_table_3(collected, small_run, second_run, ablated_run):
    reports = collected(small_run, second_run, ablated_run)
    html = render_page(reports)
    found = Outline(html)
    rows: dict[str, list[str]] = {}
    for name, *cells in (row for row in found.rows if len(row) == 13):
        rows.setdefault(name.strip(), [cell.strip() for cell in cells])
    for report in reports:
        ablated = report.name == "ablated"
        wanted = [report.main.metrics[name] for name in ("mA", "Acc", "Prec", "Recall", "F1", "F1h")]
        assert rows[report.name][:5] == ["●", "●", "–" if ablated else "●", "–" if ablated else "●", "●"]
        assert rows[report.name][5:11] == [f"{100 * value:.2f}" for value in wanted]
    first, second = (report.main.metrics["mA"] for report in reports[:2])
    assert rows["second"][11] == f"{100 * (second - first):+.2f}".replace("-", "−")
    seeds = rows["first, second"]
    assert seeds[5] == "2"
    spread = abs(second - first) / 2**0.5
    assert seeds[6].replace("\u202f", " ") == f"{50 * (first + second):.2f} ± {100 * spread:.2f}"
    assert "This run has no attention over Mix Tokens" in html
    assert "not comparable" not in html


def test_runs_on_other_images_are_said_not_to_compare(collected, small_run, second_run):
    reports = collected(small_run, split="test") + collected(second_run, split="val")
    assert "their metrics are not comparable" in render_page(reports)


def test_a_page_that_gets_too_large_is_refused(report, monkeypatch):
    monkeypatch.setattr(page_module, "MAX_PAGE_BYTES", 10_000)
    with pytest.raises(UsageError, match="at most") as caught:
        render_page([report])
    assert "--no-crops" in caught.value.hint


def test_a_page_on_many_runs_omits_the_details_of_each_attribute(report, html):
    many = render_page([report] * 5)
    assert "The curves of every attribute" not in many
    assert "The curves of every attribute" in html


def test_short_names_are_as_long_as_they_must_be(tmp_path):
    assert short_names([tmp_path / "a" / "run", tmp_path / "b" / "run"]) == ["a/run", "b/run"]
    assert short_names([tmp_path / "x", tmp_path / "y"]) == ["x", "y"]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("/home/me/data set/PETA", "…/PETA"),
        ("C:\\Users\\me\\PETA", "…/PETA"),
        ("focus train --config=/home/me/a.toml -d /data/peta", "focus train --config=…/a.toml -d …/peta"),
        (".venv/bin/focus demo", ".venv/bin/focus demo"),
        ("[64, 32]", "[64, 32]"),
    ],
)
def test_settings_are_shown_without_folders(given, shown):
    assert without_folders(given) == shown

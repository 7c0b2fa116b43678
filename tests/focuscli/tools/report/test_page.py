"""The page: self-contained, well-formed, equal to `evaluate`, shareable without crops."""

from __future__ import annotations

import contextlib
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
from focuscli.tools.report.collect import Options, collect, short_names
from focuscli.tools.report.page import render_page
from focuscli.tools.report.view import without_folders

VOID = {"meta", "img", "input", "br", "link", "hr", "wbr"}


class Outline(HTMLParser):
    """Refuses tags that are not closed in order; keeps cells, attributes that load something, and texts."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[tuple[str, str, str]] = []
        self.rows: list[list[str]] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self._cell = False

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "srcset", "action", "poster", "data", "xlink:href"):
                self.links.append((tag, name, value))
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
        if tag in ("td", "th"):
            self._cell = False
        if tag not in VOID:
            assert self.open, f"</{tag}> closes nothing"
            assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        self.text.append(data)
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        if self._cell and self.rows[-1]:
            self.rows[-1][-1] += data


def outline(html: str) -> Outline:
    parser = Outline()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


@contextlib.contextmanager
def silent(_label):
    yield lambda done, total: None


def collected(*runs, **options):
    return collect([str(run) for run in runs], Options(device="cpu", workers=1, **options), silent)


@pytest.fixture(scope="module")
def reports(small_run):
    return collected(small_run)


@pytest.fixture(scope="module")
def html(reports):
    return render_page(reports)


def test_it_is_one_well_formed_file_that_asks_nobody_for_anything(html):
    found = outline(html)
    assert len(found.ids) == len(set(found.ids))
    assert all(value.startswith(("#", "data:image/webp;base64,")) for _, _, value in found.links)
    assert all(value[1:] in found.ids for _, _, value in found.links if value.startswith("#"))
    words = re.sub(r"base64,[A-Za-z0-9+/=]+", "", html)
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<link|<iframe|<object", words)
    assert "default-src 'none'" in html
    assert len(html.encode()) < 3_000_000


def test_every_figure_equals_evaluate_and_names_its_threshold(html, small_run, noisy_dataset):
    recognizer, data = Recognizer.from_checkpoint(small_run, device="cpu"), read_folder(noisy_dataset)
    rows = {row[0].strip(): row[1:] for row in outline(html).rows if row}
    for mode in ("val", "global", "oracle"):
        report = evaluate(recognizer, data, "test", threshold=mode)
        shown = rows[report.threshold_source]
        wanted = [report.metrics[name] for name in ("mA", "Acc", "Prec", "Recall", "F1", "F1h", "mAP", "AUC")]
        assert [cell.strip() for cell in shown] == ["16", *(f"{100 * value:.2f}" for value in wanted)]
        assert ("optimistic" in report.threshold_source) is (mode == "oracle")
    report = evaluate(recognizer, data, "test")
    for row in report.attributes:
        bars = next(cells for cells in outline(html).rows if cells and cells[0] == row.phrase and len(cells) == 4)
        assert bars[2] == f"{100 * row.mA:.2f}"
        full = next(cells for cells in outline(html).rows if cells and cells[0] == row.phrase and len(cells) == 11)
        wanted = (row.mA, row.recall, row.specificity, row.precision, row.f1, row.AP, row.AUC)
        assert full[2:] == [
            str(row.positives),
            *(f"{100 * v:.2f}" for v in wanted),
            f"{row.threshold:.3f}".replace("-", "−"),
        ]


def test_the_slider_holds_evaluates_figures_at_each_mark(html, small_run, noisy_dataset):
    (data,) = re.findall(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)
    common, *views = json.loads(data)
    recognizer, folder = Recognizer.from_checkpoint(small_run, device="cpu"), read_folder(noisy_dataset)
    for mode in ("val", "global", "oracle"):
        for view, row in zip(views, evaluate(recognizer, folder, "test", threshold=mode).attributes, strict=True):
            at = view["marks"][mode]
            hits, false = view["hits"][at], view["false"][at]
            assert view["name"] == row.phrase
            assert view["t"][at] == pytest.approx(row.threshold, abs=1e-4)
            assert hits / view["positives"] == pytest.approx(row.recall)
            assert 1 - false / view["negatives"] == pytest.approx(row.specificity)
            assert hits / max(1, hits + false) == pytest.approx(row.precision)
    wanted = evaluate(recognizer, folder, "test", threshold="global").metrics
    at = common["marks"]["global"]
    shown = {"mA": "mA", "precision": "Prec", "recall": "Recall", "F1": "F1"}
    assert {key: common["figures"][key][at] for key in shown} == pytest.approx(
        {key: wanted[name] for key, name in shown.items()}, abs=1e-6
    )


def test_it_says_where_the_model_comes_from(html, reports):
    text = " ".join("".join(outline(html).text).split())
    assert "Trained from scratch, without CLIP’s weights, on coloured (40 images, train)" in text
    assert reports[0].data.fingerprint in text
    assert "Before training" in text
    assert "model: yes, label: no" in text or "model: no, label: yes" in text
    for name, value in (("learning_rate", "0.001"), ("global_tokens", "2"), ("seed", "0")):
        assert [name, value] in [row[:2] for row in outline(html).rows]


def test_every_part_is_there(html):
    found = outline(html)
    for part in ("figures", "training", "attributes", "thresholds", "errors", "regions", "tokens", "configuration"):
        assert f"run-1-{part}" in found.ids
    labels = re.findall(r'aria-label="([^"]+)"', html)
    for start in ("Training losses", "Figures on val", "Learning rate", "Precision, recall and mA", "Block matrix"):
        assert any(label.startswith(start) for label in labels), start
    for when in ("before", "after"):
        assert sum(f"{when} training" in label for label in labels) == 3
    assert html.count("<img") == html.count("data:image/webp") >= 4


def test_without_crops_there_is_no_picture_and_no_folder(small_run, noisy_dataset):
    html = render_page(collected(small_run, crops=False))
    outline(html)
    assert "<img" not in html
    assert "data:image" not in html
    assert "base64" not in html.lower()
    assert str(noisy_dataset) not in html
    assert str(noisy_dataset.parent) not in html
    assert "No picture of the data set is on this page" in html
    assert "model: yes, label: no" in html or "model: no, label: yes" in html
    assert len(html) < len(render_page(collected(small_run)))


def test_words_of_users_are_words(reports):
    evil = '</script ><img src=x onerror="alert(1)"> & <!-- <script>'
    row, *rest = reports[0].main.attributes
    main = dataclasses.replace(reports[0].main, attributes=[dataclasses.replace(row, phrase=evil), *rest])
    first, *others = reports[0].curves
    changed = dataclasses.replace(
        reports[0],
        name=evil,
        evaluations={**reports[0].evaluations, "val": main},
        curves=[dataclasses.replace(first, phrase=evil), *others],
    )
    html = render_page([changed])
    assert evil not in html
    found = outline(html)
    assert "x" not in [value for _, _, value in found.links]
    data, script = found.scripts
    # Browsers end a script at more than Python's parser does: no mark of a tag may stand in it at all.
    assert not re.search("[<>&]", data)
    assert json.loads(data)[1]["name"] == evil
    assert script.strip().startswith('"use strict"')


def test_several_runs_are_compared(small_run, second_run, ablated_run):
    reports = collected(small_run, second_run, ablated_run)
    html = render_page(reports)
    found = outline(html)
    table = [row for row in found.rows if len(row) == 13][1:4]
    rows = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in table}
    for report in reports:
        ablated = report.name == "ablated"
        wanted = [report.main.metrics[name] for name in ("mA", "Acc", "Prec", "Recall", "F1", "F1h")]
        assert rows[report.name][:5] == ["●", "●", "–" if ablated else "●", "–" if ablated else "●", "●"]
        assert rows[report.name][5:11] == [f"{100 * value:.2f}" for value in wanted]
    gain = reports[1].main.metrics["mA"] - reports[0].main.metrics["mA"]
    assert rows["second"][11] == f"{100 * gain:+.2f}".replace("-", "−")
    seeds = next(row for row in found.rows if row and row[0] == "first, second")
    mean = (reports[0].main.metrics["mA"] + reports[1].main.metrics["mA"]) / 2
    assert seeds[6] == "2"
    assert seeds[7].startswith(f"{100 * mean:.2f} ±")
    assert "This run has no attention over Mix Tokens" in html


def test_runs_on_other_images_are_said_not_to_compare(small_run, second_run):
    reports = collected(small_run, split="test") + collected(second_run, split="val")
    assert "their figures do not compare" in render_page(reports)
    assert "their figures do not compare" not in render_page(collected(small_run, second_run))


def test_a_page_that_gets_too_large_is_refused(reports, monkeypatch):
    monkeypatch.setattr(page_module, "LARGEST", 10_000)
    with pytest.raises(UsageError, match="at most") as caught:
        render_page(reports)
    assert "--no-crops" in caught.value.hint


def test_many_runs_leave_out_each_attributes_own_part(reports):
    html = render_page([*reports] * 5)
    outline(html.replace('id="', 'data-id="'))
    assert "The curves of every attribute" not in html
    assert "The curves of every attribute" in render_page(reports)


def test_names_tell_runs_apart(tmp_path):
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
def test_folders_are_left_out_of_settings(given, shown):
    assert without_folders(given) == shown

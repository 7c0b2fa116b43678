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
from focuscli.tools.report.collect import Epoch
from focuscli.tools.report.page import comparison_warnings, render_page, without_folders

VOID = {"meta", "img", "input", "br", "link", "hr", "wbr"}


class Outline(HTMLParser):
    """Refuses tags that are not closed in order; keeps cells, attributes that load something, and scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.rows: list[list[str]] = []
        self.scripts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        loading = ("src", "href", "srcset", "action", "poster", "data", "xlink:href")
        self.links += [value for name, value in attributes if name in loading]
        if tag == "script":
            self.scripts.append("")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert tag in VOID or self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        if {"td", "th"} & {*self.open} and self.rows[-1]:
            self.rows[-1][-1] += data


def test_it_is_one_well_formed_file_with_every_part_that_requests_nothing(page, report):
    found = Outline(page)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert all(value.startswith(("#", "data:image/webp;base64,", "data:image/png;base64,")) for value in found.links)
    assert all(value[1:] in ids for value in found.links if value.startswith("#"))
    words = re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<link|<iframe|<object", words)
    assert "default-src 'none'" in page
    assert len(page.encode()) < 3_000_000
    for part in ("metrics", "training", "attributes", "thresholds", "errors", "regions", "tokens", "configuration"):
        assert f"run-1-{part}" in ids
    labels = re.findall(r'aria-label="([^"]+)"', page)
    assert [sum(f"{when} training" in label for label in labels) for when in ("before", "after")] == [3, 3]
    assert page.count("<img") == page.count("data:image/webp") >= 4
    assert "<b>Trained from scratch</b>, without CLIP’s weights, on noisy (40 images, train)" in page
    rows = [row[:2] for row in found.rows]
    assert ["fingerprint", report.data.fingerprint] in rows
    assert ["images", "train 40, val 16, test 16; 36 persons"] in rows
    assert all(row in rows for row in (["learning_rate", "0.001"], ["global_tokens", "2"], ["seed", "0"]))


def test_every_metric_equals_evaluate_and_names_its_threshold(page, small_run, noisy_dataset):
    recognizer, data = Recognizer.from_checkpoint(small_run, device="cpu"), read_folder(noisy_dataset)
    found = Outline(page).rows
    rows = {row[0].strip(): row[1:] for row in found if row}
    for mode in ("val", "global", "oracle"):
        report = evaluate(recognizer, data, "test", threshold=mode)
        wanted = [report.metrics[name] for name in ("mA", "Acc", "Prec", "Recall", "F1", "F1h", "mAP", "AUC")]
        shown = [cell.strip() for cell in rows[report.threshold_source]]
        assert shown == ["16", *(f"{100 * value:.2f}" for value in wanted)]
        assert ("optimistic" in report.threshold_source) is (mode == "oracle")
    for row in evaluate(recognizer, data, "test").attributes:
        cells = next(cells for cells in found if cells and cells[0] == row.phrase and len(cells) == 11)
        wanted = (row.mA, row.recall, row.specificity, row.precision, row.f1, row.AP, row.AUC)
        threshold = f"{row.threshold:.3f}".replace("-", "−")
        assert cells[2:] == [str(row.positives), *(f"{100 * value:.2f}" for value in wanted), threshold]
        assert f">{100 * row.mA:.2f}</text>" in page


def test_without_crops_there_is_no_picture_and_no_folder(collected, small_run, noisy_dataset, page):
    shared = render_page(collected(small_run, crops=False))
    Outline(shared)
    # What is left are the matrices, one pixel for each of their cells.
    assert not re.search(f"<img|data:image/webp|{noisy_dataset.parent}", shared)
    assert "This page contains no pictures of the dataset" in shared
    assert "model: yes, label: no" in shared or "model: no, label: yes" in shared
    for given, shown in (
        ("C:\\Users\\me\\PETA", "…/PETA"),
        ("focus train --config=/home/me/a.toml -d .venv/peta", "focus train --config=…/a.toml -d .venv/peta"),
    ):
        assert without_folders(given) == shown


def test_texts_of_users_stay_text_and_undefined_metrics_are_dashes(report):
    evil = '</script ><img src=x onerror="alert(1)"> & <!-- <script>'
    row, *rest = report.main.attributes
    main = dataclasses.replace(report.main, attributes=[dataclasses.replace(row, phrase=evil), *rest])
    similarities = dataclasses.replace(report.similarities, states={"after": report.similarities.states["after"]})
    changes = {
        "evaluations": {**report.evaluations, "val": main},
        "history": [Epoch(epoch=1, val={"mA": None, "F1": 0.5})],
        "similarities": similarities,
    }
    html = render_page([dataclasses.replace(report, name=evil, **changes)])
    assert evil not in html
    found = Outline(html)
    assert "x" not in found.links
    data, script = found.scripts
    # Browsers end a script at more than Python's parser does, so it must not contain any of these at all.
    assert not re.search("[<>&]", data)
    assert json.loads(data)["views"][1]["phrase"] == evil
    assert script.strip().startswith('"use strict"')
    (epoch,) = (row for row in found.rows if row and row[0] == "1" and len(row) == 11)
    assert (epoch[1], epoch[8], epoch[9]) == ("–", "–", "50.00")
    assert "The state before training cannot be shown" in html


def test_several_runs_are_compared_like_table_3(collected, small_run, make_run, ablated_run):
    reports = collected(small_run, make_run("second", train__seed=1), ablated_run)
    html = render_page(reports)
    rows: dict[str, list[str]] = {}
    for name, *cells in (row for row in Outline(html).rows if len(row) == 13):
        rows.setdefault(name.strip(), [cell.strip() for cell in cells])
    for report in reports:
        avfe = "–" if report.name == "ablated" else "●"
        wanted = [report.main.metrics[name] for name in ("mA", "Acc", "Prec", "Recall", "F1", "F1h")]
        assert rows[report.name][:5] == ["●", "●", avfe, avfe, "●"]
        assert rows[report.name][5:11] == [f"{100 * value:.2f}" for value in wanted]
    first, second = (report.main.metrics["mA"] for report in reports[:2])
    assert rows["second"][11] == f"{100 * (second - first):+.2f}".replace("-", "−")
    seeds = rows["first, second"]
    assert seeds[5] == "2"
    spread = abs(second - first) / 2**0.5
    assert seeds[6].replace("\u202f", " ") == f"{50 * (first + second):.2f} ± {100 * spread:.2f}"
    assert "This run has no attention over Mix Tokens" in html
    assert "not comparable" not in html
    # The same page on other images.
    other = dataclasses.replace(reports[1], evaluations={"val": dataclasses.replace(reports[1].main, split="val")})
    assert "their metrics are not comparable" in " ".join(comparison_warnings([reports[0], other]))


def test_large_pages_are_refused_and_many_runs_come_without_details(report, page, monkeypatch):
    many = render_page([report] * 5)
    assert "The curves of every attribute" not in many
    assert "The curves of every attribute" in page
    monkeypatch.setattr(page_module, "MAX_PAGE_BYTES", 10_000)
    with pytest.raises(UsageError, match="at most"):
        render_page([report])

"""How open-domain reports look: one pair of source and target as a table per group, several as the matrix of Table II."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from focuscli.cli import render
from focuscli.cli.views import percent

if TYPE_CHECKING:
    from focuscli.evaluation.open_domain import OpenDomainReport, TextFigures
    from focuscli.metrics.retrieval import Grouped

Reports = Sequence["OpenDomainReport"]
MEAN = "mean"
RULES = (
    "trained: the text's phrase is one that the checkpoint was trained on, letter case and spacing aside; the region is "
    "that of the target's schema, and other texts are read with the mean prompts of their region",
    "blind: for every image the most frequent words of the target's train + val images; chance: random order",
)


def show(reports: Reports, written: Sequence[Path | None], *, per_attribute: bool) -> None:
    """Figures on stdout, notes and what was written on stderr. With --json one object: {"reports": [...]}."""
    if render.as_json():
        print(json.dumps({"reports": [report.to_json() for report in reports]}, ensure_ascii=False))
        return
    sources = _labels([(_source(report), str(report.checkpoint)) for report in reports])
    targets = _labels([(report.target, report.target_folder) for report in reports])
    print(f"open domain, protocol {reports[0].protocol}, {reports[0].split} images, percent; means are over groups")
    print()
    if len(reports) == 1:
        print(f"image to text: {sources[0]} on {targets[0]}")
        _groups(reports[0])
    else:
        print("image to text: sources in rows, targets in columns")
        _matrix(reports, sources, targets)
    if any(report.ranking for report in reports):
        print("\ntext to image: mean over attributes; prevalence is what AP is by chance")
        _ranking(reports, sources, targets)
    if per_attribute:
        for report, source, target in zip(reports, sources, targets, strict=True):
            print(f"\n{source} on {target}; a group in brackets is outside the evaluation")
            _texts(report.texts)
    print()
    for line in dict.fromkeys(_origin(report, source) for report, source in zip(reports, sources, strict=True)):
        print(line)
    for line in RULES:
        print(line)
    for line in dict.fromkeys(
        f"{target}: {note}" for report, target in zip(reports, targets, strict=True) for note in report.notes
    ):
        render.warn(line)
    for file in written:
        if file is not None:
            render.note(f"wrote {file}")


def _groups(report: OpenDomainReport) -> None:
    """Image to text, a row per group, the checkpoint beside chance and the image-blind predictor."""
    columns: list[tuple[str, Grouped | None, str]] = [
        ("R@1", report.recall, "R@1"),
        ("R@2", report.recall, "R@2"),
        ("macro R@1", report.macro, "R@1"),
        ("chance R@1", report.chance, "R@1"),
        ("chance R@2", report.chance, "R@2"),
        ("blind R@1", report.blind, "R@1"),
        ("blind R@2", report.blind, "R@2"),
        ("blind macro R@1", report.blind_macro, "R@1"),
    ]
    shown = [(name, figures, key) for name, figures, key in columns if figures is not None]
    rows = []
    for group in report.chance:
        facts = report.groups.get(group)
        sizes = ("", "", f"{report.images:,}")
        if facts:
            seen = "-" if facts["seen"] is None else str(facts["seen"])
            sizes = (str(facts["texts"]), seen, f"{facts['images']:,}")
        values = [percent(figures[group][key]) for _, figures, key in shown]
        rows.append((group, *sizes, *values, str((facts or {}).get("blind answer") or "")))
    header = ("group", "texts", "trained", "images", *(name for name, _, _ in shown), "blind says")
    render.table(header, rows, numbers=range(1, 4 + len(shown)))


def _matrix(reports: Reports, sources: Sequence[str], targets: Sequence[str]) -> None:
    """Table II: R@1, R@2 and macro R@1 per pair; chance and the image-blind predictor of each target in the last rows."""
    cells = {(source, target): report for report, source, target in zip(reports, sources, targets, strict=True)}
    columns = {target: report for (_, target), report in cells.items()}
    rows = []
    for source in dict.fromkeys(
        source for report, source in zip(reports, sources, strict=True) if report.checkpoint is not None
    ):
        pairs = [cells.get((source, target)) for target in columns]
        rows.append((source, *_flat([(pair.recall, pair.macro) if pair else (None, None) for pair in pairs])))
    rows.append(("chance", *_flat([(report.chance, None) for report in columns.values()])))
    rows.append(("blind", *_flat([(report.blind, report.blind_macro) for report in columns.values()])))
    header = [f"{target} {key}" for target in columns for key in ("R@1", "R@2", "macro R@1")]
    render.table(("source", *header), rows, numbers=range(1, 1 + len(header)))


def _flat(pairs: Sequence[tuple[Grouped | None, Grouped | None]]) -> list[str]:
    """Three cells per pair of recall and macro recall: R@1, R@2, macro R@1."""
    cells = []
    for recall, macro in pairs:
        cells += [percent(recall[MEAN][key] if recall else None) for key in ("R@1", "R@2")]
        cells.append(percent(macro[MEAN]["R@1"] if macro else None))
    return cells


def _ranking(reports: Reports, sources: Sequence[str], targets: Sequence[str]) -> None:
    """Text to image, seen and unseen attributes apart (by phrase), or POAR's hit rate over all words."""
    names = {"all": "all words", "seen": "trained", "unseen": "never trained"}
    parts = [
        (source, target, name, figures)
        for report, source, target in zip(reports, sources, targets, strict=True)
        for name, figures in report.ranking.items()
    ]
    keys = list(dict.fromkeys(key for *_, figures in parts for key in figures if key != "texts"))
    rows = [
        (source, target, names[name], f"{figures['texts'] or 0:.0f}", *(percent(figures.get(key)) for key in keys))
        for source, target, name, figures in parts
    ]
    render.table(("source", "target", "attributes", "texts", *keys), rows, numbers=range(3, 4 + len(keys)))


def _texts(texts: Sequence[TextFigures]) -> None:
    """Each text with its region, whether its phrase was trained, and whose prompts it was read with."""
    depths = list(texts[0].precision) if texts else []
    rows = [
        (
            row.phrase if row.read_as == row.phrase else f'{row.phrase} (read: "{row.read_as}")',
            row.attribute or "-",
            row.group if row.candidate else f"({row.group})",
            row.region,
            {True: "trained", False: "never", None: "-"}[row.seen],
            row.prompt or "-",
            f"{row.positives:,}",
            percent(row.AP),
            *(percent(row.precision[key]) for key in depths),
        )
        for row in texts
    ]
    header = ("text", "attribute", "group", "region", "trained", "prompt", "images", "AP", *depths)
    render.table(header, rows, numbers=range(6, 8 + len(depths)))


def _origin(report: OpenDomainReport, source: str) -> str:
    if report.checkpoint is None:
        return "source      none: chance and the image-blind predictor need no images"
    return f"source      {source}: {report.weights}, trained on {report.trained_on}"


def _source(report: OpenDomainReport) -> str:
    """A source by its training dataset and run folder."""
    if report.checkpoint is None:
        return "-"
    folder = Path(report.checkpoint)
    run = folder.parent.parent if folder.parent.name == "checkpoints" else folder
    return f"{report.source} ({run.name})"


def _labels(named: Sequence[tuple[str, str]]) -> list[str]:
    """Short names where they tell things apart; else with the last part of the place, else with the whole place."""
    labels = [(name, f"{name}: {Path(place).name}", f"{name}: {place}") for name, place in named]
    distinct = set(zip(labels, named, strict=True))
    for length in (0, 1, 2):
        count = Counter(label[length] for label, _ in distinct)
        labels = [label if count[label[length]] > 1 else (label[length],) * 3 for label in labels]
        distinct = set(zip(labels, named, strict=True))
    return [label[2] for label in labels]

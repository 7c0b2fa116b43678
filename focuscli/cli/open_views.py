"""How open-domain reports look: one pair of source and target as a table per group, several as the matrix of Table II."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from focuscli.cli import render
from focuscli.cli.render import percent

if TYPE_CHECKING:
    from focuscli.evaluation.open_domain import OpenDomainReport, TextMetrics
    from focuscli.metrics.retrieval import Grouped

RULES = (
    "trained: the checkpoint was trained on a text of this phrase, letter case and spacing aside; other texts are read with "
    "the mean prompts of their region in the target's schema",
    "majority: the majority-class baseline, which answers the most frequent words of the target's train + val images "
    "without looking; chance: random order",
)
MAJORITY = "majority"


def show(reports: Sequence[OpenDomainReport], written: Sequence[Path | None], *, per_attribute: bool) -> None:
    """Metrics on stdout, notes and what was written on stderr. With --json one object: {"reports": [...]}."""
    if render.as_json():
        render.result({"reports": [report.to_json() for report in reports]}, lines=[])
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
        print("\ntext to image: mean over attributes; prevalence is the AP of a random order")
        _ranking(reports, sources, targets)
    if per_attribute:
        for report, source, target in zip(reports, sources, targets, strict=True):
            print(f"\n{source} on {target}; a group in brackets is outside the evaluation")
            _texts(report.texts)
    print()
    origins = [_origin(report, source) for report, source in zip(reports, sources, strict=True)]
    for line in [*dict.fromkeys(origins), *RULES]:
        print(line)
    notes = [f"{target}: {note}" for report, target in zip(reports, targets, strict=True) for note in report.notes]
    for line in dict.fromkeys(notes):
        render.warn(line)
    for file in written:
        if file is not None:
            render.note(f"wrote {file}")


def _groups(report: OpenDomainReport) -> None:
    """Image to text, a row per group: the checkpoint beside chance and the majority-class baseline."""
    columns: list[tuple[str, Grouped | None, str]] = [
        ("R@1", report.recall, "R@1"),
        ("R@2", report.recall, "R@2"),
        ("macro R@1", report.macro, "R@1"),
        ("chance R@1", report.chance, "R@1"),
        ("chance R@2", report.chance, "R@2"),
        (f"{MAJORITY} R@1", report.majority, "R@1"),
        (f"{MAJORITY} R@2", report.majority, "R@2"),
        (f"{MAJORITY} macro R@1", report.majority_macro, "R@1"),
    ]
    shown = [(name, metrics, key) for name, metrics, key in columns if metrics is not None]
    rows = []
    for group in report.chance:
        facts = report.groups.get(group)
        sizes = ("", "", f"{report.images:,}")
        if facts:
            sizes = (str(facts.texts), "-" if facts.seen is None else str(facts.seen), f"{facts.images:,}")
        values = [percent(metrics[group][key]) for _, metrics, key in shown]
        rows.append((group, *sizes, *values, (facts.majority_answer if facts else None) or ""))
    header = ("group", "texts", "trained", "images", *(name for name, _, _ in shown), f"{MAJORITY} answer")
    render.table(header, rows, numbers=range(1, 4 + len(shown)))


def _matrix(reports: Sequence[OpenDomainReport], sources: Sequence[str], targets: Sequence[str]) -> None:
    """Table II: R@1, R@2 and macro R@1 per pair; chance and the majority-class baseline of each target in the last rows."""
    cells = {(source, target): report for report, source, target in zip(reports, sources, targets, strict=True)}
    columns = {target: report for (_, target), report in cells.items()}
    rows = []
    for source in dict.fromkeys(source for (source, _), report in cells.items() if report.checkpoint is not None):
        pairs = [cells.get((source, target)) for target in columns]
        rows.append((source, *_flat([(pair.recall, pair.macro) if pair else (None, None) for pair in pairs])))
    rows.append(("chance", *_flat([(report.chance, None) for report in columns.values()])))
    rows.append((MAJORITY, *_flat([(report.majority, report.majority_macro) for report in columns.values()])))
    header = [f"{target} {key}" for target in columns for key in ("R@1", "R@2", "macro R@1")]
    render.table(("source", *header), rows, numbers=range(1, 1 + len(header)))


def _flat(pairs: Sequence[tuple[Grouped | None, Grouped | None]]) -> list[str]:
    """Three cells per pair of recall and macro recall: R@1, R@2, macro R@1."""
    cells = []
    for recall, macro in pairs:
        cells += [percent(recall["mean"][key] if recall else None) for key in ("R@1", "R@2")]
        cells.append(percent(macro["mean"]["R@1"] if macro else None))
    return cells


def _ranking(reports: Sequence[OpenDomainReport], sources: Sequence[str], targets: Sequence[str]) -> None:
    """Text to image, trained and unseen attributes apart (by phrase), or POAR's hit rate over all words."""
    names = {"all": "all words", "seen": "trained", "unseen": "never trained"}
    parts = [
        (source, target, name, metrics)
        for report, source, target in zip(reports, sources, targets, strict=True)
        for name, metrics in report.ranking.items()
    ]
    keys = list(dict.fromkeys(key for *_, metrics in parts for key in metrics if key != "texts"))
    rows = [
        (source, target, names[name], f"{metrics['texts'] or 0:.0f}", *(percent(metrics.get(key)) for key in keys))
        for source, target, name, metrics in parts
    ]
    render.table(("source", "target", "attributes", "texts", *keys), rows, numbers=range(3, 4 + len(keys)))


def _texts(texts: Sequence[TextMetrics]) -> None:
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
        return "source      none: chance and the majority-class baseline need no images"
    return f"source      {source}: {report.weights}, trained on {report.trained_on}"


def _source(report: OpenDomainReport) -> str:
    """A source by its training dataset and run folder."""
    if report.checkpoint is None:
        return "-"
    folder = Path(report.checkpoint)
    run = folder.parent.parent if folder.parent.name == "checkpoints" else folder
    return f"{report.source} ({run.name})"


def _labels(named: Sequence[tuple[str, str]]) -> list[str]:
    """A label per (name, place), the same for the same pair: the shortest of the name alone, with the last part of its
    place, and with the whole place that no other pair shares."""
    forms = (lambda name, place: name, lambda name, place: f"{name}: {Path(place).name}")

    def label(pair: tuple[str, str]) -> str:
        for form in forms:
            if sum(form(*other) == form(*pair) for other in set(named)) == 1:
                return form(*pair)
        return ": ".join(pair)

    return [label(pair) for pair in named]

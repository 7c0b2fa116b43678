"""`focus eval --open-domain`: checkpoints on other datasets' texts, one report per pair of source and target."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from focuscli.cli import render, views
from focuscli.cli.models import ModelPlace, find_model
from focuscli.cli.render import percent
from focuscli.errors import InputError, RequirementError
from focuscli.storage import paths
from focuscli.storage.files import write_json

if TYPE_CHECKING:
    from focuscli.evaluation.open_domain import OpenDomainReport, TextMetrics
    from focuscli.evaluation.protocols import Protocol
    from focuscli.evaluation.targets import Target
    from focuscli.inference.recognizer import Recognizer

RULES = (
    "trained: the checkpoint was trained on a text of this phrase, letter case and spacing aside; other texts are read with "
    "the mean prompts of their region in the target's schema",
    "majority: the majority-class baseline, which answers the most frequent words of the target's train + val images "
    "without looking; chance: random order",
)


def run_open_domain(
    checkpoints: Sequence[str | None],
    targets: Sequence[str],
    split: str,
    protocol: Protocol,
    groups: Sequence[str],
    open_model: Callable[[ModelPlace], Recognizer],
    other_data: bool,
    *,
    per_attribute: bool,
    workers: int,
) -> None:
    """Evaluate every source on every target and show a table or a matrix. All is refused before an image is read.

    Without targets every prepared dataset is one, and those that do not fit are skipped with a warning. Targets of labels
    alone need no checkpoint, so a missing one stops only what would score images.
    """
    missing: RequirementError | None = None
    try:
        sources = list(dict.fromkeys(find_model(name) for name in checkpoints))
    except RequirementError as error:
        if not targets:
            raise
        sources, missing = [], error
    named = [paths.resolve_dataset(name) for name in dict.fromkeys(targets)]

    from focuscli.data.folder import read_folder
    from focuscli.evaluation.targets import open_target

    opened: list[Target] = []
    for folder in named or paths.prepared_datasets():
        with _skipping(folder, strict=bool(named)):
            opened.append(open_target(read_folder(folder), split, protocol, groups))
    if not opened:
        raise InputError("No prepared dataset can be a target.", "Name one: focus eval --open-domain --target FOLDER")
    if missing is not None and not all(target.folder.labels_only for target in opened):
        raise missing
    recognizers = [open_model(source) for source in sources]

    from focuscli.evaluation.closed_set import check_same_data
    from focuscli.evaluation.open_domain import check_regions, evaluate_open_domain

    pairs: list[tuple[Recognizer | None, Target]] = []
    pictured = [target for target in opened if not target.folder.labels_only]
    for recognizer, target in ((recognizer, target) for recognizer in recognizers for target in pictured):
        with _skipping(f"{target.folder.path} for {recognizer.folder}", strict=bool(named)):
            if not other_data:
                check_same_data(recognizer, target.folder)
            check_regions(recognizer, target)
            pairs.append((recognizer, target))
    pairs += [(None, target) for target in opened if target.folder.labels_only]  # the baselines alone
    if not pairs:
        raise InputError("No target fits the checkpoint.", "To see why: focus eval --open-domain --target NAME")

    reports, written = [], []
    for source, target in pairs:
        with render.progress(f"scoring {target.folder.name}") as progress:
            report = evaluate_open_domain(source, target, workers=workers, progress=progress)
        reports.append(report)
        if source is not None:
            of_groups = "".join(f"-{name.replace(' ', '_')}" for name in groups)
            file = f"open-domain-{views.file_name(_target(report))}-{split}-{protocol.name}{of_groups}-{source.folder.name}.json"
            written.append(paths.run_folder(source.folder) / "eval" / file)
            if source.process_group.is_main:
                write_json(written[-1], report.to_json())
    _show(reports, per_attribute=per_attribute)
    for path in [] if render.as_json() else written:
        render.note(f"wrote {path}")


@contextlib.contextmanager
def _skipping(what: object, *, strict: bool) -> Iterator[None]:
    """What does not fit is skipped with a warning; with `strict` it is an error."""
    try:
        yield
    except InputError as error:
        if strict:
            raise
        render.warn(f"skipped {what}: {error.problem}")


def _show(reports: Sequence[OpenDomainReport], *, per_attribute: bool) -> None:
    """Metrics on stdout: one pair as a table per group, several as the matrix of Table II; notes on stderr."""
    if render.as_json():
        render.result({"reports": [report.to_json() for report in reports]})
        return
    render.line(
        f"open domain, protocol {reports[0].protocol}, {reports[0].split} images, percent; means are over groups"
    )
    render.line()
    if len(reports) == 1:
        render.line(f"image to text: {_source(reports[0])} on {_target(reports[0])}")
        _groups(reports[0])
    else:
        render.line("image to text: sources in rows, targets in columns")
        _matrix(reports)
    if any(report.ranking for report in reports):
        render.line()
        render.line("text to image: mean over attributes; prevalence is the AP of a random order")
        _ranking(reports)
    if per_attribute:
        for report in reports:
            render.line()
            render.line(f"{_source(report)} on {_target(report)}; a group in brackets is outside the evaluation")
            _texts(report.texts)
    render.line()
    for report in {report.checkpoint: report for report in reports}.values():
        origin = f"{_source(report)}: {report.weights}, trained on {report.trained_on}"
        render.line(f"source      {origin if report.checkpoint else 'none: the baselines need no images'}")
    for rule in RULES:
        render.line(rule)
    for line in dict.fromkeys(f"{_target(report)}: {note}" for report in reports for note in report.notes):
        render.warn(line)


def _groups(report: OpenDomainReport) -> None:
    """Image to text, a row per group: the checkpoint beside chance and the majority-class baseline."""
    kinds = (("", report.recall, report.macro), ("chance ", report.chance, None))
    shown = []
    for kind, recall, macro in (*kinds, ("majority ", report.majority, report.majority_macro)):
        shown += [(f"{kind}{key}", recall, key) for key in ("R@1", "R@2") if recall]
        shown += [(f"{kind}macro R@1", macro, "R@1")] if macro else []
    rows = []
    for group in report.chance:
        facts = report.groups.get(group, {"texts": "", "seen": "", "images": report.images, "blind answer": None})
        sizes = (str(facts["texts"]), "-" if facts["seen"] is None else str(facts["seen"]), f"{facts['images']:,}")
        rows.append((group, *sizes, *(percent(metrics[group][key]) for _, metrics, key in shown)))
        rows[-1] += (facts["blind answer"] or "",)
    header = ("group", "texts", "trained", "images", *(name for name, _, _ in shown), "majority answer")
    render.table(header, rows, numbers=range(1, 4 + len(shown)))


def _matrix(reports: Sequence[OpenDomainReport]) -> None:
    """Table II: R@1, R@2 and macro R@1 per pair; chance and the majority-class baseline of each target in the last rows."""
    cells = {(report.checkpoint, report.target_folder): report for report in reports}
    columns = {report.target_folder: report for report in reports}
    keys = ("R@1", "R@2", "macro R@1")
    rows = []
    for checkpoint, name in {report.checkpoint: _source(report) for report in reports}.items():
        if checkpoint is not None:
            pairs = [cells.get((checkpoint, target)) for target in columns]
            rows.append((name, [pair.means()["source"] if pair else {} for pair in pairs]))
    for shown, name in (("chance", "chance"), ("majority", "majority-class baseline")):
        rows.append((shown, [report.means().get(name, {}) for report in columns.values()]))
    lines = [(name, *(percent(means.get(key)) for means in row for key in keys)) for name, row in rows]
    header = [f"{_target(report)} {key}" for report in columns.values() for key in keys]
    render.table(("source", *header), lines, numbers=range(1, 1 + len(header)))


def _ranking(reports: Sequence[OpenDomainReport]) -> None:
    """Text to image, trained and unseen attributes apart (by phrase), or POAR's hit rate over all words."""
    names = {"all": "all words", "seen": "trained", "unseen": "never trained"}
    parts = [(report, name, metrics) for report in reports for name, metrics in report.ranking.items()]
    keys = list(dict.fromkeys(key for *_, metrics in parts for key in metrics if key != "texts"))
    rows = []
    for report, name, metrics in parts:
        values = (f"{metrics['texts'] or 0:.0f}", *(percent(metrics.get(key)) for key in keys))
        rows.append((_source(report), _target(report), names[name], *values))
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


def _source(report: OpenDomainReport) -> str:
    """A source by its training dataset and run folder."""
    return f"{report.source} ({paths.run_folder(Path(report.checkpoint)).name})" if report.checkpoint else "-"


def _target(report: OpenDomainReport) -> str:
    """A target by its name, and its folder if that has another one."""
    folder = Path(report.target_folder).resolve().name
    return report.target if folder == report.target else f"{report.target}, {folder}"

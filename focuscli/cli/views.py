"""How reports, training and predictions look in a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from focuscli.cli import render
from focuscli.cli.render import percent

if TYPE_CHECKING:
    from focuscli.data.prepare import PrepareReport
    from focuscli.evaluation.closed_set import EvaluationReport
    from focuscli.inference.predict import Scorer, TextDecision
    from focuscli.tools.gallery.results import Found

FIGURES = ("mA", "Acc", "Prec", "Recall", "F1", "F1h")


def configuration(values: Mapping[str, Mapping[str, Any]], origins: Mapping[str, str]) -> None:
    """Every setting with its value and where it came from."""
    if render.as_json():
        print(json.dumps({"config": values, "origins": dict(origins)}))
        return
    rows = [
        (f"{section}.{key}", json.dumps(value), origins.get(f"{section}.{key}", "default"))
        for section, fields in values.items()
        for key, value in fields.items()
    ]
    render.table(("setting", "value", "from"), rows)


def prepared(report: PrepareReport, *, next_command: str | None, dry_run: bool = False) -> None:
    """What `focus prepare` found and wrote."""
    others = report.attributes - report.evaluated
    render.note(
        f"  {report.name}  {report.images:,} images · {report.attributes} attributes, {report.evaluated} evaluated"
        + (f", {others} more kept" if others else "")
    )
    counts = " · ".join(f"{name} {count:,}" for name, count in report.counts.items())
    if report.published:
        expected = " / ".join(f"{count:,}" for count in report.published.values())
        agree = all(report.counts.get(name) == count for name, count in report.published.items())
        counts += f"      published {expected}  {'✓' if agree else '✗ differs'}"
    render.note(f"  {counts}")
    for line in report.notes:
        render.note(f"  {line}")
    for line in report.warnings:
        render.warn(line)
    if dry_run:
        render.note(f"  dry run: nothing was written to {report.path}       {report.seconds:.1f} s")
        return
    render.note(f"  wrote {report.path}       {report.seconds:.1f} s")
    if next_command:
        render.note(f"  next: {next_command}")


def figures_line(report: EvaluationReport) -> str:
    """The figures of an evaluation, with the threshold's source and the weights' origin, in one line."""
    figures = "  ".join(f"{name} {percent(report.metrics[name])}" for name in FIGURES)
    return f"  {report.dataset} {report.split}: {figures}  (thresholds {report.threshold_source}; weights: {report.weights})"


def assumptions(scorer: Scorer | Found, decisions: Sequence[TextDecision]) -> None:
    """How unseen texts were read, and that they mean little to a model that started without CLIP's weights."""
    unseen = [decision for decision in decisions if not decision.seen]
    for decision in unseen:
        render.note(
            f'  "{decision.text.phrase}" was not trained: read as "{decision.text.description}" '
            f"(region {scorer.region_source(decision.text)}), threshold {decision.threshold_source}"
        )
    if not unseen:
        return
    from focuscli.config import SCRATCH

    if scorer.weights == SCRATCH:
        render.note("  model trained from scratch, without CLIP's weights: unseen texts mean little to it")


def skipped(items: Sequence[tuple[str, str]], *, total: int) -> None:
    """The images that could not be read."""
    if items:
        render.warn(f"skipped {len(items)} unreadable of {total} images:")
        for _, reason in items[:20]:
            render.warn(f"  {reason}")
        if len(items) > 20:
            render.warn(f"  and {len(items) - 20} more")


def looks(
    images: Sequence[str],
    scores: Sequence[Sequence[float]],
    decisions: Sequence[TextDecision],
    *,
    weights: str,
    written: Path,
) -> None:
    """Scores beside a written attention grid."""
    from focuscli.inference.predict import shown_threshold

    data = {
        "picture": str(written),
        "images": [
            {
                "image": image,
                "scores": {d.text.phrase: round(score, 4) for d, score in zip(decisions, row, strict=True)},
            }
            for image, row in zip(images, scores, strict=True)
        ],
        "thresholds": {d.text.phrase: shown_threshold(d) for d in decisions},
        "threshold_source": {d.text.phrase: d.threshold_source for d in decisions},
        "unseen": [d.text.phrase for d in decisions if not d.seen],
        "weights": weights,
    }
    lines = []
    for image, row in zip(images, scores, strict=True):
        lines.append(image)
        lines += [
            f"  {d.text.phrase:<34} {'seen' if d.seen else 'unseen':<7} {d.text.region:<6} {against(d, score)}"
            for d, score in zip(decisions, row, strict=True)
        ]
    render.result(data, lines=[*lines, f"wrote {written}"])


def against(decision: TextDecision, score: float) -> str:
    """A score, its threshold and the answer."""
    if decision.threshold is None:
        return f"{score:7.2f}"
    sign, word = (">", "yes") if decision.present(score) else ("<=", "no")
    return f"{score:7.2f} {sign:>2} {decision.threshold:6.2f}  {word:<3}"

"""What several commands show: settings, prepared data, metrics, how unseen texts are read, unreadable images."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from focuscli.cli import render
from focuscli.errors import listed, plural
from focuscli.storage.paths import run_folder

if TYPE_CHECKING:
    from focuscli.config import RunConfig
    from focuscli.data.folder import DatasetFolder
    from focuscli.inference.predict import Scorer, TextDecision

MOST_ATTRIBUTES = 60
METRICS = ("mA", "Acc", "Prec", "Recall", "F1", "F1h")


def configuration(settings: RunConfig, origins: Mapping[str, str]) -> None:
    """Every setting as TOML for --config, with a comment where a value is not the default; with --json as an object."""
    from focuscli.config import dump_config

    data = {"config": settings.model_dump(mode="json"), "origins": dict(origins)}
    head = "# For focus train --config. A comment says where a value comes from; the others are defaults."
    render.result(data, lines=[head, *dump_config(settings, dict(origins)).splitlines()])


def prepared(folder: DatasetFolder, counts: Mapping[str, Mapping[str, Mapping[str, int]]] | None = None) -> None:
    """What is in a dataset that was prepared, and what was noticed; with `counts` of `label_counts` also the labels."""
    attributes, evaluated = len(folder.schema.attributes), len(folder.schema.evaluated)
    render.note(
        f"  {folder.name}  {plural(len(folder.images), 'image')} · {plural(attributes, 'attribute')}, {evaluated} evaluated"
        + (f", {attributes - evaluated} more kept" if attributes > evaluated else "")
    )
    sizes = " · ".join(f"{name} {count:,}" for name, count in folder.counts.items())
    if published := folder.info.get("published"):
        expected = " / ".join(f"{count:,}" for count in published.values())
        agree = all(folder.counts.get(name) == count for name, count in published.items())
        sizes += f"      published {expected}  {'✓' if agree else '✗ differs'}"
    render.note(f"  {sizes}")
    if counts:
        _label_table(counts)
    for line in folder.info["notes"]:
        render.note(f"  {line}")
    for line in folder.info["warnings"]:
        render.warn(line)


def listing(
    kind: str,
    folder: Path,
    found: Sequence[dict[str, Any]],
    columns: Sequence[str],
    row: Callable[[dict[str, Any]], tuple[str, ...]],
    advice: str,
) -> None:
    """What a folder holds as a table, and warnings of what is damaged; without any, the command that makes the first."""
    if render.as_json():
        render.result({"folder": str(folder), f"{kind}s": found})
        return
    if rows := [row(item) for item in found if "problem" not in item]:
        render.table(columns, rows)
    for item in found:
        if "problem" in item:
            render.warn(f"{item['name']} is damaged: {item['problem']}")
    if not found:
        render.note(f"No {kind} in {folder.absolute()}.")
        render.note(f"next: {advice}")


def model(folder: Path, about: str) -> None:
    """Which model has scored: its run and what it is, see `inference.predict.Scorer`."""
    render.note(f"model: {run_folder(folder)} · {about}")


def file_name(words: str) -> str:
    """A dataset's name as a part of a file name."""
    return re.sub(r"[^\w.+-]+", "-", words).strip("-")


def _label_table(counts: Mapping[str, Mapping[str, Mapping[str, int]]]) -> None:
    """Present, absent and unknown images per attribute, in all and per split."""
    parts = [*next(iter(counts.values()))]
    rows = [["present / absent / unknown", *parts]]
    for name, found in [*counts.items()][:MOST_ATTRIBUTES]:
        rows.append([name, *("{present:,} / {absent:,} / {unknown:,}".format_map(found[part]) for part in parts)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = (f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True))
        render.note(f"  {first:<{widths[0]}}   {'   '.join(cells)}")
    if len(counts) > MOST_ATTRIBUTES:
        render.note(f"  and {len(counts) - MOST_ATTRIBUTES:,} more attributes; --json lists all")


def assumptions(decisions: Sequence[TextDecision], weights: str) -> None:
    """How unseen texts were read, and that they mean little to a model that started without CLIP's weights."""
    unseen = [decision for decision in decisions if not decision.seen]
    for decision in unseen:
        render.note(
            f'  "{decision.text.phrase}" was not trained: read as "{decision.text.description}" '
            f"(region {decision.region_source}), threshold {decision.threshold_source}"
        )
    if unseen:
        from focuscli.config import SCRATCH  # predicting with an exported model does without

        if weights == SCRATCH:
            render.note("  model trained from scratch, without CLIP's weights: unseen texts mean little to it")


def left_out(reasons: Mapping[str, Sequence[str]]) -> None:
    """Files of the given folders that are not read; a warning where there may be images among them."""
    if reasons:
        from focuscli.data.formats import plugin_for
        from focuscli.data.inputs import describe

        harmless = set(reasons) <= {"other file", "hidden file"} and not any(
            map(plugin_for, reasons.get("other file", ()))
        )
        (render.note if harmless else render.warn)(f"{'  ' * harmless}left out: {describe(reasons)}")


def skipped(reasons: Sequence[str], *, total: int) -> None:
    """The images that could not be read."""
    if reasons:
        render.warn(f"skipped {len(reasons):,} unreadable of {plural(total, 'image')}:")
        for reason in reasons[:20]:
            render.warn(f"  {reason}")
        if len(reasons) > 20:
            render.warn(f"  and {len(reasons) - 20} more")


def scaled() -> None:
    """Which images needed a guess to be read with 8 bits, since the last call; once at the end of each command."""
    images = sys.modules.get("focuscli.data.images")
    if images is not None and images.scaled:
        counts = Counter(images.scaled.values()).most_common()
        kinds = "; ".join(f"{plural(count, 'image')} with {kind}" for kind, count in counts)
        render.note(f"  {kinds} (by each image's largest value)")
        images.scaled.clear()


def thresholds(decisions: Sequence[TextDecision], scorer: Scorer) -> str:
    """Where the thresholds of texts come from, in one line."""
    sources: dict[str, list[str]] = {}
    for decision in decisions:
        sources.setdefault(decision.threshold_source, []).append(decision.text.phrase)
    parts: list[str] = []
    for source, phrases in sorted(sources.items(), key=lambda item: item[0] != "val"):
        words = f"chosen on {scorer.threshold_source}" if source == "val" else source
        parts.append(f"{words} ({render.plain(listed(phrases))})" if parts else words)
    return f"thresholds: {'; '.join(parts)}"


def score_and_answer(decision: TextDecision, score: float, present: bool | None = None) -> str:
    """A score, its threshold and the answer: `present`, or what the threshold says."""
    above = decision.present(score)
    present = above if present is None else present
    answer = "" if present is None else f"  {'yes' if present else 'no':<3}"
    if decision.threshold is None:
        return f"{score:7.2f}{answer}"
    return f"{score:7.2f} {'>' if above else '<=':>2} {decision.threshold:6.2f}{answer}"

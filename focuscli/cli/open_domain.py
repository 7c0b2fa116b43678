"""`focus eval --open-domain`: checkpoints on other datasets' texts, one report per pair of source and target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from focuscli.cli import open_views, render
from focuscli.cli.models import find_model
from focuscli.engine.distributed import SINGLE, ProcessGroup
from focuscli.errors import InputError, RequirementError
from focuscli.evaluation.protocols import Protocol
from focuscli.storage import paths

if TYPE_CHECKING:
    from focuscli.evaluation.open_domain import OpenDomainReport
    from focuscli.evaluation.targets import Target
    from focuscli.inference.recognizer import Recognizer


@dataclass(frozen=True)
class Options:
    """What the command line says beside sources and targets."""

    split: str
    protocol: Protocol
    groups: tuple[str, ...]
    other_data: bool
    per_attribute: bool
    device: str
    precision: str
    workers: int


def run_open_domain(
    checkpoints: Sequence[str | None], targets: Sequence[str], options: Options, process_group: ProcessGroup = SINGLE
) -> None:
    """Evaluate every source on every target and show table or matrix.

    Without targets every prepared dataset is one, and those that do not fit are left out with a warning. Targets that are
    labels alone need no checkpoint, so none being there stops only what would score images.

    Raises:
        InputError: a named target or a checkpoint does not fit. UsageError: an unknown group.
        RequirementError: there is no checkpoint to score images with.
    """
    missing: RequirementError | None = None
    try:
        sources = list(dict.fromkeys(find_model(name) for name in checkpoints))
    except RequirementError as error:
        if not targets:
            raise
        sources, missing = [], error
    named = [paths.resolve_dataset(name) for name in dict.fromkeys(targets)]
    chosen = named or paths.prepared_datasets()

    opened: list[Target] = []
    for folder in chosen:
        try:
            opened.append(_open(folder, options))
        except InputError as error:
            if named:
                raise
            render.warn(f"left out {folder}: {error.problem}")
    if not opened:
        raise InputError("No prepared dataset can be a target.", "Name one: focus eval --open-domain --target FOLDER")

    if missing is not None and not all(target.folder.labels_only for target in opened):
        raise missing
    recognizers = [
        source.open(device=options.device, precision=options.precision, process_group=process_group)
        for source in sources
    ]
    pairs = _fitting(recognizers, opened, options, strict=bool(named))
    reports, written = [], []
    for recognizer, target in pairs:
        reports.append(_evaluate(recognizer, target, options))
        written.append(_write(reports[-1], recognizer.folder, options, process_group) if recognizer else None)
    open_views.show(reports, written, per_attribute=options.per_attribute)


def _open(folder: Path, options: Options) -> Target:
    from focuscli.data.folder import read_folder
    from focuscli.evaluation.targets import open_target

    return open_target(read_folder(folder), options.split, options.protocol, options.groups)


def _fitting(
    recognizers: Sequence[Recognizer], targets: Sequence[Target], options: Options, *, strict: bool
) -> list[tuple[Recognizer | None, Target]]:
    """The pairs that can be evaluated; all refusals come before the first image is read. A target of labels alone stands
    once, without a checkpoint: for what goes beside."""
    from focuscli.evaluation.closed_set import check_same_data
    from focuscli.evaluation.open_domain import check_regions

    pairs: list[tuple[Recognizer | None, Target]] = []
    for recognizer in recognizers:
        for target in targets:
            try:
                if not target.has_images:
                    continue
                if not options.other_data:
                    check_same_data(recognizer, target.folder)
                check_regions(recognizer, target)
            except InputError as error:
                if strict:
                    raise
                render.warn(f"left out {target.folder.path} for {recognizer.folder}: {error.problem}")
                continue
            pairs.append((recognizer, target))
    pairs += [(None, target) for target in targets if target.folder.labels_only]
    if not pairs:
        raise InputError(
            "No target fits the checkpoint.", "Name one to see why: focus eval --open-domain --target NAME"
        )
    return pairs


def _evaluate(recognizer: Recognizer | None, target: Target, options: Options) -> OpenDomainReport:
    from focuscli.evaluation.open_domain import evaluate_open_domain

    with render.progress(f"scoring {target.folder.schema.name}") as progress:
        return evaluate_open_domain(recognizer, target, workers=options.workers, progress=progress)


def _write(report: OpenDomainReport, checkpoint: Path, options: Options, process_group: ProcessGroup) -> Path:
    from focuscli.storage.files import write_json

    part = "".join(f"-{name.replace(' ', '_')}" for name in options.groups)
    folder = Path(report.target_folder).resolve().name
    target = report.target if folder == report.target else f"{report.target}-{folder}"
    name = f"open-domain-{target}-{report.split}-{report.protocol}{part}-{checkpoint.name}.json"
    written = paths.report_folder(checkpoint) / name
    if process_group.is_main:
        write_json(written, report.to_json())
    return written

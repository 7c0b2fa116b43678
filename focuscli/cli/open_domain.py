"""`focus eval --open-domain`: checkpoints on other datasets' texts, one report per pair of source and target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from focuscli.cli import open_views, render
from focuscli.cli.models import find_model
from focuscli.errors import InputError, RequirementError
from focuscli.evaluation.protocols import Protocol
from focuscli.storage import paths
from focuscli.storage.files import write_json

if TYPE_CHECKING:
    from focuscli.engine.distributed import ProcessGroup
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
    device: str | None
    precision: str | None
    workers: int


def run_open_domain(
    checkpoints: Sequence[str | None], targets: Sequence[str], options: Options, process_group: ProcessGroup
) -> None:
    """Evaluate every source on every target and show a table or a matrix.

    Without targets every prepared dataset is one, and those that do not fit are skipped with a warning. Targets of labels
    alone need no checkpoint, so a missing one stops only what would score images.

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
    opened = _open_targets(named or paths.prepared_datasets(), options, strict=bool(named))
    if missing is not None and not all(target.folder.labels_only for target in opened):
        raise missing
    recognizers = [
        source.open(device=options.device, precision=options.precision, process_group=process_group)
        for source in sources
    ]

    from focuscli.evaluation.open_domain import evaluate_open_domain

    reports: list[OpenDomainReport] = []
    written: list[Path | None] = []
    for recognizer, target in _pairs(recognizers, opened, options, strict=bool(named)):
        with render.progress(f"scoring {target.folder.schema.name}") as progress:
            report = evaluate_open_domain(recognizer, target, workers=options.workers, progress=progress)
        file = None if recognizer is None else _report_file(report, recognizer.folder, options)
        if file is not None and process_group.is_main:
            write_json(file, report.to_json())
        reports.append(report)
        written.append(file)
    open_views.show(reports, written, per_attribute=options.per_attribute)


def _open_targets(folders: Sequence[Path], options: Options, *, strict: bool) -> list[Target]:
    """The datasets that can be targets; `strict`: one that cannot is an error."""
    from focuscli.data.folder import read_folder
    from focuscli.evaluation.targets import open_target

    opened = []
    for folder in folders:
        try:
            opened.append(open_target(read_folder(folder), options.split, options.protocol, options.groups))
        except InputError as error:
            if strict:
                raise
            render.warn(f"skipped {folder}: {error.problem}")
    if not opened:
        raise InputError("No prepared dataset can be a target.", "Name one: focus eval --open-domain --target FOLDER")
    return opened


def _pairs(
    recognizers: Sequence[Recognizer], targets: Sequence[Target], options: Options, *, strict: bool
) -> list[tuple[Recognizer | None, Target]]:
    """The pairs that fit; everything is refused here, before the first image is read.

    A target of labels alone has one pair, without a checkpoint: it gets the baselines only.
    """
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
                render.warn(f"skipped {target.folder.path} for {recognizer.folder}: {error.problem}")
                continue
            pairs.append((recognizer, target))
    pairs += [(None, target) for target in targets if target.folder.labels_only]
    if not pairs:
        raise InputError(
            "No target fits the checkpoint.", "Name one to see why: focus eval --open-domain --target NAME"
        )
    return pairs


def _report_file(report: OpenDomainReport, checkpoint: Path, options: Options) -> Path:
    groups = "".join(f"-{name.replace(' ', '_')}" for name in options.groups)
    folder = Path(report.target_folder).resolve().name
    target = report.target if folder == report.target else f"{report.target}-{folder}"
    name = f"open-domain-{target}-{report.split}-{report.protocol}{groups}-{checkpoint.name}.json"
    return paths.run_folder(checkpoint) / "eval" / name

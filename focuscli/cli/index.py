"""`focus index`."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from focuscli.cli import processes, render, views
from focuscli.cli.models import find_model
from focuscli.cli.options import (
    SPLITS,
    BatchOpt,
    CheckpointOpt,
    DeviceOpt,
    DryRunOpt,
    NullOpt,
    PrecisionOpt,
    StrictOpt,
    WorkersOpt,
    choice,
    dataset_names,
)
from focuscli.engine.distributed import WorkerLost
from focuscli.errors import Interrupted, plural
from focuscli.storage.paths import ZERO_SHOT

if TYPE_CHECKING:
    from focuscli.tools.gallery.index import Plan

GROUP_HELP = "What belongs together, for search --per-group: a column of labels.csv, or what a regex finds in the path."


def index_command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER|DATASET", help="Also a glob, or - for paths on stdin.", autocompletion=dataset_names
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="GALLERY", help="The gallery: a folder to make.")],
    split: Annotated[str | None, choice("--split", of=SPLITS, others=True, help="Of a dataset.", shown="all")] = None,
    group: Annotated[str | None, typer.Option(metavar="COLUMN|REGEX", help=GROUP_HELP)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Finish a gallery, or bring it up to date.")] = False,
    dry_run: DryRunOpt = False,
    checkpoint: CheckpointOpt = None,
    strict: StrictOpt = False,
    null: NullOpt = False,
    part_size: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Crops per part: what a killed run can lose.")
    ] = 8192,
    batch: BatchOpt = 32,
    workers: WorkersOpt = 2,
    device: DeviceOpt = None,
    precision: PrecisionOpt = None,
) -> None:
    """Store the features of many crops, for focus search."""
    with processes.together() as process_group, contextlib.ExitStack() as held:
        from focuscli.tools.gallery.index import plan_index, run_index
        from focuscli.tools.gallery.source import find_source
        from focuscli.tools.gallery.store import INFO, read_gallery

        # All processes share one standard input, and all is looked at before any of them writes.
        if resume and group is None and (output / INFO).exists():
            group = process_group.broadcast(lambda: read_gallery(output).source.group)
        found = process_group.broadcast(
            lambda: find_source(source, split=split, group=group, stdin=render.stdin(), null=null)
        )
        place = find_model(checkpoint)
        recognizer = place.open(device=device, precision=precision, process_group=process_group)
        size, lock = process_group.world_size, None if dry_run else held
        plan = process_group.broadcast(
            lambda: plan_index(recognizer, place.weights, found, output, resume, part_size, size, lock)
        )
        views.left_out(found.left_out)
        _announce(plan, output, size)
        data: dict[str, object] = {
            "gallery": str(output),
            "images": len(found.crops),
            "encoded": plan.to_encode,
            "stored": plan.stored,
            "changed": plan.changed,
            "gone": plan.gone,
            "parts": plan.parts,
            "left_out": {reason: len(names) for reason, names in found.left_out.items()},
        }
        if dry_run:
            render.note(f"  dry run: nothing was written to {output}")
            render.result({**data, "crops": None, "skipped": None, "dry_run": True})
            return
        try:
            with render.progress("encoding crops" if size == 1 else "encoding this process's crops") as progress:
                skipped = run_index(
                    recognizer,
                    plan,
                    batch=batch,
                    workers=workers,
                    strict=strict,
                    process_group=process_group,
                    progress=progress,
                )
        except (KeyboardInterrupt, WorkerLost) as stop:
            # The latest run may be another one by then.
            model = ZERO_SHOT if checkpoint == ZERO_SHOT else os.path.abspath(recognizer.folder)
            words = [model if word == checkpoint else word for word in sys.argv[1:] if word != "--resume"]
            words += ["--resume"] if checkpoint else ["-c", model, "--resume"]
            same = " with the same paths on stdin" if source == "-" else ""
            hint = f"Go on{same} with: {processes.command_line(words, [source, str(output)])}"
            kept = f"parts that were finished are in {output}."
            if isinstance(stop, WorkerLost):
                raise WorkerLost(f"{stop.problem} The {kept}", hint) from stop
            raise Interrupted(f"Interrupted; the {kept}", hint) from stop
        crops = plan.stored + plan.to_encode - len(skipped)
        views.skipped(skipped, total=crops + len(skipped))
        parts, written = len(plan.gallery.parts), sum(file.stat().st_size for file in output.iterdir())
        render.result(
            {**data, "crops": crops, "skipped": len(skipped), "dry_run": False, "bytes": written},
            lines=[f"{output}: {plural(crops, 'crop')} in {plural(parts, 'part')}, {written / 2**20:,.1f} MiB"],
        )


def _announce(plan: Plan, output: Path, size: int) -> None:
    for problem in plan.damaged:
        render.warn(f"encoded again: {problem}")
    record = plan.source.record
    line = f"  {plural(len(plan.source.crops), 'image')} of {record.name} · {plan.to_encode:,} to encode"
    if record.group is not None:
        groups = {crop.group for crop in plan.source.crops}
        line += f" · groups: {len(groups - {None}):,}" + (", some crops without one" if None in groups else "")
    if plan.stored or plan.changed:
        line += f" · {plan.stored:,} stored · {plan.changed:,} changed since"
    if size > 1:
        line += f" in {size} processes"
    render.note(f"{line} · {plan.bytes_needed / 2**20:,.1f} MiB of features")
    if plan.gone:
        before, name = plan.stored + plan.changed + plan.gone, f"{record.name} {record.split}".rstrip()
        render.warn(f"{plan.gone:,} of the {before:,} images in {output} are not in {name}; they leave the gallery")

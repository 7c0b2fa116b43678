"""`focus index`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from focuscli.cli import processes, render, views
from focuscli.cli.models import find_model
from focuscli.cli.options import CheckpointOpt, DeviceOpt, DryRunOpt, PrecisionOpt
from focuscli.engine.distributed import ProcessGroup, WorkerLost
from focuscli.errors import Interrupted
from focuscli.storage.paths import ZERO_SHOT

if TYPE_CHECKING:
    from focuscli.tools.gallery.index import Job
    from focuscli.tools.gallery.manifest import Manifest
    from focuscli.tools.gallery.source import Source

SHARD, BATCH, WORKERS = 4096, 32, 2


def index_command(
    source: Annotated[
        str, typer.Argument(metavar="FOLDER|DATASET", help="Folder of crops, dataset, glob, or - for paths on stdin.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="GALLERY", help="The gallery: a folder to be made.")
    ],
    split: Annotated[
        str | None, typer.Option(help="Of a dataset: train, val, test, trainval or all (default).")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Finish a gallery that was cut off, or bring one up to date.")
    ] = False,
    dry_run: DryRunOpt = False,
    checkpoint: CheckpointOpt = None,
    shard: Annotated[int, typer.Option(min=1, help="Crops per shard: what a killed run can lose.")] = SHARD,
    batch: Annotated[int, typer.Option(min=1, help="Images per batch.")] = BATCH,
    workers: Annotated[int, typer.Option(min=1, help="Threads that decode images.")] = WORKERS,
    device: DeviceOpt = None,
    precision: PrecisionOpt = None,
) -> None:
    """Store the features of many crops, for focus search."""
    with processes.together() as process_group:
        # Standard input is one for all processes, and what is there is looked at before any of them writes.
        found = process_group.broadcast(lambda: _source(source, split))
        recognizer = find_model(checkpoint).open(device=device, precision=precision, process_group=process_group)

        from focuscli.tools.gallery.index import prepare_index, run_index, unreadable

        job = process_group.broadcast(lambda: prepare_index(recognizer, found, output, resume=resume, shard_size=shard))
        _announce(job, process_group)
        if dry_run:
            render.note(f"  dry run: nothing was written to {output}")
            render.result(_data(job, None), lines=[])
            return
        try:
            whose = "" if process_group.world_size == 1 else "this process's "
            with render.progress(f"encoding {whose}crops") as progress:
                manifest = run_index(
                    recognizer, job, batch=batch, workers=workers, team=process_group, progress=progress
                )
        except (KeyboardInterrupt, WorkerLost) as stop:
            kept = f"shards that were finished are in {output}."
            # The latest run may be another one by then.
            model = ZERO_SHOT if checkpoint == ZERO_SHOT else str(recognizer.folder)
            options = {"-o": output, "-c": model, "--split": split, "--device": device, "--precision": precision}
            numbers = {"--shard": (shard, SHARD), "--batch": (batch, BATCH), "--workers": (workers, WORKERS)}
            options |= {name: value for name, (value, default) in numbers.items() if value != default}
            way_on = _way_on(source, options, process_group)
            if isinstance(stop, WorkerLost):
                raise WorkerLost(f"{stop.problem} The {kept}", way_on) from stop
            raise Interrupted(f"Interrupted; the {kept}", way_on) from stop
        skipped = unreadable(output, manifest)
        views.skipped([(item.crop.path, item.reason) for item in skipped], total=manifest.crops + len(skipped))
        size = sum((output / name).stat().st_size for name in manifest.files)
        render.result(
            {**_data(job, manifest), "bytes": size},
            lines=[f"{output}: {manifest.crops:,} crops in {len(manifest.shards)} shards, {size / 2**20:,.1f} MiB"],
        )


def _source(source: str, split: str | None) -> Source:
    """What there is to index.

    Raises:
        InputError: nothing.
    """
    from focuscli.tools.gallery.source import find_source, none_there

    found = find_source(source, split=split, stdin=sys.stdin)
    if missing := none_there(found):
        raise missing
    return found


def _way_on(source: str, options: Mapping[str, object], process_group: ProcessGroup) -> str:
    """The command that goes on, with the options that have a value."""
    start = "focus" if process_group.world_size == 1 else "torchrun ... -m focuscli"
    words = ["index", source, *(word for name, value in options.items() if value for word in (name, str(value)))]
    again = " with the same paths on stdin" if source == "-" else ""
    return f"Go on{again} with: {start} {shlex.join([*words, '--resume'])}"


def _announce(job: Job, process_group: ProcessGroup) -> None:
    """What there is to do."""
    plan = job.plan
    for problem in job.damaged:
        render.warn(f"encoded again: {problem}")
    line = f"  {len(job.source.crops):,} images of {job.source.name} · {plan.to_encode:,} to encode"
    if plan.stored:
        line += f" · {plan.stored:,} stored"
    if plan.changed:
        line += f" · {plan.changed:,} changed since"
    if process_group.world_size > 1:
        line += f" in {process_group.world_size} processes"
    render.note(f"{line} · {job.bytes_needed / 2**20:,.1f} MiB of features")
    if plan.gone:
        before = plan.stored + plan.changed + plan.gone
        where = f"{job.source.name} {job.source.split}".rstrip()
        render.warn(
            f"{plan.gone:,} of the {before:,} images in {job.folder} are not in {where}; they leave the gallery"
        )


def _data(job: Job, manifest: Manifest | None) -> dict[str, object]:
    plan = job.plan
    return {
        "gallery": str(job.folder),
        "images": len(job.source.crops),
        "encoded": plan.to_encode,
        "stored": plan.stored,
        "changed": plan.changed,
        "gone": plan.gone,
        "crops": None if manifest is None else manifest.crops,
        "skipped": None if manifest is None else manifest.skipped,
        "shards": len(plan.names),
        "dry_run": manifest is None,
    }

"""`focus search`."""

from __future__ import annotations

import csv
import io
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from focuscli.cli import processes, render, views
from focuscli.cli.models import ModelPlace, find_model
from focuscli.cli.options import DeviceOpt, ForceOpt, PrecisionOpt, RegionOpt
from focuscli.errors import InputError, UsageError, did_you_mean
from focuscli.storage.files import ANY_NAME, atomic_path, check_free, to_json, write_text

if TYPE_CHECKING:
    from focuscli.tools.gallery.model import ModelRecord
    from focuscli.tools.gallery.results import Found

FORMATS = ("table", "jsonl", "csv")
MOST_ON_SHEET = 400


def search_command(
    gallery: Annotated[Path, typer.Argument(metavar="GALLERY", help="A folder that focus index made.")],
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="What the crops must show, all of it.")],
    without: Annotated[
        list[str] | None, typer.Option("--not", metavar="TEXT", help="What they must not show; repeatable.")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            metavar="SQL",
            help='Only crops for which this holds: a condition on path, size, mtime, "group" and the scores of trained '
            "attributes, by name.",
        ),
    ] = None,
    per_group: Annotated[
        bool, typer.Option("--per-group", help="Only the best crop of each group (see focus index --group).")
    ] = False,
    each: Annotated[bool, typer.Option("--each", help="Each TEXT is a search of its own, in one pass.")] = False,
    k: Annotated[int, typer.Option("-k", min=1, help="How many crops.")] = 20,
    fast: Annotated[
        bool,
        typer.Option(
            "--fast/--exact", help="Score only the tenth of the crops that a projection expects to fit; or all."
        ),
    ] = False,
    two_stage: Annotated[bool, typer.Option("--two-stage", hidden=True, help="The old name of --fast.")] = False,
    recall: Annotated[
        bool,
        typer.Option(
            "--recall",
            help="Search both ways and report how many of the exact crops --fast finds: below the table, as recall in "
            "each line of jsonl, else on stderr (also with -q).",
        ),
    ] = False,
    check_recall: Annotated[
        bool, typer.Option("--check-recall", hidden=True, help="The old name of --recall.")
    ] = False,
    sheet: Annotated[Path | None, typer.Option(metavar="PNG", help="Draw the crops there.")] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="table, jsonl (a line per crop; default with --json) or csv.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write there instead of to stdout.")] = None,
    force: ForceOpt = False,
    checkpoint: Annotated[
        str | None,
        typer.Option("--checkpoint", "-c", metavar="RUN", help="The gallery's model, if the checkpoint has moved."),
    ] = None,
    region: RegionOpt = None,
    device: DeviceOpt = None,
    precision: PrecisionOpt = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Cores to use; default: as many as DuckDB and torch see.")
    ] = None,
) -> None:
    """The crops of a gallery that fit texts best, trained or not."""
    chosen = format_ or ("jsonl" if render.as_json() else "table")
    if chosen not in FORMATS:
        raise UsageError(f'Unknown format "{chosen}".', did_you_mean(chosen, FORMATS))
    for number, words in enumerate([*texts, *(without or [])], start=1):
        if not words.strip():
            raise UsageError(f"Text {number} is empty.", "Give each text at least one word.")
    _check_files(output, sheet, force=force)

    from focuscli.tools.gallery.model import ModelFiles, check_model
    from focuscli.tools.gallery.reader import open_gallery
    from focuscli.tools.gallery.results import find

    with processes.together() as process_group, open_gallery(gallery, where=where, threads=threads) as reader:
        count = reader.count()
        if sheet is not None:
            _check_cells(min(k, count) * (len(texts) if each else 1))
        place = _model_of(reader.gallery.model) if checkpoint is None else find_model(checkpoint)
        check_model(gallery, reader.gallery.model, ModelFiles(place.folder, place.weights))
        load = cache(lambda: place.open(device=device, precision=precision, process_group=process_group))
        if device is not None or precision is not None:
            load()  # Trained attributes need no model, but an option that is given has to be right.
        with render.progress("searching") as progress:
            found = find(
                reader,
                load,
                [[words] for words in texts] if each else [texts],
                without or [],
                k,
                region=region,
                per_group=per_group,
                fast=fast or two_stage,
                check_recall=recall or check_recall,
                threads=threads,
                process_group=process_group,
                progress=progress,
            )
        views.assumptions(found.decisions, found.weights)
        which = "crops" if where is None else "such crops"
        if count < k:
            render.warn(f"{gallery} holds {count:,} {which}, fewer than the {k:,} asked for; all of them are ranked.")
        if not process_group.is_main:
            return
        _write(chosen, found, output, each=each)
        _report_recall(chosen, found, output)
        if sheet is not None:
            from focuscli.tools.gallery.results import draw

            picture = draw(found, count)
            with atomic_path(sheet) as temporary:
                picture.save(temporary, format="PNG")
            render.note(f"wrote {sheet}")
        note = f"  {found.seconds:.2f} s over {count:,} {which}, {'fast' if found.fast else 'exact'}"
        if process_group.world_size > 1:
            note += f", {process_group.world_size} processes"
        render.note(note)


def _model_of(record: ModelRecord) -> ModelPlace:
    """The model that the gallery names.

    Raises:
        InputError: it has moved.
    """
    try:
        return find_model(record.option)
    except InputError as error:
        raise InputError(
            f"The gallery's model is not at {record.run} any more.", "Name it: focus search ... -c RUN"
        ) from error


def _write(chosen: str, found: Found, output: Path | None, *, each: bool) -> None:
    """The results on stdout or in a file."""
    from focuscli.tools.gallery.results import as_json, table_of

    if chosen == "table" and output is None:
        for answer in found.answers:
            if len(found.answers) > 1:
                print(answer.title)
            names, *rows = table_of(found, [answer], digits=2)
            render.table(names, rows, numbers=range(len(names) - 1))
        return
    buffer = io.StringIO()
    if chosen == "jsonl":
        buffer.writelines(to_json(item) + "\n" for item in as_json(found))
    else:
        writer = csv.writer(buffer, lineterminator="\n", delimiter="," if chosen == "csv" else "\t")
        writer.writerows(table_of(found, found.answers, each=each))
    if output is None:
        sys.stdout.write(buffer.getvalue())
        return
    write_text(output, buffer.getvalue(), errors=ANY_NAME)
    render.note(f"wrote {output}")


def _report_recall(chosen: str, found: Found, output: Path | None) -> None:
    """Recall where a reader of the results sees it: a file of rows has no place for it, a line of JSON has."""
    from focuscli.tools.gallery.results import recall_lines

    for line in recall_lines(found):
        if chosen == "jsonl":
            render.note(f"  {line}")
        elif chosen == "table" and output is None:
            print(line)
        else:
            render.warn(line)


def _check_files(output: Path | None, sheet: Path | None, *, force: bool) -> None:
    if sheet is not None and sheet.suffix.lower() != ".png":
        raise UsageError(f"--sheet wants a .png file; got {sheet}.")
    if sheet is not None and output is not None and sheet.resolve() == output.resolve():
        raise UsageError(f"-o and --sheet both name {sheet}.", "Give each a file of its own: -o RESULTS --sheet PNG")
    for file in (output, sheet):
        if file is not None:
            check_free(file, force=force)


def _check_cells(cells: int) -> None:
    if cells > MOST_ON_SHEET:
        raise UsageError(
            f"{cells:,} crops are too many for one sheet (at most {MOST_ON_SHEET}).", "Choose a smaller -k."
        )

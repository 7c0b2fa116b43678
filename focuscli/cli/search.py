"""`focus search`."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from focuscli.cli import processes, render, views
from focuscli.cli.models import ModelPlace, find_model
from focuscli.cli.options import DeviceOpt, ForceOpt, PrecisionOpt, RegionOpt
from focuscli.errors import InputError, UsageError
from focuscli.storage.files import ANY_NAME, to_json
from focuscli.storage.paths import ZERO_SHOT

if TYPE_CHECKING:
    from focuscli.tools.gallery.found import Found
    from focuscli.tools.gallery.manifest import Binding

FORMATS = ("table", "jsonl", "csv")
MOST_ON_SHEET = 400


def search_command(
    gallery: Annotated[Path, typer.Argument(metavar="GALLERY", help="A folder that focus index made.")],
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="What the crops are to show, all of it.")],
    without: Annotated[
        list[str] | None, typer.Option("--not", metavar="TEXT", help="What they are not to show; repeatable.")
    ] = None,
    each: Annotated[bool, typer.Option("--each", help="Each TEXT is a search of its own, in one pass.")] = False,
    k: Annotated[int, typer.Option("-k", min=1, help="How many crops.")] = 20,
    two_stage: Annotated[
        bool, typer.Option("--two-stage/--exact", help="Filter by a sketch first, then rank exactly; or rank all.")
    ] = False,
    check_recall: Annotated[
        bool,
        typer.Option(
            "--check-recall",
            help="Search both ways and report how many of the exact crops two stages find: below the table, as recall in "
            "each line of jsonl, else on stderr (also with -q).",
        ),
    ] = False,
    sheet: Annotated[Path | None, typer.Option(metavar="PNG", help="Draw the crops there.")] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="table, jsonl (a line per crop; default with --json) or csv.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write there instead of to stdout.")] = None,
    force: ForceOpt = False,
    checkpoint: Annotated[
        str | None,
        typer.Option("--checkpoint", "-c", metavar="RUN", help="The gallery's model, where it is not where it was."),
    ] = None,
    region: RegionOpt = None,
    device: DeviceOpt = None,
    precision: PrecisionOpt = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Cores to use; default: as many as torch has.")] = None,
) -> None:
    """The crops of a gallery that fit texts best, trained or not."""
    chosen = format_ or ("jsonl" if render.as_json() else "table")
    if chosen not in FORMATS:
        raise UsageError(f'Unknown format "{chosen}".', f"Known: {', '.join(FORMATS)}.")
    unwanted = without or []
    for number, words in enumerate([*texts, *unwanted], start=1):
        if not words.strip():
            raise UsageError(f"Text {number} is empty.", "Give each text at least one word.")
    _check_files(output, sheet, force=force)

    from focuscli.tools.gallery.found import draw, look
    from focuscli.tools.gallery.reader import open_gallery

    with processes.together() as process_group:
        opened = open_gallery(gallery)
        if sheet is not None:
            _check_cells(min(k, opened.crops) * (len(texts) if each else 1))
        model = _model_of(opened.manifest.model) if checkpoint is None else find_model(checkpoint)
        recognizer = model.open(device=device, precision=precision, process_group=process_group)
        with render.progress("searching") as progress:
            found = look(
                recognizer,
                opened,
                [[words] for words in texts] if each else [texts],
                unwanted,
                k,
                region=region,
                two_stage=two_stage,
                check_recall=check_recall,
                threads=threads,
                team=process_group,
                progress=progress,
            )
        views.assumptions(recognizer, found.decisions)
        if opened.crops < k:
            render.warn(
                f"{gallery} holds {opened.crops:,} crops, fewer than the {k:,} asked for; all of them are ranked."
            )
        if not process_group.is_main:
            return
        _write(chosen, found, output, each=each)
        _tell_recall(chosen, found, output)
        if sheet is not None:
            from focuscli.storage.files import atomic_path

            picture = draw(found, recognizer)
            with atomic_path(sheet) as temporary:
                picture.save(temporary, format="PNG")
            render.note(f"wrote {sheet}")
        note = f"  {found.seconds:.2f} s over {opened.crops:,} crops, {'two stages' if found.two_stage else 'exact'}"
        if process_group.world_size > 1:
            note += f", {process_group.world_size} processes"
        render.note(note)


def _model_of(binding: Binding) -> ModelPlace:
    """The model that the gallery names.

    Raises:
        InputError: it is not where it was.
    """
    try:
        return find_model(ZERO_SHOT if binding.method == ZERO_SHOT else binding.run)
    except InputError as error:
        raise InputError(
            f"The gallery's model is not at {binding.run} any more.", "Name it: focus search ... -c RUN"
        ) from error


def _write(chosen: str, found: Found, output: Path | None, *, each: bool) -> None:
    """The results on stdout or in a file."""
    from focuscli.tools.gallery.found import as_json, records_of, rows_of

    if chosen == "table" and output is None:
        for answer in found.answers:
            if len(found.answers) > 1:
                print(answer.title)
            names, rows = rows_of(answer)
            render.table(names, rows, numbers=range(len(names) - 1))
        return
    buffer = io.StringIO()
    if chosen == "jsonl":
        buffer.writelines(to_json(item) + "\n" for item in as_json(found))
    else:
        writer = csv.writer(buffer, lineterminator="\n", delimiter="," if chosen == "csv" else "\t")
        writer.writerows(records_of(found, each=each))
    if output is None:
        sys.stdout.write(buffer.getvalue())
        return
    from focuscli.storage.files import write_text

    write_text(output, buffer.getvalue(), errors=ANY_NAME)
    render.note(f"wrote {output}")


def _tell_recall(chosen: str, found: Found, output: Path | None) -> None:
    """Recall where a reader of the results sees it: a file of rows has no place for it, a line of JSON has."""
    from focuscli.tools.gallery.found import recall_lines

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
        if file is not None and file.exists() and not force:
            raise InputError(f"{file} exists already; nothing was changed.", "Add --force to replace it.")


def _check_cells(cells: int) -> None:
    if cells > MOST_ON_SHEET:
        raise UsageError(
            f"{cells:,} crops are too many for one sheet (at most {MOST_ON_SHEET}).", "Choose a smaller -k."
        )

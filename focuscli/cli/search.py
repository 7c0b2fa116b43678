"""`focus search`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from focuscli.cli import processes, render, views
from focuscli.cli.models import find_model, given_texts
from focuscli.cli.options import (
    CHECKPOINT,
    DeviceOpt,
    ForceOpt,
    FormatOpt,
    FreeOpt,
    PrecisionOpt,
    RegionOpt,
    format_of,
    run_names,
)
from focuscli.errors import InputError, UsageError, plural
from focuscli.storage.files import ANY_NAME, atomic_path, check_free, to_json, write_text

if TYPE_CHECKING:
    from focuscli.tools.gallery.search import Answer
    from focuscli.tools.gallery.store import Gallery

MOST_ON_SHEET = 400


def search_command(
    gallery: Annotated[Path, typer.Argument(metavar="GALLERY", help="A folder that focus index made.")],
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="What the crops must show, all of it.")],
    without: Annotated[list[str] | None, typer.Option("--not", metavar="TEXT", help="Not shown; repeatable.")] = None,
    where: Annotated[str | None, typer.Option(metavar="SQL", help='Of crops: path, size, "group", "Hat", ...')] = None,
    per_group: Annotated[bool, typer.Option("--per-group", help="The best of each group (index --group).")] = False,
    each: Annotated[bool, typer.Option("--each", help="Each TEXT is a search of its own, in one pass.")] = False,
    k: Annotated[int, typer.Option("-k", min=1, max=1_000_000, help="How many crops.")] = 20,
    fast: Annotated[bool, typer.Option("--fast/--exact", help="Score a tenth, chosen by a projection.")] = False,
    recall: Annotated[bool, typer.Option("--recall", help="The share of exact results that --fast finds.")] = False,
    sheet: Annotated[Path | None, typer.Option(metavar="PNG", help="Draw the crops there.")] = None,
    format_: FormatOpt = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write there instead of to stdout.")] = None,
    force: ForceOpt = False,
    checkpoint: Annotated[
        str | None, typer.Option(*CHECKPOINT, metavar="RUN", help="Its model, if moved.", autocompletion=run_names)
    ] = None,
    region: RegionOpt = None,
    free: FreeOpt = False,
    device: DeviceOpt = None,
    precision: PrecisionOpt = None,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="Cores to use; default: all.")] = None,
) -> None:
    """The crops of a gallery that fit texts best, trained or not."""
    texts, without = given_texts(texts), given_texts(without or [])
    if sheet is not None and sheet.suffix.lower() != ".png":
        raise UsageError(f"--sheet wants a .png file; got {sheet}.")
    if sheet is not None and output is not None and sheet.resolve() == output.resolve():
        raise UsageError(f"-o and --sheet both name {sheet}.", "Give each a file of its own: -o RESULTS --sheet PNG")
    chosen = format_of(format_, output)
    for file in (output, sheet):
        if file is not None:
            check_free(file, force=force)

    from focuscli.tools.gallery.query import open_gallery
    from focuscli.tools.gallery.results import as_json
    from focuscli.tools.gallery.search import find
    from focuscli.tools.gallery.store import check_model

    with processes.together() as process_group, open_gallery(gallery, where=where, threads=threads) as reader:
        record, count = reader.gallery.model, reader.count()
        for words in () if free else (*texts, *without):
            reader.gallery.vocabulary.check(words)
        cells = min(k, count) * (len(texts) if each else 1)
        if sheet is not None and cells > MOST_ON_SHEET:
            raise UsageError(
                f"{cells:,} crops are too many for one sheet (at most {MOST_ON_SHEET}).", "Choose a smaller -k."
            )
        try:
            place = find_model(checkpoint or record.option)
        except InputError as error:
            if checkpoint is not None:
                raise
            hint = "Name it: focus search ... -c RUN"
            raise InputError(f"The gallery's model is not at {record.run} any more.", hint) from error
        check_model(gallery, record, place.folder, place.weights)
        load = cache(lambda: place.open(device=device, precision=precision, process_group=process_group))
        if device is not None or precision is not None:
            load()  # Trained attributes need no model, but an option that is given has to be right.
        with render.progress("searching") as progress:
            answers, seconds = find(
                reader,
                load,
                [[words] for words in texts] if each else [texts],
                without,
                k,
                region=region,
                per_group=per_group,
                fast=fast,
                recall=recall,
                threads=threads,
                process_group=process_group,
                progress=progress,
            )
        decisions = {decision.text: decision for answer in answers for decision in answer.query.decisions}
        views.model(Path(record.run), record.about or f"{record.method}, trained on {record.trained_on}")
        views.assumptions([*decisions.values()], record.weights)
        which = plural(count, "crop" if where is None else "such crop")
        if count < k:
            render.note(f"  {gallery} holds {which}, fewer than {k:,}; all of them are ranked")
        if not process_group.is_main:
            return
        if chosen != "json":
            _write(chosen, answers, reader.gallery, output, each=each)
        if sheet is not None:
            from focuscli.tools.gallery.results import contact_sheet

            caption = f"{plural(count, 'crop')} · weights: {record.weights} · trained on {record.trained_on}"
            with atomic_path(sheet) as temporary:
                contact_sheet(answers, caption).save(temporary, format="PNG")
            render.note(f"wrote {sheet}")
        note = f"  {seconds:.2f} s over {which}, {'fast' if fast else 'exact'}"
        if process_group.world_size > 1:
            note += f", {process_group.world_size} processes"
        render.note(note)
        data: dict[str, Any] = {"written": str(output)} if output else {"results": [*as_json(answers, reader.gallery)]}
        data |= {"sheet": None if sheet is None else str(sheet), "crops": count, "seconds": seconds}
        render.result(data)


def _write(chosen: str, answers: Sequence[Answer], gallery: Gallery, output: Path | None, *, each: bool) -> None:
    from focuscli.tools.gallery.results import as_json, table_of

    as_table = chosen == "table" and output is None
    buffer = io.StringIO()
    if as_table:
        for answer in answers:
            if len(answers) > 1:
                render.line(answer.query.title)
            names, *rows = table_of([answer], gallery, digits=2)
            render.table(names, rows, numbers=range(len(names) - 1))
    elif chosen == "jsonl":
        buffer.writelines(to_json(item) + "\n" for item in as_json(answers, gallery))
    else:
        writer = csv.writer(buffer, lineterminator="\n", delimiter="," if chosen == "csv" else "\t")
        writer.writerows(table_of(answers, gallery, each=each))
    if output is None:
        render.DataStream().write(buffer.getvalue())
    else:
        write_text(output, buffer.getvalue(), errors=ANY_NAME)
        render.note(f"wrote {output}")
    for answer in answers:
        if answer.recall is not None:
            line = f"--fast finds {100 * answer.recall:.1f}% of the exact {len(answer.hits):,}"
            line = f"{answer.query.title}: {line}" if len(answers) > 1 else line
            # A file of rows has no place for recall, a line of JSON has.
            (render.line if as_table else render.note if chosen == "jsonl" else render.warn)(line)

"""`focus predict`."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from focuscli.cli import processes, render, views
from focuscli.cli.models import BACKENDS, asked_texts, open_scorer
from focuscli.cli.options import (
    CHECKPOINT,
    PRECISIONS,
    RUN,
    BatchOpt,
    DeviceOpt,
    ForceOpt,
    FormatOpt,
    FreeOpt,
    NullOpt,
    RegionOpt,
    StrictOpt,
    WorkersOpt,
    choice,
    format_of,
    run_names,
)
from focuscli.data.inputs import find_images
from focuscli.errors import InputError, Interrupted, UsageError
from focuscli.storage.files import ANY_NAME, atomic_path, check_free, to_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from focuscli.inference.predict import Answer, TextDecision

HEADERS = ("name", "phrase")


def predict_command(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="Images, folders, globs, or - for paths on stdin.")
    ],
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            "--attribute",
            "-a",
            help="A text to look for, seen or not, or @FILE of texts; repeatable. Default: all trained.",
        ),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            *CHECKPOINT,
            metavar="RUN|FILE",
            help=f"{RUN} clip, or a FILE.onnx. Default: the latest run.",
            autocompletion=run_names,
        ),
    ] = None,
    backend: Annotated[
        str | None,
        choice(
            "--backend",
            of=BACKENDS,
            others=True,
            help="onnx: as focus export wrote it.",
            shown="as --checkpoint is",
        ),
    ] = None,
    region: RegionOpt = None,
    free: FreeOpt = False,
    threshold: Annotated[float | None, typer.Option(help="One for all texts, in the unit of scores.")] = None,
    exclusive: Annotated[
        bool, typer.Option("--exclusive", help="One answer per group of the schema: short sleeves or long ones.")
    ] = False,
    top: Annotated[int | None, typer.Option(min=1, help="Only the N best texts of each image.")] = None,
    format_: FormatOpt = None,
    headers: Annotated[str | None, choice("--headers", of=HEADERS, help="How CSV names a text.", shown="name")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write there; .csv and .jsonl decide the format.")
    ] = None,
    force: ForceOpt = False,
    strict: StrictOpt = False,
    null: NullOpt = False,
    batch: BatchOpt = 32,
    workers: WorkersOpt = 2,
    device: DeviceOpt = None,
    precision: Annotated[
        str | None,
        choice(
            "--precision",
            of=(*PRECISIONS, "int8"),
            others=True,
            help="bf16: of a checkpoint; int8: of an exported model.",
            shown="auto",
        ),
    ] = None,
) -> None:
    """Which attributes crops show: trained ones, or any text with --attribute."""
    chosen = format_of(format_, output)
    if headers is not None and chosen != "csv":
        raise UsageError("--headers is for CSV.", "Add --format csv, or omit it.")
    if top is not None and chosen == "csv":
        raise UsageError("--top does not go with CSV, which has columns for all texts.", "Use --format jsonl.")
    if threshold is not None and not math.isfinite(threshold):
        raise UsageError(f"--threshold {threshold} is not a finite number.")
    if output is not None:
        check_free(output, force=force)
    with processes.together() as process_group:
        # All processes share one standard input.
        found = process_group.broadcast(lambda: find_images(inputs, render.stdin(), null=null))
        images = found.images
        views.left_out(found.left_out)
        scorer = open_scorer(
            checkpoint, backend=backend, device=device, precision=precision, process_group=process_group
        )
        texts = asked_texts(scorer, attribute or [], region, free=free, option="-a ") or [*scorer.default_texts]

        from focuscli.engine.scoring import score_images
        from focuscli.inference.predict import answers, decide, record

        decisions = decide(scorer.vocabulary, texts, threshold=threshold)
        score_fn = scorer.score_fn(texts)  # refuses texts that are too long before anything is printed
        views.model(scorer.folder, scorer.about)
        views.assumptions(decisions, scorer.weights)
        results = score_images(
            score_fn, images, scorer.image_size, batch_size=batch, workers=workers, process_group=process_group
        )
        skipped: list[str] = []
        records: list[dict[str, Any]] = []  # for --json, which prints them at the end
        count, interrupted = 0, False
        all_texts = bool(attribute) or top is not None or len(texts) <= 8
        with _opened(output, mine=process_group.is_main) as stream:
            try:
                if chosen == "csv":
                    stream.write(_csv_header(decisions, phrases=headers == "phrase"))
                for image, scores in _readable(images, results, skipped, strict=strict):
                    scored = answers(decisions, scores.tolist(), exclusive=exclusive)
                    best = sorted(scored, key=lambda answer: -answer.margin)[:top]
                    if chosen == "csv":
                        stream.write(_csv_line(image, scored))
                    elif chosen == "table":
                        stream.write(_table_lines(image, best, all_texts=all_texts))
                    else:
                        records.append(record(image, scored if top is None else best, scorer))
                    if chosen == "jsonl":
                        stream.write(to_json(records.pop()) + "\n")
                    stream.flush()
                    count += 1
            except KeyboardInterrupt:
                if not count:
                    raise
                interrupted = True
            if count and chosen == "table" and not interrupted:
                stream.write(f"{views.thresholds(decisions, scorer)}\n")
            if not count:
                views.skipped(skipped, total=len(images))
                raise InputError("No image can be read.")
        if output is not None:
            render.note(f"wrote {output}")
        views.skipped(skipped, total=len(images))
        data: dict[str, Any] = {"written": str(output)} if output else {"images": records}
        data |= {"count": count, "skipped": skipped}
        if interrupted:
            kept = f"{count:,} of {len(images):,} images" + (f" are in {output}" if output else " are printed")
            hint = f"For all of them run it again{', with --force' if output else ''}."
            raise Interrupted(f"Interrupted; {kept}.", hint, data)
        render.result(data)


def _readable(
    images: Sequence[Path], results: Iterable[NDArray[np.float32] | InputError], skipped: list[str], *, strict: bool
) -> Iterator[tuple[Path, NDArray[np.float32]]]:
    """The images with scores; what is wrong with the others is added to `skipped`, or with `strict` raised."""
    for image, scores in zip(images, results, strict=True):
        if not isinstance(scores, InputError):
            yield image, scores
        elif strict:
            raise scores
        else:
            skipped.append(scores.problem)


@contextlib.contextmanager
def _opened(output: Path | None, *, mine: bool) -> Iterator[Any]:
    """Where results go: stdout, or a file that gets its name when it is complete; nowhere in a process that is not `mine`."""
    if output is None:
        yield render.DataStream()
        return
    with contextlib.ExitStack() as opened:
        file = opened.enter_context(atomic_path(output)) if mine else os.devnull
        yield opened.enter_context(open(file, "w", encoding="utf-8", errors=ANY_NAME, newline=""))


def _csv_header(decisions: Sequence[TextDecision], *, phrases: bool) -> str:
    """The names of the columns; texts by phrase, or by the name of their attribute."""
    texts = [decision.text for decision in decisions]
    names = [text.phrase if phrases else text.attribute or text.phrase for text in texts]
    return _csv_row(["image", *(name + of for name in names for of in ("", " threshold", " present"))])


def _csv_line(image: Path, found: Sequence[Answer]) -> str:
    row: list[Any] = [image]
    for answer in found:
        threshold = answer.decision.threshold
        row += [f"{answer.score:.4f}", "" if threshold is None else f"{threshold:.4f}"]
        row.append("" if answer.present is None else int(answer.present))
    return _csv_row(row)


def _csv_row(values: Sequence[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(values)
    return buffer.getvalue()


def _table_lines(image: Path, best: Sequence[Answer], *, all_texts: bool) -> str:
    """An image, and below it its texts; without `all_texts` only those that are present."""
    from focuscli.inference.predict import probability

    lines = [render.plain(str(image))]
    shown = [answer for answer in best if all_texts or answer.present is not False]
    for answer in shown:
        share = probability(answer.score, answer.decision.threshold)
        filled = 0 if share is None else round(20 * share)
        bar = "" if share is None else f"  {'█' * filled}{'░' * (20 - filled)}"
        text, unseen = answer.decision.text, "" if answer.decision.seen else "  unseen"
        result = views.score_and_answer(answer.decision, answer.score, answer.present)
        lines.append(f"  {render.plain(text.phrase):<34} {text.region:<6} {result}{bar}{unseen}")
    if hidden := len(best) - len(shown):
        lines.append(f"  {hidden} {'others' if shown else 'texts'} not present")
    return "".join(f"{line}\n" for line in lines)

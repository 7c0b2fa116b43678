"""`focus predict`."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from focuscli.cli import processes, render, views
from focuscli.cli.models import asked_texts, open_scorer
from focuscli.cli.options import CHECKPOINT, RUN, DeviceOpt, ForceOpt, FreeOpt, RegionOpt
from focuscli.data.inputs import expand_images
from focuscli.errors import InputError, UsageError, did_you_mean
from focuscli.storage.files import ANY_NAME, check_free, to_json, write_text

if TYPE_CHECKING:
    from io import TextIOBase

    import numpy as np
    from numpy.typing import NDArray

    from focuscli.inference.predict import Scorer, TextDecision

    Scored = tuple[Path, NDArray[np.float32]]

FORMATS = ("table", "jsonl", "csv")


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
        typer.Option(*CHECKPOINT, metavar="RUN|FILE", help=f"{RUN} clip, or a FILE.onnx. Default: the latest run."),
    ] = None,
    backend: Annotated[
        str | None, typer.Option(help="torch, or onnx: as focus export wrote it; default: as --checkpoint is.")
    ] = None,
    region: RegionOpt = None,
    free: FreeOpt = False,
    format_: Annotated[str | None, typer.Option("--format", help="table, jsonl or csv.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write there instead of to stdout.")] = None,
    force: ForceOpt = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first unreadable image.")] = False,
    batch: Annotated[int, typer.Option(min=1, help="Images per batch.")] = 32,
    workers: Annotated[int, typer.Option(min=1, help="Threads that decode images.")] = 2,
    device: DeviceOpt = None,
    precision: Annotated[
        str | None, typer.Option(help="auto, fp32 or bf16; of an exported model auto, fp32 or int8.")
    ] = None,
) -> None:
    """Which attributes crops show: trained ones, or any text with --attribute."""
    chosen = format_ or ("jsonl" if render.as_json() else "table")
    if chosen not in FORMATS:
        raise UsageError(f'Unknown format "{chosen}".', did_you_mean(chosen, FORMATS))
    with processes.together() as process_group:
        # Standard input and the output file are shared by all processes.
        images = process_group.broadcast(lambda: _images(inputs, output, force=force))
        scorer = open_scorer(
            checkpoint, backend=backend, device=device, precision=precision, process_group=process_group
        )
        texts = asked_texts(scorer, attribute or [], region, free=free) or [*scorer.default_texts]

        from focuscli.engine.scoring import score_images
        from focuscli.inference.predict import decide

        decisions = decide(scorer.vocabulary, texts)
        score_fn = scorer.score_fn(texts)  # refuses texts that are too long before anything is printed
        views.model(scorer.folder, scorer.about)
        views.assumptions(decisions, scorer.weights)
        results = score_images(
            score_fn, images, scorer.image_size, batch_size=batch, workers=workers, process_group=process_group
        )
        skipped: list[str] = []
        good = _readable(images, results, skipped, strict=strict)
        buffer = io.StringIO()
        _write(chosen, good, decisions, scorer, buffer if output else render.DataStream())
        if output is not None:
            if process_group.is_main:
                write_text(output, buffer.getvalue(), errors=ANY_NAME)
            render.note(f"wrote {output}")
        views.skipped(skipped, total=len(images))
        if len(skipped) == len(images):
            raise InputError(f"None of {len(images)} images can be read.")


def _images(inputs: Sequence[str], output: Path | None, *, force: bool) -> list[Path]:
    if output is not None:
        check_free(output, force=force)
    return expand_images(inputs, sys.stdin)


def _readable(
    images: Sequence[Path], results: Iterable[NDArray[np.float32] | InputError], skipped: list[str], *, strict: bool
) -> Iterator[Scored]:
    """The images with scores; what is wrong with the others is added to `skipped`, or with `strict` raised."""
    for image, scores in zip(images, results, strict=True):
        if not isinstance(scores, InputError):
            yield image, scores
        elif strict:
            raise scores
        else:
            skipped.append(scores.problem)


def _write(
    chosen: str, results: Iterable[Scored], decisions: Sequence[TextDecision], scorer: Scorer, stream: TextIOBase
) -> None:
    from focuscli.inference.predict import record

    writer = csv.writer(stream, lineterminator="\n")
    if chosen == "csv":
        writer.writerow(["image", *(decision.text.phrase for decision in decisions)])
    for image, scores in results:
        if chosen == "jsonl":
            stream.write(to_json(record(image, scores, decisions, scorer)) + "\n")
            stream.flush()
        elif chosen == "csv":
            writer.writerow([image, *(f"{score:.4f}" for score in scores.tolist())])
        else:
            _write_block(image, scores.tolist(), decisions, stream)


def _write_block(image: Path, scores: Sequence[float], decisions: Sequence[TextDecision], stream: TextIOBase) -> None:
    """An image and its texts by descending distance from their thresholds; of many texts only those above it."""
    from focuscli.inference.predict import probability

    print(render.plain(str(image)), file=stream)
    scored = sorted(zip(decisions, scores, strict=True), key=lambda pair: (pair[0].threshold or 0) - pair[1])
    shown = [pair for pair in scored if len(decisions) <= 8 or pair[0].present(pair[1]) is not False]
    for decision, score in shown:
        place = probability(score, decision.threshold)
        filled = 0 if place is None else round(20 * place)
        bar = "" if place is None else f"  {'█' * filled}{'░' * (20 - filled)}"
        unseen = "" if decision.seen else "  unseen"
        print(
            f"  {render.plain(decision.text.phrase):<34} {decision.text.region:<6} {views.against(decision, score)}{bar}"
            f"  threshold {decision.threshold_source}{unseen}",
            file=stream,
        )
    if not shown:
        print("  no attribute is above its threshold", file=stream)

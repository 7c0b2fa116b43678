"""Making a gallery and bringing it up to date.

What is to be done follows from the Parquet files alone: a crop that one of them names with its present size and time of change
is stored; lines whose image is gone or has changed are removed; what is listed and not stored is encoded into new parts. Each of
these steps is one rename, so a run can be killed anywhere, and `--resume` loses no crop and stores none twice.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from focuscli.data.images import Pixels
from focuscli.data.loader import normalise, to_unit
from focuscli.engine.device import autocast, effective_precision
from focuscli.engine.distributed import SINGLE, ProcessGroup
from focuscli.engine.scoring import score_images
from focuscli.errors import InputError, RequirementError, UsageError
from focuscli.inference.recognizer import Recognizer
from focuscli.storage.extras import require_extra
from focuscli.storage.files import check_free
from focuscli.tools.gallery.folded import ScoreTokens, token_scorer
from focuscli.tools.gallery.model import ModelFiles, ModelRecord, check_model, require_searchable
from focuscli.tools.gallery.projection import SAMPLE, Projection, fit_projection
from focuscli.tools.gallery.source import Source
from focuscli.tools.gallery.store import (
    ANEW,
    INFO,
    LOCK,
    PART_FILE,
    PROJECTION,
    TEMPORARY,
    Crop,
    Gallery,
    Part,
    column_names,
    only_writer,
    read_gallery,
)

PART_SIZE = 8_192
SCORED = 256  # Crops at a time against the trained texts.
Progress = Callable[[int, int], None]


class Skipped(NamedTuple):
    """An image that could not be read, and why."""

    crop: Crop
    reason: str


@dataclass(frozen=True)
class Plan:
    """What an index run is going to do; nothing is written yet.

    Attributes:
        gallery: as it will be. found: the parts that there are, with the time of change of their Parquet files.
        kept: by number of a part, the lines that stay where some do not. damaged: parts to be encoded again, and why.
        pending: parts to be encoded, by number. changed, gone: crops whose image has changed, or is not listed any more.
    """

    gallery: Gallery
    source: Source
    found: dict[int, int]
    kept: dict[int, list[int]]
    damaged: dict[int, str]
    pending: tuple[tuple[int, tuple[Crop, ...]], ...]
    stored: int
    changed: int
    gone: int

    @property
    def to_encode(self) -> int:
        return sum(len(crops) for _, crops in self.pending)

    @property
    def bytes_needed(self) -> int:
        """Of the tokens; all else is less than a tenth of that."""
        return 2 * self.gallery.tokens * self.gallery.width * self.to_encode


def plan_index(
    recognizer: Recognizer,
    files: ModelFiles,
    source: Source,
    folder: Path,
    *,
    resume: bool = False,
    part_size: int = PART_SIZE,
    world_size: int = 1,
) -> Plan:
    """Look at everything, write nothing.

    Args:
        files: where the model lies. part_size: at most so many crops in a new part. world_size: processes to share the work.

    Raises:
        UsageError: the method cannot search, or other groups than before are asked for. InputError: the folder exists and
        `resume` is not asked for; it is not a gallery, a damaged one, or one of another model, precision or source.
        RequirementError: the extra is not installed, or there is too little space on the disk.
    """
    require_extra("gallery", "pyarrow", "duckdb", purpose="A gallery")
    require_searchable(recognizer.config.model.method)
    if resume and (folder / INFO).exists():
        gallery = _check_gallery(read_gallery(folder), recognizer, files, source)
    else:
        _check_free(folder, resume=resume)
        gallery = new_gallery(recognizer, files, source, folder)
    plan = _compare(gallery, source, part_size, world_size)
    if plan.gone and not plan.stored and not plan.changed:
        was = read_gallery(folder).source
        raise InputError(
            f"The gallery holds {plan.gone:,} crops of {was.root or was.name}, and none of them is in {source.record.name}; "
            "nothing was changed.",
            "Name the folder that was indexed, or another gallery with -o.",
        )
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free, needed = shutil.disk_usage(there).free, plan.bytes_needed * 11 // 10
    if needed > free:
        raise RequirementError(
            f"The gallery needs {needed / 2**30:.1f} GiB more, and {there} has {free / 2**30:.1f} GiB free.",
            "Choose another place with -o, or index fewer images.",
        )
    return plan


def new_gallery(recognizer: Recognizer, files: ModelFiles, source: Source, folder: Path) -> Gallery:
    file, size, mtime = files.stamp()
    record = ModelRecord(
        method=recognizer.config.model.method,
        step=recognizer.step,
        run=str(recognizer.folder.absolute()),
        weights=recognizer.weights,
        trained_on=recognizer.trained_on,
        precision=effective_precision(recognizer.device, recognizer.precision),
        fingerprint=files.fingerprint(),
        file=file,
        size=size,
        mtime=mtime,
    )
    model, vocabulary = recognizer.model, recognizer.vocabulary
    width = model.clip.config.embed_dim
    names = column_names(vocabulary)
    return Gallery(folder, record, source.record, len(model.token_names), width, vocabulary, names)


def _check_gallery(gallery: Gallery, recognizer: Recognizer, files: ModelFiles, source: Source) -> Gallery:
    """The gallery with what is indexed now, or a refusal where new crops would not be comparable with those in it."""
    check_model(gallery.folder, gallery.model, files)
    own, precision = gallery.model.precision, effective_precision(recognizer.device, recognizer.precision)
    if own != precision:
        raise InputError(
            f"{gallery.folder} was begun in {own}; crops in {precision} would not be comparable.",
            f"Go on with: --precision {own}",
        )
    if gallery.source.group != source.record.group:
        before = "without --group" if gallery.source.group is None else f"with --group {gallery.source.group}"
        raise UsageError(f"{gallery.folder} was begun {before}.", f"Go on {before}, or use another folder.")
    return replace(gallery, source=source.record)


def _check_free(folder: Path, *, resume: bool) -> None:
    """Refuse to begin a gallery where something is; a run that was killed before it wrote gallery.json left nothing.

    Raises:
        InputError: see above.
    """
    check_free(folder, force=True, folder=True)
    there = {file.name for file in folder.iterdir()} if folder.exists() else set()
    names = {name for name in there if name != LOCK and not TEMPORARY.fullmatch(name)}
    what, hint = "exists already", "Give another place with -o."
    if INFO in names:
        hint = "Go on with it, or bring it up to date: add --resume. Or give another place with -o."
    elif any(PART_FILE.fullmatch(name) for name in names):
        what = f"holds parts of a gallery, and {INFO}, which says whose they are, is missing"
        hint = f"Put {INFO} back. {ANEW}"
    elif resume:
        what = f"is not a gallery (no {INFO} in it)"
    if names:
        raise InputError(f"{folder} {what}; nothing was changed.", hint)


def _compare(gallery: Gallery, source: Source, part_size: int, world_size: int) -> Plan:
    """What is stored against what is listed."""
    wanted = {crop.path: crop for crop in source.crops}
    stored: set[str] = set()
    changed: set[str] = set()
    gone = 0
    kept: dict[int, list[int]] = {}
    damaged: dict[int, str] = {}
    parts = gallery.parts
    for part in parts:
        try:
            crops = part.crops()
        except InputError as error:
            damaged[part.number] = error.problem
            continue
        good = [line for line, crop in enumerate(crops) if wanted.get(crop.path) == crop and crop.path not in stored]
        if len(good) < len(crops):
            kept[part.number] = good
        stored |= {crops[line].path for line in good}
        changed |= {crop.path for crop in crops if crop.path in wanted}
        gone += sum(crop.path not in wanted for crop in crops)
    pending = [crop for crop in source.crops if crop.path not in stored]
    random.Random(0).shuffle(pending)  # so that every part, also the first, is a sample of all crops
    size = max(1, min(part_size, -(-len(pending) // world_size)))
    first = 1 + max((part.number for part in parts), default=-1)
    chunks = [tuple(pending[start : start + size]) for start in range(0, len(pending), size)]
    return Plan(
        gallery,
        source,
        _times(gallery),
        kept,
        damaged,
        tuple(enumerate(chunks, first)),
        len(stored),
        len(changed - stored),
        gone,
    )


def _times(gallery: Gallery) -> dict[int, int]:
    return {part.number: part.file("crops").stat().st_mtime_ns for part in gallery.parts}


def run_index(
    recognizer: Recognizer,
    plan: Plan,
    *,
    batch: int = 32,
    workers: int = 2,
    process_group: ProcessGroup = SINGLE,
    progress: Progress | None = None,
) -> list[Skipped]:
    """Do what was planned; returns the images that could not be read. All processes of a group have the same plan.

    Raises:
        InputError: not one image can be read, or another run writes to the folder. RequirementError: no space.
    """
    gallery, model = plan.gallery, recognizer.model
    score = token_scorer(model, recognizer.encode_texts(gallery.vocabulary.trained))
    mine = process_group.shard(plan.pending)
    total, done = sum(len(crops) for _, crops in mine), 0
    skipped: list[Skipped] = []

    def encoded(crops: Sequence[Crop]) -> tuple[NDArray[np.float16], list[Crop]]:
        nonlocal done
        before, done = done, done + len(crops)
        step = lambda count: progress and progress(before + count, total)  # noqa: E731
        tokens, read, bad = encode_crops(recognizer, plan.source, crops, batch, workers, step)
        skipped.extend(bad)
        return tokens, read

    with contextlib.ExitStack() as held:
        process_group.broadcast(lambda: _begin(plan, held))
        encoded_parts = ((number, *encoded(crops)) for number, crops in mine)
        ready = (part for part in encoded_parts if part[2])
        # A projection needs crops to be fitted to: the first that are encoded, whichever process does it.
        first = next(ready, None)
        samples = process_group.all_gather(None if first is None else first[1][:SAMPLE])
        fresh = [sample for sample in samples if sample is not None][:1]
        process_group.broadcast(lambda: _provide_projections(gallery, fresh, score, recognizer.device))
        if first is not None:
            projection = Projection.load(gallery.folder / PROJECTION)
            for number, tokens, read in itertools.chain([first], ready):
                scores = trained_scores(recognizer, tokens)
                Part(gallery, number).write(tokens, projection.project(tokens), read, scores)
        every = [item for some in process_group.all_gather(skipped) for item in some]
        process_group.broadcast(replace(gallery, complete=True).save)
    if not gallery.parts:
        raise InputError(f"None of {len(every):,} images can be read.")
    return every


def _begin(plan: Plan, held: contextlib.ExitStack) -> None:
    """Lock the gallery as long as `held` is open, and remove what does not belong to it any more."""
    gallery = plan.gallery
    held.enter_context(only_writer(gallery.folder))
    if _times(gallery) != plan.found:
        raise InputError(
            f"{gallery.folder} was changed by another focus index since this one began; this one changed nothing.",
            f"Run it again: focus index SOURCE -o {gallery.folder} --resume",
        )
    gallery.save()
    for number in plan.damaged:
        Part(gallery, number).remove()
    for number, lines in plan.kept.items():
        Part(gallery, number).keep(lines)
    numbers = {part.number for part in gallery.parts}
    for file in gallery.folder.iterdir():
        match = PART_FILE.fullmatch(file.name)
        if TEMPORARY.fullmatch(file.name) or (match and int(match[1] or match[2]) not in numbers):
            file.unlink(missing_ok=True)


def _provide_projections(
    gallery: Gallery, fresh: Sequence[NDArray[np.float16]], score: ScoreTokens, device: torch.device
) -> None:
    """Fit a projection where there is none, or one that was fitted to few crops and more have come; and project the parts
    that have none."""
    file, parts = gallery.folder / PROJECTION, gallery.parts
    projection = None
    with contextlib.suppress(InputError):
        projection = Projection.load(file)
    if projection is None or (fresh and projection.crops < SAMPLE):
        sample = [*fresh, *(part.tokens()[:SAMPLE] for part in parts[:1])]
        if not sum(map(len, sample)):
            return
        # Projections go before the file that says how they were made: two that do not fit never stand together.
        for part in parts:
            part.file("projection").unlink(missing_ok=True)
        projection = fit_projection(np.concatenate(sample), score, device)
        projection.save(file)
    for part in parts:
        tokens = part.tokens()
        try:
            whole = len(part.projection(len(projection.encode))) == len(tokens)
        except InputError:
            whole = False
        if not whole:
            part.write_projection(projection.project(tokens))


@torch.inference_mode()
def trained_scores(recognizer: Recognizer, tokens: NDArray[np.float16]) -> NDArray[np.float32]:
    """The model's own scores [n, Z] of stored features against its trained texts."""
    model = recognizer.model
    texts = recognizer.encode_texts(recognizer.vocabulary.trained).float()
    blocks = torch.from_numpy(tokens).split(SCORED)
    scores = [model.score(block.to(recognizer.device).float(), texts).scores.float().cpu() for block in blocks]
    return torch.cat(scores).numpy()


def encode_crops(
    recognizer: Recognizer,
    source: Source,
    crops: Sequence[Crop],
    batch: int,
    workers: int,
    progress: Callable[[int], None],
) -> tuple[NDArray[np.float16], list[Crop], list[Skipped]]:
    """Features [n, K, D] of the crops that can be read, these, and the others.

    Raises:
        InputError: a feature does not fit half precision.
    """
    model = recognizer.model
    rows = [np.empty((0, len(model.token_names), model.clip.config.embed_dim), np.float16)]
    read: list[Crop] = []
    skipped: list[Skipped] = []
    features = score_images(
        lambda pixels: _encode(recognizer, pixels),
        [source.path(crop) for crop in crops],
        recognizer.image_size,
        batch_size=batch,
        workers=workers,
    )
    for count, (crop, row) in enumerate(zip(crops, features, strict=True), start=1):
        if isinstance(row, InputError):
            skipped.append(Skipped(crop, row.problem))
        else:
            read.append(crop)
            rows.append(row[None].astype(np.float16))
        if count % batch == 0 or count == len(crops):
            progress(count)
    return np.concatenate(rows), read, skipped


@torch.inference_mode()
def _encode(recognizer: Recognizer, pixels: Pixels) -> NDArray[np.float32]:
    """Features [B, K, D] of crops, rounded to half precision."""
    images = normalise(to_unit(torch.from_numpy(pixels), recognizer.device))
    with autocast(recognizer.device, recognizer.precision):
        tokens = recognizer.model.encode_image(images).tokens
    half = tokens.half()
    if not half.isfinite().all():
        raise InputError(
            f"Features of up to {float(tokens.abs().max()):.3g} do not fit half precision (65,504).",
            "Is this checkpoint sound? See: focus eval -c RUN",
        )
    return half.float().cpu().numpy()

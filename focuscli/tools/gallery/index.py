"""Making a gallery and bringing it up to date.

What is to be done follows from the Parquet files alone: a crop that one of them names with its present size and time of change
is stored; lines whose image is gone or has changed are removed; what is listed and not stored is encoded into new parts. Each of
these steps is one rename, so a run can be killed anywhere, and `--resume` loses no crop and stores none twice.
"""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from focuscli.data.images import Pixels
from focuscli.data.loader import normalise
from focuscli.engine.device import autocast, effective_precision
from focuscli.engine.distributed import SINGLE, ProcessGroup
from focuscli.engine.scoring import Progress, score_images
from focuscli.errors import InputError, RequirementError, UsageError
from focuscli.inference.recognizer import Recognizer
from focuscli.storage.extras import require_extra
from focuscli.storage.files import check_free, checkpoint_fingerprint, file_sha256, is_leftover, only_writer
from focuscli.storage.paths import argument
from focuscli.tools.gallery import store
from focuscli.tools.gallery.folded import token_scorer
from focuscli.tools.gallery.projection import SAMPLE, Projection, fit_projection
from focuscli.tools.gallery.source import Source
from focuscli.tools.gallery.store import PROJECTION, Crop, Gallery, ModelRecord, Part

SEARCHABLE = ("focus", "clip", "clip-ft", "poar")
PART_SIZE = 8_192
SCORED = 256  # Crops at a time against the trained texts.


@dataclass(frozen=True)
class Plan:
    """What an index run is going to do; nothing is written yet."""

    gallery: Gallery
    source: Source
    kept: dict[int, list[int]]  # by number of a part, the lines that stay where some do not
    damaged: list[str]  # why parts are encoded again
    pending: list[tuple[int, list[Crop]]]  # parts to be encoded
    parts: int  # that there will be
    stored: int  # crops that stay
    changed: int  # crops whose image has changed
    gone: int  # crops that are not listed any more

    @property
    def to_encode(self) -> int:
        return sum(len(crops) for _, crops in self.pending)

    @property
    def bytes_needed(self) -> int:
        """Of the tokens; all else is less than a tenth of that."""
        return 2 * self.gallery.tokens * self.gallery.width * self.to_encode


def plan_index(
    recognizer: Recognizer,
    weights: Path | None,
    source: Source,
    folder: Path,
    resume: bool = False,
    part_size: int = PART_SIZE,
    world_size: int = 1,
    lock: contextlib.ExitStack | None = None,
) -> Plan:
    """Look at everything, write nothing.

    Args:
        weights: the file of zero-shot CLIP; else None. part_size: the most crops in a new part. world_size:
            processes to share the work. lock: locks the gallery as long as it is open; None for a plan that is only shown.

    Raises:
        UsageError: the method cannot search, or other groups than before are asked for. InputError: the folder exists and
        `resume` is not asked for; it is not a gallery, a damaged one, or one of another model, precision or source; another
        run writes to it. RequirementError: the extra is not installed, or there is too little space on the disk.
    """
    require_extra("gallery", "pyarrow", "duckdb", purpose="A gallery")
    method = recognizer.config.model.method
    if method not in SEARCHABLE:
        raise UsageError(
            f"Method {method} cannot search a gallery: it has no tokens to compare a text with.",
            f"Use a checkpoint of: {', '.join(SEARCHABLE)}.",
        )
    gallery = _existing(folder, recognizer, weights, source, resume)
    if lock is not None:
        problem = f"Another focus index is writing to {folder}; nothing was changed."
        hint = f"Wait for it, or stop it and go on: focus index SOURCE -o {argument(folder)} --resume"
        lock.enter_context(only_writer(folder, problem, hint))
        gallery = _existing(folder, recognizer, weights, source, resume)  # a run may have ended in between
    gallery = gallery or new_gallery(recognizer, weights, source, folder)
    plan = _compare(gallery, source, part_size, world_size)
    if plan.gone and not plan.stored and not plan.changed:
        raise InputError(
            f"None of the {plan.gone:,} crops of {folder} is in {source.record.name}; nothing was changed.",
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


def new_gallery(recognizer: Recognizer, weights: Path | None, source: Source, folder: Path) -> Gallery:
    """The gallery of a model before any crop is stored; reads the model's weights."""
    record = ModelRecord(
        recognizer.config.model.method,
        recognizer.step,
        str(recognizer.folder.absolute()),
        recognizer.weights,
        recognizer.trained_on,
        effective_precision(recognizer.device, recognizer.precision),
        file_sha256(weights) if weights else checkpoint_fingerprint(recognizer.folder),
        *store.weight_file(recognizer.folder, weights),
        recognizer.about,
    )
    model, vocabulary = recognizer.model, recognizer.vocabulary
    shape = len(model.token_names), model.clip.config.embed_dim
    return Gallery(folder, record, source.record, *shape, vocabulary, store.column_names(vocabulary))


def _existing(
    folder: Path, recognizer: Recognizer, weights: Path | None, source: Source, resume: bool
) -> Gallery | None:
    """The gallery in a folder, if its crops are comparable with new ones; None if that is empty or not there."""
    check_free(folder, force=True, folder=True)
    # A run that was killed before it wrote gallery.json left nothing but leftovers.
    there = {file.name for file in folder.iterdir() if not is_leftover(file)} if folder.exists() else set()
    if not there:
        return None
    if not resume or store.INFO not in there:
        what = "" if store.INFO in there else f" and is not a gallery (no {store.INFO} in it)"
        raise InputError(
            f"{folder} exists already{what}; nothing was changed.",
            "Give another place with -o. Or go on with a gallery, or bring it up to date: add --resume.",
        )
    gallery = store.read_gallery(folder)
    store.check_model(folder, gallery.model, recognizer.folder, weights)
    own, precision = gallery.model.precision, effective_precision(recognizer.device, recognizer.precision)
    if own != precision:
        raise InputError(
            f"{folder} was begun in {own}; crops in {precision} would not be comparable.",
            f"Go on with: --precision {own}",
        )
    if gallery.source.group != source.record.group:
        before = f"with --group {gallery.source.group}" if gallery.source.group else "without --group"
        raise UsageError(f"{folder} was begun {before}.", f"Go on {before}, or use another folder.")
    return replace(gallery, source=source.record)


def _compare(gallery: Gallery, source: Source, part_size: int, world_size: int) -> Plan:
    wanted = {crop.path: crop for crop in source.crops}
    stored, changed, gone, staying = set[str](), set[str](), 0, 0
    kept, damaged, first = dict[int, list[int]](), list[str](), 0
    for part in gallery.parts:
        first = part.number + 1
        try:
            crops = part.crops()
        except InputError as error:
            damaged.append(error.problem)
            kept[part.number] = []
            continue
        good = [line for line, crop in enumerate(crops) if wanted.get(crop.path) == crop and crop.path not in stored]
        if len(good) < len(crops):
            kept[part.number] = good
        staying += bool(good)
        stored |= {crops[line].path for line in good}
        changed |= {crop.path for crop in crops if crop.path in wanted}
        gone += sum(crop.path not in wanted for crop in crops)
    pending = [crop for crop in source.crops if crop.path not in stored]
    random.Random(0).shuffle(pending)  # so that every part, also the first, is a sample of all crops
    size = max(1, min(part_size, -(-len(pending) // world_size)))
    chunks = [*enumerate((pending[start : start + size] for start in range(0, len(pending), size)), first)]
    counts = staying + len(chunks), len(stored), len(changed - stored), gone
    return Plan(gallery, source, kept, damaged, chunks, *counts)


def run_index(
    recognizer: Recognizer,
    plan: Plan,
    *,
    batch: int = 32,
    workers: int = 2,
    strict: bool = False,
    process_group: ProcessGroup = SINGLE,
    progress: Progress | None = None,
) -> list[str]:
    """Do what was planned; returns why images could not be read. All processes have the same plan.

    Raises:
        InputError: not one image can be read, or with `strict` one cannot; or a feature does not fit half precision.
        RequirementError: no space.
    """
    gallery = plan.gallery
    process_group.broadcast(lambda: gallery.clean(plan.kept))
    projection = None
    with contextlib.suppress(InputError):
        projection = Projection.load(gallery.folder / PROJECTION)
    mine = process_group.shard(plan.pending)
    total, done = sum(len(crops) for _, crops in mine), 0
    skipped: list[str] = []
    for number, crops in mine:
        read, rows = [], []
        files = [Path(gallery.source.root) / crop.path for crop in crops]
        features = score_images(
            lambda pixels: _encode(recognizer, pixels), files, recognizer.image_size, batch_size=batch, workers=workers
        )
        for crop, row in zip(crops, features, strict=True):
            if isinstance(row, InputError):
                if strict:
                    raise row
                skipped.append(row.problem)
            else:
                read.append(crop)
                rows.append(row.astype(np.float16))
            done += 1
            if progress is not None and (done % batch == 0 or done == total):
                progress(done, total)
        if read:
            tokens, part = np.stack(rows), Part(gallery, number)
            if projection is not None:
                part.save("projection", projection.project(tokens))
            part.write(tokens, read, trained_scores(recognizer, tokens))
    every = [item for some in process_group.all_gather(skipped) for item in some]
    process_group.broadcast(lambda: _fit(recognizer, gallery, bool(plan.pending)))
    _project(process_group.shard(gallery.parts))
    process_group.all_gather(None)  # until all are projected
    process_group.broadcast(replace(gallery, complete=True).save)
    if not gallery.parts:
        raise InputError("No image can be read.")
    return every


def _fit(recognizer: Recognizer, gallery: Gallery, more: bool) -> None:
    """Fit a projection if there is none, or if it was fitted to few crops and more have come."""
    file, parts = gallery.folder / PROJECTION, gallery.parts
    with contextlib.suppress(InputError):
        if Projection.load(file).crops >= SAMPLE or not more:
            return
    sample: list[NDArray[np.float16]] = []
    # Projections go before the file that says how they were made: two that do not fit never stand together.
    for part in parts:
        part.file("projection").unlink(missing_ok=True)
        if sum(map(len, sample)) < SAMPLE:
            sample.append(part.tokens()[:SAMPLE])
    if sample:
        score = token_scorer(recognizer.model, recognizer.encode_texts(gallery.vocabulary.trained))
        fit_projection(np.concatenate(sample), score, recognizer.device).save(file)


def _project(parts: Sequence[Part]) -> None:
    """Write the projections of parts that have none, or a damaged one."""
    for part in parts:
        projection = Projection.load(part.gallery.folder / PROJECTION)
        tokens = part.tokens()
        with contextlib.suppress(InputError):
            if len(part.array("projection", len(projection.encode))) == len(tokens):
                continue
        part.save("projection", projection.project(tokens))


@torch.inference_mode()
def trained_scores(recognizer: Recognizer, tokens: NDArray[np.float16]) -> NDArray[np.float32]:
    """The model's own scores [n, Z] of stored features against its trained texts."""
    model = recognizer.model
    texts = recognizer.encode_texts(recognizer.vocabulary.trained).float()
    blocks = torch.from_numpy(tokens).split(SCORED)
    scores = [model.score(block.to(recognizer.device).float(), texts).scores.float().cpu() for block in blocks]
    return torch.cat(scores).numpy()


@torch.inference_mode()
def _encode(recognizer: Recognizer, pixels: Pixels) -> NDArray[np.float32]:
    """Features [B, K, D] of crops, rounded to half precision."""
    images = normalise(torch.from_numpy(pixels), recognizer.device)
    with autocast(recognizer.device, recognizer.precision):
        tokens = recognizer.model.encode_image(images).tokens
    half = tokens.half()
    if not half.isfinite().all():
        raise InputError(
            f"Features of up to {float(tokens.abs().max()):.3g} do not fit half precision (65,504).",
            "Is this checkpoint sound? See: focus eval -c RUN",
        )
    return half.float().cpu().numpy()

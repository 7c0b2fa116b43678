"""Making a gallery: encode, sketch, commit. Each step can be cut off anywhere and done again; see `plan` for the rules."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from focuscli.errors import InputError, RequirementError
from focuscli.inference.recognizer import Recognizer
from focuscli.tools.gallery import sketch
from focuscli.tools.gallery.binding import bind, check_binding, require_searchable
from focuscli.tools.gallery.build import make_basis, sketch_shards
from focuscli.tools.gallery.encode import encode_crops
from focuscli.tools.gallery.lock import LOCK, only_writer
from focuscli.tools.gallery.manifest import MANIFEST, Manifest, open_tokens, read_manifest, write_manifest
from focuscli.tools.gallery.plan import Plan, Stored, check_same_images, find_stored, make_plan
from focuscli.tools.gallery.scorer import fold_model
from focuscli.tools.gallery.shards import Shard, Skipped, read_shard, write_shard
from focuscli.tools.gallery.source import Source
from focuscli.tools.gallery.team import Alone, Team

SHARD = 4_096
OWN_FILE = re.compile(
    r"\d{6,}-[0-9a-f]{12}(\.[0-9a-f]{12})?\.(json|crops\.jsonl|(tokens|sketch|norms|floors)\.npy)"
    r"|basis-[0-9a-f]{12}\.safetensors"
)
"""Names that a gallery's files have; other files in the folder are none of our business."""
HALF_WRITTEN = re.compile(r"\.(\d{6,}-[0-9a-f]{12}|basis-[0-9a-f]{12}|gallery)\..*\.tmp")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Job:
    """An index run that was checked and not begun.

    Attributes:
        manifest: as it is before the run. plan: what is to be done. damaged: shards that have to be encoded again, and why.
        planned_from: the manifest on disk; None where there was none.
    """

    folder: Path
    source: Source
    manifest: Manifest
    plan: Plan
    damaged: tuple[str, ...]
    planned_from: Manifest | None = None

    @property
    def bytes_needed(self) -> int:
        """Of the tokens that will be written; what is stored besides is about a sixth of that."""
        each = 2 * self.manifest.tokens * self.manifest.width
        return each * (self.plan.to_encode + sum(len(item.rows) for item in self.plan.reduced))


def prepare_index(
    recognizer: Recognizer, source: Source, folder: Path, *, resume: bool = False, shard_size: int = SHARD
) -> Job:
    """Look at everything, write nothing.

    Raises:
        UsageError: the method cannot search. InputError: the folder exists and `resume` is not asked for; it is no gallery,
        a damaged one, or one of another model, precision or source. RequirementError: too little space on the disk.
    """
    require_searchable(recognizer.config.model.method)
    found: list[Stored] = []
    damaged: list[str] = []
    before = None
    if resume and (folder / MANIFEST).exists():
        manifest = before = read_manifest(folder)
        check_binding(manifest, bind(recognizer), folder, precision=True)
        found, damaged = find_stored(folder, manifest)
        check_same_images(found, source.crops, manifest, source.name)
        manifest = replace(manifest, source=source.record())
    else:
        _check_free(folder, resume=resume)
        model = recognizer.model
        width = model.clip.config.embed_dim
        manifest = Manifest(bind(recognizer), len(model.token_names), width, source.record())
    job = Job(folder, source, manifest, make_plan(found, source.crops, shard_size), tuple(damaged), before)
    _check_space(job)
    return job


def run_index(
    recognizer: Recognizer,
    job: Job,
    *,
    batch: int = 32,
    workers: int = 2,
    team: Team | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Do what `prepare_index` planned, and commit it; returns the new manifest.

    In a team all processes have the same job, and each encodes and sketches its part of the shards; a batch never spans
    two shards, so that a shard is the same whoever makes it.

    Raises:
        InputError: not one image can be read, or another run writes to the folder. RequirementError: no space.
    """
    team = team or Alone()
    with contextlib.ExitStack() as held:
        team.broadcast(lambda: _begin(job, held))
        _encode(recognizer, job, team, batch, workers, progress)
        team.barrier()
        manifest = _finish(recognizer, job, team)
    if not manifest.crops:
        raise InputError(f"None of {manifest.skipped:,} images can be read.")
    return manifest


def _begin(job: Job, held: contextlib.ExitStack) -> None:
    """Make the folder a gallery that nobody else writes to while `held` is open, and write reduced shards: their rows are
    there already."""
    held.enter_context(only_writer(job.folder))
    there = (job.folder / MANIFEST).exists()
    if (read_manifest(job.folder) if there else None) != job.planned_from:
        raise InputError(
            f"{job.folder} was changed by another focus index since this one began; nothing was changed by this one.",
            f"Run it again: focus index SOURCE -o {job.folder} --resume",
        )
    if not there:
        write_manifest(job.folder, job.manifest)
    for item in job.plan.reduced:
        old = open_tokens(job.folder, job.manifest, item.stored.shard)
        crops = [item.stored.crops[row] for row in item.rows]
        write_shard(job.folder, item.name, old[[*item.rows]], crops, item.shard.skipped)


def _encode(recognizer: Recognizer, job: Job, team: Team, batch: int, workers: int, progress: Progress | None) -> None:
    """This process's part of the new shards."""
    mine = team.shard(job.plan.fresh)
    total, done = sum(len(crops) for _, crops in mine), 0
    for name, crops in mine:
        tokens, read, skipped = encode_crops(
            recognizer,
            crops,
            job.source,
            batch=batch,
            workers=workers,
            progress=None if progress is None else _shifted(progress, done, total),
        )
        write_shard(job.folder, name, tokens, read, skipped)
        done += len(crops)


def _finish(recognizer: Recognizer, job: Job, team: Team) -> Manifest:
    """Sketch, and commit."""
    folder = job.folder
    shards = [read_shard(folder, name) for name in job.plan.names]
    manifest = replace(
        job.manifest,
        shards=tuple((shard.name, shard.crops) for shard in shards),
        skipped=sum(len(shard.skipped) for shard in shards),
        complete=True,
    )
    if manifest.crops:
        manifest = replace(manifest, basis=_sketch(recognizer, folder, manifest, team))
    team.broadcast(lambda: _commit(folder, manifest))
    return manifest


def _sketch(recognizer: Recognizer, folder: Path, manifest: Manifest, team: Team) -> str | None:
    """The basis and every shard's sketch, where the model can use them; returns the basis' file."""
    folded = fold_model(recognizer.model)
    if folded is None:
        return None
    texts = folded.fold(recognizer.encode_texts(recognizer.model.texts).float())
    name = team.broadcast(lambda: _usable_basis(folder, manifest) or make_basis(folder, manifest, folded, texts))
    basis = sketch.Basis.load(folder / name)
    mine, threads = team.shard(manifest.shards), torch.get_num_threads()
    sketch_shards(folder, replace(manifest, basis=name), mine, basis, folded, threads=threads)
    team.barrier()
    return name


def _usable_basis(folder: Path, manifest: Manifest) -> str | None:
    if manifest.basis is None:
        return None
    try:
        sketch.Basis.load(folder / manifest.basis)
    except InputError:
        return None
    return manifest.basis


def _commit(folder: Path, manifest: Manifest) -> None:
    """From here on the gallery is the new one; what only an old one or a killed run needed is removed."""
    write_manifest(folder, manifest)
    files = manifest.files
    for file in folder.iterdir():
        if HALF_WRITTEN.fullmatch(file.name) or (OWN_FILE.fullmatch(file.name) and file.name not in files):
            file.unlink(missing_ok=True)


def _check_free(folder: Path, *, resume: bool) -> None:
    """Refuse to begin a gallery where something is; what a run leaves that was killed before its first manifest is nothing.

    Raises:
        InputError: see above.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(
            f"{folder} is a file, and a gallery is a folder; nothing was changed.", "Give another with -o."
        )
    names = {file.name for file in folder.iterdir()} if folder.exists() else set()
    names = {name for name in names if name != LOCK and not HALF_WRITTEN.fullmatch(name)}
    if MANIFEST in names:
        hint = "Go on with it, or bring it up to date: add --resume. Or give another place with -o."
        raise InputError(f"{folder} exists already; nothing was changed.", hint)
    if any(OWN_FILE.fullmatch(name) for name in names):
        raise InputError(
            f"{folder} holds shards of a gallery, and {MANIFEST}, which says whose they are, is missing; nothing was changed.",
            f"Put {MANIFEST} back, or index again into another folder: focus index SOURCE -o OTHER",
        )
    if names and resume:
        raise InputError(
            f"{folder} is no gallery (no {MANIFEST} in it); nothing was changed.",
            "Name the gallery, or a folder that is to be made: focus index SOURCE -o GALLERY --resume",
        )
    if names:
        raise InputError(f"{folder} exists already; nothing was changed.", "Give another place with -o.")


def _check_space(job: Job) -> None:
    there = next(parent for parent in (job.folder, *job.folder.absolute().parents) if parent.exists())
    free, needed = shutil.disk_usage(there).free, job.bytes_needed * 6 // 5
    if needed > free:
        raise RequirementError(
            f"The gallery needs {needed / 2**30:.1f} GiB more, and {there} has {free / 2**30:.1f} GiB free.",
            "Choose another place with -o, or index fewer images.",
        )


def _shifted(progress: Progress, before: int, total: int) -> Progress:
    return lambda done, _: progress(before + done, total)


def unreadable(folder: Path, manifest: Manifest) -> list[Skipped]:
    """The images of a gallery that could not be read."""
    shards: list[Shard] = [read_shard(folder, name) for name, _ in manifest.shards] if manifest.skipped else []
    return [item for shard in shards for item in shard.skipped]

"""`focus prepare`: official downloads, own data, drawings and weights into the forms that focus reads."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import tempfile
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from focuscli.cli import render, views
from focuscli.cli.options import DryRunOpt, ForceOpt
from focuscli.errors import InputError, UsageError
from focuscli.storage import paths

if TYPE_CHECKING:
    from focuscli.data.prepare import OnMissing, PrepareReport

OutOpt = Annotated[
    Path | None, typer.Option("--out", help="Dataset folder to write; default: by name under FOCUS_HOME.")
]


class OnBadImage(StrEnum):
    """What happens to an unreadable image."""

    error = "error"
    skip = "skip"


OnBadImageOpt = Annotated[OnBadImage, typer.Option("--on-bad-image", help="Stop, or leave the image out and list it.")]
ImagesOpt = Annotated[Path | None, typer.Option("--images", help="Folder of the images; default: found beside.")]
AllowMissingOpt = Annotated[bool, typer.Option("--allow-missing", help="Keep the images that are there.")]
LabelsOnlyOpt = Annotated[bool, typer.Option("--labels-only", help="Without images: for all that needs no pixels.")]


def _missing(allow_missing: bool, labels_only: bool) -> OnMissing:
    """What happens to images that are not there."""
    if allow_missing and labels_only:
        raise UsageError("--allow-missing and --labels-only exclude each other.", "Leave one of them out.")
    return "labels-only" if labels_only else "allow" if allow_missing else "error"


def _out(out: Path | None, name: str) -> Path:
    return out if out is not None else paths.datasets_dir() / name


def _official(
    name: str,
    source: Path,
    out: Path | None,
    force: bool,
    dry_run: bool,
    on_bad_image: OnBadImage,
    *,
    split: str | None = None,
    images: Path | None = None,
    missing: OnMissing = "error",
) -> None:
    """Prepare an official download and show what came of it."""
    from focuscli.data.prepare import prepare_official

    final = _out(out, name)
    with _target(final, force=force, dry_run=dry_run) as target, render.progress("checking images") as progress:
        report = prepare_official(
            name,
            source,
            target,
            split=split,
            images=images,
            overwrite=force,
            missing=missing,
            on_bad_image=on_bad_image.value,
            progress=progress,
        )
    _done(dataclasses.replace(report, path=final), dry_run=dry_run, labels_only=missing == "labels-only")


@contextlib.contextmanager
def _target(out: Path, *, force: bool, dry_run: bool) -> Iterator[Path]:
    """`out` itself, or for a dry run a folder of its name that vanishes; what would stop the real run stops it too."""
    if not dry_run:
        yield out
        return
    if out.exists() and not force:
        raise InputError(f"{out} exists already.", "The real run needs --force to replace it, or another --out.")
    with tempfile.TemporaryDirectory(prefix="focus-dry-run-") as place:
        yield Path(place) / out.resolve().name


def peta_command(
    source: Annotated[Path, typer.Argument(help="PETA as downloaded: ten subsets, or images/ with PETA.mat.")],
    out: OutOpt = None,
    split: Annotated[
        str, typer.Option(help="official:0 to official:4, identity, paper, subset:VIPeR,GRID (test sites), or zs:FILE.")
    ] = "official:0",
    force: ForceOpt = False,
    dry_run: DryRunOpt = False,
    on_bad_image: OnBadImageOpt = OnBadImage.error,
) -> None:
    """PETA (19,000 images, 105 attributes, 35 evaluated)."""
    _official("peta", source, out, force, dry_run, on_bad_image, split=split)


def pa100k_command(
    source: Annotated[Path, typer.Argument(help="PA-100K as downloaded: annotation.mat and release_data.")],
    out: OutOpt = None,
    images: ImagesOpt = None,
    allow_missing: AllowMissingOpt = False,
    labels_only: LabelsOnlyOpt = False,
    force: ForceOpt = False,
    dry_run: DryRunOpt = False,
    on_bad_image: OnBadImageOpt = OnBadImage.error,
) -> None:
    """PA-100K (100,000 images, 26 attributes)."""
    missing = _missing(allow_missing, labels_only)
    _official("pa100k", source, out, force, dry_run, on_bad_image, images=images, missing=missing)


def _rap(name: str, about: str) -> Callable[..., None]:
    """The command of RAPv1 or RAPv2: they differ in their files, not in their options."""

    def rap_command(
        source: Annotated[Path, typer.Argument(help="RAP as downloaded: RAP_annotation and RAP_dataset.")],
        out: OutOpt = None,
        split: Annotated[
            str, typer.Option(help="official:0 to official:4; of RAPv2 also zs:FILE (RAP-ZS).")
        ] = "official:0",
        images: ImagesOpt = None,
        allow_missing: AllowMissingOpt = False,
        labels_only: LabelsOnlyOpt = False,
        force: ForceOpt = False,
        dry_run: DryRunOpt = False,
        on_bad_image: OnBadImageOpt = OnBadImage.error,
    ) -> None:
        missing = _missing(allow_missing, labels_only)
        _official(name, source, out, force, dry_run, on_bad_image, split=split, images=images, missing=missing)

    rap_command.__doc__ = about
    return rap_command


def csv_command(
    labels: Annotated[Path, typer.Argument(help="CSV: a column with image names, one 0/1 column per attribute.")],
    out: OutOpt = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of the images; default: beside the CSV.")
    ] = None,
    schema: Annotated[
        Path | None, typer.Option("--schema", help="A schema.toml that fits; default: guessed, to be edited.")
    ] = None,
    true: Annotated[str, typer.Option("--true", help="The word that means present.")] = "1",
    false: Annotated[str, typer.Option("--false", help="The word that means absent.")] = "0",
    force: ForceOpt = False,
    dry_run: DryRunOpt = False,
    on_bad_image: OnBadImageOpt = OnBadImage.error,
) -> None:
    """Your own labels: writes schema.toml (guessed, for you to edit) and labels.csv."""
    from focuscli.data.prepare import prepare_csv

    if not labels.is_file():
        raise _no_table(labels)
    # `labels.csv` says nothing; then its folder's name is the better one
    final = _out(out, labels.resolve().parent.name if labels.stem == "labels" else labels.stem)
    with _target(final, force=force, dry_run=dry_run) as target, render.progress("checking images") as progress:
        report = prepare_csv(
            labels,
            target,
            images=images,
            schema=schema,
            true=true,
            false=false,
            overwrite=force,
            on_bad_image=on_bad_image.value,
            progress=progress,
        )
    _done(dataclasses.replace(report, path=final), dry_run=dry_run)


def synthetic_command(
    out: OutOpt = None,
    images: Annotated[int, typer.Option(min=20, help="How many drawings.")] = 1600,
    seed: Annotated[int, typer.Option(help="The same seed draws the same.")] = 0,
    style: Annotated[
        str, typer.Option(help="Camera style: street, night, indoor, ...; a wrong one lists them.")
    ] = "street",
    as_: Annotated[
        str | None, typer.Option("--as", help="Write them as an official download instead: peta, pa100k or rapv1.")
    ] = None,
    force: ForceOpt = False,
) -> None:
    """Drawn pedestrians with exact boxes: for trying out, tests and pictures."""
    if as_ is not None:
        _drawn_official(as_, out or Path(f"drawn-{as_}"), images=images, seed=seed, style=style, force=force)
        return
    from focuscli.data.synthetic import prepare_synthetic

    with render.progress("drawing") as progress:
        report = prepare_synthetic(
            _out(out, "synthetic"), images=images, seed=seed, style=style, overwrite=force, progress=progress
        )
    _done(report)


def _drawn_official(kind: str, out: Path, *, images: int, seed: int, style: str, force: bool) -> None:
    from focuscli.data.synthetic.official import write_official

    with render.progress("drawing") as progress:
        write_official(kind, out, images=images, seed=seed, style=style, overwrite=force, progress=progress)
    render.result(
        {"path": str(out), "structure": kind, "images": images},
        lines=[
            f"wrote {images:,} drawings in the file structure of {kind}: {out}",
            f"next: focus prepare {kind} {out}",
        ],
    )


def weights_command(
    source: Annotated[
        str | None, typer.Argument(metavar="[PATH|URL]", help="Default: OpenAI's ViT-B/16, downloaded.")
    ] = None,
    force: ForceOpt = False,
) -> None:
    """Install CLIP weights: OpenAI's ViT-B/16 by download, or a file in any usual format."""
    from focuscli.storage.weights import install_weights

    with render.progress("weights") as progress:
        installed = install_weights(source, force=force, progress=lambda done, total: progress(done, total or 0))
    render.result(
        {
            "path": str(installed.path),
            "sha256": installed.sha256,
            "format": installed.format,
            "tensors": installed.tensors,
            "activation": installed.activation,
        },
        lines=[
            f"{installed.format}, {installed.tensors} tensors, activation {installed.activation}",
            f"sha256 {installed.sha256}",
            f"wrote {installed.path}",
        ],
    )


def _no_table(labels: Path) -> InputError:
    """The error for a CSV that is not there, with the nearest name in its folder."""
    if labels.is_dir():
        return InputError(
            f"{labels} is a folder, not a CSV file.", f"Name the file: focus prepare csv {labels}/FILE.csv"
        )
    names = [file.name for file in labels.parent.glob("*.csv")]
    close = difflib.get_close_matches(labels.name, names, n=1)
    hint = (
        f"Did you mean {labels.parent / close[0]}?"
        if close
        else "Example: focus prepare csv labels.csv --images FOLDER"
    )
    return InputError(f"No such file: {labels}.", hint)


def _done(report: PrepareReport, *, dry_run: bool = False, labels_only: bool = False) -> None:
    if render.as_json():
        values = {**report.__dict__, "path": str(report.path), "dry_run": dry_run}
        render.result(values, lines=[])
        return
    known = report.path == paths.datasets_dir() / report.path.name
    name = report.path.name if known else str(report.path)
    following = f"focus eval --open-domain --target {name}" if labels_only else f"focus train --dataset {name}"
    views.prepared(report, next_command=following, dry_run=dry_run)


COMMANDS: dict[str, Callable[..., None]] = {
    "peta": peta_command,
    "pa100k": pa100k_command,
    "rapv1": _rap("rapv1", "RAPv1 (41,585 images, 92 attributes, 51 evaluated)."),
    "rapv2": _rap("rapv2", "RAPv2 (84,928 images, 54 evaluated attributes); never run on the real file."),
    "csv": csv_command,
    "synthetic": synthetic_command,
    "weights": weights_command,
}

"""`focus prepare`: official downloads, own tables, synthetic data and weights, into the forms that focus reads."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from focuscli.cli import render, views
from focuscli.cli.options import DryRunOpt, ForceOpt
from focuscli.errors import UsageError
from focuscli.storage import paths

if TYPE_CHECKING:
    from focuscli.data.prepare import PrepareReport

OutOpt = Annotated[
    Path | None, typer.Option("--out", help="Dataset folder to write; default: by name under FOCUS_HOME.")
]


class OnBadImage(StrEnum):
    """What happens to an unreadable image."""

    error = "error"
    skip = "skip"


OnBadImageOpt = Annotated[
    OnBadImage, typer.Option("--on-bad-image", help="Unreadable images: stop (error), or exclude and list them (skip).")
]
ImagesOpt = Annotated[
    Path | None, typer.Option("--images", help="Folder of the images; default: found beside the labels.")
]
AllowMissingOpt = Annotated[
    bool, typer.Option("--allow-missing", help="Prepare the images that exist, without the missing ones.")
]
LabelsOnlyOpt = Annotated[
    bool, typer.Option("--labels-only", help="Prepare labels without images, for everything that needs no pixels.")
]


def _out(out: Path | None, name: str) -> Path:
    return out if out is not None else paths.datasets_dir() / name


def _official(
    name: str,
    source: Path,
    out: Path | None,
    dry_run: bool,
    on_bad_image: OnBadImage,
    *,
    allow_missing: bool = False,
    labels_only: bool = False,
    **options: Any,
) -> None:
    """Prepare an official download and show the report; `options` as of `prepare_official`."""
    from focuscli.data.prepare import prepare_official

    if allow_missing and labels_only:
        raise UsageError("--allow-missing and --labels-only exclude each other.", "Remove one of them.")
    with render.progress("checking images") as progress:
        report = prepare_official(
            name,
            source,
            _out(out, name),
            missing="labels-only" if labels_only else "allow" if allow_missing else "error",
            on_bad_image=on_bad_image.value,
            dry_run=dry_run,
            progress=progress,
            **options,
        )
    _done(report, dry_run=dry_run, labels_only=labels_only)


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
    _official("peta", source, out, dry_run, on_bad_image, split=split, overwrite=force)


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
    _official(
        "pa100k",
        source,
        out,
        dry_run,
        on_bad_image,
        images=images,
        allow_missing=allow_missing,
        labels_only=labels_only,
        overwrite=force,
    )


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
        _official(
            name,
            source,
            out,
            dry_run,
            on_bad_image,
            split=split,
            images=images,
            allow_missing=allow_missing,
            labels_only=labels_only,
            overwrite=force,
        )

    rap_command.__doc__ = about
    return rap_command


def csv_command(
    labels: Annotated[Path, typer.Argument(help="CSV: a column with image names, one 0/1 column per attribute.")],
    out: OutOpt = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of the images; default: beside the CSV.")
    ] = None,
    schema: Annotated[
        Path | None, typer.Option("--schema", help="A schema.toml for this table; default: guessed, for you to edit.")
    ] = None,
    true: Annotated[str, typer.Option("--true", help="The word that means present.")] = "1",
    false: Annotated[str, typer.Option("--false", help="The word that means absent.")] = "0",
    force: ForceOpt = False,
    dry_run: DryRunOpt = False,
    on_bad_image: OnBadImageOpt = OnBadImage.error,
) -> None:
    """Your own labels: writes schema.toml (guessed, for you to edit) and labels.csv."""
    from focuscli.data.prepare import prepare_csv

    # A file called labels.csv is best named after its folder.
    name = labels.resolve().parent.name if labels.stem == "labels" else labels.stem
    with render.progress("checking images") as progress:
        report = prepare_csv(
            labels,
            _out(out, name),
            images=images,
            schema=schema,
            true=true,
            false=false,
            overwrite=force,
            on_bad_image=on_bad_image.value,
            dry_run=dry_run,
            progress=progress,
        )
    _done(report, dry_run=dry_run)


def synthetic_command(
    out: OutOpt = None,
    images: Annotated[int, typer.Option(min=20, help="Number of images.")] = 1600,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same images.")] = 0,
    style: Annotated[str, typer.Option(help="Camera style: studio, street or night.")] = "street",
    as_: Annotated[
        str | None, typer.Option("--as", help="Write them as an official download instead: peta, pa100k or rapv1.")
    ] = None,
    force: ForceOpt = False,
) -> None:
    """Synthetic pedestrians with exact boxes, for trying things out."""
    if as_ is None:
        from focuscli.data.synthetic.generate import prepare_synthetic

        with render.progress("drawing") as progress:
            report = prepare_synthetic(
                _out(out, "synthetic"), images=images, seed=seed, style=style, overwrite=force, progress=progress
            )
        _done(report)
        return
    from focuscli.data.synthetic.official import write_official

    folder = out or Path(f"synthetic-{as_}")
    with render.progress("drawing") as progress:
        write_official(as_, folder, images=images, seed=seed, style=style, overwrite=force, progress=progress)
    render.result(
        {"path": str(folder), "structure": as_, "images": images},
        lines=[
            f"wrote {images:,} synthetic images in the file structure of {as_}: {folder}",
            f"next: focus prepare {as_} {folder}",
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
        installed,
        lines=[
            f"{installed['format']}, {installed['tensors']} tensors, activation {installed['activation']}",
            f"sha256 {installed['sha256']}",
            f"wrote {installed['path']}",
        ],
    )


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

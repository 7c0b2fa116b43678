"""`focus prepare`: official downloads, own tables, synthetic data and weights, into the forms that focus reads."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from focuscli.cli import render, views
from focuscli.cli.options import DryRunOpt, ForceOpt
from focuscli.errors import UsageError
from focuscli.storage import paths

if TYPE_CHECKING:
    from focuscli.data.folder import DatasetFolder

OutOpt = Annotated[
    Path | None, typer.Option("--out", help="Dataset folder to write; default: by name under FOCUS_HOME.")
]
OnBadImageOpt = Annotated[
    Literal["error", "skip"],
    typer.Option("--on-bad-image", help="Unreadable images: stop (error), or exclude and list them (skip)."),
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
_OFFICIAL = {
    "images": (ImagesOpt, None),
    "allow_missing": (AllowMissingOpt, False),
    "labels_only": (LabelsOnlyOpt, False),
    "force": (ForceOpt, False),
    "dry_run": (DryRunOpt, False),
    "on_bad_image": (OnBadImageOpt, "error"),
}
"""Options of official downloads, with their defaults."""


def _prepare(
    kind: str,
    source: Path,
    out: Path | None,
    *,
    force: bool,
    name: str | None = None,
    allow_missing: bool = False,
    labels_only: bool = False,
    **options: Any,
) -> None:
    """Prepare what `focuscli.data.prepare.READERS` reads and show what was found; `options` as of `prepare`."""
    from focuscli.data.prepare import prepare

    if allow_missing and labels_only:
        raise UsageError("--allow-missing and --labels-only exclude each other.", "Remove one of them.")
    missing: Any = "labels-only" if labels_only else "allow" if allow_missing else "error"
    started = time.monotonic()
    with render.progress("checking images") as progress:
        target = out or paths.datasets_dir() / (name or kind)
        folder = prepare(kind, source, target, overwrite=force, missing=missing, progress=progress, **options)
    _done(folder, started, dry_run=options["dry_run"])


def _official(
    name: str, about: str, source: str, *, split: str = "", without: tuple[str, ...] = ()
) -> Callable[..., None]:
    """The command of an official download.

    Args:
        about, source, split: its help and that of its argument and of --split; without the last it has no such option.
        without: keys of `_OFFICIAL` that it does not have.
    """
    parameters: dict[str, tuple[Any, Any]] = {
        "source": (Annotated[Path, typer.Argument(help=source)], inspect.Parameter.empty),
        "out": (OutOpt, None),
    }
    if split:
        parameters["split"] = (Annotated[str, typer.Option(help=split)], "official:0")
    parameters |= {key: value for key, value in _OFFICIAL.items() if key not in without}

    def command(**arguments: Any) -> None:
        _prepare(name, **arguments)

    command.__doc__ = about
    command.__annotations__ = {key: annotation for key, (annotation, _) in parameters.items()}
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for key, (annotation, default) in parameters.items()
        ]
    )
    return command


def csv_command(
    labels: Annotated[Path, typer.Argument(help="CSV: a column with image names, one 0/1 column per attribute.")],
    out: OutOpt = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the images; default: beside the CSV.")] = None,
    schema: Annotated[
        Path | None, typer.Option(help="A schema.toml for this table; default: guessed, for you to edit.")
    ] = None,
    true: Annotated[str, typer.Option(help="The word that means present.")] = "1",
    false: Annotated[str, typer.Option(help="The word that means absent.")] = "0",
    force: ForceOpt = False,
    dry_run: DryRunOpt = False,
    on_bad_image: OnBadImageOpt = "error",
) -> None:
    """Your own labels: writes schema.toml (guessed, for you to edit) and labels.csv."""
    # A file called labels.csv is best named after its folder.
    name = labels.resolve().parent.name if labels.stem == "labels" else labels.stem
    options: dict[str, Any] = {"images": images, "schema": schema, "true": true, "false": false}
    _prepare("csv", labels, out, name=name, force=force, dry_run=dry_run, on_bad_image=on_bad_image, **options)


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
    started = time.monotonic()
    folder = out or (Path(f"synthetic-{as_}") if as_ else paths.datasets_dir() / "synthetic")
    if as_ is None:
        from focuscli.data.synthetic.generate import prepare_synthetic

        with render.progress("drawing") as progress:
            dataset = prepare_synthetic(
                folder, images=images, seed=seed, style=style, overwrite=force, progress=progress
            )
        _done(dataset, started)
        return
    from focuscli.data.synthetic.official import write_official

    with render.progress("drawing") as progress:
        write_official(as_, folder, images=images, seed=seed, style=style, overwrite=force, progress=progress)
    lines = [f"wrote {images:,} synthetic images in the file structure of {as_}: {folder}"]
    lines.append(f"next: focus prepare {as_} {folder}")
    render.result({"path": str(folder), "structure": as_, "images": images}, lines=lines)


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


def _done(folder: DatasetFolder, started: float, *, dry_run: bool = False) -> None:
    """Show what was prepared since `started`, a value of `time.monotonic`."""
    seconds = time.monotonic() - started
    if render.as_json():
        render.result(
            {
                "path": str(folder.path),
                "name": folder.schema.name,
                "images": len(folder.images),
                "attributes": len(folder.schema.attributes),
                "evaluated": len(folder.schema.evaluated),
                "counts": folder.counts,
                **{key: folder.info.get(key) for key in ("published", "warnings", "notes")},
                "seconds": seconds,
                "dry_run": dry_run,
            },
            lines=[],
        )
        return
    views.prepared(folder)
    if dry_run:
        render.note(f"  dry run: nothing was written to {folder.path}       {seconds:.1f} s")
        return
    known = folder.path == paths.datasets_dir() / folder.path.name
    name = folder.path.name if known else str(folder.path)
    render.note(f"  wrote {folder.path}       {seconds:.1f} s")
    render.note(f"  next: focus {'eval --open-domain --target' if folder.labels_only else 'train --dataset'} {name}")


_RAP = "RAP as downloaded: RAP_annotation and RAP_dataset."
COMMANDS: dict[str, Callable[..., None]] = {
    "peta": _official(
        "peta",
        "PETA (19,000 images, 105 attributes, 35 evaluated).",
        "PETA as downloaded: ten subsets, or images/ with PETA.mat.",
        split="official:0 to official:4, identity, paper, subset:VIPeR,GRID (test sites), or zs:FILE.",
        without=("images", "allow_missing", "labels_only"),
    ),
    "pa100k": _official(
        "pa100k",
        "PA-100K (100,000 images, 26 attributes).",
        "PA-100K as downloaded: annotation.mat and release_data.",
    ),
    "rapv1": _official(
        "rapv1", "RAPv1 (41,585 images, 92 attributes, 51 evaluated).", _RAP, split="official:0 to official:4."
    ),
    "rapv2": _official(
        "rapv2",
        "RAPv2 (84,928 images, 54 evaluated attributes); never run on the real file.",
        _RAP,
        split="official:0 to official:4, or zs:FILE (RAP-ZS).",
    ),
    "csv": csv_command,
    "synthetic": synthetic_command,
    "weights": weights_command,
}

"""`focus prepare`: official downloads, own tables, synthetic data and weights, into the forms that focus reads."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from focuscli.cli import render, views
from focuscli.cli.options import DryRunOpt, ForceOpt, StrictOpt, choice
from focuscli.errors import UsageError, listed, plural
from focuscli.storage import paths

if TYPE_CHECKING:
    from focuscli.data.folder import DatasetFolder

OutOpt = Annotated[Path | None, typer.Option(help="Dataset folder to write; default: by name under FOCUS_HOME.")]
NameOpt = Annotated[str | None, typer.Option(help="Name of the dataset under FOCUS_HOME, in place of --out.")]
ImagesOpt = Annotated[Path | None, typer.Option(help="Folder of the images; default: found beside the labels.")]
AllowMissingOpt = Annotated[bool, typer.Option("--allow-missing", help="Prepare without the images that are missing.")]
LabelsOnlyOpt = Annotated[bool, typer.Option("--labels-only", help="Labels without images, for what needs no pixels.")]
OnBadImageOpt = Annotated[
    Literal["error", "skip"],
    choice("--on-bad-image", of=("error", "skip"), help="Unreadable images: skip them, or stop as with --strict."),
]


def peta_command(
    source: Annotated[Path, typer.Argument(help="PETA as downloaded: ten subsets, or images/ with PETA.mat.")],
    out: OutOpt = None,
    name: NameOpt = None,
    split: Annotated[str, typer.Option(help="official:0 to 4, identity, paper, subset:S,T, zs:FILE.")] = "official:0",
    force: ForceOpt = False,
    dry_run: DryRunOpt = False,
    on_bad_image: OnBadImageOpt = "skip",
    strict: StrictOpt = False,
) -> None:
    """PETA (19,000 images, 105 attributes, 35 evaluated)."""
    _prepare("peta", **locals())


def pa100k_command(
    source: Annotated[Path, typer.Argument(help="PA-100K as downloaded: annotation.mat and release_data.")],
    out: OutOpt = None,
    name: NameOpt = None,
    images: ImagesOpt = None,
    allow_missing: AllowMissingOpt = False,
    labels_only: LabelsOnlyOpt = False,
    force: ForceOpt = False,
    dry_run: DryRunOpt = False,
    on_bad_image: OnBadImageOpt = "skip",
    strict: StrictOpt = False,
) -> None:
    """PA-100K (100,000 images, 26 attributes)."""
    _prepare("pa100k", **locals())


def _rap(kind: str, about: str) -> Callable[..., None]:
    """The command of RAPv1 or RAPv2: they differ in their files, not in their options."""

    def rap_command(
        source: Annotated[Path, typer.Argument(help="RAP as downloaded: RAP_annotation and RAP_dataset.")],
        out: OutOpt = None,
        name: NameOpt = None,
        split: Annotated[str, typer.Option(help="official:0 to official:4; of RAPv2 also zs:FILE.")] = "official:0",
        images: ImagesOpt = None,
        allow_missing: AllowMissingOpt = False,
        labels_only: LabelsOnlyOpt = False,
        force: ForceOpt = False,
        dry_run: DryRunOpt = False,
        on_bad_image: OnBadImageOpt = "skip",
        strict: StrictOpt = False,
    ) -> None:
        _prepare(**{**locals(), "kind": kind})

    rap_command.__doc__ = about
    return rap_command


def market1501_command(
    source: Annotated[Path, typer.Argument(help="Folder with market_attribute.mat, or that file with --images.")],
    out: OutOpt = None,
    name: NameOpt = None,
    images: Annotated[Path | None, typer.Option(help="Folder of bounding_box_train; default: found beside.")] = None,
    allow_missing: AllowMissingOpt = False,
    labels_only: LabelsOnlyOpt = False,
    force: ForceOpt = False,
    dry_run: DryRunOpt = False,
    on_bad_image: OnBadImageOpt = "skip",
    strict: StrictOpt = False,
) -> None:
    """Market-1501 (29,419 labelled images of 1,501 persons, 27 attributes)."""
    _prepare("market1501", **locals())


def pickle_command(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="Such as dataset_all.pkl; no code in it is run.")],
    out: OutOpt = None,
    name: NameOpt = None,
    split: Annotated[str | None, typer.Option(help="Partition by number or name; default: the first.")] = None,
    images: ImagesOpt = None,
    allow_missing: AllowMissingOpt = False,
    labels_only: LabelsOnlyOpt = False,
    force: ForceOpt = False,
    dry_run: DryRunOpt = False,
    on_bad_image: OnBadImageOpt = "skip",
    strict: StrictOpt = False,
) -> None:
    """A pickle of Rethinking_of_PAR, VTB or OpenPAR: image names, labels and partitions."""
    _prepare("pickle", **locals())


def csv_command(
    source: Annotated[Path, typer.Argument(metavar="LABELS", help="CSV: image names, a 0/1 column per attribute.")],
    out: OutOpt = None,
    name: NameOpt = None,
    images: ImagesOpt = None,
    schema: Annotated[Path | None, typer.Option(help="A schema.toml; default: guessed, for you to edit.")] = None,
    true: Annotated[list[str] | None, typer.Option(help="Words that mean present: yes,ja. [default: 1]")] = None,
    false: Annotated[list[str] | None, typer.Option(help="Words that mean absent. [default: 0]")] = None,
    unknown: Annotated[
        list[str] | None, typer.Option(help='Words that mean unknown; "" for empty cells. [default: 2, if rare]')
    ] = None,
    classes: Annotated[
        list[str] | None, typer.Option(help="Columns of classes: an attribute for each value, all in one group.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Such as gbk or latin-1; UTF-8 and UTF-16 are recognised.")
    ] = None,
    force: ForceOpt = False,
    dry_run: DryRunOpt = False,
    on_bad_image: OnBadImageOpt = "skip",
    strict: StrictOpt = False,
) -> None:
    """Your own labels: writes schema.toml (guessed, for you to edit) and labels.csv."""
    options = locals()
    words = {name: options.pop(name) for name in ("true", "false", "unknown")}
    from focuscli.data.coding import Coding

    coding = Coding(**{name: _words(values) for name, values in words.items() if values is not None})
    _prepare("csv", **{**options, "coding": coding, "classes": _words(classes or [])})


def _words(values: Sequence[str]) -> tuple[str, ...]:
    """The words of an option that takes several, with commas or repeated."""
    return tuple(dict.fromkeys(word.strip() for value in values for word in value.split(",")))


def _prepare(
    kind: str,
    source: Path,
    out: Path | None,
    name: str | None,
    *,
    force: bool,
    dry_run: bool,
    strict: bool,
    on_bad_image: Literal["error", "skip"],
    allow_missing: bool = False,
    labels_only: bool = False,
    **options: Any,
) -> None:
    """Prepare what `focuscli.data.prepare.READERS` reads and show what was found; `options` as of `prepare`."""
    from focuscli.data.prepare import prepare

    if allow_missing and labels_only:
        raise UsageError("--allow-missing and --labels-only exclude each other.", "Remove one of them.")
    default = kind
    if kind == "pickle" or source.stem == "labels":  # all such files have the same name
        default = source.resolve().parent.name
    elif kind == "csv":
        default = source.stem
    started = time.monotonic()
    with render.progress("checking images") as progress:
        folder = prepare(
            kind,
            source,
            _target(out, name, default),
            overwrite=force,
            missing="labels-only" if labels_only else "allow" if allow_missing else "error",
            on_bad_image="error" if strict else on_bad_image,
            dry_run=dry_run,
            progress=progress,
            **options,
        )
    _done(folder, started, dry_run=dry_run, labels=kind == "csv")


def _target(out: Path | None, name: str | None, default: str) -> Path:
    """The folder to write: `out`, or by name under FOCUS_HOME."""
    if out is not None and name is not None:
        raise UsageError("--out and --name exclude each other.", "Remove one of them.")
    if name is not None and (not name or name != Path(name).name or name.startswith(".")):
        raise UsageError(f'"{name}" is not the name of a dataset.', "Name it without / or leading dot: --name mydata")
    return out or paths.datasets_dir() / (name or default)


def synthetic_command(
    out: OutOpt = None,
    name: NameOpt = None,
    images: Annotated[int, typer.Option(min=20, max=1_000_000, help="Number of images.")] = 1600,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="The same seed gives the same images.")] = 0,
    style: Annotated[str, choice("--style", of=("studio", "street", "night"), help="Style of camera.")] = "street",
    as_: Annotated[str | None, choice("--as", of=("peta", "pa100k", "rapv1"), help="As an official download.")] = None,
    force: ForceOpt = False,
) -> None:
    """Synthetic pedestrians with exact boxes, for trying things out."""
    started = time.monotonic()
    options: dict[str, Any] = {"images": images, "seed": seed, "style": style, "overwrite": force}
    if as_ is None:
        from focuscli.data.synthetic.generate import prepare_synthetic

        with render.progress("drawing") as progress:
            dataset = prepare_synthetic(_target(out, name, "synthetic"), progress=progress, **options)
        _done(dataset, started)
        return
    from focuscli.data.synthetic.official import write_official

    if name is not None:
        raise UsageError("--as writes a download to prepare, which has no name.", "Say where: --out FOLDER")
    folder = out or Path(f"synthetic-{as_}")
    with render.progress("drawing") as progress:
        write_official(as_, folder, progress=progress, **options)
    lines = [f"wrote {images:,} synthetic images in the file structure of {as_}: {folder}"]
    lines.append(f"next: focus prepare {as_} {paths.argument(folder)}")
    render.result({"path": str(folder), "structure": as_, "images": images}, lines=lines)


def weights_command(
    source: Annotated[str | None, typer.Argument(metavar="[PATH|URL]", help="Default: OpenAI's ViT-B/16.")] = None,
    activation: Annotated[
        Literal["quickgelu", "quick_gelu", "gelu"] | None,
        typer.Option(help="Of a file without a config: quickgelu (OpenAI) or gelu (LAION, DataComp)."),
    ] = None,
    force: ForceOpt = False,
) -> None:
    """Install CLIP weights: OpenAI's ViT-B/16 by download, or a file in any usual format."""
    from focuscli.storage.weights import OPENAI_NAME, OPENAI_SHA256, install_weights

    with render.progress("weights") as progress:
        installed = install_weights(
            source,
            activation=activation,
            force=force,
            progress=lambda done, total: progress(done, total or 0),
        )
    if Path(installed["path"]).name == OPENAI_NAME and installed["sha256"] != OPENAI_SHA256:
        render.warn(f"This is not the {OPENAI_NAME} that OpenAI published: its sha256 would be {OPENAI_SHA256}.")
    lines = [f"{installed['format']}, {installed['tensors']} tensors, activation {installed['activation']}"]
    if unused := installed["unused"]:
        lines.append(f"left unused, not part of CLIP: {plural(len(unused), 'tensor')} ({listed(unused, 3)})")
    render.result(installed, lines=[*lines, f"sha256 {installed['sha256']}", f"wrote {installed['path']}"])


def _done(folder: DatasetFolder, started: float, *, dry_run: bool = False, labels: bool = False) -> None:
    """Show what was prepared since `started`, a value of `time.monotonic`; with `labels` how often each attribute holds."""
    from focuscli.data.checks import label_counts

    seconds = time.monotonic() - started
    counts = label_counts(folder)
    if render.as_json():
        schema = folder.schema
        data = {"path": str(folder.path), "name": folder.name, "images": len(folder.images)}
        data |= {"attributes": len(schema.attributes), "evaluated": len(schema.evaluated), "counts": folder.counts}
        data |= {key: folder.info.get(key) for key in ("published", "warnings", "notes")} | {"labels": counts}
        render.result({**data, "seconds": seconds, "dry_run": dry_run})
        return
    views.prepared(folder, counts if labels else None)
    done = "dry run: nothing was written to" if dry_run else "wrote"
    render.note(f"  {done} {folder.path}       {seconds:.1f} s")
    if not dry_run:
        command = "eval --open-domain --target" if folder.labels_only else "train --dataset"
        render.note(f"  next: focus {command} {paths.dataset_argument(folder.path)}")


COMMANDS: dict[str, Callable[..., None]] = {
    "peta": peta_command,
    "pa100k": pa100k_command,
    "rapv1": _rap("rapv1", "RAPv1 (41,585 images, 92 attributes, 51 evaluated)."),
    "rapv2": _rap("rapv2", "RAPv2 (84,928 images, 54 evaluated attributes); never run on the real file."),
    "market1501": market1501_command,
    "pickle": pickle_command,
    "csv": csv_command,
    "synthetic": synthetic_command,
    "weights": weights_command,
}

"""`focus export`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from focuscli.cli import render, views
from focuscli.cli.models import ModelPlace, asked_texts, find_model
from focuscli.cli.options import CheckpointOpt, DryRunOpt, ForceOpt, RegionOpt
from focuscli.data.inputs import expand_images
from focuscli.errors import InputError, RequirementError, UsageError
from focuscli.storage import paths
from focuscli.storage.extras import require_extra

if TYPE_CHECKING:
    from focuscli.inference.recognizer import Recognizer
    from focuscli.tools.export.build import Crops

FORMATS = ("onnx",)
OLDEST_TORCH = "2.5"  # the first whose torch.onnx.export takes dynamic_shapes
SOME_CROPS = 16  # compared on without --check, where the dataset of the training is at hand


def export_command(
    checkpoint: CheckpointOpt = None,
    format_: Annotated[str, typer.Option("--format", help="onnx.")] = "onnx",
    texts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Texts of the model, one per line. Default: the trained attributes."),
    ] = None,
    dynamic: Annotated[bool, typer.Option("--dynamic", help="Any texts: a second file holds the text tower.")] = False,
    region: RegionOpt = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="8-bit weights: faster on CPUs, with a cost that is shown.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Compare on many real crops, with mA where they are labelled.")
    ] = False,
    images: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FOLDER",
            help="Crops to compare on: a dataset, or a folder of images. Default: the dataset of the training.",
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Of a dataset, with --check: test, val, train, trainval, all.")] = "test",
    limit: Annotated[int, typer.Option(min=0, help="At most so many crops with --check; 0 for all.")] = 256,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: export/model.onnx in the run folder.")
    ] = None,
    force: ForceOpt = False,
    dry_run: DryRunOpt = False,
) -> None:
    """A checkpoint as an ONNX model for focus predict without torch, compared before it is written."""
    if format_ not in FORMATS:
        raise UsageError(f'Unknown format "{format_}".', f"Known: {', '.join(FORMATS)}.")
    if texts is not None and dynamic:
        raise UsageError("--texts fixes the texts, --dynamic leaves them open.", "Give one of the two.")
    wanted = read_texts(texts) if texts is not None else []
    model = find_model(checkpoint)
    target = _target(model, output, dynamic=dynamic, int8=int8)

    from focuscli.storage.files import check_free, file_sha256
    from focuscli.tools.export.card import tower_path  # with its package, which sets up onnxruntime before it is loaded

    for file in [target, tower_path(target)] if dynamic else [target]:
        check_free(file, force=force)
    require_extra("onnx", "onnx", "onnxruntime", "onnxscript", purpose="focus export")
    _require_exporter()

    from focuscli.storage.fingerprint import checkpoint_fingerprint
    from focuscli.tools.export.build import export_onnx

    recognizer = model.open(device="cpu", precision="fp32")
    chosen = asked_texts(recognizer, wanted, region) or [*recognizer.attributes]
    recognizer.encode_texts(chosen)  # Too long a text is refused before anything is said.
    crops = _crops(recognizer, images, split, limit, check=check)
    if dry_run:
        render.note(f"  dry run: nothing was written to {target}")
        return
    fingerprint = file_sha256(model.weights) if model.weights else checkpoint_fingerprint(model.folder)
    render.note(f"exporting {model.folder}: {len(chosen)} texts, any batch of {recognizer.image_size} crops")
    with render.progress("comparing") as progress:
        report = export_onnx(
            recognizer,
            target,
            fingerprint=fingerprint,
            texts=chosen,
            dynamic=dynamic,
            int8=int8,
            crops=crops,
            progress=progress,
        )
    views.exported(report)


def read_texts(path: Path) -> list[str]:
    """The texts of a file, one per line; empty lines and those that begin with # do not count.

    Raises:
        InputError: not there, not UTF-8, or without a text.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"Cannot read {path}: {error}.", "It has to be a text file in UTF-8, one text per line."
        ) from error
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise InputError(f"{path} holds no text.", "Write one text per line, for example: red scarf")
    return found


def _require_exporter() -> None:
    """Training and predicting go on older versions of torch, whose exporter keeps no axis free.

    Raises:
        RequirementError: torch is too old.
    """
    from focuscli.storage import machine

    version = machine.installed_version("torch") or "none"
    if not machine.satisfies(version, ">=", OLDEST_TORCH):
        raise RequirementError(
            f"focus export needs torch {OLDEST_TORCH} or later; installed is {version}.",
            f"Install a later one: pip install --upgrade 'torch>={OLDEST_TORCH}'",
        )


def _target(model: ModelPlace, output: Path | None, *, dynamic: bool, int8: bool) -> Path:
    if output is None:
        if model.weights:
            raise UsageError("CLIP as it is lies in no run folder.", "Say where to: -o clip.onnx")
        return paths.export_path(model.folder, dynamic=dynamic, int8=int8)
    if output.suffix.lower() != ".onnx":
        raise UsageError(f"--output wants a .onnx file; got {output}.")
    return output


def _crops(recognizer: Recognizer, images: str | None, split: str, limit: int, *, check: bool) -> Crops | None:
    """The real crops to compare on; with --check or --images there have to be some.

    Raises:
        InputError: there are none.
    """
    from focuscli.data.folder import read_folder
    from focuscli.tools.export.build import crops_in, crops_of

    count = limit if check else SOME_CROPS
    name = images or recognizer.config.data.dataset
    try:
        if not name:
            raise InputError(
                "The model does not name a dataset that it was trained on.", "Name crops: --images NAME or FOLDER"
            )
        if images and Path(images).is_dir() and not (Path(images) / "schema.toml").is_file():
            return crops_in(expand_images([images]), count)
        found = crops_of(recognizer, read_folder(paths.resolve_dataset(name)), split, count)
        # mA of a few crops says nothing.
        return found if check else replace(found, truth=None, known=None)
    except InputError as error:
        if check or images:
            raise
        render.note(f"  compared on drawn crops only, no real ones at hand: {error.problem}")
        return None

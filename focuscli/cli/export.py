"""`focus export`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from focuscli.cli import render
from focuscli.cli.models import ModelPlace, asked_texts, find_model
from focuscli.cli.options import CheckpointOpt, DryRunOpt, ForceOpt, RegionOpt
from focuscli.data.inputs import expand_images
from focuscli.errors import InputError, RequirementError, UsageError
from focuscli.storage import paths
from focuscli.storage.extras import require_extra

if TYPE_CHECKING:
    from focuscli.inference.recognizer import Recognizer
    from focuscli.tools.export.build import ExportReport
    from focuscli.tools.export.parity import Crops

FORMATS = ("onnx",)
OLDEST_TORCH = "2.5"  # the first whose torch.onnx.export takes dynamic_shapes
FEW_CROPS = 16  # compared on without --check, if the training dataset is at hand


def export_command(
    checkpoint: CheckpointOpt = None,
    format_: Annotated[str, typer.Option("--format", help="onnx.")] = "onnx",
    texts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Texts of the model, one per line. Default: the trained attributes."),
    ] = None,
    dynamic: Annotated[
        bool, typer.Option("--dynamic", help="For any texts: a second file holds the text tower.")
    ] = False,
    region: RegionOpt = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="8-bit weights: faster on CPUs; the loss of accuracy is reported.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Compare on many real crops, with mA where they are labelled.")
    ] = False,
    images: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FOLDER",
            help="Crops to compare on: a dataset, or a folder of images. Default: the training dataset.",
        ),
    ] = None,
    split: Annotated[
        str, typer.Option(help="Split of the dataset to compare on: test, val, train, trainval, all.")
    ] = "test",
    limit: Annotated[
        int, typer.Option(min=0, help="Compare on at most this many crops with --check; 0 for all.")
    ] = 256,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: export/model.onnx in the run folder.")
    ] = None,
    force: ForceOpt = False,
    dry_run: DryRunOpt = False,
) -> None:
    """Export a checkpoint to ONNX, to predict without PyTorch; compared with the checkpoint before it is written."""
    if format_ not in FORMATS:
        raise UsageError(f'Unknown format "{format_}".', f"Known: {', '.join(FORMATS)}.")
    if texts is not None and dynamic:
        raise UsageError("--texts fixes the texts; --dynamic takes any.", "Use one of the two.")
    wanted = read_texts(texts) if texts is not None else []
    model = find_model(checkpoint)
    target = _target(model, output, dynamic=dynamic, int8=int8)

    from focuscli.storage.files import check_free, file_sha256
    from focuscli.tools.export.card import tower_path  # its package sets up onnxruntime, before that is imported

    for file in [target, tower_path(target)] if dynamic else [target]:
        check_free(file, force=force)
    require_extra("onnx", "onnx", "onnxruntime", "onnxscript", purpose="focus export")
    _require_exporter()

    from focuscli.storage.fingerprint import checkpoint_fingerprint
    from focuscli.tools.export.build import export_onnx

    recognizer = model.open(device="cpu", precision="fp32")
    chosen = asked_texts(recognizer, wanted, region) or [*recognizer.attributes]
    recognizer.encode_texts(chosen)  # refuses texts that are too long before anything else happens
    crops = _crops(recognizer, images, split, limit, check=check)
    if dry_run:
        render.note(f"  dry run: nothing was written to {target}")
        return
    fingerprint = file_sha256(model.weights) if model.weights else checkpoint_fingerprint(model.folder)
    height, width = recognizer.image_size
    render.note(f"exporting {model.folder}: {len(chosen)} texts, crops of {height} x {width}, any batch size")
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
    _show(report)


def _show(report: ExportReport) -> None:
    lines = []
    for parity in report.parity:
        lines.append(
            f"{parity.source}: largest difference {parity.largest:.2g}, mean {parity.mean:.2g}, of scores up to "
            f"{parity.scale:.3g} with a standard deviation of {parity.spread:.3g}; {parity.changed:,} of "
            f"{parity.decisions:,} decisions changed"
        )
        if parity.mA is not None:
            lines.append(f"  mA {parity.mA[0]:.2f} of the checkpoint, {parity.mA[1]:.2f} of the export")
    lines += [f"wrote {file} ({file.stat().st_size / 2**20:.1f} MiB)" for file in report.files]
    render.result(report.to_json(), lines=lines)


def read_texts(path: Path) -> list[str]:
    """The texts of a file, one per line; empty lines and those that begin with # are ignored.

    Raises:
        InputError: the file is missing, not UTF-8, or has no text.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"Cannot read {path}: {error}.", "It must be a text file in UTF-8, one text per line."
        ) from error
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise InputError(f"{path} has no texts.", "Write one text per line, for example: red scarf")
    return found


def _require_exporter() -> None:
    """Training and prediction work with older versions of PyTorch, but its exporter does not.

    Raises:
        RequirementError: torch is too old.
    """
    from packaging.version import Version

    from focuscli.tools.machine import installed_version

    version = installed_version("torch") or "none"
    if version == "none" or Version(version) < Version(OLDEST_TORCH):
        raise RequirementError(
            f"focus export needs torch {OLDEST_TORCH} or later; installed is {version}.",
            f"Install a later one: pip install --upgrade 'torch>={OLDEST_TORCH}'",
        )


def _target(model: ModelPlace, output: Path | None, *, dynamic: bool, int8: bool) -> Path:
    if output is None:
        if model.weights:
            raise UsageError("Zero-shot CLIP has no run folder to export to.", "Name a file: -o clip.onnx")
        return paths.export_path(model.folder, dynamic=dynamic, int8=int8)
    if output.suffix.lower() != ".onnx":
        raise UsageError(f"--output must be a .onnx file, not {output}.")
    return output


def _crops(recognizer: Recognizer, images: str | None, split: str, limit: int, *, check: bool) -> Crops | None:
    """The real crops to compare on. With --check or --images there must be some; otherwise None is possible.

    Raises:
        InputError: there are none.
    """
    from focuscli.data.folder import read_folder
    from focuscli.tools.export.parity import dataset_crops, file_crops

    count = limit if check else FEW_CROPS
    name = images or recognizer.config.data.dataset
    try:
        if not name:
            raise InputError(
                "The model does not say which dataset it was trained on.", "Name crops: --images NAME or FOLDER"
            )
        if images and Path(images).is_dir() and not (Path(images) / "schema.toml").is_file():
            return file_crops(expand_images([images]), count)
        found = dataset_crops(recognizer, read_folder(paths.resolve_dataset(name)), split, count)
        return found if check else replace(found, truth=None, known=None)  # mA of a few crops means nothing
    except InputError as error:
        if check or images:
            raise
        render.note(f"  compared on synthetic crops only; no real crops: {error.problem}")
        return None

"""`focus export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from focuscli.cli import render
from focuscli.cli.models import asked_texts, find_model, read_texts
from focuscli.cli.options import CheckpointOpt, DryRunOpt, ForceOpt, FreeOpt, RegionOpt, SplitOpt, choice, dataset_names
from focuscli.errors import InputError, RequirementError, UsageError, plural
from focuscli.storage import paths
from focuscli.storage.extras import require_extra
from focuscli.storage.files import check_free, checkpoint_fingerprint, file_sha256

FEW_CROPS = 16  # compared on without --check, if the training dataset is at hand


def export_command(
    checkpoint: CheckpointOpt = None,
    format_: Annotated[str, choice("--format", of=("onnx",), help="Format of the exported model.")] = "onnx",
    texts: Annotated[Path | None, typer.Option(metavar="FILE", help="Texts, one a line; default: attributes.")] = None,
    dynamic: Annotated[bool, typer.Option("--dynamic", help="For any texts: adds a file, the text tower.")] = False,
    region: RegionOpt = None,
    free: FreeOpt = False,
    int8: Annotated[bool, typer.Option("--int8", help="8-bit weights: faster on CPUs, less accurate.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Compare on many real crops, with mA if labelled.")] = False,
    images: Annotated[
        str | None,
        typer.Option(metavar="NAME|FOLDER", help="Other crops to compare on.", autocompletion=dataset_names),
    ] = None,
    split: SplitOpt = "test",
    limit: Annotated[int, typer.Option(min=0, help="Crops to compare on with --check at most; 0 for all.")] = 256,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Default: RUN/export/model.onnx.")] = None,
    force: ForceOpt = False,
    dry_run: DryRunOpt = False,
) -> None:
    """Export a checkpoint to ONNX, to predict without PyTorch; compared with the checkpoint before it is written."""
    if texts is not None and dynamic:
        raise UsageError("--texts fixes the texts; --dynamic takes any.", "Use one of the two.")
    wanted = read_texts(texts) if texts is not None else []
    model = find_model(checkpoint)
    if output is None and model.weights:
        raise UsageError("Zero-shot CLIP has no run folder to export to.", "Name a file: -o clip.onnx")
    target = output or paths.export_path(model.folder, dynamic=dynamic, int8=int8)
    if target.suffix.lower() != ".onnx":
        raise UsageError(f"--output must be a .onnx file, not {target}.")

    from focuscli.tools.export.runtime import tower_path  # its package sets up onnxruntime, before that is imported

    for file in [target, tower_path(target)] if dynamic else [target]:
        check_free(file, force=force)
    require_extra("onnx", "onnx", "onnxruntime", "onnxscript", purpose="focus export")

    import torch
    from packaging.version import Version

    if Version(torch.__version__) < Version("2.5"):  # torch.onnx.export takes no dynamic_shapes
        raise RequirementError(
            f"focus export needs torch 2.5 or later; installed is {torch.__version__}.",
            "Install a later one: pip install --upgrade 'torch>=2.5'",
        )

    from focuscli.tools.export.build import export_onnx, real_crops

    recognizer = model.open(device="cpu", precision="fp32")
    chosen = asked_texts(recognizer, wanted, region, free=free) or [*recognizer.attributes]
    recognizer.encode_texts(chosen)  # refuses texts that are too long before anything else happens
    crops = None
    try:
        crops = real_crops(recognizer, images, split, limit if check else FEW_CROPS, labels=check)
    except InputError as error:
        if check or images:
            raise
        render.note(f"  compared on synthetic crops only; no real crops: {error.problem}")
    if dry_run:
        render.note(f"  dry run: nothing was written to {target}")
        render.result({"files": [str(target)], "texts": len(chosen), "dry_run": True})
        return
    fingerprint = file_sha256(model.weights) if model.weights else checkpoint_fingerprint(model.folder)
    height, width = recognizer.image_size
    render.note(f"exporting {model.folder}: {plural(len(chosen), 'text')}, crops of {height} x {width}, any batch size")
    with render.progress("comparing") as progress:
        files, compared = export_onnx(
            recognizer, target, chosen, crops, progress, fingerprint=fingerprint, dynamic=dynamic, int8=int8
        )
    lines = []
    for parity in compared:
        lines.append(
            "{source}: largest difference {largest:.2g}, mean {mean:.2g}, of scores up to {scale:.3g} with a standard "
            "deviation of {spread:.3g}; {changed:,} of {decisions:,} decisions changed".format(**parity)
        )
        if parity["mA"]:
            lines.append("  mA {} of the checkpoint, {} of the export".format(*map(render.percent, parity["mA"])))
    lines += [f"wrote {file} ({file.stat().st_size / 2**20:.1f} MiB)" for file in files]
    report = {
        "files": [str(file) for file in files],
        "kind": "dynamic" if dynamic else "fixed",
        "precision": "int8" if int8 else "fp32",
        "texts": len(chosen),
        "parity": compared,
    }
    render.result(report, lines=lines)

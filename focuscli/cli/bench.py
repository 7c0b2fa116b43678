"""`focus bench`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from focuscli.cli import render
from focuscli.cli.options import CHECKPOINT, PRECISIONS, RUN, DeviceOpt, ForceOpt, choice, run_names
from focuscli.config.methods import PRESETS
from focuscli.storage.files import check_free, write_json


def bench_command(
    checkpoint: Annotated[
        str | None,
        typer.Option(
            *CHECKPOINT, metavar="RUN", help=f"{RUN} or clip. Default: random weights.", autocompletion=run_names
        ),
    ] = None,
    model: Annotated[str, choice("--model", of=tuple(PRESETS), help="Without --checkpoint.")] = "vit-b16",
    device: DeviceOpt = None,
    precision: Annotated[
        str, choice("--precision", of=PRECISIONS, others=True, help="auto: both, if the device has bf16.")
    ] = "auto",
    batch: Annotated[
        list[int] | None, typer.Option(min=1, max=65_536, help="Batch size; repeatable. [default: 1, 16]")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, max=100_000, help="Timed runs of each, after one to warm up.")] = 5,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="CPU threads. [default: PyTorch's]")] = None,
    train: Annotated[bool, typer.Option("--train/--no-train", help="Also time a training step.")] = True,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the results there, as JSON.")] = None,
    force: ForceOpt = False,
) -> None:
    """How fast a model runs on this machine: images per second by precision and batch size, and a training step."""
    if output is not None:
        check_free(output, force=force)

    import torch

    from focuscli.cli.models import find_model
    from focuscli.engine.device import check_precision, resolve_device
    from focuscli.tools import machine
    from focuscli.tools.bench import benchmark, random_model

    check_precision(precision)
    chosen = resolve_device(device or "auto")
    if threads is not None:
        torch.set_num_threads(threads)
    precisions = ["fp32", "bf16"] if precision == "auto" else [precision]
    if precision == "auto" and chosen.type == "cpu" and not machine.cpu_has_bf16():
        precisions = ["fp32"]
        render.note("  no bf16: this CPU has no instructions for it, and emulation is many times slower")
    if checkpoint is None:
        name, (method, config) = f"{model}, random weights", random_model(model)
    else:
        recognizer = find_model(checkpoint).open(device=str(chosen), precision="fp32")
        name, method, config = str(recognizer.folder), recognizer.model, recognizer.config
    render.note(f"{name} on {chosen}")
    with render.progress("bench") as progress:
        rows = benchmark(
            method,
            config,
            chosen,
            precisions=precisions,
            batch_sizes=batch or [1, 16],
            rounds=rounds,
            train=train,
            progress=progress,
        )
    report: dict[str, Any] = {
        "model": name,
        "image_size": config.model.image_size,
        "texts": len(method.texts),
        "device": torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else machine.cpu_model(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "results": [asdict(row) for row in rows],
    }
    if render.as_json():
        render.result(report)
    else:
        cells = []
        for row in rows:
            speed = [f"{1000 * row.seconds / row.batch_size:.2f}", f"{row.images_per_second:,.1f}"]
            memory = "" if row.peak_memory_mib is None else f"{row.peak_memory_mib:,.0f} MiB"
            cells.append([row.task, row.precision, str(row.batch_size), *speed, memory])
        columns = ("task", "precision", "batch", "ms/image", "images/s", "peak memory")
        render.table(columns, cells, numbers=range(2, 6))
        render.note(f"  {report['device']}, {report['threads']} threads, torch {report['torch']}")
    if output is not None:
        write_json(output, report)
        render.note(f"  wrote {output}")

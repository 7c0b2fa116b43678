"""`focus demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from focuscli.cli import render, views
from focuscli.cli.training import show_header, show_training
from focuscli.storage import paths
from focuscli.storage.files import write_errors


def demo_command(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything that the demo writes.")] = Path("demo"),
    images: Annotated[
        int, typer.Option(min=80, max=1_000_000, help="Images of the camera style that is trained on.")
    ] = 2800,
    seed: Annotated[int, typer.Option(help="Seed of the images.")] = 0,
) -> None:
    """The whole workflow on synthetic pedestrians: generate, train, evaluate, predict, explain."""
    import os
    import shutil
    import time

    # Must be set before torch is imported. OpenMP's threads spin while they wait for each other, which stalls them when
    # something else needs the cores: 31 to 147 images/s with the default of 300,000 rounds, 78 to 99 with 1,000.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

    from focuscli.errors import InputError
    from focuscli.tools.demo import HOME_STYLE, OTHER_STYLE, Demo

    started = time.monotonic()
    marker = out / ".focus-demo"
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not marker.exists())):
        problem = f"{out} holds something other than an earlier demo; nothing was changed."
        raise InputError(problem, "Give --out FOLDER.")
    shutil.rmtree(out, ignore_errors=True)
    with write_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        marker.touch()
    render.note("synthetic pedestrians, a tiny model from scratch, no CLIP weights: the workflow, not the accuracy")
    demo = Demo(out, images=images, seed=seed)
    for style in (HOME_STYLE, OTHER_STYLE):
        with render.progress(f"generating {style} images") as progress:
            views.prepared(demo.generate(style, progress))
    run = demo.open_run()
    show_header(run)
    show_training(run, run.train())
    reports = []
    for style in (HOME_STYLE, OTHER_STYLE):
        render.note(f"evaluating on held-out images, camera style {style}")
        reports.append(demo.evaluate(style))
        metrics = "  ".join(f"{name} {render.percent(reports[-1].metrics[name])}" for name in views.METRICS)
        render.note(f"  {metrics}  (thresholds {reports[-1].threshold_source}; weights: {reports[-1].weights})")
    home, other = reports
    predictions, attention, tokens = demo.explain()
    seconds = time.monotonic() - started
    render.result(
        {
            "mA": home.metrics["mA"],
            "mA_other_style": other.metrics["mA"],
            "threshold_source": home.threshold_source,
            "weights": home.weights,
            "attention": str(attention),
            "tokens": str(tokens),
            "run": str(demo.run_folder),
            "seconds": round(seconds, 1),
            "predictions": predictions,
        },
        lines=[
            *(f"{Path(item['image']).name}: {', '.join(item['present']) or '-'}" for item in predictions),
            f"attention of the model: {attention}   its Mix Tokens: {tokens}",
            f"took {seconds:.0f} s; shows the workflow, not the accuracy",
            "next: focus viz {} 'red scarf' --checkpoint {}".format(
                *map(paths.argument, (predictions[0]["image"], demo.run_folder))
            ),
        ],
    )

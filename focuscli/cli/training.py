"""Training a run in a terminal: what it shows, and what happens on Ctrl-C or when a worker is lost."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from focuscli.cli import processes, render
from focuscli.cli.render import percent
from focuscli.cli.signals import stop_on_signal
from focuscli.errors import Interrupted

if TYPE_CHECKING:
    from focuscli.config import RunConfig
    from focuscli.engine.distributed import ProcessGroup
    from focuscli.engine.run import Run
    from focuscli.engine.trainer import Event, StepEvent


def open_run(
    folder: Path,
    settings: RunConfig,
    dataset: Path,
    weights: Path | None,
    *,
    process_group: ProcessGroup | None = None,
) -> Run:
    """Open a run, at its `last` checkpoint where there is one, and show what it is.

    Raises:
        InputError, UsageError, RequirementError: see `engine.run.Run`.
    """
    from focuscli.engine.distributed import SINGLE
    from focuscli.engine.run import Run

    with render.progress("reading crops") as progress:
        run = Run(folder, settings, dataset, weights, process_group=process_group or SINGLE, progress=progress)
    show_header(run)
    return run


def train_to_end(run: Run) -> bool:
    """Train a run and show its progress; True where SIGINT or SIGTERM came during the last step.

    Raises:
        Interrupted: SIGINT or SIGTERM came before, to any process of the group; `last` is saved.
        WorkerLost: another process of the group has gone; `last` is saved.
    """
    from focuscli.engine.distributed import WorkerLost

    total = run.trainer.total_steps
    with stop_on_signal(twice=run.process_group.world_size == 1) as stop:
        try:
            show_training(run, run.train(stop))
            stopped = run.process_group.any(stop())
        except WorkerLost as lost:
            raise WorkerLost(
                f"{lost.problem} Step {run.save_lost()} of {total} is saved in {run.folder}.",
                f"Go on with as many processes as you like: {resume_command(run.folder)}",
            ) from lost
    if stopped and run.trainer.step < total:
        raise Interrupted(
            f"Stopped at step {run.trainer.step} of {total}; saved in {run.folder}.",
            f"Go on with: {resume_command(run.folder)}",
        )
    return stopped


def resume_command(run: Path) -> str:
    """The command that goes on with a run, started as this process was."""
    if processes.started_group().world_size == 1:
        return f"focus train --resume --run {run}"
    return f"torchrun ... -m focuscli train --resume --run-folder {run}"  # torchrun takes --run for its own


def show_header(run: Run) -> None:
    """What is about to be trained, in a few lines."""
    from focuscli.engine.optim import advised_rate

    trainer, config = run.trainer, run.config
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    trained = sum(parameter.numel() for parameter in trainer.names)
    resumed = f" · resumed at step {run.resumed_from}" if run.resumed_from else ""
    size = run.process_group.world_size
    where = f"{size} processes on {run.device.type}" if size > 1 else str(run.device)
    render.note(
        f"run {run.folder} · {where} · {parameters / 1e6:.1f} M parameters, {trained / 1e6:.1f} M trained · "
        f"weights: {run.origin}{resumed}"
    )
    render.note(
        f"{len(run.data.train):,} training images, {trainer.steps_per_epoch} steps an epoch, {config.train.epochs} epochs · "
        f"{len(run.data.texts)} texts · best by {config.eval.select} on {run.data.val_note}"
    )
    if (rate := advised_rate(config)) is not None:
        render.note(
            f"  the learning rate {config.train.learning_rate:g} is the recipe's for smaller steps than "
            f"{trainer.images_per_step:,} images; by the square-root rule it would be --lr {rate:.2g}"
        )


def show_training(run: Run, events: Iterable[Event]) -> None:
    """Consume the events of a run: a bar on a terminal, a line every ten seconds, and a line of val metrics per epoch."""
    from focuscli.engine.trainer import StepEvent

    live = render.is_live()  # elsewhere the line, which says more, replaces the bar
    with render.progress("training") as progress:
        last = time.monotonic()
        for event in events:
            if not isinstance(event, StepEvent):
                render.note(_epoch_line(event.record, best=event.best, weights=run.origin))
                continue
            if live:
                progress((event.epoch - 1) * event.steps + event.step, run.trainer.total_steps)
            if time.monotonic() - last >= render.LINE_EVERY_SECONDS:
                last = time.monotonic()
                render.note(_step_line(event, run))


def show_result(run: Run) -> None:
    """The outcome of a finished run on stdout."""
    trainer = run.trainer
    best = trainer.history[trainer.best_epoch - 1]["val"] if trainer.best_epoch else {}
    render.result(
        {
            "run": str(run.folder),
            "weights": run.origin,
            "best_epoch": trainer.best_epoch,
            "val": best,
            "val_source": run.data.val_note,
        },
        lines=[
            f"best epoch {trainer.best_epoch} by {run.config.eval.select} on {run.data.val_note} · weights: {run.origin}",
            f"wrote {run.folder}",
            f"next: focus eval --checkpoint {run.folder}",
        ],
    )


def _step_line(event: StepEvent, run: Run) -> str:
    parts = " + ".join(f"{name} {value:.3f}" for name, value in event.losses.items() if name != "loss")
    images_left = (run.trainer.total_steps - run.trainer.step) * run.trainer.images_per_step
    minutes = images_left / max(event.images_per_second, 1e-9) / 60
    return (
        f"  epoch {event.epoch} {event.step}/{event.steps}  loss {event.losses['loss']:.3f} = {parts}  "
        f"lr {event.learning_rate:.1e}  grad {event.gradient_norm:.2f}  {event.images_per_second:,.0f} img/s  "
        f"about {minutes:.0f} min left"
    )


def _epoch_line(record: Mapping[str, Any], *, best: bool, weights: str) -> str:
    line = f"epoch {record['epoch']:>3}  loss {record['loss']:.3f}  {record['seconds']:.0f} s"
    if "val" in record:
        line += "  val " + "  ".join(f"{name} {percent(value)}" for name, value in record["val"].items())
    return line + f"  ({weights})" + ("  * best" if best else "")

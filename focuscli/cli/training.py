"""Training a run in a terminal: what it shows, and what happens on Ctrl-C or when a worker is lost."""

from __future__ import annotations

import contextlib
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from focuscli.cli import processes, render
from focuscli.cli.render import percent
from focuscli.engine.distributed import SINGLE, ProcessGroup, WorkerLost
from focuscli.errors import Interrupted, plural
from focuscli.storage import paths
from focuscli.storage.files import only_writer, remove_empty, remove_leftovers

if TYPE_CHECKING:
    from focuscli.config import RunConfig
    from focuscli.engine.run import Run
    from focuscli.engine.trainer import Event, StepEvent

COLLAPSE_ADVICE = {
    "racl": "Let its weight rise over the run (--set loss.racl_ramp=1), lower it, or leave it out (--without racl).",
    "v2t": "It contrasts the texts of a group: declare groups of several texts, or complements, in schema.toml.",
}


@contextlib.contextmanager
def own_run(folder: Path, process_group: ProcessGroup = SINGLE) -> Iterator[None]:
    """Hold the lock of a run's folder, so that no other command trains it, and tidy up after one that was killed.

    Raises:
        InputError: another process holds it.
    """
    from focuscli.engine.checkpoint import tidy_checkpoint

    def begin() -> None:
        problem = f"Another process is training run {folder}; nothing was changed."
        hint = f"Wait for it, or stop it (Ctrl-C saves its state) and go on with: {resume_command(folder)}"
        if not folder.exists():
            held.callback(remove_empty, folder)
        held.enter_context(only_writer(folder, problem, hint))
        remove_leftovers(folder)
        for checkpoint in (folder / "checkpoints").glob("*"):
            tidy_checkpoint(checkpoint)

    with contextlib.ExitStack() as held:
        process_group.broadcast(begin)
        yield


def open_run(
    folder: Path, settings: RunConfig, dataset: Path, weights: Path | None, process_group: ProcessGroup = SINGLE
) -> Run:
    """Open a run, at its `last` checkpoint where there is one, and show what it is; see `engine.run.Run`."""
    from focuscli.engine.run import Run

    with render.progress("reading crops") as progress:
        run = Run(folder, settings, dataset, weights, process_group=process_group, progress=progress)
    show_header(run)
    return run


def train_to_end(run: Run) -> bool:
    """Train a run and show its progress; True where SIGINT or SIGTERM came during the last step.

    Raises:
        Interrupted: SIGINT or SIGTERM came before, to any process of the group; `last` is saved.
        WorkerLost: another process of the group has gone; `last` is saved.
    """
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
    if stopped and (step := run.trainer.step) < total:
        problem = f"Stopped at step {step} of {total}; saved in {run.folder}."
        raise Interrupted(problem, f"Go on with: {resume_command(run.folder)}")
    return stopped


@contextlib.contextmanager
def stop_on_signal(*, twice: bool) -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether SIGINT or SIGTERM has come, for a loop that stops by itself.

    With `twice` a second signal interrupts at once. Not under torchrun: it passes a Ctrl-C on that the workers have already
    had from the terminal, and kills them later anyway.
    """
    received: list[int] = []

    def receive(number: int, _frame: object) -> None:
        if received and twice:
            raise KeyboardInterrupt
        if not received and (twice or number == signal.SIGINT):  # torchrun sends SIGTERM to all when one has failed
            more = "; once more to stop at once" if twice else ""
            render.note(f"stopping after this step, then saving{more}")
        received.append(number)

    before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def resume_command(run: Path) -> str:
    """The command that goes on with a run, started as this process was."""
    program = processes.program()
    option = "--run" if program == "focus" else "--run-folder"  # torchrun takes --run for its own
    return f"{program} train --resume {option} {paths.argument(run)}"


def show_header(run: Run) -> None:
    """What is about to be trained, in a few lines."""
    trainer, config, size = run.trainer, run.config, run.process_group.world_size
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    trained = sum(parameter.numel() for parameter in trainer.names)
    resumed = f" · resumed at step {run.resumed_from}" if run.resumed_from else ""
    where = f"{size} processes on {run.device.type}" if size > 1 else str(run.device)
    render.note(
        f"run {run.folder} · {where} · {parameters / 1e6:.1f} M parameters, {trained / 1e6:.1f} M trained · "
        f"weights: {run.origin}{resumed}"
    )
    render.note(
        f"{run.dataset.name}: {len(run.data.train):,} training images, "
        f"{plural(trainer.steps_per_epoch, 'step')} per epoch, {plural(config.train.epochs, 'epoch')} · "
        f"{plural(len(run.data.texts), 'text')} · best by {config.eval.select} on {run.data.val_note}"
    )
    from focuscli.data.checks import dataset_warnings

    for line in dataset_warnings(run.dataset):
        render.warn(line)
    if run.data.contrasted:
        render.note(
            f"{len(run.data.contrasted)} groups have a single text; v2t contrasts these texts as one group (data.single_texts)"
        )
    if before := config.train.extended_from[-1:]:
        render.note(
            f"extended from {plural(before[0], 'epoch')}: the learning rate goes on along the cosine of "
            f"{config.train.epochs} epochs, at {trainer.learning_rate:.1e}; a rising weight of RACL does so too"
        )


def show_training(run: Run, events: Iterable[Event]) -> None:
    """Consume the events of a run: a bar on a terminal, a line every ten seconds, and a line of val metrics per epoch.

    Once, in the first tenth of a run, it warns of losses that have collapsed for ten steps, see `collapsed_losses`.
    """
    from focuscli.engine.trainer import StepEvent, collapsed_losses

    trainer = run.trainer
    first: dict[str, float] = {}
    recent = deque[dict[str, float]](maxlen=10)
    collapsed: list[str] = []
    live = render.is_live()  # elsewhere the line, which says more, replaces the bar
    with render.progress("training") as progress:
        last = time.monotonic()
        for event in events:
            if not isinstance(event, StepEvent):
                _show_epoch(run, event)
                continue
            if trainer.step == 1:
                first = event.step_losses
            recent.append(event.step_losses)
            early = len(recent) == recent.maxlen and trainer.step <= trainer.total_steps / 10
            if first and early and not collapsed:
                collapsed = collapsed_losses(first, recent, run.config.effective_loss)
                for name in collapsed:
                    change = f"{event.step_losses[name]:.3g} in step {trainer.step:,} of {trainer.total_steps:,}"
                    problem = f"loss {name} has collapsed: {change}, {first[name]:.3g} in the first."
                    render.warn(f"{problem} {COLLAPSE_ADVICE.get(name, '')}".rstrip())
            if live:
                progress(trainer.step, trainer.total_steps)
            if time.monotonic() - last >= render.LINE_EVERY_SECONDS:
                last = time.monotonic()
                _show_step(run, event)


def _show_epoch(run: Run, record: dict[str, Any]) -> None:
    line = f"epoch {record['epoch']:>3}  loss {record['loss']:.3f}  {record['seconds']:.0f} s"
    if "val" in record:
        metrics = (f"{name} {percent(value)}" for name, value in record["val"].items())
        line += "  val (thresholds from the same val) " + "  ".join(metrics)
    best = run.trainer.best["epoch"] == record["epoch"]
    render.note(line + f"  ({run.origin})" + ("  * best" if best else ""))


def _show_step(run: Run, event: StepEvent) -> None:
    trainer = run.trainer
    parts = " + ".join(f"{name} {value:.3f}" for name, value in event.losses.items() if name != "loss")
    images_left = (trainer.total_steps - trainer.step) * trainer.images_per_step
    render.note(
        f"  epoch {event.epoch} {event.step}/{trainer.steps_per_epoch}  loss {event.losses['loss']:.3f} = {parts}  "
        f"lr {event.learning_rate:.1e}  grad {event.gradient_norm:.2f}  {event.images_per_second:,.0f} img/s  "
        f"about {images_left / event.images_per_second / 60:.0f} min left"
    )


def show_result(run: Run) -> None:
    """The outcome of a finished run on stdout."""
    trainer, planned = run.trainer, run.config.train.epochs
    history, best = trainer.history, trainer.best["epoch"]
    data = {"run": str(run.folder), "weights": run.origin, "best_epoch": best}
    data |= {"val": history[best - 1]["val"] if best else {}, "val_source": run.data.val_note}
    lines = [
        f"best epoch {best} by {run.config.eval.select} on {run.data.val_note} · weights: {run.origin}",
        f"wrote {run.folder}",
        f"next: focus eval --checkpoint {paths.argument(run.folder)}",
    ]
    if trainer.step < trainer.total_steps:
        lines[:0] = [f"stopped early after {len(history)} of {planned} epochs: --patience {run.config.train.patience}"]
    elif trainer.step == run.resumed_from:
        lines[1] = f"nothing was left to train; more epochs: {resume_command(run.folder)} --epochs {2 * planned}"
    render.result(data, lines=lines)

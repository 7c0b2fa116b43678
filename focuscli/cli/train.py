"""`focus train`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from focuscli.cli import processes, render, views
from focuscli.cli.options import DatasetOpt, DeviceOpt, DryRunOpt, PrecisionOpt
from focuscli.cli.signals import stop_on_signal
from focuscli.config import METHODS
from focuscli.errors import InputError, Interrupted, UsageError
from focuscli.storage import paths

if TYPE_CHECKING:
    from focuscli import config as configuration
    from focuscli.engine.distributed import ProcessGroup
    from focuscli.engine.run import Run


FLAGS = {
    "method": ("--method", "model", "method"),
    "model": ("--model", "model", "preset"),
    "weights": ("--weights", "train", "weights"),
    "epochs": ("--epochs", "train", "epochs"),
    "batch_size": ("--batch-size", "train", "batch_size"),
    "lr": ("--lr", "train", "learning_rate"),
    "accumulate": ("--accumulate", "train", "gradient_accumulation_steps"),
    "ema": ("--ema", "train", "ema"),
    "patience": ("--patience", "train", "patience"),
    "gradient_checkpointing": ("--gradient-checkpointing", "train", "gradient_checkpointing"),
    "compile": ("--compile", "train", "compile"),
    "threads": ("--threads", "train", "threads"),
    "seed": ("--seed", "train", "seed"),
    "device": ("--device", "train", "device"),
    "precision": ("--precision", "train", "precision"),
    "train_split": ("--train-split", "data", "train_split"),
}
"""Flag -> the configuration key that it sets."""

TRAINABLE = [name for name, entry in METHODS.items() if entry.trainable]


def train_command(
    dataset: DatasetOpt = None,
    method: Annotated[str | None, typer.Option(help=f"What to train: {', '.join(TRAINABLE)}. [default: focus]")] = None,
    model: Annotated[str | None, typer.Option(help="Preset: vit-b16 (default) or tiny.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="CLIP weight file; 'none' trains from scratch; default: the installed ones.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", "--batch", help="Images per micro-batch.")] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Base learning rate.")] = None,
    train_split: Annotated[str | None, typer.Option(help="train, or trainval as published rows do.")] = None,
    without: Annotated[str | None, typer.Option(help="Ablation: parts to leave out: rlp,mgmt,avfe,racl,lsim.")] = None,
    accumulate: Annotated[int | None, typer.Option(help="Micro-batches per optimiser step.")] = None,
    ema: Annotated[float | None, typer.Option(help="Decay of the moving average of the weights; 0 for none.")] = None,
    patience: Annotated[int | None, typer.Option(help="Stop after this many evaluations without a better one.")] = None,
    gradient_checkpointing: Annotated[
        bool | None, typer.Option("--gradient-checkpointing", help="Less memory, more time.")
    ] = None,
    compile: Annotated[
        bool | None, typer.Option("--compile", help="torch.compile: slow to start; pays with large models and batches.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; 0 leaves it to torch.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    device: DeviceOpt = None,
    precision: PrecisionOpt = None,
    config: Annotated[Path | None, typer.Option("--config", help="TOML file with settings.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="One setting: section.key=value; repeatable.")] = None,
    run: Annotated[
        Path | None,
        # torchrun (on Python 3.11) takes --run for its own --run-path, wherever it stands.
        typer.Option("--run", "--run-folder", help="Run folder; default: a new one under FOCUS_RUNS."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with --run, or with the latest run.")] = False,
    print_config: Annotated[bool, typer.Option(help="Show every setting and its origin, then stop.")] = False,
    dry_run: DryRunOpt = False,
) -> None:
    """Train FOCUS, or a method to compare it with, on a prepared dataset; stop with Ctrl-C, go on with --resume."""
    values = {name: value for name, value in locals().items() if name in FLAGS and value is not None}
    layers = _flag_layers(values, without, set_ or [])
    plan = _resumed if resume else _fresh
    with processes.together() as process_group:
        # By the first worker for all: a new folder's name has the minute in it, and the others would find it there.
        folder, settings, origins = process_group.broadcast(lambda: plan(run, dataset, layers, config))
        if print_config:
            views.configuration(settings.model_dump(mode="json"), origins)
            return
        if not settings.data.dataset:
            raise UsageError(
                "focus train needs a dataset.", "Name one: focus train --dataset NAME   (focus doctor lists them)"
            )
        dataset_folder = paths.resolve_dataset(settings.data.dataset)
        start = weights_file(settings, resuming=(folder / "checkpoints" / "last" / "state.json").is_file())
        run_train(folder, settings, dataset_folder, start, dry_run=dry_run, process_group=process_group)


def run_train(
    folder: Path,
    settings: configuration.RunConfig,
    dataset: Path,
    weights: Path | None,
    *,
    dry_run: bool = False,
    process_group: ProcessGroup | None = None,
) -> None:
    """Open the run, train it, and show what happens.

    Args:
        process_group: the processes that share the run; None: this one alone.

    Raises:
        Interrupted: SIGINT or SIGTERM came; `last` is saved. WorkerLost: a process of the group has gone; `last` is saved.
    """
    run = open_run(folder, settings, dataset, weights, process_group=process_group)
    if dry_run:
        render.note(f"dry run: nothing was written; {run.trainer.total_steps} steps would follow")
        return
    train_to_end(run)
    _finished(run)


def open_run(
    folder: Path,
    settings: configuration.RunConfig,
    dataset: Path,
    weights: Path | None,
    *,
    process_group: ProcessGroup | None = None,
) -> Run:
    """Open a run, at its `last` checkpoint where there is one, and show what it is."""
    from focuscli.engine.distributed import SINGLE
    from focuscli.engine.run import Run

    with render.progress("reading crops") as progress:
        run = Run(folder, settings, dataset, weights, process_group=process_group or SINGLE, progress=progress)
    views.run_header(run)
    return run


def train_to_end(run: Run) -> bool:
    """Train a run and show what happens; True where SIGINT or SIGTERM came with the last step.

    Raises:
        Interrupted: SIGINT or SIGTERM came before, to any process of the run's group; `last` is saved.
        WorkerLost: another process of the group has gone; `last` is saved.
    """
    from focuscli.engine.distributed import WorkerLost

    process_group, total = run.process_group, run.trainer.total_steps
    with stop_on_signal(insist=process_group.world_size == 1) as asked:
        try:
            views.training(run, run.train(asked))
            stopped = process_group.any(asked())
        except WorkerLost as lost:
            if not process_group.speaks():
                raise
            raise WorkerLost(
                f"{lost.problem} Step {run.save_lost()} of {total} is saved in {run.folder}.",
                f"Go on with as many processes as you like: {_way_on(run.folder)}",
            ) from lost
        if stopped and run.trainer.step < total:
            raise Interrupted(
                f"Stopped at step {run.trainer.step} of {total}; saved in {run.folder}.",
                f"Go on with: {_way_on(run.folder)}",
            )
        return stopped


def _way_on(run: Path) -> str:
    """The command that goes on with a run, started as this process was."""
    if processes.voice().size == 1:
        return f"focus train --resume --run {run}"
    return f"torchrun ... -m focuscli train --resume --run-folder {run}"  # see the option itself


def _finished(run: Run) -> None:
    best = run.trainer.history[run.trainer.best_epoch - 1]["val"] if run.trainer.best_epoch else {}
    render.result(
        {
            "run": str(run.folder),
            "weights": run.origin,
            "best_epoch": run.trainer.best_epoch,
            "val": best,
            "val_source": run.data.val_note,
        },
        lines=[
            f"best epoch {run.trainer.best_epoch} by {run.config.eval.select} on {run.data.val_note}"
            f" · weights: {run.origin}",
            f"wrote {run.folder}",
            f"next: focus eval --checkpoint {run.folder}",
        ],
    )


def _flag_layers(values: Mapping[str, Any], without: str | None, sets: list[str]) -> configuration.Layers:
    from focuscli import config as configuration

    layers: configuration.Layers = [
        (FLAGS[name][0], {FLAGS[name][1]: {FLAGS[name][2]: value}}) for name, value in values.items()
    ]
    if without:
        layers.append(
            ("--without", configuration.without([part.strip() for part in without.split(",") if part.strip()]))
        )
    return layers + [(f"--set {text}", configuration.parse_override(text)) for text in sets]


def _fresh(
    run: Path | None, dataset: str | None, flags: configuration.Layers, file: Path | None, *, leftovers: bool = False
) -> tuple[Path, configuration.RunConfig, configuration.Origins]:
    """A new run: preset, method, file, flags, in this order; a folder that is not there yet."""
    from focuscli import config as configuration

    layers: configuration.Layers = [(str(file), configuration.read_config_file(file))] if file else []
    layers += flags
    layers = configuration.stacked(layers)
    if dataset:
        resolved = paths.resolve_dataset(dataset)
        layers.append(("--dataset", {"data": {"dataset": str(resolved.resolve())}}))
    settings, origins = configuration.build_config(layers)
    if run is None:
        from focuscli.engine.run import new_run_folder

        run = new_run_folder(paths.runs_dir(), Path(settings.data.dataset).name, datetime.now())
    elif (run / "config.toml").exists():
        raise InputError(
            f"{run} holds a run already; nothing was changed.",
            f"Go on with it ({_way_on(run)}), or choose another folder.",
        )
    elif run.exists() and not leftovers and (not run.is_dir() or any(run.iterdir())):
        raise InputError(f"{run} exists and is no empty folder; nothing was changed.", "Choose another folder.")
    return run, settings, origins


def _resumed(
    run: Path | None, dataset: str | None, flags: configuration.Layers, file: Path | None
) -> tuple[Path, configuration.RunConfig, configuration.Origins]:
    """An earlier run with its own configuration; a run killed before it wrote one starts from the beginning."""
    from focuscli import config as configuration
    from focuscli.engine.run import saved_config

    if run is None:
        run = paths.resolve_checkpoint("latest").parent.parent
    elif not run.exists() and (paths.runs_dir() / run).is_dir():
        run = paths.runs_dir() / run
    settings = saved_config(run)
    if settings is None:
        if dataset is None and file is None:
            raise InputError(
                f"No run to go on with in {run} (no config.toml).", "Start one: focus train --dataset NAME --run FOLDER"
            )
        return _fresh(run, dataset, flags, file, leftovers=True)
    saved = settings.model_dump(mode="json")
    given, _ = configuration.build_config([("saved", saved), *flags])
    wanted = given.model_dump(mode="json")
    changed = [
        f"{section}.{key} is {saved[section][key]!r}, not {value!r}"
        for section, fields in wanted.items()
        for key, value in fields.items()
        if saved[section][key] != value
    ]
    if dataset and str(paths.resolve_dataset(dataset).resolve()) != settings.data.dataset:
        changed.append(f"data.dataset is {settings.data.dataset}")
    if changed:
        raise UsageError(
            f"A resumed run keeps its configuration, and {run} was started with another one: {'; '.join(changed)}.",
            "Leave those options out, or start a new run.",
        )
    return run, settings, {f"{section}.{key}": "saved run" for section in saved for key in saved[section]}


def weights_file(settings: configuration.RunConfig, *, resuming: bool = False) -> Path | None:
    """The CLIP weights that a run starts from; None for training from scratch, or where a checkpoint has all tensors.

    Raises:
        UsageError: the preset has no published weights. RequirementError: none are installed.
        InputError: no such file.
    """
    spec = settings.train.weights
    if spec == "none" or resuming:
        return None
    if settings.model.preset == "tiny" and not spec:
        raise UsageError("No pretrained weights exist for --model tiny.", "Train it from scratch: add --weights none")
    from focuscli.storage.weights import resolve_weights

    return resolve_weights(spec or None)

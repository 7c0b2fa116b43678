"""`focus train`."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from focuscli import config as configuration
from focuscli.cli import processes, render, views
from focuscli.cli.options import DatasetOpt, DeviceOpt, DryRunOpt, PrecisionOpt, SetOpt, choice
from focuscli.cli.training import open_run, own_run, resume_command, show_result, train_to_end
from focuscli.errors import InputError, RequirementError, UsageError
from focuscli.storage import paths
from focuscli.storage.documents import read_toml
from focuscli.storage.files import check_free, is_leftover

if TYPE_CHECKING:
    from focuscli.engine.run import Run

_TRAIN = "weights epochs batch_size ema patience gradient_checkpointing compile threads seed device precision"
FLAGS = {
    **{name: f"train.{name}" for name in _TRAIN.split()},
    "method": "model.method",
    "model": "model.preset",
    "lr": "train.learning_rate",
    "accumulate": "train.gradient_accumulation_steps",
    "train_split": "data.train_split",
}
"""Parameter of the command -> the configuration key that its flag sets."""


def _default(name: str) -> str:
    """The end of a flag's help: the default of its setting, and the tiny preset's where that is another."""
    section, _, key = FLAGS[name].partition(".")
    values = {"default": getattr(getattr(configuration.RunConfig(), section), key)}
    if key in (tiny := configuration.PRESETS["tiny"].get(section, {})):
        values["tiny"] = tiny[key]
    return f"[{'; '.join(f'{name}: {value:g}' for name, value in values.items())}]"


TRAINABLE = [name for name, entry in configuration.METHODS.items() if entry.trainable]


def train_command(
    dataset: DatasetOpt = None,
    method: Annotated[
        str | None, choice("--method", of=TRAINABLE, others=True, help="What to train.", shown="focus")
    ] = None,
    model: Annotated[
        str | None, choice("--model", of=tuple(configuration.PRESETS), help="Preset.", shown="vit-b16")
    ] = None,
    weights: Annotated[str | None, typer.Option(help="CLIP weight file, or none; default: the installed ones.")] = None,
    epochs: Annotated[int | None, typer.Option(help=f"Passes over the training images. {_default('epochs')}")] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", "--batch", help=f"Images per micro-batch. {_default('batch_size')}")
    ] = None,
    lr: Annotated[float | None, typer.Option("--lr", help=f"Base learning rate. {_default('lr')}")] = None,
    train_split: Annotated[
        str | None,
        choice("--train-split", of=("train", "trainval"), help="trainval: as published rows do.", shown="train"),
    ] = None,
    without: Annotated[str | None, typer.Option(help="Ablation: parts to switch off: rlp,mgmt,avfe,racl,lsim.")] = None,
    accumulate: Annotated[
        int | None, typer.Option(help=f"Micro-batches per optimiser step. {_default('accumulate')}")
    ] = None,
    ema: Annotated[
        float | None, typer.Option(help=f"Decay of the moving average of the weights; 0 for none. {_default('ema')}")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help=f"Stop after this many evaluations without improvement. {_default('patience')}")
    ] = None,
    gradient_checkpointing: Annotated[
        bool | None, typer.Option("--gradient-checkpointing", help="Less memory, more time.")
    ] = None,
    compile: Annotated[bool | None, typer.Option("--compile", help="Slower to start, faster steps.")] = None,
    threads: Annotated[
        int | None, typer.Option(help=f"CPU threads; 0 leaves the choice to torch. {_default('threads')}")
    ] = None,
    seed: Annotated[int | None, typer.Option(help=f"Random seed. {_default('seed')}")] = None,
    device: DeviceOpt = None,
    precision: PrecisionOpt = None,
    config: Annotated[Path | None, typer.Option("--config", help="TOML file with settings.")] = None,
    set_: SetOpt = None,
    run: Annotated[
        Path | None,
        # torchrun (on Python 3.11) takes --run for its own --run-path, wherever it stands.
        typer.Option("--run", "--run-folder", help="Run folder; default: a new one under FOCUS_RUNS."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with --run, or with the latest run.")] = False,
    print_config: Annotated[
        bool,
        typer.Option(help="Show every setting and its origin, as TOML for --config; then stop.", show_default=False),
    ] = False,
    dry_run: DryRunOpt = False,
) -> None:
    """Train FOCUS, or a method to compare it with, on a prepared dataset; stop with Ctrl-C, go on with --resume."""
    flags = _flag_layers({name: value for name, value in locals().items() if name in FLAGS}, without, set_ or [])
    with processes.together() as process_group:
        # Once for all processes: the name of a new folder has the minute in it, and must not exist yet.
        folder, settings, origins = process_group.broadcast(lambda: _plan(run, dataset, flags, config, resume=resume))
        if print_config:
            views.configuration(settings, origins)
            return
        if not settings.data.dataset:
            hint = "Name one: focus train --dataset NAME   (focus datasets lists them)"
            raise UsageError("focus train needs a dataset.", hint)
        dataset_folder = paths.resolve_dataset(settings.data.dataset)
        resuming = (folder / "checkpoints" / "last" / "state.json").is_file()
        start = None if resuming else weights_file(settings)
        if dry_run:
            _show_steps_left(open_run(folder, settings, dataset_folder, start, process_group))
            return
        with own_run(folder, process_group):
            if not resume:  # somebody may have begun one there in the meantime
                process_group.broadcast(lambda: _check_new(folder))
            opened = open_run(folder, settings, dataset_folder, start, process_group)
            train_to_end(opened)
            show_result(opened)


def _show_steps_left(opened: Run) -> None:
    trainer, epochs = opened.trainer, opened.config.train.epochs
    left = trainer.steps_left
    data = {"run": str(opened.folder), "step": trainer.step, "steps_left": left, "steps": trainer.total_steps}
    data |= {"epochs_left": left / trainer.steps_per_epoch, "epochs": epochs, "dry_run": True}
    render.note(
        f"dry run: nothing was written; {left:,} of {trainer.total_steps:,} steps would follow, "
        f"{round(left / trainer.steps_per_epoch, 2):g} of {epochs} epochs"
    )
    render.result(data)


def _flag_layers(values: Mapping[str, Any], without: str | None, sets: Sequence[str]) -> configuration.Layers:
    """What the flags set, each under its own name as the origin."""
    layers: configuration.Layers = []
    for name, value in values.items():
        if value is not None:
            section, _, key = FLAGS[name].partition(".")
            layers.append((f"--{name.replace('_', '-')}", {section: {key: value}}))
    if without:
        parts = [part.strip() for part in without.split(",") if part.strip()]
        layers.append(("--without", configuration.without(parts)))
    return layers + [(f"--set {text}", configuration.parse_override(text)) for text in sets]


def _plan(
    run: Path | None, dataset: str | None, flags: configuration.Layers, file: Path | None, *, resume: bool
) -> tuple[Path, configuration.RunConfig, configuration.Origins]:
    """The folder and configuration of a run: of the saved one with `resume`, else by preset, method, file and flags.

    With `resume`, a run that was killed before it wrote its configuration starts from the beginning.
    """
    if resume:
        if run is None:
            run = paths.resolve_checkpoint("latest").parent.parent
        elif not run.exists() and (paths.runs_dir() / run).is_dir():
            run = paths.runs_dir() / run
        if (run / "config.toml").is_file():
            return _saved(run, dataset, flags)
        if dataset is None and file is None:
            hint = "Start one: focus train --dataset NAME --run FOLDER"
            raise InputError(f"No run to resume in {run} (no config.toml).", hint)
    layers = configuration.stacked([*([(str(file), read_toml(file))] if file else []), *flags])
    if dataset:
        layers.append(("--dataset", {"data": {"dataset": str(paths.resolve_dataset(dataset).resolve())}}))
    settings, origins = configuration.build_config(layers)
    if run is None:
        name = re.sub(r"[^A-Za-z0-9.-]+", "-", Path(settings.data.dataset).name).strip("-") or "run"
        first = paths.runs_dir() / f"{datetime.now():%Y-%m-%d_%H%M}_{name}"
        numbered = (first.with_name(f"{first.name}-{number}") for number in itertools.count(2))
        run = next(folder for folder in itertools.chain([first], numbered) if not folder.exists())
    elif not resume:
        _check_new(run)
    return run, settings, origins


def _check_new(run: Path) -> None:
    """Refuse a folder in which a new run cannot begin."""
    if (run / "config.toml").exists():
        raise InputError(
            f"{run} already holds a run; nothing was changed.",
            f"Resume it ({resume_command(run)}), or choose another folder.",
        )
    if not (run.is_dir() and all(map(is_leftover, run.iterdir()))):
        check_free(run, force=False, folder=True, hint="Choose another folder, or an empty one.")


def _saved(
    run: Path, dataset: str | None, flags: configuration.Layers
) -> tuple[Path, configuration.RunConfig, configuration.Origins]:
    """An earlier run with its saved configuration, which no flag may change; more epochs extend it."""
    from focuscli.engine.checkpoint import saved_config

    settings = saved_config(run)
    saved = settings.model_dump(mode="json")
    wanted, origins = configuration.build_config([("saved run", saved), *flags])
    changed = [
        f"{section}.{key} is {saved[section][key]!r}, not {value!r}"
        for section, fields in wanted.model_dump(mode="json").items()
        for key, value in fields.items()
        if saved[section][key] != value
    ]
    before, epochs = settings.train.epochs, wanted.train.epochs
    if epochs > before and len(changed) == 1:
        extended = {"epochs": epochs, "extended_from": [*settings.train.extended_from, before]}
        settings, origins = configuration.build_config([("saved run", saved), ("--epochs", {"train": extended})])
        changed = []
    if dataset and str(paths.resolve_dataset(dataset).resolve()) != settings.data.dataset:
        changed.append(f"data.dataset is {settings.data.dataset}")
    if changed:
        raise UsageError(
            f"A resumed run keeps its configuration, and {run} was started with another one: {'; '.join(changed)}.",
            "Omit those options, or start a new run. A larger --epochs alone extends the run.",
        )
    return run, settings, origins


def _from_scratch(words: Sequence[str]) -> str:
    """The same command with a tiny model from scratch."""
    kept = [word for word in words if not word.startswith(("--model=", "--weights="))]
    for option in {"--model", "--weights"} & {*kept}:
        del kept[kept.index(option) : kept.index(option) + 2]
    return processes.command_line([*kept, "--model", "tiny", "--weights", "none"], kept[1:])


def weights_file(settings: configuration.RunConfig) -> Path | None:
    """The CLIP weights that a new run starts from; None for training from scratch."""
    spec = settings.train.weights
    if spec == "none":
        return None
    again = _from_scratch(sys.argv[1:])
    if settings.model.preset == "tiny" and not spec:
        raise UsageError("No pretrained weights exist for --model tiny.", f"Train it from scratch: {again}")
    from focuscli.storage.weights import resolve_weights

    try:
        return resolve_weights(spec or None)
    except RequirementError as error:
        hint = f"{error.hint}   Or train a small model from scratch: {again}"
        raise RequirementError(error.problem, hint) from error

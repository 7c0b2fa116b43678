"""A run folder: configuration, environment, metrics, TensorBoard events and the two checkpoints."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from focuscli import __version__
from focuscli.config import SCRATCH, RunConfig, build_config, dump_config, read_config_file
from focuscli.data.folder import DatasetFolder, read_folder
from focuscli.engine.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from focuscli.engine.device import compile_layers, effective_precision
from focuscli.engine.distributed import SINGLE, ProcessGroup
from focuscli.engine.replicas import check_divides
from focuscli.engine.trainer import EpochEvent, Event, Trainer
from focuscli.engine.training_data import prepare_training_data
from focuscli.errors import InputError
from focuscli.metrics.attributes import finite
from focuscli.models.build import clip_shape_to_json, new_method, saved_method
from focuscli.storage.files import write_json, write_text


def new_run_folder(runs: Path, dataset: str, now: datetime) -> Path:
    """A folder name that sorts by time and names the dataset: 2026-11-23_1012_peta, with a number where it is taken."""
    stem = f"{now:%Y-%m-%d_%H%M}_{re.sub(r'[^A-Za-z0-9.-]+', '-', dataset).strip('-') or 'run'}"
    names = [stem, *(f"{stem}-{number}" for number in range(2, 1000))]
    return next(runs / name for name in names if not (runs / name).exists())


def saved_config(run: Path) -> RunConfig | None:
    """The configuration that a run was started with; None where none was written."""
    file = run / "config.toml"
    return build_config([(str(file), read_config_file(file))])[0] if file.is_file() else None


def last_checkpoint(run: Path) -> Checkpoint | None:
    """The `last` checkpoint of a run; None where none has been saved yet."""
    folder = run / "checkpoints" / "last"
    return read_checkpoint(folder) if (folder / "state.json").is_file() else None


class Run:
    """A training run and its folder. `train()` yields the trainer's events and saves in between.

    In a group of processes each has its own `Run` of the same folder; only the main one writes.
    """

    def __init__(
        self,
        folder: Path,
        config: RunConfig,
        dataset: Path,
        weights: Path | None,
        *,
        process_group: ProcessGroup = SINGLE,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Open the run, at its `last` checkpoint where there is one.

        Raises:
            InputError: the dataset is unusable, or has changed since the run was started, or the processes of the group
                see different ones. UsageError: the batch size does not divide over the processes.
        """
        check_divides(config.train.batch_size, process_group.world_size)
        self.folder = folder
        self.config = config
        self.process_group = process_group
        self.device = process_group.device(config.train.device)
        if config.train.threads:
            torch.set_num_threads(config.train.threads)
        self.dataset: DatasetFolder = read_folder(dataset)
        self.data = prepare_training_data(self.dataset, config.data, config.train.seed)
        checkpoint = last_checkpoint(folder)
        if checkpoint is not None:
            saved = checkpoint.state["data"]["fingerprint"]
            if saved != self.dataset.fingerprint:
                raise InputError(
                    f"Dataset {dataset} has changed since run {folder} was started "
                    f"(fingerprint {saved[:12]}, now {self.dataset.fingerprint[:12]}).",
                    "Restore the data, or start a new run without --resume.",
                )
        if checkpoint is None:
            model, self.origin = new_method(config, self.data.texts, weights)
        else:
            model = saved_method(config.model, self.data.texts, checkpoint.state["clip"])
            self.origin = str(checkpoint.state["weights"])
        # Training from scratch trains the text tower too: a frozen random one carries no meaning.
        model.freeze(text_tower=self.origin != SCRATCH)
        model.checkpoint_gradients(config.train.gradient_checkpointing)
        if config.train.compile:
            compile_layers(model, self.device)
        self._check_alike(0 if checkpoint is None else checkpoint.state["step"])
        self.trainer = Trainer(model, self.data, config, self.device, process_group=process_group, progress=progress)
        self.resumed_from = 0
        if checkpoint is not None:
            self.trainer.restore(checkpoint)
            self.resumed_from = self.trainer.step

    def train(self, stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        """Train to the end, or until `stop` returns true; see `Trainer.run`.

        Raises:
            WorkerLost: another process of the group has gone; `save_lost` saves what can be saved.
        """
        if not self.process_group.is_main:
            yield from self.trainer.run(self._save, stop)
            return
        write_text(self.folder / "config.toml", dump_config(self.config))
        write_json(self.folder / "env.json", self._environment())
        self._write_history()
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(str(self.folder), purge_step=self.trainer.step) as board:
            for event in self.trainer.run(self._save, stop):
                if isinstance(event, EpochEvent):
                    self._write_history()
                    for name, value in _flat(event.record).items():
                        board.add_scalar(name, value, event.record["step"])
                    board.flush()
                yield event

    def save_lost(self) -> int:
        """Save the state after the last whole step where the checkpoint is older, and return the step that is saved.

        For a group of which a process has gone. Every process has the whole state: the first that comes here saves it.
        """
        trainer = self.trainer
        (self.folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "checkpoints" / ".lock"):
            saved = last_checkpoint(self.folder)
            if saved is not None and saved.state["step"] >= trainer.step:
                return int(saved.state["step"])
            if trainer.best_epoch and trainer.step == trainer.best_epoch * trainer.steps_per_epoch:
                self._write_checkpoint("best")  # the main process may have gone before it did
            write_text(self.folder / "config.toml", dump_config(self.config))
            self._write_checkpoint("last")
            self._write_history()
            return trainer.step

    def _check_alike(self, step: int) -> None:
        """Refuse a group whose processes see different data or checkpoints, as machines without shared folders do."""
        seen = self.process_group.all_gather((self.dataset.fingerprint, step))
        for rank, (fingerprint, other) in enumerate(seen):
            if fingerprint != seen[0][0]:
                raise InputError(
                    f"Worker {rank} sees other data at {self.dataset.path} than worker 0 (fingerprint {fingerprint[:12]}, "
                    f"not {seen[0][0][:12]}).",
                    "Give every machine the same dataset folder and images under the same path.",
                )
            if other != seen[0][1]:
                raise InputError(
                    f"Worker {rank} finds the run {self.folder} at step {other}, worker 0 at step {seen[0][1]}.",
                    "Every machine needs the run folder under the same path: put it on a disk that they share.",
                )

    def _save(self, name: str) -> None:
        """Save a checkpoint in the main process, while the others wait."""
        if self.process_group.is_main:
            self._write_checkpoint(name)
        self.process_group.barrier()

    def _write_checkpoint(self, name: str) -> None:
        trainer = self.trainer
        state = {
            **trainer.state(),
            "focus": __version__,
            "weights": self.origin,
            "config": self.config.model_dump(mode="json"),
            "clip": clip_shape_to_json(trainer.model.clip.config),
            "schema": self.dataset.schema.model_dump(mode="json"),
            "metrics": trainer.history[-1].get("val") if trainer.history else None,
            "threshold_source": f"{self.data.val_note}, criterion {self.config.eval.criterion}",
            "data": {
                "name": self.dataset.schema.name,
                "folder": str(self.dataset.path.resolve()),
                "fingerprint": self.dataset.fingerprint,
                "train_images": len(self.data.train),
                "train_split": self.config.data.train_split,
                "val_images": len(self.data.val),
            },
        }
        tensors = trainer.tensors()
        if name == "best":
            tensors = {"model": trainer.evaluated_model.state_dict()}
            state["history"] = state["history"][-1:]
        save_checkpoint(self.folder / "checkpoints" / name, tensors, state)

    def _write_history(self) -> None:
        """metrics.jsonl, one line per epoch; written whole, so that a resumed run never repeats or loses a line."""
        lines = [json.dumps(_json_values(record), allow_nan=False) + "\n" for record in self.trainer.history]
        write_text(self.folder / "metrics.jsonl", "".join(lines))

    def _environment(self) -> dict[str, Any]:
        packages = ("torch", "timm", "numpy", "pillow", "ftfy", "regex", "safetensors")
        return {
            "focus": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "packages": {name: _version(name) for name in packages},
            "device": str(self.device),
            "device_name": torch.cuda.get_device_name(self.device)
            if self.device.type == "cuda"
            else platform.machine(),
            "precision": effective_precision(self.device, self.config.train.precision),
            "processes": self.process_group.world_size,
            "threads": torch.get_num_threads(),
            "cpus": os.cpu_count(),
            "command": sys.argv,
            "weights": self.origin,
        }


def _json_values(value: Any) -> Any:
    """A record as JSON: metrics that are undefined (NaN) are null."""
    if isinstance(value, dict):
        return {key: _json_values(item) for key, item in value.items()}
    return finite(value) if isinstance(value, float) else value


def _flat(record: dict[str, Any], prefix: str = "train/") -> dict[str, float]:
    flat: dict[str, float] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{key}/")
        else:
            flat[prefix + key] = float(value)
    return flat


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

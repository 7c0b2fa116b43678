"""A run folder: configuration, environment, metrics, TensorBoard events and the two checkpoints."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from focuscli import __version__
from focuscli.config import SCRATCH, RunConfig, dump_config
from focuscli.data.folder import read_folder
from focuscli.engine.checkpoint import last_checkpoint, save_checkpoint
from focuscli.engine.device import compile_layers, effective_precision
from focuscli.engine.distributed import SINGLE, ProcessGroup
from focuscli.engine.trainer import Event, StepEvent, Trainer
from focuscli.engine.training_data import prepare_training_data
from focuscli.errors import InputError, UsageError, one_line
from focuscli.metrics.attributes import finite
from focuscli.models.build import new_method, saved_method
from focuscli.storage.files import write_json, write_text


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
        batch, size = config.train.batch_size, process_group.world_size
        if batch % size:
            raise UsageError(
                f"A batch of {batch} images does not divide over {size} processes.",
                f"--batch-size counts the images of all processes; use a multiple of {size}.",
            )
        self.folder = folder
        self.config = config
        self.process_group = process_group
        self.device = process_group.device(config.train.device)
        if config.train.threads:
            torch.set_num_threads(config.train.threads)
        self.dataset = read_folder(dataset)
        self.data = prepare_training_data(self.dataset, config.data, config.train.seed)
        checkpoint = last_checkpoint(folder)
        if checkpoint is None:
            model, self.origin = new_method(config, self.data.texts, weights)
        else:
            saved, now = checkpoint.state["data"]["fingerprint"], self.dataset.fingerprint
            if saved != now:
                raise InputError(
                    f"Dataset {dataset} has changed since run {folder} was started "
                    f"(fingerprint {saved[:12]}, now {now[:12]}).",
                    "Restore the data, or start a new run without --resume.",
                )
            try:
                clip, tensors = checkpoint.state["clip"], checkpoint.tensors("model")
                model = saved_method(config.model, self.data.texts, clip, tensors)
            except ValueError as error:
                raise InputError(
                    f"Checkpoint {checkpoint.folder} is damaged: state.json: {one_line(error)}."
                ) from error
            self.origin = str(checkpoint.state["weights"])
        # Training from scratch trains the text tower too: a frozen random one carries no meaning.
        model.freeze(text_tower=self.origin != SCRATCH)
        model.checkpoint_gradients(config.train.gradient_checkpointing)
        if config.train.compile:
            compile_layers(model, self.device)
        self.resumed_from: int = 0 if checkpoint is None else checkpoint.state["step"]
        seen = process_group.all_gather(f"fingerprint {self.dataset.fingerprint[:12]} at step {self.resumed_from}")
        for rank, other in enumerate(seen):
            if other != seen[0]:
                raise InputError(
                    f"Worker {rank} sees other data or another checkpoint than worker 0: {other}, not {seen[0]}.",
                    "Give every machine the same dataset folder, images and run folder: put them on a disk that they share.",
                )
        self.trainer = Trainer(model, self.data, config, self.device, process_group, progress)
        if checkpoint is not None:
            self.trainer.restore(checkpoint)

    def train(self, stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        """Train to the end, or until `stop` returns true; see `Trainer.run`. After WorkerLost call `save_lost`."""
        if not self.process_group.is_main:
            yield from self.trainer.run(self._save, stop)
            return
        write_text(self.folder / "config.toml", dump_config(self.config))
        self._write_environment()
        self._write_history()
        from torch.utils.tensorboard import SummaryWriter

        # What a killed process logged after the state that the run goes on from is not shown.
        with SummaryWriter(str(self.folder), purge_step=self.trainer.step + 1) as board:
            for event in self.trainer.run(self._save, stop):
                if isinstance(event, StepEvent):
                    rates = {"learning_rate": event.learning_rate, "gradient_norm": event.gradient_norm}
                    rates["images_per_second"] = event.images_per_second
                    scalars = {f"train/{name}": value for name, value in (event.step_losses | rates).items()}
                else:
                    self._write_history()
                    names = ("loss", *self.trainer.criterion.names, "seconds")
                    scalars = {f"epoch/{name}": event[name] for name in names}
                    scalars |= {f"val/{name}": value for name, value in event.get("val", {}).items()}
                for name, value in scalars.items():
                    board.add_scalar(name, value, self.trainer.step)
                if not isinstance(event, StepEvent):
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
            if trainer.best["epoch"] and trainer.step == trainer.best["epoch"] * trainer.steps_per_epoch:
                self._write_checkpoint("best")  # the main process may have gone before it did
            write_text(self.folder / "config.toml", dump_config(self.config))
            self._write_checkpoint("last")
            self._write_history()
            return trainer.step

    def _save(self, name: str) -> None:
        """Save a checkpoint in the main process, while the others wait."""
        if self.process_group.is_main:
            self._write_checkpoint(name)
        self.process_group.any(False)

    def _write_checkpoint(self, name: str) -> None:
        trainer = self.trainer
        state = {
            **trainer.state(),
            "focus": __version__,
            "weights": self.origin,
            "config": self.config.model_dump(mode="json"),
            "clip": asdict(trainer.model.clip.config),
            "schema": self.dataset.schema.model_dump(mode="json"),
            "metrics": trainer.history[-1].get("val") if trainer.history else None,
            "threshold_source": f"{self.data.val_note}, criterion {self.config.eval.criterion}",
            "data": {
                "name": self.dataset.name,
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
        lines = []
        for record in self.trainer.history:
            val = {name: finite(value) for name, value in record.get("val", {}).items()}  # undefined metrics are null
            lines.append(json.dumps({**record, "val": val} if val else record, allow_nan=False) + "\n")
        write_text(self.folder / "metrics.jsonl", "".join(lines))

    def _write_environment(self) -> None:
        """env.json of the first command; those that resume the run are listed in it, with what was different then."""
        file, now = self.folder / "env.json", self._environment()
        first: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError, TypeError):
            first = dict(json.loads(file.read_text(encoding="utf-8")))
        if first:
            changed = {name: value for name, value in now.items() if name == "command" or value != first.get(name)}
            now = {**first, "resumed": [*first.get("resumed", []), {"step": self.trainer.step, **changed}]}
        write_json(file, now)

    def _environment(self) -> dict[str, Any]:
        packages = ("torch", "timm", "numpy", "pillow", "ftfy", "regex", "safetensors")
        gpu = self.device.type == "cuda"
        return {
            "focus": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "packages": {name: version(name) for name in packages},
            "device": str(self.device),
            "device_name": torch.cuda.get_device_name(self.device) if gpu else platform.machine(),
            "precision": effective_precision(self.device, self.config.train.precision),
            "processes": self.process_group.world_size,
            "threads": torch.get_num_threads(),
            "cpus": os.cpu_count(),
            "command": sys.argv,
            "weights": self.origin,
        }

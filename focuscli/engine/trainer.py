"""The training loop: yields events, prints nothing, and can be killed at any moment and resumed exactly.

Everything random in it is a function of (seed, epoch) or (seed, step), so that there is no generator state to save. In a
group of processes each takes its part of every micro-batch, and losses, gradients and steps are those of one process.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from focuscli.config import LossConfig, RunConfig
from focuscli.data.augment import augment
from focuscli.data.loader import CropSource, crop_source
from focuscli.engine import optim
from focuscli.engine.checkpoint import Checkpoint, load_strictly, optimizer_tensors, restore_optimizer
from focuscli.engine.device import autocast
from focuscli.engine.distributed import ProcessGroup, block, lost_workers
from focuscli.engine.replicas import gather_rows, replicate
from focuscli.engine.scoring import model_score_fn, score_files
from focuscli.engine.training_data import TrainingData
from focuscli.errors import CheckFailed, InputError
from focuscli.metrics.attributes import area_under_roc, pedestrian_metrics
from focuscli.metrics.thresholds import Thresholds
from focuscli.models.base import Method


@dataclass(frozen=True)
class StepEvent:
    """After an optimiser step: its losses, those averaged over the epoch so far, and the speed."""

    epoch: int
    step: int
    step_losses: dict[str, float]
    losses: dict[str, float]
    learning_rate: float
    gradient_norm: float
    images_per_second: float


Event = StepEvent | dict[str, Any]
"""After a step; after an epoch its record, the last of the history: losses, and val metrics where it was evaluated."""
Save = Callable[[Literal["best", "last"]], None]
COLLAPSED = 0.02
"""Share of its first value that a loss has left when it has collapsed."""
STATE = ("step", "epoch_sums", "history", "thresholds", "global_threshold", "unchosen_thresholds", "best")
"""The attributes of a trainer that a checkpoint needs beside tensors to resume exactly."""


class Trainer:
    """One run. Build it, `restore` it where there is a checkpoint, then consume `run()`."""

    def __init__(
        self,
        model: Method,
        data: TrainingData,
        config: RunConfig,
        device: torch.device,
        process_group: ProcessGroup,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        """Read the crops into memory where they fit."""
        self.config = config
        self.data = data
        self.device = device
        self.process_group = process_group
        train = config.train
        self.model = model.to(device).train()
        self.criterion = model.criterion(config.effective_loss, **data.constants).to(device)
        self.read_crops = self._crop_source(progress)
        self.images_per_step = train.batch_size * train.gradient_accumulation_steps
        self.steps_per_epoch = max(1, len(data.train) // self.images_per_step)
        self.total_steps = self.steps_per_epoch * train.epochs
        self.names = optim.trained_parameters(model)
        self.optimizer = optim.build_optimizer(model, train)
        self.scheduler = optim.build_scheduler(self.optimizer, train, self.total_steps)
        self.ema = optim.build_ema(model, train)
        self._replica: Any = replicate(model, process_group, device)
        self.step = 0
        self.epoch_sums = dict.fromkeys((*self.criterion.names, "loss"), 0.0)
        self.history: list[dict[str, Any]] = []
        self.thresholds: dict[str, float] = {}
        self.global_threshold = 0.0
        self.unchosen_thresholds: list[str] = []
        self.best: dict[str, Any] = {"epoch": 0, "value": None}

    @property
    def evaluated_model(self) -> Method:
        """The moving average where there is one, else the trained weights."""
        return self.model if self.ema is None else self.ema.module

    @property
    def learning_rate(self) -> float:
        """That of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def steps_left(self) -> int:
        """Optimiser steps to the end of the run; none where patience has ended it."""
        ended = out_of_patience(self.history, self.best["epoch"], self.config.train.patience)
        return 0 if ended else self.total_steps - self.step

    def run(self, save: Save = lambda name: None, stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        """Train from the current step to the last.

        Args:
            save: called in every process when the state is to be saved as checkpoint "best" or "last".
            stop: called after each step; when true in any process of the group, all save and end.

        Raises:
            CheckFailed: a loss is not finite; the checkpoints stay as they were.
        """
        train = self.config.train
        for epoch in range(len(self.history), train.epochs):
            if out_of_patience(self.history, self.best["epoch"], train.patience):
                return
            # All of them where only the end of the epoch is missing: a worker was lost there.
            done = self.step - epoch * self.steps_per_epoch
            started = time.perf_counter()
            batches = self._batches(epoch)[done * train.gradient_accumulation_steps :]
            crops = self.read_crops([self.process_group.shard(positions) for positions in batches])
            remaining = iter(batches)
            for number in range(done + 1, self.steps_per_epoch + 1):
                step_losses, norm = self._step(
                    [next(remaining) for _ in range(train.gradient_accumulation_steps)], crops
                )
                losses = {name: value / number for name, value in self.epoch_sums.items()}
                speed = (number - done) * self.images_per_step / (time.perf_counter() - started)
                yield StepEvent(epoch + 1, number, step_losses, losses, self.learning_rate, norm, speed)
                stopping = self.process_group.any(stop())
                if number == self.steps_per_epoch:
                    break
                if stopping or (train.save_every_steps and self.step % train.save_every_steps == 0):
                    save("last")
                if stopping:
                    return
            if self._finish_epoch(epoch + 1, time.perf_counter() - started):
                save("best")
            save("last")
            yield self.history[-1]
            if self.process_group.any(stop()):
                return

    def state(self) -> dict[str, Any]:
        """The values of `STATE`, and for readers the epochs that are done."""
        return {**{name: getattr(self, name) for name in STATE}, "epoch": self.step / self.steps_per_epoch}

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Model, optimiser and moving average by name."""
        tensors = {"model": self.model.state_dict(), "optimizer": optimizer_tensors(self.optimizer, self.names)}
        if self.ema is not None:
            tensors["ema"] = self.ema.module.state_dict()
        return tensors

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to a saved state; InputError where it is damaged or of another model."""
        load_strictly(self.model, checkpoint.tensors("model"), f"checkpoint {checkpoint.folder}")
        restore_optimizer(self.optimizer, self.names, checkpoint.tensors("optimizer"))
        if self.ema is not None:
            load_strictly(self.ema.module, checkpoint.tensors("ema"), f"checkpoint {checkpoint.folder}")
        if checkpoint.state["epoch_sums"].keys() != self.epoch_sums.keys():
            raise InputError(f"Checkpoint {checkpoint.folder} is damaged: state.json has other losses than this run.")
        for name in STATE:
            if name in checkpoint.state or name != "unchosen_thresholds":  # version 0.1.0 did not record these
                setattr(self, name, checkpoint.state[name])
        if self.step:
            self.scheduler.step_update(self.step - 1)  # for the record of an epoch whose end is missing

    def _crop_source(self, progress: Callable[[int, int], None] | None) -> CropSource:
        data, files = self.config.data, self.data.paths(self.data.train)
        height, width = (side + self.config.augment.margin for side in self.config.model.image_size)
        # Every process of a machine keeps its own, as any image can be in its part of some batch.
        needed = len(files) * height * width * 3 / 2**20 * self.process_group.local_world_size
        kept = data.cache == "memory" or (data.cache == "auto" and needed <= data.cache_limit_mb)
        size = (height, width)
        return crop_source(files, size, workers=data.workers, in_memory=kept, progress=progress, resize=data.resize)

    def _batches(self, epoch: int) -> list[list[int]]:
        """The micro-batches of an epoch: positions in the training set, shuffled by (seed, epoch), repeated where there are
        fewer than one step needs."""
        size, count = self.config.train.batch_size, len(self.data.train)
        generator = torch.Generator().manual_seed(self._seed(epoch, stream=1))
        needed = self.steps_per_epoch * self.images_per_step
        order: list[int] = []
        while len(order) < needed:
            order += torch.randperm(count, generator=generator).tolist()
        return [order[start : start + size] for start in range(0, needed, size)]

    def _seed(self, number: int, *, stream: int) -> int:
        sequence = np.random.SeedSequence([self.config.train.seed, stream, number])
        return int(sequence.generate_state(1, np.uint64)[0]) >> 1

    def _step(self, batches: Sequence[list[int]], crops: Iterator[Tensor]) -> tuple[dict[str, float], float]:
        """One optimiser step over some micro-batches; returns its losses and the norm of the gradient."""
        config = self.config
        self.scheduler.step_update(self.step)
        generator = torch.Generator().manual_seed(self._seed(self.step, stream=2))
        means = dict.fromkeys(self.epoch_sums, 0.0)
        for number, positions in enumerate(batches, start=1):
            indices = torch.from_numpy(self.data.train[positions])
            # Processes exchange gradients after the last micro-batch only.
            alone = self.process_group.world_size > 1 and number < len(batches)
            with self._replica.no_sync() if alone else contextlib.nullcontext(), lost_workers():
                losses = self._losses(next(crops), indices, generator)
                (losses["loss"] / len(batches)).backward()
            values = torch.stack([*losses.values()]).tolist()  # waits for the device once
            for name, value in zip(losses, values, strict=True):
                means[name] += value / len(batches)
        optim.zero_invariant_gradients(self.names)
        norm = float(nn.utils.clip_grad_norm_([*self.names], config.train.max_grad_norm or math.inf))
        if not math.isfinite(norm) or not all(map(math.isfinite, means.values())):
            epoch, number = divmod(self.step, self.steps_per_epoch)
            shown = ", ".join(f"{name} {value:.3g}" for name, value in means.items())
            raise CheckFailed(
                f"Training diverged in epoch {epoch + 1}, step {number + 1}: a loss or gradient is not finite ({shown}). "
                "The checkpoints of earlier epochs are kept.",
                f"Try a smaller --lr (now {config.train.learning_rate:g}), --set train.max_grad_norm=1, "
                "or --set train.precision=fp32.",
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema is not None:
            self.ema.update(self.model, step=self.step)
        self.step += 1
        self.epoch_sums = {name: value + means[name] for name, value in self.epoch_sums.items()}
        return means, norm

    def _losses(self, crops: Tensor, indices: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """The losses of the whole micro-batch `indices`, of which this process has `crops`."""
        config, group, total = self.config, self.process_group, len(indices)
        start = block(total, group.rank, group.world_size).start
        size = config.model.image_size
        images = augment(crops.to(self.device), size, config.augment, generator, start=start, total=total)
        with autocast(self.device, config.train.precision):
            output = self._replica(images)
        if group.world_size > 1:
            output = replace(output, **{name: gather_rows(getattr(output, name)) for name in self.criterion.inputs})
        targets, known = self.data.targets[indices].to(self.device), self.data.known[indices].to(self.device)
        losses: dict[str, Tensor] = self.criterion(output, targets, known, self.step / self.total_steps)
        return losses

    def _finish_epoch(self, epoch: int, seconds: float) -> bool:
        """Record the epoch, evaluate where it is due, and return whether it is the best so far."""
        train = self.config.train
        record: dict[str, Any] = {"epoch": epoch, "step": self.step, "seconds": round(seconds, 3)}
        record |= {name: value / self.steps_per_epoch for name, value in self.epoch_sums.items()}
        record["learning_rate"] = self.learning_rate
        best = False
        if epoch % train.eval_every == 0 or epoch == train.epochs:
            record["val"] = self._evaluate()
            value, previous = record["val"][self.config.eval.select], self.best["value"]
            # NaN (no attribute is defined on val) is never better, but it is better than no best epoch at all.
            best = value > (-math.inf if previous is None else previous) or not self.best["epoch"]
            if best:
                self.best = {"epoch": epoch, "value": value if math.isfinite(value) else None}
        self.history.append(record)
        self.epoch_sums = dict.fromkeys(self.epoch_sums, 0.0)
        return best

    def _evaluate(self) -> dict[str, float]:
        """Metrics on val, and the thresholds that val chooses."""
        model, config = self.evaluated_model, self.config
        training = model.training
        model.eval()
        with torch.inference_mode(), autocast(self.device, config.train.precision):
            text_features = model.encode_texts()[: len(self.data.folder.schema.evaluated)]
        scores = score_files(
            model_score_fn(model, text_features, config.train.precision),
            self.data.paths(self.data.val),
            config.model.image_size,
            batch_size=config.eval.batch_size,
            workers=config.data.workers,
            process_group=self.process_group,
        )
        model.train(training)
        # The scores are equal in all processes; what is decided by them must be too.
        metrics, thresholds = self.process_group.broadcast(lambda: self._val_metrics(scores))
        self.thresholds, self.global_threshold = thresholds.by_name, thresholds.overall
        self.unchosen_thresholds = [*thresholds.unchosen]
        return metrics

    def _val_metrics(self, scores: NDArray[np.float32]) -> tuple[dict[str, float], Thresholds]:
        targets, known = self.data.labels(self.data.val)
        names, criterion = [each.name for each in self.data.folder.schema.evaluated], self.config.eval.criterion
        chosen = Thresholds.choose(names, targets, scores, known, criterion=criterion, split=self.data.val_note)
        metrics = pedestrian_metrics(targets > 0.5, scores > np.array([*chosen.by_name.values()]), known)
        areas = area_under_roc(targets, scores, known)
        defined = areas[np.isfinite(areas)]
        return {**metrics, "AUC": float(defined.mean()) if len(defined) else math.nan}, chosen


def out_of_patience(history: Sequence[Mapping[str, Any]], best_epoch: int, patience: int) -> bool:
    """Whether the last `patience` evaluations (0: unlimited) brought no better one."""
    return 0 < patience <= sum("val" in record for record in history[best_epoch:])


def collapsed_losses(
    first: Mapping[str, float], recent: Sequence[Mapping[str, float]], weights: LossConfig
) -> list[str]:
    """The losses with a weight, but for L_sim, that were in all of some recent steps at most 2% of what they were in the first.

    In the first tenth of a run that means that there is nothing left to learn from them: RACL's, at full weight from the
    start, ends there as soon as every region has chosen tokens of its own; v2t is 0 where no group has two texts.
    """
    names = [name for name in first if name not in ("loss", "lsim") and getattr(weights, name, True)]
    return [name for name in names if max(step[name] for step in recent) <= COLLAPSED * first[name]]

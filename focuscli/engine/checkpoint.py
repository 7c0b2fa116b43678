"""Checkpoints: safetensors for tensors, JSON for the rest, replaced atomically.

A checkpoint is a folder. Its `state.json` names the tensor files that belong to it, and replacing that one file is what
commits a save: a process that dies at any moment leaves the old checkpoint or the new one, never a mixture. Importing this
imports no torch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field, FiniteFloat, NonNegativeInt, model_validator
from safetensors import SafetensorError

from focuscli.config import BEFORE, RunConfig, build_config
from focuscli.data.schema import AttributeSchema
from focuscli.errors import InputError
from focuscli.storage.documents import checked, read_json, read_toml
from focuscli.storage.files import atomic_path, remove_leftovers, write_json

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

FORMAT = 1
ADAMW = {"step", "exp_avg", "exp_avg_sq"}
ANEW = "Start a new run: its checkpoint `best` can still be evaluated."


class Best(BaseModel, frozen=True):
    """The epoch with the best value on val; 0 where there is none yet."""

    epoch: NonNegativeInt
    value: FiniteFloat | None


class TrainedOn(BaseModel, frozen=True):
    """The dataset of a run."""

    name: str
    folder: str
    fingerprint: str
    train_images: NonNegativeInt
    train_split: str


class EpochRecord(BaseModel, frozen=True):
    """An epoch that is done; losses stand beside these."""

    epoch: NonNegativeInt
    step: NonNegativeInt
    val: dict[str, float | None] = {}


class State(BaseModel, frozen=True):
    """What state.json has to hold; `Run` writes it."""

    files: dict[str, Annotated[str, Field(pattern=r"^[a-z]+-\d+\.safetensors$")]]
    step: NonNegativeInt
    epoch: FiniteFloat
    epoch_sums: dict[str, float]
    history: list[EpochRecord]
    best: Best
    thresholds: dict[str, FiniteFloat]
    global_threshold: FiniteFloat
    threshold_source: str
    weights: str
    config: RunConfig
    clip: dict[str, Any]
    attributes: AttributeSchema = Field(alias="schema")
    data: TrainedOn

    @model_validator(mode="after")
    def _check(self) -> State:
        unknown = self.thresholds.keys() - {attribute.name for attribute in self.attributes.attributes}
        if unknown:
            raise ValueError(f"a threshold for {min(unknown)!r}, which is no attribute")
        return self


@dataclass(frozen=True)
class Checkpoint:
    """A saved state: where it lies and the content of its state.json."""

    folder: Path
    state: dict[str, Any]

    def epochs(self) -> tuple[float, float, int]:
        """The epochs behind this state, those that its run has done, and those that were planned."""
        states = [self.state]
        with contextlib.suppress(InputError):  # a checkpoint can be alone
            states.append(read_checkpoint(self.folder.with_name("last")).state)
        done = max(float(state["epoch"]) for state in states)
        return float(self.state["epoch"]), done, int(states[-1]["config"]["train"]["epochs"])

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The tensors saved as "model", "optimizer" or "ema"; InputError where their file is missing or damaged."""
        from safetensors.torch import load_file

        file = self.folder / self.state["files"].get(name, f"{name} (never saved)")
        try:
            return load_file(file)
        except (OSError, SafetensorError) as error:
            raise InputError(f"Checkpoint {self.folder} is damaged: cannot read {file.name}: {error}.") from error


def save_checkpoint(folder: Path, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
    """Write the tensor files under names of this step, then commit them by replacing state.json, then tidy up.

    Args:
        tensors: by name, e.g. {"model": {...}, "optimizer": {...}}.
        state: JSON values; must hold "step".

    Raises:
        RequirementError: no space, or the folder cannot be written; the previous checkpoint stands.
    """
    from safetensors.torch import save_file

    files = {}
    previous = {file.name for file in folder.glob("*.safetensors")}
    try:
        for name, values in tensors.items():
            files[name] = f"{name}-{state['step']:08d}.safetensors"
            with atomic_path(folder / files[name]) as temporary:
                save_file({key: value.detach().cpu().contiguous() for key, value in values.items()}, temporary)
    except SafetensorError as error:
        # The library reports a full disk as its own error; only the operating system's words are inside.
        raise OSError(28 if "No space" in str(error) else 5, str(error)) from error
    write_json(folder / "state.json", {"format": FORMAT, **state, "files": files})
    for stale in previous - set(files.values()):
        (folder / stale).unlink(missing_ok=True)


def tidy_checkpoint(folder: Path) -> None:
    """Remove what a killed process has left in a checkpoint's folder: temporary files, and tensors that nothing names."""
    remove_leftovers(folder)
    with contextlib.suppress(InputError):
        named = read_checkpoint(folder).state["files"].values()
        for file in folder.glob("*.safetensors"):
            if file.name not in named:
                file.unlink()


def read_checkpoint(folder: Path) -> Checkpoint:
    """The checkpoint in a folder; InputError where there is none, or its state.json is damaged or of an unknown format."""
    file = folder / "state.json"
    if not file.is_file():
        raise InputError(f"{folder} holds no checkpoint (no state.json).")
    state = read_json(file)
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise InputError(f"{file} is no checkpoint of this version of focus (want format {FORMAT}).")
    checked(State, state, file)
    return Checkpoint(folder, state)


def saved_config(run: Path) -> RunConfig:
    """The configuration that a run was started with; InputError where there is none."""
    file = run / "config.toml"
    return build_config([("earlier version", BEFORE), (str(file), read_toml(file))])[0]


def last_checkpoint(run: Path) -> Checkpoint | None:
    """The `last` checkpoint of a run; None where none has been saved yet."""
    folder = run / "checkpoints" / "last"
    return read_checkpoint(folder) if (folder / "state.json").is_file() else None


def load_strictly(model: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Copy tensors into a model; InputError lists all that is missing, unexpected or reshaped, and nothing is copied."""
    wanted = model.state_dict()
    problems = [f"missing {name}" for name in wanted if name not in tensors]
    problems += [f"unexpected {name}" for name in tensors if name not in wanted]
    problems += [
        f"{name} has shape {[*tensors[name].shape]}, want {[*value.shape]}"
        for name, value in wanted.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    if problems:
        shown = "; ".join(problems[:6]) + (f"; and {len(problems) - 6} more" if len(problems) > 6 else "")
        raise InputError(f"{origin} does not fit the model: {shown}.")
    model.load_state_dict(dict(tensors))


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: Mapping[Tensor, str]) -> dict[str, Tensor]:
    """The state of AdamW as named tensors: "exp_avg/clip.visual.proj" and so on."""
    return {
        f"{key}/{names[parameter]}": value
        for parameter, values in optimizer.state.items()
        for key, value in values.items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, names: Mapping[Tensor, str], tensors: Mapping[str, Tensor]
) -> None:
    """Undo `optimizer_tensors`; InputError where the tensors are not the state of these parameters."""
    parameters = {name: parameter for parameter, name in names.items()}
    kinds: dict[str, set[str]] = {}
    for key, value in tensors.items():
        kind, _, name = key.partition("/")
        shape = () if kind == "step" else getattr(parameters.get(name), "shape", None)
        if kind not in ADAMW or name not in parameters or value.shape != shape or not value.is_floating_point():
            raise InputError(f"The checkpoint's optimizer state is damaged: {key} is not of this model.", ANEW)
        kinds.setdefault(name, set()).add(kind)
    if any(found != ADAMW for found in kinds.values()):
        raise InputError("The checkpoint's optimizer state is damaged: tensors are missing.", ANEW)
    for key, value in tensors.items():
        kind, _, name = key.partition("/")
        parameter = parameters[name]
        optimizer.state[parameter][kind] = value.to(parameter.device)  # "step" too: fused AdamW refuses one on the CPU

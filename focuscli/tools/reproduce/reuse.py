"""Which run folder on this machine answers a planned run: one trained with the same settings on the same data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from focuscli.config import RunConfig
from focuscli.engine.checkpoint import read_checkpoint
from focuscli.engine.trainer import out_of_patience
from focuscli.errors import InputError
from focuscli.tools.reproduce.reductions import MACHINE

OWN = MACHINE - {"train.seed"}
"""Settings that two equal runs may differ in."""


@dataclass(frozen=True)
class Found:
    """A run folder for a planned run. `state`: "finished", "unfinished", or "new" where nothing is there yet."""

    folder: Path
    state: str


def identity(config: Mapping[str, Any] | RunConfig, fingerprint: str, origin: str) -> str:
    """What makes a run that run: its settings, its data and its initial weights, as 12 hexadecimal digits.

    Args:
        config: a configuration, or its JSON values as a checkpoint holds them.
        fingerprint: of the dataset. origin: of the weights, in a checkpoint's words.
    """
    values = config.model_dump(mode="json") if isinstance(config, RunConfig) else config
    told = {
        f"{section}.{key}": value
        for section, fields in values.items()
        for key, value in fields.items()
        if f"{section}.{key}" not in OWN
    }
    return hashlib.sha256(json.dumps([told, fingerprint, origin], sort_keys=True).encode()).hexdigest()[:12]


def find_run(own: Path, others: Iterable[Path], wanted: str) -> Found:
    """The folder for a run of identity `wanted`: a finished one wherever it lies, else the planned folder itself.

    Args:
        own: the planned folder. others: run folders that may hold the same run.
    """
    state = _state(own, wanted)
    if state == "finished":
        return Found(own, state)
    for folder in others:
        if _state(folder, wanted) == "finished":
            return Found(folder, "finished")
    return Found(own, state)


def run_folders(runs: Path) -> list[Path]:
    """Every run of `focus train` and of earlier `focus reproduce` under a folder of runs, by name."""
    states = [*runs.glob("*/checkpoints/last/state.json"), *runs.glob("*/runs/*/checkpoints/last/state.json")]
    return sorted({state.parents[2] for state in states})


def _state(folder: Path, wanted: str) -> str:
    """ "finished" and "unfinished" for a run of that identity, else "new"."""
    try:
        state = read_checkpoint(folder / "checkpoints" / "last").state
        config = RunConfig.model_validate(state["config"])
        if identity(config, state["data"]["fingerprint"], state["weights"]) != wanted:
            return "new"
        spent = out_of_patience(state["history"], state["best"]["epoch"], config.train.patience)
        whole = state["epoch"] >= config.train.epochs or spent
    except (InputError, KeyError, TypeError, ValueError):
        # No checkpoint yet, or one of another version: nothing to reuse.
        return "new"
    there = (folder / "checkpoints" / "best" / "state.json").is_file()
    return "finished" if whole and there else "unfinished"

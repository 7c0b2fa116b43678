"""`focus runs`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from focuscli.cli import views
from focuscli.cli.render import percent
from focuscli.errors import FocusError, InputError
from focuscli.storage import paths


def runs_command() -> None:
    """The runs, latest first: what was trained, how far it is, and its best val metric."""
    folder = paths.runs_dir()
    started = {file.parent: file for file in folder.glob("[!.]*/config.toml")}
    saved = {file.parents[2]: file for file in folder.glob("[!.]*/checkpoints/last/state.json")}
    places = {run: file.stat().st_mtime for run, file in (started | saved).items() if not run.is_symlink()}
    found = [_about(run) for run in sorted(places, key=lambda run: -places[run])]
    columns = ("run", "method", "dataset", "epochs", "best on val (%)", "weights")
    views.listing("run", folder, found, columns, _row, "focus train --dataset NAME   (focus datasets lists them)")


def _row(item: dict[str, Any]) -> tuple[str, ...]:
    best = "-" if item["best"] is None else f"{item['select']} {percent(item['best'])}"
    epochs = f"{item['epochs_done']} of {item['epochs']}"
    return item["name"], item["method"], item["dataset"], epochs, best, item["weights"] or "-"


def _about(run: Path) -> dict[str, Any]:
    """What a run's own files say; a damaged one has the key "problem" instead."""
    from focuscli.config import RunConfig
    from focuscli.engine.checkpoint import last_checkpoint, saved_config

    place = {"name": run.name, "folder": str(run.absolute())}
    try:
        checkpoint = last_checkpoint(run)
        if checkpoint is None:  # a run that is not an epoch old has only its settings
            config = saved_config(run)
            state: dict[str, Any] = {"data": {"name": Path(config.data.dataset).name}, "history": [], "weights": ""}
            state["best"] = {"epoch": 0, "value": None}
        else:
            state = checkpoint.state
            config = RunConfig.model_validate(state["config"])
            for tensors in state["files"].values():
                if not (checkpoint.folder / tensors).is_file():
                    raise InputError(f"{checkpoint.folder / tensors} is missing.")
    except FocusError as error:
        return place | {"problem": error.problem}
    return place | {
        "method": config.model.method,
        "dataset": state["data"]["name"],
        "epochs_done": len(state["history"]),
        "epochs": config.train.epochs,
        "select": config.eval.select,
        "best": state["best"]["value"],
        "best_epoch": state["best"]["epoch"] or None,
        "weights": state["weights"],
    }

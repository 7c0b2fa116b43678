"""`focus runs`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, FiniteFloat

from focuscli.cli import render
from focuscli.cli.render import percent
from focuscli.config import RunConfig, build_config, read_config_file
from focuscli.errors import FocusError, InputError
from focuscli.storage import paths
from focuscli.storage.documents import checked, read_json

LAST = Path("checkpoints", "last", "state.json")


def runs_command() -> None:
    """The runs, latest first: what was trained, how far it is, and its best val metric."""
    places = {
        file.parents[len(name.parents) - 1]: file.stat().st_mtime
        for name in (Path("config.toml"), LAST)  # a run that is not an epoch old has only its settings
        for file in paths.runs_dir().glob(f"[!.]*/{name}")
    }
    found = [_about(run) for run in sorted(places, key=lambda run: -places[run]) if not run.is_symlink()]
    if render.as_json():
        render.result({"folder": str(paths.runs_dir()), "runs": found}, lines=[])
        return
    rows = []
    for item in (item for item in found if "problem" not in item):
        best = "-" if item["best"] is None else f"{item['select']} {percent(item['best'])}"
        epochs = f"{item['epochs_done']} of {item['epochs']}"
        rows.append((item["name"], item["method"], item["dataset"], epochs, best, item["weights"] or "-"))
    if rows:
        render.table(("run", "method", "dataset", "epochs", "best on val (%)", "weights"), rows)
    for item in (item for item in found if "problem" in item):
        render.warn(f"{item['name']} is damaged: {item['problem']}")
    if not found:
        render.note(f"No run in {paths.runs_dir().absolute()}.")
        render.note("next: focus train --dataset NAME   (focus datasets lists them)")


class Data(BaseModel):
    name: str


class Best(BaseModel):
    epoch: int = 0
    value: FiniteFloat | None = None


class Reached(BaseModel):
    """What is shown of a run; a part of its state.json, which only `engine.checkpoint`, with torch, reads as a whole."""

    config: RunConfig
    data: Data
    history: list[Any] = []
    best: Best = Best()
    weights: str = ""
    files: dict[str, str] = {}


def _about(run: Path) -> dict[str, Any]:
    """What a run's own files say; a damaged one has the key "problem" instead."""
    place = {"name": run.name, "folder": str(run.absolute())}
    file = run / LAST
    try:
        if file.is_file():
            state = checked(Reached, read_json(file), file)
            for tensors in state.files.values():
                if not (file.parent / tensors).is_file():
                    raise InputError(f"{file.parent / tensors} is missing.")
        else:
            settings, _ = build_config([("", read_config_file(run / "config.toml"))])
            state = Reached(config=settings, data=Data(name=Path(settings.data.dataset).name))
    except FocusError as error:
        return place | {"problem": error.problem}
    return place | {
        "method": state.config.model.method,
        "dataset": state.data.name,
        "epochs_done": len(state.history),
        "epochs": state.config.train.epochs,
        "select": state.config.eval.select,
        "best": state.best.value,
        "best_epoch": state.best.epoch or None,
        "weights": state.weights,
    }

"""`focus runs`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from focuscli.cli import render
from focuscli.cli.render import percent
from focuscli.errors import FocusError
from focuscli.storage import paths
from focuscli.storage.documents import read_json, read_toml

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


def _about(run: Path) -> dict[str, Any]:
    """What a run's own files say; a damaged one has the key "problem" instead."""
    place = {"name": run.name, "folder": str(run.absolute())}
    file = run / LAST
    state: dict[str, Any]
    try:
        if not file.is_file():
            file = run / "config.toml"
            state = {
                "config": read_toml(file),
                "history": [],
                "best": {},
                "weights": "",
            }
            state["data"] = {"name": Path(state["config"]["data"]["dataset"]).name}
        else:
            state = read_json(file)
            for tensors in state["files"].values():
                if not (file.parent / tensors).is_file():
                    raise ValueError(f"{tensors} is missing")
        settings, best = state["config"], state["best"]
        return place | {
            "method": str(settings["model"]["method"]),
            "dataset": str(state["data"]["name"]),
            "epochs_done": len(state["history"]),
            "epochs": int(settings["train"]["epochs"]),
            "select": str(settings["eval"]["select"]),
            "best": float(best["value"]) if best.get("value") is not None else None,
            "best_epoch": best.get("epoch") or None,
            "weights": str(state["weights"]),
        }
    except FocusError as error:
        return place | {"problem": error.problem}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        missing = f"no {error}" if isinstance(error, KeyError) else error
        return place | {"problem": f"{file}: {missing}"}

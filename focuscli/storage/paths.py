"""Where datasets, weights and runs are kept, and how the names that a user types resolve to folders. Writes nothing."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import platformdirs

from focuscli.errors import InputError, RequirementError, did_you_mean

ZERO_SHOT = "clip"
"""The checkpoint name of zero-shot CLIP (`-c clip`), which has no run: CLIP's own weights, nothing trained."""
KNOWN_DATASETS = ("peta", "pa100k", "rapv1", "rapv2", "market1501", "synthetic")


def user_path(name: str | Path) -> Path:
    """A path as a user gives it: what exists by that very name (a file may be called ~x.jpg), else ~ is a home folder."""
    return Path(name if os.path.lexists(name) else os.path.expanduser(name))


def argument(path: str | Path) -> str:
    """A path as the commands in hints name it: absolute, so that they survive a `cd`, and quoted for the shell."""
    return shlex.quote(os.path.abspath(path))


_once: str | None = None
"""The home folder that was named for this one command."""


def use_home(folder: str) -> None:
    """Keep datasets and weights of this process in another folder."""
    global _once
    _once = os.environ["FOCUS_HOME"] = folder


def dataset_argument(folder: Path) -> str:
    """A dataset as the commands in hints name it: by its name where a later command finds it by that, else as `argument`."""
    given = os.environ.get("FOCUS_HOME")
    lasting = given is None or (given != _once and os.path.isabs(os.path.expanduser(given)))
    return shlex.quote(folder.name) if lasting and folder.parent == datasets_dir() else argument(folder)


def home() -> Path:
    """`FOCUS_HOME`, else the platform's folder for user data (Linux: ~/.local/share/focus)."""
    return user_path(os.environ.get("FOCUS_HOME") or platformdirs.user_data_dir("focus"))


def datasets_dir() -> Path:
    return home() / "datasets"


def weights_dir() -> Path:
    return home() / "weights"


def runs_dir() -> Path:
    """`FOCUS_RUNS`, else `./runs`."""
    return user_path(os.environ.get("FOCUS_RUNS") or "runs")


def offline() -> bool:
    """Whether `FOCUS_OFFLINE` forbids every download."""
    return os.environ.get("FOCUS_OFFLINE", "").lower() not in ("", "0", "false", "no")


def resolve_dataset(name: str) -> Path:
    """The folder of a dataset given as a folder, a prepared name or a known name.

    Raises:
        InputError: nothing of that name; the hint says what is known and prepared.
    """
    folder = user_path(name)
    for candidate in (folder, datasets_dir() / name):
        if (candidate / "schema.toml").is_file():
            return candidate
    if name in KNOWN_DATASETS:
        hint = f"Prepare it with: focus prepare {name}{'' if name == 'synthetic' else ' FOLDER'}"
    elif folder.is_dir():
        hint = "Make one with: focus prepare csv LABELS.csv --out FOLDER"
    else:
        hint = did_you_mean(name, sorted({*KNOWN_DATASETS, *(folder.name for folder in prepared_datasets())}))
    problem = f'Unknown dataset "{name}": neither a folder with a schema.toml, nor prepared in {datasets_dir()}.'
    raise InputError(problem, hint)


def prepared_datasets() -> list[Path]:
    """The folders of all prepared datasets, by name."""
    return sorted(schema.parent for schema in datasets_dir().glob("[!.]*/schema.toml"))


def run_names() -> list[str]:
    """The names of all runs that have saved a checkpoint."""
    return sorted(path.name for path in runs_dir().glob("[!.]*") if (path / "checkpoints").is_dir())


def run_folder(checkpoint: Path) -> Path:
    """The run folder of a checkpoint folder, or that folder itself if it is not in a run."""
    return checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint


def export_path(checkpoint: Path, *, dynamic: bool = False, int8: bool = False) -> Path:
    """Where `focus export` writes by default: export/model[-dynamic][-int8].onnx in the run folder."""
    name = "model" + ("-dynamic" if dynamic else "") + ("-int8" if int8 else "")
    return run_folder(checkpoint) / "export" / f"{name}.onnx"


def resolve_checkpoint(name: str | None) -> Path:
    """The checkpoint folder (the one that holds state.json) for a run name, run folder, checkpoint folder or `latest`.

    A run resolves to its `best` checkpoint, or to `last` if there is no `best` yet.

    Raises:
        RequirementError: there is no run at all.
        InputError: nothing of that name, or the folder has no checkpoint.
    """
    if name is None or name == "latest":
        states = [s for s in runs_dir().glob("*/checkpoints/*/state.json") if not s.parents[2].is_symlink()]
        if not states:
            raise RequirementError(
                f"No trained model in {runs_dir()}.",
                "Train one (focus train --dataset NAME), or name one with --checkpoint FOLDER.",
            )
        name = str(max(states, key=lambda state: state.stat().st_mtime_ns).parents[2])
    given = user_path(name)
    for run in (given.parent if given.name == "state.json" else given, runs_dir() / name):
        for folder in (run, run / "checkpoints" / "best", run / "checkpoints" / "last"):
            if (folder / "state.json").is_file():
                return folder
    raise InputError(
        f'No checkpoint "{name}": no state.json in it, in checkpoints/best or in checkpoints/last, nor such a run in '
        f"{runs_dir()}.",
        did_you_mean(name, run_names())
        or "Name a run folder that focus train wrote, or omit --checkpoint for the latest run.",
    )

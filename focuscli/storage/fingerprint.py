"""What identifies a trained state: what was made from it can tell whether it still belongs to it. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from focuscli.errors import InputError
from focuscli.storage.files import file_sha256


def checkpoint_fingerprint(folder: Path) -> str:
    """SHA-256 (hex) over all that decides a checkpoint's scores and answers: the model's tensors, its shape and texts,
    and the thresholds.

    Raises:
        InputError: there is no checkpoint in the folder, or it is damaged.
    """
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        meaning = [
            file_sha256(folder / state["files"]["model"]),
            state["config"]["model"],
            state["config"]["data"]["complements"],
            state["schema"],
            state["thresholds"],
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"Checkpoint {folder} is damaged: {error!r}.") from error
    return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()

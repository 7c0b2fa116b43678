"""Fingerprints: what was made from a dataset or a model records one, to tell later whether it still belongs to it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from focuscli.errors import InputError
from focuscli.storage.files import file_sha256


def fingerprint(value: Any) -> str:
    """SHA-256 (hex) of a JSON value; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def checkpoint_fingerprint(folder: Path) -> str:
    """The fingerprint of all that determines a checkpoint's scores and answers: the model's tensors, its shape and texts,
    and the thresholds.

    Raises:
        InputError: there is no checkpoint in the folder, or it is damaged.
    """
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        return fingerprint(
            [
                file_sha256(folder / state["files"]["model"]),
                state["config"]["model"],
                state["config"]["data"]["complements"],
                state["schema"],
                state["thresholds"],
            ]
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"Checkpoint {folder} is damaged: {error!r}.") from error

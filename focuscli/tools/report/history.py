"""The epochs of a run, from metrics.jsonl."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from focuscli.errors import InputError

METRICS_FILE = "metrics.jsonl"


def read_history(run: Path) -> list[dict[str, Any]]:
    """One record per finished epoch, in order; undefined metrics are None. `Trainer` documents the fields.

    Raises:
        InputError: the file is missing, empty or damaged; the message names the line.
    """
    file = run / METRICS_FILE
    resume = f"Rewrite it from the last checkpoint: focus train --resume --run {run}"
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise InputError(f"{run} has no {METRICS_FILE}, so there are no training curves to report.", resume) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read {file}: {error}.", resume) from error
    records = [_record(file, number, line, resume) for number, line in enumerate(lines, start=1) if line.strip()]
    if not records:
        raise InputError(
            f"{file} is empty: no epoch of this run was finished.", f"Resume it: focus train --resume --run {run}"
        )
    return records


def _record(file: Path, number: int, line: str, hint: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{file} line {number} is not JSON: {error.msg}.", hint) from error
    if not isinstance(record, dict) or not isinstance(record.get("epoch"), int):
        raise InputError(f'{file} line {number} is not an epoch: it has no number "epoch".', hint)
    return record

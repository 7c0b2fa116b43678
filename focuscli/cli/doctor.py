"""`focus doctor`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from focuscli.cli import render
from focuscli.errors import CheckFailed


def doctor_command(
    full: Annotated[
        bool, typer.Option("--full", help="Also import torch, torchvision and timm, and hash the weights: 6 s.")
    ] = False,
) -> None:
    """Versions, device, weights, datasets and known traps of this machine."""
    from focuscli.tools.doctor import run_checks

    found = run_checks(full=full)
    lines = []
    for check in found:
        lines.append(f"{check.status:<8} {check.name:<14} {check.detail}")
        if check.fix:
            lines.append(f"{'':<8} {'':<14} -> {check.fix}")
    failed = [check.name for check in found if check.status == "failed"]
    data = {"checks": [asdict(check) for check in found]}
    if not (failed and render.as_json()):
        render.result(data, lines=lines)
    if not full:
        render.note("versions were read, not tried: focus doctor --full imports the packages and hashes the weights")
    if failed:
        problem = f"{len(failed)} of {len(found)} checks failed: {', '.join(failed)}."
        raise CheckFailed(problem, "Each failed check comes with its fix.", data=data)

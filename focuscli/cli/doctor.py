"""`focus doctor`."""

from __future__ import annotations

from dataclasses import asdict

from focuscli.cli import render
from focuscli.cli.app import app
from focuscli.errors import CheckFailed


@app.command("doctor")
def doctor_command() -> None:
    """Versions, device, weights, datasets and known traps of this machine."""
    from focuscli.doctor import checks

    found = checks()
    lines = []
    for check in found:
        lines.append(f"{check.status:<8} {check.name:<14} {check.detail}")
        if check.cure:
            lines.append(f"{'':<8} {'':<14} -> {check.cure}")
    failed = [check.name for check in found if check.status == "failed"]
    if not (failed and render.as_json()):
        render.result({"checks": [asdict(check) for check in found]}, lines=lines)
    if failed:
        raise CheckFailed(
            f"{len(failed)} of {len(found)} checks failed: {', '.join(failed)}.", "Each cure stands above."
        )

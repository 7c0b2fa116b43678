"""Running works one after another, and what becomes of their results."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from datetime import datetime

from focuscli.errors import RequirementError
from focuscli.storage import machine
from focuscli.tools.bench import host
from focuscli.tools.bench.results import Measurement, Missing, Outcome, Results
from focuscli.tools.bench.settings import Settings, check_settings

Tell = Callable[[str, int, int], None]


def run_works(
    works: Sequence[str], settings: Settings, *, command: str, tell: Tell | None = None, now: datetime | None = None
) -> Results:
    """Measure them one after another. Where several are asked for, one that this machine cannot do is noted and left out.

    Args:
        tell: called with (work, done, total) now and then.

    Raises:
        UsageError, RequirementError: a setting that cannot be, or the only work asked for cannot be done here.
    """
    check_settings(settings)
    import torch

    torch.set_num_threads(settings.threads)
    load = machine.load()
    measurements: list[Measurement] = []
    missing: list[Missing] = []
    for work in works:
        module = importlib.import_module(f"focuscli.tools.bench.{work}")
        progress = None if tell is None else (lambda done, total, work=work: tell(work, done, total))
        try:
            outcome: Outcome = module.measure(settings, progress)
        except RequirementError as error:
            if len(works) == 1:
                raise
            outcome = Outcome(missing=(Missing(work=work, name=work, reason=error.problem),))
        measurements += outcome.measurements
        missing += outcome.missing
    return Results(
        command=command,
        settings=settings.record(),
        machine=host.describe(
            settings.device, settings.threads, load_before=load, now=now or datetime.now().astimezone()
        ),
        measurements=tuple(measurements),
        missing=tuple(missing),
    )

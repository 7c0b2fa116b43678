"""Text search over a gallery of synthetic features: exact, and in two stages."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import tempfile
from pathlib import Path
from typing import Any

from focuscli.errors import RequirementError
from focuscli.tools.bench.results import Check, Measurement, Outcome, Ratio, Spread, single
from focuscli.tools.bench.settings import Settings
from focuscli.tools.bench.timing import Progress

EXACT, TWO_STAGE, RECALL = "exact search", "two-stage search", "two-stage recall@100"
CROPS, QUICK_CROPS = 1_000_000, 3_000
BYTES_A_CROP = 15 * 1024
MODULE = "focuscli.tools.gallery.synthetic"


def measure(settings: Settings, progress: Progress | None = None) -> Outcome:
    """Seconds a query by the wall clock, and how much of the exact result the two stages find.

    Raises:
        RequirementError: this version of focus has no gallery, or there is too little space for a synthetic one.
    """
    if importlib.util.find_spec("focuscli.tools.gallery") is None:
        raise RequirementError("This version of focus has no gallery to search.", "Use a version with focus index.")
    synthetic = importlib.import_module(MODULE)
    crops = settings.batch or (QUICK_CROPS if settings.quick else CROPS)
    with tempfile.TemporaryDirectory(prefix="focus-bench-") as folder:
        needed, free = crops * BYTES_A_CROP, shutil.disk_usage(folder).free
        if needed > free:
            raise RequirementError(
                f"A gallery of {crops:,} crops takes {needed / 2**30:.1f} GiB; {folder} has {free / 2**30:.1f}.",
                "Set TMPDIR to a larger disk, or give fewer crops by --batch.",
            )
        gallery = synthetic.make_synthetic_gallery(Path(folder) / "gallery", crops, threads=settings.threads)
        times = synthetic.time_search(
            gallery, rounds=settings.rounds_or(5), threads=settings.threads, device=settings.device
        )
    return Outcome(measurements=tuple(measurements(times)))


def measurements(times: Any) -> list[Measurement]:
    """What `focuscli.tools.gallery.synthetic.SearchTimes` says, as measurements."""
    note = f"{times.crops:,} crops, {times.texts_at_once} text at once, best {times.k}"
    exact, two_stage = (_of_three(row) for row in (times.exact, times.two_stage))
    ratio = Ratio(to=EXACT, spread=Spread.of([two_stage.median / exact.median]))
    mean, least = times.recall
    return [
        Measurement(work="search", name=EXACT, unit="s", spread=exact, clock="wall", note=note),
        Measurement(
            work="search", name=TWO_STAGE, unit="s", spread=two_stage, clock="wall", note=note, ratios=(ratio,)
        ),
        single(
            "search",
            RECALL,
            "share",
            [mean],
            check=Check(
                what="share of the exact result that is not found, mean over queries", difference=1 - mean, bound=0.05
            ),
            note=f"worst query {least:.3f}",
        ),
    ]


def _of_three(row: tuple[float, float, float]) -> Spread:
    """Median, least and most: of single rounds the gallery's own timing keeps no more."""
    median, least, most = row
    return Spread(values=(least, median, most), lower=least, median=median, upper=most)

"""Executing a plan: every run is trained or found, tested, and its figures kept, so that a second call only does the rest."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from focuscli import __version__
from focuscli.data.folder import DatasetFolder, read_folder
from focuscli.data.schema import builtin_schema
from focuscli.errors import InputError
from focuscli.evaluation.closed_set import ThresholdMode, evaluate
from focuscli.evaluation.open_domain import OpenDomainReport, evaluate_open_domain
from focuscli.evaluation.protocols import protocol_named
from focuscli.evaluation.targets import open_target
from focuscli.inference.recognizer import Recognizer
from focuscli.metrics.attributes import finite
from focuscli.models.build import weights_origin
from focuscli.storage import paths
from focuscli.storage.files import write_json
from focuscli.tools.reproduce.plan import OPEN_SCORINGS, Evaluation, Plan, PlannedRun
from focuscli.tools.reproduce.results import Figures, Measured
from focuscli.tools.reproduce.reuse import Found, find_run, identity, run_folders

Progress = Callable[[int, int], None]
ProgressMaker = Callable[[str], AbstractContextManager[Progress]]


@dataclass(frozen=True)
class Tools:
    """What the caller brings.

    Attributes:
        train: trains a run to its end in a folder, from its `last` checkpoint where there is one.
        progress: a context that yields a function of (done, total), by a label. note: a line for the user.
    """

    train: Callable[[PlannedRun, Path], None]
    progress: ProgressMaker
    note: Callable[[str], None]


@dataclass(frozen=True)
class Place:
    """Where a plan is executed: folder of the reproduction, CLIP's weights (None: from scratch), device and precision."""

    out: Path
    weights: Path | None
    device: str = "auto"
    precision: str = "auto"

    @cached_property
    def origin(self) -> str:
        """Of the weights, in a checkpoint's words; reading the file once is enough."""
        return weights_origin(self.weights)


def execute(plan: Plan, place: Place, tools: Tools) -> Iterator[list[Measured]]:
    """Train or find every run and test it; yields all figures so far, first the baselines, then after every run.

    Runs go to out/runs, figures to out/figures; a finished run under the folder of runs is used where it lies.

    Raises:
        Interrupted: from `tools.train`. InputError: an image cannot be read.
    """
    done = _baselines(plan)
    yield done
    others = run_folders(paths.runs_dir())
    for number, run in enumerate(plan.runs, start=1):
        found = _find(plan, run, place, others)
        tools.note(f"[{number}/{len(plan.runs)}] {run.name}: {_spoken(found, place.out)}")
        if run.config is not None and found.state != "finished":
            tools.train(run, found.folder)
        done = [*done, *_test(plan, run, found.folder, place, tools)]
        yield done


def _find(plan: Plan, run: PlannedRun, place: Place, others: Sequence[Path]) -> Found:
    """Where a run is or will be, and how far it is; CLIP as it is needs no folder and counts as finished."""
    if run.config is None or run.dataset is None:
        return Found(place.out / "runs" / run.name, "finished")
    wanted = identity(run.config, plan.datasets[run.dataset].fingerprint, place.origin)
    own = place.out / "runs" / f"{run.name}-{wanted[:8]}"
    return find_run(own, (folder for folder in others if folder != own), wanted)


def _spoken(found: Found, out: Path) -> str:
    if found.state == "new":
        return "training"
    if found.state == "unfinished":
        return "going on with its training"
    return "ready" if found.folder.is_relative_to(out) else f"ready: {found.folder}"


def _test(plan: Plan, run: PlannedRun, folder: Path, place: Place, tools: Tools) -> list[Measured]:
    """All tests of a run; those that were done before are read back."""
    recognizer: Recognizer | None = None
    found = []
    for test in run.evaluations:
        prepared = plan.datasets[test.target]
        file = place.out / "figures" / f"{run.name}-on-{test.target}-{test.scoring}.json"
        told = {
            "focus": __version__,
            "checkpoint": _checkpoint_name(run, folder, place.origin),
            "target": prepared.fingerprint,
        }
        measured = _read_back(file, told)
        if measured is None:
            recognizer = recognizer or _open(run, folder, place)
            data = read_folder(prepared.folder)
            with tools.progress(f"{run.name}: {test.target}, {test.scoring}") as progress:
                measured = _measure(recognizer, data, run, test, folder, progress)
            if measured.failure is None:
                write_json(file, {**told, "measured": vars(measured)})
        found.append(measured)
    return found


def _measure(
    recognizer: Recognizer,
    data: DatasetFolder,
    run: PlannedRun,
    test: Evaluation,
    folder: Path,
    progress: Progress,
) -> Measured:
    common = {"run": run.name, "target": test.target, "scoring": test.scoring, "folder": str(folder)}
    workers = recognizer.config.data.workers
    if test.kind == "closed":
        # POAR's code searches thresholds that maximise the overlap of predicted and true positives.
        report = evaluate(
            recognizer,
            data,
            "test",
            threshold=cast(ThresholdMode, test.scoring),
            criterion="Acc" if test.scoring == "oracle" else None,
            batch_size=recognizer.config.eval.batch_size,
            workers=workers,
            progress=progress,
        )
        return Measured(
            **common, figures=report.metrics, beside={}, how=report.threshold_source, weights=report.weights
        )
    try:
        target = open_target(data, "test", protocol_named(test.scoring))
        opened = evaluate_open_domain(
            recognizer, target, batch_size=recognizer.config.eval.batch_size, workers=workers, progress=progress
        )
    except InputError as error:
        return Measured(**common, figures={}, beside={}, how="", failure=error.problem)
    assert opened.recall is not None
    macro = opened.macro["mean"]["R@1"] if opened.macro else math.nan
    figures = _finite({**opened.recall["mean"], "macro R@1": macro})
    return Measured(
        **common,
        figures=figures,
        beside=_beside(opened),
        how="; ".join(opened.notes),
        weights=recognizer.weights,
    )


def _baselines(plan: Plan) -> list[Measured]:
    """Chance and the image-blind predictor of every prepared target of an open-domain table; labels are enough."""
    if plan.table.kind != "open":
        return []
    found = []
    for name, prepared in plan.datasets.items():
        folder = read_folder(prepared.folder)
        for scoring in OPEN_SCORINGS:
            with contextlib.suppress(InputError):  # the runs on this target say what is wrong with it
                report = evaluate_open_domain(None, open_target(folder, "test", protocol_named(scoring)))
                found.append(Measured("baselines", name, scoring, {}, _beside(report), "", "; ".join(report.notes)))
    return found


def _beside(report: OpenDomainReport) -> Figures:
    found = {f"chance {name}": value for name, value in report.chance["mean"].items()}
    if report.majority is not None:
        found |= {f"blind {name}": value for name, value in report.majority["mean"].items()}
    if report.majority_macro is not None:
        found["blind macro R@1"] = report.majority_macro["mean"]["R@1"]
    return _finite(found)


def _finite(figures: Mapping[str, float]) -> Figures:
    return {name: finite(value) for name, value in figures.items()}


def _open(run: PlannedRun, folder: Path, place: Place) -> Recognizer:
    if run.config is not None:
        return Recognizer.from_checkpoint(folder, device=place.device, precision=place.precision)
    assert place.weights is not None, "a plan from scratch leaves CLIP out"
    schema = builtin_schema("synthetic")  # any: the texts of a test are the target's
    return Recognizer.zero_shot(place.weights, schema, folder=folder, device=place.device, precision=place.precision)


def _checkpoint_name(run: PlannedRun, folder: Path, origin: str) -> str:
    """What tells the tested weights from others: the state of the checkpoint, or CLIP's own origin."""
    if run.config is None:
        return origin
    state = json.loads((folder / "checkpoints" / "best" / "state.json").read_text(encoding="utf-8"))
    data, config = state["data"]["fingerprint"], state["config"]
    return f"{folder.resolve()} step {state['step']} {identity(config, data, state['weights'])}"


def _read_back(file: Path, told: Mapping[str, Any]) -> Measured | None:
    """Figures of an earlier call, where they are of the same checkpoint and data."""
    try:
        saved = json.loads(file.read_text(encoding="utf-8"))
        same = all(saved[name] == value for name, value in told.items())
        return Measured(**saved["measured"]) if same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None

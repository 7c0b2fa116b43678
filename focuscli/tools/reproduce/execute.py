"""Executes a plan: every run is trained or found, tested, and its metrics stored, so that a second call does only the rest."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

from focuscli import __version__
from focuscli.config import RunConfig
from focuscli.data.folder import DatasetFolder, read_folder
from focuscli.data.schema import builtin_schema
from focuscli.engine.checkpoint import read_checkpoint
from focuscli.engine.trainer import out_of_patience
from focuscli.errors import InputError
from focuscli.evaluation.closed_set import ThresholdMode, evaluate
from focuscli.evaluation.open_domain import OpenDomainReport, evaluate_open_domain
from focuscli.evaluation.protocols import protocol_named
from focuscli.evaluation.targets import open_target
from focuscli.inference.recognizer import Recognizer
from focuscli.metrics.attributes import finite
from focuscli.models.build import weights_origin
from focuscli.storage import paths
from focuscli.storage.files import checkpoint_fingerprint, write_json
from focuscli.tools.reproduce.plan import RETRIEVAL_PROTOCOLS, Evaluation, Plan, PlannedRun
from focuscli.tools.reproduce.results import Measured, Metrics
from focuscli.tools.seeds import run_identity

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Executor:
    """Where and how a plan is executed.

    Attributes:
        out: folder of the reproduction: runs in out/runs, metrics in out/metrics.
        weights: CLIP's weight file; None trains from scratch.
        train: trains a run to its end in a folder, from its `last` checkpoint if there is one.
        open_progress: opens a progress bar with a label. on_note: receives a line for the user.
    """

    plan: Plan
    out: Path
    weights: Path | None
    train: Callable[[PlannedRun, Path], None]
    open_progress: Callable[[str], AbstractContextManager[Progress]]
    on_note: Callable[[str], None]
    device: str = "auto"
    precision: str = "auto"

    @cached_property
    def origin(self) -> str:
        """Of the weights, in a checkpoint's words; computed once, because it hashes the file."""
        return weights_origin(self.weights)

    def execute(self) -> Iterator[list[Measured]]:
        """Train or find every run and test it; yields all results so far, first the baselines, then after every run.

        A finished run anywhere under the folder of runs is used where it is.

        Raises:
            Interrupted: from `train`. InputError: an image cannot be read.
        """
        done = list(self._baselines())
        yield done
        others = run_folders(paths.runs_dir())
        for number, run in enumerate(self.plan.runs, start=1):
            folder, state = self._find(run, others)
            if state == "finished":
                does = "finished" if folder.is_relative_to(self.out) else f"found finished in {folder}"
            else:
                does = "training" if state == "new" else "resuming its training"
            self.on_note(f"[{number}/{len(self.plan.runs)}] {run.name}: {does}")
            if state != "finished":
                self.train(run, folder)
            done = [*done, *self._test(run, folder)]
            yield done

    def _find(self, run: PlannedRun, others: Sequence[Path]) -> tuple[Path, str]:
        """Where a run is or will be, and its state; zero-shot CLIP needs no folder and counts as finished."""
        if run.config is None or run.dataset is None:
            return self.out / "runs" / run.name, "finished"
        config = run.config.model_dump(mode="json")
        wanted = run_identity(config, self.plan.datasets[run.dataset].fingerprint, self.origin)
        own = self.out / "runs" / f"{run.name}-{wanted[:8]}"
        return find_run(own, others, wanted)

    def _test(self, run: PlannedRun, folder: Path) -> Iterator[Measured]:
        """All tests of a run; those that were done before are read from their files."""
        recognizer: Recognizer | None = None
        tested = self.origin if run.config is None else checkpoint_fingerprint(folder / "checkpoints" / "best")
        for test in run.evaluations:
            prepared = self.plan.datasets[test.target]
            split = self.plan.table.splits.get(test.target, "test")
            of_split = "" if split == "test" else f"-{split}"
            file = self.out / "metrics" / f"{run.name}-on-{test.target}{of_split}-{test.scoring}.json"
            origin = {"focus": __version__, "checkpoint": tested, "target": prepared.fingerprint}
            measured = _stored(file, origin)
            if measured is None:
                recognizer = recognizer or self._open(run, folder)
                data = read_folder(prepared.folder)
                with self.open_progress(f"{run.name}: {test.target}, {test.scoring}") as progress:
                    measured = _measure(recognizer, data, split, run, test, folder, progress)
                if measured.failure is None:
                    write_json(file, {**origin, "measured": vars(measured)})
            yield measured

    def _baselines(self) -> Iterator[Measured]:
        """Chance and the majority-class baseline of every prepared target of an open-domain table; labels suffice."""
        if self.plan.table.kind != "open":
            return
        for name in self.plan.table.targets:
            if name not in self.plan.datasets:
                continue
            folder = read_folder(self.plan.datasets[name].folder)
            split = self.plan.table.splits.get(name, "test")
            for scoring in RETRIEVAL_PROTOCOLS:
                with contextlib.suppress(InputError):  # The runs on this target say what is wrong with it.
                    report = evaluate_open_domain(None, open_target(folder, split, protocol_named(scoring)))
                    for baseline, metrics in _baseline_metrics(report).items():
                        yield Measured(baseline, name, scoring, metrics, "", "; ".join(report.notes))

    def _open(self, run: PlannedRun, folder: Path) -> Recognizer:
        if run.config is not None:
            return Recognizer.from_checkpoint(folder, device=self.device, precision=self.precision)
        assert self.weights is not None, "a plan from scratch excludes zero-shot CLIP"
        schema = builtin_schema("synthetic")  # Any schema: the texts of a test are the target's.
        return Recognizer.zero_shot(self.weights, schema, folder=folder, device=self.device, precision=self.precision)


def find_run(own: Path, others: Sequence[Path], wanted: str) -> tuple[Path, str]:
    """The folder for a run of identity `wanted`, and its state: "finished", "unfinished" or "new".

    Args:
        own: the planned folder. others: run folders that may hold the same run; only a finished one is used.
    """
    state = run_state(own, wanted)
    if state != "finished":
        for folder in others:
            if folder != own and run_state(folder, wanted) == "finished":
                return folder, "finished"
    return own, state


def run_folders(runs: Path) -> list[Path]:
    """Every run of `focus train` and of earlier `focus reproduce` under a folder of runs, by name."""
    states = [*runs.glob("*/checkpoints/last/state.json"), *runs.glob("*/runs/*/checkpoints/last/state.json")]
    return sorted({state.parents[2] for state in states})


def run_state(folder: Path, wanted: str) -> Literal["finished", "unfinished", "new"]:
    """The state of a run of identity `wanted`; "new" if there is none in the folder, or only a different one."""
    try:
        state = read_checkpoint(folder / "checkpoints" / "last").state
        config = RunConfig.model_validate(state["config"])
        identity = run_identity(config.model_dump(mode="json"), state["data"]["fingerprint"], state["weights"])
        if identity != wanted:
            return "new"
        stopped_early = out_of_patience(state["history"], state["best"]["epoch"], config.train.patience)
        complete = state["epoch"] >= config.train.epochs or stopped_early
    except (InputError, KeyError, TypeError, ValueError):
        return "new"  # No checkpoint yet, or one of another version.
    tested = (folder / "checkpoints" / "best" / "state.json").is_file()
    return "finished" if complete and tested else "unfinished"


def _measure(
    recognizer: Recognizer,
    data: DatasetFolder,
    split: str,
    run: PlannedRun,
    test: Evaluation,
    folder: Path,
    progress: Progress,
) -> Measured:
    batch_size, workers = recognizer.config.eval.batch_size, recognizer.config.data.workers
    place = (run.name, test.target, test.scoring)
    if test.scoring not in RETRIEVAL_PROTOCOLS:
        report = evaluate(
            recognizer,
            data,
            split,
            threshold=cast(ThresholdMode, test.scoring),
            # POAR's code searches thresholds that maximise the overlap of predicted and true positives.
            criterion="Acc" if test.scoring == "oracle" else None,
            batch_size=batch_size,
            workers=workers,
            progress=progress,
        )
        return Measured(*place, report.metrics, str(folder), report.threshold_source, report.weights)
    try:
        target = open_target(data, split, protocol_named(test.scoring))
        opened = evaluate_open_domain(recognizer, target, batch_size=batch_size, workers=workers, progress=progress)
    except InputError as error:
        return Measured(*place, {}, str(folder), "", failure=error.problem)
    return Measured(*place, _retrieval_metrics(opened), str(folder), "; ".join(opened.notes), recognizer.weights)


def _retrieval_metrics(report: OpenDomainReport) -> Metrics:
    """R@K, macro R@1, and the average precision of seen and unseen texts beside their prevalence."""
    assert report.recall is not None
    metrics: dict[str, float | None] = {**report.recall["mean"]}
    metrics["macro R@1"] = report.macro["mean"]["R@1"] if report.macro else None
    for kind in ("seen", "unseen"):
        for name in ("AP", "prevalence"):
            metrics[f"{name} {kind}"] = report.ranking.get(kind, {}).get(name)
    return {name: None if value is None else finite(value) for name, value in metrics.items()}


def _baseline_metrics(report: OpenDomainReport) -> dict[str, Metrics]:
    baselines = {"chance": dict(report.chance["mean"])}
    if report.majority is not None:
        macro = {"macro R@1": report.majority_macro["mean"]["R@1"]} if report.majority_macro is not None else {}
        baselines["majority-class baseline"] = {**report.majority["mean"], **macro}
    return {baseline: {name: finite(value) for name, value in row.items()} for baseline, row in baselines.items()}


def _stored(file: Path, origin: Mapping[str, Any]) -> Measured | None:
    """The result of an earlier call, if it is of the same checkpoint and data."""
    try:
        saved = json.loads(file.read_text(encoding="utf-8"))
        same = all(saved[name] == value for name, value in origin.items())
        return Measured(**saved["measured"]) if same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None

"""Executes a plan: every run is trained or found, tested, and its metrics stored, so that a second call does only the rest."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from focuscli import __version__
from focuscli.config import RunConfig
from focuscli.engine.checkpoint import read_checkpoint
from focuscli.engine.scoring import Progress
from focuscli.engine.trainer import out_of_patience
from focuscli.errors import InputError
from focuscli.evaluation.closed_set import evaluate
from focuscli.evaluation.open_domain import evaluate_open_domain
from focuscli.evaluation.protocols import protocol_named
from focuscli.evaluation.targets import open_target
from focuscli.inference.recognizer import Recognizer
from focuscli.models.build import weights_origin
from focuscli.storage import paths
from focuscli.storage.documents import read_json
from focuscli.storage.files import checkpoint_fingerprint, write_json
from focuscli.tools.reproduce.plan import RETRIEVAL_PROTOCOLS, Plan, PlannedRun
from focuscli.tools.reproduce.results import Measured
from focuscli.tools.seeds import run_identity

State = Literal["finished", "unfinished", "new"]


@dataclass(frozen=True)
class Executor:
    """Where and how a plan is executed.

    Attributes:
        out: has the runs in out/runs, the metrics in out/metrics. weights: CLIP's weight file; None: from scratch.
        train: trains a run to its end in a folder, from its `last` checkpoint if there is one.
        open_model: opens a run, or with the weights zero-shot CLIP in the name of a folder.
    """

    plan: Plan
    out: Path
    weights: Path | None
    train: Callable[[RunConfig, Path], None]
    open_model: Callable[[Path, Path | None], Recognizer]
    open_progress: Callable[[str], AbstractContextManager[Progress]]
    on_note: Callable[[str], None]

    @cached_property
    def origin(self) -> str:
        return weights_origin(self.weights)  # hashes the file

    def execute(self) -> Iterator[list[Measured]]:
        """Train or find every run and test it; yields all results so far, first the baselines, then after every run.

        A finished run anywhere under the folder of runs is used where it is.

        Raises:
            Interrupted: from `train`. InputError: an image cannot be read.
        """
        done = [*self._baselines()]
        yield done
        does = {"finished": "finished", "new": "training", "unfinished": "resuming its training"}
        for number, run in enumerate(self.plan.runs, start=1):
            folder, state = self.out / "runs" / run.name, "finished"  # as zero-shot CLIP, which needs no folder
            if run.config is not None:
                data = self.plan.datasets[str(run.dataset)].fingerprint
                identity = run_identity(run.config.model_dump(mode="json"), data, self.origin)
                folder, state = find_run(folder.with_name(f"{run.name}-{identity[:8]}"), identity)
            found = does[state] if folder.is_relative_to(self.out) else f"found finished in {folder}"
            self.on_note(f"[{number}/{len(self.plan.runs)}] {run.name}: {found}")
            if run.config is not None and state != "finished":
                self.train(run.config, folder)
            done = [*done, *self._tests(run, folder)]
            yield done

    def _tests(self, run: PlannedRun, folder: Path) -> Iterator[Measured]:
        """All tests of a run; those that were done before are read from their files."""
        recognizer: Recognizer | None = None
        tested = self.origin if run.config is None else checkpoint_fingerprint(folder / "checkpoints" / "best")
        for target, scoring in run.tests:
            split = self._split(target)
            of_split = "" if split == "test" else f"-{split}"
            file = self.out / "metrics" / f"{run.name}-on-{target}{of_split}-{scoring}.json"
            data = self.plan.datasets[target].fingerprint
            origin = {"focus": __version__, "checkpoint": tested, "target": data}
            measured = _stored(file, origin)
            if measured is None:
                recognizer = recognizer or self.open_model(folder, self.weights if run.config is None else None)
                measured = self._measure(recognizer, run.name, target, scoring, str(folder))
                if measured.failure is None:
                    write_json(file, {**origin, "measured": vars(measured)})
            yield measured

    def _measure(self, recognizer: Recognizer, run: str, target: str, scoring: str, folder: str) -> Measured:
        data, split, workers = self.plan.datasets[target], self._split(target), recognizer.config.data.workers
        with self.open_progress(f"{run}: {target}, {scoring}") as progress:
            if scoring not in RETRIEVAL_PROTOCOLS:
                # Of "oracle", POAR's code searches thresholds that maximise the overlap of predicted and true positives.
                report = evaluate(
                    recognizer, data, split, threshold=scoring, criterion="Acc", workers=workers, progress=progress
                )
                return Measured(run, target, scoring, report.metrics, folder, report.threshold_source, report.weights)
            try:
                texts = open_target(data, split, protocol_named(scoring))
                opened = evaluate_open_domain(recognizer, texts, workers=workers, progress=progress)
            except InputError as error:
                return Measured(run, target, scoring, {}, folder, "", failure=error.problem)
            # The average precision of seen and unseen texts stands beside their prevalence.
            parts = [(kind, name) for kind in ("seen", "unseen") for name in ("AP", "prevalence")]
            ranking = {f"{name} {kind}": opened.ranking.get(kind, {}).get(name) for kind, name in parts}
            metrics = opened.means()["source"] | ranking
            return Measured(run, target, scoring, metrics, folder, "; ".join(opened.notes), recognizer.weights)

    def _baselines(self) -> Iterator[Measured]:
        """Chance and the majority-class baseline of every prepared target of an open-domain table; labels suffice."""
        targets = self.plan.table.targets if self.plan.table.kind == "open" else ()
        for name in (target for target in targets if target in self.plan.datasets):
            for scoring in RETRIEVAL_PROTOCOLS:
                with contextlib.suppress(InputError):  # The runs on this target say what is wrong with it.
                    target = open_target(self.plan.datasets[name], self._split(name), protocol_named(scoring))
                    report = evaluate_open_domain(None, target)
                    for baseline, metrics in report.means().items():
                        yield Measured(baseline, name, scoring, metrics, "", "; ".join(report.notes))

    def _split(self, target: str) -> str:
        return self.plan.table.splits.get(target, "test")


def find_run(own: Path, wanted: str) -> tuple[Path, State]:
    """The folder for a run of identity `wanted`, and its state.

    Any finished run of `focus train` or `focus reproduce` under the folder of runs will do; else it is `own`.
    """
    runs = paths.runs_dir()
    states = [*runs.glob("*/checkpoints/last/state.json"), *runs.glob("*/runs/*/checkpoints/last/state.json")]
    for folder in [own, *sorted(state.parents[2] for state in states)]:
        if run_state(folder, wanted) == "finished":
            return folder, "finished"
    return own, run_state(own, wanted)


def run_state(folder: Path, wanted: str) -> State:
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


_MEASURED = TypeAdapter(Measured)


def _stored(file: Path, origin: Mapping[str, Any]) -> Measured | None:
    """The result of an earlier call, if it is of the same checkpoint and data."""
    try:
        saved = read_json(file)
        same = all(saved[name] == value for name, value in origin.items())
        return _MEASURED.validate_python(saved["measured"]) if same else None
    except (InputError, KeyError, TypeError, ValueError):
        return None

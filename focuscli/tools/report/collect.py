"""From run folders to the content of a report: everything is computed here, nothing is rendered."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from focuscli.config import SCRATCH
from focuscli.data.folder import DatasetFolder, read_folder
from focuscli.engine.checkpoint import read_checkpoint
from focuscli.errors import InputError
from focuscli.evaluation.closed_set import EvaluationReport, LabelledSplit, ThresholdMode, evaluate, label_split
from focuscli.inference.recognizer import Recognizer
from focuscli.storage.paths import resolve_checkpoint, resolve_dataset
from focuscli.tools.report.curves import AttributeCurve, CommonCurve, attribute_curves, common_curve, threshold_grid
from focuscli.tools.report.history import read_history
from focuscli.tools.report.limits import is_detailed, picture_budget
from focuscli.tools.report.mistakes import Mistake, confident_mistakes
from focuscli.tools.report.pictures import picture_mistakes
from focuscli.tools.report.scores import split_scores
from focuscli.tools.report.similarity import BeforeAndAfter, before_and_after

SOURCES: tuple[ThresholdMode, ...] = ("val", "global", "oracle")
Progress = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


@dataclass(frozen=True)
class Options:
    """What is collected.

    Attributes:
        dataset: name or folder; None: the one that the run was trained on, which must be unchanged.
        errors: most confident errors per attribute and kind; 0 shows none.
        crops: whether pictures of the data set enter the report.
        similarity_images: so many images of the split, evenly spread, for the similarities.
    """

    dataset: str | None = None
    split: str = "test"
    errors: int = 3
    crops: bool = True
    similarity_images: int = 256
    device: str = "auto"
    precision: str = "auto"
    workers: int = 2


@dataclass(frozen=True)
class DataFacts:
    """The data that the figures are of; `foreign` where it is not what the run was trained on."""

    name: str
    title: str
    fingerprint: str
    counts: dict[str, int]
    persons: int
    attributes: int
    evaluated: int
    foreign: bool


@dataclass(frozen=True)
class RunReport:
    """All that the page says about one run.

    Attributes:
        state: the checkpoint's state.json. environment: env.json, empty where there is none.
        evaluations: figures by the source of their thresholds: "val", "global" and "oracle".
        mistakes: per attribute, in schema order.
        positive_rates: per attribute, share of positives among the split's known labels.
        similarities: None where the run has no attention over Mix Tokens.
    """

    name: str
    folder: Path
    state: dict[str, Any]
    environment: dict[str, Any]
    history: list[dict[str, Any]]
    data: DataFacts
    evaluations: dict[str, EvaluationReport]
    positive_rates: list[float | None]
    common: CommonCurve
    curves: list[AttributeCurve]
    mistakes: list[list[Mistake]]
    similarities: BeforeAndAfter | None
    crops: bool

    @property
    def scratch(self) -> bool:
        return self.state["weights"] == SCRATCH

    @property
    def main(self) -> EvaluationReport:
        """The evaluation with thresholds per attribute from val, which every part shows that names no other."""
        return self.evaluations["val"]


def collect(runs: Sequence[str], options: Options, progress: Progress) -> list[RunReport]:
    """Everything about some runs. All inputs are looked at before the first image is scored.

    Args:
        runs: names or folders of runs, as for --checkpoint. progress: opens a named progress bar.

    Raises:
        InputError: no such run; a run without metrics or thresholds; its data set is gone, has changed or has other attributes.
        RequirementError: there is no run at all, or no such device.
    """
    opened = [_open(name, options) for name in runs]
    names = short_names([run.resolve() for _, run, _, _ in opened])
    attributes = max(len(data.schema.evaluated) for *_, data in opened)
    errors = options.errors if is_detailed(len(opened)) else min(1, options.errors)
    options = replace(options, errors=errors)
    budget = picture_budget(len(opened), attributes, errors) if options.crops else 0
    return [_collect(name, *parts, options, budget, progress) for name, parts in zip(names, opened, strict=True)]


def short_names(folders: Sequence[Path]) -> list[str]:
    """Each folder's last parts, as few as tell them all apart."""
    depth = 1
    while depth < max(len(folder.parts) for folder in folders):
        names = ["/".join(folder.parts[-depth:]) for folder in folders]
        if len(set(names)) == len(set(folders)):
            return names
        depth += 1
    return [str(folder) for folder in folders]


def _open(name: str, options: Options) -> tuple[Path, Path, list[dict[str, Any]], DatasetFolder]:
    checkpoint = resolve_checkpoint(name)
    if checkpoint.parent.name != "checkpoints":
        raise InputError(
            f"{checkpoint} is a checkpoint outside of a run folder: its training curves are not there.",
            "Name the folder that focus train wrote, with metrics.jsonl and checkpoints/ in it.",
        )
    run = checkpoint.parent.parent
    state = read_checkpoint(checkpoint).state
    history = read_history(run)
    if not state.get("thresholds"):
        raise InputError(
            f"Run {run} was never evaluated on val, so it has no thresholds yet.",
            f"Go on with it: focus train --resume --run {run}",
        )
    return checkpoint, run, history, _dataset(run, state, options)


def _dataset(run: Path, state: Mapping[str, Any], options: Options) -> DatasetFolder:
    """The data set that is reported on; one that was not asked for by name must be the one of the training."""
    if options.dataset is not None:
        return read_folder(resolve_dataset(options.dataset))
    trained = state["data"]
    again = f"focus report {run} --dataset"
    folder = Path(trained["folder"])
    if not (folder / "schema.toml").is_file():
        raise InputError(
            f"The data set of run {run} is gone: {trained['name']} was in {folder}.",
            f"Say where it is now: {again} NAME|FOLDER",
        )
    data = read_folder(folder)
    if data.fingerprint != trained["fingerprint"]:
        raise InputError(
            f"Data set {folder} has changed since run {run} was trained "
            f"(fingerprint {trained['fingerprint'][:12]}, now {data.fingerprint[:12]}).",
            f"Restore it, or report on it as it is, marked as other data: {again} {folder}",
        )
    return data


def _collect(
    name: str,
    checkpoint: Path,
    run: Path,
    history: list[dict[str, Any]],
    data: DatasetFolder,
    options: Options,
    budget: int,
    progress: Progress,
) -> RunReport:
    recognizer = Recognizer.from_checkpoint(checkpoint, device=options.device, precision=options.precision)
    labelled = label_split(recognizer, data, options.split)
    with progress(f"scoring {data.schema.name} {options.split}") as step:
        scores = split_scores(
            recognizer, data, options.split, labelled, run / "eval", workers=options.workers, progress=step
        )
    evaluations: dict[str, EvaluationReport] = {
        mode: evaluate(recognizer, data, options.split, threshold=mode, scores=scores) for mode in SOURCES
    }
    grid = threshold_grid(scores)
    marks: dict[str, Sequence[float]] = {
        mode: [row.threshold for row in evaluations[mode].attributes] for mode in SOURCES
    }
    names = [(text.attribute or text.phrase, text.phrase) for text in labelled.texts]
    truth, known = labelled.truth, labelled.known
    mistakes = confident_mistakes(
        truth, scores, known, marks["val"], [data.images[index] for index in labelled.indices], options.errors
    )
    if options.crops:
        mistakes = picture_mistakes(recognizer, mistakes, labelled.paths, labelled.texts, budget)
    with progress("attention before and after training") as step:
        similarities = before_and_after(
            recognizer, _spread(labelled, options.similarity_images), workers=options.workers, progress=step
        )
    return RunReport(
        name=name,
        folder=run,
        state=read_checkpoint(checkpoint).state,
        environment=_environment(run),
        history=history,
        data=_facts(data, foreign=data.fingerprint != recognizer.data_fingerprint),
        evaluations=evaluations,
        positive_rates=[
            float(truth[known[:, z], z].mean()) if known[:, z].any() else None for z in range(truth.shape[1])
        ],
        common=common_curve(truth, scores, known, {"global": recognizer.global_threshold}, grid),
        curves=attribute_curves(truth, scores, known, names, marks, grid),
        mistakes=mistakes,
        similarities=similarities,
        crops=options.crops,
    )


def _spread(labelled: LabelledSplit, most: int) -> list[Path]:
    """At most so many images of a split, evenly spread over its order."""
    count = len(labelled.paths)
    chosen = np.linspace(0, count - 1, min(most, count)).round().astype(int)
    return [labelled.paths[index] for index in chosen]


def _facts(data: DatasetFolder, *, foreign: bool) -> DataFacts:
    return DataFacts(
        name=data.schema.name,
        title=data.schema.title,
        fingerprint=data.fingerprint,
        counts=data.counts,
        persons=len(set(data.persons.tolist()) - {""}),
        attributes=len(data.schema.attributes),
        evaluated=len(data.schema.evaluated),
        foreign=foreign,
    )


def _environment(run: Path) -> dict[str, Any]:
    """env.json; a run that lost it is reported without."""
    try:
        found = json.loads((run / "env.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

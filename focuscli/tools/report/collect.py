"""From run folders to the content of a report: everything is computed here, nothing is rendered."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from focuscli.config import SCRATCH
from focuscli.data.folder import DatasetFolder, read_folder
from focuscli.engine.checkpoint import read_checkpoint
from focuscli.errors import InputError
from focuscli.evaluation.closed_set import AttributeMetrics, EvaluationReport, ThresholdMode, evaluate, label_split
from focuscli.inference.recognizer import Recognizer
from focuscli.storage.paths import resolve_checkpoint, resolve_dataset
from focuscli.tools.report.curves import AttributeCurve, CommonCurve, attribute_curve, common_curve, threshold_grid
from focuscli.tools.report.error_gallery import PredictionError, confident_errors, with_pictures
from focuscli.tools.report.similarity import BeforeAndAfter, before_and_after

SOURCES: tuple[ThresholdMode, ...] = ("val", "global", "oracle")
Progress = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
MAX_PAGE_BYTES = 3_000_000
DETAILED_RUNS = 4  # More runs on one page come without the curves and errors of each attribute.
TOP_ERRORS = 12  # Errors shown of all attributes together; they repeat some of the attributes' own.
SIMILARITY_IMAGES = 256  # Images of the split, evenly spaced, on which similarities are measured.


@dataclass(frozen=True)
class RunReport:
    """All that a report says about one run.

    Attributes:
        state: the checkpoint's state.json. environment: env.json, empty if there is none.
        evaluations: metrics by the source of their thresholds: "val", "global" and "oracle".
        curves, errors: one entry per attribute, in schema order.
        similarities: None if the run has no attention over Mix Tokens.
    """

    name: str
    state: dict[str, Any]
    environment: dict[str, Any]
    history: list[dict[str, Any]]
    data: DatasetFolder
    evaluations: dict[str, EvaluationReport]
    common: CommonCurve
    curves: list[AttributeCurve]
    errors: list[list[PredictionError]]
    similarities: BeforeAndAfter | None
    crops: bool

    @property
    def scratch(self) -> bool:
        return self.state["weights"] == SCRATCH

    @property
    def main(self) -> EvaluationReport:
        """The evaluation with one threshold per attribute from val, which holds wherever no other is named."""
        return self.evaluations["val"]

    @property
    def foreign(self) -> bool:
        """Whether the data are not what the run was trained on."""
        return self.data.fingerprint != self.state["data"]["fingerprint"]

    @property
    def persons(self) -> int:
        """Number of known persons in the data."""
        return len(set(self.data.persons.tolist()) - {""})

    @property
    def regions(self) -> list[tuple[str, list[tuple[AttributeMetrics, float | None]]]]:
        """Attributes by region, from head to foot, the best mA first, each with the share of positive images."""
        rows = [(row, curve.positive_rate) for row, curve in zip(self.main.attributes, self.curves, strict=True)]
        rows.sort(key=lambda pair: -(pair[0].mA or 0.0))
        order = dict.fromkeys([*self.data.schema.regions, *(row.region for row, _ in rows)])
        grouped = [(region, [pair for pair in rows if pair[0].region == region]) for region in order]
        return [(region, members) for region, members in grouped if members]

    @property
    def token_names(self) -> list[str]:
        """Global Mix Tokens g1, g2, ..., then local ones l1, l2, ... from the top of the image to its bottom."""
        model = self.state["config"]["model"]
        counts = (("g", model["global_tokens"]), ("l", model["local_tokens"]))
        return [f"{kind}{number + 1}" for kind, count in counts for number in range(count)]


def collect(
    runs: Sequence[str],
    progress: Progress,
    *,
    dataset: str | None = None,
    split: str = "test",
    errors: int = 3,
    crops: bool = True,
    device: str = "auto",
    precision: str = "auto",
    workers: int = 2,
) -> list[RunReport]:
    """Everything about some runs. All inputs are checked before the first image is scored.

    Args:
        runs: names or folders of runs, as for --checkpoint. progress: opens a named progress bar.
        dataset: name or folder; None: the one that the run was trained on, which must be unchanged.
        errors: most confident errors per attribute and kind; 0 shows none.
        crops: whether pictures of the dataset enter the report.

    Raises:
        InputError: no such run; a run without metrics or thresholds; its dataset is gone, has changed or has other
            attributes.
        RequirementError: there is no run at all, or no such device.
    """
    opened = [_open(name, dataset) for name in runs]
    names = short_names([checkpoint.parent.parent.resolve() for checkpoint, _, _ in opened])
    if len(opened) > DETAILED_RUNS:
        errors = min(1, errors)
    # Pictures may take what the rest of the page, which grows with the attributes, leaves of each run's share.
    rest = 200_000 + 10_000 * max(len(data.schema.evaluated) for *_, data in opened)
    picture_bytes = int(0.95 * MAX_PAGE_BYTES / len(opened)) - rest if crops else None
    reports = []
    for name, (checkpoint, history, data) in zip(names, opened, strict=True):
        recognizer = Recognizer.from_checkpoint(checkpoint, device=device, precision=precision)
        reports.append(_report(name, recognizer, history, data, split, errors, picture_bytes, workers, progress))
    return reports


def short_names(folders: Sequence[Path]) -> list[str]:
    """Each folder's last parts, as few as make them differ."""
    depth = 1
    while depth < max(len(folder.parts) for folder in folders):
        names = ["/".join(folder.parts[-depth:]) for folder in folders]
        if len(set(names)) == len(set(folders)):
            return names
        depth += 1
    return [str(folder) for folder in folders]


def read_history(run: Path) -> list[dict[str, Any]]:
    """metrics.jsonl: one record per finished epoch, in order; undefined metrics are None. `Trainer` documents the fields.

    Raises:
        InputError: the file is missing, empty or damaged; the message names the line.
    """
    file = run / "metrics.jsonl"
    hint = f"Rewrite it from the last checkpoint: focus train --resume --run {run}"
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise InputError(f"{run} has no {file.name}, so there are no training curves to report.", hint) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read {file}: {error}.", hint) from error
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{file} line {number} is not JSON: {error.msg}.", hint) from error
        if not isinstance(record, dict) or not isinstance(record.get("epoch"), int):
            raise InputError(f'{file} line {number} is not an epoch: it has no number "epoch".', hint)
        records.append(record)
    if not records:
        hint = f"Resume it: focus train --resume --run {run}"
        raise InputError(f"{file} is empty: no epoch of this run was finished.", hint)
    return records


def _open(name: str, dataset: str | None) -> tuple[Path, list[dict[str, Any]], DatasetFolder]:
    """Checkpoint, history and dataset of a run."""
    checkpoint = resolve_checkpoint(name)
    if checkpoint.parent.name != "checkpoints":
        raise InputError(
            f"{checkpoint} is a checkpoint outside of a run folder, so its training curves are not there.",
            "Name the folder that focus train wrote, with metrics.jsonl and checkpoints/ in it.",
        )
    run = checkpoint.parent.parent
    state = read_checkpoint(checkpoint).state
    history = read_history(run)
    if not state.get("thresholds"):
        raise InputError(
            f"Run {run} was never evaluated on val, so it has no thresholds yet.",
            f"Resume it: focus train --resume --run {run}",
        )
    return checkpoint, history, _dataset(run, state, dataset)


def _dataset(run: Path, state: Mapping[str, Any], named: str | None) -> DatasetFolder:
    """The dataset to report on; unless it was named, it must be exactly the one of the training."""
    if named is not None:
        return read_folder(resolve_dataset(named))
    trained = state["data"]
    folder = Path(trained["folder"])
    if not (folder / "schema.toml").is_file():
        raise InputError(
            f"The dataset of run {run} is gone: {trained['name']} was in {folder}.",
            f"Say where it is now: focus report {run} --dataset NAME|FOLDER",
        )
    data = read_folder(folder)
    if data.fingerprint != trained["fingerprint"]:
        raise InputError(
            f"Dataset {folder} has changed since run {run} was trained "
            f"(fingerprint {trained['fingerprint'][:12]}, now {data.fingerprint[:12]}).",
            f"Restore it, or report on it as other data: focus report {run} --dataset {folder}",
        )
    return data


def _report(
    name: str,
    recognizer: Recognizer,
    history: list[dict[str, Any]],
    data: DatasetFolder,
    split: str,
    errors: int,
    picture_bytes: int | None,
    workers: int,
    progress: Progress,
) -> RunReport:
    run = recognizer.folder.parent.parent
    labelled = label_split(recognizer, data, split)
    truth, known = labelled.truth, labelled.known
    with progress(f"scoring {data.schema.name} {split}") as step:
        scores = recognizer.score_files(labelled.paths, labelled.texts, workers=workers, progress=step)
    evaluations: dict[str, EvaluationReport] = {
        mode: evaluate(recognizer, data, split, threshold=mode, scores=scores) for mode in SOURCES
    }
    attributes = evaluations["val"].attributes
    images = [data.images[index] for index in labelled.indices]
    thresholds = [attribute.threshold for attribute in attributes]
    found = confident_errors(truth, scores, known, thresholds, images, errors)
    if picture_bytes is not None:
        found = with_pictures(recognizer, found, labelled.paths, labelled.texts, picture_bytes)
    with progress("attention before and after training") as step:
        count = len(labelled.paths)
        chosen = np.linspace(0, count - 1, min(SIMILARITY_IMAGES, count)).round().astype(int)
        paths = [labelled.paths[index] for index in chosen]
        similarities = before_and_after(recognizer, paths, workers=workers, progress=step)
    grid = threshold_grid(scores)
    curves = []
    for column, attribute in enumerate(attributes):
        sources = {source: row.attributes[column].threshold for source, row in evaluations.items()}
        labels, values = truth[known[:, column], column], scores[known[:, column], column]
        curves.append(attribute_curve(labels, values, attribute.phrase, attribute.region, sources, grid))
    return RunReport(
        name=name,
        state=read_checkpoint(recognizer.folder).state,
        environment=_environment(run),
        history=history,
        data=data,
        evaluations=evaluations,
        common=common_curve(truth, scores, known, {"global": recognizer.global_threshold}, grid),
        curves=curves,
        errors=found,
        similarities=similarities,
        crops=picture_bytes is not None,
    )


def _environment(run: Path) -> dict[str, Any]:
    """env.json; a run that lost it is reported without."""
    try:
        environment = json.loads((run / "env.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return environment if isinstance(environment, dict) else {}

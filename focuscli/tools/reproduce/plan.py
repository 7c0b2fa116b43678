"""From a table, the prepared datasets and the settings to the matrix of runs that answers it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from focuscli.config import METHODS, RunConfig, build_config, parse_override, stacked, without
from focuscli.errors import InputError, UsageError
from focuscli.storage import paths
from focuscli.storage.paths import ZERO_SHOT
from focuscli.tools.reproduce.tables import Row, Table, official
from focuscli.tools.seeds import NEUTRAL_SETTINGS

Layers = Sequence[tuple[str, Mapping[str, Any]]]
ProtocolName = Literal["ours", "paper", "both"]
PROTOCOLS: tuple[ProtocolName, ...] = ("ours", "paper", "both")
RETRIEVAL_PROTOCOLS = ("corrected", "poar")
CLOSED_SET_ONLY = ("vtb",)
"""Methods with one classifier per trained attribute, which cannot score other texts."""


@dataclass(frozen=True)
class Settings:
    """What a user chooses.

    Attributes:
        layers: configuration from --config, flags and --set, in this order.
        protocol: "ours" trains on train and takes thresholds from val; "paper" trains on train + val if there is a val,
            and chooses thresholds on the test images themselves, as POAR's code does.
        methods, datasets: names to keep; empty keeps all of the table.
    """

    layers: Layers = ()
    seeds: tuple[int, ...] = (0,)
    protocol: ProtocolName = "ours"
    methods: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """A prepared dataset: images per split, how it was split (as prepare.json says), and whether it has any images."""

    name: str
    folder: Path
    fingerprint: str
    counts: Mapping[str, int]
    split: str | None = None
    images: bool = True


@dataclass(frozen=True)
class Excluded:
    """What a table needs and the plan does not include: what, why, and the command that fixes it, if any."""

    what: str
    why: str
    fix: str | None = None

    def __str__(self) -> str:
        return f"{self.what}: {self.why}" + (f"; {self.fix}" if self.fix else "")


class Evaluation(NamedTuple):
    """A test of a run. `scoring`: closed set: the source of the thresholds, "val" or "oracle"; open domain: a preset of
    `focuscli.evaluation.protocols`."""

    target: str
    scoring: str


@dataclass(frozen=True)
class PlannedRun:
    """A training with its tests. For zero-shot CLIP nothing is trained: dataset, split, seed and config are None.

    Attributes:
        rows: keys of the rows that it answers.
        protocols: whose protocol it is trained for: "ours", "paper" or, if both train alike, both.
    """

    name: str
    method: str
    dataset: str | None
    train_split: Literal["train", "trainval"] | None
    seed: int | None
    config: RunConfig | None
    usual: RunConfig | None
    evaluations: tuple[Evaluation, ...]
    rows: tuple[tuple[str, str | None], ...]
    protocols: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """Runs in the order in which they are executed; what is excluded; and in what the runs differ from the paper's."""

    table: Table
    runs: tuple[PlannedRun, ...]
    excluded: tuple[Excluded, ...]
    datasets: Mapping[str, Prepared]
    deviations: tuple[str, ...] = ()


def find_datasets(names: Iterable[str], places: Mapping[str, str]) -> tuple[dict[str, Prepared], list[Excluded]]:
    """The datasets of these names that are prepared, and what is missing.

    Args:
        places: name -> folder or name of a prepared dataset, if it is not the one of that name.

    Raises:
        InputError: a place that was named is not a dataset.
    """
    from focuscli.data.folder import read_folder

    found: dict[str, Prepared] = {}
    excluded = []
    for name in names:
        prepare = f"focus prepare {name} FOLDER" if name in official() else f"--datasets {name}=FOLDER"
        try:
            path = paths.resolve_dataset(places.get(name, name))
        except InputError:
            if name in places:
                raise
            excluded.append(Excluded(name, "not prepared", prepare))
            continue
        folder = read_folder(path)
        images = not folder.info.get("labels_only") and any(
            folder.image_path(number).is_file() for number in range(len(folder.images))
        )
        split = folder.info.get("split")
        found[name] = Prepared(
            name, path.resolve(), folder.fingerprint, folder.counts, str(split) if split else None, images
        )
        if not images:
            excluded.append(Excluded(name, "labels only, no images", f"{prepare} --force, with the images in FOLDER"))
    return found, excluded


def make_plan(
    table: Table, datasets: Mapping[str, Prepared], settings: Settings, missing: Sequence[Excluded] = ()
) -> Plan:
    """The runs that a table needs.

    Args:
        datasets: by name; those without images only give the baselines. missing: what `find_datasets` excluded.

    Raises:
        UsageError: a method or dataset that the table does not have, or a wrong setting.
    """
    _check_names("method", settings.methods, table.methods, table)
    _check_names("dataset", settings.datasets, table.datasets, table)
    runs: dict[str, PlannedRun] = {}
    excluded = dict.fromkeys(missing)
    for row in table.rows:
        if row.method is None or (settings.methods and row.method not in settings.methods):
            continue
        if reason := _impossible(table, row, settings):
            excluded[reason] = None
            continue
        for run in _runs(table, row, datasets, settings):
            runs[run.name] = _merged(runs[run.name], run) if run.name in runs else run
    plan = Plan(table, tuple(runs.values()), tuple(excluded), dict(datasets))
    return replace(plan, deviations=tuple(_deviations(plan, settings)))


def _runs(table: Table, row: Row, datasets: Mapping[str, Prepared], settings: Settings) -> Iterator[PlannedRun]:
    """All seeds of a row under each protocol; none if its dataset or all its targets are missing."""
    targets = [name for name in table.targets_of(row) if name in datasets and datasets[name].images]
    method = str(row.method)
    if row.dataset is None:
        tests = _evaluations(table, targets, "ours")
        if tests:
            yield PlannedRun(method, method, None, None, None, None, None, tests, (row.key,), ("ours",))
        return
    data = datasets.get(row.dataset)
    if data is None or not data.images or not targets:
        return
    off = ["without", *row.without] if row.without else []
    changes: Layers = [("table", parse_override(text)) for text in row.set]
    own: Layers = [("table", {"model": {"method": method}}), ("ablation", without(row.without)), *changes]
    for seed in settings.seeds:
        for protocol in ("ours", "paper") if settings.protocol == "both" else (settings.protocol,):
            split: Literal["train", "trainval"] = "train"
            if protocol == "paper" and data.counts.get("val"):
                split = "trainval"
            place = {"data": {"dataset": str(data.folder), "train_split": split}, "train": {"seed": seed}}
            config = build_config(stacked([*settings.layers, *own, ("table", place)]))[0]
            values = [text.partition(".")[2].replace("/", "-") for text in row.set]
            yield PlannedRun(
                name="-".join([row.dataset, method, *off, *values, split, f"seed{seed}"]),
                method=method,
                dataset=row.dataset,
                train_split=split,
                seed=seed,
                config=config,
                usual=build_config(stacked(own))[0],
                evaluations=_evaluations(table, targets, protocol),
                rows=(row.key,),
                protocols=(protocol,),
            )


def _evaluations(table: Table, targets: Sequence[str], protocol: str) -> tuple[Evaluation, ...]:
    closed = ("oracle",) if protocol == "paper" else ("val",)
    scorings = RETRIEVAL_PROTOCOLS if table.kind == "open" else closed
    return tuple(Evaluation(target, scoring) for target in targets for scoring in scorings)


def _merged(one: PlannedRun, other: PlannedRun) -> PlannedRun:
    """The same training with the tests of both."""
    return replace(
        one,
        evaluations=tuple(dict.fromkeys((*one.evaluations, *other.evaluations))),
        rows=tuple(dict.fromkeys((*one.rows, *other.rows))),
        protocols=tuple(dict.fromkeys((*one.protocols, *other.protocols))),
    )


def _impossible(table: Table, row: Row, settings: Settings) -> Excluded | None:
    """Why a row cannot be reproduced, whatever is prepared."""
    what = f"{row.label} ({row.method})"
    if table.kind == "open" and row.method in CLOSED_SET_ONLY:
        return Excluded(what, "it has one classifier per trained attribute and cannot score other texts")
    if row.method == ZERO_SHOT and build_config(stacked(settings.layers))[0].train.weights == "none":
        return Excluded(what, "it consists of CLIP's weights, and --weights none uses none")
    return None


def _deviations(plan: Plan, settings: Settings) -> Iterator[str]:
    """In plain words, everything in which the runs are less than, or different from, what the paper's rows stand for."""
    yield from (f"excluded: {item}" for item in plan.excluded)
    for what, chosen, known in (
        ("datasets", settings.datasets, plan.table.datasets),
        ("methods", settings.methods, plan.table.methods),
    ):
        if chosen and set(chosen) < set(known):
            yield f"only the {what} {', '.join(chosen)} of {', '.join(known)}"
    for name, prepared in plan.datasets.items():
        if name not in official() or not prepared.images:
            continue
        wanted = {split: count for split, count in official()[name].counts.items() if count}
        if dict(prepared.counts) != wanted:
            yield f"{name}: {_counts(prepared.counts)} images, officially {_counts(wanted)}"
        if prepared.split and official()[name].split and prepared.split != official()[name].split:
            yield f"{name}: split {prepared.split}; published rows use {official()[name].split}"
    trained = [run for run in plan.runs if run.config is not None]
    yield from dict.fromkeys(line for run in trained for line in _changes(run))
    if any(run.config is not None and run.config.train.weights == "none" for run in trained):
        yield "weights: from scratch; the paper starts from CLIP ViT-B/16"
    if trained:
        yield f"{len(settings.seeds)} seed{'s' * (len(settings.seeds) > 1)}; the paper states none"
    if any("ours" in run.protocols and run.train_split == "train" for run in trained):
        yield "our protocol trains on train only; published rows train on train + val if there is a val"
    if any("paper" in run.protocols for run in trained):
        yield "the paper's protocol: the best epoch is chosen on val, which is trained on, or, without one, on 10% of train"
        if plan.table.kind == "closed":
            yield "the paper's protocol: thresholds are chosen on the test images (oracle), which is optimistic"


def _changes(run: PlannedRun) -> Iterator[str]:
    """Settings of a run that are not its method's and row's usual ones."""
    assert run.config is not None
    assert run.usual is not None
    usual = run.usual.model_dump(mode="json")
    for section, values in run.config.model_dump(mode="json").items():
        for key, value in values.items():
            name = f"{section}.{key}"
            if name in NEUTRAL_SETTINGS or name in ("data.train_split", "train.seed") or value == usual[section][key]:
                continue
            yield f"{name} is {_shown(value)}, not {_shown(usual[section][key])}"


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _counts(counts: Mapping[str, int]) -> str:
    return " / ".join(f"{split} {count:,}" for split, count in counts.items())


def _check_names(what: str, names: Sequence[str], known: Sequence[str], table: Table) -> None:
    for name in names:
        if name not in known:
            extra = "" if what == "dataset" or name not in METHODS else " (focus train --method trains it)"
            raise UsageError(f"{table.name} has no row of {what} {name}{extra}.", f"It has: {', '.join(known)}.")

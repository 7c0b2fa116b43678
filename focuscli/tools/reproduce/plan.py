"""From a published table, the prepared datasets and the settings to the runs that answer it; a pure function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from focuscli.config import METHODS, RunConfig, build_config, stacked, without
from focuscli.errors import UsageError
from focuscli.storage.paths import ZERO_SHOT
from focuscli.tools.reproduce.datasets import LeftOut, Prepared
from focuscli.tools.reproduce.published import Row, Table

Layers = Sequence[tuple[str, Mapping[str, Any]]]
ProtocolName = Literal["ours", "paper", "both"]
PROTOCOLS: tuple[ProtocolName, ...] = ("ours", "paper", "both")
CANNOT_READ_UNSEEN = ("vtb",)
"""Methods with one classifier per trained attribute, which therefore have no open-domain figures here."""


@dataclass(frozen=True)
class Settings:
    """What a user chooses.

    Attributes:
        layers: configuration from --config, flags and --set, in this order.
        protocol: "ours" trains on train and takes thresholds from val; "paper" trains on train + val where there is a val,
            and chooses thresholds on the test images themselves, as POAR's code does.
        methods, datasets: names to keep; empty keeps all of the table.
    """

    layers: Layers = ()
    seeds: tuple[int, ...] = (0,)
    protocol: ProtocolName = "ours"
    methods: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """A test of a run: on which dataset, and how it is scored.

    Attributes:
        scoring: closed set: whence the thresholds, "val" or "oracle"; open domain: a preset of `focuscli.evaluation.protocols`.
        rows: keys of the published rows that it answers.
    """

    kind: Literal["closed", "open"]
    target: str
    scoring: str
    rows: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True)
class PlannedRun:
    """A training with its tests. For CLIP as it is there is nothing to train: dataset, split, seed and config are None.

    Attributes:
        protocols: whose protocol it is trained for: "ours", "paper" or, where both train alike, both.
    """

    name: str
    method: str
    dataset: str | None
    without: tuple[str, ...]
    train_split: Literal["train", "trainval"] | None
    seed: int | None
    config: RunConfig | None
    evaluations: tuple[Evaluation, ...]
    protocols: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """Runs in the order in which they are executed, and what is left out."""

    table: Table
    runs: tuple[PlannedRun, ...]
    left_out: tuple[LeftOut, ...]
    datasets: Mapping[str, Prepared]


def make_plan(table: Table, datasets: Mapping[str, Prepared], settings: Settings) -> Plan:
    """The runs that a table needs.

    Args:
        datasets: by name; those without images are only looked at for their blind and chance figures.

    Raises:
        UsageError: a method or dataset that the table does not have, or a wrong setting.
    """
    _known("method", settings.methods, table.methods, table)
    _known("dataset", settings.datasets, table.datasets, table)
    usable = {name: prepared for name, prepared in datasets.items() if prepared.images}
    protocols = ("ours", "paper") if settings.protocol == "both" else (settings.protocol,)
    runs: dict[str, PlannedRun] = {}
    left_out: list[LeftOut] = []
    for row in table.rows:
        if row.method is None or (settings.methods and row.method not in settings.methods):
            continue
        reason = _refused(table, row, settings)
        if reason:
            left_out.append(reason)
            continue
        if row.dataset is not None and row.dataset not in usable:
            continue
        for run in _runs(table, row, usable, settings, protocols):
            if run.evaluations:
                runs[run.name] = _merged(runs[run.name], run) if run.name in runs else run
    return Plan(table, tuple(runs.values()), tuple(dict.fromkeys(left_out)), dict(datasets))


def _runs(
    table: Table, row: Row, usable: Mapping[str, Prepared], settings: Settings, protocols: Sequence[str]
) -> list[PlannedRun]:
    """All seeds of a row under each protocol."""
    targets = [name for name in dict.fromkeys(cell.target for cell in row.cells) if name in usable]
    method = str(row.method)
    if row.dataset is None:
        return [PlannedRun(method, method, None, (), None, None, None, _tests(table, row, targets, "ours"), ("ours",))]
    found = []
    for seed in settings.seeds:
        for protocol in protocols:
            split: Literal["train", "trainval"] = (
                "trainval" if protocol == "paper" and usable[row.dataset].counts.get("val") else "train"
            )
            parts = [row.dataset, method, *(["without", *row.without] if row.without else []), split, f"seed{seed}"]
            config = _config(settings, row, usable[row.dataset], split, seed)
            tests = _tests(table, row, targets, protocol)
            found.append(
                PlannedRun("-".join(parts), method, row.dataset, row.without, split, seed, config, tests, (protocol,))
            )
    return found


def _tests(table: Table, row: Row, targets: Sequence[str], protocol: str) -> tuple[Evaluation, ...]:
    if table.kind == "open":
        return tuple(Evaluation("open", name, scoring, (row.key,)) for name in targets for scoring in OPEN_SCORINGS)
    scoring = "oracle" if protocol == "paper" else "val"
    return tuple(Evaluation("closed", name, scoring, (row.key,)) for name in targets)


OPEN_SCORINGS = ("corrected", "poar")


def _merged(one: PlannedRun, other: PlannedRun) -> PlannedRun:
    """The same training with the tests of both; a test that answers two rows stands once."""
    tests: dict[tuple[str, str], Evaluation] = {}
    for test in (*one.evaluations, *other.evaluations):
        key = (test.target, test.scoring)
        rows = (*(tests[key].rows if key in tests else ()), *test.rows)
        tests[key] = replace(test, rows=tuple(dict.fromkeys(rows)))
    protocols = tuple(dict.fromkeys((*one.protocols, *other.protocols)))
    return replace(one, evaluations=tuple(tests.values()), protocols=protocols)


def _config(settings: Settings, row: Row, data: Prepared, split: str, seed: int) -> RunConfig:
    own: list[tuple[str, Mapping[str, Any]]] = [
        ("table", {"model": {"method": row.method}}),
        ("table", {"data": {"dataset": str(data.folder), "train_split": split}, "train": {"seed": seed}}),
    ]
    if row.without:
        own.append(("ablation", without(row.without)))
    return build_config(stacked([*settings.layers, *own]))[0]


def _refused(table: Table, row: Row, settings: Settings) -> LeftOut | None:
    """Why a row cannot be had, whatever is prepared."""
    if table.kind == "open" and row.method in CANNOT_READ_UNSEEN:
        return LeftOut(
            f"{row.paper} ({row.method})",
            "it has one classifier per trained attribute and cannot score texts that it was not trained on",
        )
    if row.method == ZERO_SHOT and from_scratch(settings.layers):
        return LeftOut(f"{row.paper} ({row.method})", "it is CLIP's weights, and --weights none has none")
    return None


def from_scratch(layers: Layers) -> bool:
    """Whether the settings train without CLIP's weights."""
    return build_config(stacked(layers))[0].train.weights == "none"


def _known(what: str, names: Sequence[str], known: Sequence[str], table: Table) -> None:
    for name in names:
        if name not in known:
            extra = "" if what == "dataset" or name not in METHODS else " (focus can train it: focus train --method)"
            raise UsageError(f"{table.name} has no row of {what} {name}{extra}.", f"It has: {', '.join(known)}.")

"""From a table, the prepared datasets and the settings to the matrix of runs that answers it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from focuscli.config import Layer, RunConfig, build_config, parse_override, stacked, without
from focuscli.data.folder import DatasetFolder, read_folder
from focuscli.errors import InputError, UsageError, plural
from focuscli.storage import paths
from focuscli.storage.paths import ZERO_SHOT
from focuscli.tools.reproduce.tables import Row, Table, official
from focuscli.tools.seeds import NEUTRAL_SETTINGS

PROTOCOLS = ("ours", "paper", "both")
RETRIEVAL_PROTOCOLS = ("corrected", "poar")
CLOSED_SET_ONLY = ("vtb",)
"""Methods with one classifier per trained attribute, which cannot score other texts."""


@dataclass(frozen=True)
class Settings:
    """What a user chooses.

    Attributes:
        layers: configuration from --config, flags and --set, in this order.
        protocol: "ours" trains on train and takes thresholds from val; "paper" trains on train + val if there is a val,
            and chooses thresholds on the test images themselves, as POAR's code does; or "both".
        methods, datasets: names to keep; empty keeps all of the table.
    """

    layers: Sequence[Layer] = ()
    seeds: tuple[int, ...] = (0,)
    protocol: str = "ours"
    methods: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()


class Excluded(NamedTuple):
    """What a table needs and the plan does not include: what, why, and the command that fixes it, if any."""

    what: str
    why: str
    fix: str | None = None

    def __str__(self) -> str:
        return f"{self.what}: {self.why}" + (f"; {self.fix}" if self.fix else "")


Test = tuple[str, str]
"""Target and scoring of a test: closed set: the source of the thresholds, "val" or "oracle"; open domain: a preset of
`focuscli.evaluation.protocols`."""


@dataclass(frozen=True)
class PlannedRun:
    """A training with its tests and the rows that it answers. For zero-shot CLIP nothing is trained.

    Attributes:
        changes: in words, the settings that are not the usual ones of its method and row.
    """

    name: str
    method: str
    tests: list[Test]
    rows: list[Row]
    dataset: str | None = None
    train_split: str | None = None
    seed: int | None = None
    config: RunConfig | None = None
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Runs in the order in which they are executed; what is excluded; and in what the runs differ from the paper's."""

    table: Table
    runs: tuple[PlannedRun, ...]
    excluded: tuple[Excluded, ...]
    datasets: Mapping[str, DatasetFolder]
    deviations: tuple[str, ...] = ()


def find_datasets(names: Iterable[str], places: Mapping[str, str]) -> tuple[dict[str, DatasetFolder], list[Excluded]]:
    """The datasets of these names that are prepared, and what is missing. One without any image counts as labels alone.

    Args:
        places: name -> folder or name of a prepared dataset, if it is not the one of that name.

    Raises:
        InputError: a place that was named is not a dataset.
    """
    found: dict[str, DatasetFolder] = {}
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
        folder = read_folder(path.resolve())
        if not any(folder.image_path(number).is_file() for number in range(len(folder.images))):
            folder.info["labels_only"] = True
        found[name] = folder
        if folder.labels_only:
            excluded.append(Excluded(name, "labels only, no images", f"{prepare} --force, with the images in FOLDER"))
    return found, excluded


def make_plan(
    table: Table, datasets: Mapping[str, DatasetFolder], settings: Settings, missing: Sequence[Excluded] = ()
) -> Plan:
    """The runs that a table needs.

    Args:
        datasets: by name; those of labels alone only give the baselines. missing: what `find_datasets` excluded.

    Raises:
        UsageError: a method or dataset that the table does not have, or a wrong setting.
    """
    for what, chosen, known in _chosen(table, settings):
        for name in chosen:
            if name not in known:
                raise UsageError(f"{table.name} has no row of {what} {name}.", f"It has: {', '.join(known)}.")
    excluded = dict.fromkeys(missing)
    scratch = build_config(stacked(settings.layers))[0].train.weights == "none"
    runs: dict[str, PlannedRun] = {}
    for row in table.rows:
        if row.method is None or (settings.methods and row.method not in settings.methods):
            continue
        what = f"{row.label} ({row.method})"
        if table.kind == "open" and row.method in CLOSED_SET_ONLY:
            excluded[Excluded(what, "it has one classifier per trained attribute and cannot score other texts")] = None
        elif row.method == ZERO_SHOT and scratch:
            excluded[Excluded(what, "it consists of CLIP's weights, and --weights none uses none")] = None
        else:
            for run in _runs(table, row, datasets, settings):
                same = runs.setdefault(run.name, run)
                same.tests.extend(test for test in run.tests if test not in same.tests)
                same.rows.extend(row for row in run.rows if row not in same.rows)
    plan = Plan(table, tuple(runs.values()), tuple(excluded), dict(datasets))
    return replace(plan, deviations=tuple(_deviations(plan, settings)))


def _chosen(table: Table, settings: Settings) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    return [("dataset", settings.datasets, table.datasets), ("method", settings.methods, table.methods)]


def _runs(table: Table, row: Row, datasets: Mapping[str, DatasetFolder], settings: Settings) -> Iterator[PlannedRun]:
    """All seeds of a row under each protocol; none if its dataset or all its targets are missing."""
    targets = [name for name in table.targets_of(row) if name in datasets and not datasets[name].labels_only]
    method, data = str(row.method), datasets.get(row.dataset or "")
    if not targets or (row.dataset is not None and (data is None or data.labels_only)):
        return

    def tests(protocol: str) -> list[Test]:
        scorings = RETRIEVAL_PROTOCOLS if table.kind == "open" else ("oracle" if protocol == "paper" else "val",)
        return [(target, scoring) for target in targets for scoring in scorings]

    if data is None:
        yield PlannedRun(method, method, tests("ours"), [row])
        return
    own: list[Layer] = [("table", {"model": {"method": method}}), ("ablation", without(row.without))]
    own += [("table", parse_override(text)) for text in row.set]
    usual = build_config(stacked(own))[0]
    parts = [*(["without"] if row.without else []), *row.without]
    parts += [text.partition(".")[2].replace("/", "-") for text in row.set]
    for seed in settings.seeds:
        for protocol in ("ours", "paper") if settings.protocol == "both" else (settings.protocol,):
            split = "trainval" if protocol == "paper" and "val" in data.counts else "train"
            place = {"data": {"dataset": str(data.path), "train_split": split}, "train": {"seed": seed}}
            config = build_config(stacked([*settings.layers, *own, ("table", place)]))[0]
            name = "-".join([str(row.dataset), method, *parts, split, f"seed{seed}"])
            changes = tuple(_changes(config, usual))
            yield PlannedRun(name, method, tests(protocol), [row], row.dataset, split, seed, config, changes)


def _deviations(plan: Plan, settings: Settings) -> Iterator[str]:
    """In plain words, everything in which the runs are less than, or different from, what the paper's rows stand for."""
    yield from (f"excluded: {item}" for item in plan.excluded)
    for what, chosen, known in _chosen(plan.table, settings):
        if chosen and set(chosen) < set(known):
            yield f"only the {what}s {', '.join(chosen)} of {', '.join(known)}"
    for name, data in plan.datasets.items():
        published = official().get(name)
        if published is None or data.labels_only:
            continue
        if data.counts != published["counts"]:
            yield f"{name}: {_counts(data.counts)} images, officially {_counts(published['counts'])}"
        split, usual = data.info.get("split"), published.get("split")
        if split and usual and split != usual:
            yield f"{name}: split {split}; published rows use {usual}"
    trained = [run for run in plan.runs if run.config is not None]
    if not trained:
        return
    yield from dict.fromkeys(line for run in trained for line in run.changes)
    if any(run.config is not None and run.config.train.weights == "none" for run in trained):
        yield "weights: from scratch; the paper starts from CLIP ViT-B/16"
    yield f"{plural(len(settings.seeds), 'seed')}; the paper states none"
    if settings.protocol != "paper":
        yield "our protocol trains on train only; published rows train on train + val if there is a val"
    if settings.protocol != "ours":
        yield "the paper's protocol: the best epoch is chosen on val, which is trained on, or, without one, on 10% of train"
        if plan.table.kind == "closed":
            yield "the paper's protocol: thresholds are chosen on the test images (oracle), which is optimistic"


def _changes(config: RunConfig, usual: RunConfig) -> Iterator[str]:
    """Settings that are not the usual ones and change what is trained."""
    expected = usual.model_dump(mode="json")
    for section, values in config.model_dump(mode="json").items():
        for key, value in values.items():
            name, wanted = f"{section}.{key}", expected[section][key]
            if value != wanted and name not in (*NEUTRAL_SETTINGS, "data.train_split", "train.seed"):
                yield f"{name} is {_shown(value)}, not {_shown(wanted)}"


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _counts(counts: Mapping[str, int]) -> str:
    return " / ".join(f"{split} {count:,}" for split, count in counts.items())

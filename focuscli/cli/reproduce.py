"""`focus reproduce`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from focuscli.cli import render
from focuscli.cli.options import DeviceOpt, DryRunOpt, PrecisionOpt
from focuscli.cli.train import weights_file
from focuscli.cli.training import open_run, train_to_end
from focuscli.errors import InputError, Interrupted, RequirementError, UsageError, did_you_mean
from focuscli.storage import paths

if TYPE_CHECKING:
    from focuscli import config as configuration
    from focuscli.tools.reproduce.plan import Plan, PlannedRun, ProtocolName

TABLE_SETTINGS = {
    "data.dataset": "--datasets",
    "data.train_split": "--protocol",
    "model.method": "--methods",
    "train.seed": "--seeds",
}
"""Settings that the table decides, and the option that chooses among its values."""


def reproduce_command(
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="table1, table2 or table3, or a TOML file with rows of your own.")
    ],
    budget: Annotated[
        str | None, typer.Option(metavar="epochs=N", help="Train every run for N epochs; stated in the results.")
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            help="ours: train on train, thresholds from val; paper: train + val, thresholds chosen on test; or both."
        ),
    ] = "ours",
    seeds: Annotated[
        str, typer.Option(metavar="0,1,2", help="One training per seed; results give mean and spread.")
    ] = "0",
    datasets: Annotated[
        str | None,
        typer.Option(metavar="NAME,NAME=FOLDER", help="Only these datasets; =FOLDER says where one is."),
    ] = None,
    methods: Annotated[str | None, typer.Option(metavar="NAME,NAME", help="Only these methods.")] = None,
    model: Annotated[str | None, typer.Option(help="Preset: vit-b16 (default) or tiny.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="CLIP weight file; 'none' trains from scratch; default: the installed ones.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="TOML file with settings; the table decides on dataset, method and seed."),
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="One setting: section.key=value; repeatable.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of runs and results; default: reproduce-TABLE under FOCUS_RUNS.")
    ] = None,
    device: DeviceOpt = None,
    precision: PrecisionOpt = None,
    dry_run: DryRunOpt = False,
) -> None:
    """Train and test what a table of the paper needs and compare it with the published values; resumable."""
    from focuscli import config as configuration
    from focuscli.tools.reproduce.plan import Settings, find_datasets, make_plan
    from focuscli.tools.reproduce.tables import moved, read_table

    rows = read_table(table)
    flags = {
        "--model": ("model", "preset", model),
        "--weights": ("train", "weights", weights),
        "--budget": ("train", "epochs", _epochs(budget)),
        "--device": ("train", "device", device),
        "--precision": ("train", "precision", precision),
    }
    layers: configuration.Layers = [(str(config), configuration.read_config_file(config))] if config else []
    layers += [(flag, {section: {key: value}}) for flag, (section, key, value) in flags.items() if value is not None]
    layers += [(f"--set {text}", _override(text)) for text in set_ or []]
    places = {name.strip(): place.strip() for name, _, place in (part.partition("=") for part in _split(datasets))}
    if len(places) == 1 and not set(places) & set(rows.datasets):
        rows = moved(rows, *places)
    settings = Settings(layers, _seeds(seeds), _protocol(protocol), tuple(_split(methods)), tuple(places))
    make_plan(rows, {}, settings)  # Refuses unknown names and settings before a dataset is read.
    common = configuration.build_config(configuration.stacked(layers))[0]

    chosen = {name: place for name, place in places.items() if place}
    found, missing = find_datasets(settings.datasets or rows.datasets, chosen)
    plan = make_plan(rows, found, settings, missing)
    folder = out or paths.runs_dir() / f"reproduce-{rows.name}"
    try:
        weight_file = weights_file(common) if plan.runs else None
    except (RequirementError, InputError) as error:
        if not dry_run:
            raise
        render.warn(f"{error.problem} {error.hint or ''}".rstrip())
    if dry_run:
        _show_plan(plan, folder)
        return
    if not plan.runs:
        problem = "; ".join(f"{item.what}: {item.why}" for item in plan.excluded) or "nothing in it was chosen"
        fixes = [item.fix for item in plan.excluded if item.fix]
        raise InputError(f"There is nothing to run for {rows.name}: {problem}.", fixes[0] if fixes else None)
    for item in plan.excluded:
        render.warn(f"excluded: {item}")
    _execute(plan, folder, weight_file, device or "auto", precision or "auto")


def _execute(plan: Plan, out: Path, weights: Path | None, device: str, precision: str) -> None:
    from focuscli.tools.reproduce.execute import Executor
    from focuscli.tools.reproduce.results import as_markdown, compare, write_results

    def train(run: PlannedRun, folder: Path) -> None:
        assert run.config is not None
        assert run.dataset is not None
        opened = open_run(folder, run.config, plan.datasets[run.dataset].folder, weights)
        if train_to_end(opened):
            raise Interrupted(f"Stopped after training {run.name}.")

    executor = Executor(plan, out, weights, train, render.progress, render.note, device, precision)
    results, written = compare(plan, []), []
    try:
        for measured in executor.execute():
            results = compare(plan, measured)
            written = write_results(results, out)
    except (Interrupted, KeyboardInterrupt) as stop:
        problem = stop.problem if isinstance(stop, Interrupted) else "Interrupted."
        raise Interrupted(
            f"{problem} {len(results.done)} of {len(plan.runs)} runs are done ({out}).",
            "Run the same command again to resume.",
        ) from stop
    if render.as_json():
        print(json.dumps(results.to_json(), ensure_ascii=False))
    else:
        print(as_markdown(results), end="")
    for failure in results.failures:
        render.warn(f"not measured: {failure}")
    for file in written:
        render.note(f"wrote {file}")


def _show_plan(plan: Plan, out: Path) -> None:
    """The runs, what each is tested on, what is excluded, and in what it deviates from the paper."""
    if render.as_json():
        runs = [
            {
                "name": run.name,
                "method": run.method,
                "dataset": run.dataset,
                "train_split": run.train_split,
                "seed": run.seed,
                "epochs": run.config.train.epochs if run.config else 0,
                "tests": [test._asdict() for test in run.evaluations],
                "rows": [label for label, _ in run.rows],
            }
            for run in plan.runs
        ]
        excluded = [vars(item) for item in plan.excluded]
        data = {"table": plan.table.name, "out": str(out), "runs": runs, "excluded": excluded}
        render.result({**data, "deviations": [*plan.deviations]}, lines=[])
        return
    print(f"{plan.table.title}: {len(plan.runs)} run{'s' * (len(plan.runs) != 1)}, into {out}")
    if plan.runs:
        lines = [
            (
                run.name,
                str(run.config.train.epochs) if run.config else "-",
                ", ".join(f"{target} ({scoring})" for target, scoring in run.evaluations),
                ", ".join(dict.fromkeys(label for label, _ in run.rows)),
            )
            for run in plan.runs
        ]
        render.table(("run", "epochs", "tested on", "rows"), lines, numbers=(1,))
    print("deviations from the paper:")
    for line in plan.deviations or ["none known"]:
        print(f"  {line}")
    render.note("dry run: nothing was written")


def _override(text: str) -> dict[str, dict[str, object]]:
    from focuscli.config import parse_override

    values = parse_override(text)
    for section, fields in values.items():
        for key in fields:
            if f"{section}.{key}" in TABLE_SETTINGS:
                option = TABLE_SETTINGS[f"{section}.{key}"]
                raise UsageError(f"The table decides on {section}.{key}; --set cannot change it.", f"Use {option}.")
    return values


def _epochs(budget: str | None) -> int | None:
    if budget is None:
        return None
    name, equals, number = budget.partition("=")
    if name.strip() != "epochs" or not equals or not number.strip().isdecimal() or int(number) < 1:
        raise UsageError(f'--budget is epochs=N with N at least 1; got "{budget}".', "Example: --budget epochs=5")
    return int(number)


def _seeds(text: str) -> tuple[int, ...]:
    parts = _split(text)
    if not parts or not all(part.isdecimal() for part in parts):
        raise UsageError(f'--seeds takes whole numbers; got "{text}".', "Example: --seeds 0,1,2")
    return tuple(dict.fromkeys(int(part) for part in parts))


def _protocol(text: str) -> ProtocolName:
    from focuscli.tools.reproduce.plan import PROTOCOLS

    if text not in PROTOCOLS:
        raise UsageError(f'Unknown protocol "{text}".', did_you_mean(text, PROTOCOLS))
    return text


def _split(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]

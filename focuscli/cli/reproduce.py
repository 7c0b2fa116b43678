"""`focus reproduce`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from focuscli.cli import render
from focuscli.cli.models import ModelPlace
from focuscli.cli.options import DeviceOpt, DryRunOpt, PrecisionOpt, SetOpt, choice
from focuscli.cli.train import weights_file
from focuscli.cli.training import open_run, own_run, train_to_end
from focuscli.config.methods import METHODS, PRESETS
from focuscli.errors import InputError, Interrupted, RequirementError, UsageError, plural
from focuscli.storage import paths
from focuscli.storage.documents import read_toml

if TYPE_CHECKING:
    from focuscli import config as configuration
    from focuscli.inference.recognizer import Recognizer
    from focuscli.tools.reproduce.plan import Plan

TABLE_SETTINGS = {
    "data.dataset": "--datasets",
    "data.train_split": "--protocol",
    "model.method": "--methods",
    "train.seed": "--seeds",
}
"""Settings that the table decides, and the option that chooses among its values."""


def reproduce_command(
    table: Annotated[
        str,
        typer.Argument(
            metavar="TABLE",
            help="table1, table2 or table3, or a TOML file with rows of your own.",
            autocompletion=lambda: ["table1", "table2", "table3"],
        ),
    ],
    budget: Annotated[
        str | None, typer.Option(metavar="epochs=N", help="Train every run for N epochs; stated in the results.")
    ] = None,
    protocol: Annotated[
        str,
        choice(
            "--protocol",
            of=("ours", "paper", "both"),
            help="ours: train on train, thresholds from val; paper: train + val, thresholds from test.",
        ),
    ] = "ours",
    seeds: Annotated[
        str, typer.Option(metavar="0,1,2", help="One training per seed; results give mean and spread.")
    ] = "0",
    datasets: Annotated[
        str | None, typer.Option(metavar="NAME,NAME=FOLDER", help="Only these datasets; =FOLDER says where one is.")
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME", help=f"Only these methods: {', '.join(METHODS)}.", autocompletion=lambda: [*METHODS]
        ),
    ] = None,
    model: Annotated[str | None, choice("--model", of=tuple(PRESETS), help="Preset.", shown="vit-b16")] = None,
    weights: Annotated[
        str | None, typer.Option(help="CLIP weight file; 'none' trains from scratch; default: the installed ones.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="TOML settings; the table decides on dataset, method and seed.")
    ] = None,
    set_: SetOpt = None,
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
    if budget is not None and not re.fullmatch(r"epochs=0*[1-9]\d{0,17}", budget):
        raise UsageError(f'--budget is epochs=N with N at least 1; got "{budget}".', "Example: --budget epochs=5")
    if not all(part.isdecimal() and len(part) < 19 for part in _split(seeds) or [""]):
        raise UsageError(f'--seeds takes whole numbers; got "{seeds}".', "Example: --seeds 0,1,2")
    flags = {
        "--model": ("model", "preset", model),
        "--weights": ("train", "weights", weights),
        "--budget": ("train", "epochs", int(budget.partition("=")[2]) if budget else None),
        "--device": ("train", "device", device),
        "--precision": ("train", "precision", precision),
    }
    layers: configuration.Layers = [(str(config), read_toml(config))] if config else []
    layers += [(flag, {section: {key: value}}) for flag, (section, key, value) in flags.items() if value is not None]
    for text in set_ or []:
        if option := TABLE_SETTINGS.get(text.partition("=")[0].strip()):
            raise UsageError(f"The table decides on what --set {text} sets.", f"Use {option}.")
        layers.append((f"--set {text}", configuration.parse_override(text)))
    places = {name.strip(): place.strip() for name, _, place in (part.partition("=") for part in _split(datasets))}
    if len(places) == 1 and not set(places) & set(rows.datasets):
        rows = moved(rows, *places)
    chosen_seeds = tuple(dict.fromkeys(map(int, _split(seeds))))
    settings = Settings(layers, chosen_seeds, protocol, tuple(_split(methods)), tuple(places))
    make_plan(rows, {}, settings)  # Refuses unknown names and settings before a dataset is read.

    chosen = {name: place for name, place in places.items() if place}
    found, missing = find_datasets(places or rows.datasets, chosen)
    plan = make_plan(rows, found, settings, missing)
    folder = out or paths.runs_dir() / f"reproduce-{rows.name}"
    try:
        common = configuration.build_config(configuration.stacked(layers))[0]
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
    _execute(plan, folder, weight_file, device, precision)


def _execute(plan: Plan, out: Path, weights: Path | None, device: str | None, precision: str | None) -> None:
    from focuscli.tools.reproduce.execute import Executor
    from focuscli.tools.reproduce.results import as_markdown, compare, write_results

    def train(config: configuration.RunConfig, folder: Path) -> None:
        with own_run(folder):
            if train_to_end(open_run(folder, config, Path(config.data.dataset), weights)):
                raise Interrupted("Stopped after a training.")

    def open_model(folder: Path, zero_shot: Path | None) -> Recognizer:
        return ModelPlace(folder, zero_shot).open(device=device, precision=precision)

    executor = Executor(plan, out, weights, train, open_model, render.progress, render.note)
    results, written = compare(plan, []), []
    try:
        for measured in executor.execute():
            results = compare(plan, measured)
            written = write_results(plan, results, out)
    except (Interrupted, KeyboardInterrupt) as stop:
        problem = stop.problem if isinstance(stop, Interrupted) else "Interrupted."
        raise Interrupted(
            f"{problem} {results['runs_done']} of {len(plan.runs)} runs are done ({out}).",
            "Run the same command again to resume.",
        ) from stop
    render.result(results, lines=as_markdown(plan, results).splitlines())
    for failure in results["failures"]:
        render.warn(f"not measured: {failure}")
    for file in written:
        render.note(f"wrote {file}")


def _show_plan(plan: Plan, out: Path) -> None:
    """The runs, what each is tested on, what is excluded, and in what it deviates from the paper."""
    runs: list[dict[str, Any]] = [
        {
            "name": run.name,
            "method": run.method,
            "dataset": run.dataset,
            "train_split": run.train_split,
            "seed": run.seed,
            "epochs": run.config.train.epochs if run.config else 0,
            "tests": [{"target": target, "scoring": scoring} for target, scoring in run.tests],
            "rows": [row.label for row in run.rows],
        }
        for run in plan.runs
    ]
    if render.as_json():
        excluded = [item._asdict() for item in plan.excluded]
        data = {"table": plan.table.name, "out": str(out), "runs": runs, "excluded": excluded}
        render.result({**data, "deviations": [*plan.deviations]})
        return
    render.line(f"{plan.table.title}: {plural(len(plan.runs), 'run')}, into {out}")
    if runs:
        lines = []
        for run in runs:
            tests = ", ".join(f"{test['target']} ({test['scoring']})" for test in run["tests"])
            lines.append((run["name"], str(run["epochs"] or "-"), tests, ", ".join(dict.fromkeys(run["rows"]))))
        render.table(("run", "epochs", "tested on", "rows"), lines, numbers=(1,))
    render.line("deviations from the paper:")
    for line in plan.deviations or ["none known"]:
        render.line(f"  {line}")
    render.note("dry run: nothing was written")


def _split(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]

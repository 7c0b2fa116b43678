"""`focus reproduce`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from focuscli.cli import render
from focuscli.cli.options import DeviceOpt, DryRunOpt, PrecisionOpt
from focuscli.cli.train import open_run, train_to_end, weights_file
from focuscli.errors import InputError, Interrupted, RequirementError, UsageError
from focuscli.storage import paths

if TYPE_CHECKING:
    from focuscli import config as configuration
    from focuscli.tools.reproduce.datasets import LeftOut
    from focuscli.tools.reproduce.plan import Plan, PlannedRun, ProtocolName
    from focuscli.tools.reproduce.published import Table
    from focuscli.tools.reproduce.results import Results

AGAIN = "Run the same command again: it goes on where it stopped."
OWN_KEYS = {
    "data.dataset": "--datasets",
    "data.train_split": "--protocol",
    "model.method": "--methods",
    "train.seed": "--seeds",
}
"""Settings that the plan itself makes, and the option that chooses among them."""


def reproduce_command(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="table1, table2 or table3.")],
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
        typer.Option(metavar="NAME,NAME=FOLDER", help="Only these datasets; =FOLDER names another place for one."),
    ] = None,
    methods: Annotated[str | None, typer.Option(metavar="NAME,NAME", help="Only these methods.")] = None,
    model: Annotated[str | None, typer.Option(help="Preset: vit-b16 (default) or tiny.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="CLIP weight file; 'none' trains from scratch; default: the installed ones.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="TOML file with settings; dataset, method and seed are the table's.")
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="One setting: section.key=value; repeatable.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of runs and results; default: reproduce-TABLE under FOCUS_RUNS.")
    ] = None,
    device: DeviceOpt = None,
    precision: PrecisionOpt = None,
    dry_run: DryRunOpt = False,
) -> None:
    """Train and test what a table of the paper needs, and lay it beside the published values; resumable."""
    from focuscli import config as configuration
    from focuscli.tools.reproduce.plan import Plan, Settings, make_plan
    from focuscli.tools.reproduce.published import moved, read_table
    from focuscli.tools.reproduce.reductions import reductions

    published = read_table(table)
    layers = _layers(config, model, weights, budget, device, precision, set_ or [])
    places = _places(datasets)
    if len(places) == 1 and not set(places) & set(published.datasets):
        published = moved(published, *places)
    settings = Settings(layers, _seeds(seeds), _protocol(protocol), tuple(_split(methods)), tuple(places))
    make_plan(published, {}, settings)  # refuses unknown names and settings before a dataset is read
    configuration.build_config(configuration.stacked(layers))

    from focuscli.tools.reproduce.datasets import survey

    wanted = settings.datasets or published.datasets
    found, missing = survey(wanted, {name: place for name, place in places.items() if place})
    plan = make_plan(published, found, settings)
    plan = Plan(plan.table, plan.runs, (*missing, *plan.left_out), plan.datasets)
    reduced = reductions(plan, settings)
    folder = out or paths.runs_dir() / f"reproduce-{published.name}"
    weight_file = _weights(plan, layers, dry_run=dry_run)
    if dry_run:
        _show_plan(plan, reduced, folder)
        return
    if not plan.runs:
        raise _nothing(published, plan.left_out)
    for item in plan.left_out:
        render.warn(f"left out {item}")
    _execute(plan, reduced, folder, weight_file, device, precision)


def _execute(
    plan: Plan, reduced: list[str], out: Path, weights: Path | None, device: str | None, precision: str | None
) -> None:
    from focuscli.tools.reproduce.execute import Place, Tools, execute
    from focuscli.tools.reproduce.layout import write_results
    from focuscli.tools.reproduce.results import compare

    def train(run: PlannedRun, folder: Path) -> None:
        assert run.config is not None
        assert run.dataset is not None
        opened = open_run(folder, run.config, plan.datasets[run.dataset].folder, weights)
        if train_to_end(opened):
            raise Interrupted(f"Stopped after training {run.name}.")

    place = Place(out, weights, device or "auto", precision or "auto")
    tools = Tools(train, render.progress, render.note)
    results, written = compare(plan, [], reduced), []
    try:
        for measured in execute(plan, place, tools):
            results = compare(plan, measured, reduced)
            written = write_results(results, out)
    except (Interrupted, KeyboardInterrupt) as stop:
        problem = stop.problem if isinstance(stop, Interrupted) else "Interrupted."
        raise Interrupted(f"{problem} {results.done} of {results.planned} runs are done ({out}).", AGAIN) from stop
    _show(results, written)


def _show(results: Results, written: list[Path]) -> None:
    if render.as_json():
        print(json.dumps(results.to_json(), ensure_ascii=False))
    else:
        from focuscli.tools.reproduce.layout import markdown

        print(markdown(results), end="")
    for failure in results.failures:
        render.warn(f"not measured: {failure}")
    for file in written:
        render.note(f"wrote {file}")


def _show_plan(plan: Plan, reduced: list[str], out: Path) -> None:
    """The runs, what each is tested on, and what is left out or reduced."""
    data = {
        "table": plan.table.name,
        "out": str(out),
        "runs": [
            {
                "name": run.name,
                "method": run.method,
                "dataset": run.dataset,
                "without": run.without,
                "train_split": run.train_split,
                "seed": run.seed,
                "epochs": run.config.train.epochs if run.config else 0,
                "tests": [
                    {"target": test.target, "scoring": test.scoring, "answers": [row for row, _ in test.rows]}
                    for test in run.evaluations
                ],
            }
            for run in plan.runs
        ],
        "left_out": [{"what": item.what, "why": item.why, "cure": item.cure} for item in plan.left_out],
        "reduced": reduced,
    }
    if render.as_json():
        render.result(data, lines=[])
        return
    print(f"{plan.table.title}: {len(plan.runs)} runs, into {out}")
    if plan.runs:
        render.table(
            ("run", "epochs", "tested on", "answers"),
            [
                (
                    run.name,
                    str(run.config.train.epochs) if run.config else "-",
                    ", ".join(f"{test.target} ({test.scoring})" for test in run.evaluations),
                    ", ".join(dict.fromkeys(row for test in run.evaluations for row, _ in test.rows)),
                )
                for run in plan.runs
            ],
            numbers=(1,),
        )
    print("in what this is less than, or other than, the paper's:")
    for line in reduced or ["nothing is known to be"]:
        print(f"  {line}")
    render.note("dry run: nothing was written")


def _nothing(table: Table, left_out: tuple[LeftOut, ...]) -> InputError:
    cures = [item.cure for item in left_out if item.cure]
    problem = "; ".join(f"{item.what}: {item.why}" for item in left_out) or "nothing of it was chosen"
    return InputError(f"There is nothing to run for {table.name}: {problem}.", cures[0] if cures else None)


def _weights(plan: Plan, layers: configuration.Layers, *, dry_run: bool) -> Path | None:
    """CLIP's weights, looked for before anything is trained; a dry run goes on without them."""
    from focuscli import config as configuration

    if not plan.runs:
        return None
    try:
        return weights_file(configuration.build_config(configuration.stacked(layers))[0])
    except (RequirementError, InputError) as error:
        if not dry_run:
            raise
        render.warn(f"{error.problem} {error.hint or ''}".rstrip())
        return None


def _layers(
    file: Path | None,
    model: str | None,
    weights: str | None,
    budget: str | None,
    device: str | None,
    precision: str | None,
    sets: list[str],
) -> configuration.Layers:
    from focuscli import config as configuration

    layers: configuration.Layers = [(str(file), configuration.read_config_file(file))] if file else []
    for flag, section, key, value in (
        ("--model", "model", "preset", model),
        ("--weights", "train", "weights", weights),
        ("--budget", "train", "epochs", _epochs(budget)),
        ("--device", "train", "device", device),
        ("--precision", "train", "precision", precision),
    ):
        if value is not None:
            layers.append((flag, {section: {key: value}}))
    for text in sets:
        values = configuration.parse_override(text)
        for section, fields in values.items():
            for key in fields:
                if f"{section}.{key}" in OWN_KEYS:
                    option = OWN_KEYS[f"{section}.{key}"]
                    raise UsageError(f"{section}.{key} is the plan's own; --set cannot change it.", f"Use {option}.")
        layers.append((f"--set {text}", values))
    return layers


def _epochs(budget: str | None) -> int | None:
    if budget is None:
        return None
    name, equals, number = budget.partition("=")
    if name.strip() != "epochs" or not equals or not number.strip().isdecimal() or int(number) < 1:
        raise UsageError(f'--budget wants epochs=N, N at least 1; got "{budget}".', "Example: --budget epochs=5")
    return int(number)


def _seeds(text: str) -> tuple[int, ...]:
    parts = _split(text)
    if not parts or not all(part.isdecimal() for part in parts):
        raise UsageError(f'--seeds wants whole numbers; got "{text}".', "Example: --seeds 0,1,2")
    return tuple(dict.fromkeys(int(part) for part in parts))


def _protocol(text: str) -> ProtocolName:
    from focuscli.tools.reproduce.plan import PROTOCOLS

    if text not in PROTOCOLS:
        raise UsageError(f'Unknown protocol "{text}".', f"Known: {', '.join(PROTOCOLS)}.")
    return text


def _places(text: str | None) -> dict[str, str]:
    """Dataset -> the folder or prepared name given for it, or ""."""
    pairs = [part.partition("=") for part in _split(text)]
    return {name.strip(): place.strip() for name, _, place in pairs}


def _split(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]

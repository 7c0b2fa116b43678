"""`focus bench`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from focuscli.cli import render
from focuscli.cli.options import DatasetOpt, DeviceOpt, ForceOpt
from focuscli.errors import CheckFailed, InputError, UsageError
from focuscli.tools.bench.works import WORKS, expand, pin_threads

if TYPE_CHECKING:
    from focuscli.tools.bench.results import Measurement, Results
    from focuscli.tools.bench.settings import Settings

TABLE = "table"


def bench_command(
    work: Annotated[str, typer.Argument(metavar="WORK", help=f"{', '.join(WORKS)} or all; or {TABLE}.")],
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help=f"For {TABLE}: results files.", show_default=False)
    ] = None,
    device: DeviceOpt = None,
    precision: Annotated[str, typer.Option(help="auto (all that this device has), fp32, bf16 or fp16.")] = "auto",
    batch: Annotated[int | None, typer.Option(min=1, help="Images per call. [default: 16; train and data 32]")] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Rounds that count, after one of warm-up. [default: 5 to 9]")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of each measured process.")] = 1,
    model: Annotated[str, typer.Option(help="vit-b16 or tiny.")] = "vit-b16",
    quick: Annotated[bool, typer.Option("--quick", help="Small and few: shows that it works, not how fast.")] = False,
    checkpoint: Annotated[
        str | None, typer.Option("--checkpoint", "-c", metavar="RUN", help="For encode: also mA in each precision.")
    ] = None,
    dataset: DatasetOpt = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.json", help="Write the results there.", show_default=False),
    ] = None,
    readme: Annotated[
        Path | None, typer.Option(metavar="PAGE", help=f"For {TABLE}: put it between the markers of this page.")
    ] = None,
    force: ForceOpt = False,
) -> None:
    """How fast this machine is, as ratios to what users would pick instead; each figure beside its check."""
    if work == TABLE:
        _table(files or [], readme)
        return
    works = expand(work)
    if files:
        raise UsageError(f'focus bench {work} reads no files; got "{files[0]}".', "Results go to: --output FILE.json")
    if readme is not None:
        raise UsageError("--readme belongs to focus bench table.", "focus bench table FILE.json --readme README.md")
    if (checkpoint or dataset) and "encode" not in works:
        raise UsageError("--checkpoint and --dataset belong to focus bench encode.")
    if dataset and not checkpoint:
        raise UsageError("--dataset wants a --checkpoint whose accuracy is to be shown on it.")
    if output is not None and output.exists() and not force:
        raise InputError(f"{output} exists already; nothing was changed.", "Add --force to replace it.")
    pin_threads(threads)  # before torch is there

    from focuscli.engine.device import resolve_device
    from focuscli.tools.bench.settings import Settings, check_settings

    settings = Settings(
        device=str(resolve_device(device or "auto")),
        precision=precision,
        batch=batch,
        rounds=rounds,
        threads=threads,
        model=model,  # type: ignore[arg-type]
        quick=quick,
        checkpoint=checkpoint,
        dataset=dataset,
    )
    check_settings(settings)
    render.note(f"{settings.device}, {threads} thread{'s' * (threads > 1)} a process, {model}")
    results = _run(works, settings)
    if output is not None:
        from focuscli.tools.bench.results import write_results

        write_results(output, results)
        render.note(f"wrote {output}")
    _show(results)


def _run(works: Sequence[str], settings: Settings) -> Results:
    from focuscli.tools.bench.run import run_works

    command = " ".join(["focus", *sys.argv[1:]])
    with render.progress("bench") as progress:
        return run_works(works, settings, command=command, tell=lambda _work, done, total: progress(done, total))


def _show(results: Results) -> None:
    """Everything on stdout; exit code 5 where a figure is not right."""
    failed = results.failed
    error = None
    if failed:
        first = failed[0]
        assert first.check is not None
        error = CheckFailed(
            f"{len(failed)} of {len(results.measurements)} figures failed their check: {first.name}: {first.check.what}: "
            f"{first.check.difference:.2g}, at most {first.check.bound:g}.",
            "A fast wrong result is worth nothing: see column check.",
        )
    if render.as_json():
        data: dict[str, Any] = results.model_dump(mode="json")
        if error is not None:
            data["error"] = {"code": error.exit_code, "message": error.problem, "hint": error.hint}
        render.result(data, lines=[])
        if error is not None:
            raise typer.Exit(error.exit_code)
        return
    machine = results.machine
    rows = [_row(item) for item in results.measurements]
    render.table(("work", "what", "median", "quartiles", "unit", "ratio to", "check"), rows, numbers=(2,))
    for item in results.missing:
        render.note(f"not measured: {item.name}: {item.reason}")
    render.note(
        f"{machine.cpu}, {machine.cores:g} cores; load {machine.load_before} before, {machine.load_after} after; clock: "
        f"{', '.join(sorted({item.clock for item in results.measurements if item.clock}))}"
    )
    if results.settings["quick"]:
        render.note("--quick: these figures show that it works, not how fast it is")
    if error is not None:
        raise error


def _row(item: Measurement) -> list[str]:
    spread, check = item.spread, item.check
    many = len(spread.values) > 1
    return [
        item.work,
        item.name,
        _figure(spread.median),
        f"{_figure(spread.lower)} - {_figure(spread.upper)}" if many else "",
        item.unit,
        ", ".join(f"{ratio.spread.median:.3f} x {ratio.to}" for ratio in item.ratios),
        "" if check is None else f"{check.difference:.1e} {'ok' if check.passed else f'> {check.bound:g}'}",
    ]


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _table(files: Sequence[Path], readme: Path | None) -> None:
    from focuscli.storage.files import write_text
    from focuscli.tools.bench.results import read_results
    from focuscli.tools.bench.table import insert, markdown

    if not files:
        raise UsageError("focus bench table wants results files.", "focus bench table examples/benchmarks/*.json")
    text = markdown([read_results(path) for path in files])
    if readme is None:
        render.result({"table": text}, lines=text.splitlines())
        return
    try:
        page = readme.read_text(encoding="utf-8")
    except OSError as failure:
        raise InputError(f"Cannot read {readme}: {failure.strerror}.") from failure
    write_text(readme, insert(page, text, str(readme)))
    render.result({"table": text, "readme": str(readme)}, lines=[f"wrote the table into {readme}"])

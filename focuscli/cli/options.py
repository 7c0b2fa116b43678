"""Options that several commands share, each spelled in one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from focuscli import __version__
from focuscli.cli import render
from focuscli.errors import UsageError, did_you_mean
from focuscli.storage import paths


def choice(*names: str, of: Sequence[str], help: str, shown: str | None = None, others: bool = False) -> Any:
    """An option that takes one of a few words: the help shows them, the shell completes them, and others are refused.

    Args:
        names: of the option, the first one as errors call it.
        shown: the default for the help, where the parameter's own is None.
        others: do not refuse other words here: the command knows more (cuda:1), or says more about a wrong one.
    """

    def check(given: Any) -> Any:
        for word in given if isinstance(given, list) else [given]:
            if word is not None and word not in of and not others:
                raise UsageError(f'Unknown {names[0].strip("-")} "{word}".', did_you_mean(word, of, limit=len(of)))
        return given

    help = f"{help} [default: {shown}]" if shown else help
    metavar = f"[{'|'.join(of)}]"
    return typer.Option(*names, metavar=metavar, help=help, callback=check, autocompletion=lambda: [*of])


FORMATS = ("table", "csv", "jsonl")
FormatOpt = Annotated[str | None, choice("--format", of=FORMATS, help="Of the results.", shown="as -o, else table")]


def format_of(given: str | None, output: Path | None) -> str:
    """The format of results: `--format`, or what the name of the output file says; "json" for one object on stdout.

    Raises:
        UsageError: the two contradict each other, or the name says another format, or --json another than --format.
    """
    if render.as_json() and output is None:
        if given is None:
            return "json"
        raise UsageError(f"--json prints one object, --format {given} does not.", "Use one of them, or add -o FILE.")
    suffix = "" if output is None else output.suffix.lower()
    named = {".csv": "csv", ".jsonl": "jsonl", "": None, ".txt": None, ".tsv": None}
    if given and named.get(suffix) not in (None, given):
        raise UsageError(f"-o {output} contradicts --format {given}.", "Omit --format, or name another file.")
    if given is None and suffix not in named:
        raise UsageError(
            f"-o {output} has the suffix of no known format.", "Name a .csv or .jsonl file, or add --format."
        )
    return given or named[suffix] or "table"


def dataset_names() -> list[str]:
    """What completes the name of a dataset."""
    return [folder.name for folder in paths.prepared_datasets()]


def run_names() -> list[str]:
    """What completes the name of a run or checkpoint."""
    return ["latest", paths.ZERO_SHOT, *paths.run_names()]


SPLITS = ("test", "val", "train", "trainval", "all")
REGIONS = ("head", "upper", "lower", "foot", "bag", "whole")  # of data.regions, whose import would slow --help down
PRECISIONS = ("auto", "fp32", "bf16")
DatasetOpt = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        "-d",
        help="A prepared dataset's name, or a dataset folder.",
        metavar="NAME|FOLDER",
        autocompletion=dataset_names,
    ),
]
CHECKPOINT = ("--checkpoint", "-c")
RUN = "A run's name or folder, a checkpoint folder,"
CheckpointOpt = Annotated[
    str | None,
    typer.Option(*CHECKPOINT, metavar="RUN", help=f"{RUN} or clip. Default: the latest run.", autocompletion=run_names),
]
CheckpointsOpt = Annotated[
    list[str] | None,
    typer.Option(
        *CHECKPOINT,
        metavar="RUN",
        help=f"{RUN} or clip; several to compare (eval: --open-domain). Default: latest.",
        autocompletion=run_names,
    ),
]
DeviceOpt = Annotated[
    str | None,
    choice(
        "--device", of=("auto", "cpu", "cuda", "mps"), others=True, help="Where to compute; also cuda:N.", shown="auto"
    ),
]
PrecisionOpt = Annotated[
    str | None, choice("--precision", of=PRECISIONS, others=True, help="Of matrix products.", shown="auto")
]
SplitOpt = Annotated[str, choice("--split", of=SPLITS, others=True, help="Which images.")]
RegionOpt = Annotated[
    str | None, choice("--region", of=REGIONS, others=True, help="Of unseen texts.", shown="by the words")
]
FreeOpt = Annotated[bool, typer.Option("--free", help="Take texts as given, even near a known text or a list.")]
ForceOpt = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
StrictOpt = Annotated[bool, typer.Option("--strict", help="Stop at the first unreadable image.")]
NullOpt = Annotated[bool, typer.Option("--null", "-0", help="Paths on stdin are separated by NUL (find -print0).")]
BatchOpt = Annotated[int, typer.Option(min=1, max=65_536, help="Images per batch.")]
WorkersOpt = Annotated[int, typer.Option(min=1, max=256, help="Threads that decode images.")]
SetOpt = Annotated[list[str] | None, typer.Option("--set", help="One setting: section.key=value; repeatable.")]
DryRunOpt = Annotated[bool, typer.Option("--dry-run", help="Check everything, write nothing.")]


def _set_home(value: str | None) -> None:
    if value == "":
        raise UsageError("--home is empty.", "Name the folder of datasets and weights: --home FOLDER")
    if value is not None:
        paths.use_home(value)


def _show_version(value: bool) -> None:
    if value:
        render.result({"version": __version__}, lines=[f"focus {__version__}"])
        raise typer.Exit


def _global(*names: str, help: str, act: Callable[..., None], metavar: str | None = None) -> Any:
    """An option of `focus` and of every command. It acts as soon as it is read: no command takes it as an argument."""
    return typer.Option(*names, help=help, callback=act, metavar=metavar, is_eager=True, expose_value=False)


JsonOpt = Annotated[
    bool,
    _global(
        "--json",
        help="One JSON object on stdout, also for errors; metrics in it are fractions.",
        act=lambda on: render.configure(json=on),
    ),
]
QuietOpt = Annotated[
    bool, _global("--quiet", "-q", help="No progress and no notes.", act=lambda on: render.configure(quiet=on))
]
VerboseOpt = Annotated[
    bool, _global("--verbose", "-v", help="Tracebacks of errors.", act=lambda on: render.configure(verbose=on))
]
HomeOpt = Annotated[
    str | None,
    _global("--home", help="Folder of datasets and weights; default: FOCUS_HOME.", act=_set_home, metavar="FOLDER"),
]
VersionOpt = Annotated[bool, _global("--version", help="Show the version.", act=_show_version)]

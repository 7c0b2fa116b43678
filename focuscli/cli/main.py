"""The command `focus`: its table of commands, its global options, and its entry point."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from itertools import takewhile
from typing import Any

import typer
from typer.core import TyperGroup

from focuscli.cli import errors, options, processes, render, views
from focuscli.cli.examples import epilog
from focuscli.cli.help import show_help
from focuscli.errors import UsageError, did_you_mean

COMMANDS = {
    "prepare": "Bring datasets and weights into the form that focus reads.",
    "schema": "What the labels of a dataset mean.",
    "train": "Train FOCUS, or a method to compare it with, on a prepared dataset; stop with Ctrl-C, go on with --resume.",
    "eval": "Metrics of a checkpoint: closed set (mA, Acc, Prec, Recall, F1, F1h), or --open-domain retrieval.",
    "predict": "Which attributes crops show: trained ones, or any text with --attribute.",
    "viz": "Draw where the model looked for each text, with score and threshold.",
    "index": "Store the features of many crops, for focus search.",
    "search": "The crops of a gallery that fit texts best, trained or not.",
    "report": "Write one self-contained HTML page about a run, or a comparison of several.",
    "reproduce": "Train and test what a table of the paper needs and compare it with the published values; resumable.",
    "export": "Export a checkpoint to ONNX, to predict without PyTorch; compared with the checkpoint before it is written.",
    "bench": "How fast a model runs on this machine: images per second by precision and batch size, and a training step.",
    "demo": "The whole workflow on synthetic pedestrians: generate, train, evaluate, predict, explain.",
    "datasets": "The prepared datasets: images, splits, attributes, and where they are.",
    "runs": "The runs: what was trained, how far it is, and its best val metric.",
    "config": "What the settings of a training mean.",
    "doctor": "Versions, device, weights, datasets and known traps of this machine.",
    "help": "Help on a command, or on a topic: exit-codes.",
}
"""Every command and its line in `focus --help`, in that order. Its module of the same name is imported when it is called."""
GLOBAL_OPTIONS = ("json", "quiet", "verbose", "home", "version")
"""The parameters of `focus` itself that may also stand after the name of a command."""


class FocusGroup(TyperGroup):
    """Loads a command when it is called, and turns every exception into one message and an exit code."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return list(COMMANDS)

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        with formatter.section("Commands"):
            formatter.write_dl([*COMMANDS.items()])

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        if cmd_name in COMMANDS:
            return load_command(cmd_name, [option for option in self.params if option.name in GLOBAL_OPTIONS])
        if ctx.resilient_parsing or cmd_name.startswith("-"):
            return None
        raise UsageError(f'No such command "{cmd_name}".', did_you_mean(cmd_name, COMMANDS, limit=len(COMMANDS)))

    def make_parser(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        return each_once(super().make_parser(ctx))

    def invoke(self, ctx: typer.Context) -> int:  # type: ignore[override]
        try:
            super().invoke(ctx)
            views.scaled()
            sys.stdout.flush()
        except BaseException as failure:
            # Caught here and not in `main`, whose parser ends the process by itself on Ctrl-C and closed pipes.
            return errors.report(failure)
        return 0

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **extra: Any
    ) -> int:
        arguments = [*(sys.argv[1:] if args is None else args)]
        render.reset()
        # Whether an error is printed as JSON has to be known before the line is parsed.
        render.configure(json="--json" in takewhile("--".__ne__, arguments))
        try:
            code = super().main(arguments, standalone_mode=False, **extra) or 0
        except BaseException as failure:
            code = errors.report(failure)
        if standalone_mode:
            sys.exit(code)
        return code


app = typer.Typer(
    cls=FocusGroup,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Open-domain pedestrian attribute recognition: name an attribute in words, see whether and where a crop shows it.",
)


@app.callback(invoke_without_command=True)
def focus(
    context: typer.Context,
    json: options.JsonOpt = False,
    quiet: options.QuietOpt = False,
    verbose: options.VerboseOpt = False,
    home: options.HomeOpt = None,
    version: options.VersionOpt = False,
) -> None:
    processes.check_command(context.invoked_subcommand)
    show_help(context)


def load_command(name: str, global_options: Sequence[Any] = ()) -> Any:
    """Import a command of the table; it and its subcommands also take the global options, and end with examples."""
    module = import_module(f"focuscli.cli.{name}")
    builder = typer.Typer(help=COMMANDS[name], rich_markup_mode=None, add_completion=False)
    if subcommands := getattr(module, "COMMANDS", None):
        builder.callback(invoke_without_command=True, epilog=epilog(name))(show_help)
    for subcommand, function in (subcommands or {name: getattr(module, f"{name}_command")}).items():
        ending = epilog(f"{name} {subcommand}" if subcommands else name)
        # The docstring is given, so that the list of subcommands does not cut it off.
        builder.command(subcommand, short_help=function.__doc__, epilog=ending)(function)
    command: Any = typer.main.get_command(builder)
    command.name = name
    for taking in (command, *getattr(command, "commands", {}).values()):
        taking.params = [*taking.params, *global_options]
        taking.make_parser = lambda ctx, make=taking.make_parser: each_once(make(ctx))
    return command


def each_once(parser: Any) -> Any:
    """A command line's parser that refuses a second value of what takes one: the first would be lost without a word."""
    parse = parser.parse_args

    def parse_args(args: list[str]) -> Any:
        values, rest, order = parse(args=args)
        for option, count in Counter(order).items():
            chooses = not getattr(option, "is_flag", True) or option.secondary_opts  # --fast/--exact, but not --force
            if count > 1 and chooses and not option.multiple:
                raise UsageError(
                    f"{max(option.opts, key=len)} was given {count} times; it takes one value.", "Keep one."
                )
        return values, rest, order

    parser.parse_args = parse_args
    return parser


def main() -> None:
    """Entry point of the console script."""
    render.open_streams()
    try:
        with processes.only_main_prints():
            app()
    finally:
        # Without this the interpreter goes through every object of every module once more before it ends.
        gc.freeze()

"""Writes the generated pages of docs/reference/: commands, configuration, Python API.

`python docs/generate.py` writes them; `--check` writes nothing and exits with 1 where a page is stale.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

from typer.main import get_command

REFERENCE = Path(__file__).parent / "reference"

API = {
    "focuscli": ("Recognizer",),
    "focuscli.models.losses": ("many_to_many_loss", "mix_diversity_loss", "region_contrastive_loss"),
    "focuscli.metrics": ("pedestrian_metrics", "average_precision", "area_under_roc", "grouped_recall"),
    "clip_impl": ("load", "tokenize", "CLIP"),
}
"""Public names by module, in the order of the page."""
TYPE_NAMES = {str: "text", int: "integer", float: "number", Path: "path"}


def cli_page() -> str:
    """Every command with its help, examples, arguments and options, from the command table."""
    from focuscli.cli.examples import examples

    lines = [
        "# Commands",
        "",
        "Global options, before or after the command: `--json` (one JSON object on stdout, also for errors), `-q`, `-v`,",
        "`--home FOLDER`, `--version`.",
    ]
    for name, command in sorted(commands()):
        arguments = [_argument(item) for item in command.params if item.param_type_name == "argument"]
        usage = " ".join(["[OPTIONS]", *arguments])
        lines += ["", f"## focus {name}", "", (command.help or "").strip(), "", "```", f"focus {name} {usage}", "```"]
        lines += ["", "Examples:", "", "```", *examples(name), "```"]
        rows = [_option_row(command, parameter) for parameter in command.params if _is_own(parameter)]
        if rows:
            lines += ["", "| option | value | default | meaning |", "| --- | --- | --- | --- |", *rows]
    return "\n".join(lines) + "\n"


def commands() -> Iterator[tuple[str, Any]]:
    """Name ("prepare peta") and command of every leaf of the command table."""
    from focuscli.cli.main import app

    def leaves(prefix: str, command: Any) -> Iterator[tuple[str, Any]]:
        if not hasattr(command, "list_commands"):
            yield prefix, command
            return
        context = command.context_class(command)
        for name in command.list_commands(context):
            yield from leaves(f"{prefix} {name}".strip(), command.get_command(context, name))

    return leaves("", get_command(app))


def _is_own(parameter: Any) -> bool:
    from focuscli.cli.main import GLOBAL_OPTIONS

    return not parameter.hidden and parameter.name not in (*GLOBAL_OPTIONS, "help")


def _option_row(command: Any, parameter: Any) -> str:
    value = default = ""
    if parameter.param_type_name == "argument":
        names = _argument(parameter)
    else:
        names = ", ".join((*parameter.opts, *parameter.secondary_opts))
        if not parameter.is_flag:
            value = parameter.metavar or _type_name(get_type_hints(command.callback)[parameter.name])
            given = parameter.default
            default = "" if given in (None, "", (), []) or callable(given) else str(given)
    text = (parameter.help or "").replace("|", "\\|").replace("\n", " ")
    return "| " + " | ".join([_code(names), _code(value), _code(default), text]) + " |"


def _argument(parameter: Any) -> str:
    name = (parameter.metavar or parameter.name.upper()).strip("[]{}.")
    many = f"{name}..." if parameter.nargs != 1 else name
    return many if parameter.required else f"[{many}]"


def _type_name(annotation: Any) -> str:
    """What an option takes, in a word: of `list[str] | None` and the like, the innermost type."""
    inner = [part for part in get_args(annotation) if part is not type(None)]
    if inner and all(isinstance(part, str) for part in inner):  # a Literal
        return " or ".join(inner)
    return _type_name(inner[0]) if inner else TYPE_NAMES.get(annotation, annotation.__name__)


def _code(text: str) -> str:
    return "`{}`".format(text.replace("|", "\\|")) if text else ""


def configuration_page() -> str:
    """Every setting with type, default and meaning, as `focus config show` prints them."""
    from focuscli.config.describe import SETTINGS
    from focuscli.config.settings import RunConfig

    lines = [
        "# Configuration",
        "",
        "Set any of these with `--set section.key=value`, or in a TOML file for `--config`. `focus train --print-config` shows",
        "the values of a run and where each comes from, as such a file; `focus config show KEY` explains one.",
    ]
    for section, field in RunConfig.model_fields.items():
        lines += ["", f"## {section}", "", inspect.cleandoc(type(field.default).__doc__ or ""), ""]
        lines += ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
        for name, setting in SETTINGS.items():
            of, _, key = name.partition(".")
            if of == section:
                meaning = setting.meaning.replace("|", "\\|")
                lines.append(f"| `{key}` | {setting.type} | `{setting.default}` | {meaning} |")
    return "\n".join(lines) + "\n"


def api_page() -> str:
    """Signatures and docstrings of the public names in `API`."""
    lines = ["# Python API", "", "`examples/python_api.py` is a worked example."]
    for module, names in API.items():
        lines += ["", f"## {module}"]
        for name in names:
            found = getattr(importlib.import_module(module), name)
            lines += ["", f"### {name}", *_documented(found, name)]
            if inspect.isclass(found):
                for method, function in vars(found).items():
                    function = getattr(function, "__func__", function)
                    if not method.startswith("_") and inspect.isfunction(function):
                        lines += ["", f"#### {name}.{method}", *_documented(function, method)]
    return "\n".join(lines) + "\n"


def _documented(found: Any, name: str) -> list[str]:
    signature = inspect.signature(found)
    doc = inspect.getdoc(found) or ""
    return ["", "```python", f"{name}{signature}", "```", "", "```text", doc, "```"]


PAGES = {"cli.md": cli_page, "configuration.md": configuration_page, "python-api.md": api_page}
NOTICE = "<!-- Written by docs/generate.py; edit the code that it describes. -->\n\n"


def stale() -> list[str]:
    """Names of generated pages that differ from what would be written."""
    return [
        name
        for name, page in PAGES.items()
        if not (REFERENCE / name).is_file() or (REFERENCE / name).read_text(encoding="utf-8") != NOTICE + page()
    ]


def main() -> None:
    if "--check" in sys.argv[1:]:
        if names := stale():
            sys.exit(f"Stale: {', '.join(names)} in docs/reference/. Write them anew: make reference")
        return
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(NOTICE + page(), encoding="utf-8")


if __name__ == "__main__":
    main()

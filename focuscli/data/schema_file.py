"""schema.toml: reading with messages that name the place, and writing."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from focuscli.data.attributes import Attribute, AttributeSchema, Group
from focuscli.errors import InputError

_TOP_KEYS = ("name", "title", "source", "regions", "image_root", "group", "attribute")


def load_schema(path: Path) -> AttributeSchema:
    """Read a schema.toml.

    Raises:
        InputError: no file, no UTF-8, no TOML, an unknown key, or a declaration that contradicts itself.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}).", "Save it as UTF-8.") from error
    except OSError as error:
        raise InputError(
            f"Cannot read {path}: {error.strerror or error}.", "A dataset is a folder with schema.toml and labels.csv."
        ) from error
    return parse_schema(text, str(path))


def builtin_schema(name: str) -> AttributeSchema:
    """The schema that this package ships for a known dataset.

    Raises:
        InputError: none of that name.
    """
    specs = resources.files("focuscli.data") / "specs"
    file = specs / f"{name}.toml"
    if not name.isidentifier() or not file.is_file():
        known = sorted(entry.name.removesuffix(".toml") for entry in specs.iterdir() if entry.name.endswith(".toml"))
        raise InputError(f'No built-in schema "{name}".', f"Built in: {', '.join(known)}.")
    return parse_schema(file.read_text(encoding="utf-8"), f"built-in {name}.toml")


def parse_schema(text: str, where: str) -> AttributeSchema:
    """A schema from TOML text; `where` names the text in errors.

    Groups may be left out altogether; then each group that an attribute names exists and has no complements. With at
    least one [[group]] all must be declared, so that a misspelt group does not pass as a new one.

    Raises:
        InputError: see `load_schema`.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where} is not valid TOML: {error}.", "Mend that line.") from error
    unknown = [key for key in document if key not in _TOP_KEYS]
    if unknown:
        raise InputError(f'{where}: unknown key "{unknown[0]}".', _suggestion(unknown[0], _TOP_KEYS))
    attributes, groups = document.pop("attribute", []), document.pop("group", [])
    for key, tables in (("attribute", attributes), ("group", groups)):
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise InputError(f"{where}: {key} must be a table written as [[{key}]].", "Double the brackets.")
    if not groups:
        names = [table["group"] for table in attributes if isinstance(table.get("group"), str)]
        groups = [{"name": name} for name in dict.fromkeys(name.strip() for name in names) if name]
    raw = {**document, "attributes": attributes, "groups": groups}
    try:
        return AttributeSchema.model_validate(raw)
    except ValidationError as error:
        raise _readable(error, raw, where) from error


def dump_schema(schema: AttributeSchema, comment: str = "") -> str:
    """`schema` as the text of a schema.toml; `comment` goes to its head. `parse_schema` reads back the same schema."""
    import tomlkit

    document = tomlkit.document()
    for line in comment.splitlines():
        document.add(tomlkit.comment(line) if line else tomlkit.nl())
    if comment:
        document.add(tomlkit.nl())
    document.add("name", tomlkit.item(schema.name))
    for key in ("title", "source", "image_root"):
        if value := getattr(schema, key):
            document.add(key, tomlkit.item(value))
    document.add("regions", tomlkit.item(list(schema.regions)))
    for key, declarations in (("group", schema.groups), ("attribute", schema.attributes)):
        tables = tomlkit.aot()
        for declaration in declarations:
            table = tomlkit.table()
            values = declaration.model_dump(mode="json", exclude_defaults=True)
            for field in type(declaration).model_fields:
                if field in values:
                    table.add(field, tomlkit.item(values[field]))
            tables.append(table)
        if declarations:
            document.append(key, tables)
    return tomlkit.dumps(document)


def _readable(error: ValidationError, raw: Mapping[str, Any], where: str) -> InputError:
    problems = error.errors()
    first = problems[0]
    place, key = where, ""
    match first["loc"]:
        case (("attributes" | "groups") as plural, int(number), *rest):
            kind = "attribute" if plural == "attributes" else "group"
            name = raw[plural][number].get("name")
            place += f": {kind} {number + 1}" + (f' ("{name}")' if isinstance(name, str) else "")
            key = str(rest[0]) if rest else ""
        case (str(name), *_):
            key = name
    more = f" ({len(problems) - 1} more like it.)" if len(problems) > 1 else ""
    known = list((Attribute if "attribute" in place.removeprefix(where) else Group).model_fields)
    match first["type"]:
        case "extra_forbidden":
            return InputError(f'{place}: unknown key "{key}".{more}', _suggestion(key, known))
        case "missing":
            return InputError(f'{place}: key "{key}" is missing.{more}', f'Add: {key} = "..."')
        case "string_too_short":
            return InputError(f"{place}: {key} is empty.{more}", f"Write the {key} in words.")
        case "string_pattern_mismatch":
            return InputError(f"{place}: {key} holds a line break or another control character.{more}", None)
        case "value_error":
            reason = first["ctx"]["error"]
            return InputError(f"{place}: {reason}.{more}", getattr(reason, "hint", None))
    return InputError(f"{place}: {key}: {first['msg']}.{more}", None)


def _suggestion(key: str, known: tuple[str, ...] | list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"Did you mean {close[0]}?" if close else f"Known keys: {', '.join(known)}."

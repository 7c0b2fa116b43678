"""`focus schema`: what the labels of a dataset mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from focuscli.cli import render
from focuscli.cli.options import dataset_names
from focuscli.errors import InputError, plural
from focuscli.storage import paths

if TYPE_CHECKING:
    from focuscli.data.schema import AttributeSchema, Text

SchemaArg = Annotated[
    str,
    typer.Argument(
        metavar="NAME|FOLDER|FILE",
        help="A dataset, or a schema.toml.",
        autocompletion=lambda: sorted({*dataset_names(), *paths.KNOWN_DATASETS}),
    ),
]
EvaluatedOpt = Annotated[bool, typer.Option("--evaluated", help="Only the attributes that are evaluated.")]


def show_command(name: SchemaArg, evaluated: EvaluatedOpt = False) -> None:
    """Show attributes with their phrases, regions and groups, and the complements of groups."""
    found, _ = _find(name)
    if render.as_json():
        render.result({**found.model_dump(mode="json"), "fingerprint": found.fingerprint()})
        return
    kinds = {attribute.name: "" if attribute.evaluated else "not evaluated" for attribute in found.attributes}
    rows = [
        (text.attribute or "-", *_place(text), kinds.get(text.attribute or "", "complement"))
        for text in found.texts(complements=True, evaluated_only=evaluated)
    ]
    render.table(("attribute", "phrase", "region", "category", "group", ""), rows)
    render.line(
        f"{found.name}: {plural(len(found.attributes), 'attribute')}, {len(found.evaluated)} evaluated, "
        f"{plural(sum(len(group.complements) for group in found.groups), 'complement')}, "
        f"{plural(len(found.groups), 'group')}"
    )


def check_command(name: SchemaArg) -> None:
    """Check a schema, and a dataset's labels.csv and images against it."""
    from focuscli.data.checks import dataset_warnings
    from focuscli.data.folder import read_folder
    from focuscli.data.schema import schema_remarks

    found, folder = _find(name)
    remarks, images = schema_remarks(found), 0
    if folder:
        dataset = read_folder(folder)
        images = len(dataset.images)
        if not dataset.labels_only:
            dataset.check_files()
        remarks = dataset_warnings(dataset)
    for remark in remarks:
        render.warn(remark)
    data = {"name": found.name, "fingerprint": found.fingerprint(), "images": images, "remarks": remarks}
    line = f"{found.name}: sound, {plural(len(found.attributes), 'attribute')}, {len(found.evaluated)} evaluated"
    render.result(data, lines=[line + (f", labels.csv with {plural(images, 'image')} fits" if folder else "")])


def diff_command(source: SchemaArg, target: SchemaArg, evaluated: EvaluatedOpt = False) -> None:
    """Compare two schemas by phrase: which texts of the second are trained on the first, and which are new."""
    from focuscli.data.schema import schema_diff

    (first, _), (second, _) = _find(source), _find(target)
    seen, new, only = schema_diff(first, second, evaluated_only=evaluated)
    if render.as_json():
        known = [{**_named(ours), "source": theirs.attribute} for ours, theirs in seen]
        data = {"source": first.name, "target": second.name, "seen": known}
        render.result({**data, "new": [*map(_named, new)], "only_source": [*map(_named, only)]})
        return
    rows = [("seen", ours.attribute or "-", *_place(ours), theirs.attribute or "complement") for ours, theirs in seen]
    rows += [("new", text.attribute or "-", *_place(text), "") for text in new]
    render.table(("", f"in {second.name}", "phrase", "region", "category", "group", f"in {first.name}"), rows)
    render.line(
        f"texts of {second.name}: {len(seen)} trained on {first.name}, {len(new)} new; "
        f"only in {first.name}: {len(only)}"
    )
    for ours, theirs in seen:
        if ours.region != theirs.region:  # the same words in another sentence
            render.warn(f'"{ours.phrase}" is {ours.region} in {second.name} and {theirs.region} in {first.name}')


def _find(name: str) -> tuple[AttributeSchema, Path | None]:
    """The schema of a file, a dataset folder, a prepared dataset or a built-in one, in this order; and the folder, if any."""
    from focuscli.data.schema import builtin_schema, load_schema

    if Path(name).is_file():
        return load_schema(Path(name)), None
    try:
        folder = paths.resolve_dataset(name)
    except InputError:
        if name not in paths.KNOWN_DATASETS:
            raise
        return builtin_schema(name), None
    return load_schema(folder / "schema.toml"), folder


def _named(text: Text) -> dict[str, str | None]:
    return {"phrase": text.phrase, "attribute": text.attribute}


def _place(text: Text) -> tuple[str, str, str, str]:
    region = f"{text.region} ({text.subregion})" if text.subregion else text.region
    return text.phrase, region, text.category, text.group


COMMANDS = {"show": show_command, "check": check_command, "diff": diff_command}

"""RAPv2's RAP_annotation.mat, by the structure that other projects' readers show. Never run on the real file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from focuscli.data.attributes import Attribute, AttributeSchema, Group, normalise_phrase
from focuscli.data.guess import guess_schema
from focuscli.data.mat import partition_parts, read_mat_file, strings
from focuscli.data.official import Official, find_file, find_image_root, official_partition, rare_attributes
from focuscli.data.schema import builtin_schema
from focuscli.errors import InputError

PARTS = {"train_index": "train", "val_index": "val", "test_index": "test"}
PUBLISHED = {"train": 50_957, "val": 16_986, "test": 16_985}
EVALUATED = 54
_Content = tuple[list[str], list[str], Any, list[int], list[dict[str, Any]]]


def read_rapv2(source: Path, *, split: str = "official:0", images: Path | None = None) -> Official:
    """Read RAP_annotation.mat: name, data, attribute, selected_attribute (from 1) and partition_attribute.

    The schema is made from the file's names: RAPv1's declaration where RAPv1 has the name, else a guess. Columns beside the
    evaluated ones are kept where they hold nothing but 0, 1 and 2.

    Args:
        source: the folder with RAP_annotation/ and RAP_dataset/, or the one of the .mat, or the file.
        images: the folder of the images; by default found beside.

    Raises:
        UsageError: no such split. InputError: not RAPv2, or damaged.
    """
    number = official_partition(split, "RAPv2")
    file = find_file(source, "RAP_annotation.mat", "RAPv2", ("RAP_annotation", "RAP2", "RAP2/RAP_annotation"))
    found = read_mat_file(file, _parse, "Fetch RAP_annotation.mat again.")
    names, attributes, table, selected, partitions = found
    if number >= len(partitions):
        raise InputError(f"{file} has {len(partitions)} partitions; {split} is not among them.")
    others = [
        column
        for column in range(len(attributes))
        if column not in selected and np.isin(table[:, column], (0, 1, 2)).all()
    ]
    columns = [*selected, *others]
    schema = _schema([attributes[column] for column in columns], len(selected))
    labels = table[:, columns].astype(np.int8)
    splits = np.full(len(names), "unused", dtype="U6")
    for part, split_name in PARTS.items():
        splits[partitions[number][part]] = split_name
    near = (file.parent.parent / "RAP_dataset", file.parent / "RAP_dataset", file.parent.parent, file.parent)
    root = images or find_image_root(near, names)
    warnings = [
        "This reader was never run on the real RAPv2 file: compare every count with the published ones first.",
        "schema.toml is made from RAPv1's declarations and guesses; read it before you train.",
        "Persons are not read, so whether test shows people of train is not checked.",
    ]
    if len(selected) != EVALUATED:
        warnings.append(f"RAPv2 evaluates {EVALUATED} attributes; this file selects {len(selected)}.")
    warnings += rare_attributes(schema, labels, splits)
    notes = [f"{len(attributes) - len(columns)} columns hold other values than 0, 1 and 2 and are left out"]
    persons = np.full(len(names), "", dtype=np.str_)
    return Official(
        schema,
        root.resolve(),
        names,
        splits,
        persons,
        labels,
        split,
        PUBLISHED,
        warnings,
        notes if len(columns) < len(attributes) else [],
        {"labels_from": file.name},
    )


def _parse(variables: dict[str, Any]) -> _Content:
    struct = variables["RAP_annotation"][0, 0]
    for field in ("name", "data", "attribute", "selected_attribute", "partition_attribute"):
        if field not in (struct.dtype.names or ()):
            raise ValueError(f"it has no field {field}; RAPv1's file is another one (focus prepare rapv1)")
    names, attributes = strings(struct["name"]), strings(struct["attribute"])
    table = np.asarray(struct["data"])
    if table.shape != (len(names), len(attributes)):
        raise ValueError(
            f"its data have shape {table.shape}, but it names {len(names):,} images and {len(attributes)} attributes"
        )
    selected = (np.asarray(struct["selected_attribute"]).astype(np.int64).ravel() - 1).tolist()
    if not selected or min(selected) < 0 or max(selected) >= len(attributes) or len(set(selected)) != len(selected):
        raise ValueError("selected_attribute does not hold different numbers of its attributes, from 1")
    if not np.isin(table[:, selected], (0, 1, 2)).all():
        raise ValueError("it holds evaluated labels other than 0, 1 and 2")
    entries = [entry[0, 0] for entry in np.asarray(struct["partition_attribute"]).ravel()]
    parts = [partition_parts(entry, [*PARTS], number, len(names)) for number, entry in enumerate(entries)]
    return names, attributes, table, selected, parts


def _schema(names: list[str], evaluated: int) -> AttributeSchema:
    """One attribute per name, the first `evaluated` of them evaluated."""
    declared = {attribute.name: attribute for attribute in builtin_schema("rapv1").attributes}
    attributes: list[Attribute] = []
    taken = {normalise_phrase(declared[name].phrase) for name in names if name in declared}
    for number, guessed in enumerate(guess_schema("rapv2", names).attributes):
        attribute = declared.get(guessed.name, guessed)
        phrase = attribute.phrase
        if attribute is guessed and normalise_phrase(phrase) in taken:
            phrase = f"{phrase} {number}"
        attributes.append(attribute.model_copy(update={"phrase": phrase, "evaluated": number < evaluated}))
    groups = tuple(Group(name=group) for group in dict.fromkeys(attribute.group for attribute in attributes))
    return AttributeSchema(
        name="rapv2", title="RAPv2, schema partly guessed", groups=groups, attributes=tuple(attributes)
    )

"""RAPv2's official files: RAP_annotation.mat, another struct than RAPv1's, and the images of RAP_dataset.

Written from the programs that read those files; never run on the real one, which is sent on request only. What the file
itself says takes precedence over what is known of it: which attributes are evaluated, their columns, the partitions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from focuscli.data.readers import mat
from focuscli.data.readers.annotations import (
    PARTITIONS_OVERLAP,
    Annotations,
    find_file,
    find_rap_images,
    official_partition,
    rare_attributes,
    uncertain_columns,
)
from focuscli.data.readers.pickles import ZS_PREFIX, read_zero_shot_splits, zero_shot_file
from focuscli.data.schema import (
    UNCERTAIN,
    Attribute,
    AttributeSchema,
    Group,
    builtin_schema,
    guess_schema,
    normalise_phrase,
)

PARTS = {"train_index": "train", "val_index": "val", "test_index": "test"}
PUBLISHED = {"train": 50_957, "val": 16_986, "test": 16_985}
PUBLISHED_ZS = {"train": 17_062, "val": 4_628, "test": 4_928}
EVALUATED = 54
ZS_EXCLUDED = "Age46-60"  # RAP-ZS evaluates the other 53


def read_rapv2(source: Path, *, split: str = "official:0", images: Path | None = None) -> Annotations:
    """Read RAP_annotation.mat: name, data, attribute, selected_attribute (from 1) and partition_attribute.

    Args:
        source: the folder with RAP_annotation/ and RAP_dataset/, or the one of the .mat, or the file.
        split: a partition of the file, or "zs:FILE" for RAP-ZS, see `read_zero_shot_splits`.
        images: the folder of the images; by default found beside.

    Raises:
        UsageError: no such split. InputError: not RAPv2, or damaged.
    """
    zs = split.startswith(ZS_PREFIX)
    zs_file = zero_shot_file(split) if zs else None
    number = 0 if zs else official_partition(split, "official:0 to official:4, zs:FILE")
    file = find_file(source, "RAP_annotation.mat", "RAPv2", ("RAP_annotation", "RAP2", "RAP2/RAP_annotation"))
    with mat.open_mat(file, "Fetch RAP_annotation.mat of RAPv2 again.") as variables:
        fields = ("name", "data", "attribute", "selected_attribute", "partition_attribute")
        otherwise = "; RAPv1's file is another one (focus prepare rapv1)"
        struct = mat.struct_fields(variables, "RAP_annotation", fields, otherwise)
        names = mat.strings(struct["name"])
        schema, labels, notes = _attributes(struct, len(names))
        partitions = mat.partition_splits(struct["partition_attribute"], PARTS, len(names))
    if zs_file is not None:
        splits = read_zero_shot_splits(zs_file, names)
        schema = _with_attributes(
            schema,
            [
                row.model_copy(update={"evaluated": row.evaluated and row.name != ZS_EXCLUDED})
                for row in schema.attributes
            ],
        )
    else:
        splits = mat.pick_partition(partitions, number, file)
    root = (images or find_rap_images(file, names)).resolve()
    persons = np.full(len(names), "", dtype=np.str_)
    published = PUBLISHED_ZS if zs else PUBLISHED
    warnings = _warnings(schema, labels, splits, zs=zs)
    info = {"labels_from": file.name}
    return Annotations(schema, root, names, splits, persons, labels, split, published, warnings, notes, info)


def _warnings(schema: AttributeSchema, labels: NDArray[np.int8], splits: NDArray[np.str_], *, zs: bool) -> list[str]:
    warnings = [
        "This reader was never run on the real file of RAPv2: compare the counts, and check some images' labels."
    ]
    count, wanted = len(schema.evaluated), EVALUATED - zs
    if count != wanted:
        warnings.append(f"{wanted} attributes should be evaluated; here are {count}. Published metrics do not compare.")
    if names := uncertain_columns(schema, labels):
        warnings.append(
            f"{int((labels == UNCERTAIN).sum()):,} labels have the value 2 ({', '.join(names[:5])}), read as uncertain. "
            "They are masked; --set data.uncertain=negative counts them as 0."
        )
    if not zs:
        warnings += [PARTITIONS_OVERLAP, "Persons are not read, so whether test shows people of train is not checked."]
    return [*warnings, *rare_attributes(schema, labels, splits)]


def _attributes(struct: Any, count: int) -> tuple[AttributeSchema, NDArray[np.int8], list[str]]:
    """The schema of the file's attributes, the evaluated ones first and in the file's order of them; their labels; and
    notes on ignored columns and guessed descriptions."""
    columns, table = mat.strings(struct["attribute"]), np.asarray(struct["data"])
    if table.shape != (count, len(columns)):
        raise ValueError(f"its data have shape {table.shape}, but it names {count:,} images, {len(columns)} columns")
    # Numbers of columns from 1, in an order that is not that of the columns.
    selected = (np.asarray(struct["selected_attribute"]).astype(np.int64).ravel() - 1).tolist()
    if not selected or min(selected) < 0 or max(selected) >= len(columns) or len(set(selected)) != len(selected):
        raise ValueError("selected_attribute does not hold different numbers of its columns, from 1")
    evaluated = [columns[column] for column in selected]
    known = {attribute.name for attribute in builtin_schema("rapv2").attributes}
    binary = np.asarray(np.isin(table, (0, 1, UNCERTAIN)).all(axis=0))
    # The file has 152 columns, some of which (boxes among them) are not attributes: those without a known name are ignored.
    extras = [
        name
        for name, usable in zip(columns, binary.tolist(), strict=True)
        if usable and name in known and name not in evaluated
    ]
    schema, guessed = _schema([*evaluated, *extras], len(evaluated))
    notes = [f"ignored {len(columns) - len(evaluated) - len(extras)} of the file's {len(columns)} columns"]
    if guessed:
        notes.append(f"schema.toml guesses what {', '.join(guessed)} mean; read it before you train")
    return schema, mat.attribute_labels(table, columns, schema, (0, 1, UNCERTAIN)), notes


def _schema(names: list[str], evaluated: int) -> tuple[AttributeSchema, list[str]]:
    """A schema of these attributes, the first `evaluated` of them evaluated, and which of them are guessed.

    An attribute is described as in rapv2.toml, else as in rapv1.toml, else by a guess from its name.
    """
    own = builtin_schema("rapv2")
    declared = {attribute.name: attribute for attribute in (*builtin_schema("rapv1").attributes, *own.attributes)}
    guesses = {attribute.name: attribute for attribute in guess_schema(own.name, names).attributes}
    taken = {normalise_phrase(declared[name].phrase) for name in names if name in declared}
    attributes: list[Attribute] = []
    for number, name in enumerate(names):
        attribute = declared.get(name) or guesses[name]
        if name not in declared and normalise_phrase(attribute.phrase) in taken:
            attribute = attribute.model_copy(update={"phrase": f"{attribute.phrase} {number}"})
        attributes.append(attribute.model_copy(update={"evaluated": number < evaluated}))
    return _with_attributes(own, attributes), [name for name in names if name not in declared]


def _with_attributes(schema: AttributeSchema, attributes: list[Attribute]) -> AttributeSchema:
    """The schema with other attributes: with a group for each, and complements only where something is evaluated."""
    evaluated = {attribute.group for attribute in attributes if attribute.evaluated}
    groups = {group.name: group for group in schema.groups}
    for attribute in attributes:
        groups.setdefault(attribute.group, Group(name=attribute.group))
    kept = [
        group if group.name in evaluated else group.model_copy(update={"complements": ()}) for group in groups.values()
    ]
    return AttributeSchema.model_validate({**dict(schema), "groups": tuple(kept), "attributes": tuple(attributes)})

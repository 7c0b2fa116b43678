"""RAPv2's official files: RAP_annotation.mat, which is another struct than RAPv1's, and the images of RAP_dataset.

Written from the programs that read those files; never run on the real one, which is sent on request only. What the file
itself says goes before what is known of it: which attributes are evaluated, their columns, the partitions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from focuscli.data.identity_file import ZS_PREFIX, identity_file, read_identity_splits
from focuscli.data.mat import partition_parts, read_mat_file, strings
from focuscli.data.official import Official, find_file, find_image_root, rare_attributes
from focuscli.data.schema import UNCERTAIN, AttributeSchema
from focuscli.errors import InputError, UsageError

PARTS = {"train_index": "train", "val_index": "val", "test_index": "test"}
PUBLISHED = {"train": 50_957, "val": 16_986, "test": 16_985}
PUBLISHED_ZS = {"train": 17_062, "val": 4_628, "test": 4_928}
EVALUATED = 54
ZS_LEFT_OUT = "Age46-60"  # RAP-ZS evaluates the other 53
NEVER_RUN = "This reader was never run on the real file of RAPv2: compare the counts, and look at some images' labels."


@dataclass(frozen=True, eq=False)
class Rap2Mat:
    """The content of RAPv2's RAP_annotation.mat for N images.

    Attributes:
        schema: the built-in one, reduced to attributes that the file has, with the file's own choice of evaluated ones.
        images: N names. labels: [N, A] int8 in schema order; 0, 1 or 2.
        partitions: per partition the positions (from 0) of its train, val and test images.
        notes: which attributes were left out.
    """

    schema: AttributeSchema
    images: list[str]
    labels: NDArray[np.int8]
    partitions: tuple[dict[str, NDArray[np.int64]], ...]
    notes: list[str]


def parse_split(split: str) -> tuple[str, int]:
    """The kind of split ("official" or "zs") and the partition's number (0 for the latter).

    Raises:
        UsageError: none of them.
    """
    if split.startswith(ZS_PREFIX):
        identity_file(split)
        return "zs", 0
    match = re.fullmatch(r"official(?::([0-4]))?", split)
    if match is None:
        raise UsageError(
            f'Unknown split "{split}".',
            "RAPv2 has official:0 to official:4 (the default is official:0), and zs:FILE for RAP-ZS.",
        )
    return "official", int(match[1] or 0)


def read_rapv2(
    source: Path, schema: AttributeSchema, *, split: str = "official:0", images: Path | None = None
) -> Official:
    """Read RAP_annotation.mat: name, data, attribute, selected_attribute and partition_attribute.

    Args:
        source: the folder with RAP_annotation/ and RAP_dataset/, or the one of the .mat, or the file.
        split: a partition of the file, or "zs:FILE" for RAP-ZS, see `identity_file`.
        images: the folder of the images; by default found beside.

    Raises:
        UsageError: no such split. InputError: not RAPv2, or damaged.
    """
    kind, number = parse_split(split)
    file = find_file(source, "RAP_annotation.mat", "RAPv2", ("RAP_annotation", "RAP2", "RAP2/RAP_annotation"))
    rap = read_mat_file(file, lambda variables: _parse(variables, schema), "Fetch RAP_annotation.mat of RAPv2 again.")
    schema, published = rap.schema, PUBLISHED
    if kind == "zs":
        splits, published = read_identity_splits(identity_file(split), rap.images), PUBLISHED_ZS
        schema = _without(schema, ZS_LEFT_OUT)
    elif number >= len(rap.partitions):
        raise InputError(f"{file} has {len(rap.partitions)} partitions; {split} is not among them.")
    else:
        splits = np.full(len(rap.images), "unused", dtype="U6")
        for field, part in PARTS.items():
            splits[rap.partitions[number][field]] = part
    near = (file.parent.parent / "RAP_dataset", file.parent / "RAP_dataset", file.parent.parent, file.parent)
    root = images or find_image_root(near, rap.images)
    return Official(
        schema,
        root.resolve(),
        rap.images,
        splits,
        np.full(len(rap.images), "", dtype=np.str_),
        rap.labels,
        split,
        published,
        _warnings(rap, schema, splits, kind),
        rap.notes,
        {"labels_from": file.name},
    )


def _warnings(rap: Rap2Mat, schema: AttributeSchema, splits: NDArray[np.str_], kind: str) -> list[str]:
    warnings = [NEVER_RUN]
    count = len(schema.evaluated)
    if count != EVALUATED - (kind == "zs"):
        warnings.append(f"{EVALUATED - (kind == 'zs')} attributes should be evaluated; here are {count}.")
    uncertain = rap.labels == UNCERTAIN
    if uncertain.any():
        names = [schema.attributes[column].name for column in np.flatnonzero(uncertain.any(axis=0))]
        warnings.append(
            f"{int(uncertain.sum()):,} labels have the value 2 ({', '.join(names[:5])}), read as uncertain. They are masked; "
            "--set data.uncertain=negative counts them as 0."
        )
    if kind == "official":
        warnings.append("The five partitions overlap: never test on one what was trained on another.")
        warnings.append("Persons are not read: whether test shows people of train is not checked.")
    return [*warnings, *rare_attributes(schema, rap.labels, splits)]


def _parse(variables: dict[str, Any], schema: AttributeSchema) -> Rap2Mat:
    struct = variables["RAP_annotation"][0, 0]
    for field in ("name", "data", "attribute", "selected_attribute", "partition_attribute"):
        if field not in (struct.dtype.names or ()):
            raise ValueError(f"it has no field {field}; a file with attribute_eng is RAPv1's")
    images, names, table = strings(struct["name"]), strings(struct["attribute"]), np.asarray(struct["data"])
    if table.shape != (len(images), len(names)):
        raise ValueError(
            f"its data have shape {table.shape}, but it names {len(images):,} images, {len(names)} columns"
        )
    # Numbers of columns from 1, in an order of their own.
    selected = np.asarray(struct["selected_attribute"]).astype(np.int64).ravel() - 1
    if not len(selected) or selected.min() < 0 or selected.max() >= len(names):
        raise ValueError(f"it selects columns outside 1 to {len(names)}")
    evaluated = [names[column] for column in selected.tolist()]
    found, notes = _fitting(schema, names, evaluated, table)
    columns = [names.index(attribute.name) for attribute in found.attributes]
    partitions = [entry[0, 0] for entry in np.asarray(struct["partition_attribute"]).ravel()]
    return Rap2Mat(
        found,
        images,
        table[:, columns].astype(np.int8),
        tuple(partition_parts(entry, [*PARTS], number, len(images)) for number, entry in enumerate(partitions)),
        notes,
    )


def _fitting(
    schema: AttributeSchema, names: list[str], evaluated: list[str], table: NDArray[Any]
) -> tuple[AttributeSchema, list[str]]:
    """The schema with the file's attributes only, evaluated as the file says; and notes on what was left out.

    The file has 152 columns, of which some (boxes among them) are no attributes, so that a column which the schema does not
    name is left alone, unless the file selects it.
    """
    unknown = [name for name in evaluated if name not in {attribute.name for attribute in schema.attributes}]
    if unknown:
        raise ValueError(
            f"it selects {len(unknown)} attributes that focuscli/data/specs/rapv2.toml does not describe, "
            f"for one {unknown[0]}"
        )
    kept, notes = [], []
    dropped = [attribute.name for attribute in schema.attributes if attribute.name not in names]
    for attribute in schema.attributes:
        if attribute.name in names:
            if np.isin(table[:, names.index(attribute.name)], (0, 1, UNCERTAIN)).all():
                kept.append(attribute.model_copy(update={"evaluated": attribute.name in evaluated}))
            elif attribute.name in evaluated:
                raise ValueError(f"{attribute.name} holds values other than 0, 1 and 2")
            else:
                dropped.append(attribute.name)
    if dropped:
        notes.append(f"left out {len(dropped)} attributes that this file has no labels of: {', '.join(dropped[:5])}")
    notes.append(f"left alone {len(names) - len(kept)} of its {len(names)} columns")
    order = {name: number for number, name in enumerate(evaluated)}
    kept.sort(key=lambda attribute: order.get(attribute.name, len(order)))
    return _rebuilt(schema, kept), notes


def _without(schema: AttributeSchema, name: str) -> AttributeSchema:
    """The schema with one attribute outside the evaluation."""
    attributes = [
        attribute.model_copy(update={"evaluated": attribute.evaluated and attribute.name != name})
        for attribute in schema.attributes
    ]
    return _rebuilt(schema, attributes)


def _rebuilt(schema: AttributeSchema, attributes: list[Any]) -> AttributeSchema:
    """The schema with other attributes; a group that is left without an evaluated one loses its complements."""
    evaluated = {attribute.group for attribute in attributes if attribute.evaluated}
    groups = [
        group if group.name in evaluated else group.model_copy(update={"complements": ()}) for group in schema.groups
    ]
    return AttributeSchema.model_validate(
        {
            **schema.model_dump(),
            "groups": [g.model_dump() for g in groups],
            "attributes": [a.model_dump() for a in attributes],
        }
    )

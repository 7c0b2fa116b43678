"""RAPv2's official files: RAP_annotation.mat, which is another struct than RAPv1's, and the images of RAP_dataset.

Written from the programs that read those files; never run on the real one, which is sent on request only. What the file
itself says goes before what is known of it: which attributes are evaluated, their columns, the partitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from focuscli.data.guess import guess_schema
from focuscli.data.readers.identity_file import ZS_PREFIX, identity_file, read_identity_splits
from focuscli.data.readers.mat import partition_parts, read_mat_file, strings
from focuscli.data.readers.official import (
    Official,
    find_file,
    find_rap_images,
    official_partition,
    partition_splits,
    rare_attributes,
)
from focuscli.data.schema import UNCERTAIN, Attribute, AttributeSchema, Group, builtin_schema, normalise_phrase

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
        schema: the file's attributes, the evaluated ones first and in the file's order of them.
        images: N names. labels: [N, A] int8 in schema order; 0, 1 or 2.
        partitions: per partition the positions (from 0) of its train, val and test images.
        notes: which columns were left out, and whose description is a guess.
    """

    schema: AttributeSchema
    images: list[str]
    labels: NDArray[np.int8]
    partitions: tuple[dict[str, NDArray[np.int64]], ...]
    notes: list[str]


def read_rapv2(source: Path, *, split: str = "official:0", images: Path | None = None) -> Official:
    """Read RAP_annotation.mat: name, data, attribute, selected_attribute (from 1) and partition_attribute.

    Args:
        source: the folder with RAP_annotation/ and RAP_dataset/, or the one of the .mat, or the file.
        split: a partition of the file, or "zs:FILE" for RAP-ZS, see `identity_file`.
        images: the folder of the images; by default found beside.

    Raises:
        UsageError: no such split. InputError: not RAPv2, or damaged.
    """
    zs = split.startswith(ZS_PREFIX)
    splits_file, number = (identity_file(split), 0) if zs else (None, official_partition(split, "RAPv2"))
    file = find_file(source, "RAP_annotation.mat", "RAPv2", ("RAP_annotation", "RAP2", "RAP2/RAP_annotation"))
    rap = read_mat_file(file, _parse, "Fetch RAP_annotation.mat of RAPv2 again.")
    schema = rap.schema
    if splits_file is not None:
        splits = read_identity_splits(splits_file, rap.images)
        schema = _without(schema, ZS_LEFT_OUT)
    else:
        splits = partition_splits(rap.partitions, number, PARTS, len(rap.images), file)
    root = images or find_rap_images(file, rap.images)
    return Official(
        schema,
        root.resolve(),
        rap.images,
        splits,
        np.full(len(rap.images), "", dtype=np.str_),
        rap.labels,
        split,
        PUBLISHED_ZS if zs else PUBLISHED,
        _warnings(rap, schema, splits, zs=zs),
        rap.notes,
        {"labels_from": file.name},
    )


def _warnings(rap: Rap2Mat, schema: AttributeSchema, splits: NDArray[np.str_], *, zs: bool) -> list[str]:
    warnings = [NEVER_RUN]
    count, wanted = len(schema.evaluated), EVALUATED - zs
    if count != wanted:
        warnings.append(f"{wanted} attributes should be evaluated; here are {count}. Published figures do not compare.")
    uncertain = rap.labels == UNCERTAIN
    if uncertain.any():
        names = [schema.attributes[column].name for column in np.flatnonzero(uncertain.any(axis=0))]
        warnings.append(
            f"{int(uncertain.sum()):,} labels have the value 2 ({', '.join(names[:5])}), read as uncertain. They are masked; "
            "--set data.uncertain=negative counts them as 0."
        )
    if not zs:
        warnings.append("The five partitions overlap: never test on one what was trained on another.")
        warnings.append("Persons are not read, so whether test shows people of train is not checked.")
    return [*warnings, *rare_attributes(schema, rap.labels, splits)]


def _parse(variables: dict[str, Any]) -> Rap2Mat:
    struct = variables["RAP_annotation"][0, 0]
    for field in ("name", "data", "attribute", "selected_attribute", "partition_attribute"):
        if field not in (struct.dtype.names or ()):
            raise ValueError(f"it has no field {field}; RAPv1's file is another one (focus prepare rapv1)")
    images, names, table = strings(struct["name"]), strings(struct["attribute"]), np.asarray(struct["data"])
    if table.shape != (len(images), len(names)):
        raise ValueError(
            f"its data have shape {table.shape}, but it names {len(images):,} images, {len(names)} columns"
        )
    # Numbers of columns from 1, in an order that is not that of the columns.
    selected = (np.asarray(struct["selected_attribute"]).astype(np.int64).ravel() - 1).tolist()
    if not selected or min(selected) < 0 or max(selected) >= len(names) or len(set(selected)) != len(selected):
        raise ValueError("selected_attribute does not hold different numbers of its columns, from 1")
    evaluated = [names[column] for column in selected]
    known = {attribute.name for attribute in builtin_schema("rapv2").attributes}
    # The file has 152 columns, of which some (boxes among them) are no attributes: unnamed ones are left alone.
    extras = [name for name in names if name in known and name not in evaluated]
    binary = {name: bool(np.isin(table[:, names.index(name)], (0, 1, UNCERTAIN)).all()) for name in evaluated + extras}
    wrong = [name for name in evaluated if not binary[name]]
    if wrong:
        raise ValueError(f"{wrong[0]} is evaluated, but holds labels other than 0, 1 and 2")
    kept = [*evaluated, *(name for name in extras if binary[name])]
    schema, guessed = _schema(kept, len(evaluated))
    notes = [f"left alone {len(names) - len(kept)} of the file's {len(names)} columns"]
    if guessed:
        notes.append(f"schema.toml guesses what {', '.join(guessed)} mean; read it before you train")
    entries = [entry[0, 0] for entry in np.asarray(struct["partition_attribute"]).ravel()]
    return Rap2Mat(
        schema,
        images,
        table[:, [names.index(name) for name in kept]].astype(np.int8),
        tuple(partition_parts(entry, [*PARTS], number, len(images)) for number, entry in enumerate(entries)),
        notes,
    )


def _schema(names: list[str], evaluated: int) -> tuple[AttributeSchema, list[str]]:
    """A schema of these attributes, the first `evaluated` of them evaluated, and which of them are guessed.

    An attribute is described as in rapv2.toml, else as in rapv1.toml, else by a guess from its name.
    """
    own = builtin_schema("rapv2")
    declared = {attribute.name: attribute for attribute in (*builtin_schema("rapv1").attributes, *own.attributes)}
    guesses = {attribute.name: attribute for attribute in guess_schema(own.name, names).attributes}
    attributes: list[Attribute] = []
    taken: set[str] = {normalise_phrase(declared[name].phrase) for name in names if name in declared}
    for number, name in enumerate(names):
        attribute = declared.get(name) or guesses[name]
        if name not in declared and normalise_phrase(attribute.phrase) in taken:
            attribute = attribute.model_copy(update={"phrase": f"{attribute.phrase} {number}"})
        attributes.append(attribute.model_copy(update={"evaluated": number < evaluated}))
    return _with_attributes(own, attributes), [name for name in names if name not in declared]


def _without(schema: AttributeSchema, name: str) -> AttributeSchema:
    """The schema with one attribute outside the evaluation."""
    changed = {True: {"evaluated": False}, False: {}}
    return _with_attributes(schema, [a.model_copy(update=changed[a.name == name]) for a in schema.attributes])


def _with_attributes(schema: AttributeSchema, attributes: list[Attribute]) -> AttributeSchema:
    """The schema with other attributes: with a group for each, and complements only where something is evaluated."""
    evaluated = {attribute.group for attribute in attributes if attribute.evaluated}
    groups = {group.name: group for group in schema.groups}
    for name in dict.fromkeys(attribute.group for attribute in attributes):
        groups.setdefault(name, Group(name=name))
    fitting = [
        group if group.name in evaluated else group.model_copy(update={"complements": ()}) for group in groups.values()
    ]
    return AttributeSchema.model_validate({**dict(schema), "groups": tuple(fitting), "attributes": tuple(attributes)})

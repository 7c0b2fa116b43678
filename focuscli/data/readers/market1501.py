"""Market-1501 as downloaded, with market_attribute.mat: the attributes of each person, 1 = no and 2 = yes.

The file's structs, train and test, have a field per attribute, in different orders, and image_index: the four digits that the
names of a person's images begin with, as in 0002_c1s1_000451_03.jpg (person 2, camera 1). It describes persons only, so
that every image of one has the same labels.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from focuscli.data.inputs import looks_like_image
from focuscli.data.readers import mat
from focuscli.data.readers.annotations import NO_VAL, Annotations, find_file, find_image_root, reading
from focuscli.data.schema import AttributeSchema, builtin_schema
from focuscli.errors import InputError, plural
from focuscli.storage.paths import user_path

FILE = "market_attribute.mat"
FOLDERS = {"bounding_box_train": "train", "query": "test", "bounding_box_test": "test"}
PUBLISHED = {"train": 12_936, "test": 16_483}  # 3,368 of query and the 13,115 of the gallery that show a known person
PUBLISHED_PERSONS = {"train": 751, "test": 750}
AGES = ("young", "teenager", "adult", "old")  # codes 1 to 4 of the field age
UNLABELLED = {"0000": "distractor", "-1": "junk box"}
_NAME = re.compile(r"(-1|[0-9]{4})_c([0-9]+)s")
_HINT = f"Fetch {FILE} from https://github.com/vana77/Market-1501_Attribute and name it, with the images: "
_HINT += f"focus prepare market1501 {FILE} --images Market-1501-v15.09.15"


def read_market1501(source: Path, *, images: Path | None = None) -> Annotations:
    """Read Market-1501: bounding_box_train is train; query and bounding_box_test are test.

    Distractors (person 0000) and junk boxes (-1) of the gallery have no labels and are left out. Without any images there
    is a row for each person, under its four digits.

    Args:
        source: the folder with market_attribute.mat, or one at most two levels above, or the file.
        images: the folder that holds bounding_box_train; by default found beside.

    Raises:
        InputError: not Market-1501, or damaged.
    """
    schema = builtin_schema("market1501")
    file = find_file(source, FILE, _HINT)
    with reading(file, _HINT):
        struct = mat.variables(file)["market_attribute"][0, 0]
        rows = {part: _read_part(struct[part][0, 0], schema) for part in PUBLISHED}
    known = rows["train"] | rows["test"]
    if len(known) < sum(map(len, rows.values())):
        raise InputError(f"{file} has a person in train and in test.", _HINT)
    source = user_path(source)
    root = find_image_root(images, [file.parent, file.parent.parent, source, *sorted(source.glob("*/"))], [*FOLDERS])
    warnings = ["Labels are those of the person, whatever an image shows: a bag that is hidden counts as present."]
    notes = [NO_VAL]
    found: list[tuple[str, str, str]] = []  # image, split, person
    left, others, cameras = Counter[str](), [], set()
    for folder, split in FOLDERS.items():
        for name in filter(looks_like_image, sorted(os.listdir(root / folder) if (root / folder).is_dir() else ())):
            match = _NAME.match(name)
            if match and match[1] in known:
                found.append((f"{folder}/{name}", split, match[1]))
                cameras.add(int(match[2]))
            elif match and match[1] in UNLABELLED:
                left[match[1]] += 1
            else:
                others.append(f"{folder}/{name}")
    if others:
        warnings.append(f"Left out: {plural(len(others), 'image')} of no person in {FILE}, such as {others[0]}.")
    notes += [
        f"left out: {count:,} of person {person} ({UNLABELLED[person]}), without labels"
        for person, count in left.items()
    ]
    if found:
        published = PUBLISHED
        notes.append(f"persons and cameras ({', '.join(map(str, sorted(cameras)))}) as in the file names")
    elif others or left:
        raise InputError(f"No image in {root} is of a person in {file}.", _HINT)
    else:
        published = PUBLISHED_PERSONS
        notes.append("no images: one row for each person")
        found = [(person, part, person) for part, table in rows.items() for person in table]
    names = [image for image, _, _ in found]
    splits, persons = (np.array([row[column] for row in found], np.str_) for column in (1, 2))
    labels = np.array([known[person] for _, _, person in found])
    return Annotations(schema, root, names, splits, persons, labels, "official", published, warnings, notes)


def _read_part(table: NDArray[np.void], schema: AttributeSchema) -> dict[str, NDArray[np.int8]]:
    """The labels [A] of each person of the struct train or test."""
    persons = mat.strings(table["image_index"])
    if not all(re.fullmatch("[0-9]{4}", person) for person in persons) or len(set(persons)) < len(persons):
        raise ValueError("its image_index are not the four digits of one person each")
    columns = []
    for attribute in schema.attributes:
        age = attribute.name in AGES
        codes = np.asarray(table["age" if age else attribute.name]).ravel()
        allowed = range(1, len(AGES) + 1) if age else (1, 2)
        if len(codes) != len(persons) or not np.isin(codes, allowed).all():
            raise ValueError(f"its {attribute.name} is not a code from 1 to {allowed[-1]} for each of {len(persons)}")
        columns.append(codes == (AGES.index(attribute.name) + 1 if age else 2))
    return dict(zip(persons, np.stack(columns, axis=1).astype(np.int8), strict=True))

"""Attribute schemas, the one import for the rest of the program, and the arrays that are derived from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from focuscli.data.attributes import (
    REGIONS,
    SUBREGIONS,
    Attribute,
    AttributeSchema,
    Granularity,
    Group,
    Text,
    column_of,
    normalise_phrase,
)
from focuscli.data.schema_file import builtin_schema, dump_schema, load_schema, parse_schema

__all__ = [
    "REGIONS",
    "SUBREGIONS",
    "UNCERTAIN",
    "Attribute",
    "AttributeSchema",
    "Granularity",
    "Group",
    "Text",
    "builtin_schema",
    "column_of",
    "dump_schema",
    "load_schema",
    "normalise_phrase",
    "parse_schema",
    "region_block_matrix",
    "region_names",
    "text_targets",
]

UNCERTAIN = 2  # the label value that says neither 0 nor 1 (RAPv1's Female has 125 of them)


def region_names(texts: Sequence[Text], regions: Granularity) -> list[str]:
    """The region of each text; "fine" splits `whole` into age, gender, view, body, role and action where given."""
    if regions == "fine":
        return [text.subregion or text.region for text in texts]
    return [text.region for text in texts]


def region_block_matrix(texts: Sequence[Text], regions: Granularity = "coarse") -> NDArray[np.float32]:
    """FOCUS's block matrix B (Eq. 6), [Z, Z]: 1 where two texts share a region, else 0."""
    names = np.array(region_names(texts, regions))
    return (names[:, None] == names[None, :]).astype(np.float32)


def text_targets(
    labels: NDArray[np.int8], schema: AttributeSchema, texts: Sequence[Text]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Which text is true of which image.

    A complement is true when no evaluated attribute of its group is 1, and unknown when only uncertain ones could be.

    Args:
        labels: [N, A] of all attributes of the schema in its order; 0, 1 or 2 (uncertain).
        texts: Z texts of this schema.

    Returns:
        targets [N, Z], 0 or 1 (0 where unknown), and known [N, Z].

    Raises:
        InputError: a text names an attribute that the schema does not have.
    """
    targets = np.zeros((len(labels), len(texts)), np.float32)
    known = np.ones((len(labels), len(texts)), np.bool_)
    for position, text in enumerate(texts):
        if text.attribute is not None:
            column = labels[:, schema.index(text.attribute)]
            targets[:, position] = column == 1
            known[:, position] = column != UNCERTAIN
            continue
        members = [
            number
            for number, attribute in enumerate(schema.attributes)
            if attribute.evaluated and attribute.group == text.group
        ]
        group = labels[:, members]
        none = ~(group == 1).any(axis=1)
        open_question = none & (group == UNCERTAIN).any(axis=1)
        targets[:, position] = none & ~open_question
        known[:, position] = ~open_question
    return targets, known

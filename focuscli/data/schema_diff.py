"""Which texts of one dataset were trained on another: compared by phrase, as learned prompts are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from focuscli.data.regions import name_words
from focuscli.data.schema import AttributeSchema, Text, normalise_phrase


class SchemaDiff(NamedTuple):
    """How the texts of a target relate to those of a source.

    Attributes:
        seen: pairs (text of the target, the training text of the source with the same phrase).
        new: texts of the target that the source does not train.
        only: training texts of the source that the target does not have.
    """

    seen: list[tuple[Text, Text]]
    new: list[Text]
    only: list[Text]


def schema_diff(source: AttributeSchema, target: AttributeSchema, *, evaluated_only: bool = False) -> SchemaDiff:
    """Compare two schemas: the source's training texts (evaluated attributes and complements) with the target's texts.

    Args:
        evaluated_only: leave out the target's attributes outside the evaluation.
    """
    trained = _by_phrase(source.texts(complements=True))
    texts = _by_phrase(target.texts(complements=True, evaluated_only=evaluated_only))
    return SchemaDiff(
        [(text, trained[phrase]) for phrase, text in texts.items() if phrase in trained],
        [text for phrase, text in texts.items() if phrase not in trained],
        [text for phrase, text in trained.items() if phrase not in texts],
    )


def schema_remarks(schema: AttributeSchema) -> list[str]:
    """What is allowed in a schema but probably not meant, one sentence each."""
    remarks = []
    texts = schema.texts(complements=True)
    sizes = Counter(text.group for text in texts)
    alone = [name for name, size in sizes.items() if size == 1]
    if alone:
        remarks.append(
            f"Groups with a single text have nothing to compare it with, in training and in retrieval: {', '.join(alone)}. "
            'Declare a complement ("none of these").'
        )
    unused = [region for region in schema.regions if region not in {text.region for text in texts}]
    if unused:
        remarks.append(f"Regions without an evaluated attribute: {', '.join(unused)}.")
    joined = [text.phrase for text in texts if text.phrase.isalnum() and len(name_words(text.phrase)) > 1]
    if joined:
        remarks.append(f"Phrases that look like names, which CLIP reads as one odd word: {', '.join(joined[:5])}.")
    return remarks


def _by_phrase(texts: Iterable[Text]) -> dict[str, Text]:
    """The first text of each phrase; attributes come before complements that say the same."""
    found: dict[str, Text] = {}
    for text in texts:
        found.setdefault(normalise_phrase(text.phrase), text)
    return found

"""Which texts of one dataset were trained on another: by phrase, as the learned prompts are found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from focuscli.data.schema import AttributeSchema, Text, normalise_phrase


@dataclass(frozen=True)
class SchemaDiff:
    """The texts of a target in the light of a source.

    Attributes:
        seen: pairs (text of the target, the training text of the source with the same phrase).
        new: texts of the target that the source does not train.
        only: training texts of the source that the target does not have.
    """

    seen: tuple[tuple[Text, Text], ...]
    new: tuple[Text, ...]
    only: tuple[Text, ...]

    @property
    def moved(self) -> tuple[tuple[Text, Text], ...]:
        """Pairs of one phrase but different regions: the target's text is read with another region's sentence."""
        return tuple((ours, theirs) for ours, theirs in self.seen if ours.region != theirs.region)


def schema_diff(source: AttributeSchema, target: AttributeSchema, *, evaluated_only: bool = False) -> SchemaDiff:
    """Compare two schemas: the source's training texts (evaluated attributes and complements) with the target's texts.

    Args:
        evaluated_only: leave out the target's attributes outside the evaluation.
    """
    trained = {normalise_phrase(text.phrase): text for text in source.texts(complements=True)}
    texts = _unique(target.texts(complements=True, evaluated_only=evaluated_only))
    seen = [
        (text, trained[normalise_phrase(text.phrase)]) for text in texts if normalise_phrase(text.phrase) in trained
    ]
    found = {normalise_phrase(text.phrase) for text, _ in seen}
    return SchemaDiff(
        tuple(seen),
        tuple(text for text in texts if normalise_phrase(text.phrase) not in found),
        tuple(text for phrase, text in trained.items() if phrase not in found),
    )


def schema_remarks(schema: AttributeSchema) -> list[str]:
    """What is allowed in a schema but worth a second look, one sentence each."""
    remarks = []
    texts = schema.texts(complements=True)
    sizes = Counter(text.group for text in texts)
    alone = [name for name, size in sizes.items() if size == 1]
    if alone:
        remarks.append(
            f"Groups with one text only have nothing to tell it from, neither in training nor in retrieval: {', '.join(alone)}. "
            'Declare a complement ("none of these").'
        )
    unused = [region for region in schema.regions if region not in {text.region for text in texts}]
    if unused:
        remarks.append(f"Regions without an evaluated attribute: {', '.join(unused)}.")
    joined = [
        text.phrase
        for text in texts
        if text.phrase.isidentifier() and text.phrase != text.phrase.lower() and len(text.phrase) > 8
    ]
    if joined:
        remarks.append(f"Phrases that look like names, which CLIP reads as one odd word: {', '.join(joined[:5])}.")
    return remarks


def _unique(texts: tuple[Text, ...]) -> list[Text]:
    """One text per phrase; an attribute goes before a complement that says the same."""
    found: dict[str, Text] = {}
    for text in texts:
        found.setdefault(normalise_phrase(text.phrase), text)
    return [*found.values()]

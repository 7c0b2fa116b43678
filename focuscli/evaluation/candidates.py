"""The candidates of open-domain retrieval: texts in groups, and which of them are true of which image."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from focuscli.data.schema import UNCERTAIN, AttributeSchema, Text, text_targets
from focuscli.data.texts import normalise_phrase
from focuscli.errors import InputError, UsageError, did_you_mean
from focuscli.evaluation.protocols import Protocol

Truth = tuple[NDArray[np.float32], NDArray[np.bool_]]


class Candidate(NamedTuple):
    """A text of a target dataset; `text.group` is the group in which it is a candidate.

    Attributes:
        sentence: POAR's sentence for it; the phrase alone under a protocol that has none.
        declared: the schema's text of the same meaning, which a checkpoint may have been trained on; None if there is none.
    """

    text: Text
    sentence: str
    declared: Text | None


@dataclass(frozen=True)
class Candidates:
    """The texts of a target dataset under a protocol, group by group."""

    schema: AttributeSchema
    protocol: Protocol
    items: tuple[Candidate, ...]

    @property
    def texts(self) -> tuple[Text, ...]:
        return tuple(item.text for item in self.items)

    @property
    def groups(self) -> tuple[str, ...]:
        """The group of each text."""
        return tuple(item.text.group for item in self.items)

    def truth(self, labels: NDArray[np.int8]) -> Truth:
        """Which text is true of which image: targets [N, Z] of 0 or 1 (0 where unknown), known [N, Z].

        Args:
            labels: [N, A] of all attributes of the schema; 0, 1 or 2.
        """
        if self.protocol.candidates == "schema":
            return self._schema_truth(labels)
        table = _poar_table(self.schema)
        groups = {group["name"]: group for group in table["group"]}
        targets = np.zeros((len(labels), len(self.texts)), bool)
        known = np.ones_like(targets)
        for name in dict.fromkeys(self.groups):
            members = [position for position, group in enumerate(self.groups) if group == name]
            targets[:, members], known[:, members] = _poar_truth(
                labels, self.schema, groups[name], table, self.protocol
            )
        return targets.astype(np.float32), known

    def _schema_truth(self, labels: NDArray[np.int8]) -> Truth:
        targets, known = text_targets(labels, self.schema, self.texts)
        if self.protocol.complements == "own label":
            # "short hair" stands for none of the group's evaluated labels in training. Where the file has a label of
            # its own for it, that label is better: an image without any hair label does not show short hair.
            own = {normalise_phrase(attribute.phrase): attribute.text for attribute in self.schema.attributes}
            for position, text in enumerate(self.texts):
                if text.attribute is None and (other := own.get(normalise_phrase(text.phrase))):
                    exact = text_targets(labels, self.schema, [other])
                    targets[:, position], known[:, position] = exact[0][:, 0], exact[1][:, 0]
        return targets, known


def candidates(schema: AttributeSchema, protocol: Protocol, groups: Sequence[str] | None = None) -> Candidates:
    """The candidates of a dataset; `groups` keeps some of its groups only.

    Raises:
        InputError: a group has one text only, so that any answer would be right; or POAR's words are asked for a dataset
            that POAR does not know.
        UsageError: an unknown group.
    """
    if protocol.candidates == "poar":
        items = _poar_candidates(schema)
    else:
        order = {group.name: number for number, group in enumerate(schema.groups)}
        texts = sorted(schema.texts(complements=True), key=lambda text: order[text.group])
        items = [Candidate(text, text.phrase, text) for text in texts]
    known = list(dict.fromkeys(item.text.group for item in items))
    for name in groups or ():
        if name not in known:
            raise UsageError(f'{schema.name} has no group "{name}".', did_you_mean(name, known))
    found = Candidates(schema, protocol, tuple(item for item in items if not groups or item.text.group in groups))
    counts = Counter(found.groups)
    lonely = [name for name, count in counts.items() if count == 1]
    if lonely:
        text = next(text for text in found.texts if text.group == lonely[0])
        others = f" ({len(lonely) - 1} more such groups.)" if len(lonely) > 1 else ""
        several = [name for name, count in counts.items() if count > 1]
        choose = " ".join(f'--group "{name}"' for name in several)
        raise InputError(
            f'{schema.name}: group "{lonely[0]}" has one text only ("{text.phrase}"), so any answer would be right.{others}',
            f'Add to its schema.toml: [[group]] name = "{lonely[0]}" complements = ["..."], a phrase for "none of these"'
            + (f"; or exclude the group: {choose}" if several else ""),
        )
    return found


def _poar_candidates(schema: AttributeSchema) -> list[Candidate]:
    items = []
    for group in _poar_table(schema)["group"]:
        named = [schema.attributes[schema.index(name)] for _, name, *_ in group["words"] if name]
        # The schema's text for "none of these" fits where POAR's group is one group of the schema.
        places = {attribute.group for attribute in named}
        complements = [text for text in schema.texts(complements=True) if text.attribute is None]
        none_of_these = next((text for text in complements if {text.group} == places), None)
        for word, name, *means in group["words"]:
            place = schema.attributes[schema.index(name)] if name else named[0]
            text = Text(word, place.region, place.category, group["name"], place.subregion, attribute=name or None)
            same = name or (means[0] if means else "")
            declared = schema.attributes[schema.index(same)].text if same else none_of_these
            items.append(Candidate(text, group["template"].format(word) + ".", declared))
    return items


def _poar_truth(
    labels: NDArray[np.int8],
    schema: AttributeSchema,
    group: Mapping[str, Any],
    table: Mapping[str, Any],
    protocol: Protocol,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    words = [word for word, *_ in group["words"]]
    targets = np.zeros((len(labels), len(words)), bool)
    known = np.ones_like(targets)
    for position, (_, name, *_) in enumerate(group["words"]):
        if name:
            column = labels[:, schema.index(name)]
            lost = protocol.lost_labels and name in table["lost"]
            targets[:, position] = (column == 1) & (not lost)
            known[:, position] = column != UNCERTAIN
    if len(words) == 2:
        rest = ~targets[:, 0]
        if protocol.complements == "rest":
            targets[:, 1], known[:] = rest, True
        elif not group["words"][1][1]:
            targets[:, 1], known[:, 1] = rest & known[:, 0], known[:, 0]
    elif "else" in group:
        none = ~targets.any(axis=1)
        if protocol.complements == "own label":
            none &= known.all(axis=1)
        targets[:, words.index(group["else"])] |= none
    if protocol.leaked_words and "leak" in table and "other" in words:
        targets[:, words.index("other")] |= labels[:, schema.index(table["leak"])] == 1
    return targets, known


def _poar_table(schema: AttributeSchema) -> Mapping[str, Any]:
    tables = poar_tables()
    if schema.name not in tables:
        raise InputError(
            f"POAR's program knows {', '.join(tables)}; it has no words for {schema.name}.",
            "Use --protocol corrected, which takes texts and groups from the dataset's schema.",
        )
    return tables[schema.name]


def poar_partition(schema: AttributeSchema) -> str | None:
    """The official partition that POAR's program uses for a dataset, as `focus prepare --split` names it."""
    number = poar_tables().get(schema.name, {}).get("partition")
    return None if number is None else f"official:{number}"


@cache
def poar_tables() -> Mapping[str, Any]:
    """POAR's candidates by dataset, as focuscli/evaluation/poar.toml declares them."""
    file = resources.files("focuscli.evaluation") / "poar.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))

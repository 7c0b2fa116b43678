"""A dataset's split as the target of open-domain evaluation: texts in groups, and which of them are true of which image."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from focuscli.data.folder import DatasetFolder
from focuscli.data.schema import UNCERTAIN, AttributeSchema, Text, text_targets
from focuscli.data.texts import normalise_phrase
from focuscli.errors import InputError, UsageError, did_you_mean, plural
from focuscli.evaluation.protocols import CORRECTED, Protocol


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

    @cached_property
    def texts(self) -> tuple[Text, ...]:
        return tuple(item.text for item in self.items)

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The group of each text."""
        return tuple(text.group for text in self.texts)

    def truth(self, labels: NDArray[np.int8]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Which text is true of which image: targets [N, Z] of 0 or 1 (0 where unknown), known [N, Z].

        Args:
            labels: [N, A] of all attributes of the schema; 0, 1 or 2.
        """
        if self.protocol.candidates == "poar":
            groups = [group for group in _poar_table(self.schema)["group"] if group["name"] in self.groups]
            parts = [self._poar_truth(labels, group) for group in groups]
            targets, known = (np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True))
            return targets.astype(np.float32), known
        # "short hair" stands for none of the group's evaluated labels in training. Where the file has a label of its own
        # for it, that label is better: an image without any hair label does not show short hair.
        own = {normalise_phrase(attribute.phrase): attribute.text for attribute in self.schema.attributes}
        texts = [text if text.attribute else own.get(normalise_phrase(text.phrase), text) for text in self.texts]
        return text_targets(labels, self.schema, texts)

    def _poar_truth(self, labels: NDArray[np.int8], group: Mapping[str, Any]) -> tuple[NDArray, NDArray]:
        table = _poar_table(self.schema)
        words = [word for word, *_ in group["words"]]
        targets = np.zeros((len(labels), len(words)), bool)
        known = np.ones_like(targets)
        for position, (_, name, *_) in enumerate(group["words"]):
            if name:
                column = labels[:, self.schema.index(name)]
                targets[:, position] = (column == 1) & (not self.protocol.lost_labels or name not in table["lost"])
                known[:, position] = column != UNCERTAIN
        if len(words) == 2:
            targets[:, 1], known[:] = ~targets[:, 0], True
        elif "else" in group:
            targets[:, words.index(group["else"])] |= ~targets.any(axis=1)
        if self.protocol.leaked_words and "leak" in table and "other" in words:
            targets[:, words.index("other")] |= labels[:, self.schema.index(table["leak"])] == 1
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
    for text in found.texts:
        if counts[text.group] == 1:
            choose = " ".join(f'--group "{name}"' for name, count in counts.items() if count > 1)
            raise InputError(
                f'{schema.name}: group "{text.group}" has one text only ("{text.phrase}"), so any answer would be right.',
                f'Add to its schema.toml: [[group]] name = "{text.group}" complements = ["..."], a phrase for "none of these"'
                + (f"; or exclude the group: {choose}" if choose else ""),
            )
    return found


def _poar_candidates(schema: AttributeSchema) -> list[Candidate]:
    items = []
    complements = [text for text in schema.texts(complements=True) if text.attribute is None]
    for group in _poar_table(schema)["group"]:
        named = [schema.attributes[schema.index(name)] for _, name, *_ in group["words"] if name]
        # The schema's text for "none of these" fits where POAR's group is one group of the schema.
        places = {attribute.group for attribute in named}
        none_of_these = next((text for text in complements if {text.group} == places), None)
        for word, name, *means in group["words"]:
            place = schema.attributes[schema.index(name)] if name else named[0]
            text = Text(word, place.region, place.category, group["name"], place.subregion, attribute=name or None)
            same = name or (means[0] if means else "")
            declared = schema.attributes[schema.index(same)].text if same else none_of_these
            items.append(Candidate(text, group["template"].format(word) + ".", declared))
    return items


def _poar_table(schema: AttributeSchema) -> Mapping[str, Any]:
    tables = poar_tables()
    if schema.name not in tables:
        raise InputError(
            f"POAR's program knows {', '.join(tables)}; it has no words for {schema.name}.",
            "Use --protocol corrected, which takes texts and groups from the dataset's schema.",
        )
    return tables[schema.name]


@cache
def poar_tables() -> Mapping[str, Any]:
    """POAR's candidates by dataset, as focuscli/evaluation/poar.toml declares them."""
    file = resources.files("focuscli.evaluation") / "poar.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))


@dataclass(frozen=True, eq=False)
class Target:
    """A dataset's split as the protocol sees it, before any model.

    Attributes:
        candidates: Z of them. beyond: B attributes outside the evaluation.
        truth, known: [N, Z + B] of the images of the split.
        training: [M, Z] targets of the train and val images, in which the majority-class baseline counts words.
    """

    folder: DatasetFolder
    split: str
    paths: list[Path]
    candidates: Candidates
    beyond: tuple[Text, ...]
    truth: NDArray[np.bool_]
    known: NDArray[np.bool_]
    training: NDArray[np.float32]
    notes: list[str]

    @property
    def texts(self) -> list[Text]:
        return [*self.candidates.texts, *self.beyond]

    @property
    def targets(self) -> NDArray[np.bool_]:
        """Truth of the candidates alone [N, Z]."""
        return self.truth[:, : len(self.candidates.items)]


def open_target(
    folder: DatasetFolder, split: str = "test", protocol: Protocol = CORRECTED, groups: Sequence[str] | None = None
) -> Target:
    """Texts and truth of a target dataset, with every refusal that needs no model.

    Args:
        groups: names of the groups to keep; None: all.

    Raises:
        InputError: no such split, a group with one text only, no image file, POAR's words for a dataset that it does not
            know.
        UsageError: an unknown group.
    """
    found = candidates(folder.schema, protocol, groups)
    if not found.texts:
        raise InputError(
            f"{folder.path / 'schema.toml'} declares no evaluated attribute, so there is nothing to retrieve."
        )
    indices = folder.select(split)
    paths = [folder.image_path(int(index)) for index in indices]
    if not folder.labels_only and not any(path.is_file() for path in paths):
        raise InputError(
            f"None of the {len(paths):,} {split} images of {folder.schema.name} exists (first: {paths[0]}).",
            f"Put them there, or correct image_root in {folder.path / 'schema.toml'}.",
        )
    targets, known = found.truth(folder.labels[indices])
    counted = np.flatnonzero(np.isin(folder.splits, ("train", "val")))
    training = found.truth(folder.labels[counted])[0]
    notes = _notes(folder, found, known, len(np.intersect1d(indices, counted)), len(counted))
    beyond: tuple[Text, ...] = ()
    if protocol.beyond and not groups:
        named = {text.attribute for text in found.texts}
        every = folder.schema.texts(complements=False, evaluated_only=False)
        beyond = tuple(text for text in every if text.attribute not in named)
    more = text_targets(folder.labels[indices], folder.schema, beyond)
    truth, all_known = np.hstack([targets, more[0]]) > 0.5, np.hstack([known, more[1]])
    return Target(folder, split, paths, found, beyond, truth, all_known, training, notes)


def _notes(folder: DatasetFolder, found: Candidates, known: NDArray, trained: int, counted: int) -> list[str]:
    notes = []
    sizes = Counter(found.groups)
    two = [name for name, size in sizes.items() if size == 2]
    if two:
        notes.append(f"R@2 is 100 by construction in {len(two)} of {len(sizes)} groups: {', '.join(two)}")
    if not counted:
        notes.append(f"no image of {folder.schema.name} is in train or val, so there is no majority-class baseline")
    elif trained:
        notes.append(f"the majority-class baseline also counted {trained:,} of the evaluated images")
    if not known.all():
        notes.append(f"counted as not true: {plural(int((~known).sum()), 'uncertain label')}")
    number = poar_tables()[folder.schema.name].get("partition") if found.protocol.partition == "poar" else None
    if number is not None and (split := folder.info.get("split")) != f"official:{number}":
        name = folder.schema.name
        notes.append(f"POAR's program uses official:{number} of {name}; this folder was prepared with {split}")
    return notes

"""The declaration of a dataset's labels: attributes, groups and the texts that they stand for."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, StrictBool, StringConstraints, model_validator

from focuscli.data.texts import Text, normalise_phrase
from focuscli.errors import InputError

REGIONS = ("head", "upper", "lower", "foot", "bag", "whole")
SUBREGIONS = ("age", "gender", "view", "body", "role", "action")

Granularity = Literal["coarse", "fine"]
# One line of text: names become CSV columns and TOML keys' values, phrases become prompts.
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]


class Contradiction(ValueError):
    """Two parts of a schema do not go together; `hint` says what may have been meant."""

    def __init__(self, problem: str, hint: str | None = None) -> None:
        super().__init__(problem)
        self.hint = hint


class _Declaration(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Attribute(_Declaration):
    """One binary attribute.

    Attributes:
        name: official spelling; also the column in labels.csv unless `column` says another.
        phrase, region, category: the parts of its description, see `Text`.
        group: name of its group. Not the same as region: hair and hats are both head.
        subregion: finer region (`SUBREGIONS`), for region `whole` only.
        evaluated: False for labels of the official file that are not part of the benchmark.
    """

    name: Line
    phrase: Line
    region: Line
    category: Line
    group: Line
    subregion: Line | None = None
    evaluated: StrictBool = True
    column: Line | None = None

    @property
    def text(self) -> Text:
        return Text(self.phrase, self.region, self.category, self.group, self.subregion, self.name)


class Group(_Declaration):
    """Attributes among which retrieval looks for the right one.

    Attributes:
        complements: phrases that stand for "none of the evaluated attributes of this group".
        region, category, subregion: of the complements; by default those of the group's first evaluated attribute.
    """

    name: Line
    complements: tuple[Line, ...] = ()
    region: Line | None = None
    category: Line | None = None
    subregion: Line | None = None


class AttributeSchema(_Declaration):
    """All that the labels of a dataset mean, as in schema.toml.

    Attributes:
        image_root: folder of the images, absolute or relative to the dataset folder; None = the dataset folder.
        groups, attributes: in the file's order, which is the order of every label array.
    """

    name: Line
    title: str = ""
    source: str = ""
    regions: tuple[Line, ...] = REGIONS
    image_root: Line | None = None
    groups: tuple[Group, ...]
    attributes: tuple[Attribute, ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.attributes:
            raise Contradiction("no [[attribute]] is declared")
        _refuse_twice("region", self.regions)
        _refuse_twice("attribute", (attribute.name for attribute in self.attributes))
        _refuse_twice("column", (column_of(attribute) for attribute in self.attributes))
        _refuse_twice("group", (group.name for group in self.groups))
        groups = [group.name for group in self.groups]
        for attribute in self.attributes:
            _check_place(f'attribute "{attribute.name}"', attribute, self.regions)
            _refuse_unknown(f'attribute "{attribute.name}"', "group", attribute.group, groups)
        evaluated = {attribute.group for attribute in self.evaluated}
        for group in self.groups:
            _check_place(f'group "{group.name}"', group, self.regions)
            if group.complements and group.name not in evaluated:
                raise Contradiction(f'group "{group.name}" has complements but no evaluated attribute to be none of')
        # A text's learned vectors are found by its phrase, so region and category do not make a phrase unique. But a
        # complement may repeat an attribute that is not evaluated ("female" beside an unevaluated personalFemale):
        # the two never stand in one list of training texts.
        _refuse_twice("phrase", (normalise_phrase(attribute.phrase) for attribute in self.attributes))
        _refuse_twice("phrase", (normalise_phrase(text.phrase) for text in self.texts(complements=True)))
        return self

    @property
    def evaluated(self) -> tuple[Attribute, ...]:
        return tuple(attribute for attribute in self.attributes if attribute.evaluated)

    def index(self, name: str) -> int:
        """Position of an attribute among all, evaluated or not.

        Raises:
            InputError: no attribute of that name.
        """
        names = [attribute.name for attribute in self.attributes]
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"Did you mean {close[0]}?" if close else f"Attributes: {', '.join(names[:8])}, ..."
            raise InputError(f'Dataset {self.name} has no attribute "{name}".', hint)
        return names.index(name)

    def texts(self, *, complements: bool, evaluated_only: bool = True) -> tuple[Text, ...]:
        """Attributes in schema order, then, where wanted, the complements group by group.

        With `evaluated_only` false a complement may have the same phrase as an attribute outside the evaluation.
        """
        chosen = self.evaluated if evaluated_only else self.attributes
        texts = [attribute.text for attribute in chosen]
        if complements:
            for group in self.groups:
                texts += [self._complement(group, phrase) for phrase in group.complements]
        return tuple(texts)

    def _complement(self, group: Group, phrase: str) -> Text:
        first = next(attribute for attribute in self.evaluated if attribute.group == group.name)
        if group.region is None or group.region == first.region:
            region, subregion = first.region, group.subregion or first.subregion
        else:
            region, subregion = group.region, group.subregion
        return Text(phrase, region, group.category or first.category, group.name, subregion)

    def fingerprint(self) -> str:
        """SHA-256 (hex) over what the labels mean; not over title, source, columns and the place of the images."""
        meaning = self.model_dump(
            mode="json",
            exclude={"title": True, "source": True, "image_root": True, "attributes": {"__all__": {"column"}}},
        )
        return hashlib.sha256(json.dumps(meaning, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def column_of(attribute: Attribute) -> str:
    """The attribute's column in labels.csv."""
    return attribute.column or attribute.name


def _check_place(what: str, place: Attribute | Group, regions: tuple[str, ...]) -> None:
    if place.region is not None:
        _refuse_unknown(what, "region", place.region, regions)
    if place.subregion is not None:
        _refuse_unknown(what, "subregion", place.subregion, SUBREGIONS)
        if place.region not in (None, "whole"):
            raise Contradiction(f'{what}: subregion is for region "whole" only, not for "{place.region}"')


def _refuse_unknown(what: str, key: str, value: str, known: Iterable[str]) -> None:
    names = list(known)
    if value not in names:
        close = difflib.get_close_matches(value, names, n=1)
        hint = f"Did you mean {close[0]}?" if close else None
        raise Contradiction(f'{what}: unknown {key} "{value}" (known: {", ".join(names)})', hint)


def _refuse_twice(what: str, values: Iterable[str]) -> None:
    for value, count in Counter(values).items():
        if count > 1:
            raise Contradiction(f'{what} "{value}" is declared {count} times')

"""Attribute schemas: what the labels of a dataset mean, as written in its schema.toml."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    ValidationError,
    model_validator,
)

from focuscli.data.regions import REGIONS, SUBREGIONS, guess_place, name_words
from focuscli.data.texts import Text as Text
from focuscli.data.texts import normalise_phrase as normalise_phrase
from focuscli.errors import InputError, did_you_mean, listed, plural
from focuscli.storage.documents import read_toml
from focuscli.storage.files import fingerprint

UNCERTAIN = 2
"""The label value that means neither 0 nor 1 (RAPv1's Female has 125 of them)."""

MAX_ATTRIBUTES = 5000
"""More are refused: training compares every text with every other one."""

# One line of text: names become CSV columns and TOML values, phrases become prompts.
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]
# What pydantic says of a key, in the words of schema.toml.
_PLAIN = {
    "extra_forbidden": "is no known key",
    "missing": "is missing",
    "string_too_short": "is empty",
    "string_pattern_mismatch": "contains a line break or another control character",
    "tuple_type": "is not a list; tables are written with double brackets, [[attribute]]",
}


class _Declaration(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Attribute(_Declaration):
    """One binary attribute.

    Attributes:
        name: official spelling; also the column in labels.csv unless `column` names another.
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
    """Attributes among which retrieval picks one.

    Attributes:
        complements: phrases for "none of the evaluated attributes of this group".
        region, category, subregion: of the complements; by default those of the group's first evaluated attribute.
    """

    name: Line
    complements: tuple[Line, ...] = ()
    region: Line | None = None
    category: Line | None = None
    subregion: Line | None = None


class AttributeSchema(_Declaration):
    """Everything that schema.toml says about a dataset's labels.

    Attributes:
        image_root: folder of the images, absolute or relative to the dataset folder; None = the dataset folder.
        groups, attributes: in the order of the file, which is the order of every label array. Without any group each one
            that an attribute names exists; with at least one all must be declared, so that a misspelt one does not pass.
    """

    name: Line
    title: str = ""
    source: str = ""
    regions: tuple[Line, ...] = REGIONS
    image_root: Line | None = None
    groups: tuple[Group, ...] = Field((), validation_alias=AliasChoices("group", "groups"))
    attributes: tuple[Attribute, ...] = Field((), validation_alias=AliasChoices("attribute", "attributes"))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.attributes:
            raise ValueError("no [[attribute]] is declared")
        if not self.groups:
            groups = dict.fromkeys(attribute.group for attribute in self.attributes)
            object.__setattr__(self, "groups", tuple(Group(name=name) for name in groups))
        known = {
            "group": dict.fromkeys(group.name for group in self.groups),
            "region": self.regions,
            "subregion": SUBREGIONS,
        }
        entries: list[Attribute | Group] = [*self.attributes, *self.groups]
        for entry in entries:
            what = f'{type(entry).__name__.lower()} "{entry.name}"'
            for key, values in known.items():
                value = getattr(entry, key, None)
                if value is not None and value not in values:
                    raise ValueError(f'{what} has the unknown {key} "{value}" (known: {", ".join(values)})')
            if entry.subregion is not None and entry.region not in (None, "whole"):
                raise ValueError(f'{what}: subregion is for region "whole" only, not for "{entry.region}"')
        evaluated = {attribute.group for attribute in self.evaluated}
        for group in self.groups:
            if group.complements and group.name not in evaluated:
                raise ValueError(f'group "{group.name}" has complements but no evaluated attribute')
        # A text's learned vectors are found by its phrase alone, so region and category do not make a phrase unique. But
        # a complement may repeat an attribute that is not evaluated ("female" beside an unevaluated personalFemale):
        # the two are never in one list of training texts.
        phrases = [[text.phrase for text in self.texts(complements=True)], [row.phrase for row in self.attributes]]
        for what, names in (
            ("region", self.regions),
            ("attribute", [attribute.name for attribute in self.attributes]),
            ("column", [column_of(attribute) for attribute in self.attributes]),
            ("group", [group.name for group in self.groups]),
            *(("phrase", [*map(normalise_phrase, some)]) for some in phrases),
        ):
            repeated = [name for name, count in Counter(names).items() if count > 1]
            if repeated:
                raise ValueError(f'{what} "{repeated[0]}" is declared more than once')
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
            raise InputError(f'Dataset {self.name} has no attribute "{name}".', did_you_mean(name, names))
        return names.index(name)

    def texts(self, *, complements: bool, evaluated_only: bool = True) -> tuple[Text, ...]:
        """Attributes in schema order, then, if wanted, the complements group by group.

        With `evaluated_only` false a complement may have the same phrase as an attribute outside the evaluation.
        """
        chosen = self.evaluated if evaluated_only else self.attributes
        texts = [attribute.text for attribute in chosen]
        if complements:
            first = {attribute.group: attribute for attribute in reversed(self.evaluated)}
            for group in self.groups:
                texts += [self._complement(group, phrase, first[group.name]) for phrase in group.complements]
        return tuple(texts)

    @staticmethod
    def _complement(group: Group, phrase: str, first: Attribute) -> Text:
        region = group.region or first.region
        subregion = group.subregion or (first.subregion if region == first.region else None)
        return Text(phrase, region, group.category or first.category, group.name, subregion)

    def fingerprint(self) -> str:
        """SHA-256 (hex) over what the labels mean; title, source, column names and the images' place do not count."""
        meaning = self.model_dump(
            mode="json",
            exclude={"title": True, "source": True, "image_root": True, "attributes": {"__all__": {"column"}}},
        )
        return fingerprint(meaning)


def column_of(attribute: Attribute) -> str:
    """The attribute's column in labels.csv."""
    return attribute.column or attribute.name


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
    columns = {attribute.name: number for number, attribute in enumerate(schema.attributes)}
    for position, text in enumerate(texts):
        if text.attribute is not None:
            column = labels[:, columns[text.attribute] if text.attribute in columns else schema.index(text.attribute)]
            targets[:, position] = column == 1
            known[:, position] = column != UNCERTAIN
            continue
        group = labels[:, [row.evaluated and row.group == text.group for row in schema.attributes]]
        none = ~(group == 1).any(axis=1)
        undecided = none & (group == UNCERTAIN).any(axis=1)
        targets[:, position] = none & ~undecided
        known[:, position] = ~undecided
    return targets, known


def load_schema(path: Path) -> AttributeSchema:
    """Read a schema.toml.

    Raises:
        InputError: the file is missing, not UTF-8, not TOML, has an unknown key, or contradicts itself.
    """
    hint = "A dataset is a folder with labels.csv and schema.toml, which is TOML in UTF-8."
    return _validated(read_toml(Path(path), hint), str(path))


def builtin_schema(name: str) -> AttributeSchema:
    """The schema that this package ships for a known dataset.

    Raises:
        InputError: none of that name.
    """
    files = {file.stem: file for file in (Path(__file__).parent / "specs").glob("*.toml")}
    if name not in files:
        raise InputError(f'No built-in schema "{name}".', did_you_mean(name, sorted(files)))
    return load_schema(files[name])


def subset_schema(known: AttributeSchema, names: Collection[str], evaluated: Collection[str]) -> AttributeSchema:
    """`known` with only its attributes among `names`, of which `evaluated` are evaluated; a group of which none is has no
    complements."""
    attributes = [
        attribute.model_copy(update={"evaluated": attribute.name in evaluated})
        for attribute in known.attributes
        if attribute.name in names
    ]
    used = {attribute.group for attribute in attributes if attribute.evaluated}
    groups = [group if group.name in used else group.model_copy(update={"complements": ()}) for group in known.groups]
    return AttributeSchema.model_validate({**dict(known), "groups": groups, "attributes": attributes})


def _validated(document: dict[str, Any], where: str) -> AttributeSchema:
    for key in ("attribute", "attributes", "group", "groups"):
        if isinstance(rows := document.get(key), list) and len(rows) > MAX_ATTRIBUTES:
            raise InputError(
                f"{where} declares {plural(len(rows), key.rstrip('s'))}; at most {MAX_ATTRIBUTES:,} can be read."
            )
    try:
        return AttributeSchema.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        loc, place, keys = first["loc"], where, list(AttributeSchema.model_fields)
        if len(loc) > 2:  # a key of a table
            table = document[str(loc[0])][int(loc[1])]
            place += f': {loc[0]} {int(loc[1]) + 1} ("{table.get("name", "")}")'
            keys = list((Group if loc[0] in ("group", "groups") else Attribute).model_fields)
            loc = loc[2:]
        if not loc:
            raise InputError(f"{place}: {first['ctx']['error']}.") from error
        words = _PLAIN.get(first["type"]) or f"is not valid: {first['msg']}"
        hint = did_you_mean(str(loc[0]), keys) if first["type"] == "extra_forbidden" else None
        raise InputError(f"{place}: {loc[0]} {words}.", hint) from error


def dump_schema(schema: AttributeSchema, comment: str = "") -> str:
    """`schema` as the text of a schema.toml, headed by `comment`; `load_schema` reads back the same schema."""
    import tomlkit

    document = tomlkit.document()
    for line in comment.splitlines():
        document.add(tomlkit.comment(line) if line else tomlkit.nl())
    if comment:
        document.add(tomlkit.nl())
    for key in ("name", "title", "source", "image_root"):
        if value := getattr(schema, key):
            document.add(key, tomlkit.item(value))
    document.add("regions", tomlkit.item(list(schema.regions)))
    for key, declarations in (("group", schema.groups), ("attribute", schema.attributes)):
        tables = tomlkit.aot()
        for declaration in declarations:
            tables.append(tomlkit.item(declaration.model_dump(mode="json", exclude_defaults=True)))
        if declarations:
            document.append(key, tables)
    return tomlkit.dumps(document)


def guess_schema(
    name: str, columns: Sequence[str], where: str, groups: Mapping[str, str] | None = None
) -> AttributeSchema:
    """A first schema from nothing but column names, for the user to correct: one evaluated attribute per column.

    Each phrase is the words of the column's name, numbered where two columns have the same words.

    Args:
        groups: groups of some columns, which hold no others.

    Raises:
        InputError: there is no column, or one has control characters in its name; `where` names the table.
    """
    if not columns:
        raise InputError(f"{where} has no attribute columns.", "Add one column per attribute.")
    groups = groups or {}
    taken = {*groups.values()}
    attributes: list[dict[str, Any]] = []
    phrases: set[str] = set()
    numbers: Counter[str] = Counter()
    for column in columns:
        words = " ".join(name_words(column))
        phrase = words or column
        while phrase.lower() in phrases:
            numbers[words] += 1
            phrase = f"{words} {numbers[words] + 1}"
        phrases.add(phrase.lower())
        place = dict(zip(("region", "subregion", "category", "group"), guess_place(column), strict=True))
        if column in groups:
            place["group"] = groups[column]
        elif place["group"] in taken:
            place["group"] = f"other {place['group']}"
        attributes.append({"name": column, "phrase": phrase, **place})
    return _validated({"name": name, "attribute": attributes}, where)


def schema_diff(
    source: AttributeSchema, target: AttributeSchema, *, evaluated_only: bool = False
) -> tuple[list[tuple[Text, Text]], list[Text], list[Text]]:
    """Which texts of one dataset were trained on another, compared by phrase, as learned prompts are.

    Args:
        evaluated_only: leave out the target's attributes outside the evaluation.

    Returns:
        Pairs (text of the target, training text of the source with its phrase); texts of the target that the source does
        not train; training texts of the source (evaluated attributes and complements) that the target does not have.
    """
    trained = _by_phrase(source.texts(complements=True))
    texts = _by_phrase(target.texts(complements=True, evaluated_only=evaluated_only))
    return (
        [(text, trained[phrase]) for phrase, text in texts.items() if phrase in trained],
        [text for phrase, text in texts.items() if phrase not in trained],
        [text for phrase, text in trained.items() if phrase not in texts],
    )


def single_text_groups(schema: AttributeSchema) -> list[str]:
    """The groups of one attribute without a complement: their text has none to be compared with."""
    sizes = Counter(text.group for text in schema.texts(complements=True))
    return [name for name, size in sizes.items() if size == 1]


def schema_remarks(schema: AttributeSchema) -> list[str]:
    """What is allowed in a schema but probably not meant, one sentence each."""
    remarks = []
    texts = schema.texts(complements=True)
    if alone := single_text_groups(schema):
        remarks.append(
            f"Groups with a single text have nothing to compare it with: {listed(alone, 10)}. "
            f"{'Training contrasts these texts with each other. ' * (len(alone) > 1)}"
            'Declare a complement ("none of these").'
        )
    joined = [text.phrase for text in texts if text.phrase.isalnum() and len(name_words(text.phrase)) > 1]
    if joined:
        remarks.append(f"Phrases that look like names, which CLIP reads as one odd word: {listed(joined)}.")
    return remarks


def _by_phrase(texts: Iterable[Text]) -> dict[str, Text]:
    """The first text of each phrase; attributes come before complements that say the same."""
    found: dict[str, Text] = {}
    for text in texts:
        found.setdefault(normalise_phrase(text.phrase), text)
    return found

"""Body regions: the block matrix of region-aware contrastive learning, and the region that a name or phrase suggests.

Imports neither torch nor pydantic, because prediction with an exported model places free texts too.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from focuscli.data.texts import Text

REGIONS = ("head", "upper", "lower", "foot", "bag", "whole")
SUBREGIONS = ("age", "gender", "view", "body", "role", "action")
Granularity = Literal["coarse", "fine"]

# Region, subregion, category, group, and the words that suggest them. The first rule with a word of the name decides, so
# that upper and lower come before the names of things.
_RULES: tuple[tuple[str, str | None, str, str, str], ...] = (
    ("upper", None, "clothes", "upper", "upper upperbody ub top torso"),
    ("lower", None, "clothes", "lower", "lower lowerbody lb leg"),
    ("foot", None, "footwear", "footwear", "foot feet footwear shoe boot sneaker sandal slipper sock heel"),
    ("head", None, "hair", "hair", "hair bald baldhead haircut ponytail beard"),
    ("bag", None, "luggage", "carrying", "bag handbag backpack rucksack suitcase luggage trolley purse briefcase"),
    ("bag", None, "luggage", "carrying", "carrying attach umbrella box"),
    ("head", None, "accessory", "accessory", "head hs hat cap helmet glasses sunglasses muffler scarf mask face hood"),
    ("head", None, "accessory", "accessory", "headphone kerchief accessory"),
    ("lower", None, "clothes", "lower", "trouser pant jean shorts skirt shortskirt longskirt miniskirt dress legging"),
    ("lower", None, "clothes", "lower", "tights capri"),
    ("upper", None, "clothes", "upper", "shirt tshirt jacket coat longcoat sweater sleeve sleeveless vest suit logo"),
    ("upper", None, "clothes", "upper", "hoodie blouse vneck"),
    ("whole", "gender", "gender", "gender", "male female man woman gender boy girl sex"),
    ("whole", "age", "age", "age", "age old young child adult year elderly kid teen senior"),
    ("whole", "view", "view", "view", "front side back view facing frontal"),
    ("whole", "body", "body shape", "body", "body fat thin slim tall heavy"),
    ("whole", "role", "role", "role", "role customer clerk staff police worker"),
    ("whole", "action", "action", "action", "action walking running calling talking holding pushing pulling"),
)


def region_names(texts: Sequence[Text], regions: Granularity) -> list[str]:
    """The region of each text; "fine" splits `whole` into age, gender, view, body, role and action where given."""
    return [(text.subregion if regions == "fine" else None) or text.region for text in texts]


def region_block_matrix(texts: Sequence[Text], regions: Granularity = "coarse") -> NDArray[np.float32]:
    """FOCUS's block matrix B (Eq. 6), [Z, Z]: 1 where two texts share a region, else 0."""
    names = np.array(region_names(texts, regions))
    return (names[:, None] == names[None, :]).astype(np.float32)


def name_words(name: str) -> list[str]:
    """The words of a name, cut at case changes, digits and punctuation.

    "upperBodyVNeck" gives upper, body, V, neck; "Age18-60" gives age, 18, 60. Words in capitals stay so (LOGO), all
    others are lowered.
    """
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+|[^\W\d_]+", name)
    return [part if part.isupper() else part.lower() for part in parts]


def guess_place(name: str) -> tuple[str, str | None, str, str]:
    """Region, subregion, category and group that the words of a name suggest; the whole body without a known word.

    A plural "s" does not count, and two neighbouring words also count as one (hand bag = handbag).
    """
    words = _lowered(name)
    pairs = [first + second for first, second in itertools.pairwise(words)]
    forms = {form for word in [*words, *pairs] for form in (word, word.removesuffix("s"))}
    for region, subregion, category, group, known in _RULES:
        if not forms.isdisjoint(known.split()):
            return region, subregion, category, group
    return "whole", None, "appearance", "whole"


class Place(NamedTuple):
    """A region, the reason for it in words, and the schema's text it was taken from, if any."""

    region: str
    reason: str
    like: Text | None = None


def place_words(words: str, known: Iterable[Text]) -> Place:
    """The region of a free text, by the first of these rules that applies.

    1. It contains a phrase of the schema, word by word and in order ("red backpack" contains "backpack"). Of several the
       longest wins, then the one that ends the text, where English puts the noun, then the first of the schema.
    2. It contains a word that suggests a region (boots: foot), see `guess_place`.
    3. The whole body.
    """
    query = _lowered(words)
    best, found = (0, -1), None
    for text in known:
        phrase = _lowered(text.phrase)
        rank = (len(phrase), _last_start(phrase, query))
        if rank[1] >= 0 and rank > best:
            best, found = rank, text
    if found is not None:
        return Place(found.region, f'as "{found.phrase}" of the schema', found)
    region = guess_place(words)[0]
    return Place(region, "guessed from its words" if region != "whole" else "no known word")


def _lowered(phrase: str) -> list[str]:
    return [word.lower() for word in name_words(phrase)]


def _last_start(phrase: list[str], words: list[str]) -> int:
    """The last position at which `phrase` starts in `words`; -1 if it is nowhere in them."""
    starts = range(len(words) - len(phrase), -1, -1) if phrase else ()
    return next((start for start in starts if words[start : start + len(phrase)] == phrase), -1)

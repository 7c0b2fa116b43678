"""Which labels are true of a picture. Labels state what can be seen in it, not what the person owns."""

from __future__ import annotations

from focuscli.data.synthetic.palette import GREY_HAIR, HAIR, LOWER_COLOURS, UPPER_COLOURS
from focuscli.data.synthetic.person import Person


def labels_of(person: Person) -> dict[str, int]:
    """Attribute name of synthetic.toml -> 0 or 1.

    Glasses cannot be seen from behind, nor an object held in front. A logo is on chest and back; from the side it
    cannot be seen, nor on the back under a backpack.
    """
    front, back = person.view == "front", person.view == "back"
    logo = front or (back and not person.backpack)
    true = {
        "Female": person.female,
        "AgeOver60": person.age == "old",
        "Age18-60": person.age == "adult",
        "AgeLess18": person.age == "child",
        "Front": front,
        "Side": person.view == "side",
        "Back": back,
        "Hat": bool(person.hat),
        "Glasses": bool(person.glasses) and not back,
        "HandBag": person.handbag,
        "ShoulderBag": person.shoulder_bag,
        "Backpack": person.backpack,
        "HoldObjectsInFront": bool(person.object) and not back,
        "ShortSleeve": not person.long_sleeve,
        "LongSleeve": person.long_sleeve,
        "UpperStride": person.upper_pattern == "stripes",
        "UpperLogo": person.upper_pattern == "logo" and logo,
        "UpperPlaid": person.upper_pattern == "plaid",
        "UpperSplice": person.upper_pattern == "splice",
        "LowerStripe": person.lower_pattern == "stripe",
        "LowerPattern": person.lower_pattern == "pattern",
        "LongCoat": person.coat,
        "Trousers": person.lower == "trousers",
        "Shorts": person.lower == "shorts",
        "Skirt&Dress": person.lower in ("skirt", "dress"),
        "boots": person.boots,
        "LongHair": person.hair == "long",
    }
    true |= {f"Upper{name}": person.upper_colour == name for name in UPPER_COLOURS}
    true |= {f"Lower{name}": person.lower_colour == name for name in LOWER_COLOURS}
    return {name: int(value) for name, value in true.items()}


_HAIR_NAMES = ("Black", "Brown", "Brown", "Brown", "Yellow", "Red")  # of palette.HAIR
_SLIM, _STOUT = 0.93, 1.07


def details_of(person: Person) -> dict[str, int]:
    """What else can be seen in a picture and has no label of its own: name -> 0 or 1, for other datasets' attributes."""
    front, back = person.view == "front", person.view == "back"
    bald = person.hair == "bald"
    hair = "Grey" if person.hair_rgb in GREY_HAIR else _HAIR_NAMES[HAIR.index(person.hair_rgb)]
    true = {
        "Bald": bald and not person.hat,
        "Slim": person.build < _SLIM,
        "Stout": person.build > _STOUT,
        "Sunglasses": person.glasses == "sun" and not back,
        "Sweater": person.long_sleeve and not person.coat and person.lower != "dress",
        "Skirt": person.lower == "skirt",
        "Dress": person.lower == "dress",
        "Box": person.object in ("box", "parcel") and not back,
        "Folder": person.object == "folder" and not back,
        "FacingLeft": not front and not back and person.yaw < 0,
        "FacingRight": not front and not back and person.yaw > 0,
    }
    true |= {f"{name}Hair": name == hair and not bald for name in ("Grey", *_HAIR_NAMES)}
    return {name: int(value) for name, value in true.items()}

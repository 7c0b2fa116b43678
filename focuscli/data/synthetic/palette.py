"""Named colours of clothes, and the colours of skin, hair, shoes and bags. All values are sRGB, 0 to 255."""

from __future__ import annotations

Colour = tuple[int, int, int]

CLOTHES: dict[str, tuple[Colour, ...]] = {
    "Black": ((34, 34, 38), (46, 44, 46)),
    "White": ((238, 237, 232), (246, 244, 240)),
    "Grey": ((142, 145, 150), (124, 127, 133)),
    "Red": ((200, 40, 44), (178, 30, 48)),
    "Blue": ((42, 88, 172), (36, 64, 138), (78, 128, 200)),
    "Green": ((44, 132, 74), (82, 152, 84), (30, 104, 82)),
    "Yellow": ((240, 198, 52), (232, 180, 36)),
    "Pink": ((232, 134, 166), (222, 108, 150)),
    "Brown": ((134, 96, 64), (166, 128, 88)),
}
UPPER_COLOURS = ("Black", "White", "Grey", "Red", "Blue", "Green", "Yellow", "Pink")
LOWER_COLOURS = ("Black", "White", "Grey", "Blue", "Brown", "Red", "Green")

SKIN: tuple[Colour, ...] = (
    (247, 212, 184),
    (232, 190, 156),
    (212, 164, 124),
    (176, 124, 86),
    (134, 90, 62),
    (98, 66, 48),
)
HAIR: tuple[Colour, ...] = ((32, 26, 24), (58, 38, 26), (96, 62, 36), (150, 106, 58), (206, 164, 92), (150, 66, 34))
GREY_HAIR: tuple[Colour, ...] = ((204, 204, 206), (176, 178, 184), (220, 217, 212))
SHOES: tuple[Colour, ...] = ((44, 40, 40), (70, 50, 38), (226, 226, 224), (150, 40, 44), (52, 78, 128))
BOOTS: tuple[Colour, ...] = ((98, 58, 30), (40, 32, 32), (146, 92, 48), (86, 26, 34))
BAGS: tuple[Colour, ...] = (
    (150, 74, 36), (198, 44, 52), (38, 44, 60), (44, 120, 120), (236, 160, 46), (98, 66, 132), (216, 196, 160),
)  # fmt: skip
HATS: tuple[Colour, ...] = ((198, 36, 42), (34, 72, 150), (240, 196, 60), (38, 110, 68), (236, 232, 220), (44, 44, 52))


def luminance(colour: Colour) -> float:
    """Perceived brightness, 0 to 255 (Rec. 601 weights)."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def distance(first: Colour, second: Colour) -> float:
    """How different two colours look, roughly: weighted Euclidean distance, 0 to about 765."""
    red, green, blue = (a - b for a, b in zip(first, second, strict=True))
    return float((2 * red * red + 4 * green * green + 3 * blue * blue) ** 0.5)


def scaled(colour: Colour, factor: float) -> Colour:
    """A colour made darker (factor below 1) or lighter, mixed towards white where it would leave the range."""
    if factor <= 1:
        return (int(colour[0] * factor), int(colour[1] * factor), int(colour[2] * factor))
    mix = min(1.0, factor - 1)
    return tuple(int(value + (255 - value) * mix) for value in colour)  # type: ignore[return-value]


def apart_from(others: tuple[Colour, ...], choices: tuple[Colour, ...], start: int, least: float = 170.0) -> Colour:
    """The first of `choices`, counted round from `start`, that is well distinct from all `others`, else the most distinct."""
    order = [choices[(start + step) % len(choices)] for step in range(len(choices))]
    nearest = [min((distance(colour, other) for other in others), default=765.0) for colour in order]
    for colour, gap in zip(order, nearest, strict=True):
        if gap >= least:
            return colour
    return order[nearest.index(max(nearest))]

"""Camera styles: the same people, but another place, light, distance and quality of picture."""

from __future__ import annotations

from dataclasses import dataclass

from focuscli.errors import UsageError

Range = tuple[float, float]


@dataclass(frozen=True)
class Style:
    """One camera.

    Attributes:
        name, title: key of `STYLES`, and what it is in words.
        scenes: backgrounds to choose from, see `backdrop.SCENES`.
        scale: height of an average adult as a part of the picture's height.
        jitter: how far the figure may be off the middle, as a part of the picture's width.
        elevation: see `canvas.Camera`.
        brightness, contrast: factors; contrast is around the middle of the range.
        cast: factors of red, green and blue.
        blur: radius in pixels of a picture 256 high. noise: standard deviation, of 255.
        detail: below 1 the picture is made from that part of its pixels, as of somebody far away.
        vignette: how much darker the corners are. depth: blur of the background in pixels of a picture 256 high.
        quality: of the JPEG files.
        framing: None keeps the whole picture; else the crop that a person detector would cut out: the figure's box, larger by
            this part of its width and height on each side.
    """

    name: str
    title: str
    scenes: tuple[str, ...]
    scale: Range = (0.85, 0.91)
    jitter: float = 0.035
    elevation: Range = (0.0, 0.15)
    brightness: Range = (0.92, 1.08)
    contrast: Range = (0.92, 1.08)
    cast: tuple[float, float, float] = (1.0, 1.0, 1.0)
    blur: Range = (0.0, 0.7)
    noise: Range = (1.0, 4.0)
    detail: Range = (1.0, 1.0)
    vignette: float = 0.0
    depth: Range = (0.6, 1.6)
    quality: int = 90
    framing: float | None = None


STYLES: dict[str, Style] = {
    style.name: style
    for style in (
        Style(
            "studio",
            "studio: plain wall, even light, nothing in the way, closely cropped",
            ("studio",),
            scale=(0.89, 0.89),
            jitter=0.0,
            elevation=(0.0, 0.0),
            brightness=(1.0, 1.0),
            contrast=(1.0, 1.0),
            blur=(0.0, 0.2),
            noise=(0.0, 1.0),
            depth=(0.0, 0.0),
            framing=0.04,
        ),
        Style(
            "street",
            "street by day, cropped as a detector would",
            ("street", "wall", "grass", "crowd", "crossing"),
            framing=0.06,
        ),
        Style(
            "night",
            "street at night: dark, bluish, noisy",
            ("street", "wall", "crowd", "crossing"),
            brightness=(0.52, 0.72),
            contrast=(0.85, 1.0),
            cast=(0.84, 0.96, 1.22),
            blur=(0.4, 1.2),
            noise=(7.0, 13.0),
            vignette=0.45,
            depth=(1.5, 3.0),
        ),
        Style(
            "indoor",
            "indoors: warm light, slightly out of focus",
            ("corridor", "shop"),
            scale=(0.8, 0.9),
            elevation=(0.15, 0.4),
            brightness=(0.9, 1.02),
            contrast=(0.78, 0.92),
            cast=(1.1, 1.0, 0.82),
            blur=(0.9, 1.7),
            noise=(2.0, 5.0),
            vignette=0.15,
            depth=(1.5, 2.5),
        ),
        Style(
            "highangle",
            "camera high on a pole, looking down",
            ("plaza", "grass", "crossing"),
            scale=(0.86, 0.94),
            elevation=(0.75, 1.0),
            brightness=(0.95, 1.15),
            contrast=(1.0, 1.2),
            blur=(0.2, 0.8),
            depth=(0.3, 0.8),
        ),
        Style(
            "distant",
            "far away: few pixels, pale, tilted off the middle",
            ("street", "plaza", "grass", "wall"),
            scale=(0.72, 0.86),
            jitter=0.07,
            elevation=(0.1, 0.4),
            brightness=(1.0, 1.15),
            contrast=(0.68, 0.85),
            blur=(0.3, 0.8),
            noise=(2.0, 5.0),
            detail=(0.34, 0.46),
            quality=82,
        ),
    )
}


def style_of(name: str) -> Style:
    """The style of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in STYLES:
        raise UsageError(f'Unknown style "{name}".', f"Styles: {', '.join(STYLES)}.")
    return STYLES[name]

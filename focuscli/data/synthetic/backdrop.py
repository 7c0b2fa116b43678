"""Places behind the pedestrian, drawn small and simple and then blurred."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from focuscli.data.synthetic.canvas import Camera
from focuscli.data.synthetic.palette import CLOTHES, HAIR, SKIN, Colour, scaled

_WALLS: tuple[Colour, ...] = ((178, 160, 142), (156, 150, 146), (190, 178, 156), (150, 122, 104), (166, 174, 180))
_FLOORS: tuple[Colour, ...] = ((150, 148, 146), (128, 128, 130), (168, 162, 152), (112, 114, 118))


class Scene:
    """One background under construction; lengths are parts of its height, `low` is where the ground begins."""

    def __init__(self, camera: Camera, rng: np.random.Generator) -> None:
        self.height, self.width = camera.size
        self.rng = rng
        self.low = min(0.97, 0.62 - 0.45 * max(0.0, camera.elevation - 0.15) + float(rng.uniform(-0.05, 0.05)))
        self.wall = _WALLS[rng.integers(len(_WALLS))]
        self.floor = _FLOORS[rng.integers(len(_FLOORS))]
        self.image = Image.new("RGB", (self.width, self.height), self.wall)
        self.pen = ImageDraw.Draw(self.image, "RGBA")

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour, opacity: int = 255) -> None:
        """A rectangle; x as a part of the width, y of the height."""
        w, h = self.width, self.height
        if right > left and bottom > top:
            self.pen.rectangle((left * w, top * h, right * w, bottom * h), fill=(*colour, opacity))

    def poly(self, points: list[tuple[float, float]], colour: Colour, opacity: int = 255) -> None:
        self.pen.polygon([(x * self.width, y * self.height) for x, y in points], fill=(*colour, opacity))

    def blob(self, x: float, y: float, rx: float, ry: float, colour: Colour, opacity: int = 255) -> None:
        w, h = self.width, self.height
        self.pen.ellipse(((x - rx) * w, (y - ry) * h, (x + rx) * w, (y + ry) * h), fill=(*colour, opacity))

    def ground(self, colour: Colour, *, lines: bool = True) -> None:
        """The ground with joints that run towards the horizon."""
        self.box(0, self.low, 1, 1, colour)
        self.box(0, self.low, 1, self.low + 0.012, scaled(colour, 0.75))
        if not lines:
            return
        for step in range(1, 5):
            y = self.low + (1 - self.low) * (step / 5) ** 1.6
            self.box(0, y, 1, y + 0.005, scaled(colour, 0.86))
        shift = float(self.rng.uniform(-0.2, 0.2))
        for x in np.linspace(-1.0, 2.0, 8):
            self.poly(
                [(0.5 + (x - 0.5) * 0.5 + shift, self.low), (x + shift, 1), (x + 0.02 + shift, 1)], scaled(colour, 0.86)
            )

    def pole(self) -> None:
        """A lamp post or a tree trunk beside the person."""
        x = float(self.rng.choice([self.rng.uniform(0.02, 0.16), self.rng.uniform(0.84, 0.98)]))
        wide = float(self.rng.uniform(0.02, 0.045))
        self.box(x - wide, 0, x + wide, self.low + 0.1, (92, 94, 98))
        self.box(x - wide, 0, x - wide * 0.3, self.low + 0.1, (128, 130, 134))

    def passer_by(self, x: float, tall: float, foot: float) -> None:
        """Somebody else, farther away: a head, a trunk, two legs, no details."""
        rng = self.rng
        shades = [shade for name in ("Black", "Grey", "Blue", "Brown", "White") for shade in CLOTHES[name]]
        top, legs = (scaled(shades[rng.integers(len(shades))], 0.9) for _ in range(2))
        skin, hair = SKIN[rng.integers(len(SKIN))], HAIR[rng.integers(len(HAIR))]
        wide = tall * 0.26
        for side in (-1, 1):
            self.box(
                x + side * wide * 0.5 - wide * 0.36, foot - tall * 0.5, x + side * wide * 0.5 + wide * 0.36, foot, legs
            )
        self.blob(x, foot - tall * 0.64, wide * 1.25, tall * 0.22, top)
        self.blob(x, foot - tall * 0.93, wide * 0.55, tall * 0.08, hair)
        self.blob(x, foot - tall * 0.91, wide * 0.45, tall * 0.06, skin)


def _street(scene: Scene) -> None:
    rng, low = scene.rng, scene.low
    if rng.random() < 0.5:
        scene.box(0, 0, 1, low * 0.4, (186, 206, 226))
        scene.box(float(rng.uniform(0.2, 0.7)), 0, 1, low, scaled(scene.wall, 0.85))
        scene.box(0, low * float(rng.uniform(0.15, 0.4)), float(rng.uniform(0.3, 0.6)), low, scene.wall)
    glass = scaled((120, 140, 160), float(rng.uniform(0.7, 1.1)))
    columns = int(rng.integers(2, 5))
    for row in range(3):
        for column in range(columns):
            x, y = (column + 0.2) / columns, low * (0.06 + 0.3 * row)
            scene.box(x, y, x + 0.6 / columns, y + low * 0.19, glass)
    scene.ground(scene.floor)
    if rng.random() < 0.35:
        colour = CLOTHES["Grey" if rng.random() < 0.6 else "Blue"][0]
        x = float(rng.uniform(-0.3, 0.7))
        scene.box(x, low - 0.1, x + 0.75, low + 0.04, scaled(colour, 0.85))
        scene.box(x + 0.12, low - 0.16, x + 0.6, low - 0.1, (74, 84, 96))
    if rng.random() < 0.5:
        scene.pole()


def _studio(scene: Scene) -> None:
    """A roll of grey paper behind and below the person, the same in every picture."""
    scene.box(0, 0, 1, 1, (176, 180, 184))
    scene.box(0, 0.82, 1, 1, (164, 168, 172))


def _wall(scene: Scene) -> None:
    rng, low = scene.rng, scene.low
    joint = scaled(scene.wall, 0.82)
    if rng.random() < 0.5:
        rows = 13
        for row in range(rows):
            y = low * row / rows
            scene.box(0, y, 1, y + 0.005, joint)
            for x in np.arange(0.125 * (row % 2), 1.0, 0.25):
                scene.box(float(x), y, float(x) + 0.012, y + low / rows, joint)
    else:
        for x in np.linspace(0, 1, 4) + float(rng.uniform(-0.1, 0.1)):
            scene.box(float(x), 0, float(x) + 0.015, low, joint)
        scene.box(0, low * 0.5, 1, low * 0.5 + 0.006, joint)
    scene.ground(scene.floor)


def _grass(scene: Scene) -> None:
    rng, low = scene.rng, scene.low
    scene.box(0, 0, 1, low, (190, 212, 226))
    for _ in range(9):
        green = scaled((86, 128, 74), float(rng.uniform(0.65, 1.1)))
        scene.blob(float(rng.uniform(0, 1)), float(rng.uniform(0.1, low)), 0.3, 0.12, green)
    scene.box(0, low, 1, 1, (126, 156, 88))
    for _ in range(40):
        x, y = float(rng.uniform(0, 1)), float(rng.uniform(low, 1))
        scene.box(x, y, x + 0.02, y + 0.012, scaled((110, 142, 74), float(rng.uniform(0.85, 1.15))))
    edge = float(rng.uniform(0.1, 0.5))
    scene.poly([(edge, low), (edge + 0.25, low), (1.2, 1), (-0.3, 1)], (186, 174, 150))


def _crowd(scene: Scene) -> None:
    _street(scene)
    rng = scene.rng
    for _ in range(int(rng.integers(2, 5))):
        x = float(rng.choice([rng.uniform(0.0, 0.24), rng.uniform(0.76, 1.0)]))
        tall = float(rng.uniform(0.3, 0.55))
        scene.passer_by(x, tall, scene.low + 0.25 * tall)


def _crossing(scene: Scene) -> None:
    if scene.low > 0.3:
        _street(scene)
    scene.ground((98, 100, 104), lines=False)
    if scene.low <= 0.3:
        scene.box(0, 0, 1, scene.low, (98, 100, 104))
    for step in range(5):
        y = scene.low + (1 - scene.low) * (0.12 + 0.2 * step)
        scene.box(0, y, 1, y + 0.03 + 0.012 * step, (216, 216, 210))


def _plaza(scene: Scene) -> None:
    scene.low = min(scene.low, 0.12)
    scene.box(0, 0, 1, 1, scene.floor)
    for step in range(9):
        y = step / 8 + float(scene.rng.uniform(-0.01, 0.01))
        scene.box(0, y, 1, y + 0.005, scaled(scene.floor, 0.84))
    for x in np.linspace(0, 1, 5):
        scene.poly([(0.5 + (x - 0.5) * 0.9, 0), (x, 1), (x + 0.015, 1)], scaled(scene.floor, 0.84))
    if scene.rng.random() < 0.4:
        scene.passer_by(float(scene.rng.choice([0.08, 0.92])), 0.3, float(scene.rng.uniform(0.35, 0.6)))


def _corridor(scene: Scene) -> None:
    rng, low = scene.rng, scene.low
    scene.box(0, 0, 1, low, (206, 200, 188))
    scene.poly([(0, 0), (0.28, 0.12), (0.28, low), (0, low + 0.2)], (184, 176, 162))
    scene.poly([(1, 0), (0.72, 0.12), (0.72, low), (1, low + 0.2)], (172, 164, 150))
    scene.poly([(0.42, 0), (0.58, 0), (0.54, 0.1), (0.46, 0.1)], (252, 250, 236))
    door = float(rng.uniform(0.36, 0.46))
    scene.box(door, low * 0.4, door + 0.2, low, (128, 102, 78))
    scene.poly([(0, low + 0.2), (0.28, low), (0.72, low), (1, low + 0.2), (1, 1), (0, 1)], (170, 164, 152))
    for step in range(3):
        y = low + 0.06 + 0.12 * step
        scene.box(0.28 - 0.1 * step, y, 0.72 + 0.1 * step, y + 0.006, (146, 140, 130))


def _shop(scene: Scene) -> None:
    rng, low = scene.rng, scene.low
    scene.box(0, 0, 1, low, (196, 186, 168))
    goods = [shade for shades in CLOTHES.values() for shade in shades]
    for row in range(4):
        y = low * (0.08 + 0.23 * row)
        x = 0.02
        while x < 0.96:
            wide = float(rng.uniform(0.05, 0.12))
            tall = float(rng.uniform(0.06, 0.15)) * low
            colour = scaled(goods[rng.integers(len(goods))], 0.8)
            mixed = (colour[0] // 2 + 88, colour[1] // 2 + 84, colour[2] // 2 + 76)
            scene.box(x, y + 0.16 * low - tall, x + wide, y + 0.16 * low, mixed)
            x += wide + 0.02
        scene.box(0, y + 0.16 * low, 1, y + 0.18 * low, (122, 98, 74))
    scene.ground((182, 172, 156))


SCENES: dict[str, Callable[[Scene], None]] = {
    "street": _street,
    "studio": _studio,
    "wall": _wall,
    "grass": _grass,
    "crowd": _crowd,
    "crossing": _crossing,
    "plaza": _plaza,
    "corridor": _corridor,
    "shop": _shop,
}


def draw_backdrop(scene: str, camera: Camera, blur: float, rng: np.random.Generator) -> Image.Image:
    """A background of the camera's size, `blur` in pixels, with the soft shadow of a person who is yet to be drawn."""
    place = Scene(camera, rng)
    SCENES[scene](place)
    x, y = camera.centre / place.width, camera.ground / place.height
    wide = camera.scale / place.width
    for size in (1.0, 0.75, 0.5):
        shift = -camera.light * 0.05 * wide
        place.blob(x + shift, y - 0.004, 0.2 * wide * size, 0.024 * size, (20, 20, 26), 46)
    return place.image.filter(ImageFilter.BoxBlur(blur)) if blur > 0 else place.image

"""A whole person: head, clothes and bags, each part drawn at its turn."""

from __future__ import annotations

import math

import numpy as np

from focuscli.data.synthetic.body import Body, Limb
from focuscli.data.synthetic.canvas import Canvas, Paint, Point, Points, band, ellipse, shaded, smooth, tube
from focuscli.data.synthetic.people import Colour, Person

_BLACK: Colour = (22, 20, 24)
_LENSES: dict[str, Colour] = {"sun": (20, 20, 26), "clear": (214, 232, 244)}
_OBJECTS: dict[str, Colour] = {"box": (194, 146, 92), "folder": (244, 242, 232)}


def draw_figure(canvas: Canvas, person: Person) -> None:
    """Draw all parts of a person, in the order in which they cover each other."""
    body = Body(person)
    clothes, head, bags = Clothes(canvas, body), Head(canvas, body), Bags(canvas, body)
    far, near = body.arms()
    bags.draw_backpack_behind()
    if body.from_side:
        clothes.draw_arm(far)
    clothes.draw_lower()
    clothes.draw_trunk()
    head.draw()
    bags.draw_backpack()
    bags.draw_object()
    if not body.from_side:
        clothes.draw_arm(far)
    clothes.draw_arm(near)
    bags.draw_shoulder_bag()
    bags.draw_handbag(near if near.side == body.bag_side else far)


class Head:
    """The head of one person, drawn onto a canvas."""

    def __init__(self, canvas: Canvas, body: Body) -> None:
        self._canvas, self._body, self._person = canvas, body, body.person
        self._size = body.head
        self._x, self._chin = body.at(0, body.chin, 0.0)
        self._rx = self._size * (0.385 + 0.045 * abs(body.sin))

    def _y(self, part: float) -> float:
        """Height of a part of the head: 0 = chin, 1 = crown."""
        return self._chin + part * self._size

    def _at(self, degrees: float, part: float) -> tuple[Point, float]:
        """A place on the head `degrees` away from the nose, and how much it faces the camera: -1 to 1."""
        body, turn = self._body, math.radians(degrees)
        x = self._x + (body.sin * math.cos(turn) + body.cos * math.sin(turn)) * self._rx * 0.93
        return (x, self._y(part)), body.cos * math.cos(turn) - body.sin * math.sin(turn)

    def draw(self) -> None:
        if self._body.from_back:
            self._back_of_head()
        else:
            self._face()
            if self._person.hair != "bald":
                self._hair()
            if self._person.glasses:
                self._glasses()
        if self._person.hat:
            self._hat()

    def _back_of_head(self) -> None:
        hair, rx = self._person.hair_rgb, self._rx * 1.14
        self._canvas.fill(ellipse(self._x, self._y(0.5), self._rx, self._size * 0.5), self._person.skin, "head")
        if self._person.hair == "short":
            self._canvas.fill(ellipse(self._x, self._y(0.63), rx, self._size * 0.43), hair, "head")
        elif self._person.hair == "long":
            low = self._body.shoulder - 0.1 * self._body.tall
            right = [(0.0, self._y(1.06)), (0.86, self._y(0.86)), (1.05, self._y(0.4)), (1.1, low)]
            left = [(-x, y) for x, y in right[:0:-1]]
            self._canvas.fill(smooth([(self._x + x * rx, y) for x, y in right + left]), hair, "head")

    def _crown(self) -> Points:
        """The outline of the upper head with its hair, which can be seen beside the face."""
        wide = self._rx * (1.05 if self._person.hair == "bald" else 1.2)
        return ellipse(self._x - self._body.sin * self._rx * 0.1, self._y(0.62), wide, self._size * 0.44)

    def _face(self) -> None:
        canvas, skin, size, rx, sin = self._canvas, self._person.skin, self._size, self._rx, self._body.sin
        crown = skin if self._person.hair == "bald" else self._person.hair_rgb
        canvas.fill(self._crown(), crown, "head")
        x, wide = self._x + 0.3 * abs(sin) * sin * rx, rx * (0.93 - 0.19 * abs(sin))
        canvas.fill(ellipse(x, self._y(0.43), wide, size * 0.43, power=2.4), skin, "head", edge=0.35)
        if self._body.from_side:
            turn = self._body.facing
            base, tip = x + turn * (wide - 0.1 * size), x + turn * (wide + 0.09 * size)
            nose = [(base, self._y(0.5)), (tip, self._y(0.36)), (base, self._y(0.3))]
            canvas.fill(np.array(nose), skin, "head", edge=0.0)
        for degrees in (-25, 25):
            (x, y), towards = self._at(degrees, 0.5)
            if towards > 0.15:
                canvas.fill(ellipse(x, y, size * 0.045 * max(towards, 0.5), size * 0.05), _BLACK, "head", edge=0.0)
        (x, y), towards = self._at(0, 0.2)
        half = size * 0.1 * max(towards, 0.4)
        lips: Colour = (186, 62, 68) if self._person.female else shaded(skin, 0.55)
        canvas.line(np.array([(x - half - sin * half, y), (x + half - sin * half, y)]), lips, size * 0.045, "head")

    def _hair(self) -> None:
        """Hair above the forehead, and long locks beside the face and over the shoulders; from the side, one of them."""
        hair, sin, rx, x = self._person.hair_rgb, self._body.sin, self._rx, self._x
        self._canvas.fill(band(self._crown(), self._y(0.76), math.inf), hair, "head", edge=0.25)
        for side in (-1, 1):
            if self._person.hair == "long" and not (self._body.from_side and side == self._body.facing):
                line = [
                    (x + side * rx * (0.95 - 0.35 * abs(sin)), self._y(0.78)),
                    (x + side * rx * 1.12, self._y(0.2)),
                    (x + side * rx * 1.3, self._body.shoulder - 0.1 * self._body.tall),
                ]
                thick = rx * (0.32 + 0.25 * abs(sin))
                self._canvas.fill(tube(line, [thick * 0.7, thick, thick * 0.75]), hair, "head", edge=0.35)

    def _glasses(self) -> None:
        """Dark or bright lenses in a thick frame, wide enough to be seen in small images."""
        canvas, size = self._canvas, self._size
        ends = []
        for degrees in (-27, 27):
            (x, y), towards = self._at(degrees, 0.49)
            if towards > 0.12:
                lens = ellipse(x, y, size * 0.165 * max(towards, 0.56), size * 0.125)
                canvas.fill(lens, _LENSES[self._person.glasses], "head", edge=0.0)
                canvas.line(np.concatenate([lens, lens[:2]]), _BLACK, size * 0.052, "head")
                ends.append((x, y))
        if self._body.from_side:  # the temple, from the lens to the ear
            ends.append((self._x - self._body.sin * self._rx * 0.12, self._y(0.5)))
        else:  # the bridge
            (left, y), (right, _) = ends
            ends = [(left * 0.6 + right * 0.4, y), (left * 0.4 + right * 0.6, y)]
        canvas.line(np.array(ends), _BLACK, size * 0.055, "head")

    def _hat(self) -> None:
        """A dome with a ribbon and a wide brim, which looks alike from all sides."""
        colour, rx = self._person.hat_rgb, self._rx
        dome = ellipse(self._x, self._y(0.85), rx * 1.15, self._size * 0.37, power=2.6)
        self._canvas.fill(band(dome, self._y(0.74), math.inf), colour, "head")
        ribbon = np.array([(self._x - rx * 1.06, self._y(0.84)), (self._x + rx * 1.06, self._y(0.84))])
        self._canvas.line(ribbon, shaded(colour, 0.45), self._size * 0.1, "head")
        self._canvas.fill(ellipse(self._x, self._y(0.75), rx * 1.75, self._size * 0.085), shaded(colour, 0.85), "head")


def cloth(canvas: Canvas, pattern: str, base: Colour, accent: Colour, border: float = 0.0) -> Paint:
    """The colour of plain cloth, or the texture of a pattern; a "splice" has the accent above `border`."""
    x, y = canvas.coordinates()
    if pattern == "stripes":
        accents = 2 * (y % 0.05 < 0.025) + 0 * (x > 0)
    elif pattern == "vertical stripes":
        accents = 2 * (x % 0.05 < 0.025) + 0 * (y > 0)
    elif pattern == "plaid":
        accents = 1 * (x % 0.07 < 0.035) + 1 * (y % 0.07 < 0.035)
    elif pattern == "dots":
        row = y // 0.05
        across, along = (x / 0.05 + row % 2 / 2) % 1 - 0.5, y / 0.05 - row - 0.5
        accents = 2 * (across**2 + along**2 < 0.1)
    elif pattern == "splice":
        accents = 2 * (y > border) + 0 * (x > 0)
    else:
        return base
    middle = tuple((one + other) // 2 for one, other in zip(base, accent, strict=True))
    return np.array([base, middle, accent], np.uint8)[accents]


class Clothes:
    """What one person wears, each part drawn at its turn."""

    def __init__(self, canvas: Canvas, body: Body) -> None:
        self._canvas, self._body, self._person = canvas, body, body.person
        person, chest = body.person, body.shoulder - 0.13 * body.tall
        self._upper = cloth(canvas, person.upper_pattern, person.upper_rgb, person.accent, chest)
        pattern = "vertical stripes" if person.lower_pattern == "stripes" else person.lower_pattern
        self._lower = cloth(canvas, pattern, person.lower_rgb, person.accent)
        self._skirted = person.lower in ("skirt", "dress")

    def draw_lower(self) -> None:
        """Both legs with trousers, shorts or skirt, and shoes."""
        body, tall, hip, depth = self._body, self._body.tall, self._body.half_hip, self._body.depth
        for limb in body.legs():
            self._leg(limb)
        if self._skirted:
            cuts = [
                (body.waist, body.half_waist * 1.04, depth),
                (body.crotch + 0.06 * tall, hip * 1.06, depth * 1.1),
                (body.crotch - 0.14 * tall, hip * 1.4, depth * 1.45 + abs(body.swing) * 0.4),
            ]
            self._canvas.fill(body.outline(cuts, closed=False), self._lower, "lower")
            return
        cuts = [
            (body.waist - 0.03 * tall, body.half_waist * 0.8, depth * 0.8),
            (body.crotch + 0.04 * tall, hip * 0.96, depth * 0.96),
            (body.crotch - 0.01 * tall, hip * 0.98, depth * 0.9),
            (body.crotch - 0.03 * tall, hip * 0.5, depth * 0.4),
        ]
        self._canvas.fill(body.outline(cuts), self._lower, "lower", edge=0.0)

    def _leg(self, limb: Limb) -> None:
        person, leg = self._person, self._body.leg
        hip, knee, ankle = limb.joints
        if person.lower != "trousers":
            bare = tube(limb.joints, [leg * 0.95, leg * 0.68, leg * 0.46])
            self._canvas.fill(bare, person.skin, "lower", edge=0.3)
        if person.lower == "shorts":
            end = hip + (knee - hip) * 0.8
            self._canvas.fill(tube([hip, end], [leg * 1.08, leg * 1.14], flat_end=True), self._lower, "lower")
        elif person.lower == "trousers":
            trouser = tube(limb.joints, [leg * 1.06, leg * 0.9, leg * 0.82], flat_end=True)
            self._canvas.fill(trouser, self._lower, "lower")
        self._shoe(knee, ankle)

    def _shoe(self, knee: np.ndarray, ankle: np.ndarray) -> None:
        """A shoe, long from the side and short from the front; boots have a shaft up to the calf."""
        body, canvas, tall, colour = self._body, self._canvas, self._body.tall, self._person.shoe_rgb
        x, sole = ankle[0], ankle[1] - body.ankle
        if self._person.boots:
            top, wide = knee + (ankle - knee) * 0.32, body.leg * 0.8
            canvas.fill(tube([top, (x, sole + 0.03 * tall)], [wide * 1.08, wide * 0.85]), colour, "foot")
            cuff = tube([top - (ankle - knee) * 0.1, top], [wide * 1.16, wide * 1.14], flat_end=True)
            canvas.fill(cuff, shaded(colour, 0.6), "foot")
        half = math.hypot(0.03 * body.cos, 0.062 * body.sin) * tall
        shoe = ellipse(x + 0.03 * tall * body.sin, sole + 0.012 * tall, half, 0.03 * tall, power=2.6)
        canvas.fill(band(shoe, sole - 0.008 * tall, math.inf), colour, "foot")

    def draw_trunk(self) -> None:
        """Neck, and top, dress or coat, down to where each of them ends."""
        body, person, canvas, tall = self._body, self._person, self._canvas, self._body.tall
        neck = [body.at(0, body.chin + 0.03 * tall, 0), body.at(0, body.shoulder - 0.01 * tall, 0)]
        canvas.fill(tube(neck, [body.head * 0.2] * 2), shaded(person.skin, 0.88), edge=0.3)
        hip = body.half_hip + 0.006 * tall
        if person.coat:
            self._coat()
            return
        if self._skirted:
            cuts = [*body.trunk(), (body.waist - 0.045 * tall, body.half_waist * 1.1, body.depth)]
        else:
            cuts = [*body.trunk(), *((body.crotch + up * tall, hip, body.depth) for up in (0.045, 0.012))]
        outline = body.outline(cuts)
        canvas.fill(outline, self._upper, "upper")
        if person.lower == "dress":
            belt = band(outline, body.waist - 0.035 * tall, body.waist - 0.013 * tall)
            canvas.fill(belt, shaded(person.upper_rgb, 0.55), "upper", edge=0.0)
        if body.from_front:
            x, y = body.at(0, body.shoulder + 0.012 * tall, 0)
            canvas.fill(ellipse(x, y, body.head * 0.2, body.head * 0.14), shaded(person.skin, 0.94), edge=0.35)
        if person.upper_pattern == "logo" and not body.from_side:
            # A ring: higher above an object in the hands, lower under long hair, so that it stays in sight.
            drop = 0.088 if body.holds else 0.18 if body.from_back and person.hair == "long" else 0.125
            x, y = body.at(0, body.shoulder - drop * tall, 0)
            canvas.fill(ellipse(x, y, 0.06 * tall, 0.06 * tall), person.accent, "upper", edge=0.25)
            canvas.fill(ellipse(x, y, 0.027 * tall, 0.027 * tall), person.upper_rgb, "upper", edge=0.0)

    def _coat(self) -> None:
        """Down to the knee and wider than the body, with a row of buttons in front and a slit behind."""
        body, canvas, tall = self._body, self._canvas, self._body.tall
        hem = body.knee - 0.06 * tall
        cuts = [
            *body.trunk(),
            (body.crotch - 0.05 * tall, body.half_hip * 1.16, body.depth * 1.3),
            (hem, body.half_hip * 1.36, body.depth * 1.45 + abs(body.swing) * 0.3),
        ]
        outline = body.outline(cuts, closed=False)
        canvas.fill(outline, self._upper)
        canvas.extend("upper", band(outline, body.crotch, math.inf))
        canvas.extend("lower", band(outline, hem, body.crotch))
        dark = shaded(self._person.upper_rgb, 0.5)
        if not body.from_side:
            top = body.shoulder - 0.02 * tall if body.from_front else body.crotch
            canvas.line(np.array([body.at(0, top, 0), body.at(0, hem, 0)]), dark, 0.008)
        if body.from_front:
            for step in range(4):
                x, y = body.at(0.022 * tall, body.shoulder - (0.08 + 0.08 * step) * tall, 0)
                canvas.fill(ellipse(x, y, 0.009 * tall, 0.009 * tall), dark, edge=0.0)

    def draw_arm(self, limb: Limb) -> None:
        """Hand, arm and sleeve."""
        skin, canvas, arm = self._person.skin, self._canvas, self._body.arm
        shoulder, elbow, hand = limb.joints
        canvas.fill(ellipse(hand[0], hand[1] - arm * 0.4, arm * 0.75, arm * 0.9), skin, "upper", edge=0.4)
        if self._person.long_sleeve:
            sleeve = tube(limb.joints, [arm * 1.15, arm, arm * 0.86], flat_end=True)
        else:
            canvas.fill(tube(limb.joints, [arm * 0.92, arm * 0.8, arm * 0.6]), skin, "upper", edge=0.4)
            sleeve = tube([shoulder, shoulder + (elbow - shoulder) * 0.72], [arm * 1.1, arm * 1.16], flat_end=True)
        canvas.fill(sleeve, self._upper, "upper")


class Bags:
    """The bags of one person, each drawn at its turn among the parts of the body."""

    def __init__(self, canvas: Canvas, body: Body) -> None:
        self._canvas, self._body, self._person = canvas, body, body.person
        self._colour = body.person.bag_rgb
        self._dark = shaded(self._colour, 0.65)
        self._unit = body.tall**0.6  # a child's bag is smaller, but not by as much as the child

    def draw_backpack_behind(self) -> None:
        """From the front, the pack can be seen above the shoulders and beside the waist."""
        body = self._body
        if self._person.backpack and body.from_front:
            x, y = body.at(0, body.shoulder - 0.1 * body.tall, -body.depth - 0.05)
            pack = ellipse(x, y, body.half_shoulder, 0.165 * self._unit, power=4.5)
            self._canvas.fill(pack, self._dark, "bag")

    def draw_backpack(self) -> None:
        """Straps from the front; the pack with its pocket from the side and from behind."""
        body, unit = self._body, self._unit
        if not self._person.backpack:
            return
        if body.from_front:
            for side in (-1, 1):
                places = ((0.52, 0.012), (0.62, -0.11), (0.84, -0.21))
                strap = [
                    body.at(side * out * body.half_shoulder, body.shoulder + up * body.tall, 0) for out, up in places
                ]
                self._canvas.fill(tube(strap, [0.0185 * unit] * 3), self._colour, "bag")
            return
        x, y = body.at(0, body.shoulder - 0.15 * body.tall, -body.depth - (0.06 if body.from_side else 0.03) * unit)
        wide = (0.07 if body.from_side else 0.1) * unit
        self._canvas.fill(ellipse(x, y, wide, 0.15 * unit, power=4), self._colour, "bag")
        x -= 0.35 * wide * body.sin
        self._canvas.fill(ellipse(x, y - 0.06 * unit, wide * 0.65, 0.062 * unit, power=4), self._dark, "bag")

    def draw_shoulder_bag(self) -> None:
        """A bag with a flap at the hip, and its strap across the trunk from the other shoulder."""
        body, unit, tall = self._body, self._unit, self._body.tall
        if not self._person.shoulder_bag:
            return
        out = body.bag_side * (body.half_hip + 0.018 * tall)
        x, y = body.at(out, body.crotch, -0.045 * tall if body.from_side else 0.0)
        top = body.at(-body.bag_side * body.half_shoulder * 0.5, body.shoulder + 0.014 * tall, 0)
        self._canvas.fill(tube([top, (x, y + 0.04)], [0.013 * unit] * 2), self._colour, "bag")
        wide, high = 0.072 * unit, 0.06 * unit
        self._canvas.fill(ellipse(x, y, wide, high, power=5), self._colour, "bag")
        flap = [
            (x - wide, y + high),
            (x + wide, y + high),
            (x + wide * 0.9, y),
            (x, y - high * 0.3),
            (x - wide * 0.9, y),
        ]
        self._canvas.fill(np.array(flap), self._dark, "bag")

    def draw_handbag(self, limb: Limb) -> None:
        """A handbag that hangs from the hand of an arm."""
        if not self._person.handbag:
            return
        unit, (x, y) = self._unit, limb.joints[2].tolist()
        wide, top, low = 0.064 * unit, y - 0.075 * unit, y - 0.175 * unit
        grip = [(x - wide * 0.62, top), (x - wide * 0.4, y), (x + wide * 0.4, y), (x + wide * 0.62, top)]
        self._canvas.line(smooth(grip, closed=False), self._dark, 0.014 * unit, "bag")
        sides = [(x - wide * 0.8, top), (x + wide * 0.8, top), (x + wide * 1.1, low), (x - wide * 1.1, low)]
        self._canvas.fill(np.array(sides), self._colour, "bag", edge=0.7)

    def draw_object(self) -> None:
        """A box with tape or a folder with a line, between the hands before the belly."""
        body, tall, unit = self._body, self._body.tall, self._unit
        if not body.holds:
            return
        folder, colour = self._person.object == "folder", _OBJECTS[self._person.object]
        x, y = body.at(0, body.waist + 0.025 * tall, body.depth + 0.1 * tall)
        wide = 0.095 * unit * max(abs(body.cos), 0.3 if folder else 0.75)
        high = (0.088 if folder else 0.068) * unit
        self._canvas.fill(ellipse(x, y, wide, high, power=9), colour, "bag", edge=0.8)
        line = [(x - wide * 0.6, y), (x + wide * 0.6, y)] if folder else [(x, y - high), (x, y + high)]
        self._canvas.line(np.array(line), shaded(colour, 0.6), 0.014, "bag")

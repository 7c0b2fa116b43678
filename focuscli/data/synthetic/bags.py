"""What is carried: handbag, shoulder bag, backpack, an object in front; and the cane of the old."""

from __future__ import annotations

import numpy as np

from focuscli.data.synthetic.body import Body
from focuscli.data.synthetic.canvas import Canvas
from focuscli.data.synthetic.palette import scaled
from focuscli.data.synthetic.shapes import Points, rounded, smooth, tube


class Bags:
    """The bags of one person, each drawn at its turn among the parts of the body."""

    def __init__(self, canvas: Canvas, body: Body) -> None:
        self._canvas, self._body = canvas, body
        self._colour = body.person.bag_rgb
        self._dark = scaled(self._colour, 0.6)
        self._unit = body.tall**0.6  # a child's bag is smaller, but not by as much as the child

    def draw_backpack_behind(self) -> None:
        """From the front the pack peeps out over the shoulders and beside the waist."""
        body = self._body
        if body.person.backpack and body.from_front:
            x, y = body.at(0, body.shoulder - 0.13 * body.tall, -body.depth - 0.05)
            pack = rounded(x, y + 0.012, body.half_shoulder * 0.92, 0.165 * self._unit)
            self._canvas.fill(pack, self._dark, "bag")

    def draw_straps(self) -> None:
        """The straps of a backpack, or the strap of a shoulder bag, over the trunk and under the arms."""
        body, tall = self._body, self._body.tall
        if body.person.backpack:
            if body.from_front:
                for side in (-1, 1):
                    top = body.at(side * body.half_shoulder * 0.52, body.shoulder + 0.012 * tall, 0)
                    chest = body.at(side * body.half_shoulder * 0.62, body.shoulder - 0.11 * tall, body.depth)
                    low = body.at(side * body.half_shoulder * 0.84, body.shoulder - 0.21 * tall, body.depth * 0.5)
                    self._canvas.fill(tube([top, chest, low], [0.0185 * self._unit] * 3), self._colour, "bag")
            elif body.from_side:
                self._pack_from_side()
        if body.person.shoulder_bag:
            self._strap()

    def draw_shoulder_strap(self) -> None:
        """From the side, the strap of a backpack runs over the near shoulder, in front of the arm."""
        body, tall = self._body, self._body.tall
        if body.person.backpack and body.from_side:
            places = (
                (-0.02, -body.depth),
                (0.008, 0.012),
                (-0.06, body.depth * 0.85),
                (-0.16, body.depth * 0.45),
                (-0.21, -body.depth),
            )
            line = [body.at(0, body.shoulder + up * tall, forward) for up, forward in places]
            self._canvas.fill(tube(line, [0.016 * self._unit] * len(line)), self._dark, "bag")

    def draw_backpack(self) -> None:
        """From behind: the whole pack with its pocket, over back and hair."""
        body, tall = self._body, self._body.tall
        if not (body.person.backpack and body.from_back):
            return
        x, y = body.at(0, body.shoulder - 0.155 * tall, -body.depth - 0.03)
        wide, high = 0.1 * self._unit, 0.15 * self._unit
        for side in (-1, 1):
            top = body.at(side * body.half_shoulder * 0.5, body.shoulder + 0.012 * tall, 0)
            strap = tube([top, (x + side * wide * 0.7, y + high * 0.7)], [0.018 * self._unit] * 2)
            self._canvas.fill(strap, self._dark, "bag")
        self._canvas.fill(rounded(x, y, wide, high, power=4), self._colour, "bag")
        pocket = rounded(x, y - high * 0.4, wide * 0.72, high * 0.42, power=4)
        self._canvas.fill(pocket, scaled(self._colour, 0.8), "bag")
        zipper = np.array([(x - wide * 0.75, y + high * 0.35), (x + wide * 0.75, y + high * 0.35)])
        self._canvas.line(zipper, self._dark, 0.008, "bag")

    def _pack_from_side(self) -> None:
        body, tall, unit = self._body, self._body.tall, self._unit
        x, y = body.at(0, body.shoulder - 0.14 * tall, -body.depth - 0.055 * unit)
        back = -body.facing
        shape = [
            (x - back * 0.055 * unit, y + 0.13 * unit),
            (x + back * 0.03 * unit, y + 0.145 * unit),
            (x + back * 0.062 * unit, y + 0.05 * unit),
            (x + back * 0.075 * unit, y - 0.08 * unit),
            (x + back * 0.03 * unit, y - 0.145 * unit),
            (x - back * 0.055 * unit, y - 0.14 * unit),
        ]
        self._canvas.fill(smooth(shape), self._colour, "bag")
        pocket = rounded(x + back * 0.05 * unit, y - 0.06 * unit, 0.034 * unit, 0.055 * unit)
        self._canvas.fill(pocket, scaled(self._colour, 0.8), "bag")

    def _hip(self) -> tuple[float, float]:
        """The middle of a shoulder bag."""
        body = self._body
        out = body.half_hip + 0.018 * body.tall
        y = body.crotch + 0.005 * body.tall
        return body.at(body.bag_side * out, y, -0.045 * body.tall if body.from_side else 0.0)

    def _strap(self) -> None:
        """Across the trunk, from the other shoulder to the bag at the hip."""
        body, tall = self._body, self._body.tall
        depth = body.depth * (1.1 if body.from_front else -1.1 if body.from_back else 0.0)
        side = body.bag_side
        x, y = self._hip()
        top = body.at(-side * body.half_shoulder * 0.5, body.shoulder + 0.014 * tall, 0)
        middle = body.at(-side * body.half_shoulder * 0.02, body.shoulder - 0.16 * tall, depth)
        if body.from_side:
            top = body.at(0, body.shoulder + 0.014 * tall, 0.01)
            middle = body.at(side * body.half_shoulder, body.shoulder - 0.15 * tall, 0.01)
        self._canvas.fill(tube([top, middle, (x, y + 0.04)], [0.013 * self._unit] * 3), self._colour, "bag")

    def draw_shoulder_bag(self) -> None:
        """The bag at the hip, with its flap."""
        if not self._body.person.shoulder_bag:
            return
        x, y = self._hip()
        wide, high = 0.072 * self._unit, 0.06 * self._unit
        self._canvas.fill(rounded(x, y - 0.01, wide, high, power=5), self._colour, "bag")
        rim = y + high - 0.014
        flap = [(x - wide, rim), (x + wide, rim), (x + wide * 0.9, y), (x, y - high * 0.3), (x - wide * 0.9, y)]
        self._canvas.fill(np.array(flap), scaled(self._colour, 0.75), "bag")

    def draw_handbag(self, hand: Points) -> None:
        """Hanging from a hand."""
        body, unit = self._body, self._unit
        if not body.person.handbag:
            return
        x, y = float(hand[0]), float(hand[1]) - 0.02 * body.tall
        top, wide, high = y - 0.055 * unit, 0.064 * unit, 0.1 * unit
        grip = [
            (x - wide * 0.62, top),
            (x - wide * 0.4, y + 0.004),
            (x + wide * 0.4, y + 0.004),
            (x + wide * 0.62, top),
        ]
        self._canvas.line(smooth(grip, closed=False), self._dark, 0.014 * unit, "bag")
        shape = [
            (x - wide * 0.82, top),
            (x + wide * 0.82, top),
            (x + wide * 1.1, top - high),
            (x - wide * 1.1, top - high),
        ]
        self._canvas.fill(np.array(shape), self._colour, "bag", edge=0.7)
        clasp = rounded(x, top - 0.016 * unit, wide * 0.3, 0.014 * unit)
        self._canvas.fill(clasp, (238, 214, 120), "bag")

    def draw_object(self) -> None:
        """A box, folder or parcel before the belly, between the hands."""
        body, tall, unit = self._body, self._body.tall, self._unit
        if not body.holds:
            return
        kind = body.person.object
        half = {"box": 0.098, "folder": 0.085, "parcel": 0.092}[kind] * unit
        high = {"box": 0.068, "folder": 0.088, "parcel": 0.056}[kind] * unit
        x, y = body.at(0, body.waist + 0.025 * tall, body.depth + 0.1 * tall)
        wide = half * max(abs(body.cos), 0.75 if kind != "folder" else 0.3)
        colour = {"box": (194, 146, 92), "folder": (244, 242, 232), "parcel": self._colour}[kind]
        self._canvas.fill(rounded(x, y, wide, high, power=9), colour, "bag", edge=0.8)
        trim = scaled(colour, 0.6)
        if kind == "folder":
            for part in (0.45, 0.1, -0.25):
                line = np.array([(x - wide * 0.6, y + high * part), (x + wide * 0.6, y + high * part)])
                self._canvas.line(line, trim, 0.007, "bag")
            return
        self._canvas.line(np.array([(x, y - high), (x, y + high)]), trim, 0.018, "bag", opacity=200)
        if kind == "parcel":
            self._canvas.line(np.array([(x - wide, y), (x + wide, y)]), trim, 0.018, "bag", opacity=200)

    def draw_cane(self, hand: Points) -> None:
        """From the hand to the ground."""
        body = self._body
        x, y = float(hand[0]), float(hand[1])
        turn = body.facing
        stick = [
            (x - 0.03 * turn, y + 0.008),
            (x, y + 0.022),
            (x + 0.012 * turn, y - 0.02),
            (x + 0.02 * body.sin, 0.005),
        ]
        self._canvas.line(smooth(stick, closed=False), (92, 58, 34), 0.017)

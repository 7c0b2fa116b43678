"""Where things are on a head, and what is worn on it: hats and glasses."""

from __future__ import annotations

import math

import numpy as np

from focuscli.data.synthetic.body import Body
from focuscli.data.synthetic.canvas import Canvas
from focuscli.data.synthetic.palette import Colour, luminance, scaled
from focuscli.data.synthetic.shapes import Point, ellipse, smooth, tube

_BLACK: Colour = (22, 20, 24)


class OnHead:
    """Something to be drawn on the head of one person; lengths are in units of the head's height."""

    def __init__(self, canvas: Canvas, body: Body) -> None:
        self._canvas, self._body = canvas, body
        self._size = body.head
        self._x, chin = body.at(0, body.chin, 0.02 * body.tall if body.old else 0.0)
        self._chin = chin
        side = abs(body.sin)
        self._rx = self._size * (0.385 + 0.045 * side)
        self._back = body.person.view == "back"

    def _y(self, part: float) -> float:
        """Height of a part of the head: 0 = chin, 1 = crown."""
        return self._chin + part * self._size

    def _at(self, degrees: float, part: float, out: float = 1.0) -> Point:
        """A place on the head's surface, `degrees` away from the nose."""
        return self._x + self._body.sin_of(degrees) * self._rx * out, self._y(part)


class Headwear(OnHead):
    """Glasses and hats, over face and hair."""

    def draw(self) -> None:
        person = self._body.person
        if person.glasses and not self._back:
            self._glasses()
        if person.hat:
            {"cap": self._cap, "beanie": self._beanie, "brim": self._brim}[person.hat]()

    def _glasses(self) -> None:
        """Dark glasses, or a thick frame with bright lenses; wide enough to be seen in small pictures."""
        person, body, canvas = self._body.person, self._body, self._canvas
        size = self._size
        dark = person.glasses == "sun"
        lens = (20, 20, 26) if dark else (214, 232, 244)
        seen = []
        for eye in (-27, 27):
            depth = body.cos_of(eye)
            if depth < 0.12:
                continue
            x, y = self._at(eye, 0.49, 0.94)
            rx, ry = size * 0.165 * max(depth, 0.56), size * (0.125 if dark else 0.12)
            frame = ellipse(x, y, rx, ry, count=18)
            canvas.fill(frame, lens, "head", edge=0.0, shade=0.2)
            canvas.line(np.concatenate([frame, frame[:2]]), _BLACK, size * 0.052, "head")
            seen.append((x, y, rx))
        if len(seen) == 2:
            (x0, y0, r0), (x1, _, r1) = sorted(seen)
            canvas.line(np.array([(x0 + r0, y0), (x1 - r1, y0)]), _BLACK, size * 0.055, "head")
        for side in (-90, 90):
            if body.cos_of(side) > 0.3:
                ear = self._x - body.sin * self._rx * 0.12
                x, y, _ = seen[0]
                canvas.line(np.array([(x, y + size * 0.03), (ear, y + size * 0.02)]), _BLACK, size * 0.055, "head")

    def _dome(self, low: float, high: float, wide: float) -> None:
        x, rx = self._x - self._body.sin * self._rx * 0.06, self._rx * wide
        outline = [
            (x - rx, self._y(low)), (x - rx * 0.97, self._y(low + (high - low) * 0.45)),
            (x - rx * 0.62, self._y(low + (high - low) * 0.88)), (x, self._y(high)),
            (x + rx * 0.62, self._y(low + (high - low) * 0.88)), (x + rx * 0.97, self._y(low + (high - low) * 0.45)),
            (x + rx, self._y(low)), (x, self._y(low - 0.03)),
        ]  # fmt: skip
        self._canvas.fill(smooth(outline), self._body.person.hat_rgb, "head")

    def _trim(self, factor: float) -> Colour:
        colour = self._body.person.hat_rgb
        return scaled(colour, factor if luminance(colour) > 70 else 1.3)

    def _cap(self) -> None:
        body = self._body
        self._dome(0.7, 1.16, 1.12)
        x = self._x + body.sin * self._rx * 0.95
        half = math.hypot(self._rx * 1.05 * body.cos, self._rx * 0.85 * body.sin)
        if not self._back:
            visor = smooth(
                [(x - half, self._y(0.73)), (x, self._y(0.8)), (x + half, self._y(0.73)), (x, self._y(0.63))]
            )
            self._canvas.fill(visor, self._trim(0.62), "head")
        else:
            band = np.array([(self._x - self._rx * 1.05, self._y(0.72)), (self._x + self._rx * 1.05, self._y(0.72))])
            self._canvas.line(band, self._trim(0.62), self._size * 0.06, "head")
        self._canvas.fill(
            ellipse(self._x, self._y(1.16), self._size * 0.04, self._size * 0.03), self._trim(0.62), "head"
        )

    def _beanie(self) -> None:
        self._dome(0.72, 1.2, 1.12)
        x = self._x - self._body.sin * self._rx * 0.06
        roll = tube(
            [(x - self._rx * 1.02, self._y(0.74)), (x + self._rx * 1.02, self._y(0.74))], [self._size * 0.075] * 2
        )
        self._canvas.fill(roll, self._trim(0.66), "head")
        self._canvas.fill(ellipse(x, self._y(1.22), self._size * 0.1, self._size * 0.1), self._trim(1.3), "head")

    def _brim(self) -> None:
        self._dome(0.74, 1.2, 1.02)
        brim = ellipse(self._x, self._y(0.75), self._rx * 1.75, self._size * 0.085)
        self._canvas.fill(brim, self._trim(0.85), "head")
        left, right = self._x - self._rx * 0.98, self._x + self._rx * 0.98
        ribbon = smooth([(left, self._y(0.86)), (self._x, self._y(0.8)), (right, self._y(0.86))], closed=False)
        self._canvas.line(ribbon, self._trim(0.45), self._size * 0.085, "head")

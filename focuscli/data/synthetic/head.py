"""Head, face and hair."""

from __future__ import annotations

import numpy as np

from focuscli.data.synthetic.headwear import Headwear, OnHead
from focuscli.data.synthetic.palette import luminance, scaled
from focuscli.data.synthetic.shapes import ellipse, smooth, tube

_DARK = (34, 28, 30)


class Head(OnHead):
    """The head of one person, with what is worn on it."""

    def draw_hair_behind(self) -> None:
        """Long hair that falls behind the shoulders; drawn before the trunk when seen from the front."""
        person, body = self._body.person, self._body
        if person.hair != "long" or self._back:
            return
        low = body.shoulder - 0.085 * body.tall
        x, rx = self._x - body.sin * self._rx * 0.55, self._rx * (1.32 - 0.3 * abs(body.sin))
        outline = [
            (x - rx * 0.8, self._y(0.95)), (x + rx * 0.8, self._y(0.95)), (x + rx * 1.02, self._y(0.45)),
            (x + rx * 1.1, low), (x, low - 0.02 * body.tall), (x - rx * 1.1, low), (x - rx * 1.02, self._y(0.45)),
        ]  # fmt: skip
        self._canvas.fill(smooth(outline), scaled(person.hair_rgb, 0.86), "head")

    def draw(self) -> None:
        if self._back:
            self._skull()
            self._hair_from_back()
        else:
            self._hair()
            self._skull()
            self._face()
            self._fringe()
        Headwear(self._canvas, self._body).draw()

    def _skull(self) -> None:
        body, person, canvas = self._body, self._body.person, self._canvas
        rx, sin = self._rx, body.sin
        whole = self._back or person.hair == "bald"
        if whole:
            canvas.fill(ellipse(self._x, self._y(0.5), rx, self._size * 0.5), person.skin, "head")
        for side in (-90, 90):
            if body.cos_of(side) > -0.25:
                x, y = self._at(side, 0.46, 1.0)
                canvas.fill(ellipse(x - sin * rx * 0.12, y, rx * 0.17, self._size * 0.1), person.skin, "head", edge=0.4)
        if self._back:
            return
        shift, narrow = 0.2 * abs(sin), 1 - 0.2 * abs(sin)
        top = 0.98 if person.hair == "bald" else 0.83
        x, wide = self._x + sin * rx * (0.12 + shift), rx * 0.93 * narrow
        nose = abs(sin) * body.facing * self._size * 0.07
        right, left = (nose if nose > 0 else 0.0), (nose if nose < 0 else 0.0)
        outline = [
            (x, self._y(top)), (x + wide * 0.78, self._y(0.74)), (x + wide, self._y(0.52)),
            (x + wide + right, self._y(0.37)), (x + wide * 0.8 + right * 0.4, self._y(0.16)),
            (x + sin * wide * 0.35, self._y(0.0)),
            (x - wide * 0.8 + left * 0.4, self._y(0.16)), (x - wide + left, self._y(0.37)),
            (x - wide, self._y(0.52)), (x - wide * 0.78, self._y(0.74)),
        ]  # fmt: skip
        canvas.fill(smooth(outline), person.skin, "head", edge=0.35)
        if abs(sin) > 0.7:
            ear = self._x - sin * rx * 0.12
            if person.hair != "long":
                canvas.fill(ellipse(ear, self._y(0.46), rx * 0.18, self._size * 0.1), scaled(person.skin, 0.92), "head")

    def _hair(self) -> None:
        """Hair around the face, drawn before it."""
        person, body = self._body.person, self._body
        if person.hair == "bald":
            return
        x = self._x - body.sin * self._rx * 0.1
        wide = self._rx * (1.12 if person.hair == "long" else 1.06)
        low = 0.1 if person.hair == "long" else 0.32
        middle, half = (low + 1.06) / 2, (1.06 - low) / 2
        self._canvas.fill(ellipse(x, self._y(middle), wide, half * self._size), person.hair_rgb, "head")

    def _hair_from_back(self) -> None:
        person, body = self._body.person, self._body
        if person.hair == "bald":
            if body.old:
                rim = ellipse(self._x, self._y(0.36), self._rx * 1.04, self._size * 0.15)
                self._canvas.fill(rim, person.hair_rgb, "head")
            return
        if person.hair == "short":
            top = ellipse(self._x, self._y(0.63), self._rx * 1.07, self._size * 0.43)
            self._canvas.fill(top, person.hair_rgb, "head")
            crown = self._x + self._rx * 0.1, self._y(0.9)
            for part in (-0.7, -0.25, 0.25, 0.7):
                strand = [crown, (self._x + part * self._rx, self._y(0.66)), (self._x + part * self._rx, self._y(0.36))]
                shade = scaled(person.hair_rgb, 0.78 if luminance(person.hair_rgb) > 60 else 1.14)
                self._canvas.line(smooth(strand, closed=False), shade, 0.004, "head", opacity=150)
            return
        low = body.shoulder - 0.105 * body.tall
        x, rx = self._x, self._rx * 1.14
        outline = [
            (x, self._y(1.06)), (x + rx * 0.86, self._y(0.86)), (x + rx * 1.05, self._y(0.4)), (x + rx * 1.14, low + 0.03),
            (x + rx * 0.7, low), (x, low - 0.015), (x - rx * 0.7, low), (x - rx * 1.14, low + 0.03),
            (x - rx * 1.05, self._y(0.4)), (x - rx * 0.86, self._y(0.86)),
        ]  # fmt: skip
        self._canvas.fill(smooth(outline), person.hair_rgb, "head")
        gloss = scaled(person.hair_rgb, 1.18)
        for part in (-0.45, 0.1, 0.55):
            strand = [
                (x + part * rx, self._y(0.8)),
                (x + part * rx * 1.15, self._y(0.3)),
                (x + part * rx * 1.2, low + 0.02),
            ]
            self._canvas.line(smooth(strand, closed=False), gloss, 0.004, "head", opacity=130)

    def _fringe(self) -> None:
        """Hair in front of the face: a parting at the forehead, and long locks over the shoulders."""
        person, body, canvas = self._body.person, self._body, self._canvas
        rx, sin = self._rx, body.sin
        if person.hair == "bald":
            if body.old:
                for side in (-82, 82):
                    x, y = self._at(side, 0.5, 1.0)
                    if body.cos_of(side) > -0.3:
                        canvas.fill(
                            ellipse(x - sin * rx * 0.2, y, rx * 0.2, self._size * 0.14), person.hair_rgb, "head"
                        )
            return
        part = 0.3 if person.variant % 2 else -0.3
        if body.from_side:
            part = -0.45 * body.facing
        x = self._x + sin * rx * 0.05
        outline = [
            (x - rx * 1.0, self._y(0.72)), (x - rx * 0.75, self._y(0.97)), (x, self._y(1.07)), (x + rx * 0.75, self._y(0.97)),
            (x + rx * 1.0, self._y(0.72)), (x + rx * (0.5 + part), self._y(0.79)), (x + rx * part, self._y(0.84)),
            (x - rx * (0.5 - part), self._y(0.79)),
        ]  # fmt: skip
        canvas.fill(smooth(outline), person.hair_rgb, "head", edge=0.25)
        if person.hair != "long":
            return
        low = body.shoulder - 0.1 * body.tall
        for side in (-1, 1):
            if body.from_side and side == body.facing:
                continue
            start = self._x + side * rx * (0.98 - 0.3 * abs(sin)) - sin * rx * 0.1
            reach = 1.32 if body.from_front else 1.15
            line = [(start, self._y(0.72)), (self._x + side * rx * 1.12 - sin * rx * 0.2, self._y(0.2))]
            line.append((self._x + side * rx * reach - sin * rx * 0.3, low))
            thick = rx * (0.3 + 0.22 * abs(sin))
            canvas.fill(tube(line, [thick * 0.7, thick, thick * 0.75]), person.hair_rgb, "head", edge=0.35)

    def _face(self) -> None:
        person, body, canvas = self._body.person, self._body, self._canvas
        size = self._size
        if person.beard:
            x = self._x + body.sin * self._rx * 0.42
            wide = self._rx * (0.84 - 0.22 * abs(body.sin))
            beard = [
                (x - wide, self._y(0.36)), (x - wide * 0.82, self._y(0.1)), (x, self._y(-0.03)), (x + wide * 0.82, self._y(0.1)),
                (x + wide, self._y(0.36)), (x + wide * 0.45, self._y(0.29)), (x, self._y(0.31)), (x - wide * 0.45, self._y(0.29)),
            ]  # fmt: skip
            canvas.fill(smooth(beard), person.hair_rgb, "head", edge=0.0)
        for eye in (-25, 25):
            depth = body.cos_of(eye)
            if depth < 0.15:
                continue
            x, y = self._at(eye, 0.5, 0.92)
            canvas.fill(ellipse(x, y, size * 0.045 * max(depth, 0.5), size * 0.048, count=12), _DARK, "head", edge=0.0)
            brow = np.array([(x - size * 0.075 * depth, y + size * 0.1), (x + size * 0.075 * depth, y + size * 0.1)])
            canvas.line(brow, scaled(person.hair_rgb, 0.7), size * 0.035, "head")
        x, y = self._at(0, 0.34, 0.9)
        if body.from_front:
            nose = np.array(
                [(x + size * 0.012, y + size * 0.09), (x + size * 0.03, y), (x - size * 0.02, y - size * 0.01)]
            )
            canvas.line(nose, scaled(person.skin, 0.72), size * 0.028, "head")
        x, y = self._at(0, 0.19, 0.8)
        half = size * (0.1 * max(body.cos, 0.35))
        lips = (186, 62, 68) if person.female else scaled(person.skin, 0.55)
        mouth = np.array([(x - half, y + size * 0.01), (x, y - size * 0.012), (x + half, y + size * 0.01)])
        canvas.line(mouth, lips, size * (0.05 if person.female else 0.035), "head")

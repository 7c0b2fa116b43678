"""Trunk, sleeves, hands, patterns of the upper clothes, and long coats."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from focuscli.data.synthetic.body import Body, Level, Limb
from focuscli.data.synthetic.canvas import SUPERSAMPLING, Canvas
from focuscli.data.synthetic.palette import Colour, luminance, scaled
from focuscli.data.synthetic.shapes import Points, band, ellipse, rounded, smooth, tube
from focuscli.data.synthetic.textures import Cloth

Paint = Colour | Image.Image


class Upper:
    """The upper clothes of one person."""

    def __init__(self, canvas: Canvas, body: Body, cloth: Cloth) -> None:
        self._canvas, self._body = canvas, body
        person = body.person
        self.cloth: Paint = person.upper_rgb
        self.sleeve: Paint = person.upper_rgb
        pattern = person.upper_pattern
        if pattern == "stripes":
            self.cloth = self.sleeve = cloth.stripes(person.upper_rgb, person.accent)
        elif pattern == "plaid":
            self.cloth = self.sleeve = cloth.plaid(person.upper_rgb, person.accent)
        elif pattern == "splice":
            self._splice(cloth)

    def _splice(self, cloth: Cloth) -> None:
        """Two colours: across the chest, left and right, or sleeves and shoulders of the second colour."""
        body, person = self._body, self._body.person
        kind = person.variant % 3
        level = body.shoulder - (0.13 if kind == 0 else 0.075) * body.tall
        border = self._canvas.camera.project(np.array([body.at(0, level, 0)]))[0] * SUPERSAMPLING
        vertical = kind == 1 and not body.from_side
        self.cloth = cloth.halves(person.upper_rgb, person.accent, border[0 if vertical else 1], vertical=vertical)
        self.sleeve = person.accent if kind == 2 else self.cloth

    def draw_trunk(self) -> None:
        body, person, canvas = self._body, self._body.person, self._canvas
        tall = body.tall
        neck = tube(
            [body.at(0, body.chin + 0.03 * tall, 0), body.at(0, body.shoulder - 0.01 * tall, 0)], [body.head * 0.2] * 2
        )
        canvas.fill(neck, scaled(person.skin, 0.88), None, edge=0.3)
        if person.coat:
            self._coat()
            return
        bottom = body.waist - 0.03 * tall if person.lower in ("skirt", "dress") else body.crotch + 0.012 * tall
        loose = 0.006 * tall
        levels = body.trunk(bottom, loose=loose)
        if person.lower in ("skirt", "dress"):
            waist = Level(bottom, body.half_waist * 1.04, body.depth * 0.9, body.depth * 0.9)
            levels = [*levels[:-2], waist]
        outline = body.outline(levels)
        canvas.fill(outline, self.cloth, "upper")
        if person.lower == "dress":
            belt = band(outline, bottom - 0.01, bottom + 0.018 * tall)
            canvas.fill(belt, scaled(person.upper_rgb, 0.55), "upper", edge=0.0)
        self._collar()
        if person.upper_pattern == "logo":
            self._logo()

    def _collar(self) -> None:
        body = self._body
        if body.from_back:
            return
        x, y = body.at(0, body.shoulder + 0.012 * body.tall, body.depth * 0.4)
        deep = body.head * (0.16 if body.from_front else 0.1)
        skin = ellipse(x, y, body.head * (0.2 if body.from_front else 0.14), deep)
        self._canvas.fill(skin, scaled(body.person.skin, 0.94), None, edge=0.35)

    def _logo(self) -> None:
        """A large print on chest and back; from the side there is nothing to be seen of it."""
        body, person = self._body, self._body.person
        if body.from_side:
            return
        # Higher above an object in the hands, lower under long hair, so that it stays in sight.
        drop = 0.088 if body.holds else 0.18 if body.from_back and person.hair == "long" else 0.125
        x, y = body.at(0, body.shoulder - drop * body.tall, body.depth * (1 if body.from_front else -1))
        size = 0.056 * body.tall
        kind = person.variant % 4
        if kind == 0:
            self._canvas.fill(ellipse(x, y, size, size), person.accent, "upper", edge=0.25, shade=0.3)
            self._canvas.fill(ellipse(x, y, size * 0.45, size * 0.45), person.upper_rgb, "upper", edge=0.0, shade=0.3)
        elif kind == 1:
            angle = np.arange(10) * math.pi / 5 + math.pi / 2
            radius = np.where(np.arange(10) % 2 == 0, size * 1.25, size * 0.55)
            star = np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)
            self._canvas.fill(star, person.accent, "upper", edge=0.25, shade=0.3)
        elif kind == 2:
            self._canvas.fill(rounded(x, y, size * 1.1, size * 0.85), person.accent, "upper", edge=0.25, shade=0.3)
            bar = np.array([(x - size * 0.6, y), (x + size * 0.6, y)])
            self._canvas.line(bar, person.upper_rgb, size * 0.5, "upper")
        else:
            shape = np.array(
                [(-1.0, 0.9), (-0.35, 0.9), (0, 0.1), (0.35, 0.9), (1.0, 0.9), (0.3, -0.95), (-0.3, -0.95)]
            )
            self._canvas.fill(shape * size * 1.1 + (x, y), person.accent, "upper", edge=0.25, shade=0.3)

    def _coat(self) -> None:
        """Down to below the knee; open in front, so that the trousers can be seen between the tails."""
        body, person, canvas = self._body, self._body.person, self._canvas
        tall, loose = body.tall, 0.012 * body.tall
        hem = body.knee - 0.06 * tall
        swing = abs(math.sin(person.phase)) * person.stride * 0.04 * tall
        levels = body.trunk(body.crotch - 0.02 * tall, loose=loose)[:-1]
        hip = body.half_hip
        levels += [
            Level(body.crotch - 0.05 * tall, hip * 1.16, body.depth * 1.2, body.depth * 1.3),
            Level(hem, hip * 1.36, body.depth * 1.35 + swing, body.depth * 1.5 + swing),
        ]
        ends = [body.edges(level) for level in levels]
        left = smooth([end[0] for end in ends], closed=False)
        right = smooth([end[1] for end in ends], closed=False)
        outline = np.concatenate([left, right[::-1]])
        canvas.fill(outline, self.cloth, None)
        canvas.mark("upper", band(outline, body.crotch, 2.0))
        canvas.mark("lower", band(outline, hem, body.crotch))
        dark = scaled(person.upper_rgb, 0.5 if luminance(person.upper_rgb) > 60 else 1.35)
        top, low = (left[4] + right[4]) / 2, (left[-1] + right[-1]) / 2
        if body.from_front:
            self._coat_front(top, low, dark)
        elif body.from_back:
            canvas.line(np.array([(low[0], body.crotch - 0.02), low]), dark, 0.007)
            middle = left[16:21].mean(axis=0), right[16:21].mean(axis=0)
            canvas.line(np.array(middle), dark, 0.01, opacity=170)
        else:
            edge = (right if body.facing > 0 else left)[5:]
            inner = edge - (body.facing * 0.018 * tall, 0)
            canvas.line(inner, dark, 0.005, opacity=190)

    def _coat_front(self, top: Points, low: Points, dark: Colour) -> None:
        body, canvas = self._body, self._canvas
        tall = body.tall
        x = top[0]
        canvas.line(np.array([(x, body.shoulder - 0.05 * tall), low]), dark, 0.008, opacity=220)
        for step in range(4):
            y = body.shoulder - (0.13 + 0.075 * step) * tall
            canvas.fill(ellipse(x + 0.022 * tall, y, 0.009 * tall, 0.009 * tall), dark, "upper", edge=0.0)
        slit = np.array(
            [(x, body.crotch - 0.02 * tall), (low[0] + 0.028 * tall, low[1]), (low[0] - 0.028 * tall, low[1])]
        )
        canvas.fill(slit, scaled(body.person.lower_rgb, 0.75), "lower", edge=0.4)
        for side in (-1, 1):
            lapel = [
                (x + side * 0.026 * tall, body.shoulder + 0.02 * tall),
                (x + side * 0.062 * tall, body.shoulder - 0.02 * tall),
                (x, body.shoulder - 0.12 * tall),
            ]
            canvas.fill(np.array(lapel), scaled(body.person.upper_rgb, 0.8), "upper", edge=0.7)

    def draw_arm(self, limb: Limb) -> None:
        body, person, canvas = self._body, self._body.person, self._canvas
        seen, arm = body.seen(limb), body.arm
        shoulder, elbow, hand = seen
        palm = hand + (hand - elbow) / max(float(np.linalg.norm(hand - elbow)), 1e-9) * arm * 0.5
        canvas.fill(ellipse(palm[0], palm[1], arm * 0.72, arm * 0.86), person.skin, "upper", edge=0.4)
        if person.long_sleeve:
            wide = 1.25 if person.coat else 1.08
            canvas.fill(
                tube(seen, [arm * wide, arm * wide * 0.9, arm * wide * 0.78], flat_end=True), self.sleeve, "upper"
            )
            return
        canvas.fill(tube(seen, [arm * 0.92, arm * 0.8, arm * 0.6]), person.skin, "upper", edge=0.4)
        end = shoulder + (elbow - shoulder) * 0.72
        cut = tube([shoulder, (shoulder + end) / 2, end], [arm * 1.1, arm * 1.14, arm * 1.16], flat_end=True)
        canvas.fill(cut, self.sleeve, "upper")

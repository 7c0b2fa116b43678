"""Legs, shoes, trousers, shorts and skirts."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from focuscli.data.synthetic.body import Body, Level, Limb
from focuscli.data.synthetic.canvas import Canvas
from focuscli.data.synthetic.palette import Colour, luminance, scaled
from focuscli.data.synthetic.shapes import Points, band, smooth, tube
from focuscli.data.synthetic.textures import Cloth

Paint = Colour | Image.Image


def draw_lower(canvas: Canvas, body: Body, cloth: Cloth) -> None:
    """Both legs with their clothes and shoes, the farther one first, then what covers both hips."""
    person = body.person
    paint: Paint = person.lower_rgb
    if person.lower_pattern == "pattern":
        dotted = person.variant % 2 == 0 or person.lower in ("skirt", "dress")
        texture = cloth.dots if dotted else None
        if texture is not None:
            paint = texture(person.lower_rgb, person.lower_accent)
        else:
            paint = cloth.blotches(person.lower_rgb, person.lower_accent, person.variant)
    for limb in body.legs():
        _leg(canvas, body, limb, paint)
    if person.lower in ("skirt", "dress"):
        _skirt(canvas, body, paint)
    else:
        _seat(canvas, body, paint)


def _leg(canvas: Canvas, body: Body, limb: Limb, paint: Paint) -> None:
    person, leg = body.person, body.leg
    seen = body.seen(limb)
    hip, knee, ankle = seen
    if person.lower == "trousers":
        end = knee + (ankle - knee) * (0.6 if person.boots else 0.97)
        wide = 0.72 if person.boots else 0.82
        canvas.fill(tube([hip, knee, end], [leg * 1.06, leg * 0.9, leg * wide], flat_end=True), paint, "lower")
        _side_stripe(canvas, body, limb, (0.0, 0.6 if person.boots else 0.96))
        _shoe(canvas, body, seen)
        return
    canvas.fill(tube(seen, [leg * 0.95, leg * 0.68, leg * 0.46]), person.skin, "lower", edge=0.3)
    _shoe(canvas, body, seen)
    if person.lower == "shorts":
        end = hip + (knee - hip) * 0.8
        middle = hip + (knee - hip) * 0.4
        canvas.fill(tube([hip, middle, end], [leg * 1.08, leg * 1.12, leg * 1.14], flat_end=True), paint, "lower")
        _side_stripe(canvas, body, limb, (0.0, 0.4))


def _side_stripe(canvas: Canvas, body: Body, limb: Limb, part: tuple[float, float]) -> None:
    """The sporty stripe along the outer side of a leg, from one part of its length to another (1 = ankle)."""
    person = body.person
    if person.lower_pattern != "stripe" or (body.from_side and limb.side != body.near):
        return
    side = limb.side * body.leg * (0.0 if body.from_side else 0.5)
    points = np.array([body.at(s + side, y, f) for s, y, f in limb.joints])
    curve = smooth(points, closed=False, steps=6)
    curve = curve[: max(2, round(part[1] * (len(curve) - 1)) + 1)]
    width = 0.36 * body.leg
    canvas.fill(tube(curve, [width] * len(curve), steps=1, flat_end=True), person.lower_accent, "lower", edge=0.2)


def _seat(canvas: Canvas, body: Body, paint: Paint) -> None:
    """The part of trousers or shorts that covers the hips."""
    hip, tall = body.half_hip, body.tall
    levels = [
        Level(body.waist - 0.03 * tall, body.half_waist * 1.02, body.depth * 0.85, body.depth * 0.85),
        Level(body.crotch + 0.05 * tall, hip, body.depth * 0.9, body.depth * 1.05),
        Level(body.crotch - 0.01 * tall, hip * 0.98, body.depth * 0.8, body.depth * 0.95),
        Level(body.crotch - 0.03 * tall, hip * 0.5, body.depth * 0.4, body.depth * 0.4),
    ]
    canvas.fill(body.outline(levels), paint, "lower", edge=0.0)
    if not body.from_side:
        x, y = body.at(0, body.crotch - 0.02 * tall, 0)
        crease = np.array([(x, y), (x, y + 0.05 * tall)])
        canvas.line(crease, scaled(body.person.lower_rgb, 0.45), 0.005, "lower", opacity=150)


def _skirt(canvas: Canvas, body: Body, paint: Paint) -> None:
    person, tall = body.person, body.tall
    length = (0.1 + 0.03 * (person.variant % 4)) * tall
    spread = 1.25 + 0.1 * (person.variant % 3)
    swing = abs(math.sin(person.phase)) * person.stride * 0.05 * tall
    hip = body.half_hip
    levels = [
        Level(body.waist, body.half_waist * 1.04, body.depth * 0.9, body.depth * 0.9),
        Level(body.crotch + 0.06 * tall, hip * 1.06, body.depth, body.depth * 1.1),
        Level(
            body.crotch - length * 0.4,
            hip * (1 + spread) / 2 * 1.04,
            body.depth * 1.2 + swing,
            body.depth * 1.25 + swing,
        ),
        Level(body.crotch - length, hip * spread, body.depth * 1.4 + swing, body.depth * 1.45 + swing),
    ]
    ends = [body.edges(level) for level in levels]
    left = smooth([end[0] for end in ends], closed=False)
    right = smooth([end[1] for end in ends], closed=False)
    hem = _hem(left[-1], right[-1], 0.012 * tall)
    outline = np.concatenate([left, hem, right[::-1]])
    canvas.fill(outline, paint, "lower")
    if person.lower_pattern == "stripe":
        for step in range(3):
            top = body.crotch - length + (0.026 + 0.05 * step) * tall
            strip = band(outline, top, top + 0.024 * tall)
            canvas.fill(strip, person.lower_accent, "lower", edge=0.0)
    elif person.lower_pattern == "plain":
        fold = scaled(person.lower_rgb, 0.62 if luminance(person.lower_rgb) > 60 else 1.25)
        for part in (0.25, 0.5, 0.75):
            top, low = left[8] * (1 - part) + right[8] * part, left[-1] * (1 - part) + right[-1] * part
            canvas.line(np.array([top, low]), fold, 0.005, "lower", opacity=110)


def _hem(left: Points, right: Points, drop: float) -> Points:
    part = np.linspace(0.1, 0.9, 7)[:, None]
    line = left * (1 - part) + right * part
    line[:, 1] -= (drop * np.sin(part * np.pi))[:, 0]
    return line


def _shoe(canvas: Canvas, body: Body, leg: Points) -> None:
    """A shoe at the end of a leg, long from the side and short from the front; boots have a shaft up the calf."""
    person, tall = body.person, body.tall
    x, y = leg[2]
    sole = y - body.ankle
    colour = person.shoe_rgb
    half = math.hypot(0.03 * body.cos, 0.062 * body.sin) * tall
    toe = x + 0.03 * tall * body.sin
    height = tall * 0.042
    if person.boots:
        knee, ankle = leg[1], leg[2]
        top = knee + (ankle - knee) * 0.32
        wide = body.leg * 0.8
        foot = (x, sole + 0.03 * tall)
        canvas.fill(tube([top, (top + ankle) / 2, foot], [wide * 1.08, wide, wide * 0.8]), colour, "foot")
        rim = top + (ankle - knee) * 0.03
        cuff = tube([top - (ankle - knee) * 0.1, rim], [wide * 1.16, wide * 1.14], flat_end=True)
        canvas.fill(cuff, scaled(colour, 0.6), "foot")
        height *= 1.15
    down = 0.014 * tall * max(body.cos, 0)
    front = body.facing if body.from_side else 0
    outline = [
        (x - 0.024 * tall, sole + height * 1.05),
        (x + 0.024 * tall, sole + height * 1.05),
        (toe + half * (0.7 if front >= 0 else 0.96), sole + height * (0.62 if front > 0 else 0.85)),
        (toe + half, sole + height * 0.28 - down),
        (toe + half * 0.9, sole - down),
        (toe - half * 0.9, sole - down),
        (toe - half, sole + height * 0.28 - down),
        (toe - half * (0.7 if front <= 0 else 0.96), sole + height * (0.62 if front < 0 else 0.85)),
    ]
    shape = smooth(outline, steps=3)
    canvas.fill(shape, colour, "foot")
    rubber = (236, 236, 232) if luminance(colour) < 150 and not person.boots else scaled(colour, 0.45)
    canvas.fill(band(shape, sole - 0.03, sole + 0.009 * tall - down), rubber, "foot", edge=0.0)

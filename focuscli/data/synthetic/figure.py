"""A whole person: head, clothes and bags, each part drawn at its turn."""

from __future__ import annotations

import math

import numpy as np

from focuscli.data.synthetic.body import Body, Limb
from focuscli.data.synthetic.canvas import Canvas, Paint, Points, band, ellipse, shaded, smooth, tube
from focuscli.data.synthetic.people import Colour, Person

_BLACK = (22, 20, 24)
_LENSES = {"sun": (20, 20, 26), "clear": (214, 232, 244)}
_OBJECTS = {"box": (194, 146, 92), "folder": (244, 242, 232)}


def draw_figure(canvas: Canvas, person: Person) -> None:
    """Draw all parts of a person, in the order in which they cover each other."""
    body = Body(person)
    chest = body.shoulder - 0.13 * body.tall
    upper = cloth(canvas, person.upper_pattern, person.upper_rgb, person.accent, chest)
    pattern = "vertical stripes" if person.lower_pattern == "stripes" else person.lower_pattern
    lower = cloth(canvas, pattern, person.lower_rgb, person.accent)
    far, near = body.arms()
    if person.backpack and body.from_front:
        draw_pack_behind(canvas, body)
    if body.from_side:
        draw_arm(canvas, body, far, upper)
    draw_lower(canvas, body, lower)
    draw_trunk(canvas, body, upper)
    draw_head(canvas, body)
    if person.backpack:
        draw_backpack(canvas, body)
    if body.holds:
        draw_object(canvas, body)
    if not body.from_side:
        draw_arm(canvas, body, far, upper)
    draw_arm(canvas, body, near, upper)
    if person.shoulder_bag:
        draw_shoulder_bag(canvas, body)
    if person.handbag:
        draw_handbag(canvas, body, near if near.side == body.bag_side else far)


def cloth(canvas: Canvas, pattern: str, base: Colour, accent: Colour, border: float = 0.0) -> Paint:
    """The colour of plain cloth, or the texture of a pattern; a "splice" has the accent above `border`."""
    x, y = canvas.coordinates()
    if pattern == "stripes":
        accents = 2 * (y % 0.05 < 0.025)
    elif pattern == "vertical stripes":
        accents = 2 * (x % 0.05 < 0.025)
    elif pattern == "plaid":
        accents = 1 * (x % 0.07 < 0.035) + 1 * (y % 0.07 < 0.035)
    elif pattern == "dots":
        row = y // 0.05
        across, along = (x / 0.05 + row % 2 / 2) % 1 - 0.5, y / 0.05 - row - 0.5
        accents = 2 * (across**2 + along**2 < 0.1)
    elif pattern == "splice":
        accents = 2 * (y > border)
    else:
        return base
    middle = tuple((one + other) // 2 for one, other in zip(base, accent, strict=True))
    return np.array([base, middle, accent], np.uint8)[np.broadcast_to(accents, (y.size, x.size))]


def draw_head(canvas: Canvas, body: Body) -> None:
    """Face or back of the head, with hair, glasses and hat."""
    person = body.person
    if body.from_back:
        _draw_back_of_head(canvas, body)
    else:
        _draw_face(canvas, body)
        if person.hair != "bald":
            _draw_hair(canvas, body)
        if person.glasses:
            _draw_glasses(canvas, body)
    if person.hat:
        _draw_hat(canvas, body)


def _draw_back_of_head(canvas: Canvas, body: Body) -> None:
    x, rx, hair = body.head_x, body.head_rx * 1.14, body.person.hair_rgb
    canvas.fill(ellipse(x, body.head_y(0.5), body.head_rx, body.head * 0.5), body.person.skin, "head")
    if body.person.hair == "short":
        canvas.fill(ellipse(x, body.head_y(0.63), rx, body.head * 0.43), hair, "head")
    elif body.person.hair == "long":
        low = body.shoulder - 0.1 * body.tall
        right = [(0.0, body.head_y(1.06)), (0.86, body.head_y(0.86)), (1.05, body.head_y(0.4)), (1.1, low)]
        left = [(-across, y) for across, y in right[:0:-1]]
        canvas.fill(smooth([(x + across * rx, y) for across, y in right + left]), hair, "head")


def _crown(body: Body) -> Points:
    """The outline of the upper head with its hair, which can be seen beside the face."""
    wide = body.head_rx * (1.05 if body.person.hair == "bald" else 1.2)
    return ellipse(body.head_x - body.sin * body.head_rx * 0.1, body.head_y(0.62), wide, body.head * 0.44)


def _draw_face(canvas: Canvas, body: Body) -> None:
    person, skin, size, rx, sin = body.person, body.person.skin, body.head, body.head_rx, body.sin
    canvas.fill(_crown(body), skin if person.hair == "bald" else person.hair_rgb, "head")
    x, wide = body.head_x + 0.3 * abs(sin) * sin * rx, rx * (0.93 - 0.19 * abs(sin))
    canvas.fill(ellipse(x, body.head_y(0.43), wide, size * 0.43, power=2.4), skin, "head", edge=0.35)
    if body.from_side:
        base, tip = (x + body.facing * (wide + out * size) for out in (-0.1, 0.09))
        nose = [(base, body.head_y(0.5)), (tip, body.head_y(0.36)), (base, body.head_y(0.3))]
        canvas.fill(np.array(nose), skin, "head", edge=0.0)
    for degrees in (-25, 25):
        x, y, towards = body.head_at(degrees, 0.5)
        if towards > 0.15:
            canvas.fill(ellipse(x, y, size * 0.045 * max(towards, 0.5), size * 0.05), _BLACK, "head", edge=0.0)
    x, y, towards = body.head_at(0, 0.2)
    half = size * 0.1 * max(towards, 0.4)
    lips = (186, 62, 68) if person.female else shaded(skin, 0.55)
    canvas.line([(x - half - sin * half, y), (x + half - sin * half, y)], lips, size * 0.045, "head")


def _draw_hair(canvas: Canvas, body: Body) -> None:
    """Hair above the forehead, and long locks beside the face and over the shoulders; from the side, one of them."""
    hair, sin, rx, x = body.person.hair_rgb, body.sin, body.head_rx, body.head_x
    canvas.fill(band(_crown(body), body.head_y(0.76), math.inf), hair, "head", edge=0.25)
    for side in (-1, 1):
        if body.person.hair == "long" and not (body.from_side and side == body.facing):
            line = [
                (x + side * rx * (0.95 - 0.35 * abs(sin)), body.head_y(0.78)),
                (x + side * rx * 1.12, body.head_y(0.2)),
                (x + side * rx * 1.3, body.shoulder - 0.1 * body.tall),
            ]
            thick = rx * (0.32 + 0.25 * abs(sin))
            canvas.fill(tube(line, [thick * 0.7, thick, thick * 0.75]), hair, "head", edge=0.35)


def _draw_glasses(canvas: Canvas, body: Body) -> None:
    """Dark or bright lenses in a thick frame, wide enough to be seen in small images."""
    size, ends = body.head, []
    for degrees in (-27, 27):
        x, y, towards = body.head_at(degrees, 0.49)
        if towards > 0.12:
            lens = ellipse(x, y, size * 0.165 * max(towards, 0.56), size * 0.125)
            canvas.fill(lens, _LENSES[body.person.glasses], "head", edge=0.0)
            canvas.line(np.concatenate([lens, lens[:2]]), _BLACK, size * 0.052, "head")
            ends.append((x, y))
    if body.from_side:  # the temple, from the lens to the ear
        ends.append((body.head_x - body.sin * body.head_rx * 0.12, body.head_y(0.5)))
    else:  # the bridge
        (left, y), (right, _) = ends
        ends = [(left * 0.6 + right * 0.4, y), (left * 0.4 + right * 0.6, y)]
    canvas.line(ends, _BLACK, size * 0.055, "head")


def _draw_hat(canvas: Canvas, body: Body) -> None:
    """A dome with a ribbon and a wide brim, which looks alike from all sides."""
    colour, x, rx = body.person.hat_rgb, body.head_x, body.head_rx
    dome = ellipse(x, body.head_y(0.85), rx * 1.15, body.head * 0.37, power=2.6)
    canvas.fill(band(dome, body.head_y(0.74), math.inf), colour, "head")
    ribbon = [(x - rx * 1.06, body.head_y(0.84)), (x + rx * 1.06, body.head_y(0.84))]
    canvas.line(ribbon, shaded(colour, 0.45), body.head * 0.1, "head")
    canvas.fill(ellipse(x, body.head_y(0.75), rx * 1.75, body.head * 0.085), shaded(colour, 0.85), "head")


def draw_lower(canvas: Canvas, body: Body, paint: Paint) -> None:
    """Both legs with trousers, shorts or skirt, and shoes."""
    tall, hip, depth = body.tall, body.half_hip, body.depth
    for limb in body.legs():
        _draw_leg(canvas, body, limb, paint)
    if body.person.skirted:
        cuts = [
            (body.waist, body.half_waist * 1.04, depth),
            (body.crotch + 0.06 * tall, hip * 1.06, depth * 1.1),
            (body.crotch - 0.14 * tall, hip * 1.4, depth * 1.45 + abs(body.swing) * 0.4),
        ]
        canvas.fill(body.outline(cuts, closed=False), paint, "lower")
        return
    cuts = [
        (body.waist - 0.03 * tall, body.half_waist * 0.8, depth * 0.8),
        (body.crotch + 0.04 * tall, hip * 0.96, depth * 0.96),
        (body.crotch - 0.01 * tall, hip * 0.98, depth * 0.9),
        (body.crotch - 0.03 * tall, hip * 0.5, depth * 0.4),
    ]
    canvas.fill(body.outline(cuts), paint, "lower", edge=0.0)


def _draw_leg(canvas: Canvas, body: Body, limb: Limb, paint: Paint) -> None:
    person, leg = body.person, body.leg
    hip, knee, ankle = limb.joints
    if person.lower != "trousers":
        canvas.fill(tube(limb.joints, [leg * 0.95, leg * 0.68, leg * 0.46]), person.skin, "lower", edge=0.3)
    if person.lower == "shorts":
        end = hip + (knee - hip) * 0.8
        canvas.fill(tube([hip, end], [leg * 1.08, leg * 1.14], flat_end=True), paint, "lower")
    elif person.lower == "trousers":
        canvas.fill(tube(limb.joints, [leg * 1.06, leg * 0.9, leg * 0.82], flat_end=True), paint, "lower")
    _draw_shoe(canvas, body, knee, ankle)


def _draw_shoe(canvas: Canvas, body: Body, knee: Points, ankle: Points) -> None:
    """A shoe, long from the side and short from the front; boots have a shaft up to the calf."""
    tall, colour = body.tall, body.person.shoe_rgb
    x, sole = ankle[0], ankle[1] - body.ankle
    if body.person.boots:
        top, wide = knee + (ankle - knee) * 0.32, body.leg * 0.8
        canvas.fill(tube([top, (x, sole + 0.03 * tall)], [wide * 1.08, wide * 0.85]), colour, "foot")
        cuff = tube([top - (ankle - knee) * 0.1, top], [wide * 1.16, wide * 1.14], flat_end=True)
        canvas.fill(cuff, shaded(colour, 0.6), "foot")
    half = math.hypot(0.03 * body.cos, 0.062 * body.sin) * tall
    shoe = ellipse(x + 0.03 * tall * body.sin, sole + 0.012 * tall, half, 0.03 * tall, power=2.6)
    canvas.fill(band(shoe, sole - 0.008 * tall, math.inf), colour, "foot")


def draw_trunk(canvas: Canvas, body: Body, paint: Paint) -> None:
    """Neck, and top, dress or coat, down to where each of them ends."""
    person, tall = body.person, body.tall
    neck = [body.at(0, body.chin + 0.03 * tall, 0), body.at(0, body.shoulder - 0.01 * tall, 0)]
    canvas.fill(tube(neck, [body.head * 0.2] * 2), shaded(person.skin, 0.88), edge=0.3)
    if person.coat:
        _draw_coat(canvas, body, paint)
        return
    if person.skirted:
        cuts = [*body.trunk(), (body.waist - 0.045 * tall, body.half_waist * 1.1, body.depth)]
    else:
        hip = body.half_hip + 0.006 * tall
        cuts = [*body.trunk(), *((body.crotch + up * tall, hip, body.depth) for up in (0.045, 0.012))]
    outline = body.outline(cuts)
    canvas.fill(outline, paint, "upper")
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


def _draw_coat(canvas: Canvas, body: Body, paint: Paint) -> None:
    """Down to the knee and wider than the body, with a row of buttons in front and a slit behind."""
    tall, hem, dark = body.tall, body.knee - 0.06 * body.tall, shaded(body.person.upper_rgb, 0.5)
    cuts = [
        *body.trunk(),
        (body.crotch - 0.05 * tall, body.half_hip * 1.16, body.depth * 1.3),
        (hem, body.half_hip * 1.36, body.depth * 1.45 + abs(body.swing) * 0.3),
    ]
    outline = body.outline(cuts, closed=False)
    canvas.fill(outline, paint)
    canvas.extend("upper", band(outline, body.crotch, math.inf))
    canvas.extend("lower", band(outline, hem, body.crotch))
    if not body.from_side:
        top = body.shoulder - 0.02 * tall if body.from_front else body.crotch
        canvas.line([body.at(0, top, 0), body.at(0, hem, 0)], dark, 0.008)
    if body.from_front:
        for step in range(4):
            x, y = body.at(0.022 * tall, body.shoulder - (0.08 + 0.08 * step) * tall, 0)
            canvas.fill(ellipse(x, y, 0.009 * tall, 0.009 * tall), dark, edge=0.0)


def draw_arm(canvas: Canvas, body: Body, limb: Limb, paint: Paint) -> None:
    """Hand, arm and sleeve."""
    skin, arm = body.person.skin, body.arm
    shoulder, elbow, hand = limb.joints
    canvas.fill(ellipse(hand[0], hand[1] - arm * 0.4, arm * 0.75, arm * 0.9), skin, "upper", edge=0.4)
    if body.person.long_sleeve:
        sleeve = tube(limb.joints, [arm * 1.15, arm, arm * 0.86], flat_end=True)
    else:
        canvas.fill(tube(limb.joints, [arm * 0.92, arm * 0.8, arm * 0.6]), skin, "upper", edge=0.4)
        sleeve = tube([shoulder, shoulder + (elbow - shoulder) * 0.72], [arm * 1.1, arm * 1.16], flat_end=True)
    canvas.fill(sleeve, paint, "upper")


def draw_pack_behind(canvas: Canvas, body: Body) -> None:
    """From the front, the pack can be seen above the shoulders and beside the waist."""
    x, y = body.at(0, body.shoulder - 0.1 * body.tall, -body.depth - 0.05)
    pack = ellipse(x, y, body.half_shoulder, 0.165 * body.bag_unit, power=4.5)
    canvas.fill(pack, shaded(body.person.bag_rgb, 0.65), "bag")


def draw_backpack(canvas: Canvas, body: Body) -> None:
    """Straps from the front; the pack with its pocket from the side and from behind."""
    unit, colour = body.bag_unit, body.person.bag_rgb
    if body.from_front:
        for side in (-1, 1):
            places = [(side * 0.52, 0.012), (side * 0.62, -0.11), (side * 0.84, -0.21)]
            strap = [body.at(out * body.half_shoulder, body.shoulder + up * body.tall, 0) for out, up in places]
            canvas.fill(tube(strap, [0.0185 * unit] * 3), colour, "bag")
        return
    x, y = body.at(0, body.shoulder - 0.15 * body.tall, -body.depth - (0.06 if body.from_side else 0.03) * unit)
    wide = (0.07 if body.from_side else 0.1) * unit
    canvas.fill(ellipse(x, y, wide, 0.15 * unit, power=4), colour, "bag")
    x -= 0.35 * wide * body.sin
    canvas.fill(ellipse(x, y - 0.06 * unit, wide * 0.65, 0.062 * unit, power=4), shaded(colour, 0.65), "bag")


def draw_shoulder_bag(canvas: Canvas, body: Body) -> None:
    """A bag with a flap at the hip, and its strap across the trunk from the other shoulder."""
    unit, tall, colour = body.bag_unit, body.tall, body.person.bag_rgb
    out = body.bag_side * (body.half_hip + 0.018 * tall)
    x, y = body.at(out, body.crotch, -0.045 * tall if body.from_side else 0.0)
    top = body.at(-body.bag_side * body.half_shoulder * 0.5, body.shoulder + 0.014 * tall, 0)
    canvas.fill(tube([top, (x, y + 0.04)], [0.013 * unit] * 2), colour, "bag")
    wide, high = 0.072 * unit, 0.06 * unit
    canvas.fill(ellipse(x, y, wide, high, power=5), colour, "bag")
    flap = np.array([(-1, 1), (1, 1), (0.9, 0), (0, -0.3), (-0.9, 0)])
    canvas.fill(flap * (wide, high) + (x, y), shaded(colour, 0.65), "bag")


def draw_handbag(canvas: Canvas, body: Body, limb: Limb) -> None:
    """A handbag that hangs from the hand of an arm."""
    unit, colour, (x, y) = body.bag_unit, body.person.bag_rgb, limb.joints[2].tolist()
    wide, top, low = 0.064 * unit, y - 0.075 * unit, y - 0.175 * unit
    grip = [(x - wide * 0.62, top), (x - wide * 0.4, y), (x + wide * 0.4, y), (x + wide * 0.62, top)]
    canvas.line(smooth(grip, closed=False), shaded(colour, 0.65), 0.014 * unit, "bag")
    sides = [(x - wide * 0.8, top), (x + wide * 0.8, top), (x + wide * 1.1, low), (x - wide * 1.1, low)]
    canvas.fill(np.array(sides), colour, "bag", edge=0.7)


def draw_object(canvas: Canvas, body: Body) -> None:
    """A box with tape or a folder with a line, between the hands before the belly."""
    tall, unit, kind = body.tall, body.bag_unit, body.person.object
    x, y = body.at(0, body.waist + 0.025 * tall, body.depth + 0.1 * tall)
    if kind == "folder":
        wide, high = 0.095 * unit * max(abs(body.cos), 0.3), 0.088 * unit
        line = [(x - wide * 0.6, y), (x + wide * 0.6, y)]
    else:
        wide, high = 0.095 * unit * max(abs(body.cos), 0.75), 0.068 * unit
        line = [(x, y - high), (x, y + high)]
    canvas.fill(ellipse(x, y, wide, high, power=9), _OBJECTS[kind], "bag", edge=0.8)
    canvas.line(line, shaded(_OBJECTS[kind], 0.6), 0.014, "bag")

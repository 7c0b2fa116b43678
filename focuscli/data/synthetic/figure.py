"""A whole person: proportions and pose, and each part drawn at its turn."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from focuscli.data.synthetic.canvas import Canvas, Paint, Point, Points, band, ellipse, shaded, smooth, tube
from focuscli.data.synthetic.people import Colour, Person

_TILT = 0.06  # how far a point moves down the picture per unit that it is nearer to the camera
_BLACK = (22, 20, 24)
_LENSES = {"sun": (20, 20, 26), "clear": (214, 232, 244)}
_OBJECTS = {"box": (194, 146, 92), "folder": (244, 242, 232)}
Cut = tuple[float, float, float]


def draw_figure(canvas: Canvas, person: Person) -> None:
    """Draw all parts of a person, in the order in which they cover each other."""
    figure = Figure(canvas, person)
    figure.draw_backpack_behind()
    if figure.profile:
        figure.draw_arm(-figure.near)
    figure.draw_lower()
    figure.draw_trunk()
    figure.draw_head()
    figure.draw_backpack()
    if figure.holds:
        figure.draw_object()
    if not figure.profile:
        figure.draw_arm(-figure.near)
    figure.draw_arm(figure.near)
    if person.shoulder_bag:
        figure.draw_shoulder_bag()
    if person.handbag:
        figure.draw_handbag()


def cloth(canvas: Canvas, pattern: str, base: Colour, accent: Colour, border: float = 0.0) -> Paint:
    """The colour of plain cloth, or the texture of a pattern; a "splice" has the accent above `border`."""
    x, y = canvas.coordinates()
    row = y // 0.05
    across, along = (x / 0.05 + row % 2 / 2) % 1 - 0.5, y / 0.05 - row - 0.5
    patterns = {
        "stripes": 2 * (y % 0.05 < 0.025),
        "vertical stripes": 2 * (x % 0.05 < 0.025),
        "plaid": 1 * (x % 0.07 < 0.035) + 1 * (y % 0.07 < 0.035),
        "dots": 2 * (across**2 + along**2 < 0.1),
        "splice": 2 * (y > border),
    }
    if pattern not in patterns:
        return base
    middle = tuple((one + other) // 2 for one, other in zip(base, accent, strict=True))
    return np.array([base, middle, accent], np.uint8)[np.broadcast_to(patterns[pattern], (y.size, x.size))]


class Figure:
    """A person's measures in figure units, and their parts. A side is +1 for what is right in the picture from the front."""

    def __init__(self, canvas: Canvas, person: Person) -> None:
        self.person, self.fill, self.line, self.grow = person, canvas.fill, canvas.line, canvas.project
        self.front, self.profile, self.back = (person.view == view for view in ("front", "side", "back"))
        angle = math.radians(person.yaw)
        self.sin, self.cos = math.sin(angle), math.cos(angle)
        self.facing = 1 if self.sin >= 0 else -1  # the direction of the face in a side view
        self.near = 1 if self.sin <= 0 else -1  # the side that is nearer to the camera
        self.bag_side = self.near if self.profile else 1
        self.holds = bool(person.object) and not self.back

        child, old, female, tall = person.age == "child", person.age == "old", person.female, person.height
        self.tall = tall
        self.lean = 0.07 * tall if old else 0.0
        self.head = tall * (0.228 if child else 0.163)
        self.chin = tall * (0.965 if old else 1.0) - self.head
        self.shoulder = self.chin - tall * (0.015 if child or old else 0.03)
        self.crotch = tall * (0.41 if child else 0.46)
        self.waist = self.crotch + tall * 0.135
        self.knee, self.ankle = tall * (0.225 if child else 0.26), tall * 0.038
        wide = tall * person.build
        self.half_shoulder = wide * (0.121 if child else 0.104 if female else 0.13)
        self.half_waist = wide * ((0.088 if child else 0.07 if female else 0.094) + 0.012 * old)
        self.half_hip = wide * (0.1 if female and not child else 0.091)
        self.depth = wide * 0.064
        self.leg_radius, self.arm_radius = wide * 0.054, wide * (0.031 if female or child else 0.036)
        self.swing = person.stride * 0.13 * tall
        self.bag_unit = tall**0.6  # a child's bag is smaller, but not by as much as the child
        self.head_x, self.chin_y = self.at(0, self.chin, 0.0)
        self.head_rx = self.head * (0.385 + 0.045 * abs(self.sin))
        self.skirted = person.lower in ("skirt", "dress")
        self.upper = cloth(canvas, person.upper_pattern, person.upper_rgb, person.accent, self.shoulder - 0.13 * tall)
        pattern = "vertical stripes" if person.lower_pattern == "stripes" else person.lower_pattern
        self.lower = cloth(canvas, pattern, person.lower_rgb, person.accent)

    def at(self, side: float, y: float, forward: float) -> Point:
        """A place in body coordinates -> (x, y) in figure units as seen from the person's angle."""
        if y > self.crotch:
            forward += self.lean * (y - self.crotch) / (self.shoulder - self.crotch)
        return side * self.cos + forward * self.sin, y - _TILT * (forward * self.cos - side * self.sin)

    def head_y(self, part: float) -> float:
        """Height of a part of the head: 0 = chin, 1 = crown."""
        return self.chin_y + part * self.head

    def head_at(self, degrees: float, part: float) -> Cut:
        """(x, y) of a place on the head `degrees` away from the nose, and how much it faces the camera: -1 to 1."""
        turn = math.radians(degrees)
        x = self.head_x + (self.sin * math.cos(turn) + self.cos * math.sin(turn)) * self.head_rx * 0.93
        return x, self.head_y(part), self.cos * math.cos(turn) - self.sin * math.sin(turn)

    def outline(self, cuts: list[Cut], *, closed: bool = True) -> Points:
        """The outline of a body given by horizontal cuts from top to bottom, each (y, half width, half depth); straight at
        both ends where it is not closed."""
        y, width, depth = np.array(cuts).T
        x, half = np.array([self.at(0, cut[0], 0)[0] for cut in cuts]), np.hypot(width * self.cos, depth * self.sin)
        left, right = np.stack([x - half, y], axis=1), np.stack([x + half, y], axis=1)
        if closed:
            return smooth(np.concatenate([left, right[::-1]]))
        return np.concatenate([smooth(left, closed=False), smooth(right, closed=False)[::-1]])

    def leg(self, side: int) -> Points:
        """Hip, knee and ankle [3, 2] as they appear."""
        swing, hip = side * self.swing, side * self.half_hip * 0.5
        lift = 0.02 * self.tall - 0.12 * swing if swing < -0.02 else 0.0
        joints = (
            (hip, self.crotch + 0.03 * self.tall, 0.0),
            (hip, self.knee + lift * 0.4, swing * 0.5 + 0.02 * self.tall),
            (hip * 0.92, self.ankle + lift, swing),
        )
        return np.array([self.at(*joint) for joint in joints])

    def arm(self, side: int) -> Points:
        """Shoulder, elbow and hand [3, 2] as they appear."""
        tall, out = self.tall, side * (self.half_shoulder + 0.02 * self.tall)
        carries = (self.person.handbag or self.person.shoulder_bag) and side == self.bag_side
        swing = -side * self.swing * (0.3 if carries else 1.0)
        reach = 0.3 if self.person.age == "child" else 0.345
        shoulder = (side * (self.half_shoulder - self.arm_radius * 0.75), self.shoulder - 0.035 * tall, 0.0)
        elbow = (out, self.shoulder - 0.18 * tall, swing * 0.3 - 0.012 * tall)
        hand = (out, self.shoulder - reach * tall + abs(swing) * 0.25, swing + 0.012 * tall)
        if self.holds:
            elbow = (out, self.shoulder - 0.19 * tall, 0.01)
            hand = (side * 0.085 * tall, self.waist + 0.01 * tall, self.depth + 0.085 * tall)
        return np.array([self.at(*joint) for joint in (shoulder, elbow, hand)])

    def draw_head(self) -> None:
        """Face or back of the head, with hair, glasses and a hat, which looks alike from all sides."""
        person, fill, line = self.person, partial(self.fill, region="head"), partial(self.line, region="head")
        hair, x, rx, y, low = person.hair_rgb, self.head_x, self.head_rx, self.head_y, self.shoulder - 0.1 * self.tall
        if self.back:
            fill(ellipse(x, y(0.5), rx, self.head * 0.5), person.skin)
            if person.hair == "short":
                fill(ellipse(x, y(0.63), rx * 1.14, self.head * 0.43), hair)
            elif person.hair == "long":
                right = [(0.0, y(1.06)), (0.86, y(0.86)), (1.05, y(0.4)), (1.1, low)]
                left = [(-across, height) for across, height in right[:0:-1]]
                fill(smooth([(x + across * (rx * 1.14), height) for across, height in right + left]), hair)
        else:
            # The upper head with its hair can be seen beside the face.
            wide = rx * (1.05 if person.hair == "bald" else 1.2)
            crown = ellipse(x - self.sin * rx * 0.1, y(0.62), wide, self.head * 0.44)
            fill(crown, person.skin if person.hair == "bald" else hair)
            self._draw_face()
            if person.hair != "bald":
                fill(band(crown, y(0.76), math.inf), hair, edge=0.25)
            for side in (-1, 1):  # long locks over the shoulders; from the side, one of them
                if person.hair == "long" and not (self.profile and side == self.facing):
                    places = [(0.95 - 0.35 * abs(self.sin), y(0.78)), (1.12, y(0.2)), (1.3, low)]
                    lock = [(x + side * rx * out, height) for out, height in places]
                    thick = rx * (0.32 + 0.25 * abs(self.sin))
                    fill(tube(lock, [thick * 0.7, thick, thick * 0.75]), hair, edge=0.35)
            if person.glasses:
                self._draw_glasses()
        if person.hat:
            dome = ellipse(x, y(0.85), rx * 1.15, self.head * 0.37, power=2.6)
            fill(band(dome, y(0.74), math.inf), person.hat_rgb)
            line([(x - rx * 1.06, y(0.84)), (x + rx * 1.06, y(0.84))], shaded(person.hat_rgb, 0.45), self.head * 0.1)
            fill(ellipse(x, y(0.75), rx * 1.75, self.head * 0.085), shaded(person.hat_rgb, 0.85))

    def _draw_face(self) -> None:
        fill, skin = partial(self.fill, region="head"), self.person.skin
        size, rx, sin = self.head, self.head_rx, self.sin
        x, wide = self.head_x + 0.3 * abs(sin) * sin * rx, rx * (0.93 - 0.19 * abs(sin))
        fill(ellipse(x, self.head_y(0.43), wide, size * 0.43, power=2.4), skin, edge=0.35)
        if self.profile:
            base, tip = (x + self.facing * (wide + out * size) for out in (-0.1, 0.09))
            nose = [(base, self.head_y(0.5)), (tip, self.head_y(0.36)), (base, self.head_y(0.3))]
            fill(np.array(nose), skin, edge=0.0)
        for degrees in (-25, 25):
            x, y, towards = self.head_at(degrees, 0.5)
            if towards > 0.15:
                fill(ellipse(x, y, size * 0.045 * max(towards, 0.5), size * 0.05), _BLACK, edge=0.0)
        x, y, towards = self.head_at(0, 0.2)
        half = size * 0.1 * max(towards, 0.4)
        lips = (186, 62, 68) if self.person.female else shaded(skin, 0.55)
        self.line([(x - half - sin * half, y), (x + half - sin * half, y)], lips, size * 0.045, "head")

    def _draw_glasses(self) -> None:
        """Dark or bright lenses in a thick frame, wide enough to be seen in small images."""
        size, ends = self.head, []
        for degrees in (-27, 27):
            x, y, towards = self.head_at(degrees, 0.49)
            if towards > 0.12:
                lens = ellipse(x, y, size * 0.165 * max(towards, 0.56), size * 0.125)
                self.fill(lens, _LENSES[self.person.glasses], "head", edge=0.0)
                self.line(np.concatenate([lens, lens[:2]]), _BLACK, size * 0.052, "head")
                ends.append((x, y))
        if self.profile:  # the temple, from the lens to the ear
            ends.append((self.head_x - self.sin * self.head_rx * 0.12, self.head_y(0.5)))
        else:  # the bridge
            (left, y), (right, _) = ends
            ends = [(left * 0.6 + right * 0.4, y), (left * 0.4 + right * 0.6, y)]
        self.line(ends, _BLACK, size * 0.055, "head")

    def draw_lower(self) -> None:
        """Both legs with trousers, shorts or skirt, and shoes; boots have a shaft up to the calf."""
        person, tall, wide, depth = self.person, self.tall, self.half_hip, self.depth
        fill, shoe_rgb = partial(self.fill, region="lower"), person.shoe_rgb
        for joints in (self.leg(-self.near), self.leg(self.near)):
            leg, (hip, knee, ankle) = self.leg_radius, joints
            if person.lower != "trousers":
                fill(tube(joints, [leg * 0.95, leg * 0.68, leg * 0.46]), person.skin, edge=0.3)
            if person.lower == "shorts":
                fill(tube([hip, hip + (knee - hip) * 0.8], [leg * 1.08, leg * 1.14], flat_end=True), self.lower)
            elif person.lower == "trousers":
                fill(tube(joints, [leg * 1.06, leg * 0.9, leg * 0.82], flat_end=True), self.lower)
            x, sole = ankle[0], ankle[1] - self.ankle
            if person.boots:
                top, shaft = knee + (ankle - knee) * 0.32, leg * 0.8
                self.fill(tube([top, (x, sole + 0.03 * tall)], [shaft * 1.08, shaft * 0.85]), shoe_rgb, "foot")
                cuff = tube([top - (ankle - knee) * 0.1, top], [shaft * 1.16, shaft * 1.14], flat_end=True)
                self.fill(cuff, shaded(shoe_rgb, 0.6), "foot")
            half = math.hypot(0.03 * self.cos, 0.062 * self.sin) * tall  # long from the side, short from the front
            shoe = ellipse(x + 0.03 * tall * self.sin, sole + 0.012 * tall, half, 0.03 * tall, power=2.6)
            self.fill(band(shoe, sole - 0.008 * tall, math.inf), shoe_rgb, "foot")
        if self.skirted:
            cuts = [
                (self.waist, self.half_waist * 1.04, depth),
                (self.crotch + 0.06 * tall, wide * 1.06, depth * 1.1),
                (self.crotch - 0.14 * tall, wide * 1.4, depth * 1.45 + abs(self.swing) * 0.4),
            ]
            fill(self.outline(cuts, closed=False), self.lower)
        else:
            cuts = [
                (self.waist - 0.03 * tall, self.half_waist * 0.8, depth * 0.8),
                (self.crotch + 0.04 * tall, wide * 0.96, depth * 0.96),
                (self.crotch - 0.01 * tall, wide * 0.98, depth * 0.9),
                (self.crotch - 0.03 * tall, wide * 0.5, depth * 0.4),
            ]
            fill(self.outline(cuts), self.lower, edge=0.0)

    def draw_trunk(self) -> None:
        """Neck, and top, dress or coat, down to where each of them ends."""
        person, tall, depth, fill = self.person, self.tall, self.depth, partial(self.fill, region="upper")
        neck = [self.at(0, self.chin + 0.03 * tall, 0), self.at(0, self.shoulder - 0.01 * tall, 0)]
        self.fill(tube(neck, [self.head * 0.2] * 2), shaded(person.skin, 0.88), edge=0.3)
        chest = depth * (1.3 if person.female else 1.1)
        cuts = [
            (self.shoulder + 0.02 * tall, self.head * 0.24, depth * 0.55),
            (self.shoulder + 0.004 * tall, self.half_shoulder * 0.72, depth * 0.75),
            (self.shoulder - 0.03 * tall, self.half_shoulder + 0.006 * tall, depth),
            (self.shoulder - 0.1 * tall, self.half_shoulder * 0.86 + 0.006 * tall, chest),
            (self.waist, self.half_waist + 0.006 * tall, depth),
        ]
        if person.coat:
            self._draw_coat(cuts)
            return
        if self.skirted:
            cuts.append((self.waist - 0.045 * tall, self.half_waist * 1.1, depth))
        else:
            cuts += [(self.crotch + up * tall, self.half_hip + 0.006 * tall, depth) for up in (0.045, 0.012)]
        outline = self.outline(cuts)
        fill(outline, self.upper)
        if person.lower == "dress":
            belt = band(outline, self.waist - 0.035 * tall, self.waist - 0.013 * tall)
            fill(belt, shaded(person.upper_rgb, 0.55), edge=0.0)
        if self.front:
            x, y = self.at(0, self.shoulder + 0.012 * tall, 0)
            self.fill(ellipse(x, y, self.head * 0.2, self.head * 0.14), shaded(person.skin, 0.94), edge=0.35)
        if person.upper_pattern == "logo" and not self.profile:
            # A ring: higher above an object in the hands, lower under long hair, so that it stays in sight.
            drop = 0.088 if self.holds else 0.18 if self.back and person.hair == "long" else 0.125
            x, y = self.at(0, self.shoulder - drop * tall, 0)
            fill(ellipse(x, y, 0.06 * tall, 0.06 * tall), person.accent, edge=0.25)
            fill(ellipse(x, y, 0.027 * tall, 0.027 * tall), person.upper_rgb, edge=0.0)

    def _draw_coat(self, cuts: list[Cut]) -> None:
        """Down to the knee and wider than the body, with a row of buttons in front and a slit behind."""
        tall, hem, dark = self.tall, self.knee - 0.06 * self.tall, shaded(self.person.upper_rgb, 0.5)
        cuts += [
            (self.crotch - 0.05 * tall, self.half_hip * 1.16, self.depth * 1.3),
            (hem, self.half_hip * 1.36, self.depth * 1.45 + abs(self.swing) * 0.3),
        ]
        outline = self.outline(cuts, closed=False)
        self.fill(outline, self.upper)
        self.grow(band(outline, self.crotch, math.inf), "upper")
        self.grow(band(outline, hem, self.crotch), "lower")
        if not self.profile:
            top = self.shoulder - 0.02 * tall if self.front else self.crotch
            self.line([self.at(0, top, 0), self.at(0, hem, 0)], dark, 0.008)
        for step in range(4 if self.front else 0):
            x, y = self.at(0.022 * tall, self.shoulder - (0.08 + 0.08 * step) * tall, 0)
            self.fill(ellipse(x, y, 0.009 * tall, 0.009 * tall), dark, edge=0.0)

    def draw_arm(self, side: int) -> None:
        skin, arm, joints, fill = self.person.skin, self.arm_radius, self.arm(side), partial(self.fill, region="upper")
        shoulder, elbow, hand = joints
        fill(ellipse(hand[0], hand[1] - arm * 0.4, arm * 0.75, arm * 0.9), skin, edge=0.4)
        if self.person.long_sleeve:
            sleeve = tube(joints, [arm * 1.15, arm, arm * 0.86], flat_end=True)
        else:
            fill(tube(joints, [arm * 0.92, arm * 0.8, arm * 0.6]), skin, edge=0.4)
            sleeve = tube([shoulder, shoulder + (elbow - shoulder) * 0.72], [arm * 1.1, arm * 1.16], flat_end=True)
        fill(sleeve, self.upper)

    def draw_backpack_behind(self) -> None:
        """From the front, the pack can be seen above the shoulders and beside the waist."""
        if self.person.backpack and self.front:
            x, y = self.at(0, self.shoulder - 0.1 * self.tall, -self.depth - 0.05)
            pack = ellipse(x, y, self.half_shoulder, 0.165 * self.bag_unit, power=4.5)
            self.fill(pack, shaded(self.person.bag_rgb, 0.65), "bag")

    def draw_backpack(self) -> None:
        """Straps from the front; the pack with its pocket from the side and from behind."""
        unit, colour, fill = self.bag_unit, self.person.bag_rgb, partial(self.fill, region="bag")
        if self.person.backpack and self.front:
            for side in (-1, 1):
                places = [(side * 0.52, 0.012), (side * 0.62, -0.11), (side * 0.84, -0.21)]
                strap = [self.at(out * self.half_shoulder, self.shoulder + up * self.tall, 0) for out, up in places]
                fill(tube(strap, [0.0185 * unit] * 3), colour)
        elif self.person.backpack:
            x, y = self.at(0, self.shoulder - 0.15 * self.tall, -self.depth - (0.06 if self.profile else 0.03) * unit)
            wide = (0.07 if self.profile else 0.1) * unit
            fill(ellipse(x, y, wide, 0.15 * unit, power=4), colour)
            x -= 0.35 * wide * self.sin
            fill(ellipse(x, y - 0.06 * unit, wide * 0.65, 0.062 * unit, power=4), shaded(colour, 0.65))

    def draw_shoulder_bag(self) -> None:
        """A bag with a flap at the hip, and its strap across the trunk from the other shoulder."""
        unit, tall, colour, side = self.bag_unit, self.tall, self.person.bag_rgb, self.bag_side
        x, y = self.at(side * (self.half_hip + 0.018 * tall), self.crotch, -0.045 * tall if self.profile else 0.0)
        top = self.at(-side * self.half_shoulder * 0.5, self.shoulder + 0.014 * tall, 0)
        self.fill(tube([top, (x, y + 0.04)], [0.013 * unit] * 2), colour, "bag")
        wide, high = 0.072 * unit, 0.06 * unit
        self.fill(ellipse(x, y, wide, high, power=5), colour, "bag")
        flap = np.array([(-1, 1), (1, 1), (0.9, 0), (0, -0.3), (-0.9, 0)])
        self.fill(flap * (wide, high) + (x, y), shaded(colour, 0.65), "bag")

    def draw_handbag(self) -> None:
        unit, colour, (x, y) = self.bag_unit, self.person.bag_rgb, self.arm(self.bag_side)[2].tolist()
        wide, top, low = 0.064 * unit, y - 0.075 * unit, y - 0.175 * unit
        grip = [(x - wide * 0.62, top), (x - wide * 0.4, y), (x + wide * 0.4, y), (x + wide * 0.62, top)]
        self.line(smooth(grip, closed=False), shaded(colour, 0.65), 0.014 * unit, "bag")
        sides = [(x - wide * 0.8, top), (x + wide * 0.8, top), (x + wide * 1.1, low), (x - wide * 1.1, low)]
        self.fill(np.array(sides), colour, "bag", edge=0.7)

    def draw_object(self) -> None:
        """A box with tape or a folder with a line, between the hands before the belly."""
        tall, unit, colour = self.tall, self.bag_unit, _OBJECTS[self.person.object]
        x, y = self.at(0, self.waist + 0.025 * tall, self.depth + 0.1 * tall)
        if self.person.object == "folder":
            wide, high = 0.095 * unit * max(abs(self.cos), 0.3), 0.088 * unit
            line = [(x - wide * 0.6, y), (x + wide * 0.6, y)]
        else:
            wide, high = 0.095 * unit * max(abs(self.cos), 0.75), 0.068 * unit
            line = [(x, y - high), (x, y + high)]
        self.fill(ellipse(x, y, wide, high, power=9), colour, "bag", edge=0.8)
        self.line(line, shaded(colour, 0.6), 0.014, "bag")

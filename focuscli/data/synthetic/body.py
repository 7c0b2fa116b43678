"""Proportions and pose: where the joints of a person are, and where they appear from the person's angle."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from focuscli.data.synthetic.canvas import Point, Points, smooth
from focuscli.data.synthetic.people import Person

_TILT = 0.06  # how far a point moves down the picture per unit that it is nearer to the camera
Cut = tuple[float, float, float]


class Limb(NamedTuple):
    """An arm or leg: its side, and its joints [3, 2] as they appear (shoulder, elbow, hand or hip, knee, ankle)."""

    side: int
    joints: Points


class Body:
    """A person's measures in figure units. `side` is +1 for what is right in the picture when seen from the front."""

    def __init__(self, person: Person) -> None:
        self.person = person
        angle = math.radians(person.yaw)
        self.sin, self.cos = math.sin(angle), math.cos(angle)
        self.from_front, self.from_side, self.from_back = (person.view == view for view in ("front", "side", "back"))
        self.facing = 1 if self.sin >= 0 else -1  # the direction of the face in a side view
        self.near = 1 if self.sin <= 0 else -1  # the side that is nearer to the camera
        self.bag_side = self.near if self.from_side else 1
        self.holds = bool(person.object) and not self.from_back

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
        self.leg, self.arm = wide * 0.054, wide * (0.031 if female or child else 0.036)
        self.swing = person.stride * 0.13 * tall
        self.bag_unit = tall**0.6  # a child's bag is smaller, but not by as much as the child
        self.head_x, self.chin_y = self.at(0, self.chin, 0.0)
        self.head_rx = self.head * (0.385 + 0.045 * abs(self.sin))

    def at(self, side: float, y: float, forward: float) -> Point:
        """A place in body coordinates -> (x, y) in figure units as seen from the person's angle."""
        if y > self.crotch:
            forward += self.lean * (y - self.crotch) / (self.shoulder - self.crotch)
        return side * self.cos + forward * self.sin, y - _TILT * (forward * self.cos - side * self.sin)

    def head_y(self, part: float) -> float:
        """Height of a part of the head: 0 = chin, 1 = crown."""
        return self.chin_y + part * self.head

    def head_at(self, degrees: float, part: float) -> tuple[float, float, float]:
        """(x, y) of a place on the head `degrees` away from the nose, and how much it faces the camera: -1 to 1."""
        turn = math.radians(degrees)
        x = self.head_x + (self.sin * math.cos(turn) + self.cos * math.sin(turn)) * self.head_rx * 0.93
        return x, self.head_y(part), self.cos * math.cos(turn) - self.sin * math.sin(turn)

    def outline(self, cuts: list[Cut], *, closed: bool = True) -> Points:
        """The outline of a body given by horizontal cuts from top to bottom, each (y, half width, half depth).

        Where not closed, the ends of the first and of the last cut are joined by straight lines.
        """
        left, right = [], []
        for y, width, depth in cuts:
            x, _ = self.at(0, y, 0)
            half = math.hypot(width * self.cos, depth * self.sin)
            left.append((x - half, y))
            right.append((x + half, y))
        if closed:
            return smooth(left + right[::-1])
        return np.concatenate([smooth(left, closed=False), smooth(right, closed=False)[::-1]])

    def trunk(self) -> list[Cut]:
        """Cuts through the upper body from the neck to the waist."""
        tall, wide, depth = self.tall, self.half_shoulder, self.depth
        return [
            (self.shoulder + 0.02 * tall, self.head * 0.24, depth * 0.55),
            (self.shoulder + 0.004 * tall, wide * 0.72, depth * 0.75),
            (self.shoulder - 0.03 * tall, wide + 0.006 * tall, depth),
            (self.shoulder - 0.1 * tall, wide * 0.86 + 0.006 * tall, depth * (1.3 if self.person.female else 1.1)),
            (self.waist, self.half_waist + 0.006 * tall, depth),
        ]

    def legs(self) -> list[Limb]:
        """Both legs, the farther one first."""
        limbs = []
        for side in (-self.near, self.near):
            swing, hip = side * self.swing, side * self.half_hip * 0.5
            lift = 0.02 * self.tall - 0.12 * swing if swing < -0.02 else 0.0
            joints = (
                self.at(hip, self.crotch + 0.03 * self.tall, 0.0),
                self.at(hip, self.knee + lift * 0.4, swing * 0.5 + 0.02 * self.tall),
                self.at(hip * 0.92, self.ankle + lift, swing),
            )
            limbs.append(Limb(side, np.array(joints)))
        return limbs

    def arms(self) -> list[Limb]:
        """Both arms, the farther one first."""
        tall, out, limbs = self.tall, self.half_shoulder + 0.02 * self.tall, []
        reach = 0.3 if self.person.age == "child" else 0.345
        for side in (-self.near, self.near):
            carries = (self.person.handbag or self.person.shoulder_bag) and side == self.bag_side
            swing = -side * self.swing * (0.3 if carries else 1.0)
            elbow = (side * out, self.shoulder - 0.18 * tall, swing * 0.3 - 0.012 * tall)
            hand = (side * out, self.shoulder - reach * tall + abs(swing) * 0.25, swing + 0.012 * tall)
            if self.holds:
                elbow = (side * out, self.shoulder - 0.19 * tall, 0.01)
                hand = (side * 0.085 * tall, self.waist + 0.01 * tall, self.depth + 0.085 * tall)
            shoulder = (side * (self.half_shoulder - self.arm * 0.75), self.shoulder - 0.035 * tall, 0.0)
            limbs.append(Limb(side, np.array([self.at(*joint) for joint in (shoulder, elbow, hand)])))
        return limbs

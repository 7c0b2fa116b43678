"""Proportions and pose: where the joints of a person are, and how they look from the person's angle."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from focuscli.data.synthetic.person import Person
from focuscli.data.synthetic.shapes import Point, Points, smooth


@dataclass(frozen=True)
class Level:
    """A horizontal cut through the trunk: height, half width, depth in front of and behind the body's axis."""

    y: float
    width: float
    front: float
    back: float


@dataclass(frozen=True)
class Limb:
    """Joints of an arm (shoulder, elbow, hand) or leg (hip, knee, ankle) as (side, height, forward)."""

    side: int
    joints: tuple[tuple[float, float, float], ...]


class Body:
    """A person's measures in figure units. `side` is +1 for the limb that is right in the picture from the front."""

    def __init__(self, person: Person, tilt: float) -> None:
        self.person, self._tilt = person, tilt
        angle = math.radians(person.yaw)
        self.sin, self.cos = math.sin(angle), math.cos(angle)
        child, old, tall = person.age == "child", person.age == "old", person.height
        self.tall = tall
        self.old, self.child = old, child
        build = person.build * (1.0 if tall > 0.8 else 1.05)
        self.head = tall * (0.228 if child else 0.163)
        self.lean = 0.07 * tall if old else 0.0
        self.crown = tall * (0.965 if old else 1.0)
        self.chin = self.crown - self.head
        self.shoulder = self.chin - tall * (0.012 if old else 0.018 if child else 0.03)
        self.crotch = tall * (0.41 if child else 0.46)
        self.waist = self.crotch + tall * 0.135
        self.knee, self.ankle = tall * (0.225 if child else 0.26), tall * 0.038
        wide = tall * build
        female = person.female
        half = (0.118 if female else 0.124) if child else (0.104 if female else 0.13)
        self.half_shoulder = wide * (half - 0.004 * old)
        self.half_waist = wide * (0.088 if child else (0.07 if female else 0.094) + 0.012 * old)
        self.half_hip = wide * (0.092 if child else 0.1 if female else 0.09)
        self.depth = wide * (0.068 if child else 0.062)
        self.bust = wide * (0.028 if female and not child else 0.006)
        self.leg = wide * (0.052 if female or child else 0.055)
        self.arm = wide * (0.031 if female or child else 0.036)

    def at(self, side: float, y: float, forward: float) -> Point:
        """A place in body coordinates -> (x, y) in figure units as seen from the person's angle."""
        if y > self.crotch:
            forward += self.lean * (y - self.crotch) / (self.shoulder - self.crotch)
        return (
            side * self.cos + forward * self.sin,
            y - self._tilt * self.towards(side, forward),
        )

    def towards(self, side: float, forward: float) -> float:
        """How near to the camera a place is."""
        return forward * self.cos - side * self.sin

    def sin_of(self, degrees: float) -> float:
        """How far to the right a place on the head is, `degrees` away from the nose: -1 to 1."""
        turn = math.radians(degrees)
        return self.sin * math.cos(turn) + self.cos * math.sin(turn)

    def cos_of(self, degrees: float) -> float:
        """How much a place on the head, `degrees` away from the nose, faces the camera: -1 to 1."""
        turn = math.radians(degrees)
        return self.cos * math.cos(turn) - self.sin * math.sin(turn)

    @property
    def from_front(self) -> bool:
        return self.person.view == "front"

    @property
    def from_back(self) -> bool:
        return self.person.view == "back"

    @property
    def from_side(self) -> bool:
        return self.person.view == "side"

    @property
    def facing(self) -> int:
        """The direction of the face in the picture, from the side: 1 = right, -1 = left."""
        return 1 if self.sin >= 0 else -1

    @property
    def near(self) -> int:
        """The side whose limbs are nearer to the camera."""
        return 1 if self.towards(1, 0) >= 0 else -1

    def edges(self, level: Level) -> tuple[Point, Point]:
        """Left and right end of a cut through the trunk, as seen."""
        middle, depth = (level.front - level.back) / 2, (level.front + level.back) / 2
        half = math.hypot(level.width * self.cos, depth * self.sin)
        x, _ = self.at(0, level.y, middle)
        return (x - half, level.y), (x + half, level.y)

    def outline(self, levels: list[Level], *, steps: int = 4) -> Points:
        """The outline of a body given by cuts from top to bottom."""
        ends = [self.edges(level) for level in levels]
        return smooth([left for left, _ in ends] + [right for _, right in reversed(ends)], steps=steps)

    def trunk(self, bottom: float, *, loose: float = 0.0, bottom_width: float | None = None) -> list[Level]:
        """Cuts through the upper body from the neck down to `bottom`; `loose` is the cloth's distance from the body."""
        shoulder, depth, bust = self.shoulder, self.depth + loose, self.bust
        hip = self.half_hip if bottom_width is None else bottom_width
        levels = [
            Level(shoulder + 0.02 * self.tall, self.head * 0.24, depth * 0.5, depth * 0.55),
            Level(shoulder + 0.004 * self.tall, self.half_shoulder * 0.72, depth * 0.62, depth * 0.8),
            Level(shoulder - 0.03 * self.tall, self.half_shoulder + loose, depth * 0.8, depth),
            Level(shoulder - 0.1 * self.tall, self.half_shoulder * 0.86 + loose, depth + bust, depth),
            Level(self.waist, self.half_waist + loose, depth * (1.12 if self.old or self.child else 0.85), depth * 0.8),
            Level(self.crotch + 0.045 * self.tall, self.half_hip + loose, depth * 0.92, depth * 1.05),
        ]
        return [*levels, Level(bottom, hip + loose, depth * 0.92, depth * 1.05)]

    def legs(self) -> list[Limb]:
        """Both legs, the farther one first."""
        limbs = []
        for side in (-self.near, self.near):
            swing = side * self.person.stride * math.sin(self.person.phase) * 0.13 * self.tall
            back = swing < -0.02
            lift = (0.02 + 0.12 * -swing) * self.tall if back else 0.0
            hip, foot = side * self.half_hip * 0.5, side * self.half_hip * 0.46
            bend = 0.035 if back else 0.015
            joints = (
                (hip, self.crotch + 0.03 * self.tall, 0.0),
                (hip, self.knee + lift * 0.4, swing * 0.5 + bend * self.tall),
                (foot, self.ankle + lift, swing),
            )
            limbs.append(Limb(side, joints))
        return limbs

    def arms(self) -> list[Limb]:
        """Both arms, the farther one first."""
        return [self._arm(side) for side in (-self.near, self.near)]

    @property
    def bag_side(self) -> int:
        """The side of a handbag or shoulder bag: towards the camera in side views, so that it can be seen."""
        return self.near if self.from_side else 1 if self.person.variant % 2 else -1

    @property
    def holds(self) -> bool:
        """Whether an object is held in front and can be seen."""
        return bool(self.person.object) and not self.from_back

    def _arm(self, side: int) -> Limb:
        person, tall = self.person, self.tall
        top = (side * (self.half_shoulder - self.arm * 0.75), self.shoulder - 0.035 * tall, 0.0)
        out = self.half_shoulder + self.arm * 0.1
        if self.holds:
            elbow = (side * (out + 0.012), self.shoulder - 0.19 * tall, 0.01)
            hand = (side * 0.085 * tall, self.waist + 0.01 * tall, self.depth + 0.085 * tall)
            return Limb(side, (top, elbow, hand))
        swing = -side * person.stride * math.sin(person.phase) * 0.13 * tall
        if person.cane and side != self.bag_side:
            swing = 0.07 * tall
        elif (person.handbag or person.shoulder_bag) and side == self.bag_side:
            swing *= 0.3
        reach = 0.3 if self.child else 0.345
        elbow = (side * (out + 0.016 * tall), self.shoulder - 0.18 * tall, swing * 0.3 - 0.012 * tall)
        hand = (side * (out + 0.014 * tall), self.shoulder - reach * tall + abs(swing) * 0.25, swing + 0.012 * tall)
        return Limb(side, (top, elbow, hand))

    def seen(self, limb: Limb) -> Points:
        """A limb's joints as seen; [3, 2]."""
        return np.array([self.at(*joint) for joint in limb.joints])

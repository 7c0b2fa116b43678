"""Where the joints of a figure are: proportions by age, sex and build, and the pose by view and walking phase."""

from __future__ import annotations

import math
from dataclasses import dataclass

from focuscli.synthetic.brush import Point
from focuscli.synthetic.person import Person

GROUND = 243.0  # y of the soles in a picture of 256 x 128
MIDDLE = 64.0
_HEIGHTS = {"child": 182.0, "adult": 214.0, "old": 204.0}
_HEADS = {"child": 0.235, "adult": 0.185, "old": 0.192}


@dataclass(frozen=True)
class Leg:
    """Joints of a leg; `toe` is the direction of the toes in x, 0 towards or away from the camera."""

    hip: Point
    knee: Point
    ankle: Point
    toe: float


@dataclass(frozen=True)
class Arm:
    """Joints of an arm."""

    shoulder: Point
    elbow: Point
    hand: Point


@dataclass(frozen=True)
class Body:
    """Measures in figure units.

    Attributes:
        size: height of the figure; other measures are shares of it.
        head: centre of the head. head_rx, head_ry: half its width and height.
        neck, waist, hip: y. shoulders, waist_half, hip_half: half widths of the torso.
        lean: how much further right the neck is than the hip.
        legs, arms: the far one, or the left one of the picture, first.
    """

    size: float
    head: Point
    head_rx: float
    head_ry: float
    neck: float
    shoulder_y: float
    waist: float
    hip: float
    shoulders: float
    waist_half: float
    hip_half: float
    lean: float
    thigh: float
    calf: float
    arm: float
    wrist: float
    legs: tuple[Leg, Leg]
    arms: tuple[Arm, Arm]

    @property
    def neck_x(self) -> float:
        return MIDDLE + self.lean

    def across(self, y: float) -> float:
        """x of the middle of the torso at a height."""
        share = (self.hip - y) / (self.hip - self.neck)
        return MIDDLE + self.lean * max(0.0, share)


def build_body(person: Person) -> Body:
    """Measures and joints of a person; a side view looks to the right."""
    size = _HEIGHTS[person.age] * person.height
    side = person.view == "side"
    child = person.age == "child"
    head_height = _HEADS[person.age] * size
    width = person.build * (0.94 if person.female else 1.0) * (0.95 if child else 1.0)
    swing = math.sin(person.phase)
    stoop = 0.05 * size if person.age == "old" else 0.012 * size
    lean = stoop if side else 0.0
    drop = 0.012 * size if person.age == "old" else 0.0

    top = GROUND - size + drop
    neck = top + head_height
    rest = GROUND - neck
    shoulder_y, waist, hip = neck + 0.075 * rest, neck + 0.33 * rest, neck + 0.455 * rest
    shoulders = size * width * (0.098 if person.female else 0.112) * (0.92 if child else 1.0)
    waist_half = size * width * (0.068 if person.female else 0.084)
    hip_half = size * width * (0.092 if person.female else 0.084)
    if side:
        shoulders, waist_half, hip_half = shoulders * 0.66, waist_half * 0.86, hip_half * 0.82
    head_ry = head_height / 2
    head_x = MIDDLE + lean * 1.25 + (0.01 * size if side else 0.0)
    thigh, calf = 0.046 * size * width, 0.031 * size * width
    legs = _side_legs(hip, size, swing) if side else _front_legs(hip, size, hip_half, swing)
    arms = _arms(person, size, shoulder_y, waist, shoulders, lean, swing)
    return Body(
        size=size,
        head=(head_x, top + head_ry),
        head_rx=head_ry * (0.8 if side else 0.78),
        head_ry=head_ry,
        neck=neck,
        shoulder_y=shoulder_y,
        waist=waist,
        hip=hip,
        shoulders=shoulders,
        waist_half=waist_half,
        hip_half=hip_half,
        lean=lean,
        thigh=thigh,
        calf=calf,
        arm=0.031 * size * width,
        wrist=0.023 * size * width,
        legs=legs,
        arms=arms,
    )


def _front_legs(hip: float, size: float, hip_half: float, swing: float) -> tuple[Leg, Leg]:
    legs = []
    for sign in (-1.0, 1.0):
        lift = max(0.0, sign * swing) * 0.035 * size
        x = MIDDLE + sign * hip_half * 0.54
        ankle_y = GROUND - 0.028 * size - lift
        knee = (x + sign * 0.006 * size, (hip + ankle_y) / 2 - 0.3 * lift)
        legs.append(Leg((x, hip), knee, (x + sign * 0.01 * size, ankle_y), 0.0))
    return legs[0], legs[1]


def _side_legs(hip: float, size: float, swing: float) -> tuple[Leg, Leg]:
    length = (GROUND - 0.028 * size - hip) / 2
    stride = math.radians(9 + 15 * abs(swing))
    legs = []
    for sign in (-1.0, 1.0):  # the far leg is the one behind where swing > 0
        forward = sign if swing >= 0 else -sign
        angle = forward * stride
        bend = math.radians(4) if forward > 0 else math.radians(14 + 12 * abs(swing))
        knee = (MIDDLE + length * math.sin(angle), hip + length * math.cos(angle))
        shin = angle - bend
        ankle = (knee[0] + length * math.sin(shin), knee[1] + length * math.cos(shin))
        legs.append((knee, ankle))
    low = GROUND - 0.028 * size - max(ankle[1] for _, ankle in legs)
    placed = [Leg((MIDDLE, hip), (k[0], k[1] + low), (a[0], a[1] + low), 1.0) for k, a in legs]
    return placed[0], placed[1]


def _arms(
    person: Person, size: float, shoulder_y: float, waist: float, shoulders: float, lean: float, swing: float
) -> tuple[Arm, Arm]:
    upper, lower = 0.165 * size, 0.15 * size
    y = shoulder_y + 0.02 * size
    arms = []
    for sign in (-1.0, 1.0):
        if person.view == "side":
            x = MIDDLE + lean * 0.9
            forward = -sign if swing >= 0 else sign
            angle = math.radians(forward * (8 + 18 * abs(swing)))
            bend = math.radians(18)
            if person.held:
                angle, bend = math.radians(2), math.radians(76)
            elbow = (x + upper * math.sin(angle), y + upper * math.cos(angle))
            hand = (elbow[0] + lower * math.sin(angle + bend), elbow[1] + lower * math.cos(angle + bend))
            arms.append(Arm((x, y), elbow, hand))
            continue
        x = MIDDLE + sign * shoulders * 0.9
        elbow = (x + sign * 0.042 * size, y + upper)
        if person.held:
            reach = -0.1 if person.view == "front" else -0.06
            hand = (elbow[0] + sign * reach * size, waist + 0.004 * size)
        else:
            hand = (elbow[0] + sign * 0.012 * size, y + upper + lower * (0.97 + 0.05 * sign * swing))
        arms.append(Arm((x, y), elbow, hand))
    return arms[0], arms[1]

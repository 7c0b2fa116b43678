"""A whole pedestrian: all parts in the order in which they cover each other."""

from __future__ import annotations

from focuscli.data.synthetic.bags import Bags
from focuscli.data.synthetic.body import Body
from focuscli.data.synthetic.canvas import Canvas
from focuscli.data.synthetic.head import Head
from focuscli.data.synthetic.lower import draw_lower
from focuscli.data.synthetic.person import Person
from focuscli.data.synthetic.textures import Cloth
from focuscli.data.synthetic.upper import Upper


def draw_figure(canvas: Canvas, person: Person) -> None:
    """Draw a person onto the canvas; afterwards `canvas.boxes()` knows the regions."""
    body = Body(person, canvas.camera.tilt)
    cloth = Cloth(canvas.camera, person.height)
    upper, head, bags = Upper(canvas, body, cloth), Head(canvas, body), Bags(canvas, body)
    far, near = body.arms()
    bags.draw_backpack_behind()
    if body.from_front:
        head.draw_hair_behind()
    if body.from_side:
        upper.draw_arm(far)
        if person.cane:
            bags.draw_cane(body.seen(far)[2])
    draw_lower(canvas, body, cloth)
    if body.from_side:
        head.draw_hair_behind()
    upper.draw_trunk()
    bags.draw_straps()
    head.draw()
    if body.from_back:
        bags.draw_backpack()
    bags.draw_object()
    if body.from_side:
        bags.draw_shoulder_bag()
        upper.draw_arm(near)
    else:
        for limb in (far, near):
            upper.draw_arm(limb)
            if person.cane and limb.side != body.bag_side:
                bags.draw_cane(body.seen(limb)[2])
        bags.draw_shoulder_bag()
    bags.draw_shoulder_strap()
    for limb in (far, near):
        if limb.side == body.bag_side:
            bags.draw_handbag(body.seen(limb)[2])

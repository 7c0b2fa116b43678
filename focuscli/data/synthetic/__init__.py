"""Drawn pedestrians with exact labels and boxes: the data of the demo, of tests and of pictures."""

from __future__ import annotations

from focuscli.data.synthetic.drawing import Drawing, draw
from focuscli.data.synthetic.generate import prepare_synthetic, read_boxes
from focuscli.data.synthetic.labels import labels_of
from focuscli.data.synthetic.person import Person, restage, sample_person
from focuscli.data.synthetic.styles import STYLES, Style

__all__ = [
    "STYLES",
    "Drawing",
    "Person",
    "Style",
    "draw",
    "labels_of",
    "prepare_synthetic",
    "read_boxes",
    "restage",
    "sample_person",
]

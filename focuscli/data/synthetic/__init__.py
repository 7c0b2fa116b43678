"""Synthetic people with exact labels and boxes, for the demo, tests and pictures."""

from __future__ import annotations

from focuscli.data.synthetic.drawing import STYLES, Drawing, Style, draw
from focuscli.data.synthetic.generate import Sample, prepare_synthetic, synthetic_images
from focuscli.data.synthetic.people import Person, labels_of, sample_person

__all__ = [
    "STYLES",
    "Drawing",
    "Person",
    "Sample",
    "Style",
    "draw",
    "labels_of",
    "prepare_synthetic",
    "sample_person",
    "synthetic_images",
]

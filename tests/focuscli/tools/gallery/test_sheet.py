from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from focuscli.tools.gallery.sheet import COLUMN, Bar, Entry, contact_sheet
from focuscli.viz.canvas import INK, MUTED, NO, TRACK, YES


def entries(count, bars=1, size=(60, 160)):
    picture = Image.new("RGB", size, (0, 0, 200))
    return [Entry(picture, f"{number:05}.png", [Bar("hat", "1.00", 0.9, True)] * bars) for number in range(count)]


def has(sheet, colour, tolerance=40):
    return bool((np.abs(np.asarray(sheet).astype(int) - colour).sum(axis=2) <= tolerance).any())


def test_a_sheet_grows_with_crops_texts_and_title():
    one, many = contact_sheet(entries(1), title="hat"), contact_sheet(entries(30), title="hat")
    assert one.width < many.width <= 1600 + COLUMN
    assert many.height > 3 * one.height / 2
    assert contact_sheet(entries(1, bars=4), title="hat").height > one.height
    assert contact_sheet(entries(1), title="hat " * 60).height > one.height


def test_every_crop_is_drawn_once_at_its_own_shape():
    sheet = np.asarray(contact_sheet(entries(20, size=(50, 100)), title="hat"))
    blue = (sheet == (0, 0, 200)).all(axis=2).sum()
    assert blue == pytest.approx(20 * 112 * 224, rel=0.02)


@pytest.mark.parametrize("size", [(400, 20), (1, 500), (5, 5)])
def test_any_shape_stays_within_its_column(size):
    picture = np.asarray(contact_sheet(entries(3, size=size), title="hat"))
    columns = np.flatnonzero((np.abs(picture.astype(int) - (0, 0, 200)).sum(axis=2) < 30).any(axis=0))
    assert np.diff(columns).max(initial=0) > 10  # white between neighbours


def test_a_lost_image_and_texts_without_thresholds_are_drawn():
    sheet = contact_sheet([Entry(None, "gone.png", [Bar("a very long text " * 9, "-12.34", None, None)])], title="x")
    pixels = np.asarray(sheet)
    box = (pixels == TRACK).all(axis=2)
    assert box.sum() == pytest.approx(COLUMN * 224, rel=0.05)
    top, bottom = np.flatnonzero(box.any(axis=1))[[0, -1]]
    assert has(pixels[top:bottom], MUTED)  # what is said in its place
    assert has(pixels[bottom:, : 20 + COLUMN // 2], MUTED)  # the text
    assert has(pixels[bottom:, 20 + COLUMN // 2 :], INK, tolerance=90)  # the score
    assert not has(sheet, YES)


def test_what_crops_are_ordered_by_stands_beside_the_rank():
    bar = Bar("hat", "1.00", 0.9, True)
    with_match, without = (
        np.asarray(contact_sheet([Entry(None, "a.png", [bar, bar], match)], title="x")).astype(int)
        for match in ("match 0.123", "")
    )
    rows, columns = np.nonzero((with_match != without).any(axis=2))
    picture = np.flatnonzero((without == TRACK).all(axis=2).any(axis=1))[0]
    assert rows.max() < picture
    assert columns.max() <= 20 + COLUMN
    assert columns.min() > 20 + COLUMN / 3


def test_what_fits_and_what_does_not_differ_in_colour():
    good, bad = (contact_sheet([Entry(None, "a", [Bar("hat", "1", 0.9, fits)])], title="x") for fits in (True, False))
    assert has(good, YES)
    assert not has(bad, YES)
    assert has(bad, NO, tolerance=0)


def test_an_empty_sheet_is_an_error():
    with pytest.raises(ValueError, match="no entries"):
        contact_sheet([], title="hat")

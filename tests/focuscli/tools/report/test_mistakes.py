"""Which errors are the most confident ones."""

from __future__ import annotations

import numpy as np

from focuscli.tools.report.limits import LARGEST, picture_budget
from focuscli.tools.report.mistakes import confident_mistakes
from focuscli.tools.report.pictures import _ranked

TRUTH = np.array([[0, 1], [0, 1], [1, 0], [1, 0], [0, 1]], dtype=bool)
SCORES = np.array([[3.0, 0.0], [5.0, 2.0], [1.0, 9.0], [0.0, 1.0], [2.0, 1.0]], dtype=np.float32)
NAMES = [f"{n}.png" for n in range(5)]


def found(most=3, known=None):
    known = np.ones_like(TRUTH) if known is None else known
    return confident_mistakes(TRUTH, SCORES, known, [2.0, 1.0], NAMES, most)


def test_both_kinds_the_most_confident_first():
    first, second = found()
    # Attribute 0, threshold 2: images 1 and 0 are claimed without being so; 3 and 2 missed; a score of 2.0 is absent.
    assert [(m.image, m.claimed) for m in first] == [
        ("1.png", True),
        ("0.png", True),
        ("3.png", False),
        ("2.png", False),
    ]
    # Attribute 1, threshold 1: image 2 is claimed; 0 and 4 missed, 4 by nothing at all.
    assert [(m.image, m.claimed) for m in second] == [("2.png", True), ("0.png", False), ("4.png", False)]
    assert second[2].margin == 0.0
    assert first[0].margin == np.float64(3.0) / SCORES[:, 0].astype(np.float64).std()
    assert (first[0].score, first[0].threshold) == (5.0, 2.0)


def test_at_most_so_many_of_each_kind():
    assert [[m.image for m in row] for row in found(most=1)] == [["1.png", "3.png"], ["2.png", "0.png"]]
    assert found(most=0) == [[], []]


def test_uncertain_labels_are_no_errors():
    known = np.ones_like(TRUTH)
    known[1, 0] = False
    assert "1.png" not in [m.image for m in found(known=known)[0]]


def test_pictures_go_to_every_attributes_first_errors_before_any_second():
    first, second = found()
    ranked = [(column, (first, second)[column][place].image) for column, place in _ranked([first, second])]
    assert ranked[:4] == [(0, "1.png"), (0, "3.png"), (1, "2.png"), (1, "0.png")]
    assert ranked[4:] == [(0, "0.png"), (0, "2.png"), (1, "4.png")]


def test_the_budget_of_pictures_leaves_room_for_the_rest():
    for runs in range(1, 30):
        assert runs * picture_budget(runs, 35, 3) < LARGEST
    assert picture_budget(1, 35, 3) > 1_000_000
    assert picture_budget(30, 51, 3) == 0

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from focuscli.data.texts import Text
from focuscli.inference.predict import TextDecision
from focuscli.viz import canvas
from focuscli.viz.grid import Cell, Row, attention_grid, overlay, paginate, token_grid, turbo, unit_range, upsample

GREY = (128, 128, 128)
HOTTEST = tuple(turbo(np.ones(1))[0].tolist())


def crop(width: int = 128, height: int = 256, colour: tuple[int, int, int] = GREY) -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def peak(row: int, column: int, size: int = 8) -> np.ndarray:
    heat = np.zeros((size, size), dtype=np.float32)
    heat[row, column] = 1
    return heat


def cell(phrase: str = "backpack", region: str = "bag", score: float = 24.0, seen: bool = True) -> Cell:
    return Cell(peak(1, 6), phrase, score, TextDecision(Text(phrase, region, "bags", "bag"), seen, 22.0, "val"))


def count_colour(image: Image.Image, colour: tuple[int, int, int]) -> int:
    return int((np.asarray(image) == colour).all(axis=-1).sum())


def test_turbo_goes_from_dark_blue_over_green_to_dark_red_and_a_map_is_scaled_to_its_range() -> None:
    expected = np.array([(48, 18, 59), (165, 252, 60), (122, 4, 3), (48, 18, 59)])
    assert abs(turbo(np.array([0.0, 0.5, 1.0, -3.0])).astype(int) - expected).max() <= 2
    assert unit_range(np.array([[2.0, 4.0], [3.0, 2.0]])).tolist() == [[0.0, 1.0], [0.5, 0.0]]
    assert not unit_range(np.full((2, 2), 7.0)).any()
    assert unit_range(np.array([2.0, 4.0]), (0.0, 8.0)).tolist() == [0.25, 0.5]


def test_heat_is_upsampled_clipped_and_laid_over_the_image_by_alpha() -> None:
    """Bicubic interpolation undershoots beside a peak; what is drawn stays in 0..1, and NaN counts as 0."""
    raw = np.asarray(Image.fromarray(peak(1, 6)).resize((64, 128), Image.Resampling.BICUBIC))
    assert raw.min() < 0
    heat = upsample(peak(1, 6), (64, 128))
    assert np.array_equal(heat, np.clip(raw, 0, 1))
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert (row // 16, column // 8) == (1, 6)
    assert upsample(np.full((2, 2), np.nan), (4, 4)).max() == 0
    for alpha, expected in ((0, (200, 100, 0)), (1, HOTTEST), (0.5, (161, 52, 1))):
        assert overlay(crop(40, 60, (200, 100, 0)), np.ones((3, 3)), alpha).getpixel((5, 5)) == expected
    assert overlay(Image.new("I;16", (9, 7)), np.zeros((2, 2))).mode == "RGB"


@pytest.mark.parametrize(("score", "share"), [(-9.0, 0.0), (20.901388, 0.25), (22.0, 0.5), (22.01, 0.5), (60.0, 1.0)])
def test_bar_is_filled_up_to_the_probability_in_the_colour_of_the_decision(score: float, share: float) -> None:
    grid = attention_grid([Row(crop(), [cell(phrase="", region="", score=score)])], alpha=0)
    yes, no = (canvas.YES, canvas.NO) if score > 22 else (canvas.NO, canvas.YES)
    assert (count_colour(grid, yes) > 0, count_colour(grid, no)) == (share > 0, 0)
    pixels, left, width = np.asarray(grid), 18 + 128 + 16, 128
    tick = np.flatnonzero((pixels[:, left + width // 2] == canvas.INK).all(axis=-1))
    row = pixels[int(tick[len(tick) // 2]), left : left + width]
    assert abs(int((row == yes).all(axis=-1).sum()) - share * width) <= 2
    assert len(tick) >= 10


@pytest.mark.parametrize(
    ("size", "text"),
    [
        ((1, 1), ""),
        ((1, 2000), "\ud800 half"),
        ((2000, 1), "a\t\n\x00"),
        ((500, 200), "背包 🎒"),
        ((3000, 3000), "x" * 400),
    ],
)
def test_any_aspect_text_and_number_of_images_and_texts_is_drawn(size: tuple[int, int], text: str) -> None:
    named = cell(phrase=text, region=text)
    rows = [Row(crop(*size), [cell()] * 30, "a.jpg"), Row(crop(), []), Row(crop(), [cell(seen=False)], "n" * 250)]
    grid = attention_grid([*rows, Row(crop(), [named], text)], alpha=0, captions=["a caption " * 90, text])
    assert grid.height > 256
    assert 340 <= grid.width < 1700
    assert count_colour(grid, GREY) >= 3 * 128 * 256
    assert count_colour(grid, canvas.MARK_GROUND)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\x1b[31m.jpg", "a\\x1b[31m.jpg"), ("\udcff\n", "\\udcff\\n"), ("Жé…", "Жé…"), ("\ue123", "\\ue123")],
)
def test_what_cannot_be_drawn_is_escaped(text: str, shown: str) -> None:
    assert canvas.drawable(text)[0] == shown


def test_words_are_apart_and_long_names_keep_their_end() -> None:
    for size in (11, 12, 15):
        assert canvas.text_width("no hat", size) - canvas.text_width("nohat", size) >= size / 4
    short = canvas.fit_text("CAM01_" + "0" * 90 + "_line1.png", 11, 128, keep_end=True)
    assert (short[:6], short[-6:], "…" in short) == ("CAM01_", "e1.png", True)
    assert canvas.text_width(short, 11) <= 128


@pytest.mark.parametrize(
    ("counts", "pages"),
    [
        ((1, 1, 1), [1]),
        ((10, 1, 3), [10]),
        ((11, 1, 3), [6, 5]),
        ((60, 1, 3), [10] * 6),
        ((6, 2, 3), [3, 3]),
        ((3, 1, 35), [2, 1]),
        ((2, 1, 101), [1] * 4),
        ((1, 20, 11), [1, 1]),
    ],
)
def test_pages_hold_whole_blocks_and_all_texts(counts: tuple[int, int, int], pages: list[int]) -> None:
    """Images, models, texts -> blocks on each page."""
    found = paginate(*counts)
    assert [len(blocks) for blocks in found] == pages
    shown = [(image, text) for blocks in found for image, texts in blocks for text in texts]
    assert shown == [(image, text) for image in range(counts[0]) for text in range(counts[2])]


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80), st.integers(30, 300), st.integers(1, 4))
def test_wrapped_lines_fit_and_keep_the_words(text: str, width: int, most: int) -> None:
    lines = canvas.wrap(text, 15, width, most)
    assert len(lines) <= most
    assert all(len(line) <= 1 or canvas.text_width(line, 15) <= width for line in lines)
    complete = canvas.wrap(text, 15, width, 1000)
    letters = "".join(canvas.drawable(text)[0].split())
    assert "".join("".join(complete).split()) == letters
    assert lines == complete or width < 50 or lines[-1].endswith("…")


@pytest.mark.parametrize("tokens", [1, 6, 48])
def test_token_grid_shows_every_token_and_a_share_per_text(tokens: int) -> None:
    maps = np.stack([peak(row % 8, row % 8) for row in range(tokens)])
    labels = [f"local {number}" for number in range(tokens)]
    weights = np.full((3, tokens), 0.5 / tokens)
    weights[:, 0] += 0.5
    plain = attention_grid([Row(crop(), [Cell(heat, label) for heat, label in zip(maps, labels, strict=True)])])
    full = token_grid(plain, labels, weights, ["backpack", "b" * 200, "red scarf"])
    assert full.width < 3200
    assert full.crop((0, 0, plain.width, plain.height)).tobytes() == plain.tobytes()
    assert count_colour(full.crop((0, plain.height, full.width, full.height)), (23, 78, 166)) > 3 * 100

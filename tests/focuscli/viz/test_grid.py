from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from focuscli.data.texts import Text
from focuscli.inference.predict import TextDecision
from focuscli.viz import canvas
from focuscli.viz.grid import Cell, attention_grid, token_grid
from focuscli.viz.heat import overlay, turbo, unit_range, upsample

GREY = (128, 128, 128)
HOTTEST = tuple(turbo(np.ones(1))[0].tolist())


def crop(width: int = 128, height: int = 256, colour: tuple[int, int, int] = GREY) -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def peak(row: int, column: int, size: int = 8) -> np.ndarray:
    heat = np.zeros((size, size), dtype=np.float32)
    heat[row, column] = 1
    return heat


def cell(**changes: object) -> Cell:
    values: dict[str, Any] = {
        "heat": peak(1, 6), "phrase": "backpack", "score": 24.0, "threshold": 22.0, "source": "val", "seen": True,
        "region": "bag",
    }  # fmt: skip
    heat, phrase, score, threshold, source, seen, region = (values | changes).values()
    return Cell(heat, phrase, score, TextDecision(Text(phrase, region, "bags", "bag"), seen, threshold, source))


def has_colour(image: Image.Image, colour: tuple[int, int, int]) -> bool:
    return count_colour(image, colour) > 0


def count_colour(image: Image.Image, colour: tuple[int, int, int]) -> int:
    return int((np.asarray(image) == colour).all(axis=-1).sum())


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0, (48, 18, 59)), (0.5, (165, 252, 60)), (1.0, (122, 4, 3)), (-3, (48, 18, 59))]
)
def test_turbo_goes_from_dark_blue_over_green_to_dark_red(value: float, expected: tuple[int, int, int]) -> None:
    assert abs(turbo(np.array([value])).astype(int)[0] - expected).max() <= 2


def test_unit_range_spans_0_to_1_and_is_0_if_flat() -> None:
    assert unit_range(np.array([[2.0, 4.0], [3.0, 2.0]])).tolist() == [[0.0, 1.0], [0.5, 0.0]]
    assert not unit_range(np.full((2, 2), 7.0)).any()


def test_upsampled_heat_peaks_where_the_patch_lies() -> None:
    heat = upsample(peak(1, 6), (64, 128))
    assert heat.shape == (128, 64)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert 16 <= row < 32
    assert 48 <= column < 56


def test_upsampled_heat_is_bicubic_and_clipped() -> None:
    """Bicubic interpolation undershoots beside a peak; what is drawn stays in 0..1."""
    raw = np.asarray(Image.fromarray(peak(3, 3)).resize((80, 80), Image.Resampling.BICUBIC))
    assert raw.min() < 0
    assert np.array_equal(upsample(peak(3, 3), (80, 80)), np.clip(raw, 0, 1))


def test_heat_that_is_not_a_number_counts_as_none() -> None:
    assert upsample(np.full((2, 2), np.nan), (4, 4)).max() == 0


@pytest.mark.parametrize("shape", [(4,), (0, 4), (1, 4, 4)])
def test_heat_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        upsample(np.zeros(shape), (4, 4))


def test_overlay_mixes_image_and_colours_by_alpha() -> None:
    image = crop(40, 60, (200, 100, 0))
    heat = np.ones((3, 3))
    assert overlay(image, heat, 0).getpixel((5, 5)) == (200, 100, 0)
    assert overlay(image, heat, 1).getpixel((5, 5)) == HOTTEST
    assert overlay(image, heat, 0.5).getpixel((5, 5)) == (161, 52, 1)
    with pytest.raises(ValueError, match="alpha"):
        overlay(image, heat, 1.5)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "I;16"])
def test_overlay_takes_any_image_mode(mode: str) -> None:
    assert overlay(Image.new(mode, (9, 7)), np.zeros((2, 2))).mode == "RGB"


def test_grid_shows_the_plain_crop_then_the_heat() -> None:
    pixels = np.asarray(attention_grid([(crop(), [cell(heat=np.ones((4, 4)))])], alpha=1.0))
    plain, hot = (np.argwhere((pixels == colour).all(axis=-1)) for colour in (GREY, HOTTEST))
    assert len(plain) == 128 * 256
    assert len(hot) >= 128 * 256
    assert plain[:, 1].max() < hot[hot[:, 0] < 200][:, 1].min()


@pytest.mark.parametrize(("score", "colour"), [(22.01, canvas.YES), (22.0, canvas.NO), (21.0, canvas.NO)])
def test_decision_is_that_of_score_above_threshold(score: float, colour: tuple[int, int, int]) -> None:
    other = canvas.NO if colour == canvas.YES else canvas.YES
    grid = attention_grid([(crop(), [cell(score=score)])], alpha=0)
    assert has_colour(grid, colour)
    assert not has_colour(grid, other)


@pytest.mark.parametrize(("score", "share"), [(-9.0, 0.0), (20.901388, 0.25), (22.0, 0.5), (60.0, 1.0)])
def test_bar_is_filled_up_to_the_probability_with_a_tick_in_the_middle(score: float, share: float) -> None:
    grid = attention_grid([(crop(), [cell(phrase="", region="", score=score)])], alpha=0)
    pixels, left, width = np.asarray(grid), 18 + 128 + 16, 128
    tick = np.flatnonzero((pixels[:, left + width // 2] == canvas.INK).all(axis=-1))
    row = pixels[int(tick[len(tick) // 2]), left : left + width]
    filled = (row == (canvas.YES if score > 22 else canvas.NO)).all(axis=-1).sum()
    assert abs(int(filled) - share * width) <= 2
    assert len(tick) >= 10


def test_only_unseen_texts_are_marked() -> None:
    marks = [has_colour(attention_grid([(crop(), [cell(seen=seen)])]), canvas.MARK_GROUND) for seen in (False, True)]
    assert marks == [True, False]


def test_each_fact_of_a_cell_changes_the_picture() -> None:
    base = attention_grid([(crop(), [cell()])])
    for changes in (
        {"phrase": "handbag"},
        {"score": 25.5},
        {"threshold": 21.0},
        {"source": "mean of bag"},
        {"region": "upper"},
        {"heat": peak(6, 1)},
    ):
        other = attention_grid([(crop(), [cell(**changes)])])
        assert other.size != base.size or other.tobytes() != base.tobytes(), changes


@pytest.mark.parametrize("size", [(1, 1), (1, 2000), (2000, 1), (37, 90), (500, 200), (3000, 3000)])
def test_any_aspect_of_image_is_drawn(size: tuple[int, int]) -> None:
    grid = attention_grid([(crop(*size), [cell(), cell()]), (crop(), [cell()])], caption="a caption")
    assert 256 < grid.height < 1200
    assert 340 <= grid.width <= 1600
    assert has_colour(grid, GREY)


def test_many_cells_go_on_in_further_lines_of_equal_length() -> None:
    grid = attention_grid([(crop(), [cell()] * 35)], alpha=0)
    assert grid.width <= 1600
    assert count_colour(grid, GREY) == 36 * 128 * 256


def test_image_without_cells_and_no_image() -> None:
    assert has_colour(attention_grid([(crop(), [])]), GREY)
    with pytest.raises(ValueError, match="no rows"):
        attention_grid([])


def test_a_long_caption_makes_the_page_higher_not_wider() -> None:
    short = attention_grid([(crop(), [cell()])], caption="weights")
    long = attention_grid([(crop(), [cell()])], caption="weights and more " * 20)
    assert long.width == short.width
    assert long.height > short.height + 60


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80), st.integers(30, 300), st.integers(1, 4))
def test_wrapped_lines_fit_and_keep_the_words(text: str, width: int, most: int) -> None:
    lines = canvas.wrap(text, 15, width, most)
    assert len(lines) <= most
    assert all(len(line) <= 1 or canvas.text_width(line, 15) <= width for line in lines)
    complete = canvas.wrap(text, 15, width, 1000)
    letters = "".join(canvas._printable(text).split())
    assert "".join("".join(complete).split()) == letters


def test_text_that_goes_on_ends_in_an_ellipsis() -> None:
    assert canvas.wrap("one two three four five six", 15, 60, 2)[-1].endswith("…")
    assert canvas.fit_text("backpack", 15, 500) == "backpack"
    assert canvas.fit_text("backpack", 15, 1) == ""


@pytest.mark.parametrize("title", ["", "\ud800 half a pair", "tab\tand\nline", "\x00\x07", "背包 🎒", "x" * 400])
def test_any_text_can_be_drawn(title: str) -> None:
    assert attention_grid([(crop(), [cell(phrase=title, region=title)])], caption=title).width >= 340


def test_token_grid_shows_every_token_and_a_share_per_text() -> None:
    maps = np.stack([peak(row, row) for row in range(6)])
    labels = [f"global {number}" for number in range(6)]
    weights = np.full((2, 6), 0.1)
    weights[:, 0] = 0.5
    cells = [Cell(heat, label) for heat, label in zip(maps, labels, strict=True)]
    plain = attention_grid([(crop(), cells)])
    full = token_grid(crop(), maps, labels, weights, ["backpack", "red scarf"])
    assert full.height > plain.height + 50
    assert full.crop((0, 0, plain.width, plain.height)).tobytes() == plain.tobytes()
    table = full.crop((0, plain.height, full.width, full.height))
    assert count_colour(table, (23, 78, 166)) > 100


def test_token_grid_refuses_counts_that_do_not_fit() -> None:
    maps = np.zeros((2, 4, 4))
    with pytest.raises(ValueError, match="labels"):
        token_grid(crop(), maps, ["one"], np.zeros((1, 1)), ["a"])
    with pytest.raises(ValueError, match="weights"):
        token_grid(crop(), maps, ["one", "two"], np.zeros((1, 2)), ["a", "b"])


@pytest.mark.parametrize("tokens", [1, 48])
def test_token_grid_of_one_and_of_many_tokens(tokens: int) -> None:
    labels = [f"local {number + 1}" for number in range(tokens)]
    weights = np.full((3, tokens), 1 / tokens)
    assert token_grid(crop(), np.zeros((tokens, 4, 4)), labels, weights, ["a", "b" * 200, "c"]).width < 3200

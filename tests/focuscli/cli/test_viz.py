"""`focus viz` on a small trained run."""

from __future__ import annotations

import pytest
from PIL import Image


def test_a_grid_of_images_and_texts(focus, trained_run, crops, tmp_path):
    target = tmp_path / "grid.png"
    names = [crops / "000.png", crops / "001.png"]
    outcome = focus("viz", *names, "red hat", "green scarf", "-c", trained_run, "-o", target, "--json")
    assert outcome.code == 0, outcome.stderr
    said = (outcome.json["picture"], outcome.json["unseen"], outcome.json["weights"])
    assert said == (str(target), ["green scarf"], "from scratch")
    with Image.open(target) as picture:
        assert picture.format == "PNG"
        two = picture.size
    again = focus("viz", *names, "red hat", "-c", trained_run, "-o", target)
    assert (again.code, "--force" in again.stderr) == (3, True)
    assert focus("viz", names[0], "red hat", "-c", trained_run, "-o", target, "--force").code == 0
    with Image.open(target) as picture:
        assert picture.size < two


def test_tokens_and_a_text_that_is_the_name_of_a_folder(focus, trained_run, crops, tmp_path, monkeypatch):
    target = tmp_path / "tokens.png"
    assert focus("viz", crops / "000.png", "red hat", "--tokens", "-c", trained_run, "-o", target).code == 0
    assert target.exists()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hat").mkdir()
    outcome = focus("viz", crops / "000.png", "hat", "-c", trained_run, "-o", tmp_path / "x.png", "--json")
    assert list(outcome.json["thresholds"]) == ["hat"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["00.png", "red hat"], 3, "focus viz IMAGE -a"),
        (["red hat"], 2, ""),
        (["000.png", ""], 2, "empty"),
        (["000.png", "red hat", "--layers", "9"], 2, "4 layers"),
        (["000.png", "001.png", "--tokens"], 2, ""),
    ],
)
def test_refusals(refused, trained_run, crops, tmp_path, arguments, code, words):
    named = [crops / word if word.endswith(".png") else word for word in arguments]
    refused(code, words, "viz", *named, "-c", trained_run, "-o", tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()

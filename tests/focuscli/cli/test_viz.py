"""`focus viz` on a small trained run."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from focuscli.errors import InputError


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


def test_many_images_make_pages_of_which_none_is_replaced(focus, refused, trained_run, crops, tmp_path):
    many = [*sorted(crops.glob("*.png"))[:11], "red hat", "-c", trained_run]
    (tmp_path / "a-2.png").write_bytes(b"mine")
    refused(3, "a-2.png exists already", "viz", *many, "-o", tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a-2.png"]
    outcome = focus("viz", *many, "-o", tmp_path / "a.png", "--force", "--json")
    assert outcome.json["pictures"] == [str(tmp_path / f"a-{number}.png") for number in (1, 2)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-1.png", "a-2.png"]
    assert focus("viz", *many, "-o", tmp_path / "a.PDF").code == 0
    assert b"/Count 2" in (tmp_path / "a.PDF").read_bytes()
    assert focus("viz", *many[-4:], "-o", tmp_path / "a.jpg").code == 0
    with Image.open(tmp_path / "a.jpg") as picture:
        assert picture.format == "JPEG"


def test_an_image_that_vanishes_while_pages_are_drawn_leaves_nothing(
    refused, trained_run, crops, tmp_path, monkeypatch
):
    def load(path):
        if path.name == "010.png":
            raise InputError(f"No such image: {path}.")
        return Image.new("RGB", (20, 40))

    monkeypatch.setattr("focuscli.viz.explain.load_image", load)
    many = sorted(crops.glob("*.png"))[:11]
    options = ("-c", trained_run, "-o", tmp_path / "a.png", "--save-maps", tmp_path / "maps")
    refused(3, "No such image", "viz", *many, "red hat", *options)
    assert [*tmp_path.iterdir()] == []


def test_saved_maps_are_the_attention_of_each_image_and_text(focus, refused, trained_run, crops, tmp_path):
    from focuscli.inference.recognizer import Recognizer

    names, maps = [crops / "000.png", crops / "001.png"], tmp_path / "maps"
    line = ["viz", *names, "red hat", "a/b", "-c", trained_run, "-o", tmp_path / "x.png", "--save-maps", maps]
    assert focus(*line).code == 0
    entries = json.loads((maps / "maps.json").read_text())["maps"]
    shown = [(entry["image"], entry["text"]) for entry in entries]
    assert shown == [(str(name), text) for name in names for text in ("red hat", "a/b")]
    found = np.stack([np.load(maps / entry["file"]) for entry in entries])
    expected = Recognizer.from_checkpoint(trained_run, device="cpu").attention(names, ["red hat", "a/b"])
    assert found.dtype == np.float32
    assert np.allclose(found, expected.heat.reshape(found.shape), atol=1e-6)
    assert [entry["score"] for entry in entries] == pytest.approx(expected.scores.ravel().tolist(), abs=1e-3)
    (tmp_path / "x.png").unlink()
    refused(3, "maps exists already", *line)
    (maps / "maps.json").rename(tmp_path / "maps.json")
    refused(3, "not written by focus viz", *line, "--force")
    (tmp_path / "maps.json").rename(maps / "maps.json")
    assert focus(*line, "--force", "--tokens").code == 2
    assert focus(*line[:2], *line[3:], "--force", "--tokens").code == 0
    assert json.loads((maps / "maps.json").read_text())["maps"][0]["token"] == "global 1"


def test_a_shared_scale_is_that_of_all_panels(focus, trained_run, crops, tmp_path):
    """A panel alone looks the same on the shared scale; two do not."""
    same = []
    for texts in (["red hat"], ["red hat", "bright trousers"]):
        for option in ([], ["--shared-scale"]):
            target = tmp_path / f"{len(texts)}{len(option)}.png"
            assert focus("viz", crops / "000.png", *texts, "-c", trained_run, "-o", target, *option).code == 0
        pair = [np.asarray(Image.open(tmp_path / f"{len(texts)}{number}.png"))[:270] for number in (0, 1)]
        same.append(np.array_equal(*pair))
    assert same == [True, False]


def test_models_side_by_side(focus, weights, trained_run, crops, tmp_path):
    """A text that one model was trained on is unseen to the other, and has no threshold there."""
    one, two = tmp_path / "one.png", tmp_path / "two.jpg"
    line = ["viz", crops / "000.png", "red hat", "-c", trained_run]
    assert "models" not in focus(*line, "-c", trained_run, "-o", one, "--json").json
    outcome = focus(*line, "-c", "clip", "-o", two, "--json")
    assert outcome.code == 0, outcome.stderr
    models = outcome.json["models"]
    assert [model["method"] for model in models] == ["focus", "clip"]
    assert [model["unseen"] for model in models] == [[], ["red hat"]]
    assert [model["thresholds"]["red hat"] is None for model in models] == [False, True]
    with Image.open(one) as single, Image.open(two) as double:
        assert double.height > single.height + 256


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
        ([".", "red hat"], 2, ". is a folder; name its images"),
        (["000.png", ""], 2, "empty"),
        (["000.png", "red hat", "--layers", "9"], 2, "4 layers"),
        (["000.png", "001.png", "--tokens"], 2, ""),
        (["000.png", "red hat", "--tokens", "-c", "clip"], 2, "one model"),
        (["000.png", "red hat", "--save-maps", "."], 2, "folder of its own"),
        *((["000.png", "red hat", "-o", name], 2, ".png, .jpg, .jpeg, .pdf") for name in ("x.gif", "x", "x.png.txt")),
    ],
)
def test_refusals(refused, trained_run, crops, tmp_path, monkeypatch, arguments, code, words):
    named = [crops / word if word.endswith(".png") else word for word in arguments]
    monkeypatch.chdir(tmp_path)
    output = [] if "-o" in arguments else ["-o", "x.png"]
    refused(code, words, "viz", *named, "-c", trained_run, *output)
    assert [*tmp_path.iterdir()] == []

"""Making galleries: killed at every step, images that change, processes that share the work, and what is refused."""

from __future__ import annotations

import contextlib
import json
import os
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest
import torch

from focuscli.data.images import load_image
from focuscli.data.loader import normalise, resize_crop
from focuscli.errors import InputError, RequirementError, UsageError
from focuscli.storage import files
from focuscli.tools.gallery import index as module
from focuscli.tools.gallery.index import plan_index, run_index
from focuscli.tools.gallery.projection import Projection
from focuscli.tools.gallery.query import open_gallery
from focuscli.tools.gallery.source import find_source
from focuscli.tools.gallery.store import column_names, read_gallery


@pytest.fixture
def make(recognizer, crops, tmp_path):
    """make() indexes the folder `crops` into the folder g, four crops a part; returns what could not be read."""

    def run(source=crops, folder=tmp_path / "g", *, own=recognizer, seed=0, group=None, resume=False, **options):
        with contextlib.ExitStack() as lock:
            found, weights = find_source(str(source), group=group), own.folder / f"weights-{seed}.bin"
            plan = plan_index(own, weights, found, folder, resume=resume, part_size=4, lock=lock)
            return run_index(own, plan, batch=3, workers=1, **options)

    return run


@pytest.fixture
def check(recognizer, crops, tmp_path):
    """check() asserts that the gallery holds each readable image once, with its own features, scores and projection, and
    that nothing else is in the folder."""

    def run():
        gallery = read_gallery(tmp_path / "g")
        assert gallery.complete
        found, names = [], {"gallery.json", "projection.npz", ".lock"}
        projection = Projection.load(gallery.folder / "projection.npz")
        texts = recognizer.encode_texts(recognizer.vocabulary.trained)
        for part in gallery.parts:
            names |= {part.file(kind).name for kind in ("tokens", "projection", "crops")}
            table = part._read(None)
            tokens = part.tokens()[table["row"].to_numpy()]
            for crop, features in zip(part.crops(), tokens, strict=True):
                pixels = resize_crop(load_image(crops / crop.path), recognizer.image_size)[None]
                expected = recognizer.model.encode_image(normalise(pixels, recognizer.device)).tokens[0]
                assert np.allclose(features, expected, atol=2e-3)
            scores = recognizer.model.score(torch.from_numpy(tokens).float(), texts).scores
            stored = np.stack([table[name].to_numpy() for name in gallery.columns], axis=1)
            assert stored == pytest.approx(scores.numpy(), abs=1e-4)
            codes = part.array("projection", len(projection.encode))
            assert np.array_equal(codes, projection.project(part.tokens()))
            found += [crop.path for crop in part.crops()]
        assert sorted(found) == sorted(file.name for file in crops.iterdir() if file.read_bytes() != b"no image")
        assert {file.name for file in gallery.folder.iterdir()} == names

    return run


def content(folder):
    """Every file of a gallery with its bytes."""
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_a_gallery_holds_the_models_own_features_and_scores(make, check, recognizer, tmp_path):
    seen = []
    (tmp_path / "g").mkdir()
    for name in (".gallery.json.0123abcd.tmp", ".lock"):  # what a run leaves that was killed before it had begun
        (tmp_path / "g" / name).write_bytes(b"half")

    def progress(*step):
        seen.append(step)
        with pytest.raises(InputError, match=r"(?s)Another focus index is writing to .*g; nothing was.*--resume"):
            make(resume=True)

    (reason,) = make(progress=progress)
    assert "04b.png" in reason
    check()
    assert seen[-1] == (11, 11)
    gallery = read_gallery(tmp_path / "g")
    assert gallery.columns == ("Hat", "Scarf", "Jeans", "bare head")
    assert gallery.vocabulary == recognizer.vocabulary
    assert (gallery.model.step, gallery.model.trained_on) == (7, recognizer.trained_on)


@pytest.mark.parametrize("step", [None, *range(0, 9, 2)])
def test_a_gallery_is_brought_up_to_date(make, check, draw, crops, tmp_path, monkeypatch, step):
    """Images added, removed and changed; killed when `step` files are written, it can still be searched, no crop twice."""
    make()
    draw(crops / "00a.png", 18)
    draw(crops / "04b.png", 19)  # readable now
    (crops / "02.png").unlink()
    draw(crops / "07.png", 20)
    os.utime(crops / "07.png", ns=(1, 1))
    if step is not None:
        replace, writes = os.replace, iter(range(step))

        def replace_some(*paths):
            if next(writes, None) is None:
                raise KeyboardInterrupt
            replace(*paths)

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(files.os, "replace", replace_some)
            make(resume=True)
        with open_gallery(tmp_path / "g") as reader:
            stored = [crop.path for part in reader.parts.values() for crop in part.crops()]
        assert len(stored) == len(set(stored)) >= 8
    make(resume=True)
    check()


def test_nothing_to_do_changes_nothing_and_encodes_nothing(make, crops, tmp_path, monkeypatch):
    make()
    (crops / "04b.png").unlink()
    for name in ("hits.png", "tokens-notes.txt", "crops-1.parquet"):  # of others
        (tmp_path / "g" / name).write_bytes(b"mine")
    before = content(tmp_path / "g")
    monkeypatch.setattr(module, "_encode", None)
    make(resume=True)
    assert content(tmp_path / "g") == before
    moved = crops.rename(tmp_path / "elsewhere")
    make(moved, resume=True)
    assert read_gallery(tmp_path / "g").source.root == str(moved)


def test_columns_have_names_that_sql_tells_apart(recognizer):
    names = ("Path", "hat", "HAT", "bare head")
    texts = [replace(text, attribute=name) for text, name in zip(recognizer.vocabulary.trained, names, strict=True)]
    vocabulary = replace(recognizer.vocabulary, trained=tuple(texts))
    assert column_names(vocabulary) == ("Path_", "hat", "HAT_", "bare head")


def test_what_is_there_already_is_not_touched(make, draw, crops, tmp_path):
    make()
    for name in ("thesis", "others"):
        (tmp_path / name).mkdir()
        draw(tmp_path / name / "x.png", 3)
    for source, name, resume, words in (
        ("crops", "g", False, "g exists already; nothing was changed"),
        ("crops", "thesis", True, "thesis exists already and is not a gallery"),
        ("crops", "crops/00.png", False, "is a file"),
        ("others", "g", True, r"None of the 10 crops of .*g is in others"),
    ):
        before = content(tmp_path / name) if (tmp_path / name).is_dir() else {}
        with pytest.raises(InputError, match=words):
            make(tmp_path / source, tmp_path / name, resume=resume)
        assert not before or content(tmp_path / name) == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 2}, r"made by another version of focus \(format 2, not 3\)"),
        ({"source": {"kind": "folder", "name": "x", "split": ""}}, "source.root"),
        ({"tokens": 0}, "tokens"),
        ({"columns": ["Hat"]}, "1 columns for 4 trained texts"),
        (None, "damaged"),
    ],
)
def test_a_damaged_gallery_json_is_named(store, recognizer, features, changes, words):
    file = store(recognizer, features(3, 6), 3) / "gallery.json"
    text = file.read_text()
    file.write_text(text[:-30] if changes is None else json.dumps(json.loads(text) | changes))
    with pytest.raises(InputError, match=words) as caught:
        read_gallery(file.parent)
    assert str(file.parent) in caught.value.problem
    assert "focus index" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "size"),
    [("tokens-00001.npy", 200), ("crops-00001.parquet", 200), ("projection-00001.npy", 140), ("projection.npz", 900)],
)
def test_a_damaged_file_is_made_again(make, check, crops, tmp_path, monkeypatch, name, size):
    make()
    os.truncate(tmp_path / "g" / name, size)
    if name.startswith("projection"):
        (crops / "04b.png").unlink()
        monkeypatch.setattr(module, "_encode", None)  # nothing is encoded for it
    make(resume=True)
    check()


def test_what_cannot_be_indexed(make, build, crops, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="vtb cannot search"):
        make(own=build("vtb"))
    assert not (tmp_path / "g").exists()
    with monkeypatch.context() as patched:
        usage = namedtuple("usage", "total used free")
        patched.setattr(module.shutil, "disk_usage", lambda _: usage(10, 9, 1))
        with pytest.raises(RequirementError, match="GiB free"):
            make()
    large = build()
    with torch.no_grad():
        large.model.clip.visual.proj.mul_(1e6)
    with pytest.raises(InputError, match="half precision"):
        make(folder=tmp_path / "large", own=large)
    make(folder=tmp_path / "groups", group=r"^(\d)\d\.")
    assert {crop.group for part in read_gallery(tmp_path / "groups").parts for crop in part.crops()} == {"0"}
    with pytest.raises(UsageError, match="was begun with --group"):
        make(folder=tmp_path / "groups", resume=True)
    with pytest.raises(InputError, match="begun in fp32"):
        make(folder=tmp_path / "groups", own=build(precision="bf16"), resume=True)
    with pytest.raises(InputError, match=r"indexed with another checkpoint.* \(focus, step 7\)"):
        make(folder=tmp_path / "groups", own=build(seed=1), seed=1, resume=True)
    for file in crops.iterdir():
        file.write_bytes(b"no image")
    with pytest.raises(InputError, match="No image can be read"):
        make()
    with pytest.raises(InputError, match="holds no crop"), open_gallery(tmp_path / "g"):
        pass

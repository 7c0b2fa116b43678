"""Making galleries: killed at every step, images that change, processes that share the work, and what is refused."""

from __future__ import annotations

import contextlib
import json
import os
from collections import namedtuple
from dataclasses import asdict

import numpy as np
import pytest
import torch

from focuscli.data.loader import normalise, read_crop, to_unit
from focuscli.errors import InputError, RequirementError, UsageError
from focuscli.storage import files
from focuscli.tools.gallery import index as module
from focuscli.tools.gallery.index import plan_index, run_index
from focuscli.tools.gallery.model import ModelFiles, check_model
from focuscli.tools.gallery.projection import Projection
from focuscli.tools.gallery.reader import open_gallery
from focuscli.tools.gallery.source import find_source
from focuscli.tools.gallery.store import column_names, read_gallery


@pytest.fixture
def make(recognizer, model_files, crops, tmp_path):
    """make() indexes the folder `crops` into the folder g, four crops a part; returns what could not be read."""

    def run(source=crops, folder=tmp_path / "g", *, own=recognizer, seed=0, group=None, resume=False, **options):
        found = find_source(str(source), group=group)
        plan = plan_index(own, model_files(own, seed), found, folder, resume=resume, part_size=4)
        return run_index(own, plan, batch=3, workers=1, **options)

    return run


@pytest.fixture
def check(recognizer, crops, tmp_path):
    """check() asserts that the gallery holds each readable image once, with its own features, scores and projection, and
    that nothing else is in the folder."""

    def run(folder=tmp_path / "g", source=crops):
        gallery = read_gallery(folder)
        assert gallery.complete
        found, names = [], {"gallery.json", "projection.npz", ".lock"}
        projection, size = Projection.load(folder / "projection.npz"), recognizer.config.model.image_size
        for part in gallery.parts:
            names |= {part.file(kind).name for kind in ("tokens", "projection", "crops")}
            table = part._read(None)
            tokens = part.tokens()[table["row"].to_numpy()]
            with torch.inference_mode():
                for crop, features in zip(part.crops(), tokens, strict=True):
                    pixels = read_crop(source / crop.path, size)[None]
                    expected = recognizer.model.encode_image(normalise(to_unit(pixels, torch.device("cpu")))).tokens[0]
                    assert np.allclose(features, expected, atol=2e-3)
                scores = recognizer.model.score(
                    torch.from_numpy(tokens).float(), recognizer.encode_texts(recognizer.vocabulary.trained)
                ).scores
            stored = np.stack([table[name].to_numpy() for name in gallery.columns], axis=1)
            assert stored == pytest.approx(scores.numpy(), abs=1e-4)
            assert np.array_equal(part.projection(projection.size), projection.project(part.tokens()))
            found += [crop.path for crop in part.crops()]
        readable = [file.name for file in source.iterdir() if file.read_bytes() != b"no image"]
        assert sorted(found) == sorted(readable)
        assert {file.name for file in folder.iterdir()} == names

    return run


def content(folder):
    """Every file of a gallery with its bytes."""
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_a_gallery_holds_the_models_own_features_and_scores(make, check, recognizer, tmp_path):
    seen = []
    (bad,) = make(progress=lambda *step: seen.append(step))
    assert (bad.crop.path, "04b.png" in bad.reason) == ("04b.png", True)
    check()
    assert seen[-1] == (11, 11)
    gallery = read_gallery(tmp_path / "g")
    assert gallery.columns == ("Hat", "Scarf", "Jeans", "bare head")
    assert gallery.vocabulary == recognizer.vocabulary
    assert (gallery.model.step, gallery.model.trained_on) == (7, recognizer.trained_on)
    assert sum(len(part.crops()) for part in gallery.parts) == 10


class Killed(BaseException):
    """The process ends here."""


@contextlib.contextmanager
def killed_before_write(step, monkeypatch):
    """Ends the process when so many files have been put in place."""
    replace, writes = os.replace, []

    def count(*arguments):
        if len(writes) == step:
            raise Killed
        writes.append(arguments)
        replace(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "replace", count)
        yield writes


@pytest.mark.parametrize("step", range(12))
def test_a_run_killed_before_any_write_is_resumed(make, check, tmp_path, monkeypatch, step):
    with killed_before_write(step, monkeypatch) as writes:
        try:
            make()
        except Killed:
            if (tmp_path / "g" / "gallery.json").exists():
                with pytest.raises(InputError, match="not finished"), open_gallery(tmp_path / "g"):
                    pass
        else:
            assert step >= len(writes)
    if step:  # what a real kill leaves, where no `finally` is run
        (tmp_path / "g" / ".tokens-00001.npy.x.tmp").write_bytes(b"half")
    make(resume=True)
    check()


@pytest.mark.parametrize("step", [None, *range(0, 9, 2)])
def test_a_gallery_is_brought_up_to_date(make, check, draw, crops, tmp_path, monkeypatch, step):
    """Images added, removed and changed; killed on the way, it can still be searched, and holds no crop twice."""
    make()
    draw(crops / "00a.png", 18)
    draw(crops / "04b.png", 19)  # readable now
    (crops / "02.png").unlink()
    draw(crops / "07.png", 20)
    os.utime(crops / "07.png", ns=(1, 1))
    if step is not None:
        with killed_before_write(step, monkeypatch), pytest.raises(Killed):
            make(resume=True)
        with open_gallery(tmp_path / "g") as reader:
            stored = [crop.path for part in reader.parts.values() for crop in part.crops()]
        assert len(stored) == len(set(stored)) >= 8
    make(resume=True)
    check()


def test_nothing_to_do_changes_nothing_and_encodes_nothing(make, crops, tmp_path, monkeypatch):
    make()
    (crops / "04b.png").unlink()
    before = content(tmp_path / "g")
    monkeypatch.setattr(module, "_encode", None)
    make(resume=True)
    assert content(tmp_path / "g") == before
    moved = crops.rename(tmp_path / "elsewhere")
    make(moved, resume=True)
    with open_gallery(tmp_path / "g") as reader:
        assert all(path.exists() for path, _ in reader.images([0, 0], [0, 1]))


@pytest.mark.parametrize("name", ["tokens-00001.npy", "crops-00001.parquet"])
def test_a_damaged_part_is_encoded_again(make, check, recognizer, model_files, crops, tmp_path, name):
    make()
    os.truncate(tmp_path / "g" / name, 200)
    source = find_source(str(crops))
    plan = plan_index(recognizer, model_files(recognizer), source, tmp_path / "g", resume=True, part_size=4)
    assert name in plan.damaged[1]
    assert plan.to_encode in (4, 5)  # and the one that cannot be read
    make(resume=True)
    check()


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "projection-00001.npy").unlink(),
        lambda folder: os.truncate(folder / "projection-00001.npy", 140),
        lambda folder: (folder / "projection.npz").unlink(),
        lambda folder: os.truncate(folder / "projection.npz", 900),
    ],
)
def test_a_damaged_projection_is_made_again_without_encoding(make, check, crops, tmp_path, monkeypatch, damage):
    make()
    (crops / "04b.png").unlink()
    damage(tmp_path / "g")
    monkeypatch.setattr(module, "_encode", None)
    make(resume=True)
    check()


def test_files_of_others_in_the_folder_stay(make, tmp_path):
    make()
    for name in ("hits.png", "tokens-notes.txt", "crops-1.parquet"):
        (tmp_path / "g" / name).write_bytes(b"mine")
    make(resume=True)
    for name in ("hits.png", "tokens-notes.txt", "crops-1.parquet"):
        assert (tmp_path / "g" / name).read_bytes() == b"mine"


@pytest.mark.parametrize("resume", [False, True])
def test_a_plan_that_another_run_has_outdated_is_not_carried_out(
    make, recognizer, model_files, crops, tmp_path, resume
):
    if resume:
        make()
        (crops / "06.png").unlink()
    source = find_source(str(crops))
    plan = plan_index(recognizer, model_files(recognizer), source, tmp_path / "g", part_size=4, resume=resume)
    make(resume=resume)
    before = content(tmp_path / "g")
    with pytest.raises(InputError, match="changed by another focus index") as caught:
        run_index(recognizer, plan)
    assert "--resume" in caught.value.hint
    assert content(tmp_path / "g") == before


def test_only_one_run_writes_to_a_gallery(make, check, draw, crops):
    make()
    draw(crops / "20.png", 8)
    seen = []

    def another(done, total):
        with pytest.raises(InputError, match=r"Another focus index is writing to .*g; nothing was changed") as caught:
            make(resume=True)
        seen.append(caught.value.hint)

    make(resume=True, progress=another)
    assert "--resume" in seen[0]
    check()


@pytest.mark.parametrize("method", ["poar", "clip-ft"])
def test_other_methods(make, build, tmp_path, method):
    make(own=build(method))
    assert read_gallery(tmp_path / "g").tokens == (2 if method == "poar" else 1)


def test_groups_are_stored_and_have_to_stay_the_same(make, tmp_path):
    make(group=r"^(\d)\d\.")
    (part, *_) = read_gallery(tmp_path / "g").parts
    assert {crop.group for crop in part.crops()} == {"0"}
    with pytest.raises(UsageError, match="was begun with --group") as caught:
        make(resume=True)
    assert "Go on with --group" in caught.value.hint


def test_a_run_killed_before_its_gallery_json_left_nothing(make, check, tmp_path):
    (tmp_path / "g").mkdir()
    for name in (".gallery.json.x.tmp", ".lock"):
        (tmp_path / "g" / name).write_bytes(b"half")
    make()
    check()


def emptied(folder):
    (folder / "gallery.json").unlink()


@pytest.mark.parametrize(
    ("prepare", "options", "words", "hint"),
    [
        (None, {}, "g exists already; nothing was changed", "--resume"),
        (emptied, {}, r"gallery\.json, which says whose they are, is missing", "another folder"),
        (emptied, {"resume": True}, r"gallery\.json, which says whose they are, is missing", "another folder"),
        ("thesis.tex", {}, "thesis exists already", "-o"),
        ("thesis.tex", {"resume": True}, "is not a gallery", "-o"),
        ("a file", {}, "is a file", "folder"),
        ("others", {"resume": True}, r"10 crops of .*crops, and none of them is in others", "-o"),
    ],
)
def test_what_is_there_already_is_not_touched(make, draw, tmp_path, prepare, options, words, hint):
    make()
    folder, source = tmp_path / "g", tmp_path / "crops"
    if prepare == "thesis.tex":
        folder = tmp_path / "thesis"
        folder.mkdir()
        (folder / prepare).write_text("all of it")
    elif prepare == "a file":
        folder = tmp_path / "crops" / "00.png"
    elif prepare == "others":
        source = tmp_path / "others"
        source.mkdir()
        draw(source / "x.png", 3)
    elif prepare:
        prepare(folder)
    before = content(folder) if folder.is_dir() else {}
    with pytest.raises(InputError, match=words) as caught:
        make(source, folder, **options)
    assert hint in caught.value.hint
    assert not folder.is_dir() or content(folder) == before


def test_another_checkpoint_or_precision_is_refused(make, build, recognizer, model_files, tmp_path):
    make()
    with pytest.raises(InputError, match=r"indexed with another checkpoint: .*focus, step 7") as caught:
        make(own=build(seed=1), seed=1, resume=True)
    assert f"-c {recognizer.folder}" in caught.value.hint
    bf16 = build(precision="bf16")
    with pytest.raises(InputError, match="begun in fp32") as caught:
        make(own=bf16, resume=True)
    assert "--precision fp32" in caught.value.hint
    # the same weights elsewhere are the same model; others in their place are not
    gallery = read_gallery(tmp_path / "g")
    check_model(gallery.folder, gallery.model, model_files(bf16))
    other = ModelFiles(recognizer.folder, tmp_path / "weights")
    other.weights.write_text("other")
    with pytest.raises(InputError, match="the checkpoint changed since then") as caught:
        check_model(gallery.folder, gallery.model, other)
    assert caught.value.hint.endswith(f"focus index SOURCE -c {recognizer.folder} -o {gallery.folder}-new")


def test_what_cannot_be_indexed(make, build, draw, crops, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="vtb cannot search"):
        make(own=build("vtb"))
    with monkeypatch.context() as patched:
        usage = namedtuple("usage", "total used free")
        patched.setattr(module.shutil, "disk_usage", lambda _: usage(10, 9, 1))
        with pytest.raises(RequirementError, match="GiB free"):
            make()
    with monkeypatch.context() as patched:
        patched.setattr("focuscli.storage.extras.find_spec", lambda name: None)
        with pytest.raises(RequirementError, match="not installed: pyarrow, duckdb") as caught:
            make()
        assert "pip install 'focus-par[gallery]'" in caught.value.hint
    assert not (tmp_path / "g").exists()
    large = build()
    with torch.no_grad():
        large.model.clip.visual.proj.mul_(1e6)
    with pytest.raises(InputError, match="half precision"):
        make(folder=tmp_path / "large", own=large)
    for file in crops.iterdir():
        file.write_bytes(b"no image")
    with pytest.raises(InputError, match="None of 11 images"):
        make()
    with pytest.raises(InputError, match="holds no crop"), open_gallery(tmp_path / "g"):
        pass


def changed(text, **values):
    """A gallery.json with other values."""
    return json.dumps(json.loads(text) | values)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text[:-30], "damaged"),
        (lambda text: changed(text, format=2), r"made by another version of focus \(format 2, not 3\)"),
        (lambda text: json.dumps({"crops": 3}), "damaged: KeyError"),
        (lambda text: "[]", "damaged"),
        (lambda text: changed(text, source=None), "source"),
        (lambda text: changed(text, source={"kind": "folder", "name": "x", "split": ""}), "source.root"),
        (lambda text: changed(text, tokens="6"), "tokens"),
        (lambda text: changed(text, tokens=0), "tokens"),
        (lambda text: changed(text, complete="no"), "complete"),
        (lambda text: changed(text, columns=["Hat"]), "1 columns for 4 trained texts"),
        (lambda text: changed(text, vocabulary={}), "vocabulary"),
        (lambda text: changed(text, model={"method": "focus"}), "model"),
    ],
)
def test_a_damaged_gallery_json_is_named(store, recognizer, features, tmp_path, damage, words):
    file = store(tmp_path / "g", recognizer, features(3, 6), 3) / "gallery.json"
    file.write_text(damage(file.read_text()))
    with pytest.raises(InputError, match=words) as caught:
        read_gallery(tmp_path / "g")
    assert str(tmp_path / "g") in caught.value.problem
    assert "focus index" in caught.value.hint
    assert "\n" not in caught.value.problem


def test_a_folder_that_is_not_a_gallery(tmp_path):
    with pytest.raises(InputError, match="Not a gallery") as caught:
        read_gallery(tmp_path)
    assert "focus index" in caught.value.hint


def test_columns_have_names_that_sql_tells_apart(recognizer):
    texts = recognizer.vocabulary.trained
    names = ("Path", "hat", "HAT", "bare head")
    renamed = [type(text)(**asdict(text) | {"attribute": name}) for text, name in zip(texts, names, strict=True)]
    vocabulary = type(recognizer.vocabulary)(**vars(recognizer.vocabulary) | {"trained": tuple(renamed)})
    assert column_names(vocabulary) == ("Path_", "hat", "HAT_", "bare head")

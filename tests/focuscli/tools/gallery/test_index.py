"""Making galleries: crashes at every step, images that change, teams, and what is refused."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections import namedtuple

import numpy as np
import pytest
import torch
from PIL import Image

from focuscli.data.loader import normalise, read_crop, to_unit
from focuscli.errors import InputError, RequirementError, UsageError
from focuscli.storage import files
from focuscli.tools.gallery import index as index_module
from focuscli.tools.gallery import sketch
from focuscli.tools.gallery.index import prepare_index, run_index, unreadable
from focuscli.tools.gallery.manifest import read_manifest
from focuscli.tools.gallery.query import Query
from focuscli.tools.gallery.reader import open_gallery
from focuscli.tools.gallery.scan import Searcher
from focuscli.tools.gallery.scorer import fold_model, make_scorer
from focuscli.tools.gallery.search import search
from focuscli.tools.gallery.source import find_source
from focuscli.tools.gallery.team import Alone


def make(recognizer, crops, folder, *, resume=False, size=4, **options):
    job = prepare_index(recognizer, find_source(str(crops)), folder, resume=resume, shard_size=size)
    return run_index(recognizer, job, batch=3, workers=1, **options)


def content(folder):
    """Every file of a gallery with its bytes."""
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def stored_paths(folder):
    gallery = open_gallery(folder)
    return [path.name for path in gallery.paths(np.arange(gallery.crops))]


def expected(recognizer, paths):
    """Each crop by itself through the model."""
    size = recognizer.config.model.image_size
    with torch.inference_mode():
        rows = [
            recognizer.model.encode_image(normalise(to_unit(read_crop(path, size)[None], recognizer.device))).tokens
            for path in paths
        ]
    return torch.cat(rows).numpy()


def check_features(recognizer, folder):
    gallery = open_gallery(folder)
    tokens = np.concatenate([gallery.tokens(shard) for shard in range(gallery.shards)]).astype(np.float32)
    assert np.allclose(tokens, expected(recognizer, gallery.paths(np.arange(gallery.crops))), atol=2e-3)


def check_sketch(recognizer, folder):
    """All of it was made with the basis that the manifest names."""
    gallery, folded = open_gallery(folder), fold_model(recognizer.model)
    basis = sketch.Basis.load(folder / gallery.manifest.basis)
    for shard in range(gallery.shards):
        expected = sketch.encode(torch.from_numpy(gallery.tokens(shard)), basis, folded)
        stored = gallery.sketch(shard, basis.size), gallery.norms(shard, 4), gallery.floors(shard, 4)
        assert all((one == other).all() for one, other in zip(stored, expected, strict=True))


def test_a_gallery_holds_the_models_own_features(recognizer, crops, tmp_path):
    seen = []
    manifest = make(recognizer, crops, tmp_path / "g", progress=lambda *step: seen.append(step))
    assert stored_paths(tmp_path / "g") == [f"{number:02}.png" for number in range(10)]
    check_features(recognizer, tmp_path / "g")
    assert (manifest.crops, manifest.skipped, [count for _, count in manifest.shards]) == (10, 1, [4, 3, 3])
    assert manifest == read_manifest(tmp_path / "g")
    (bad,) = unreadable(tmp_path / "g", manifest)
    assert (bad.crop.path, "04b.png" in bad.reason) == ("04b.png", True)
    assert seen[-1] == (11, 11)
    assert manifest.model.step == 7


class Killed(BaseException):
    """The process ends here."""


@contextlib.contextmanager
def killed_before_write(step, monkeypatch):
    """Ends the process when so many files have been put in place; yields those."""
    replace, writes = os.replace, []

    def count(*arguments):
        if len(writes) == step:
            raise Killed
        writes.append(arguments)
        replace(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "replace", count)
        yield writes


@pytest.mark.parametrize("step", [*range(0, 30, 3)])
def test_a_run_killed_before_any_write_is_resumed_to_the_same_bytes(recognizer, crops, tmp_path, monkeypatch, step):
    make(recognizer, crops, tmp_path / "whole")
    with killed_before_write(step, monkeypatch) as writes:
        try:
            make(recognizer, crops, tmp_path / "g")
        except Killed:
            if (tmp_path / "g" / "gallery.json").exists():
                with pytest.raises(InputError, match="not finished"):
                    open_gallery(tmp_path / "g")
        else:
            assert step >= len(writes)
    if step:  # what a real kill leaves, where no `finally` is run
        (tmp_path / "g" / ".000001-aaaaaaaaaaaa.tokens.npy.x.tmp").write_bytes(b"half")
    make(recognizer, crops, tmp_path / "g", resume=True)
    assert content(tmp_path / "g") == content(tmp_path / "whole")


def draw(path, seed):
    generator = np.random.default_rng(seed)
    Image.fromarray(generator.integers(0, 256, (20, 10, 3)).astype(np.uint8)).save(path)


@pytest.mark.parametrize("step", [None, 0, 1, 4, 5, 8, 12])
def test_a_gallery_is_brought_up_to_date(recognizer, crops, tmp_path, monkeypatch, step):
    """Images added at the front, removed and changed; also where that run is killed and the old gallery has to stand."""
    folder = tmp_path / "g"
    make(recognizer, crops, folder)
    before = stored_paths(folder)
    draw(crops / "00a.png", 8)
    draw(crops / "04b.png", 9)  # readable now
    (crops / "02.png").unlink()
    draw(crops / "07.png", 10)
    os.utime(crops / "07.png", ns=(1, 1))
    if step is not None:
        with killed_before_write(step, monkeypatch), pytest.raises(Killed):
            make(recognizer, crops, folder, resume=True)
        assert stored_paths(folder) == before
    make(recognizer, crops, folder, resume=True)
    after = stored_paths(folder)
    assert sorted(after) == sorted(file.name for file in crops.iterdir())
    check_features(recognizer, folder)
    check_sketch(recognizer, folder)
    assert content(folder).keys() == read_manifest(folder).files


@pytest.mark.parametrize("step", [12, 13, 16])
def test_images_added_after_a_first_run_was_killed_while_sketching(recognizer, crops, tmp_path, monkeypatch, step):
    """The basis is then another one, and what was sketched with the one before is of no use."""
    folder = tmp_path / "g"
    with killed_before_write(step, monkeypatch), pytest.raises(Killed):
        make(recognizer, crops, folder)
    old = {file.name for file in folder.glob("basis-*")}
    draw(crops / "20.png", 8)
    make(recognizer, crops, folder, resume=True)
    assert old
    assert old.isdisjoint(content(folder))
    check_sketch(recognizer, folder)
    assert content(folder).keys() == read_manifest(folder).files


@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: os.truncate(file, 900)])
@pytest.mark.parametrize("added", [False, True])
def test_a_basis_that_is_gone_or_damaged_is_made_again(recognizer, crops, tmp_path, monkeypatch, damage, added):
    folder = tmp_path / "g"
    make(recognizer, crops, folder)
    before = content(folder)
    damage(folder / read_manifest(folder).basis)
    if added:
        draw(crops / "20.png", 8)
    else:
        monkeypatch.setattr(index_module, "encode_crops", lambda *_args, **_options: pytest.fail("encoded"))
    make(recognizer, crops, folder, resume=True)
    assert (content(folder) == before) is not added
    check_sketch(recognizer, folder)
    assert content(folder).keys() == read_manifest(folder).files


@pytest.mark.parametrize("two_stage", [False, True])
def test_a_shard_without_a_readable_image(recognizer, crops, tmp_path, monkeypatch, two_stage):
    monkeypatch.setattr("focuscli.tools.gallery.search.candidates_for", lambda k: 1)
    monkeypatch.setattr("focuscli.tools.gallery.search.FIRST_SHARE", 3)
    for number in range(3):
        (crops / f"0{number}.png").write_bytes(b"no image")
    manifest = make(recognizer, crops, tmp_path / "g", size=3)
    assert [count for _, count in manifest.shards] == [0, 2, 3, 2]
    check_sketch(recognizer, tmp_path / "g")
    searcher = Searcher(
        open_gallery(tmp_path / "g"), make_scorer(recognizer.model, recognizer.encode_texts(recognizer.model.texts))
    )
    (hits,) = search(searcher, [Query((0,))], 7, two_stage=two_stage)
    assert len(hits) == (1 if two_stage else 7)


def test_nothing_to_do_changes_nothing_and_encodes_nothing(recognizer, crops, tmp_path, monkeypatch):
    make(recognizer, crops, tmp_path / "g")
    before = content(tmp_path / "g")
    monkeypatch.setattr(index_module, "encode_crops", None)
    make(recognizer, crops, tmp_path / "g", resume=True)
    assert content(tmp_path / "g") == before


def test_a_folder_that_moved_is_still_the_same(recognizer, crops, tmp_path, monkeypatch):
    make(recognizer, crops, tmp_path / "g")
    moved = crops.rename(tmp_path / "elsewhere")
    monkeypatch.setattr(index_module, "encode_crops", None)
    make(recognizer, moved, tmp_path / "g", resume=True)
    gallery = open_gallery(tmp_path / "g")
    assert all(path.exists() for path in gallery.paths(np.arange(10)))


@pytest.mark.parametrize("kind", ["tokens.npy", "crops.jsonl", "json"])
def test_a_damaged_shard_is_encoded_again(recognizer, crops, tmp_path, kind):
    make(recognizer, crops, tmp_path / "g")
    before = content(tmp_path / "g")
    name = read_manifest(tmp_path / "g").shards[1][0]
    (tmp_path / "g" / f"{name}.{kind}").write_bytes(before[f"{name}.{kind}"][:-5])
    job = prepare_index(recognizer, find_source(str(crops)), tmp_path / "g", resume=True, shard_size=4)
    assert len(job.damaged) == 1
    assert name in job.damaged[0]
    assert job.plan.to_encode == 4
    run_index(recognizer, job, batch=3, workers=1)
    assert content(tmp_path / "g") == before


@pytest.mark.parametrize("kind", ["sketch", "norms", "floors"])
def test_a_damaged_sketch_is_made_again_without_encoding(recognizer, crops, tmp_path, monkeypatch, kind):
    make(recognizer, crops, tmp_path / "g")
    before = content(tmp_path / "g")
    file = next((tmp_path / "g").glob(f"000001-*.{kind}.npy"))
    os.truncate(file, file.stat().st_size - 8)
    monkeypatch.setattr(index_module, "encode_crops", lambda *_args, **_options: pytest.fail("encoded"))
    make(recognizer, crops, tmp_path / "g", resume=True)
    assert content(tmp_path / "g") == before


def test_a_shard_that_is_encoded_again_is_sketched_again(recognizer, crops, tmp_path):
    """Its features may differ in their last digits, as those of another device do."""
    make(recognizer, crops, tmp_path / "g")
    before = content(tmp_path / "g")
    tokens, norms = (next((tmp_path / "g").glob(f"000001-*.{kind}.npy")) for kind in ("tokens", "norms"))
    os.truncate(tokens, 200)
    np.save(norms, np.load(norms) * 2)
    make(recognizer, crops, tmp_path / "g", resume=True)
    assert content(tmp_path / "g") == before


def test_files_of_others_in_the_folder_stay(recognizer, crops, tmp_path):
    make(recognizer, crops, tmp_path / "g")
    (tmp_path / "g" / "hits.png").write_bytes(b"mine")
    (tmp_path / "g" / "basis-notes.txt").write_bytes(b"mine")
    (tmp_path / "g" / "000001-0123456789ab.txt").write_bytes(b"mine")
    make(recognizer, crops, tmp_path / "g", resume=True)
    for name in ("hits.png", "basis-notes.txt", "000001-0123456789ab.txt"):
        assert (tmp_path / "g" / name).read_bytes() == b"mine"


class Member(Alone):
    """One of two processes that take turns here: the other one's part is done first by another call."""

    def __init__(self, rank):
        self.is_main = rank == 0
        self.rank = rank

    def shard(self, items):
        return items[self.rank :: 2]

    def broadcast(self, choose):
        return choose() if self.is_main else None

    def barrier(self):
        if not self.is_main:
            raise Killed  # it would meet the first one here, which this process cannot play


def test_a_team_writes_the_same_files(recognizer, crops, tmp_path):
    make(recognizer, crops, tmp_path / "whole")
    job = prepare_index(recognizer, find_source(str(crops)), tmp_path / "g", shard_size=4)
    write_first = Member(0)
    shutil.rmtree(tmp_path / "g", ignore_errors=True)
    (tmp_path / "g").mkdir()
    with pytest.raises(Killed):
        run_index(recognizer, job, batch=3, workers=1, team=Member(1))
    run_index(recognizer, job, batch=3, workers=1, team=write_first)
    half = {name for name in content(tmp_path / "whole") if name not in content(tmp_path / "g")}
    assert half  # sketches of the other one's shards, after the second meeting
    make(recognizer, crops, tmp_path / "g", resume=True)
    assert content(tmp_path / "g") == content(tmp_path / "whole")


@pytest.mark.parametrize("resume", [False, True])
def test_a_plan_that_another_run_has_outdated_is_not_carried_out(recognizer, crops, tmp_path, resume):
    if resume:
        make(recognizer, crops, tmp_path / "g")
        (crops / "06.png").unlink()
    job = prepare_index(recognizer, find_source(str(crops)), tmp_path / "g", shard_size=4, resume=resume)
    make(recognizer, crops, tmp_path / "g", resume=resume)
    before = content(tmp_path / "g")
    with pytest.raises(InputError, match="changed by another focus index") as caught:
        run_index(recognizer, job)
    assert "--resume" in caught.value.hint
    assert content(tmp_path / "g") == before


@pytest.mark.parametrize("method", ["poar", "clip-ft"])
def test_other_methods_have_no_sketch(build, crops, tmp_path, method):
    manifest = make(build(method), crops, tmp_path / "g")
    assert manifest.basis is None
    assert manifest.tokens == (2 if method == "poar" else 1)
    check_features(build(method), tmp_path / "g")


def test_vtb_is_refused(build, crops, tmp_path):
    with pytest.raises(UsageError, match="vtb cannot search"):
        make(build("vtb"), crops, tmp_path / "g")
    assert not (tmp_path / "g").exists()


def test_what_exists_is_not_touched_without_resume(recognizer, crops, tmp_path):
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "thesis.tex").write_text("all of it")
    with pytest.raises(InputError, match="exists already"):
        make(recognizer, crops, tmp_path / "g")
    with pytest.raises(InputError, match="no gallery"):
        make(recognizer, crops, tmp_path / "g", resume=True)
    assert [file.name for file in (tmp_path / "g").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("resume", [False, True])
def test_what_is_in_the_way_is_named(recognizer, crops, tmp_path, resume):
    make(recognizer, crops, tmp_path / "g")
    if not resume:
        with pytest.raises(InputError, match="exists already") as caught:
            make(recognizer, crops, tmp_path / "g")
        assert "--resume" in caught.value.hint
    (tmp_path / "g" / "gallery.json").unlink()
    before = content(tmp_path / "g")
    with pytest.raises(InputError, match=r"gallery\.json.* is missing") as caught:
        make(recognizer, crops, tmp_path / "g", resume=resume)
    assert "another folder" in caught.value.hint
    assert content(tmp_path / "g") == before
    with pytest.raises(InputError, match="is a file"):
        make(recognizer, crops, crops / "00.png", resume=resume)


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_killed_before_its_first_manifest_is_nothing(recognizer, crops, tmp_path, resume):
    (tmp_path / "g").mkdir()
    for name in (".gallery.json.x.tmp", ".gallery.lock"):
        (tmp_path / "g" / name).write_bytes(b"half")
    assert make(recognizer, crops, tmp_path / "g", resume=resume).crops == 10
    assert content(tmp_path / "g").keys() == read_manifest(tmp_path / "g").files


def test_only_one_run_writes_to_a_gallery(recognizer, crops, tmp_path):
    make(recognizer, crops, tmp_path / "g")
    draw(crops / "20.png", 8)
    before = content(tmp_path / "g")
    seen = []

    def another(done, total):
        with pytest.raises(InputError, match=r"Another focus index is writing to .*g; nothing was changed") as caught:
            make(recognizer, crops, tmp_path / "g", resume=True)
        seen.append(caught.value.hint)

    make(recognizer, crops, tmp_path / "g", resume=True, progress=another)
    assert "--resume" in seen[0]
    assert before.keys() < content(tmp_path / "g").keys() == read_manifest(tmp_path / "g").files


def test_resume_of_nothing_begins(recognizer, crops, tmp_path):
    assert make(recognizer, crops, tmp_path / "g", resume=True).crops == 10


def test_another_checkpoint_precision_or_folder_is_refused(recognizer, build, crops, tmp_path):
    make(recognizer, crops, tmp_path / "g")
    before = content(tmp_path / "g")
    with pytest.raises(InputError, match="another checkpoint") as caught:
        make(build(seed=1), crops, tmp_path / "g", resume=True)
    assert f"-c {recognizer.folder}" in caught.value.hint
    with pytest.raises(InputError, match="begun in fp32") as caught:
        make(build(precision="bf16"), crops, tmp_path / "g", resume=True)
    assert "--precision fp32" in caught.value.hint
    (tmp_path / "others").mkdir()
    draw(tmp_path / "others" / "x.png", 3)
    with pytest.raises(InputError, match=r"10 crops of .*crops, and none of them is in others"):
        make(recognizer, tmp_path / "others", tmp_path / "g", resume=True)
    assert content(tmp_path / "g") == before


def test_a_full_disk_is_noticed_before_anything_is_encoded(recognizer, crops, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(index_module.shutil, "disk_usage", lambda _: usage(10, 9, 1))
    with pytest.raises(RequirementError, match="GiB free"):
        make(recognizer, crops, tmp_path / "g")
    assert not (tmp_path / "g").exists()


def test_no_readable_image_at_all_is_an_error(recognizer, tmp_path):
    (tmp_path / "crops").mkdir()
    (tmp_path / "crops" / "a.png").write_bytes(b"no")
    with pytest.raises(InputError, match="None of 1 images"):
        make(recognizer, tmp_path / "crops", tmp_path / "g")
    with pytest.raises(InputError, match="holds no crop"):
        open_gallery(tmp_path / "g")


def test_features_beyond_half_precision_are_refused(build, crops, tmp_path):
    recognizer = build()
    with torch.no_grad():
        recognizer.model.clip.visual.proj.mul_(1e6)
    with pytest.raises(InputError, match="half precision"):
        make(recognizer, crops, tmp_path / "g")


def changed(text, **values):
    """A manifest with other values."""
    return json.dumps(json.loads(text) | values)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text[:-30], "damaged"),
        (lambda text: text.replace('"format": 2', '"format": 1'), "format 2"),
        (lambda text: json.dumps({"format": 2, "crops": 3}), "damaged"),
        (lambda text: "[]", "damaged"),
        (lambda text: changed(text, source=None), "source"),
        (lambda text: changed(text, source=7), "source"),
        (lambda text: changed(text, source={"kind": "folder", "name": "x", "split": ""}), "no root"),
        (lambda text: changed(text, source={"kind": "folder", "root": None, "name": "x", "split": ""}), "root"),
        (lambda text: json.dumps({key: value for key, value in json.loads(text).items() if key != "source"}), "source"),
        (lambda text: changed(text, tokens="6"), "tokens"),
        (lambda text: changed(text, tokens=0), "tokens"),
        (lambda text: changed(text, complete="no"), "complete"),
        (lambda text: changed(text, basis="../basis.safetensors"), "basis"),
        (lambda text: changed(text, shards=2 * json.loads(text)["shards"]), "twice"),
        (lambda text: changed(text, shards=[["../g/000000-0123456789ab", 4]]), "shards"),
        (lambda text: changed(text, shards=[["000000-0123456789ab", -4]]), "shards"),
        (lambda text: changed(text, model={"method": "focus"}), "model"),
    ],
)
def test_a_damaged_manifest_is_named(recognizer, crops, tmp_path, damage, words):
    make(recognizer, crops, tmp_path / "g")
    file = tmp_path / "g" / "gallery.json"
    file.write_text(damage(file.read_text()))
    with pytest.raises(InputError, match=words) as caught:
        open_gallery(tmp_path / "g")
    assert "gallery.json" in caught.value.problem
    assert "\n" not in caught.value.problem


def test_a_folder_that_is_no_gallery(tmp_path):
    with pytest.raises(InputError, match="no gallery") as caught:
        open_gallery(tmp_path)
    assert "focus index" in caught.value.hint

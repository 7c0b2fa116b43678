"""`focus prepare`: what it shows, where it writes, and that it writes nothing when it must not."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from focuscli.data.folder import read_folder
from focuscli.data.readers import peta
from focuscli.storage import paths


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A CSV of six images with two attributes and a person each, beside its images."""
    folder = tmp_path / "source"
    folder.mkdir()
    lines = ["image,split,person,hat,upperBodyVNeck"]
    for number in range(6):
        Image.new("RGB", (8, 16), (40 * number, 10, 10)).save(folder / f"{number}.png")
        lines.append(f"{number}.png,{('train', 'val', 'test')[number // 2]},p{number % 3},{number % 2},{number // 3}")
    path = folder / "mine.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def everything(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_counts_are_shown_beside_the_published_ones(focus, tmp_path, monkeypatch):
    source, target = tmp_path / "source", paths.datasets_dir() / "peta"
    outcome = focus("prepare", "synthetic", "--as", "peta", "--images", 30, "--out", source)
    assert outcome.stdout.splitlines()[-1] == f"next: focus prepare peta {source}"
    monkeypatch.setitem(peta.PUBLISHED, "official", counts := {"train": 15, "val": 3, "test": 12})
    outcome = focus("prepare", "peta", source)
    assert (outcome.code, outcome.stdout) == (0, "")
    lines = outcome.stderr.splitlines()
    assert lines[:3] == [
        "  synthetic (peta layout)  30 images · 105 attributes, 35 evaluated, 70 more kept",
        "  train 15 · val 3 · test 12      published 15 / 3 / 12  ✓",
        "  labels from PETA.mat",
    ]
    assert [line[:2] for line in lines[3:-2]] == ["  "] * 2 + ["! "] * (len(lines) - 7)
    assert lines[-2].startswith(f"  wrote {target}  ")
    assert lines[-1] == "  next: focus train --dataset peta"
    values = focus("prepare", "peta", source, "--force", "--json").json
    assert (values["path"], values["counts"], values["published"]) == (str(target), counts, counts)
    assert values["name"] == "synthetic (peta layout)"  # in whatever folder: these are no real people
    assert "peta, synthetic (peta layout)" in focus("datasets").stdout
    target.rename(tmp_path / "moved")
    assert read_folder(tmp_path / "moved").name == "synthetic (peta layout)"
    mini = focus("prepare", "synthetic", "--images", 20, "--out", tmp_path / "mini", "--json").json
    assert mini["name"] == "mini"
    assert [f"! {warning}" for warning in values["warnings"]] == lines[5:-2]
    assert (values["images"], values["attributes"], values["evaluated"], values["dry_run"]) == (30, 105, 35, False)
    monkeypatch.setitem(peta.PUBLISHED, "official", {"train": 15, "val": 3, "test": 13})
    other = focus("prepare", "peta", source, "--force").stderr
    assert "✗ differs" in other
    assert "✓" not in other
    # warnings show also with --quiet
    quiet = focus("prepare", "peta", source, "--split", "identity", "--out", tmp_path / "own", "--dry-run", "-q").stderr
    assert {line[0] for line in quiet.splitlines()} == {"!"}
    assert not (tmp_path / "own").exists()


REFUSED = [
    (["peta", "nowhere"], 3, "There is no folder"),
    (["peta", ".", "--split", "official:9"], 2, 'Unknown split "official:9"'),
    (["pa100k", "nowhere"], 3, "There is no annotation.mat in nowhere"),
    (["rapv1", "nowhere"], 3, "RAP_annotation.mat"),
    (["rapv1", ".", "--labels-only", "--allow-missing"], 2, "exclude each other"),
    (["rapv2", ".", "--split", "identity"], 2, "zs:FILE"),
    (["csv", "{folder}/mien.csv"], 3, "Did you mean {folder}/mine.csv?"),
    (["csv", "{folder}"], 3, "Name the CSV file in it."),
    (["csv", "{folder}/mine.csv", "--true", "no", "--false", "No"], 3, "cannot mean both"),
    (["csv", "{folder}/mine.csv", "--out", "{folder}", "--force"], 3, "holds the source"),
    (["csv", "{folder}/mine.csv", "--out", "{folder}/own", "--name", "own"], 2, "exclude each other"),
    (["csv", "{folder}/mine.csv", "--name", "a/b"], 2, "is not the name of a dataset"),
    (["csv", "{folder}/mine.csv", "--name", ".."], 2, "is not the name of a dataset"),
    (["synthetic", "--as", "peta", "--name", "own"], 2, "--out FOLDER"),
    (["pickle", "{folder}/mine.pkl"], 3, "There is no file {folder}/mine.pkl"),
    (["pickle", "{folder}/mine.csv"], 3, "mine.csv is not a usable"),
    (["pickle", "{folder}/0.png"], 3, "is an image, not a pickle"),
    (["market1501", "{folder}"], 3, "There is no market_attribute.mat"),
    (["csv", "{folder}/mine.csv", "--encoding", "utf-99"], 2, 'Unknown encoding "utf-99"'),
    (["csv", "{folder}/mine.csv", "--classes", "ha"], 3, "Did you mean hat?"),
    (["csv", "{folder}/0.png"], 3, "is an image, not a table of labels"),
    (["csv", "{folder}/wrong.csv"], 3, 'line 4, column "hat": "yes" is not 0 or 1'),
    (["synthetic", "--style", "moonlight"], 2, "street"),
    (["synthetic", "--images", "3"], 2, "20"),
    (["synthetic", "--as", "rapv9"], 2, "rapv1"),
    (["weights", "{folder}/mine.csv"], 3, "mine.csv"),
    (["weights", "{folder}/missing.pt"], 3, "missing.pt"),
]


@pytest.mark.parametrize(("arguments", "code", "words"), REFUSED)
def test_refusals_name_the_way_out_and_write_nothing(refused, table, tmp_path, arguments, code, words):
    table.with_name("wrong.csv").write_text(table.read_text().replace("2.png,val,p2,0", "2.png,val,p2,yes"))
    before = everything(tmp_path)
    given = (argument.format(folder=table.parent) for argument in arguments)
    refused(code, words.format(folder=table.parent), "prepare", *given)
    assert everything(tmp_path) == before
    assert not paths.datasets_dir().exists()


def test_csv_becomes_a_dataset_by_the_name_of_the_file_or_its_folder(focus, refused, micro, table):
    outcome = focus("prepare", "csv", table)
    lines = outcome.stderr.splitlines()[2:-2]
    assert [" ".join(line.split()) for line in lines[:3]] == [
        "present / absent / unknown all train val test",
        "hat 3 / 3 / 0 1 / 1 / 0 1 / 1 / 0 1 / 1 / 0",
        "upperBodyVNeck 3 / 3 / 0 0 / 2 / 0 1 / 1 / 0 2 / 0 / 0",
    ]
    assert lines[3:5] == [
        "  schema.toml is guessed from the names of the columns; read it before you train",
        "! 2 of 2 known persons in test, with 2 of 2 test images, are also in train or val.",
    ]
    assert [line.split(":")[0] for line in lines[6:]] == [
        "! No positive labels",
        "! No negative labels",
        "! Splits of fewer than 10 images (train 2, val 2, test 2)",
    ]
    trained = focus("train", "--dataset", "mine", *micro, "--dry-run").stderr.splitlines()
    assert set(lines[6:]) <= set(trained)
    assert focus("prepare", "csv", table, "--json", "--dry-run", "--out", "x").json["labels"]["hat"]["val"] == {
        "present": 1,
        "absent": 1,
        "unknown": 0,
    }
    assert "next: focus train --dataset mine" in outcome.stderr
    folder = read_folder(paths.resolve_dataset("mine"))
    assert folder.schema.name == "mine"
    attributes = [(attribute.name, attribute.region, attribute.phrase) for attribute in folder.schema.attributes]
    assert attributes == [("hat", "head", "hat"), ("upperBodyVNeck", "upper", "upper body V neck")]
    assert folder.labels.tolist() == [[number % 2, number // 3] for number in range(6)]
    assert folder.root == table.parent
    assert (folder.path / "schema.toml").read_text().startswith("# Guessed from the names of the columns")
    (table.parent / "2.png").unlink()
    (table.parent / "3.png").write_bytes(b"no image")
    table = table.rename(table.with_name("labels.csv"))
    outcome = focus("prepare", "csv", table, "--strict", "--json")
    assert outcome.code == outcome.json["error"]["code"] == 3
    assert "(2.png: No such file or directory; 3.png: not an image" in outcome.json["error"]["message"]
    assert focus("prepare", "csv", table).code == 0
    folder = read_folder(paths.datasets_dir() / "source")
    skipped = (folder.path / "skipped.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in skipped] == ["image", "2.png", "3.png"]
    assert folder.images == ("0.png", "1.png", "4.png", "5.png")
    assert folder.labels.tolist() == [[number % 2, number // 3] for number in (0, 1, 4, 5)]
    assert folder.counts == {"train": 2, "test": 2}
    assert folder.info["skipped"] == 2
    assert folder.info["warnings"][-1].endswith("they are excluded. See skipped.csv.")
    for image in table.parent.glob("*.png"):
        image.unlink()
    (table.parent / "0.png").touch()
    refused(3, "6 of 6 images", "prepare", "csv", table, "--force")


def test_a_name_is_a_place_and_a_wrong_source_is_said_before_it(focus, refused, table):
    assert focus("prepare", "csv", table, "--name", "ours").code == 0
    assert read_folder(paths.datasets_dir() / "ours").schema.name == "ours"
    refused(3, "exists already", "prepare", "csv", table, "--name", "ours")
    table.write_text(table.read_text().replace("0.png,train,p0,0", "0.png,train,p0,maybe"))
    refused(3, '"maybe" is not 0 or 1', "prepare", "csv", table, "--name", "ours")
    refused(3, "There is no annotation.mat", "prepare", "pa100k", table.parent, "--name", "ours")


def test_words_may_be_listed_or_repeated_and_empty(focus, table):
    table.write_text(table.read_text().replace("p0,0", "p0,").replace("p1,1", "p1,ja").replace("p2,0", "p2,nein"))
    words = ("--true", "ja,1", "--false", "nein", "--false", "0", "--unknown", "")
    folder = focus("prepare", "csv", table, *words, "--json", "--dry-run", "--out", "x").json
    assert folder["labels"]["hat"]["all"] == {"present": 3, "absent": 2, "unknown": 1}
    assert folder["labels"]["upperBodyVNeck"]["all"] == {"present": 3, "absent": 3, "unknown": 0}


def test_missing_images_are_refused_excluded_or_not_needed(focus, refused, micro, tmp_path):
    source, out = tmp_path / "source", paths.datasets_dir() / "rapv1"
    assert focus("prepare", "synthetic", "--as", "rapv1", "--images", 30, "--out", source).code == 0
    prepare = ("prepare", "rapv1", source, "--force")
    assert " of Female, " in focus(*prepare).stderr
    complete = read_folder(out)
    for name in complete.images[:3]:
        (source / "RAP_dataset" / name).unlink()
    outcome = refused(3, "3 of 30 images of rapv1 are missing", *prepare)
    assert "--allow-missing" in outcome.stderr
    (source / "RAP_dataset").rename(source / "elsewhere")
    refused(3, "--labels-only", *prepare, "--allow-missing")
    assert read_folder(out).fingerprint == complete.fingerprint
    outcome = focus(*prepare, "--allow-missing", "--images", source / "elsewhere")
    assert "! 3 of 30 images of rapv1 are missing in" in outcome.stderr
    folder = read_folder(out)
    assert folder.images == complete.images[3:]
    assert folder.labels.tolist() == complete.labels[3:].tolist()
    assert folder.image_path(0).is_file()
    assert "next: focus eval --open-domain --target rapv1" in focus(*prepare, "--labels-only").stderr
    assert read_folder(out).fingerprint == complete.fingerprint
    refused(3, "--labels-only", "train", "--dataset", "rapv1", "--run", tmp_path / "run", *micro)


def test_a_dry_run_writes_nothing_and_nothing_is_replaced_without_force(focus, table, tmp_path):
    command = ("prepare", "csv", table, "--out", out := tmp_path / "own")
    start = everything(tmp_path)
    outcome = focus(*command, "--dry-run")
    assert f"dry run: nothing was written to {out}" in outcome.stderr
    assert "next:" not in outcome.stderr
    assert everything(tmp_path) == start
    assert f"next: focus train --dataset {out}" in focus(*command).stderr
    before = {path: path.read_bytes() for path in out.iterdir()}
    table.write_text(table.read_text().replace("0.png,train,p0,0", "0.png,train,p0,1"))
    for more, code in (((), 3), (("--dry-run",), 3), (("--force", "--dry-run"), 0)):
        outcome = focus(*command, *more)
        assert outcome.code == code
        assert ("--force" in outcome.stderr) == (code > 0)
        assert {path: path.read_bytes() for path in out.iterdir()} == before
    assert focus(*command, "--force").code == 0
    assert read_folder(out).labels[0].tolist() == [1, 0]


def test_what_comes_next_works_after_a_cd(focus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = focus("prepare", "synthetic", "--images", 20, "--out", "my crops").stderr
    assert f"next: focus train --dataset '{tmp_path}/my crops'\n" in shown
    shown = focus("prepare", "synthetic", "--images", 20, "--home", tmp_path / "other").stderr
    assert f"next: focus train --dataset {tmp_path}/other/datasets/synthetic\n" in shown

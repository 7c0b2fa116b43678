"""`focus prepare`: what it shows, where it writes, and that it writes nothing when it must not."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from PIL import Image

from focuscli.data.folder import read_folder
from focuscli.data.prepare import PrepareReport
from focuscli.errors import InputError
from focuscli.storage import paths


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A CSV of six images with two attributes and a person each, beside its images."""
    folder = tmp_path / "source"
    folder.mkdir()
    lines = ["image,person,hat,backpack"]
    for number in range(6):
        Image.new("RGB", (8, 16), (40 * number, 10, 10)).save(folder / f"{number}.png")
        lines.append(f"{number}.png,p{number},{number % 2},{number // 3}")
    path = folder / "mine.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def everything(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.fixture
def peta_call(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Replace the preparation of PETA; what it was called with lands in the returned dictionary."""
    seen: dict[str, object] = {}

    def fake(name: str, source: Path, out: Path, **options: object) -> PrepareReport:
        seen.update(name=name, source=source, out=out, **options)
        counts = {"train": 9500, "val": 1900, "test": 7600}
        published = {"train": 9500, "val": 1900, "test": 7600 + int(source.name == "other")}
        return PrepareReport(
            out, "peta", 19000, 105, 35, counts, published, ["persons [shared]"], ["from PETA.mat"], 4.1
        )

    monkeypatch.setattr("focuscli.data.prepare.prepare_official", fake)
    return seen


def test_peta_shows_its_counts_beside_the_published_ones(focus, peta_call):
    outcome = focus("prepare", "peta", "download")
    assert outcome.code == 0
    assert outcome.stdout == ""
    target = paths.datasets_dir() / "peta"
    assert outcome.stderr.splitlines() == [
        "  peta  19,000 images · 105 attributes, 35 evaluated, 70 more kept",
        "  train 9,500 · val 1,900 · test 7,600      published 9,500 / 1,900 / 7,600  ✓",
        "  from PETA.mat",
        "! persons [shared]",
        f"  wrote {target}       4.1 s",
        "  next: focus train --dataset peta",
    ]
    assert peta_call["out"] == target
    assert (peta_call["split"], peta_call["overwrite"], peta_call["on_bad_image"]) == ("official:0", False, "error")


def test_peta_that_differs_from_the_published_counts_says_so(focus, peta_call):
    outcome = focus("prepare", "peta", "other")
    assert "✗ differs" in outcome.stderr
    assert "✓" not in outcome.stderr


def test_peta_options_reach_the_library(focus, peta_call, tmp_path):
    out = tmp_path / "elsewhere"
    outcome = focus(
        "prepare", "peta", "x", "--out", out, "--split", "identity", "--force", "--on-bad-image", "skip", "-q"
    )
    assert outcome.code == 0
    assert outcome.stderr == "! persons [shared]\n"  # a warning for readers of figures shows also with --quiet
    assert peta_call["out"] == out
    assert (peta_call["split"], peta_call["overwrite"], peta_call["on_bad_image"]) == ("identity", True, "skip")


def test_peta_as_json_is_one_object(focus, peta_call):
    outcome = focus("prepare", "peta", "x", "--json")
    assert outcome.json["path"] == str(paths.datasets_dir() / "peta")
    assert outcome.json["counts"] == {"train": 9500, "val": 1900, "test": 7600}
    assert outcome.json["warnings"] == ["persons [shared]"]


def test_peta_that_is_not_there(focus, tmp_path):
    outcome = focus("prepare", "peta", tmp_path / "nowhere")
    assert outcome.code == 3
    assert "nowhere" in outcome.stderr
    assert not paths.datasets_dir().exists()


def test_an_unknown_split_is_a_usage_error(focus, tmp_path):
    outcome = focus("prepare", "peta", tmp_path, "--split", "official:9")
    assert outcome.code == 2
    assert "official:9" in outcome.stderr
    assert "official:4" in outcome.stderr


def test_csv_becomes_a_dataset_by_the_name_of_the_file(focus, table):
    outcome = focus("prepare", "csv", table)
    assert outcome.code == 0
    assert "next: focus train --dataset mine" in outcome.stderr
    folder = read_folder(paths.resolve_dataset("mine"))
    assert len(folder.images) == 6
    assert folder.labels.sum(axis=0).tolist() == [3, 3]


def test_csv_called_labels_takes_the_name_of_its_folder(focus, table):
    table.rename(table.with_name("labels.csv"))
    assert focus("prepare", "csv", table.with_name("labels.csv")).code == 0
    assert (paths.datasets_dir() / "source" / "schema.toml").is_file()


def test_csv_to_a_folder_of_ones_own_is_named_by_that_folder(focus, table, tmp_path):
    out = tmp_path / "own"
    outcome = focus("prepare", "csv", table, "--out", out)
    assert outcome.code == 0
    assert f"next: focus train --dataset {out}" in outcome.stderr
    assert (out / "labels.csv").is_file()


def test_nothing_is_replaced_without_force(focus, table, tmp_path):
    out = tmp_path / "own"
    assert focus("prepare", "csv", table, "--out", out).code == 0
    before = {path: path.read_bytes() for path in out.iterdir()}
    table.write_text(table.read_text().replace("0.png,p0,0", "0.png,p0,1"))
    outcome = focus("prepare", "csv", table, "--out", out)
    assert outcome.code == 3
    assert "--force" in outcome.stderr
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    assert focus("prepare", "csv", table, "--out", out, "--force").code == 0
    assert read_folder(out).labels.sum() == 7


@pytest.mark.parametrize("flags", [(), ("--force",)])
def test_a_dry_run_reports_and_writes_nothing(focus, table, tmp_path, flags, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    before = everything(tmp_path)
    outcome = focus("prepare", "csv", table, "--out", tmp_path / "own", "--dry-run", *flags)
    assert outcome.code == 0
    assert f"dry run: nothing was written to {tmp_path / 'own'}" in outcome.stderr
    assert "  own  6 images" in outcome.stderr
    assert "next:" not in outcome.stderr
    assert everything(tmp_path) == before
    assert not paths.datasets_dir().exists()


def test_a_dry_run_stops_where_the_real_run_would(focus, table, tmp_path):
    assert focus("prepare", "csv", table, "--out", tmp_path / "own").code == 0
    assert focus("prepare", "csv", table, "--out", tmp_path / "own", "--dry-run").code == 3
    (tmp_path / "source" / "3.png").write_bytes(b"no image")
    outcome = focus("prepare", "csv", table, "--dry-run", "--json")
    assert outcome.code == outcome.json["error"]["code"] == 3
    assert "3.png" in outcome.json["error"]["message"]


def test_a_wrong_cell_names_its_place_and_leaves_nothing(focus, table, tmp_path):
    table.write_text(table.read_text().replace("2.png,p2,0", "2.png,p2,yes"))
    before = everything(tmp_path)
    outcome = focus("prepare", "csv", table, "--out", tmp_path / "own")
    assert outcome.code == 3
    assert 'line 4, column "hat": "yes"' in outcome.stderr
    assert "--true yes" in outcome.stderr
    assert everything(tmp_path) == before


def test_bad_images_can_be_left_out(focus, table, tmp_path):
    (tmp_path / "source" / "3.png").write_bytes(b"no image")
    out = tmp_path / "own"
    assert focus("prepare", "csv", table, "--out", out).code == 3
    assert not out.exists()
    outcome = focus("prepare", "csv", table, "--out", out, "--on-bad-image", "skip")
    assert outcome.code == 0
    assert "5 images" in outcome.stderr
    assert "3.png" in (out / "skipped.csv").read_text()


def test_a_table_that_is_not_there_is_named_with_the_nearest(focus, table, tmp_path):
    outcome = focus("prepare", "csv", table.with_name("mien.csv"))
    assert outcome.code == 3
    assert "mien.csv" in outcome.stderr
    assert f"Did you mean {table}?" in outcome.stderr
    assert "is a folder" in focus("prepare", "csv", tmp_path).stderr


def test_synthetic_is_drawn_by_seed(focus, tmp_path):
    arguments = ["prepare", "synthetic", "--images", "24", "--seed", "3", "--style", "night", "-q", "--out"]
    for name in "ab":
        assert focus(*arguments, tmp_path / name).code == 0
    first, second = (read_folder(tmp_path / name) for name in "ab")
    assert first.fingerprint == second.fingerprint
    assert first.image_path(0).read_bytes() == second.image_path(0).read_bytes()


def test_synthetic_refuses_an_unknown_style_and_too_few_images(focus):
    outcome = focus("prepare", "synthetic", "--style", "moonlight")
    assert outcome.code == 2
    assert "street" in outcome.stderr
    assert focus("prepare", "synthetic", "--images", "3").code == 2
    assert not paths.datasets_dir().exists()


@pytest.mark.parametrize("as_json", [True, False])
def test_weights_show_what_was_installed(focus, monkeypatch, as_json):
    from focuscli.storage import weights

    calls = []

    def fake(source, *, force, progress):
        calls.append((source, force))
        progress(5, None)  # a server that does not say how much will come
        return weights.InstalledWeights(Path("/w/x.pt"), "ab" * 32, "OpenAI", 302, "quick_gelu", "the archive")

    monkeypatch.setattr(weights, "install_weights", fake)
    outcome = focus("prepare", "weights", "x.pt", "--force", *(["--json"] if as_json else []))
    assert outcome.code == 0
    assert calls == [("x.pt", True)]
    if as_json:
        assert (outcome.json["sha256"], outcome.json["tensors"]) == ("ab" * 32, 302)
    else:
        assert outcome.stdout.splitlines()[-1] == "wrote /w/x.pt"


def test_weights_that_are_none(focus, tmp_path):
    file = tmp_path / "notes.pt"
    file.write_text("no weights")
    assert focus("prepare", "weights", file).code == 3
    assert focus("prepare", "weights", tmp_path / "missing.pt").code == 3
    assert not list(paths.weights_dir().glob("*"))


def test_an_error_of_the_library_keeps_its_code(focus, monkeypatch):
    def broken(*_arguments, **_options):
        raise InputError("PETA [broken] here.", "mend it")

    monkeypatch.setattr("focuscli.data.prepare.prepare_official", broken)
    outcome = focus("prepare", "peta", "x")
    assert outcome.code == 3
    assert outcome.stderr.splitlines() == ["error: PETA [broken] here.", "hint:  mend it"]


@pytest.mark.parametrize("as_json", [True, False])
def test_ctrl_c_while_writing_says_so_and_leaves_nothing(focus, monkeypatch, tmp_path, as_json):
    from focuscli.storage.files import atomic_folder

    def interrupted(out, **_options):
        with atomic_folder(out, overwrite=False) as folder:
            (folder / "labels.csv").touch()
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("focuscli.data.synthetic.prepare_synthetic", interrupted)
    out = tmp_path / "drawn"
    outcome = focus("prepare", "synthetic", "--out", out, *(["--json"] if as_json else []))
    assert outcome.code == 130
    if as_json:
        assert outcome.json["error"] == {"code": 130, "message": "Interrupted.", "hint": None}
    else:
        assert outcome.stderr == "error: Interrupted.\n"
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["peta", "pa100k", "rapv1"])
def test_drawn_official_downloads_go_all_the_way(focus, micro, tmp_path, monkeypatch, kind):
    """Draw in the official structure, prepare by the official reader, train, evaluate, look."""
    monkeypatch.setenv("FOCUS_HOME", str(tmp_path / "home"))
    source, run = tmp_path / "drawn", tmp_path / "run"
    assert focus("prepare", "synthetic", "--as", kind, "--images", 60, "--out", source).code == 0
    outcome = focus("prepare", kind, source)
    assert outcome.code == 0, outcome.stderr
    assert focus("train", "--dataset", kind, "--run", run, *micro, "--epochs", 1).code == 0
    outcome = focus("eval", "-c", run, "--json")
    assert outcome.code == 0, outcome.stderr
    assert outcome.json["dataset"] == kind
    image = next(path for path in source.rglob("*.[pj][np]g"))
    assert focus("viz", image, "backpack", "-c", run, "-o", tmp_path / "map.png").code == 0


def test_labels_only_is_refused_where_pixels_are_needed(focus, micro, tmp_path, monkeypatch):
    monkeypatch.setenv("FOCUS_HOME", str(tmp_path / "home"))
    source = tmp_path / "drawn"
    assert focus("prepare", "synthetic", "--as", "rapv1", "--images", 40, "--out", source).code == 0
    assert focus("prepare", "rapv1", source, "--labels-only").code == 0
    outcome = focus("train", "--dataset", "rapv1", "--run", tmp_path / "run", *micro)
    assert outcome.code == 3
    assert "--labels-only" in outcome.stderr
    assert focus("schema", "check", "rapv1").code == 0
    assert focus("prepare", "rapv1", source, "--labels-only", "--allow-missing", "--force").code == 2

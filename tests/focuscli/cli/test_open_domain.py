"""`focus eval --open-domain`: one target, the matrix, and what is refused before an image is read."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from focuscli.cli.open_views import _labels
from focuscli.data.folder import read_folder, write_folder
from focuscli.data.schema import Attribute, AttributeSchema, Group


def schema(*attributes: tuple[str, str], name: str = "target", complements: tuple[str, ...] = ("none",), **more):
    return AttributeSchema(
        name=name,
        groups=(Group(name="things", complements=complements),),
        attributes=tuple(
            Attribute(name=phrase, phrase=phrase, region=region, category="thing", group="things")
            for phrase, region in attributes
        ),
        **more,
    )


@pytest.fixture
def make_target(tmp_path, coloured_dataset):
    """A function that writes a dataset of the coloured crops under another schema."""
    crops = read_folder(coloured_dataset)

    def build(declared: AttributeSchema, folder: str = "target", seed: int = 0):
        declared = declared.model_copy(update={"image_root": str(crops.root)})
        labels = np.random.default_rng(seed).random((72, len(declared.attributes))) < 0.4
        write_folder(
            tmp_path / folder,
            declared,
            crops.images,
            crops.splits,
            crops.persons,
            labels.astype(np.int8),
            overwrite=False,
        )
        return tmp_path / folder

    return build


def test_one_target_as_a_table(focus, trained_run, make_target):
    target = make_target(schema(("red hat", "head"), ("scarf", "head"), ("boots", "foot")))
    outcome = focus("eval", "-c", trained_run, "--open-domain", "--target", target, "--per-attribute")
    assert outcome.code == 0, outcome.stderr
    lines = [" ".join(line.split()) for line in outcome.stdout.splitlines()]
    header = next(line for line in lines if line.startswith("group texts"))
    assert "chance R@1 chance R@2 majority R@1 majority R@2 majority macro R@1 majority answer" in header
    assert next(line for line in lines if line.startswith("things")).split()[1:4] == ["4", "1", "16"]
    assert any(line.startswith("red hat red hat things head trained its own") for line in lines)
    assert any(line.startswith("boots boots things foot never mean of 3 (all, region unseen)") for line in lines)
    assert any(" trained 1 " in line for line in lines)
    assert any(" never trained 2 " in line for line in lines)
    assert "protocol corrected" in lines[0]
    assert "from scratch" in outcome.stdout
    assert "regions never trained (foot)" in outcome.stderr
    assert (trained_run / "eval" / "open-domain-target-test-corrected-best.json").is_file()


def test_json_is_one_object_equal_to_the_file(focus, trained_run, make_target):
    target = make_target(schema(("red hat", "head"), ("scarf", "head")))
    outcome = focus("eval", "-c", trained_run, "--open-domain", "--target", target, "--json")
    (report,) = outcome.json["reports"]
    assert set(report["recall"]) == set(report["chance"]) == set(report["blind"]) == {"things", "mean"}
    assert report["macro"]["mean"]["R@1"] is not None
    assert report["protocol"] == "corrected"
    assert report["decisions"]["recall_at_2"] == "any"
    saved = json.loads((trained_run / "eval" / "open-domain-target-test-corrected-best.json").read_text())
    assert saved == report


def test_several_sources_and_targets_make_the_matrix(focus, trained_run, make_target, tmp_path):
    second = tmp_path / "runs" / "second"
    shutil.copytree(trained_run, second)
    targets = [
        make_target(schema(("red hat", "head"), ("scarf", "head"), name="one"), "one"),
        make_target(schema(("long tail", "head"), name="two"), "two"),
    ]
    sources = ["-c", trained_run, "-c", second, "-c", second]
    outcome = focus("eval", *sources, "--open-domain", "--target", targets[0], "--target", targets[1])
    assert outcome.code == 0, outcome.stderr
    lines = [" ".join(line.split()) for line in outcome.stdout.splitlines()]
    start = next(number for number, line in enumerate(lines) if line.startswith("source one R@1"))
    assert lines[start] == "source one R@1 one R@2 one macro R@1 two R@1 two R@2 two macro R@1"
    rows = [line.split()[0] for line in lines[start + 1 : start + 5]]
    assert rows == ["coloured", "coloured", "chance", "majority"]
    assert "coloured (second)" in lines[start + 2]
    figures = lines[start + 1].split(")")[1].split()
    alone = focus("eval", "-c", trained_run, "--open-domain", "--target", targets[1], "--json").json["reports"][0]
    assert figures[3] == f"{100 * alone['recall']['mean']['R@1']:.2f}"
    assert lines[start + 4].split()[4] == f"{100 * alone['blind']['mean']['R@1']:.2f}"
    written = {path.name for path in (second / "eval").glob("open-domain-*")}
    assert {f"open-domain-{name}-test-corrected-best.json" for name in ("one", "two")} <= written


def test_without_targets_all_prepared_datasets_are_taken_and_the_unfit_named(
    focus, trained_run, make_target, coloured_dataset, tmp_path, monkeypatch
):
    monkeypatch.setenv("FOCUS_HOME", str(tmp_path / "home"))
    empty = focus("eval", "-c", trained_run, "--open-domain")
    assert empty.code == 3
    assert "--target" in empty.stderr
    make_target(schema(("red hat", "head"), ("scarf", "head")), "home/datasets/good")
    make_target(schema(("scarf", "head"), complements=()), "home/datasets/lonely")
    make_target(schema(("scarf", "tail"), regions=("tail",)), "home/datasets/tail")
    outcome = focus("eval", "-c", trained_run, "--open-domain", "--json")
    assert outcome.code == 0, outcome.stderr
    assert [report["target_folder"] for report in outcome.json["reports"]] == [str(tmp_path / "home/datasets/good")]
    assert "one text only" in outcome.stderr
    assert "tail; trained: head, lower" in outcome.stderr


def without_images(folder, *, declared: bool):
    """Point a dataset at a place without images."""
    text = (folder / "schema.toml").read_text()
    root = next(line for line in text.splitlines() if line.startswith("image_root"))
    (folder / "schema.toml").write_text(text.replace(root, 'image_root = "nowhere"'))
    if declared:
        info = json.loads((folder / "prepare.json").read_text())
        (folder / "prepare.json").write_text(json.dumps({**info, "labels_only": True}))


def test_targets_of_labels_alone_need_no_model(focus, make_target, tmp_path, monkeypatch):
    monkeypatch.setenv("FOCUS_RUNS", str(tmp_path / "none"))
    bare = make_target(schema(("red hat", "head"), ("scarf", "head"), name="bare"), "bare")
    pictured = make_target(schema(("cap", "head")), "pictured")
    without_images(bare, declared=True)
    outcome = focus("eval", "--open-domain", "--target", bare, "--json")
    assert outcome.code == 0, outcome.stderr
    report = outcome.json["reports"][0]
    assert report["source"] is None
    assert 0 < report["chance"]["mean"]["R@1"] <= report["blind"]["mean"]["R@1"]
    for targets in (["--target", bare, "--target", pictured], []):
        refused = focus("eval", "--open-domain", *targets)
        assert refused.code == 4
        assert "No trained model" in refused.stderr


def test_a_target_of_labels_alone_has_chance_and_blind_and_needs_no_row(focus, trained_run, make_target):
    declared = schema(("red hat", "head"), ("scarf", "head"), name="bare")
    bare, good = make_target(declared, "bare"), make_target(schema(("cap", "head")), "good")
    pixels = focus("eval", "-c", trained_run, "--open-domain", "--target", bare, "--json").json["reports"][0]
    without_images(bare, declared=True)
    alone = focus("eval", "-c", trained_run, "--open-domain", "--target", bare)
    assert alone.code == 0, alone.stderr
    assert "labels alone" in alone.stderr
    assert "group   texts  trained  images  chance R@1" in alone.stdout
    outcome = focus("eval", "-c", trained_run, "--open-domain", "--target", bare, "--target", good)
    lines = [line.split() for line in outcome.stdout.splitlines() if line]
    start = next(number for number, line in enumerate(lines) if line[0] == "source")
    assert [line[0] for line in lines[start + 1 : start + 4]] == ["coloured", "chance", "majority"]
    assert lines[start + 1][-3:] == ["-", "-", "-"]
    assert lines[start + 3][-3] == f"{100 * pixels['blind']['mean']['R@1']:.2f}"


def test_images_that_should_be_there_are_missed(focus, trained_run, make_target):
    target = make_target(schema(("red hat", "head"), ("scarf", "head")))
    without_images(target, declared=False)
    outcome = focus("eval", "-c", trained_run, "--open-domain", "--target", target)
    assert outcome.code == 3
    assert "None of the 16 test images" in outcome.stderr
    assert "image_root" in outcome.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["--open-domain", "--protocol", "fair"], 2, "corrected, poar"),
        (["--open-domain", "--protocol", "poar"], 3, "peta, pa100k, rapv1"),
        (["--open-domain", "--group", "hats"], 2, "Known: things"),
        (["--open-domain", "--split", "west"], 3, "west"),
        (["--open-domain", "--threshold", "oracle"], 2, "--threshold goes with closed-set"),
        (["--open-domain", "--require", "mA>=3"], 2, "--require"),
        (["--open-domain", "-c", "nothing"], 3, "nothing"),
        ([], 2, "--target goes with --open-domain"),
    ],
)
def test_refusals(focus, trained_run, make_target, arguments, code, word):
    target = make_target(schema(("red hat", "head"), ("scarf", "head")))
    outcome = focus("eval", "-c", trained_run, "--target", target, *arguments)
    assert outcome.code == code
    assert word in outcome.stderr
    assert outcome.stdout == ""


def test_refusals_of_targets_come_before_any_image_is_read(focus, trained_run, make_target, monkeypatch):
    from focuscli.evaluation import open_domain

    def never(*_args, **_more):
        raise AssertionError("scored")

    monkeypatch.setattr(open_domain.Recognizer, "score_files", never)
    good = make_target(schema(("red hat", "head"), ("scarf", "head")), "good")
    for folder, declared, word in (
        ("lonely", schema(("scarf", "head"), complements=()), 'complements = ["..."]'),
        ("tail", schema(("scarf", "tail"), regions=("tail",)), "no learned prompt fits"),
    ):
        bad = make_target(declared, folder)
        outcome = focus("eval", "-c", trained_run, "--open-domain", "--target", good, "--target", bad)
        assert outcome.code == 3
        assert word in outcome.stderr


def test_several_checkpoints_are_for_the_matrix_only(focus, trained_run):
    outcome = focus("eval", "-c", trained_run, "-c", trained_run)
    assert outcome.code == 2
    assert "--open-domain" in outcome.stderr


@pytest.mark.parametrize("mode", [[], ["--open-domain"]])
def test_another_state_of_the_trained_data_is_refused_with_the_way_out(
    focus, trained_run, coloured_dataset, tmp_path, mode
):
    """Its test images may have been trained on: nothing in the figures would show it."""
    changed = tmp_path / "changed"
    shutil.copytree(coloured_dataset, changed)
    labels = changed / "labels.csv"
    labels.write_text(
        labels.read_text().replace(",test,", ",swap,").replace(",val,", ",test,").replace(",swap,", ",val,")
    )
    option = ["--target", changed] if mode else ["-d", changed]
    outcome = focus("eval", "-c", trained_run, *mode, *option)
    assert outcome.code == 3
    assert "another state of coloured" in outcome.stderr
    assert "--other-data" in outcome.stderr
    assert str(coloured_dataset) in outcome.stderr
    assert focus("eval", "-c", trained_run, *mode, *option, "--other-data").code == 0
    assert focus("eval", "-c", trained_run, *mode, option[0], coloured_dataset).code == 0


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ([("a", "/x/a"), ("b", "/x/b")], ["a", "b"]),
        ([("a", "/x/a"), ("a", "/x/a")], ["a", "a"]),
        ([("a", "/x/one"), ("a", "/x/two"), ("b", "/x/b")], ["a: one", "a: two", "b"]),
        ([("a", "/x/one"), ("a", "/y/one")], ["a: /x/one", "a: /y/one"]),
    ],
)
def test_names_in_tables_tell_things_apart(named, expected):
    assert _labels(named) == expected

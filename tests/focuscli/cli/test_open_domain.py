"""`focus eval --open-domain`: one target, the matrix, and what is refused before an image is read."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from focuscli.data.schema import Attribute, AttributeSchema, Group

HEADS = (("red hat", "head"), ("scarf", "head"))


@pytest.fixture
def make_target(crops_as):
    """make_target(name, (phrase, region)...): a dataset of the coloured crops with other attributes and random labels."""

    def build(name: str, *attributes: tuple[str, str], complements: tuple[str, ...] = ("none",), **more: object):
        things = tuple(
            Attribute(name=phrase, phrase=phrase, region=region, category="thing", group="things")
            for phrase, region in attributes
        )
        groups = (Group(name="things", complements=complements),)
        schema = AttributeSchema(name=name.rpartition("/")[2], groups=groups, attributes=things, **more)
        return crops_as(schema, np.random.default_rng(0).random((72, len(things))) < 0.4, name).path

    return build


def remove_images(folder, *, declared: bool):
    """Point a dataset at a folder without images; `declared`: as one that was prepared from labels alone."""
    text = (folder / "schema.toml").read_text()
    root = next(line for line in text.splitlines() if line.startswith("image_root"))
    (folder / "schema.toml").write_text(text.replace(root, 'image_root = "nowhere"'))
    if declared:
        info = json.loads((folder / "prepare.json").read_text())
        (folder / "prepare.json").write_text(json.dumps({**info, "labels_only": True}))


def rows_of(outcome) -> list[str]:
    return [" ".join(line.split()) for line in outcome.stdout.splitlines()]


def test_one_target_as_a_table_a_file_and_json(focus, trained_run, make_target):
    target = make_target("target", *HEADS, ("boots", "foot"))
    outcome = focus("eval", "-c", trained_run, "--open-domain", "--target", target, "--per-attribute")
    assert outcome.code == 0, outcome.stderr
    lines = rows_of(outcome)
    header = next(line for line in lines if line.startswith("group texts"))
    assert "chance R@1 chance R@2 majority R@1 majority R@2 majority macro R@1 majority answer" in header
    for start in (
        "things 4 1 16 ",
        "red hat red hat things head trained its own",
        "boots boots things foot never mean of 3 (all, region unseen)",
        "coloured (coloured) target never trained 2 ",
    ):
        assert any(line.startswith(start) for line in lines), start
    assert "from scratch" in outcome.stdout
    assert "regions never trained (foot)" in outcome.stderr
    (report,) = focus("eval", "-c", trained_run, "--open-domain", "--target", target, "--json").json["reports"]
    assert set(report["recall"]) == set(report["chance"]) == set(report["blind"]) == {"things", "mean"}
    assert report["decisions"]["recall_at_2"] == "any"
    saved = json.loads((trained_run / "eval" / "open-domain-target-test-corrected-best.json").read_text())
    assert saved == report


def test_several_sources_and_targets_make_the_matrix(focus, trained_run, make_target, tmp_path):
    second = tmp_path / "runs" / "second"
    shutil.copytree(trained_run, second)
    targets = [make_target("one", *HEADS), make_target("two", ("long tail", "head"))]
    sources = ["-c", trained_run, "-c", second, "-c", second]
    outcome = focus("eval", *sources, "--open-domain", "--target", targets[0], "--target", targets[1])
    assert outcome.code == 0, outcome.stderr
    lines = rows_of(outcome)
    start = lines.index("source one R@1 one R@2 one macro R@1 two R@1 two R@2 two macro R@1")
    rows = lines[start + 1 : start + 5]
    assert [row.split()[0] for row in rows] == ["coloured", "coloured", "chance", "majority"]
    assert "coloured (second)" in rows[1]
    alone = focus("eval", "-c", trained_run, "--open-domain", "--target", targets[1], "--json").json["reports"][0]
    assert rows[0].split(")")[1].split()[3] == f"{100 * alone['recall']['mean']['R@1']:.2f}"
    assert rows[3].split()[4] == f"{100 * alone['blind']['mean']['R@1']:.2f}"
    written = {path.name for path in (second / "eval").glob("open-domain-*")}
    assert {f"open-domain-{name}-test-corrected-best.json" for name in ("one", "two")} <= written


def test_without_targets_all_prepared_datasets_are_taken_and_the_unfit_named(
    focus, refused, trained_run, make_target, tmp_path, monkeypatch
):
    monkeypatch.setenv("FOCUS_HOME", str(tmp_path / "home"))
    refused(3, "--target", "eval", "-c", trained_run, "--open-domain")
    good = make_target("home/datasets/good", *HEADS)
    make_target("home/datasets/lonely", ("scarf", "head"), complements=())
    make_target("home/datasets/tail", ("scarf", "tail"), regions=("tail",))
    outcome = focus("eval", "-c", trained_run, "--open-domain", "--json")
    assert outcome.code == 0, outcome.stderr
    assert [report["target_folder"] for report in outcome.json["reports"]] == [str(good)]
    assert "one text only" in outcome.stderr
    assert "tail; trained: head, lower" in outcome.stderr


def test_targets_of_labels_alone_have_the_baselines_and_need_no_model(
    focus, refused, trained_run, make_target, tmp_path, monkeypatch
):
    bare, good = make_target("bare", *HEADS), make_target("good", ("cap", "head"))
    pixels = focus("eval", "-c", trained_run, "--open-domain", "--target", bare, "--json").json["reports"][0]
    remove_images(bare, declared=True)
    alone = focus("eval", "-c", trained_run, "--open-domain", "--target", bare)
    assert alone.code == 0, alone.stderr
    assert "labels alone" in alone.stderr
    assert any(row.startswith("group texts trained images chance R@1") for row in rows_of(alone))
    rows = rows_of(focus("eval", "-c", trained_run, "--open-domain", "--target", bare, "--target", good))
    start = next(number for number, row in enumerate(rows) if row.startswith("source "))
    model, chance, majority = (row.split() for row in rows[start + 1 : start + 4])
    assert (model[0], chance[0], majority[0]) == ("coloured", "chance", "majority")
    assert model[-3:] == ["-", "-", "-"]
    assert majority[-3] == f"{100 * pixels['blind']['mean']['R@1']:.2f}"
    monkeypatch.setenv("FOCUS_RUNS", str(tmp_path / "none"))
    (report,) = focus("eval", "--open-domain", "--target", bare, "--json").json["reports"]
    assert report["source"] is None
    assert 0 < report["chance"]["mean"]["R@1"] <= report["blind"]["mean"]["R@1"]
    for targets in (["--target", bare, "--target", good], []):
        refused(4, "No trained model", "eval", "--open-domain", *targets)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
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
def test_refusals(refused, trained_run, make_target, arguments, code, words):
    refused(code, words, "eval", "-c", trained_run, "--target", make_target("target", *HEADS), *arguments)


def test_targets_are_refused_before_any_image_is_read(refused, trained_run, make_target, monkeypatch):
    from focuscli.inference.recognizer import Recognizer

    monkeypatch.setattr(Recognizer, "score_files", lambda *_args, **_more: pytest.fail("scored"))
    good, gone = make_target("good", *HEADS), make_target("gone", *HEADS)
    remove_images(gone, declared=False)
    for bad, words in (
        (make_target("lonely", ("scarf", "head"), complements=()), 'complements = ["..."]'),
        (make_target("tail", ("scarf", "tail"), regions=("tail",)), "no learned prompt fits"),
        (gone, "None of the 16 test images of gone"),
    ):
        refused(3, words, "eval", "-c", trained_run, "--open-domain", "--target", good, "--target", bad)

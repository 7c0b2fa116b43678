"""What a search found, as files and pictures show it."""

from __future__ import annotations

import pytest

from focuscli.errors import UsageError
from focuscli.tools.gallery import found as module
from focuscli.tools.gallery.found import as_json, look, recall_lines, records_of, rows_of
from focuscli.tools.gallery.sheet import Entry


@pytest.fixture
def found(recognizer, gallery):
    """A function (wanted texts of each query, ...) that searches for three crops of each."""
    return lambda *wanted, unwanted=(), **options: look(recognizer, gallery, wanted, unwanted, 3, **options)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"two_stage": True}, "--two-stage"),
        ({"check_recall": True}, "--check-recall"),
        ({"two_stage": True, "check_recall": True}, "--two-stage and --check-recall"),
    ],
)
def test_what_needs_a_sketch_is_refused_before_anything_is_searched(
    build, features, store, tmp_path, monkeypatch, options, names
):
    poar = build("poar")
    gallery = store(tmp_path / "gallery", poar, features(20, len(poar.model.token_names)), 8)
    monkeypatch.setattr(module, "search", lambda *_, **__: pytest.fail("it was searched"))
    with pytest.raises(UsageError, match="has no sketch") as caught:
        look(poar, gallery, [["hat"]], [], 3, **options)
    assert caught.value.hint.startswith(f"Leave {names} out")


def test_recall_is_with_every_crop_of_its_query_when_asked_for(found, monkeypatch):
    shares = iter([1.0, 2 / 3])
    monkeypatch.setattr(module, "recall", lambda quick, exact: next(shares))
    asked = found(["hat"], ["red scarf"], check_recall=True)
    assert [item["recall"] for item in as_json(asked)] == [1.0] * 3 + [0.6667] * 3
    assert recall_lines(asked) == [
        "hat: two stages find 100.0% of the exact 3",
        "red scarf: two stages find 66.7% of the exact 3",
    ]
    plain = found(["hat"])
    assert not any("recall" in item for item in as_json(plain))
    assert recall_lines(plain) == []


def test_several_queries_share_one_header(found):
    several = found(["hat"], ["red scarf"], unwanted=["blue jeans"])
    header, *lines = records_of(several, each=True)
    assert header == ["query", "rank", "match", "score", "not blue jeans", "image"]
    items = [*as_json(several)]
    assert [line[0] for line in lines] == ["hat, not blue jeans"] * 3 + ["red scarf, not blue jeans"] * 3
    assert [int(line[1]) for line in lines] == [item["rank"] for item in items] == [1, 2, 3, 1, 2, 3]
    assert [float(line[2]) for line in lines] == [item["match"] for item in items]
    assert [float(line[3]) for line in lines] == [item["scores"][item["query"][0]] for item in items]
    assert [float(line[4]) for line in lines] == [item["scores"]["blue jeans"] for item in items]
    assert [line[5] for line in lines] == [item["image"] for item in items]


def test_one_query_for_all_texts_has_a_column_for_each(found):
    header, *lines = records_of(found(["hat", "red scarf"]), each=False)
    assert header == ["rank", "match", "hat", "red scarf", "image"]
    assert all(len(line[2].partition(".")[2]) == 4 for line in lines)


@pytest.mark.parametrize(
    ("wanted", "unwanted", "expected"),
    [
        (["rank", "image", "score"], [], ["rank (text)", "image (text)", "score"]),
        (["match", "hat"], [], ["match (text)", "hat"]),
        (["not hat"], ["hat"], ["not hat", "not hat (text)"]),
    ],
)
def test_a_text_that_is_called_as_a_column_is_told_apart(found, wanted, unwanted, expected):
    result = found(wanted, unwanted=unwanted)
    names = ["rank", "match", *expected, "image"]
    assert records_of(result, each=False)[0] == names
    assert rows_of(result.answers[0])[0] == names


def test_the_sheet_has_the_match_of_each_crop(found, recognizer, monkeypatch):
    drawn: list[Entry] = []
    original = module.contact_sheet
    monkeypatch.setattr(
        module, "contact_sheet", lambda entries, **more: drawn.extend(entries) or original(entries, **more)
    )
    result = found(["hat", "red scarf"])
    module.draw(result, recognizer)
    assert [entry.match for entry in drawn] == [f"match {item['match']:.3f}" for item in as_json(result)]

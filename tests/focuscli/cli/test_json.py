"""--json means one thing: one JSON object on stdout, whose metrics are fractions."""

from __future__ import annotations

import pytest


@pytest.fixture
def places(trained_run, coloured_dataset, crops, tmp_path):
    return {"RUN": trained_run, "DATA": coloured_dataset, "CROP": crops / "000.png", "CROPS": crops, "TMP": tmp_path}


@pytest.mark.parametrize(
    ("line", "keys"),
    [
        ("predict CROP -c RUN", {"images", "count", "skipped"}),
        ("predict CROP -c RUN -o TMP/x.csv", {"written", "count", "skipped"}),
        ("viz CROP hat --free -c RUN -o TMP/x.png", {"picture", "images"}),
        ("eval -c RUN", {"metrics", "attributes"}),
        ("eval -c RUN --open-domain --target DATA", {"reports"}),
        ("train -d DATA --model tiny --weights none --run TMP/run --dry-run", {"run", "steps", "dry_run"}),
        ("train -d DATA --print-config", {"config", "origins"}),
        ("export -c RUN -o TMP/x.onnx --dry-run", {"files", "dry_run"}),
        ("schema show DATA", {"attributes"}),
        ("schema check DATA", {"images"}),
        ("config show train", {"train.epochs"}),
        ("doctor", {"checks"}),
        ("bench --model tiny --batch 1 --rounds 1 --no-train --precision fp32 -o TMP/bench.json", {"results"}),
        ("help train", {"help"}),
        ("prepare", {"help"}),
        ("--version", {"version"}),
    ],
)
def test_json_is_one_object(focus, places, line, keys):
    words = []
    for word in line.split():
        place, slash, name = word.partition("/")
        words.append(f"{places[place]}{slash}{name}" if place in places else word)
    outcome = focus(*words, "--json")
    assert (outcome.code, outcome.stdout.count("\n")) == (0, 1), outcome.stderr
    assert keys <= outcome.json.keys()
    assert all(0 <= value <= 1 for value in outcome.json.get("metrics", {}).values() if value is not None)


@pytest.mark.parametrize("format_", ["table", "csv", "jsonl"])
def test_a_format_of_rows_is_refused_beside_json(focus, places, format_):
    outcome = focus("predict", places["CROP"], "-c", places["RUN"], "--format", format_, "--json")
    assert (outcome.code, outcome.json["error"]["code"]) == (2, 2)


def test_gallery_and_results_are_one_object_each(focus, places, tmp_path):
    gallery = tmp_path / "gallery"
    assert focus("index", places["CROPS"], "-o", gallery, "-c", places["RUN"], "--json").json["crops"] == 72
    found = focus("search", gallery, "red hat", "-k", 3, "--json").json
    assert [row["rank"] for row in found["results"]] == [1, 2, 3]
    assert focus("search", gallery, "red hat", "-o", tmp_path / "x.csv", "--json").json["written"]

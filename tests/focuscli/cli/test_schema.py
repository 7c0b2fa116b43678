"""`focus schema show|check|diff`."""

from __future__ import annotations

from focuscli.data.schema import builtin_schema

BROKEN = 'name = "x"\n[[attribute]]\nname = "a"\nphrase = "hat"\nregion = "haed"\ncategory = "c"\ngroup = "g"\n'


def test_show(focus):
    outcome = focus("schema", "show", "pa100k")
    assert outcome.code == 0
    assert "two-coloured top" in outcome.stdout
    assert "26 attributes, 26 evaluated" in outcome.stdout
    assert focus("schema", "show", "pa100k", "--json").json["fingerprint"] == builtin_schema("pa100k").fingerprint()
    assert "not evaluated" not in focus("schema", "show", "rapv1", "--evaluated").stdout
    assert "not evaluated" in focus("schema", "show", "rapv1").stdout


def test_diff(focus):
    outcome = focus("schema", "diff", "peta", "pa100k", "--json")
    assert outcome.code == 0
    seen = {entry["phrase"] for entry in outcome.json["seen"]}
    new = {entry["phrase"] for entry in outcome.json["new"]}
    assert {"backpack", "trousers", "female", "male"} <= seen
    assert {"glasses", "seen from behind"} <= new
    assert not seen & new
    assert "are trained on peta" in focus("schema", "diff", "peta", "pa100k").stdout


def test_check(focus, coloured_dataset, tmp_path):
    assert "sound" in focus("schema", "check", "peta").stdout
    assert "labels.csv with" in focus("schema", "check", coloured_dataset).stdout
    assert focus("schema", "check", coloured_dataset, "--json").json["images"] == 72
    (tmp_path / "schema.toml").write_text(BROKEN)
    for name, words in ((tmp_path / "schema.toml", 'unknown region "haed"'), ("nowhere", "nowhere")):
        outcome = focus("schema", "check", name)
        assert outcome.code == 3
        assert words in outcome.stderr

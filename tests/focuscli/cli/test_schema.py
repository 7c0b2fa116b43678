"""`focus schema show|check|diff`."""

from __future__ import annotations

from focuscli.data.schema import builtin_schema, dump_schema

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
    assert "texts of pa100k: 13 trained on peta, 20 new" in focus("schema", "diff", "peta", "pa100k").stdout


def test_check(focus, coloured_dataset, tmp_path):
    assert "sound" in focus("schema", "check", "peta").stdout
    assert "labels.csv with" in focus("schema", "check", coloured_dataset).stdout
    assert focus("schema", "check", coloured_dataset, "--json").json["images"] == 72
    hand = tmp_path / "hand"
    hand.mkdir()
    schema = builtin_schema("pa100k").model_copy(
        update={"attributes": builtin_schema("pa100k").attributes[:1], "groups": ()}
    )
    name = schema.attributes[0].name
    (hand / "schema.toml").write_text(dump_schema(schema))
    (hand / "labels.csv").write_bytes(
        f"image,split,person,{name}\r\nb\\0.png,train,,1\r\nb\\1.png,test,,0\r\n".encode()
    )
    outcome = focus("schema", "check", hand)
    assert (outcome.code, "2 of 2 images" in outcome.stderr, "image_root" in outcome.stderr) == (3, True, True)
    (hand / "b").mkdir()
    (hand / "b/0.png").touch()
    (hand / "b/1.png").touch()
    outcome = focus("schema", "check", hand)
    assert (outcome.code, "Splits of fewer than 10 images" in outcome.stderr) == (0, True)
    (hand / "b/1.png").unlink()
    (hand / "b/1.png").symlink_to("0.png")
    assert "is the same file as" in focus("schema", "check", hand).stderr
    (tmp_path / "schema.toml").write_text(BROKEN)
    for name, words in ((tmp_path / "schema.toml", 'unknown region "haed"'), ("nowhere", "nowhere")):
        outcome = focus("schema", "check", name)
        assert outcome.code == 3
        assert words in outcome.stderr

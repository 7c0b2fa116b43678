"""Whatever is wrong with a JSON or TOML file is one error that names it."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from focuscli.errors import InputError
from focuscli.storage import documents
from focuscli.storage.documents import checked, read_json, read_toml


@pytest.mark.parametrize("read", [read_json, read_toml])
@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"{",
        b"\xff\xfe",
        b'{"a":' * 99_999,
        b"a = " + b"[" * 99_999,
        b"a = " + b"9" * 9999,
        b"9" * 9999,
        b"\0",
        b"a." * 9**6 + b"b = 1",
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, read, content):
    file = tmp_path / "file"
    if content is not None:
        file.write_bytes(content)
    if read is read_toml and content == b"":
        assert read(file) == {}
        return
    with pytest.raises(InputError, match=str(file)) as caught:
        read(file, "Do this.")
    assert caught.value.hint == "Do this."


def test_a_file_without_end_is_read_to_a_limit(monkeypatch):
    monkeypatch.setattr(documents, "MAX_BYTES", 10)
    with pytest.raises(InputError, match="larger than"):
        read_json("/dev/zero")


def test_a_value_of_another_form_is_named_by_its_place(tmp_path):
    class Inner(BaseModel):
        number: float

    class Outer(BaseModel):
        inner: list[Inner]

    assert checked(Outer, {"inner": [{"number": 1}]}, tmp_path).inner[0].number == 1
    for number in ("x", None, 10**400):
        with pytest.raises(InputError, match=r"is damaged: inner\.0\.number: "):
            checked(Outer, {"inner": [{"number": number}]}, tmp_path)

"""File names that are no UTF-8."""

from __future__ import annotations

import json
import os

import pytest

from focuscli.storage.encoding import to_json


@pytest.mark.parametrize("indent", [None, 1])
def test_letters_stay_and_names_that_are_no_utf8_are_escaped(indent):
    assert "外套" in to_json({"phrase": "外套"}, indent=indent)
    value = {"image": os.fsdecode(b"caf\xe9.png"), "phrase": "外套"}
    text = to_json(value, indent=indent)
    assert text.isascii()
    assert json.loads(text) == value

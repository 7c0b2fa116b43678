"""metrics.jsonl, good and bad."""

from __future__ import annotations

import pytest

from focuscli.errors import InputError
from focuscli.tools.report.history import read_history


def test_records_come_in_order(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(
        '{"epoch": 1, "loss": 2.5, "val": {"mA": null}}\n\n{"epoch": 2, "loss": 1.5}\n'
    )
    assert [record["loss"] for record in read_history(tmp_path)] == [2.5, 1.5]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "has no metrics.jsonl"),
        ("", "no epoch of this run was finished"),
        ('{"epoch": 1}\n{"epoch": ', "line 2 is not JSON"),
        ('{"epoch": 1}\n[]\n', "line 2 is not an epoch"),
        ('{"step": 1}\n', "line 1 is not an epoch"),
        (b"\xff\xfe", "Cannot read"),
    ],
)
def test_what_cannot_be_read_is_named_with_the_way_out(tmp_path, content, words):
    if content is not None:
        (tmp_path / "metrics.jsonl").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as caught:
        read_history(tmp_path)
    assert words in caught.value.problem
    assert f"focus train --resume --run {tmp_path}" in caught.value.hint

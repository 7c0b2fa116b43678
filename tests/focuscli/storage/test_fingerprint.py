"""Fingerprints change with what determines a model's answers, and with nothing else."""

from __future__ import annotations

import hashlib
import json

import pytest

from focuscli.errors import InputError
from focuscli.storage.fingerprint import checkpoint_fingerprint, fingerprint


def test_the_order_of_keys_does_not_matter():
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1}) != fingerprint({"a": 1, "b": [3]})
    assert fingerprint(["ü"]) == hashlib.sha256(rb'["\u00fc"]').hexdigest()


def test_a_checkpoint_by_what_determines_its_answers(tmp_path):
    state = {
        "files": {"model": "model.bin"},
        "config": {"model": {"tokens": 4}, "data": {"complements": True}, "train": {"seed": 0}},
        "schema": {"name": "a"},
        "thresholds": [0.5],
        "epoch": 3,
    }

    def found(tensors=b"tensors", **changes):
        (tmp_path / "model.bin").write_bytes(tensors)
        (tmp_path / "state.json").write_text(json.dumps({**state, **changes}))
        return checkpoint_fingerprint(tmp_path)

    config = state["config"]
    first = found()
    assert first == found(epoch=4, config={**config, "train": {"seed": 1}})
    others = [
        found(b"other"),
        found(schema={"name": "b"}),
        found(thresholds=[0.4]),
        found(config={**config, "model": {"tokens": 5}}),
        found(config={**config, "data": {"complements": False}}),
    ]
    assert len({first, *others}) == 6
    (tmp_path / "model.bin").unlink()
    with pytest.raises(InputError, match="damaged"):
        checkpoint_fingerprint(tmp_path)

"""The digest at the end of an exported model."""

from __future__ import annotations

import pytest

from focuscli.tools.export.seal import SEAL, is_whole, seal


def test_a_seal_is_metadata_that_others_can_read(onnx_extra, tmp_path):
    import onnx

    path = tmp_path / "sealed.onnx"
    graph = onnx.helper.make_graph([], "empty", [], [])
    onnx.save(onnx.helper.make_model(graph, producer_name="a test"), str(path))
    seal(path)
    found = onnx.load(str(path))
    assert found.producer_name == "a test"
    assert [(entry.key, len(entry.value)) for entry in found.metadata_props] == [(SEAL, 64)]


@pytest.mark.parametrize("place", [0, 500, 1000, -1])
def test_any_changed_byte_breaks_it(tmp_path, place):
    path = tmp_path / "sealed"
    path.write_bytes(bytes(1001))
    seal(path)
    assert is_whole(path)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert not is_whole(path)

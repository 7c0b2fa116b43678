"""Exported graphs against the modules that they were made from: every method, any batch, any texts.

One export takes seconds whatever its size, so that several models share one graph here; each is looked at on its own.
FOCUS with open texts is exported by the command's tests.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from focuscli.data.loader import normalise, to_unit
from focuscli.errors import UsageError
from focuscli.tools.export.card import PIXELS

pytestmark = pytest.mark.usefixtures("onnx_extra")
PLAIN = {"rlp": False, "mgmt": False, "avfe": False}
FIXED = [("focus", {}), ("vtb", PLAIN)]
DYNAMIC = [("focus", {"rlp": False, "avfe": False}), ("clip-ft", PLAIN), ("poar", PLAIN)]
TOWERS = [("focus", {}), *DYNAMIC]


class Together(torch.nn.Module):
    """Models side by side, scores along the text axis: those with fixed texts, then those with open ones, each of which
    has its own input."""

    def __init__(self, fixed, dynamic) -> None:
        super().__init__()
        self.fixed, self.dynamic = torch.nn.ModuleList(fixed), torch.nn.ModuleList(dynamic)

    def forward(self, pixels, first, second, third):
        pairs = zip(self.dynamic, (first, second, third), strict=True)
        scores = [part(pixels) for part in self.fixed] + [part(pixels, features) for part, features in pairs]
        return torch.cat(scores, dim=1)


def run(proto, feed):
    from onnxruntime import InferenceSession

    session = InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feed)[0]


def expected(model, pixels, features):
    with torch.no_grad():
        images = normalise(to_unit(pixels, torch.device("cpu")))
        return model.score(model.encode_image(images).tokens, features).scores.numpy()


def test_every_method_for_any_batch_and_any_number_of_open_texts(model, pixels, texts, unseen, tmp_path):
    from focuscli.tools.export.graph import DynamicScores, FixedScores, to_onnx
    from focuscli.tools.export.passes import folded

    fixed = [model(name, **changes) for name, changes in FIXED]
    dynamic = [model(name, **changes) for name, changes in DYNAMIC]
    module = Together(
        [FixedScores(built, built.encode_texts()) for built in fixed], [DynamicScores(built) for built in dynamic]
    )
    names = ("first", "second", "third")
    inputs = {PIXELS: pixels(2), **dict(zip(names, (built.encode_texts() for built in dynamic), strict=True))}
    free = {PIXELS: {0: "batch"}, **{name: {0: "texts"} for name in names}}
    proto = folded(to_onnx(module, inputs, "scores", free), tmp_path)
    for count, asked in ((1, [*unseen]), (3, [texts[1]]), (3, [*texts, *unseen])):
        crops = pixels(count)
        features = [built.encode_texts(asked) for built in dynamic]
        feed = {name: given.numpy() for name, given in zip(names, features, strict=True)}
        found = run(proto, {PIXELS: crops.numpy(), **feed})
        wanted = [expected(built, crops, built.encode_texts()) for built in fixed]
        wanted += [expected(built, crops, given) for built, given in zip(dynamic, features, strict=True)]
        cuts = np.cumsum([scores.shape[1] for scores in wanted])[:-1]
        for ours, theirs in zip(wanted, np.split(found, cuts, axis=1), strict=True):
            assert theirs.shape == ours.shape
            assert np.abs(ours).max() > 0.1
            assert np.abs(theirs - ours).max() < 1e-4 * np.abs(ours).max()
    assert {opset.domain for opset in proto.opset_import} == {""}
    assert "IsNaN" not in {node.op_type for node in proto.graph.node}
    # Texts are constants: nothing of a text tower is left, least of all the table of its words.
    assert max(np.prod(weight.dims) for weight in proto.graph.initializer) < 49408


@pytest.mark.parametrize(("name", "changes"), TOWERS)
def test_a_text_tower_reads_what_the_model_reads(model, texts, unseen, name, changes):
    """In torch; the graph of one is exported by the command's own test."""
    from focuscli.tools.export.graph import text_tower

    built = model(name, **changes)
    tower, reading = text_tower(built)
    for asked in ([*unseen], [texts[1]], [*texts, *unseen]):
        extra = reading.extra(asked, built.texts)
        inputs = [torch.from_numpy(value) for value in (reading.ids(asked), extra) if value is not None]
        assert torch.allclose(tower(*inputs), built.encode_texts(asked), atol=1e-6)


def test_one_classifier_per_attribute_takes_no_other_texts(model):
    from focuscli.tools.export.graph import text_tower

    with pytest.raises(UsageError, match="Method vtb"):
        text_tower(model("vtb", **PLAIN))


def test_an_axis_that_came_out_fixed_is_told():
    from onnx import TensorProto, helper

    from focuscli.tools.export.graph import check_free

    def graph(first):
        shape = helper.make_tensor_value_info("x", TensorProto.FLOAT, [first, 2])
        return helper.make_model(helper.make_graph([], "g", [shape], [shape]))

    check_free(graph("batch"), {"x": {0: "batch"}})
    check_free(graph(3), {})
    with pytest.raises(RuntimeError, match="axis 0 of x came out as 3"):
        check_free(graph(3), {"x": {0: "batch"}})

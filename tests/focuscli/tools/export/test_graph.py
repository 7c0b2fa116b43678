"""Exported graphs against the modules that they were made from: every method, any batch, any texts.

One export takes seconds whatever its size, so several models share one graph here. FOCUS with open texts is exported by the
tests of the command.
"""

from __future__ import annotations

import copy

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


def test_every_method_for_any_batch_and_any_number_of_texts(model, pixels, texts, unseen, tmp_path):
    from focuscli.tools.export.graph import Scores, fold_constants, for_export, quantise, to_onnx

    fixed = [model(name, **changes) for name, changes in FIXED]
    dynamic = [model(name, **changes) for name, changes in DYNAMIC]
    module = Together(
        [Scores(for_export(built), built.encode_texts()) for built in fixed],
        [Scores(for_export(built)) for built in dynamic],
    )
    names = ("first", "second", "third")
    inputs = {PIXELS: pixels(2), **dict(zip(names, (built.encode_texts() for built in dynamic), strict=True))}
    axes = {PIXELS: {0: "batch"}, **{name: {0: "texts"} for name in names}}
    proto = fold_constants(to_onnx(module, inputs, "scores", axes), tmp_path)
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
    # Every product with weights, which come second, is in int8, the two of the MLP too.
    int8 = quantise(proto, tmp_path)
    weights = {item.name for item in int8.graph.initializer}
    assert "Gemm" not in {node.op_type for node in int8.graph.node}
    assert not [node for node in int8.graph.node if node.op_type == "MatMul" and node.input[1] in weights]
    assert [node.op_type for node in int8.graph.node].count("MatMulInteger") > 2 * len([*fixed, *dynamic])


def test_a_copy_for_export_has_the_factors_of_quick_gelu_in_its_weights(model, pixels):
    from focuscli.tools.export.graph import FoldedMLP, for_export

    built = model("focus")
    before = copy.deepcopy(built.state_dict())
    changed = for_export(built)
    mlp = changed.clip.visual.transformer.resblocks[0].mlp
    assert isinstance(mlp, FoldedMLP)
    x = torch.randn(2, 3, 32)
    torch.testing.assert_close(mlp(x), built.clip.visual.transformer.resblocks[0].mlp(x))
    torch.testing.assert_close(changed.encode_texts(), built.encode_texts())
    assert all(torch.equal(value, before[name]) for name, value in built.state_dict().items())


@pytest.mark.parametrize(("name", "changes"), TOWERS)
def test_a_text_tower_computes_the_models_text_features(model, texts, unseen, name, changes):
    """In torch; the graph of one is exported by the command's own test."""
    from focuscli.tools.export.graph import text_tower

    built = model(name, **changes)
    tower, text_inputs = text_tower(built)
    for asked in ([*unseen], [texts[1]], [*texts, *unseen]):
        extra = text_inputs.extra(asked, built.texts)
        inputs = [torch.from_numpy(value) for value in (text_inputs.ids(asked), extra) if value is not None]
        assert torch.allclose(tower(*inputs), built.encode_texts(asked), atol=1e-6)


def test_one_classifier_per_attribute_takes_no_other_texts(model):
    from focuscli.tools.export.graph import text_tower

    with pytest.raises(UsageError, match="Method vtb"):
        text_tower(model("vtb", **PLAIN))

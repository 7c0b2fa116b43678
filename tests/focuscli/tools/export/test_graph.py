"""Exported graphs against the modules that they were made from. An export takes seconds, so several models share one graph."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clip_impl import CLIP, CLIPConfig, TextConfig, VisionConfig
from focuscli.config import ModelConfig
from focuscli.data.loader import normalise
from focuscli.data.texts import Text
from focuscli.errors import UsageError
from focuscli.models.build import build_method
from focuscli.tools.export.graph import Scores, for_export, quantise, text_tower, to_onnx
from focuscli.tools.export.runtime import PIXELS

PLAIN = {"rlp": False, "mgmt": False, "avfe": False}
FIXED = [("focus", {}), ("vtb", PLAIN)]
DYNAMIC = [("focus", {"rlp": False, "avfe": False}), ("clip-ft", PLAIN), ("poar", PLAIN)]
TEXTS = [
    Text("hat", "head", "accessory", "accessory", attribute="Hat"),
    Text("scarf", "upper", "accessory", "accessory", attribute="Scarf"),
    Text("boots", "foot", "footwear", "footwear", attribute="Boots"),
    Text("trousers", "lower", "clothes", "lower", attribute="Trousers"),
    Text("bare head", "head", "accessory", "accessory"),
]
UNSEEN = [
    Text("a very long green coat", "upper", "clothes", ""),
    Text("dog", "bag", "carrying", ""),
    Text("HAT", "foot", "accessory", ""),
]


class Together(torch.nn.Module):
    """Scores of several models along the text axis: those with fixed texts, then those with an input for their texts."""

    def __init__(self, fixed, dynamic) -> None:
        super().__init__()
        self.fixed, self.dynamic = torch.nn.ModuleList(fixed), torch.nn.ModuleList(dynamic)

    def forward(self, pixels, first, second, third):
        pairs = zip(self.dynamic, (first, second, third), strict=True)
        scores = [part(pixels) for part in self.fixed] + [part(pixels, features) for part, features in pairs]
        return torch.cat(scores, dim=1)


def small_model(name: str, changes):
    """Random weights, all of them away from their initial values: zero biases and identities hide errors."""
    torch.manual_seed(0)
    vision = VisionConfig(image_size=(32, 16), patch_size=8, width=32, layers=1, heads=4)
    clip = CLIP(CLIPConfig(vision, TextConfig(width=32, layers=1, heads=2, context_length=40), embed_dim=16))
    built = build_method(ModelConfig(method=name, preset="tiny", image_size=(32, 16), **changes), clip, tuple(TEXTS))
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return built.eval().requires_grad_(False)


def expected(model, pixels, features):
    images = normalise(pixels, torch.device("cpu"))
    return model.score(model.encode_image(images).tokens, features).scores.numpy()


@pytest.mark.usefixtures("onnx_extra")
def test_every_method_for_any_batch_and_any_number_of_texts(tmp_path):
    from onnxruntime import InferenceSession

    fixed = [small_model(*built) for built in FIXED]
    dynamic = [small_model(*built) for built in DYNAMIC]
    constant = [Scores(for_export(built), built.encode_texts()) for built in fixed]
    module = Together(constant, [Scores(for_export(built)) for built in dynamic])
    names = ("first", "second", "third")
    inputs = {PIXELS: torch.zeros(2, 32, 16, 3, dtype=torch.uint8)}
    inputs |= dict(zip(names, (built.encode_texts() for built in dynamic), strict=True))
    axes = {PIXELS: {0: "batch"}, **{name: {0: "texts"} for name in names}}
    proto = to_onnx(module, inputs, "scores", axes, tmp_path)
    session = InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for count, asked in ((1, UNSEEN), (3, TEXTS[1:2]), (3, TEXTS + UNSEEN)):
        crops = torch.randint(0, 256, (count, 32, 16, 3), dtype=torch.uint8)
        features = [built.encode_texts(asked) for built in dynamic]
        feed = {name: given.numpy() for name, given in zip(names, features, strict=True)}
        found = session.run(None, {PIXELS: crops.numpy(), **feed})[0]
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


@pytest.mark.parametrize("built", [("focus", {}), *DYNAMIC])
def test_a_text_tower_computes_the_models_text_features(built):
    """In torch; the graph of one is exported by the command's own test."""
    model = small_model(*built)
    tower, text_inputs = text_tower(for_export(model))
    for asked in (UNSEEN, TEXTS[1:2], TEXTS + UNSEEN):
        inputs = [text_inputs.ids(asked), text_inputs.extra(asked, model.texts)]
        found = tower(*(torch.from_numpy(value) for value in inputs if value is not None))
        assert torch.allclose(found, model.encode_texts(asked), atol=1e-6)
    with pytest.raises(UsageError, match="Method vtb"):  # it has one classifier per attribute
        text_tower(small_model("vtb", PLAIN))

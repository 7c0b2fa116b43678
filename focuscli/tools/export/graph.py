"""From a PyTorch model to an ONNX graph: uint8 pixels in, normalisation and texts inside, scores out."""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from clip_impl import CLIP
from clip_impl.layers import QUICK_GELU_SLOPE, ResidualAttentionBlock, Transformer
from focuscli.data.loader import normalise
from focuscli.errors import UsageError
from focuscli.models.base import Method
from focuscli.models.focus import FocusModel
from focuscli.models.poar import PoarModel
from focuscli.models.text_inputs import TextInputs

if TYPE_CHECKING:
    import onnx

Module = TypeVar("Module", bound=nn.Module)


class Scores(nn.Module):
    """uint8 pixels [B, H, W, 3] -> scores [B, Z] against text features [Z, F], which are constants or a second input."""

    text_features: Tensor | None

    def __init__(self, model: Method, text_features: Tensor | None = None) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("text_features", text_features)

    def forward(self, pixels: Tensor, texts: Tensor | None = None) -> Tensor:
        features = self.text_features if texts is None else texts
        assert features is not None
        images = normalise(pixels, pixels.device)
        return self.model.score(self.model.encode_image(images).tokens, features).scores.float()


class TextTower(nn.Module):
    """Token ids [Z, L] -> text features: [Z, D], or for POAR [Z, D + K] with `rows` [Z, K] appended.

    With learned prompts (`context` [seen, S, W]), `rows` [Z, seen] are the weights of those of each text.
    """

    def __init__(self, clip: CLIP, context: Tensor | None = None) -> None:
        super().__init__()
        self.clip, self.context = clip, context

    def forward(self, ids: Tensor, rows: Tensor | None = None) -> Tensor:
        words, end = self.clip.token_embedding(ids), (ids != 0).sum(dim=1) - 1
        if self.context is None:
            features = self.clip.encode_text_embeddings(words, end)
            return features if rows is None else torch.cat([features, rows], dim=1)
        context = torch.einsum("zs,smw->zmw", rows, self.context).to(words.dtype)
        words = torch.cat([words[:, :1], context, words[:, 1:]], dim=1)
        return self.clip.encode_text_embeddings(words, end + self.context.shape[1])


def for_export(module: Module) -> Module:
    """A copy of a module that computes the same in operations that export and quantise well.

    QuickGELU: x sigmoid(1.702 x) = silu(1.702 x) / 1.702. `clip_impl.layers.MLP` passes the factors to the matrix products as
    alpha and beta, which onnxruntime's quantiser skips without a warning; here they are multiplied into the weights.

    Attention masks: under a boolean mask the exporter guards a softmax against rows that may attend to nothing, which costs two
    passes over large tensors. Every token attends to itself, so the mask here is added: 0 where a token may attend, else -inf.
    """
    module = copy.deepcopy(module).eval().requires_grad_(False)
    for part in [*module.modules()]:
        if isinstance(part, ResidualAttentionBlock) and part.mlp.activation == "quick_gelu":
            part.mlp.c_fc.weight.mul_(QUICK_GELU_SLOPE)
            part.mlp.c_fc.bias.mul_(QUICK_GELU_SLOPE)
            part.mlp.c_proj.weight.div_(QUICK_GELU_SLOPE)
            part.mlp = nn.Sequential(part.mlp.c_fc, nn.SiLU(), part.mlp.c_proj)  # type: ignore[assignment]
        if isinstance(part, Transformer):
            part.register_forward_pre_hook(_with_additive_mask)
    return module


def _with_additive_mask(_transformer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
    x, mask = (*inputs, None)[:2]
    return None if mask is None else (x, torch.zeros(mask.shape).masked_fill(~mask, -torch.inf))


def text_tower(model: Method) -> tuple[nn.Module, TextInputs]:
    """The text tower of a method as a module of its own, and how its inputs are made from texts.

    Raises:
        UsageError: the method cannot score texts that it was not trained on.
    """
    if not isinstance(model, (FocusModel, PoarModel)):
        raise UsageError(
            f"Method {model.config.method} has one classifier per trained attribute; it takes no other texts.",
            "Export it without --dynamic.",
        )
    prompts = model.prompts if isinstance(model, FocusModel) else model._prompts
    return TextTower(model.clip, prompts.context if prompts.inputs.learned else None), prompts.inputs


def to_onnx(
    module: nn.Module, inputs: Mapping[str, Tensor], output: str, axes: Mapping[str, Mapping[int, str]], folder: Path
) -> onnx.ModelProto:
    """Export a module, with everything computed that depends on constants only, by onnxruntime: texts become the queries of
    the cross-attention, and weights get the layout that the quantiser expects.

    Args:
        inputs: name of an argument of `forward` -> example. output: the name of its result.
        axes: input name -> axis -> name of a dimension that may have any size. folder: for temporary files.
    """
    import onnx
    import onnxruntime

    dims = {name: torch.export.Dim(name) for named in axes.values() for name in named.values()}
    shapes = {name: {axis: dims[dim] for axis, dim in axes.get(name, {}).items()} for name in inputs}
    names: dict[str, Any] = {"input_names": [*inputs], "output_names": [output], "dynamic_shapes": shapes}
    raw, folded = folder / "raw.onnx", folder / "folded.onnx"
    with quiet(), torch.no_grad():
        program = torch.onnx.export(module.eval(), tuple(inputs.values()), None, dynamo=True, verbose=False, **names)
    assert program is not None
    onnx.save(program.model_proto, str(raw))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folded)
    onnxruntime.InferenceSession(str(raw), options, providers=["CPUExecutionProvider"])
    result = onnx.load(str(folded))
    used = {node.domain for node in result.graph.node}
    kept = [opset for opset in result.opset_import if opset.domain in used]  # onnxruntime lists all that it knows
    del result.opset_import[:]
    result.opset_import.extend(kept)
    return result


def quantise(proto: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """The same graph with the weights of its matrix products as 8-bit integers, one scale per output channel, and
    activations quantised at run time (onnxruntime's dynamic quantisation)."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    target = folder / "int8.onnx"
    with quiet():
        quantize_dynamic(proto, target, ["MatMul", "Gemm"], per_channel=True, weight_type=QuantType.QInt8)
    return onnx.load(str(target))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The exporter and the quantiser log to the root logger and warn about their own internals."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)

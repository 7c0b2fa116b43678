"""From a torch model to ONNX graphs: pixels in, normalisation and texts inside, scores out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from focuscli.data.loader import normalise, to_unit
from focuscli.data.schema import Text
from focuscli.data.texts import DESCRIPTION
from focuscli.errors import UsageError
from focuscli.models.base import Method
from focuscli.models.focus import FocusModel
from focuscli.models.poar import TEMPLATES, PoarModel, sentence
from focuscli.models.text_inputs import TextInputs
from focuscli.tools.export.card import IDS, PIXELS, ROWS, SCORES, TEXTS
from focuscli.tools.export.passes import quiet

if TYPE_CHECKING:
    import onnx

Dims = Mapping[str, Mapping[int, str]]
"""Which axes of which inputs are free, by name."""


class FixedScores(nn.Module):
    """uint8 pixels [B, H, W, 3] -> scores [B, Z] against texts that are constants."""

    text_features: Tensor

    def __init__(self, model: Method, text_features: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("text_features", text_features)

    def forward(self, pixels: Tensor) -> Tensor:
        return _scores(self.model, pixels, self.text_features)


class DynamicScores(nn.Module):
    """uint8 pixels [B, H, W, 3] and text features [Z, F] -> scores [B, Z]."""

    def __init__(self, model: Method) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor, texts: Tensor) -> Tensor:
        return _scores(self.model, pixels, texts)


def _scores(model: Method, pixels: Tensor, text_features: Tensor) -> Tensor:
    images = normalise(to_unit(pixels, pixels.device))
    return model.score(model.encode_image(images).tokens, text_features).scores.float()


class PromptedTower(nn.Module):
    """FOCUS's texts: ids [Z, L] and shares of the learned prompts [Z, seen] -> text features [Z, D]."""

    def __init__(self, model: FocusModel) -> None:
        super().__init__()
        self.clip, self.context = model.clip, model.prompts.context

    def forward(self, ids: Tensor, rows: Tensor) -> Tensor:
        words = self.clip.token_embedding(ids)
        context = torch.einsum("zs,smw->zmw", rows, self.context)
        words = torch.cat([words[:, :1], context.to(words.dtype), words[:, 1:]], dim=1)
        return self.clip.encode_text_embeddings(words, (ids != 0).sum(dim=1) - 1 + self.context.shape[1])


class PlainTower(nn.Module):
    """Texts without learned prompts: ids [Z, L] -> text features [Z, D]; with rows, which POAR wants, [Z, D + K]."""

    def __init__(self, model: Method) -> None:
        super().__init__()
        self.clip = model.clip

    def forward(self, ids: Tensor, rows: Tensor | None = None) -> Tensor:
        features = self.clip.encode_text_embeddings(self.clip.token_embedding(ids), (ids != 0).sum(dim=1) - 1)
        return features if rows is None else torch.cat([features, rows], dim=1)


def text_tower(model: Method) -> tuple[nn.Module, TextInputs]:
    """The text tower of a method as a graph of its own, and what it is fed.

    Raises:
        UsageError: the method cannot score texts that it was not trained on.
    """
    context = model.clip.context_length
    if isinstance(model, FocusModel):
        if not model.prompts.enabled:
            return PlainTower(model), TextInputs("{phrase}", context)
        return PromptedTower(model), TextInputs(DESCRIPTION, context, learned=model.prompts.length, rows="prompts")
    if isinstance(model, PoarModel):
        nowhere = Text("", region="", category="", group="")
        return PlainTower(model), TextInputs(
            sentence(Text("{phrase}", "", "", "")).phrase,
            context,
            by_category={category: template.format("{phrase}") for category, template in TEMPLATES.items()},
            rows="tokens",
            token_of_group={group: number for number, group in enumerate(model.groups)},
            token_of_region={region: model.regions.index(region) for region in model.regions},
            other_token=model.token_of(nowhere),
            tokens=len(model.groups),
        )
    raise UsageError(
        f"Method {model.config.method} has one classifier per trained attribute; it takes no other texts.",
        "Export it without --dynamic.",
    )


def fixed_graph(model: Method, text_features: Tensor, image_size: tuple[int, int]) -> onnx.ModelProto:
    """The graph of `FixedScores`; any batch."""
    module = FixedScores(model, text_features.detach().clone())
    return to_onnx(module, {PIXELS: _pixels(image_size)}, SCORES, {PIXELS: {0: "batch"}})


def dynamic_graph(model: Method, text_features: Tensor, image_size: tuple[int, int]) -> onnx.ModelProto:
    """The graph of `DynamicScores`; any batch, any number of texts."""
    inputs = {PIXELS: _pixels(image_size), TEXTS: text_features.detach().clone()}
    return to_onnx(DynamicScores(model), inputs, SCORES, {PIXELS: {0: "batch"}, TEXTS: {0: "texts"}})


def tower_graph(tower: nn.Module, reading: TextInputs, texts: Sequence[Text], seen: Sequence[Text]) -> onnx.ModelProto:
    """The graph of a text tower; any number of texts of any length that it reads."""
    inputs = {IDS: torch.from_numpy(reading.ids(texts))}
    free: dict[str, dict[int, str]] = {IDS: {0: "texts", 1: "length"}}
    extra = reading.extra(texts, seen)
    if extra is not None:
        inputs[ROWS], free[ROWS] = torch.from_numpy(extra), {0: "texts"}
    return to_onnx(tower, inputs, TEXTS, free)


def to_onnx(module: nn.Module, inputs: Mapping[str, Tensor], output: str, free: Dims) -> onnx.ModelProto:
    """A module as an ONNX graph whose `free` axes take any size.

    Raises:
        RuntimeError: see `check_free`.
    """
    axes = {name: torch.export.Dim(name) for dims in free.values() for name in dims.values()}
    shapes = {name: {axis: axes[free[name][axis]] for axis in free.get(name, {})} for name in inputs}
    with quiet(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            None,
            dynamo=True,
            input_names=[*inputs],
            output_names=[output],
            dynamic_shapes=shapes,
            verbose=False,
        )
    assert program is not None
    check_free(program.model_proto, free)
    return program.model_proto


def check_free(proto: onnx.ModelProto, free: Dims) -> None:
    """Make sure that axes take any size: where the exporter cannot keep one free, it fixes it without a word.

    Raises:
        RuntimeError: an axis came out fixed, which is a bug in the model's code (len() of a tensor does it).
    """
    for value in proto.graph.input:
        dims = value.type.tensor_type.shape.dim
        for axis in free.get(value.name, {}):
            if not dims[axis].dim_param:
                raise RuntimeError(f"axis {axis} of {value.name} came out as {dims[axis].dim_value}, not free")


def _pixels(image_size: tuple[int, int]) -> Tensor:
    return torch.zeros(2, *image_size, 3, dtype=torch.uint8)

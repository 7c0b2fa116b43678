"""A trained model in use: scores and attention maps for any images and texts. The public Python API."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from focuscli.config import RunConfig, build_config, method_entry
from focuscli.data.images import Pixels, load_image, squash
from focuscli.data.loader import normalise
from focuscli.data.schema import AttributeSchema, Text
from focuscli.engine.checkpoint import Checkpoint, load_strictly, read_checkpoint
from focuscli.engine.device import autocast, check_precision, resolve_device
from focuscli.engine.distributed import SINGLE, ProcessGroup
from focuscli.engine.scoring import Progress, ScorePixels, model_score_fn, score_files
from focuscli.errors import InputError, UsageError, one_line
from focuscli.inference.predict import Scorer
from focuscli.inference.vocabulary import Vocabulary
from focuscli.models.base import Method
from focuscli.models.build import build_method, load_clip, saved_method
from focuscli.storage.paths import ZERO_SHOT, resolve_checkpoint

ImageLike = Image.Image | str | Path


@dataclass(frozen=True)
class Attention:
    """Attention maps of images and texts, and their scores.

    Attributes:
        scores: [N, Z].
        heat: [N, Z, rows, columns] over patches: sum over Mix Tokens k of G[z, k] * A_k.
        token_weights: G [N, Z, K], mean over heads, rows sum to 1.
        token_maps: A [N, K, rows, columns], each Mix Token's attention over patches.
    """

    scores: NDArray[np.float32]
    heat: NDArray[np.float32]
    token_weights: NDArray[np.float32]
    token_maps: NDArray[np.float32]


class Recognizer(Scorer):
    """Seen attributes and free texts on pedestrian crops.

    Example:
        recognizer = Recognizer.from_checkpoint("runs/2026-11-23_1012_peta")
        recognizer.scores(["crop.jpg"], ["backpack", "red scarf"])
    """

    def __init__(
        self,
        model: Method,
        config: RunConfig,
        schema: AttributeSchema,
        checkpoint: Checkpoint,
        device: torch.device,
        precision: str,
    ) -> None:
        """Use a model that is loaded; `from_checkpoint` loads one."""
        state = checkpoint.state
        self.model = model.to(device).eval().requires_grad_(False)
        self.device = device
        self.precision = precision
        self.process_group: ProcessGroup = SINGLE  # the processes that share the scoring of files
        self.folder = checkpoint.folder
        self.step: int | None = state.get("step")
        self.config = config
        self.schema = schema
        self.image_size = config.model.image_size
        declared = schema.texts(complements=False, evaluated_only=False)
        learned = config.model.method != ZERO_SHOT
        attributes, unchosen = schema.texts(complements=False), tuple(state.get("unchosen_thresholds", ()))
        self.vocabulary = Vocabulary(
            model.texts, attributes, declared, schema.regions, state["thresholds"], learned, unchosen
        )
        self.default_texts = self.vocabulary.attributes
        self.global_threshold: float = state["global_threshold"]
        self.threshold_source: str = state["threshold_source"]
        self.weights: str = state["weights"]
        self.data_fingerprint: str = state["data"]["fingerprint"]
        self.dataset: str = state["data"]["name"]
        self.trained_on = "{name} ({train_images:,} images, {train_split})".format(**state["data"])
        self.epochs, self.stopped = "none", ""
        if learned:
            epoch, done, planned = checkpoint.epochs()
            self.epochs = f"epoch {round(epoch, 2):g} of {planned}"
            self.stopped = f"{round(done, 2):g} of {planned} epochs" if done < planned else ""
        stopped = f" ({self.stopped} done)" if self.stopped else ""
        trained = f"trained on {self.trained_on}, {self.epochs}{stopped}" if learned else "zero-shot, nothing trained"
        self.about = f"{config.model.method}, {trained}, weights: {self.weights}"

    @classmethod
    def from_checkpoint(
        cls, run: str | Path | None = None, *, device: str = "auto", precision: str = "auto"
    ) -> Recognizer:
        """Load a checkpoint.

        Args:
            run: a run folder or name, a checkpoint folder, or None for the latest run.
            device: "auto", "cpu", "cuda", "cuda:N" or "mps". precision: "auto", "fp32" or "bf16".

        Raises:
            RequirementError: there is no run at all, or no such device.
            InputError: no such checkpoint, or it is damaged. UsageError: no such device or precision.
        """
        check_precision(precision)
        checkpoint = read_checkpoint(resolve_checkpoint(None if run is None else str(run)))
        target = resolve_device(device)
        try:
            config = RunConfig.model_validate(checkpoint.state["config"])
            schema = AttributeSchema.model_validate(checkpoint.state["schema"])
            texts = schema.texts(complements=config.data.complements)
            tensors = checkpoint.tensors("model")
            model = saved_method(config.model, texts, checkpoint.state["clip"], tensors)
            load_strictly(model, tensors, f"checkpoint {checkpoint.folder}")
            return cls(model, config, schema, checkpoint, target, precision)
        except ValueError as error:
            raise InputError(f"Checkpoint {checkpoint.folder} is damaged: state.json: {one_line(error)}.") from error

    @classmethod
    def zero_shot(
        cls,
        weights: Path,
        schema: AttributeSchema,
        *,
        folder: Path | None = None,
        device: str = "auto",
        precision: str = "auto",
    ) -> Recognizer:
        """Zero-shot CLIP: the class token against plain phrases. Nothing is trained, and there are no thresholds.

        Args:
            weights: a CLIP weight file of any ViT shape. schema: its attributes are the default texts.
            folder: stands for the checkpoint in outputs; None: "clip". device, precision: see `from_checkpoint`.

        Raises:
            RequirementError: no such device. UsageError: no such precision. InputError: the weights cannot be used.
        """
        check_precision(precision)
        clip, origin = load_clip(weights)
        vision = clip.config.vision
        shape = {"method": ZERO_SHOT, "image_size": vision.image_size, "patch": vision.patch_size, "partitions": 1}
        changes = method_entry(ZERO_SHOT).changes
        config = build_config([(f"method {ZERO_SHOT}", changes), (str(weights), {"model": shape})])[0]
        model = build_method(config.model, clip, schema.texts(complements=False))
        state = {
            "thresholds": {},
            "global_threshold": math.nan,
            "threshold_source": "",
            "weights": origin,
            "data": {"fingerprint": "", "name": "nothing", "train_images": 0, "train_split": "zero-shot CLIP"},
        }
        checkpoint = Checkpoint(folder or Path(ZERO_SHOT), state)
        return cls(model, config, schema, checkpoint, resolve_device(device), precision)

    @property
    def attributes(self) -> tuple[Text, ...]:
        """The attributes seen in training, in the schema's order."""
        return self.vocabulary.attributes

    @property
    def thresholds(self) -> dict[str, float]:
        """By attribute name, chosen on val."""
        return dict(self.vocabulary.thresholds)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[Text]) -> Tensor:
        """Text features T [Z, D].

        Raises:
            UsageError: a text is empty or too long.
        """
        with autocast(self.device, self.precision):
            return self.model.encode_texts(texts)

    def scores(
        self, images: Iterable[ImageLike], texts: Sequence[str | Text] | None = None, *, batch_size: int = 32
    ) -> NDArray[np.float32]:
        """Scores [N, Z] = exp(logit_scale) * cos(V_z, T_z) of images against texts.

        Args:
            images: PIL images or paths of image files.
            texts: words or `Text`s; None: the seen attributes in the schema's order.

        Raises:
            InputError: an image cannot be read. UsageError: a text is empty or too long.
        """
        wanted = self._texts(texts)
        score = self.score_fn(wanted)
        rows = [score(self._pixels(batch)) for batch in _batched(images, batch_size)]
        return np.concatenate(rows) if rows else np.zeros((0, len(wanted)), dtype=np.float32)

    def score_fn(self, texts: Sequence[Text]) -> ScorePixels:
        return model_score_fn(self.model, self.encode_texts(texts), self.precision)

    def attention(
        self,
        images: Iterable[ImageLike],
        texts: Sequence[str | Text] | None = None,
        *,
        layers: int = 1,
        tokens: bool = True,
    ) -> Attention:
        """Scores and attention maps of images against texts; `layers` is how many of the last layers are averaged.

        Without `tokens` the weights and maps of single tokens, most of the memory, are left empty [0, ...].

        Raises:
            InputError: an image cannot be read. UsageError: a text is empty or too long, or too few layers.
        """
        depth = self.model.clip.config.vision.layers
        if not 1 <= layers <= depth:
            raise UsageError(f"The visual tower has {depth} layers; cannot average the last {layers}.")
        features = self.encode_texts(self._texts(texts))
        parts = []
        for batch in _batched(images, 8):
            scores, heat, *of_tokens = self._attention(self._pixels(batch), features, layers)
            parts.append([scores, heat, *(of_tokens if tokens else (value[:0].copy() for value in of_tokens))])
        if not parts:
            raise UsageError("No image given.")
        return Attention(*map(np.concatenate, zip(*parts, strict=True)))

    def score_files(
        self, paths: Sequence[Path], texts: Sequence[Text], *, workers: int = 2, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """Scores [N, Z] of many files, decoded in threads ahead of the model.

        Raises:
            InputError: an image cannot be read. UsageError: a text is too long.
        """
        return score_files(
            self.score_fn(texts),
            paths,
            self.image_size,
            batch_size=self.config.eval.batch_size,
            workers=workers,
            progress=progress,
            process_group=self.process_group,
        )

    def _texts(self, texts: Sequence[str | Text] | None) -> list[Text]:
        if texts is None:
            return [*self.attributes]
        if isinstance(texts, str):
            texts = [texts]
        return [text if isinstance(text, Text) else self.text(text) for text in texts]

    def _pixels(self, images: Sequence[ImageLike]) -> Pixels:
        opened = [image if isinstance(image, Image.Image) else load_image(Path(image)) for image in images]
        return np.stack([squash(image, self.image_size) for image in opened])

    @torch.inference_mode()
    def _attention(self, pixels: Pixels, text_features: Tensor, layers: int) -> list[NDArray[np.float32]]:
        crops = normalise(torch.from_numpy(pixels), self.device)
        with autocast(self.device, self.precision):
            features = self.model.encode_image(crops, attention_layers=layers)
            output = self.model.score(features.tokens, text_features)
        weights = output.attention_maps.float()
        maps = features.patch_attention
        maps = weights.new_zeros(len(crops), weights.shape[2], 1, 1) if maps is None else maps.float()
        heat = torch.einsum("bzk,bkhw->bzhw", weights, maps)
        return [value.float().cpu().numpy() for value in (output.scores, heat, weights, maps)]


def _batched(images: Iterable[ImageLike], size: int) -> Iterable[list[ImageLike]]:
    if isinstance(images, (str, Path, Image.Image)):
        images = [images]
    remaining = iter(images)
    while batch := list(islice(remaining, size)):
        yield batch

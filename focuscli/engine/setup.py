"""From a dataset folder and a configuration to everything that a training loop needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clip_impl import CLIP, CLIPConfig, TextConfig, VisionConfig
from focuscli.config import SCRATCH, DataConfig, ModelConfig, RunConfig
from focuscli.data.folder import DatasetFolder
from focuscli.data.schema import Text, region_block_matrix, text_targets
from focuscli.data.splits import identity_holdout
from focuscli.engine.device import seeded
from focuscli.errors import InputError
from focuscli.models.base import Method, clip_config
from focuscli.models.build import method_class


@dataclass(frozen=True)
class TrainingData:
    """Images and targets of a run.

    Attributes:
        texts: attributes in schema order, then complements; Z of them.
        train, val: positions in the folder's list of images.
        val_note: how val came about, for every output that shows a val figure or a threshold from it.
        targets: [N, Z] of all images in the folder; known: the same shape, False where uncertain.
        groups: [Z, Q] bool. blocks: [Z, Z] (Eq. 6).
        positive_rate: [Z], share of positives among the known labels of train.
    """

    folder: DatasetFolder
    texts: tuple[Text, ...]
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    val_note: str
    targets: Tensor
    known: Tensor
    groups: Tensor
    blocks: Tensor
    positive_rate: Tensor

    def paths(self, indices: NDArray[np.int64]) -> list[Path]:
        return [self.folder.image_path(int(index)) for index in indices]

    def labels(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Targets and known flags [N, A] of the evaluated attributes alone."""
        attributes = len(self.folder.schema.evaluated)
        rows = torch.from_numpy(indices)
        return self.targets[rows, :attributes].numpy(), self.known[rows, :attributes].numpy()


def prepare_training_data(folder: DatasetFolder, config: DataConfig, seed: int) -> TrainingData:
    """Split, targets, groups and blocks.

    Raises:
        InputError: the dataset has no images, no train split, no evaluated attribute, or too few images.
    """
    folder.require_images()
    schema = folder.schema
    texts = schema.texts(complements=config.complements)
    if not schema.evaluated:
        raise InputError(f"{folder.path / 'schema.toml'} declares no evaluated attribute; nothing to train on.")
    splits = {str(name) for name in np.unique(folder.splits)}
    chosen = "trainval" if config.train_split == "trainval" and "val" in splits else "train"
    train = folder.select(chosen)
    if chosen == "trainval":
        val, note = folder.select("val"), "val, which was trained on"
    elif "val" in splits:
        val, note = folder.select("val"), "val"
    else:
        train, val = identity_holdout(folder.persons, train, config.val_fraction, seed)
        note = f"val: {len(val):,} images held out of train"
    if len(train) < 2 or len(val) < 1:
        raise InputError(f"{folder.path} has {len(train)} training and {len(val)} val images; too few to train.")
    labels = folder.labels
    if config.uncertain == "negative":
        labels = np.where(labels == 2, 0, labels).astype(labels.dtype)
    targets, known = text_targets(labels, schema, texts)
    names = sorted({text.group for text in texts})
    groups = torch.tensor([[text.group == name for name in names] for text in texts])
    blocks = torch.from_numpy(region_block_matrix(texts, config.regions)).float()
    rate = torch.from_numpy(targets[train].sum(axis=0) / np.maximum(known[train].sum(axis=0), 1)).float()
    return TrainingData(
        folder, texts, train, val, note, torch.from_numpy(targets), torch.from_numpy(known), groups, blocks, rate
    )


def build_model(
    config: RunConfig, texts: Sequence[Text], weights: Path | None, saved: Mapping[str, Any] | None = None
) -> tuple[Method, str]:
    """The model with its initial values, on the CPU, and the origin of its weights in words.

    Args:
        weights: a CLIP weight file, or None for training from scratch; then the text tower trains too, because a frozen
            random one says nothing.
        saved: the state of a checkpoint whose tensors will replace the initial values; then `weights` is not read.

    Raises:
        InputError: the weights' patch size or number of layers does not fit the configuration.
    """
    with seeded(config.train.seed):
        if saved is not None:
            clip, origin = CLIP(clip_shape_from_json(saved["clip"])), str(saved["weights"])
        elif weights is None:
            clip, origin = CLIP(clip_config(config.model)), SCRATCH
        else:
            clip, origin = load_clip(weights)
            _check_shape(clip.config.vision, config.model, weights)
            if config.model.layers:
                keep_layers(clip, config.model.layers)
        model = method_class(config.model.method)(clip, config.model, texts)
    model.freeze(text_tower=origin != SCRATCH)
    model.clip.visual.transformer.gradient_checkpointing = config.train.gradient_checkpointing
    model.clip.transformer.gradient_checkpointing = config.train.gradient_checkpointing
    return model, origin


def _check_shape(found: VisionConfig, wanted: ModelConfig, weights: Path) -> None:
    """Refuse weights of another patch size, or with fewer layers than the configuration names."""
    if found.patch_size != wanted.patch_size:
        problem = f"has patches of {found.patch_size} pixels, but the configuration wants {wanted.patch_size}"
    elif wanted.layers > found.layers:
        problem = f"has {found.layers} layers, but model.layers={wanted.layers}"
    else:
        return
    raise InputError(f"{weights} {problem}.", "Use CLIP ViT-B/16 weights, or train from scratch with --weights none.")


def keep_layers(clip: CLIP, layers: int) -> None:
    """Shorten the visual tower to its first layers, as POAR's code builds it (6 of 12)."""
    vision = clip.visual
    vision.config = replace(vision.config, layers=layers)
    vision.transformer.layers = layers
    vision.transformer.resblocks = vision.transformer.resblocks[:layers]
    clip.config = replace(clip.config, vision=vision.config)


def clip_shape_to_json(config: CLIPConfig) -> dict[str, Any]:
    """CLIP's shape as JSON values."""
    return asdict(config)


def clip_shape_from_json(shape: Mapping[str, Any]) -> CLIPConfig:
    """Undo `clip_shape_to_json`."""
    vision = {**shape["vision"], "image_size": tuple(shape["vision"]["image_size"])}
    return CLIPConfig(VisionConfig(**vision), TextConfig(**shape["text"]), shape["embed_dim"], shape["activation"])


def load_clip(weights: Path) -> tuple[CLIP, str]:
    """CLIP from a weight file, in fp32, and its origin: file name and the head of its sha256."""
    from clip_impl.weights import load

    clip, _ = load(weights, dtype=torch.float32)
    return clip, weights_origin(weights)


def weights_origin(weights: Path | None) -> str:
    """Where the initial values of a model come from, as every checkpoint says it."""
    from focuscli.storage.files import file_sha256

    return SCRATCH if weights is None else f"{Path(weights).name} (sha256 {file_sha256(weights)[:12]})"

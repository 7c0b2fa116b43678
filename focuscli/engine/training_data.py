"""From a dataset folder to the tensors that training, calibration and evaluation on val need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from focuscli.config import DataConfig
from focuscli.data.folder import DatasetFolder
from focuscli.data.regions import region_block_matrix
from focuscli.data.schema import single_text_groups, text_targets
from focuscli.data.splits import identity_split
from focuscli.data.texts import Text
from focuscli.errors import InputError


@dataclass(frozen=True)
class TrainingData:
    """Images and targets of a run.

    Attributes:
        texts: attributes in schema order, then complements; Z of them.
        train, val: positions in the folder's list of images.
        val_note: what val is, for every output that shows a val metric or a threshold from it.
        targets: [N, Z] of all images in the folder.
        known: the same shape, False where a label is uncertain.
        constants: of the criterion; the rate of positives is that of the known labels of train.
        contrasted: groups of a single text that the criterion takes as one group, see `data.single_texts`.
    """

    folder: DatasetFolder
    texts: tuple[Text, ...]
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    val_note: str
    targets: Tensor
    known: Tensor
    constants: dict[str, Tensor]
    contrasted: tuple[str, ...] = ()

    def paths(self, indices: NDArray[np.int64]) -> list[Path]:
        """Image files at these positions."""
        return [self.folder.image_path(int(index)) for index in indices]

    def labels(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Targets and known flags [N, A] of the evaluated attributes alone."""
        attributes = len(self.folder.schema.evaluated)
        rows = torch.from_numpy(indices)
        return self.targets[rows, :attributes].numpy(), self.known[rows, :attributes].numpy()


def prepare_training_data(folder: DatasetFolder, config: DataConfig, seed: int) -> TrainingData:
    """Split a dataset, by `seed` where it has no val images, and make its targets, groups and blocks.

    Raises:
        InputError: the dataset has no images, no train split, no evaluated attribute, or too few images.
    """
    folder.require_images()
    schema = folder.schema
    texts = schema.texts(complements=config.complements)
    if not schema.evaluated:
        raise InputError(f"{folder.path / 'schema.toml'} declares no evaluated attribute; nothing to train on.")
    train, val, val_note = _split(folder, config, seed)
    if len(train) < 2 or len(val) < 1:
        raise InputError(f"{folder.path} has {len(train)} training and {len(val)} val images; too few to train.")
    labels = folder.labels
    if config.uncertain == "negative":
        labels = np.where(labels == 2, 0, labels).astype(labels.dtype)
    targets, known = text_targets(labels, schema, texts)
    rate = targets[train].sum(axis=0) / np.maximum(known[train].sum(axis=0), 1)
    single = single_text_groups(schema) if config.single_texts == "together" else []
    contrasted = tuple(single) if len(single) > 1 else ()
    grouped = [replace(text, group="") if text.group in contrasted else text for text in texts]
    constants = criterion_constants(grouped, config, torch.from_numpy(rate).float())
    tensors = torch.from_numpy(targets), torch.from_numpy(known)
    return TrainingData(folder, texts, train, val, val_note, *tensors, constants, contrasted)


def criterion_constants(texts: Sequence[Text], config: DataConfig, positive_rate: Tensor) -> dict[str, Tensor]:
    """What `models.base.Criterion` keeps of a training set: groups, blocks, and the rate of positives [Z]."""
    names = sorted({text.group for text in texts})
    groups = torch.tensor([[text.group == name for name in names] for text in texts])
    blocks = torch.from_numpy(region_block_matrix(texts, config.regions)).float()
    return {"groups": groups, "blocks": blocks, "positive_rate": positive_rate}


def _split(folder: DatasetFolder, config: DataConfig, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64], str]:
    """Positions of train and of val, and what val is."""
    has_val = bool((folder.splits == "val").any())
    if config.train_split == "trainval" and has_val:
        return folder.select("trainval"), folder.select("val"), "val, which was trained on"
    train = folder.select("train")
    if has_val:
        return train, folder.select("val"), "val"
    parts = {"train": 1.0 - config.val_fraction, "val": config.val_fraction}
    names = identity_split(folder.persons[train], parts, seed)
    train, val = train[names == "train"], train[names == "val"]
    return train, val, f"val: {len(val):,} images held out of train"

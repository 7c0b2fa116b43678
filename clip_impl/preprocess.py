"""From a picture to the input of CLIP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Preprocess:
    """A picture resized to `size` (height, width) with Pillow's bicubic filter, scaled and normalised.

    `squash` changes the aspect ratio and loses nothing: the default for crops of upright persons, of which a centre crop
    keeps only 38% of the height. `shortest` is OpenAI's own transform: shortest side to size, then centre crop.
    """

    size: tuple[int, int] = (224, 224)
    resize_mode: Literal["squash", "shortest"] = "squash"

    def __call__(self, image: Image.Image) -> Tensor:
        """A PIL image of any mode -> float [3, H, W]."""
        pixels = torch.from_numpy(np.array(self._resize(image).convert("RGB"))).permute(2, 0, 1).float().div(255)
        return (pixels - pixels.new_tensor(MEAN)[:, None, None]) / pixels.new_tensor(STD)[:, None, None]

    def _resize(self, image: Image.Image) -> Image.Image:
        height, width = self.size
        bicubic = Image.Resampling.BICUBIC
        if self.resize_mode == "squash":
            return image.convert("RGB").resize((width, height), bicubic)
        # OpenAI resizes in the picture's own mode and converts afterwards; the long side is rounded down.
        short = max(height, width)
        if image.width <= image.height:
            resized = image.resize((short, int(short * image.height / image.width)), bicubic)
        else:
            resized = image.resize((int(short * image.width / image.height), short), bicubic)
        left, top = round((resized.width - width) / 2), round((resized.height - height) / 2)
        return resized.crop((left, top, left + width, top + height))

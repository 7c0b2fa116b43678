"""Text features of 51 descriptions with learned prompts, forward and backward: as long as they are, and padded to 77."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from focuscli.models.focus import FocusModel
from focuscli.models.prompts import encode_texts, text_ids
from focuscli.tools.bench.models import random_focus
from focuscli.tools.bench.results import Check, Measurement, timed
from focuscli.tools.bench.settings import Settings
from focuscli.tools.bench.timing import Candidate, Progress, interleave

TRIMMED, PADDED = "text features trimmed", "text features at length 77"
BOUND = 1e-5


def measure_texts(settings: Settings, progress: Progress | None = None) -> list[Measurement]:
    """Seconds of one pass over all texts, in fp32."""
    device = torch.device(settings.device)
    model, texts = random_focus(settings.model)
    assert isinstance(model, FocusModel)
    model.freeze(text_tower=True)
    model.to(device)
    clip, prompts = model.clip, model.prompts
    ids = text_ids(prompts, texts, clip.context_length)
    padded = F.pad(ids, (0, clip.context_length - prompts.length - ids.shape[1]))
    direction = torch.randn(len(texts), clip.config.embed_dim, generator=torch.Generator().manual_seed(2)).to(device)

    def both_ways(ids: Tensor) -> tuple[Tensor, Tensor]:
        """Features, and the gradient of their product with a fixed direction with respect to the prompts."""
        prompts.context.grad = None
        features = encode_texts(clip, prompts, texts, ids)
        (features * direction).sum().backward()
        assert prompts.context.grad is not None
        return features.detach(), prompts.context.grad

    found, wanted = both_ways(ids), both_ways(padded)
    difference = max(_relative(one, other) for one, other in zip(found, wanted, strict=True))
    check = Check(
        what="features and gradients of the prompts against those at length 77, relative to the largest",
        difference=difference,
        bound=BOUND,
    )
    work: dict[str, Callable[[], object]] = {TRIMMED: lambda: both_ways(ids), PADDED: lambda: both_ways(padded)}
    clock = settings.clock
    seconds = interleave(
        [Candidate(name, run) for name, run in work.items()],
        rounds=settings.rounds_or(5),
        clock=clock,
        progress=progress,
    )
    length = ids.shape[1] + prompts.length
    return timed(
        "train",
        seconds,
        unit="s",
        scale=1.0,
        clock=clock.name,
        checks={TRIMMED: check},
        compare={PADDED: [TRIMMED], TRIMMED: [PADDED]},
        notes={TRIMMED: f"{length} tokens, 51 texts, forward and backward", PADDED: "51 texts, forward and backward"},
    )


def _relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max())

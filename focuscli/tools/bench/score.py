"""FOCUS from an image to the scores of 51 attributes, their texts encoded before, against the plain image tower."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from focuscli.models.base import Method
from focuscli.tools.bench.models import (
    DTYPES,
    EXACT_IMAGES,
    bound,
    feature_check,
    in_double,
    random_focus,
    random_images,
)
from focuscli.tools.bench.results import Check, Missing, Outcome, timed
from focuscli.tools.bench.settings import Settings, precisions
from focuscli.tools.bench.timing import Candidate, Progress, interleave

TOWER, SCORES = "plain image tower", "image to 51 scores"


@torch.inference_mode()
def measure(settings: Settings, progress: Progress | None = None) -> Outcome:
    """Both with the same weights, in each precision, per image."""
    device = torch.device(settings.device)
    batch = settings.batch_or(16, quick=2)
    model, _texts = random_focus(settings.model)
    model.eval().requires_grad_(False)
    images = random_images(batch, model.config.image_size)
    exact_model = in_double(model)
    first = images[:EXACT_IMAGES].double()
    exact_features = exact_model.clip.visual(first)
    exact_cosines = _cosines(exact_model, first, exact_model.encode_texts())
    del exact_model

    chosen, without = precisions(settings)
    work: dict[str, Callable[[], Tensor]] = {}
    checks: dict[str, Check] = {}
    for precision in chosen:
        cast = in_precision(model, precision).to(device)
        own, texts = images.to(device, DTYPES[precision]), cast.encode_texts()
        tower, scores = f"{TOWER} {precision}", f"{SCORES} {precision}"
        work[tower] = lambda cast=cast, own=own: cast.clip.visual(own)  # type: ignore[misc]
        work[scores] = lambda cast=cast, own=own, texts=texts: cast.score(cast.encode_image(own).tokens, texts).scores  # type: ignore[misc]
        checks[tower] = feature_check(work[tower], exact_features, precision, gpu=settings.on_gpu)
        found = _cosines(cast, own[:EXACT_IMAGES], texts).cpu().double()
        checks[scores] = Check(
            what="cosines behind the scores against our model in float64",
            difference=float((found - exact_cosines).abs().max()),
            bound=10 * bound(precision, gpu=settings.on_gpu),  # a cosine adds up 512 products
        )
    clock = settings.clock
    seconds = interleave(
        [Candidate(name, run) for name, run in work.items()],
        rounds=settings.rounds_or(9),
        clock=clock,
        progress=progress,
    )
    return Outcome(
        measurements=tuple(
            timed(
                "score",
                seconds,
                unit="ms/image",
                scale=1000 / batch,
                clock=clock.name,
                checks=checks,
                compare={f"{SCORES} {precision}": [f"{TOWER} {precision}"] for precision in chosen},
                notes=dict.fromkeys(work, f"batch {batch}"),
            )
        ),
        missing=tuple(Missing(work="score", name=f"{SCORES} {name}", reason=why) for name, why in without.items()),
    )


def in_precision(model: Method, precision: str) -> Method:
    """The model itself for fp32, else a copy with weights of that precision."""
    if precision == "fp32":
        return model
    import copy

    return copy.deepcopy(model).to(DTYPES[precision])


def _cosines(model: Method, images: Tensor, texts: Tensor) -> Tensor:
    """Scores over their scale, [B, Z] in [-1, 1]."""
    return model.score(model.encode_image(images).tokens, texts).scores / model.clip.logit_scale.exp()

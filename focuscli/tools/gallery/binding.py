"""Which model a gallery belongs to, and refusing others."""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path

from focuscli.engine.device import effective_precision
from focuscli.errors import InputError, UsageError
from focuscli.inference.recognizer import Recognizer
from focuscli.storage.paths import ZERO_SHOT
from focuscli.tools.gallery.manifest import Binding, Manifest

SEARCHABLE = ("focus", "clip", "clip-ft", "poar")


def require_searchable(method: str) -> None:
    """Refuse methods whose score is no function of a few stored vectors and any text.

    Raises:
        UsageError: the method is such.
    """
    if method not in SEARCHABLE:
        raise UsageError(
            f"Method {method} cannot search a gallery: it has a classifier per trained attribute over all patches, "
            "and no tokens that a text could be compared with.",
            f"Use a checkpoint of: {', '.join(SEARCHABLE)}.",
        )


def bind(recognizer: Recognizer) -> Binding:
    """What ties a gallery to this model."""
    precision = effective_precision(recognizer.device, recognizer.precision)
    return Binding(
        method=recognizer.config.model.method,
        step=recognizer.step,
        origin=recognizer.weights,
        run=str(recognizer.folder.absolute()),
        precision=precision,
        **fingerprint(recognizer),
    )


def check_binding(manifest: Manifest, model: Binding, folder: Path, *, precision: bool = False) -> None:
    """Refuse a gallery of another checkpoint.

    Args:
        precision: whether that of the image tower has to be the same, too.

    Raises:
        InputError: it is another one.
    """
    own = manifest.model
    if not own.same_model(model):
        if Path(own.run).resolve() == Path(model.run).resolve():
            what = "CLIP's weights are others" if own.method == ZERO_SHOT else "the checkpoint was trained anew"
            raise InputError(
                f"{folder} was indexed with {own}; {what} since: {model}.",
                "Make the gallery again, in another folder: focus index SOURCE "
                + shlex.join(["-c", _option(own), "-o", f"{folder}-new"]),
            )
        raise InputError(
            f"{folder} was indexed with another checkpoint: {own}. The one in use is {model}.",
            f"Use its own: -c {shlex.quote(_option(own))}. Or index the images again with this one into another folder.",
        )
    if precision and own.precision != model.precision:
        raise InputError(
            f"{folder} was begun in {own.precision}; crops in {model.precision} would not be comparable.",
            f"Go on with: --precision {own.precision}",
        )


def _option(model: Binding) -> str:
    """What -c calls a model."""
    return ZERO_SHOT if model.method == ZERO_SHOT else model.run


def fingerprint(recognizer: Recognizer) -> dict[str, str]:
    """What binds a gallery to a model: SHA-256 of its configuration, and over the names and bytes of all its tensors."""
    settings = recognizer.config.model.model_dump(mode="json")
    weights = hashlib.sha256()
    for name, value in sorted(recognizer.model.state_dict().items()):
        weights.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        weights.update(value.detach().cpu().numpy().tobytes())
    return {
        "config": hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest(),
        "weights": weights.hexdigest(),
    }

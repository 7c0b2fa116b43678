"""`focus viz`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from focuscli.cli import render, views
from focuscli.cli.models import asked_texts, find_model
from focuscli.cli.options import CheckpointOpt, DeviceOpt, ForceOpt, FreeOpt, RegionOpt
from focuscli.data.formats import looks_like_image
from focuscli.data.inputs import find_images, matches, near_file
from focuscli.errors import InputError, UsageError
from focuscli.storage.files import atomic_path, check_free

MOST_CELLS = 400


def viz_command(
    arguments: Annotated[list[str], typer.Argument(metavar="IMAGE... TEXT...", help="Files or globs, then texts.")],
    attribute: Annotated[list[str] | None, typer.Option("--attribute", "-a", help="A text named like a file.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="PNG; default: IMAGE.focus.png here.")] = None,
    checkpoint: CheckpointOpt = None,
    region: RegionOpt = None,
    free: FreeOpt = False,
    layers: Annotated[int, typer.Option(min=1, max=64, help="Average the attention of the last so many layers.")] = 1,
    tokens: Annotated[bool, typer.Option("--tokens", help="Each Mix Token's own map, of one image.")] = False,
    alpha: Annotated[float, typer.Option(min=0, max=1, help="Strength of the heat over the image.")] = 0.5,
    force: ForceOpt = False,
    device: DeviceOpt = None,
) -> None:
    """Draw where the model looked for each text, with score and threshold."""
    images, texts = split_arguments(arguments, attribute or [])
    if tokens and len(images) > 1:
        raise UsageError(
            f"--tokens takes one image; got {len(images)}.", f"Example: focus viz {images[0]} hat --tokens"
        )
    target = output or Path(f"{images[0].stem}.focus.png")
    if target.suffix.lower() != ".png":
        raise UsageError(f"--output must name a .png file; got {target}.")

    from focuscli.inference.predict import thresholds_of
    from focuscli.viz.explain import explain

    check_free(target, force=force, hint="Add --force to replace it, or give -o PNG.")
    model = find_model(checkpoint)
    recognizer = model.open(device=device)
    wanted = asked_texts(recognizer, texts, region, free=free) or [*recognizer.attributes]
    if len(images) * len(wanted) > MOST_CELLS:
        raise UsageError(
            f"{len(images)} images x {len(wanted)} texts are too many for one picture (at most {MOST_CELLS} cells).",
            "Give fewer images, or name the texts.",
        )
    picture, attention, decisions = explain(recognizer, images, wanted, layers=layers, alpha=alpha, tokens=tokens)
    with atomic_path(target) as temporary:
        picture.save(temporary, format="PNG")
    views.model(recognizer.folder, recognizer.about)
    views.assumptions(decisions, recognizer.weights)
    rows = [[*zip(decisions, scores, strict=True)] for scores in attention.scores.tolist()]
    data = {
        "picture": str(target),
        "images": [
            {"image": str(image), "scores": {decision.text.phrase: round(score, 4) for decision, score in row}}
            for image, row in zip(images, rows, strict=True)
        ],
        **thresholds_of(decisions),
        "weights": recognizer.weights,
    }
    lines = []
    for image, row in zip(images, rows, strict=True):
        lines.append(str(image))
        for decision, score in row:
            seen = "seen" if decision.seen else "unseen"
            answer = views.against(decision, score)
            lines.append(f"  {decision.text.phrase:<34} {seen:<7} {decision.text.region:<6} {answer}")
    render.result(data, lines=[*lines, f"wrote {target}"])


def split_arguments(arguments: list[str], texts: list[str]) -> tuple[list[Path], list[str]]:
    """Separate images from texts: what exists as a file or matches a glob is an image, the rest are texts.

    Raises:
        InputError: a name with an image suffix that does not exist. UsageError: no image.
    """
    images: list[Path] = []
    words: list[str] = []
    for argument in arguments:
        path = Path(argument)
        if os.path.isfile(path) or matches(argument):
            images += find_images([argument]).images
        elif looks_like_image(argument):
            near = (os.path.isdir(path.parent) and near_file(path)) or ""
            hint = f"{near} To use it as a text: focus viz IMAGE -a {argument}".strip()
            raise InputError(f"No such image: {argument}.", hint)
        else:
            words.append(argument)
    if not images:
        raise UsageError("focus viz needs an image file before the texts.", 'Example: focus viz crop.jpg "long sleeve"')
    return [*dict.fromkeys(images)], words + texts

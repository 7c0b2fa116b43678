"""`focus viz`."""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from focuscli.cli import render, views
from focuscli.cli.models import asked_texts, find_model
from focuscli.cli.options import CheckpointsOpt, DeviceOpt, ForceOpt, FreeOpt, RegionOpt
from focuscli.data.formats import looks_like_image
from focuscli.data.inputs import find_images, matches, near_file
from focuscli.errors import InputError, UsageError
from focuscli.storage.files import atomic_folder, atomic_path, check_free
from focuscli.storage.paths import argument as argument_of
from focuscli.storage.paths import run_folder

if TYPE_CHECKING:
    from PIL import Image

    from focuscli.viz.explain import ModelMaps

MOST_PANELS = 10_000
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".pdf": "PDF"}
SETTINGS: dict[str, Any] = {"quality": 92, "subsampling": 0, "resolution": 150}  # of JPEG, also in PDF; PNG has none


def viz_command(
    arguments: Annotated[list[str], typer.Argument(metavar="IMAGE... TEXT...", help="Files or globs, then texts.")],
    attribute: Annotated[list[str] | None, typer.Option("--attribute", "-a", help="A text named like a file.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="FILE.png, .jpg or .pdf; default: IMAGE.focus.png here. Pages: FILE-1.png"),
    ] = None,
    checkpoint: CheckpointsOpt = None,
    region: RegionOpt = None,
    free: FreeOpt = False,
    layers: Annotated[int, typer.Option(min=1, max=64, help="Average the attention of the last N layers.")] = 1,
    tokens: Annotated[bool, typer.Option("--tokens", help="Each Mix Token's own map, of one image.")] = False,
    alpha: Annotated[float, typer.Option(min=0, max=1, help="Strength of the heat over the image.")] = 0.5,
    shared_scale: Annotated[
        bool,
        typer.Option("--shared-scale", help="Use one colour scale for all panels, pages and models."),
    ] = False,
    save_maps: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the unscaled maps to a new folder: one .npy each, and maps.json."),
    ] = None,
    force: ForceOpt = False,
    device: DeviceOpt = None,
) -> None:
    """Draw where the model looked for each text, with score and threshold."""
    images, words = split_arguments(arguments, attribute or [])
    if tokens and (len(images) > 1 or len(checkpoint or []) > 1):
        raise UsageError(
            "--tokens takes one image and one model.", f"Example: focus viz {argument_of(images[0])} hat --tokens"
        )
    target = output or Path(f"{images[0].stem}.focus.png")
    if target.suffix.lower() not in FORMATS:
        raise UsageError(f"--output must name a file that ends in {', '.join(FORMATS)}; got {target}.")
    check_picture = functools.partial(check_free, force=force, hint="Add --force to replace it, or give -o FILE.")
    check_picture(target)
    if save_maps is not None:
        _check_maps(save_maps, target, force=force)
    places = [*dict.fromkeys(map(find_model, checkpoint or ["latest"]))]
    names = [run_folder(place.folder).name for place in places]
    if len({*names}) < len(names):
        names = [str(place.folder) for place in places]

    from focuscli.inference.predict import decide
    from focuscli.viz.explain import ModelMaps, attention_pages, token_page, write_maps
    from focuscli.viz.grid import paginate

    recognizers = [place.open(device=device) for place in places]
    texts = asked_texts(recognizers[0], words, region, free=free) or [*recognizers[0].attributes]
    panels = len(images) * len(texts) * len(places)
    if panels > MOST_PANELS:
        raise UsageError(
            f"{panels:,} panels, one for each image, text and model, are too many (at most {MOST_PANELS:,}).",
            "Give fewer images, or name the texts.",
        )
    files = _files(target, 1 if tokens else len(paginate(len(images), len(places), len(texts))))
    for file in files:
        check_picture(file)
    models = []
    for name, recognizer in zip(names, recognizers, strict=True):
        asked = [recognizer.text(text.phrase, region=region) for text in texts]  # one phrase, whatever a model calls it
        attention = recognizer.attention(images, asked, layers=layers, tokens=tokens)
        models.append(ModelMaps(name, recognizer, decide(recognizer.vocabulary, asked), attention))
    look: dict[str, Any] = {"alpha": alpha, "shared_scale": shared_scale}
    pictures = iter([token_page(images[0], models[0], **look)]) if tokens else attention_pages(images, models, **look)
    with contextlib.ExitStack() as written:  # nothing gets its final name before all is drawn
        if save_maps is not None:
            folder = written.enter_context(atomic_folder(save_maps, overwrite=force))
            write_maps(folder, images, models, tokens=tokens)
        _write(pictures, [written.enter_context(atomic_path(file)) for file in files], target)
    lines: list[str] = []
    for model in models:
        if len(models) > 1:
            lines.append(f"{model.name} ({model.method})")
        views.model(model.recognizer.folder, model.recognizer.about)
        views.assumptions(model.decisions, model.recognizer.weights)
        lines += _lines(images, model)
    lines += [f"wrote {path}" for path in (*files, save_maps) if path is not None]
    results = [_result(images, model) for model in models]
    data: dict[str, Any] = {"pictures": [*map(str, files)], "picture": str(files[0])}
    render.result(data | (results[0] if len(models) == 1 else {"models": results}), lines=lines)


def _check_maps(folder: Path, target: Path, *, force: bool) -> None:
    """Refuse a folder of maps that is there, unless it may be replaced, and one that the picture would be in."""
    if folder.resolve() in (target.resolve(), *target.resolve().parents):
        raise UsageError(f"--save-maps makes a folder of its own; {target} would be in it.", "Name another folder.")
    ours = (folder / "maps.json").is_file()
    hint = "Add --force to replace it." if ours else "It was not written by focus viz: name another folder."
    check_free(folder, force=force and ours, folder=True, hint=hint)


def _files(target: Path, pages: int) -> list[Path]:
    """The files of all pages: one, or numbered ones where the format has no pages."""
    if pages == 1 or FORMATS[target.suffix.lower()] == "PDF":
        return [target]
    digits = len(str(pages))
    return [target.with_name(f"{target.stem}-{number:0{digits}}{target.suffix}") for number in range(1, pages + 1)]


def _write(pictures: Iterator[Image.Image], files: list[Path], target: Path) -> None:
    """Write each picture to its file, or all to the one PDF; a few at a time are in memory."""
    kind = FORMATS[target.suffix.lower()]
    if kind == "PDF":
        settings = SETTINGS | {"title": target.stem}
        while pages := [*islice(pictures, 8)]:  # Pillow writes the list of all pages anew each time
            pages[0].save(files[0], format=kind, save_all=True, append_images=pages[1:], **settings)
            settings = SETTINGS | {"append": True}
    else:
        for picture, file in zip(pictures, files, strict=True):
            picture.save(file, format=kind, **SETTINGS)


def _result(images: list[Path], model: ModelMaps) -> dict[str, Any]:
    """For JSON output: a model's scores of each image, its thresholds, and what it is."""
    from focuscli.inference.predict import thresholds_of

    phrases = [decision.text.phrase for decision in model.decisions]
    scores = [
        {phrase: round(score, 4) for phrase, score in zip(phrases, row, strict=True)}
        for row in model.attention.scores.tolist()
    ]
    return {
        "images": [{"image": str(image), "scores": row} for image, row in zip(images, scores, strict=True)],
        **thresholds_of(model.decisions),
        "model": str(model.recognizer.folder),
        "method": model.method,
        "weights": model.recognizer.weights,
    }


def _lines(images: list[Path], model: ModelMaps) -> Iterator[str]:
    """Each image, and below it its score, threshold and answer for each text."""
    for image, scores in zip(images, model.attention.scores.tolist(), strict=True):
        yield str(image)
        for decision, score in zip(model.decisions, scores, strict=True):
            text, seen = decision.text, "seen" if decision.seen else "unseen"
            yield f"  {text.phrase:<34} {seen:<7} {text.region:<6} {views.score_and_answer(decision, score)}"


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
            if os.path.isdir(path.parent) and not os.access(path.parent, os.X_OK):
                raise InputError(f"Cannot read {argument}: the folder {path.parent} may not be entered.")
            near = (os.path.isdir(path.parent) and near_file(path)) or ""
            hint = f"{near} To use it as a text: focus viz IMAGE -a {shlex.quote(argument)}".strip()
            raise InputError(f"No such image: {argument}.", hint)
        else:
            words.append(argument)
    if not images:
        folder = next(filter(os.path.isdir, words), None)
        hint = (
            f"{folder} is a folder; name its images: {folder}/*.jpg"
            if folder
            else 'Example: focus viz crop.jpg "long sleeve"'
        )
        raise UsageError("focus viz needs an image file before the texts.", hint)
    return [*dict.fromkeys(images)], words + texts

"""Image files: which ones a user's arguments mean, decoding to RGB, and checking a whole dataset before training."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from focuscli.errors import InputError, closest

if TYPE_CHECKING:
    from PIL import Image

Pixels = NDArray[np.uint8]
# Crops of pedestrians have some 0.01 to 1 million pixels; a file that claims far more is an accident or an attack.
MAX_PIXELS = 64 * 1024 * 1024
IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
# Only formats that Pillow decodes in its own process (EPS, for one, would start Ghostscript).
_FORMATS = {"BMP": "Bmp", "JPEG": "Jpeg", "PNG": "Png", "WEBP": "WebP", "TIFF": "Tiff", "GIF": "Gif", "PPM": "Ppm"}


@dataclass(frozen=True)
class BadImage:
    """An image that cannot be used: its position in the given list, its path and why."""

    index: int
    path: Path
    reason: str


def looks_like_image(name: str) -> bool:
    """Whether a name has the suffix of an image file."""
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def expand_images(arguments: Sequence[str], stdin: Iterable[str] = ()) -> list[Path]:
    """The image files that arguments stand for.

    Files are taken as given, folders are searched recursively for images, globs are expanded, and `-` stands for one
    path per line of `stdin`. The order is that of the arguments, and by name within a folder or glob; a file named twice
    appears once.

    Raises:
        InputError: an argument matches nothing, or there is no argument.
    """
    found: dict[Path, None] = {}
    for argument in arguments:
        names = [line.rstrip("\r\n") for line in stdin] if argument == "-" else [argument]
        for name in names:
            if name.strip():
                found |= dict.fromkeys(_expand(name))
    if not found:
        raise InputError("No image was given.", "Give image files, folders, globs, or - and paths on stdin.")
    return [*found]


def _expand(name: str) -> list[Path]:
    path = Path(name).expanduser()
    if path.is_dir():
        images = sorted(file for file in path.rglob("*") if looks_like_image(file.name) and file.is_file())
        if not images:
            raise InputError(f"No image in folder {path} (looked for {', '.join(sorted(IMAGE_SUFFIXES))}).")
        return images
    if path.exists():
        return [path]
    matches = sorted(glob.glob(str(path), recursive=True)) if glob.has_magic(name) else []
    if matches:
        return [Path(match) for match in matches if Path(match).is_file()]
    raise InputError(f"No such image: {name}.", _near_file(path))


def _near_file(path: Path) -> str | None:
    """The hint for a file that does not exist: the one beside it with the nearest name."""
    if not path.parent.is_dir():
        return f"The folder {path.parent} does not exist either; is the disk attached, is image_root right?"
    names = os.listdir(path.parent)
    near = closest(path.name, names) if len(names) <= 10_000 else None
    return f"Did you mean {path.parent / near}?" if near else None


def load_image(path: Path, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """An image file as RGB, upright.

    The camera's orientation tag (EXIF) is applied; transparent parts become white; 16-bit grey is scaled to 8 bit; of
    an animation the first frame is taken.

    Raises:
        InputError: missing, not an image, damaged, or more than `max_pixels`; the message says which.
    """
    path = Path(path)
    try:
        return _decode(path, max_pixels)
    except FileNotFoundError as error:
        raise InputError(f"No such image: {path}.", _near_file(path)) from error
    except Exception as error:
        raise InputError(
            f"Cannot read image {path}: {_reason(path, error)}.", "Replace or remove that file."
        ) from error


def read_pixels(path: Path, size: tuple[int, int]) -> Pixels:
    """One image file as uint8 [H, W, 3], see `squash`.

    Raises:
        InputError: not there or not readable as an image.
    """
    return squash(load_image(path), size)


def squash(image: Image.Image, size: tuple[int, int]) -> Pixels:
    """A PIL image as uint8 [H, W, 3], squashed to `size` = (H, W) with Pillow's bicubic filter (no cropping)."""
    from PIL import Image

    resized = image.convert("RGB").resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return np.array(resized)


def chunks(count: int, batch_size: int) -> list[range]:
    """Positions 0 to count - 1 in consecutive ranges of at most `batch_size`."""
    return [range(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]


def image_problem(path: Path, *, max_pixels: int = MAX_PIXELS) -> str | None:
    """Why a file is not a usable image, in a few words; None if it decodes to its last row."""
    try:
        _decode(path, max_pixels)
    except Exception as error:
        return _reason(path, error)
    return None


def check_images(
    paths: Sequence[Path],
    *,
    max_pixels: int = MAX_PIXELS,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> list[BadImage]:
    """Decode every file in full and list those that cannot be used, in the order given.

    Args:
        progress: called with (done, total) now and then, from the calling thread.
    """
    bad: list[BadImage] = []
    with ThreadPoolExecutor(max(1, workers)) as pool:
        results = pool.map(lambda path: image_problem(path, max_pixels=max_pixels), paths)
        for index, reason in enumerate(results):
            if reason is not None:
                bad.append(BadImage(index, paths[index], reason))
            if progress is not None and (index % 100 == 99 or index + 1 == len(paths)):
                progress(index + 1, len(paths))
    return bad


class _TooLarge(ValueError):
    pass


def _decode(path: Path, max_pixels: int) -> Image.Image:
    """The file as an upright RGB image; raises whatever Pillow raises."""
    from PIL import Image, ImageOps

    _register_formats()
    with Image.open(path, formats=tuple(_FORMATS)) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise _TooLarge(f"{width:,} x {height:,} pixels; the limit is {max_pixels / 1e6:.0f} million")
        image.load()
        whole = image.copy() if getattr(image, "is_animated", False) else image
    with contextlib.suppress(Exception):  # where only the orientation tag is damaged, the pixels are fine
        whole = ImageOps.exif_transpose(whole)
    return _to_rgb(whole)


@cache
def _register_formats() -> None:
    """Import the decoders of these formats only: Pillow imports those of all its formats when it misses one of them."""
    for module in _FORMATS.values():
        with contextlib.suppress(ImportError):
            import_module(f"PIL.{module}ImagePlugin")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return _deep_grey(image).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        from PIL import Image

        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(ground, layer).convert("RGB")
    return image.convert("RGB")


def _deep_grey(image: Image.Image) -> Image.Image:
    """16- and 32-bit grey as 8 bit. Pillow's own conversion cuts off at 255, which turns such images white."""
    from PIL import Image

    values = np.nan_to_num(np.asarray(image).astype(np.float64))
    highest = float(values.max(initial=0.0))
    if image.mode.startswith("I;16") or (image.mode == "I" and highest > 255):
        values = values / 257
    elif image.mode == "F" and highest <= 1:
        values = values * 255
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def _reason(path: Path, error: Exception) -> str:
    """The error in words that a user can act on; Pillow's own messages repeat the file name or speak of internals."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, _TooLarge):
        return str(error)
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more pixels than the limit of {MAX_PIXELS / 1e6:.0f} million"
    if isinstance(error, FileNotFoundError):
        return "not there"
    if path.is_dir():
        return "a folder, not a file"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    size = path.stat().st_size if path.is_file() else 0
    if size == 0:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return f"not an image file in a known format ({', '.join(_FORMATS)})"
    if "truncated" in str(error).lower():
        return f"truncated after {size:,} bytes"
    return f"damaged ({str(error) or type(error).__name__})".replace("\n", " ")

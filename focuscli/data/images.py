"""Image files: decoding to RGB, resizing, and checking a whole dataset before training."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from focuscli.data.inputs import near_file
from focuscli.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

Pixels = NDArray[np.uint8]
T = TypeVar("T")
READ_AHEAD = 3
"""Batches that are read while one is used."""
# Crops of pedestrians have some 0.01 to 1 million pixels; a file that claims far more is an accident or an attack.
MAX_PIXELS = 64 * 1024 * 1024
# Only formats that Pillow decodes in its own process (EPS, for one, would start Ghostscript).
FORMATS = ("BMP", "JPEG", "PNG", "WEBP", "TIFF", "GIF", "PPM")


def load_image(path: Path) -> Image.Image:
    """An image file as RGB, upright.

    The camera's orientation tag (EXIF) is applied; transparent parts become white; 16-bit grey is scaled to 8 bit; of
    an animation the first frame is taken.

    Raises:
        InputError: missing, not an image, damaged, or more than `MAX_PIXELS` pixels; the message says which.
    """
    path = Path(path)
    try:
        return _decode(path)
    except FileNotFoundError as error:
        raise InputError(f"No such image: {path}.", near_file(path)) from error
    except Exception as error:
        raise InputError(f"Cannot read image {path}: {_reason(error)}.", "Replace or remove that file.") from error


def squash(image: Image.Image, size: tuple[int, int]) -> Pixels:
    """A PIL image as uint8 [H, W, 3], squashed to `size` = (H, W) with Pillow's bicubic filter (no cropping)."""
    from PIL import Image

    resized = image.convert("RGB").resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return np.array(resized)


def chunks(count: int, batch_size: int) -> list[range]:
    """Positions 0 to count - 1 in consecutive ranges of at most `batch_size`."""
    return [range(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]


def read_ahead(read: Callable[[int], T], batches: Iterable[Sequence[int]], *, workers: int) -> Iterator[list[T]]:
    """Yield what `read` returns for each position of each batch, read by threads a few batches ahead of the consumer."""
    pool = ThreadPoolExecutor(max(1, workers))
    pending: deque[list[Future[T]]] = deque()
    try:
        for batch in batches:
            pending.append([pool.submit(read, index) for index in batch])
            if len(pending) > READ_AHEAD:
                yield [future.result() for future in pending.popleft()]
        while pending:
            yield [future.result() for future in pending.popleft()]
    finally:
        pool.shutdown(cancel_futures=True)


def check_images(paths: Sequence[Path], *, progress: Callable[[int, int], None] | None = None) -> dict[int, str]:
    """Decode every file in full; returns, by position in `paths`, why an image cannot be used, in a few words.

    Args:
        progress: called with (done, total) now and then, from the calling thread.
    """

    def problem(path: Path) -> str | None:
        try:
            _decode(path)
        except Exception as error:
            return _reason(error)
        return None

    bad: dict[int, str] = {}
    with ThreadPoolExecutor(2) as pool:
        for index, reason in enumerate(pool.map(problem, paths)):
            if reason is not None:
                bad[index] = reason
            if progress is not None and (index % 100 == 99 or index + 1 == len(paths)):
                progress(index + 1, len(paths))
    return bad


def _decode(path: Path) -> Image.Image:
    """The file as an upright RGB image; raises whatever Pillow raises."""
    from PIL import Image, ImageOps

    Image.preinit()  # the common formats; else Pillow may load all its plugins, which takes longer than to predict
    with Image.open(path, formats=FORMATS) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ValueError(f"{width:,} x {height:,} pixels; the limit is {MAX_PIXELS / 1e6:.0f} million")
        image.load()
        whole = image.copy() if getattr(image, "is_animated", False) else image
    with contextlib.suppress(Exception):  # where only the orientation tag is damaged, the pixels are fine
        whole = ImageOps.exif_transpose(whole)
    if whole.mode.startswith("I") or whole.mode == "F":
        whole = _deep_grey(whole)
    if whole.has_transparency_data:
        layer = whole.convert("RGBA")
        whole = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return whole if whole.mode == "RGB" else whole.convert("RGB")


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


def _reason(error: Exception) -> str:
    """The error in words that a user can act on; some of Pillow's own repeat the file's name."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return f"not an image file in a known format ({', '.join(FORMATS)})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__

"""Image files: decoding to RGB, resizing, and checking a whole dataset before training."""

from __future__ import annotations

import contextlib
import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from focuscli.data.contents import check_kind
from focuscli.data.formats import COMMON, formats, names_for
from focuscli.data.inputs import near_file
from focuscli.errors import InputError
from focuscli.storage.files import kind_of

if TYPE_CHECKING:
    from PIL import Image, ImageFile

Pixels = NDArray[np.uint8]
T = TypeVar("T")
READ_AHEAD = 3
"""Batches that are read while one is used."""
# Crops of pedestrians have some 0.01 to 1 million pixels; a file that claims far more is an accident or an attack.
MAX_PIXELS = 64 * 1024 * 1024
WORKING_PIXELS = 16 * 1024 * 1024
"""Larger images are reduced by a whole factor as they are decoded."""
MEMORY = 384 * 2**20
"""Bytes for all images that are being decoded at the same time."""
_IN_MODE = {"1": 5, "L": 1, "P": 5, "I;16": 3, "I;16B": 3, "I": 5, "F": 5}
"""Bytes per pixel of an image, and of what it is converted to before it can be reduced; others take 4, with alpha 8."""
_IN_DECODER = {"AVIF": 12, "GIF": 4, "HEIF": 12, "JPEG2000": 16, "JXL": 16, "PSD": 4, "TIFF": 4, "WEBP": 12}
"""Bytes per pixel that a decoder needs besides."""
scaled: dict[Path, str] = {}
"""The images whose values `load_image` had to scale by a guess, and how."""


def load_image(path: Path) -> Image.Image:
    """An image file as RGB, upright.

    The camera's orientation tag (EXIF) is applied; transparent parts become white; of an animation the first frame is
    taken. Values of more than 8 bits are scaled as `scale_of` says. Images of more than `WORKING_PIXELS` are reduced; all
    images that are being decoded together take at most `MEMORY`.

    Raises:
        InputError: missing, not an image, damaged, with more than `MAX_PIXELS` pixels or values without a scale; the
            message says which.
    """
    path = Path(path)
    try:
        return _decode(path)
    except FileNotFoundError as error:
        raise InputError(f"No such image: {path}.", near_file(path)) from error
    except Exception as error:
        raise InputError(
            f"Cannot read image {path}: {_reason(path, error)}.", "Replace or remove that file."
        ) from error


def scale_of(low: float, high: float, *, whole: bool) -> tuple[float, str]:
    """The value of white in an image with values from `low` to `high`, and the rule in words.

    Whole numbers: the largest one of 8, 10, 12, 14, 16, 31 or 32 bits, the fewest that hold the maximum (cameras store 12
    bits in 16). Fractions: 1 if the maximum is at most 1, else 255.

    Raises:
        ValueError: there are negative values, NaN, or fractions above 255: nothing says what is black or white.
    """
    if not (low >= 0 and math.isfinite(high)) or (not whole and high > 255):
        raise ValueError(f"values from {low:g} to {high:g}, which say nothing of black and white; save it with 8 bits")
    if not whole:
        white = 1 if high <= 1 else 255
        return white, f"floating-point values, read as 0 to {white}"
    bits = next(bits for bits in (8, 10, 12, 14, 16, 31, 32) if high < 2**bits)
    return 2**bits - 1, f"scaled from {bits} bits"


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
            return _reason(path, error)
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
    from PIL import Image

    if kind_of(path) not in ("file", "folder", ""):
        raise ValueError("a pipe or a device, not a file")
    with _open(path) as image:
        pixels = math.prod(image.size)
        if pixels > MAX_PIXELS:
            width, height = image.size
            raise ValueError(f"{width:,} x {height:,} pixels; the limit is {MAX_PIXELS / 1e6:.0f} million")
        factor = max(1, math.ceil(math.sqrt(pixels / WORKING_PIXELS)))
        # A progressive JPEG is decoded from all of its coefficients.
        needed = 6 * pixels if image.info.get("progressive") else 0
        if factor > 1:
            # Of blocks as small as Pillow's own, glibc keeps the memory for each thread when they are freed.
            Image.core.set_block_size(64 * 2**20)
            image.draft(None, (image.width // factor, image.height // factor))  # a JPEG is decoded smaller at once
        alpha = image.has_transparency_data
        each = _IN_MODE.get(image.mode, 4) + _IN_DECODER.get(image.format or "", 0) + 4 * alpha
        needed += math.prod(image.size) * each + pixels // factor**2 * (16 if alpha else 8)
        if needed > MEMORY:
            raise ValueError(f"decoding takes {needed / 2**20:,.0f} MiB; the limit is {MEMORY / 2**20:.0f}")
        with _memory(needed):
            return _to_rgb(path, image, factor)


def _open(path: Path) -> ImageFile.ImageFile:
    """The header of an image file, in one of the formats that are read."""
    from PIL import Image, UnidentifiedImageError

    Image.preinit()  # the common formats; to load all takes as long as to decode a few images
    try:
        return Image.open(path, formats=COMMON)
    except UnidentifiedImageError:
        return Image.open(path, formats=names_for(path))


@contextlib.contextmanager
def _memory(needed: int) -> Iterator[None]:
    """Wait until so much of `MEMORY` is free, and take it for the block."""
    with _freed:
        _freed.wait_for(lambda: sum(_taken) + needed <= MEMORY)
        _taken.append(needed)
    try:
        yield
    finally:
        with _freed:
            _taken.remove(needed)
            _freed.notify_all()


_freed = threading.Condition()
_taken: list[int] = []


def _rescale(path: Path, image: Image.Image) -> Image.Image:
    """A grey image of more than 8 bits as 8 bits; in strips, which need little memory."""
    from PIL import Image

    unsigned = image.mode == "I" and getattr(image, "tag_v2", {}).get(339, (1,)) == (1,)  # Pillow reads it as signed
    width, height = image.size
    rows = max(1, 2**20 // width)
    boxes = [(0, top, width, min(top + rows, height)) for top in range(0, height, rows)]

    def strips() -> Iterator[NDArray[Any]]:
        for box in boxes:
            values = np.asarray(image.crop(box))
            yield values.view(np.uint32) if unsigned else values

    lows, highs = zip(*((values.min(), values.max()) for values in strips()), strict=True)
    white, words = scale_of(float(np.min(lows)), float(np.max(highs)), whole=image.mode != "F")
    bits = 32 if image.mode == "I" else 16
    if image.mode == "F":
        scaled[path] = words
    elif white < 2 ** (bits - 1) - 1:
        scaled[path] = f"{bits}-bit data, {words}"
    eight = Image.new("L", image.size)
    for box, values in zip(boxes, strips(), strict=True):
        eight.paste(Image.fromarray(np.rint(values * (255 / white)).astype(np.uint8)), box[:2])
    return eight


def _to_rgb(path: Path, image: ImageFile.ImageFile, factor: int) -> Image.Image:
    """Decode an image whose header was read, reduced by a factor in each direction."""
    from PIL import Image, ImageOps

    # How the values are stored; by number, because it is a plain tuple before Pillow 11.
    raw = str(image.tile[0][3]) if image.tile else ""
    image.load()
    whole: Image.Image = image.copy() if getattr(image, "is_animated", False) else image
    if whole.mode.startswith("I") or whole.mode == "F":
        whole = _rescale(path, whole)
    elif ";16" in raw and whole.mode in ("RGB", "RGBA"):  # of which Pillow reads the upper 8 bits
        extrema: Any = whole.getextrema()
        if max(high for _, high in extrema[:3]) < 64:
            raise ValueError("16-bit colour with values of 14 bits at most; save it with 8 bits")
    if factor > 1:
        if whole.mode in ("1", "P", "PA"):
            whole = whole.convert("RGBA" if whole.has_transparency_data else "RGB")
        factor = max(1, math.ceil(math.sqrt(math.prod(whole.size) / WORKING_PIXELS)))
        whole = whole.reduce(factor)
    with contextlib.suppress(Exception):  # where only the orientation tag is damaged, the pixels are fine
        if whole is not image:
            whole.info["exif"] = image.getexif().tobytes()
        whole = ImageOps.exif_transpose(whole)
    if whole.has_transparency_data:
        layer = whole.convert("RGBA")
        whole = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return whole if whole.mode == "RGB" else whole.convert("RGB")


def _reason(path: Path, error: Exception) -> str:
    """The error in words that a user can act on; some of Pillow's own repeat the file's name."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        if not path.stat().st_size:
            return "an empty file"
        try:
            check_kind(path, "image")
        except InputError as other:
            return other.problem.removeprefix(f"{path} is ").removesuffix(".")
        return f"not an image file in a known format ({', '.join(sorted({*formats().values()}))})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__

"""Image files: decoding to RGB, what cannot be used and why."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from focuscli.data.images import check_images, load_image
from focuscli.errors import InputError

MakeImage = Callable[..., None]


def png_bomb(width: int, height: int) -> bytes:
    """A PNG whose header claims a size that its few bytes do not hold."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content


def one_pixel(path: Path) -> tuple[int, ...]:
    image = load_image(path)
    assert image.mode == "RGB"
    return image.getpixel((0, 0))  # type: ignore[return-value]


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "tif", "ppm"])
def test_rgb_comes_back_as_it_is(tmp_path: Path, suffix: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 3), dtype=np.uint8)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(pixels).save(path, **({"lossless": True} if suffix == "webp" else {}))
    assert np.array_equal(np.asarray(load_image(path)), pixels)


def test_every_mode_becomes_rgb(tmp_path: Path) -> None:
    def read(image: Image.Image, name: str = "a.png", **options: Any) -> tuple[int, ...]:
        image.save(tmp_path / name, **options)
        return one_pixel(tmp_path / name)

    white, grey = (255, 255, 255), (90, 90, 90)
    for mode, value, expected in (
        ("L", 90, grey),
        ("1", 255, white),
        ("LA", (90, 255), grey),
        ("LA", (90, 0), white),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), white),
        ("I;16", 200 * 257, (200, 200, 200)),
        ("I;16", 65535, white),
    ):
        assert read(Image.new(mode, (2, 2), value)) == expected, mode
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    assert read(palette) == (200, 100, 50)
    assert read(palette, transparency=1) == white
    assert read(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "a.jpg") == white
    assert read(Image.fromarray(np.full((2, 2), 0.5, np.float32)), "a.tif") == (128, 128, 128)
    frames = [Image.new("RGB", (4, 2), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    assert read(frames[0], "a.gif", save_all=True, append_images=frames[1:]) == (255, 0, 0)


def test_the_cameras_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 2))
    image.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene is at the right: turn clockwise
    image.save(tmp_path / "a.png", exif=exif)
    turned = load_image(tmp_path / "a.png")
    assert turned.size == (2, 4)
    assert turned.getpixel((1, 0)) == (255, 0, 0)
    # a damaged tag does not cost the image
    image.save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert load_image(tmp_path / "a.png").size == (4, 2)


def test_bad_files_are_listed_with_their_reasons(tmp_path: Path, make_image: MakeImage) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    jpeg, png = io.BytesIO(), io.BytesIO()
    noise.save(jpeg, "JPEG")
    noise.save(png, "PNG")
    damaged = bytearray(png.getvalue())
    damaged[200:240] = bytes(40)
    files: dict[str, tuple[bytes | None, str]] = {
        "short.jpg": (jpeg.getvalue()[:500], "runcated"),
        "short.png": (png.getvalue()[:500], "runcated"),
        "damaged.png": (damaged, ""),
        "empty.jpg": (b"", "not an image file"),
        "text.jpg": (b"not an image", "not an image file"),
        "figure.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image file"),
        "bomb.png": (png_bomb(9_000, 9_000), "9,000 x 9,000 pixels; the limit is"),
        "large.png": (png_bomb(10_000, 10_000), "pixels"),  # Pillow warns of this one
        "huge.png": (png_bomb(200_000, 200_000), "pixels"),  # and refuses this one
        "folder.jpg": (None, "Is a directory"),
        "gone.jpg": (None, "No such file"),
    }
    (tmp_path / "folder.jpg").mkdir()
    for name, (content, _) in files.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
    make_image(tmp_path / "good.png")
    names = ["good.png", *files, "good.png"]
    calls: list[tuple[int, int]] = []
    bad = check_images([tmp_path / name for name in names], progress=lambda *numbers: calls.append(numbers))
    assert [*bad] == [*range(1, len(files) + 1)]
    for index, reason in bad.items():
        assert files[names[index]][1] in reason, names[index]
        assert str(tmp_path) not in reason
        with pytest.raises(InputError, match=names[index]) as caught:
            load_image(tmp_path / names[index])
        assert reason in caught.value.problem or names[index] == "gone.jpg"
    assert calls == [(len(names), len(names))]

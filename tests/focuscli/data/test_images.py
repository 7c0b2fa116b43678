"""Image files: decoding to RGB, what cannot be used and why."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from focuscli.data.formats import formats, looks_like_image
from focuscli.data.images import check_images, load_image, scaled
from focuscli.errors import InputError

MakeImage = Callable[..., None]


def png(width: int, height: int, rows: bytes, bits: int = 8, colours: int = 2) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content


def png_bomb(width: int, height: int) -> bytes:
    """A PNG whose header claims a size that its few bytes do not hold."""
    return png(width, height, b"\0" * 100)


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


PICTURE = np.random.default_rng(0).integers(1, 256, (6, 5, 3))


def deep_png(values: Any, colours: int) -> bytes:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(5, 6, rows, bits=16, colours=colours)


@pytest.mark.parametrize(
    ("name", "write", "words"),
    [
        ("10.png", lambda v: deep_png(v[..., 0] * 1023 / 255, 0), "16-bit data, scaled from 10"),
        ("12.png", lambda v: deep_png(v[..., 0] * 4095 / 255, 0), "16-bit data, scaled from 12"),
        ("14.png", lambda v: deep_png(v[..., 0] * 16383 / 255, 0), "16-bit data, scaled from 14"),
        ("16.png", lambda v: deep_png(v * 257, 2), None),
        ("grey16.png", lambda v: deep_png(v[..., 0] * 257, 0), None),
        ("8in16.png", lambda v: deep_png(v[..., 0], 0), "scaled from 8 bits"),
        ("32.tif", lambda v: v[..., 0].astype(np.int32) * 8421504, None),
        ("big.tif", lambda v: Image.frombytes("I;16B", (5, 6), (v[..., 0] * 257).astype(">u2").tobytes()), None),
        ("1.tif", lambda v: (v[..., 0] / 255).astype(np.float32), "read as 0 to 1"),
        ("255.tif", lambda v: v[..., 0].astype(np.float32), "read as 0 to 255"),
    ],
)
def test_deep_images_show_the_same_picture_and_a_guess_is_noted(tmp_path, name, write, words):
    picture = PICTURE.copy()
    picture[0, 0] = 255  # what the scale is found by
    content = write(picture)
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        (content if isinstance(content, Image.Image) else Image.fromarray(content)).save(tmp_path / name)
    found = np.asarray(load_image(tmp_path / name)).astype(int)
    assert np.abs(found - (picture if name == "16.png" else picture[..., :1])).max() <= 1
    assert words is None or words in scaled[tmp_path / name]
    assert (words is None) == (tmp_path / name not in scaled)


@pytest.mark.parametrize("value", [np.nan, -1, 3000, np.inf])
def test_values_without_a_scale_are_refused(tmp_path, value):
    Image.fromarray(np.full((2, 2), value, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match="say nothing of black and white"):
        load_image(tmp_path / "a.tif")
    (tmp_path / "a.png").write_bytes(deep_png(PICTURE * 16, 2))
    with pytest.raises(InputError, match="16-bit colour with values of 14 bits"):
        load_image(tmp_path / "a.png")


def test_large_images_are_decoded_one_after_the_other_in_little_memory(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(png(5000, 5000, bytes(5000 * (1 + 10000)), bits=16, colours=0))
    code = f"""
import resource, pathlib, numpy
from concurrent.futures import ThreadPoolExecutor
from focuscli.data.images import load_image, squash
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
read = lambda _: squash(load_image(pathlib.Path({str(tmp_path / "a.png")!r})), (224, 224)).shape
with ThreadPoolExecutor(4) as pool:
    print(*pool.map(read, range(4)))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) < 512
    monkeypatch.setattr("focuscli.data.images.MEMORY", 100 * 2**20)
    with pytest.raises(InputError, match=r"decoding takes 119 MiB; the limit is 100"):
        load_image(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "mpo", "jp2", "tga", "avif", "qoi", "pcx", "sgi"])
def test_every_suffix_of_a_photograph_is_one(tmp_path, suffix):
    if f".{suffix}" not in formats():
        pytest.skip("not in this build of Pillow")
    Image.new("RGB", (4, 4), (200, 100, 50)).save(tmp_path / f"a.{suffix}")
    assert looks_like_image(f"A.{suffix.upper()}")
    assert np.abs(np.subtract(one_pixel(tmp_path / f"a.{suffix}"), (200, 100, 50))).max() < 12
    assert not any(map(looks_like_image, ("a.eps", "a.ico", "a.pdf", "a.txt", "a")))


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
        "empty.jpg": (b"", "an empty file"),
        "page.jpg": (b"<html><body>404</body></html>", "a web page, not an image"),
        "start.png": (b"\x89PNG\r\n", "not an image file"),
        "text.jpg": (b"not an image", "not an image file"),
        "figure.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image file"),
        "bomb.png": (png_bomb(9_000, 9_000), "9,000 x 9,000 pixels; the limit is"),
        "large.png": (png_bomb(10_000, 10_000), "pixels"),  # Pillow warns of this one
        "huge.png": (png_bomb(200_000, 200_000), "pixels"),  # and refuses this one
        "pipe.jpg": (None, "a pipe or a device"),
        "folder.jpg": (None, "Is a directory"),
        "gone.jpg": (None, "No such file"),
    }
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
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

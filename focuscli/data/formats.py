"""Which image formats are read. Imports Pillow only when asked."""

from __future__ import annotations

import contextlib
from functools import cache
from importlib import import_module
from pathlib import Path

COMMON = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
OTHERS = ("AVIF", "DIB", "HEIF", "JPEG2000", "JXL", "MPO", "PCX", "PSD", "QOI", "SGI", "SUN", "TGA")
"""Formats of photographs that Pillow decodes in its own process. Not read: icons and archives of other images, vector graphics
(EPS would start Ghostscript), scientific containers. HEIF and JPEG XL need a plugin."""
_PLUGINS = (("pillow_heif", "register_heif_opener"), ("pillow_jxl", ""))


@cache
def formats() -> dict[str, str]:
    """The suffixes of the formats that can be decoded here, in small letters with the dot -> the format."""
    from PIL import Image

    Image.init()
    for module, register in _PLUGINS:
        with contextlib.suppress(ImportError, AttributeError):
            plugin = import_module(module)
            if register:
                getattr(plugin, register)()
    known = {*COMMON, *OTHERS} & {*Image.OPEN, "MPO"}  # the JPEG plugin opens MPO too
    return {suffix: name for suffix, name in Image.registered_extensions().items() if name in known}


def looks_like_image(name: str) -> bool:
    """Whether a name has the suffix of an image file."""
    return Path(name).suffix.lower() in formats()

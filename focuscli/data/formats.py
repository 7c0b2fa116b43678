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
_PACKAGES = {".heic": "pillow-heif", ".heif": "pillow-heif", ".hif": "pillow-heif", ".jxl": "pillow-jxl-plugin"}


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


def names_for(path: Path | str) -> list[str]:
    """The formats to try on a file, whatever its suffix. Any bytes may be a TGA, which counts only where the suffix says so."""
    own = formats().get(Path(path).suffix.lower())
    return sorted(name for name in {*formats().values()} if name != "MPO" and (name != "TGA" or own == "TGA"))


def looks_like_image(name: str) -> bool:
    """Whether a name has the suffix of an image file."""
    return Path(name).suffix.lower() in formats()


def holds_image(path: str) -> bool:
    """Whether a file begins as one of the formats does."""
    from PIL import Image

    try:
        with Image.open(path, formats=names_for(path)):
            return True
    except Exception:
        return False


def plugin_for(name: str) -> str | None:
    """The package that would let Pillow read a file of this name, if it is not installed."""
    suffix = Path(name).suffix.lower()
    return None if suffix in formats() else _PACKAGES.get(suffix)

"""Texts with file names in them: on Linux a name is bytes, and need not be UTF-8."""

from __future__ import annotations

import json
import re
from typing import Any

ANY_NAME = "surrogateescape"
"""How results are encoded: what of a name is no UTF-8 stays the bytes that it is."""
_NO_UTF8 = re.compile("[\ud800-\udfff]")


def to_json(value: Any, *, indent: int | None = None) -> str:
    """`value` as JSON, its letters as they are; all in ASCII where a name in it is no UTF-8, for JSON knows no bytes."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return json.dumps(value, indent=indent) if _NO_UTF8.search(text) else text

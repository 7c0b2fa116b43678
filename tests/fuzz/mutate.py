"""Damaged copies of a file: a mutant is its seed with a few edits, so that it can be reduced edit by edit."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

NUMBERS = (0, 1, -1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
WORDS = (
    *(b"0 1 2 -1 1e999 -1e999 nan NaN Infinity 1e308 99999999999999999999999999999 true null [] {} '' \"\"".split()),
    *(b"\xff\xfe", b"\x00", b"\xef\xbb\xbf", b"\r", b"\n\n", b",,,,", b"\xed\xa0\x80", b"[" * 3000, b'{"a":' * 3000),
    *(b"../../../etc/passwd", b"/dev/zero", b"~", b"%s%n", b"\x1b[2J"),
)


class Edit(NamedTuple):
    """Replace `length` bytes from `start` on."""

    start: int
    length: int
    by: bytes


def edits(seed: bytes, rng: random.Random) -> list[Edit]:
    """One to four random edits of a seed."""
    return [rng.choice(KINDS)(seed, rng) for _ in range(rng.choice((1, 1, 1, 2, 3, 4)))]


def apply(seed: bytes, changes: Sequence[Edit]) -> bytes:
    """The mutant."""
    found = bytearray(seed)
    for start, length, by in changes:
        found[start : start + length] = by
    return bytes(found)


def reduce(changes: Sequence[Edit], fails: Callable[[Sequence[Edit]], bool]) -> list[Edit]:
    """As few of the edits as still fail."""
    kept = list(changes)
    for change in changes:
        fewer = [other for other in kept if other is not change]
        if fewer and fails(fewer):
            kept = fewer
    return kept


def _place(seed: bytes, rng: random.Random) -> int:
    """Anywhere, but one time in two near the ends, where large files describe themselves."""
    size, near = len(seed), min(len(seed), 2000)
    return rng.choice((rng.randrange(size), rng.randrange(size), rng.randrange(near), size - 1 - rng.randrange(near)))


def _bit(seed: bytes, rng: random.Random) -> Edit:
    at = _place(seed, rng)
    return Edit(at, 1, bytes([seed[at] ^ 1 << rng.randrange(8)]))


def _number(seed: bytes, rng: random.Random) -> Edit:
    """A binary integer of the usual sizes."""
    at, form = _place(seed, rng), rng.choice(("<B", "<H", "<I", "<Q", ">I", ">Q"))
    size = struct.calcsize(form)
    return Edit(at, size, struct.pack(form, rng.choice(NUMBERS) % 2 ** (8 * size)))


def _word(seed: bytes, rng: random.Random) -> Edit:
    """A word of the file, or a place in it, replaced by a troublesome one."""
    at = _place(seed, rng)
    length = 0
    while length < 20 and seed[at + length : at + length + 1].isalnum():
        length += 1
    return Edit(at, rng.choice((0, length)), rng.choice(WORDS))


def _cut(seed: bytes, rng: random.Random) -> Edit:
    at = _place(seed, rng)
    return Edit(at, rng.choice((1, 2, 4, 64, 1024, len(seed))), b"")


def _copy(seed: bytes, rng: random.Random) -> Edit:
    """A piece of the file once more, somewhere else."""
    start, at = _place(seed, rng), _place(seed, rng)
    piece = seed[start : start + rng.choice((1, 4, 16, 64, 512))]
    return Edit(at, rng.choice((0, len(piece))), piece * rng.choice((1, 1, 2, 50)))


KINDS = (_bit, _bit, _number, _word, _word, _cut, _copy)

"""The works of `focus bench` in the order of `all`. Light to import: `focus --help` reads it."""

from __future__ import annotations

import os

from focuscli.errors import UsageError

WORKS = {
    "encode": "CLIP's image tower against OpenAI's, open_clip's, timm's and Hugging Face's",
    "score": "image to 51 attribute scores against the plain image tower",
    "train": "a training step against a visual-only one: time, memory, texts; on a GPU the whole loop",
    "data": "decoding, resizing and augmentation, images per second and core",
    "search": "a text query over a million crops",
    "startup": "CPU time of whole commands, and what they import",
}
ALL = "all"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def pin_threads(threads: int) -> None:
    """For this process and those it starts; to be called before torch and numpy are imported."""
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(threads)


def expand(work: str) -> list[str]:
    """The works that a word stands for.

    Raises:
        UsageError: none.
    """
    if work == ALL:
        return [*WORKS]
    if work not in WORKS:
        raise UsageError(f'Unknown work "{work}".', f"Known: {', '.join(WORKS)}, {ALL}, table.")
    return [work]

"""Reading the MATLAB 5 files that annotations come in, with one kind of error for all that can be wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from focuscli.errors import InputError

MAX_BYTES = 256 * 1024 * 1024  # the largest real one, RAPv1's, has 2 MB
Result = TypeVar("Result")


def read_mat_file(path: Path, parse: Callable[[dict[str, Any]], Result], hint: str) -> Result:
    """Load a file and parse its variables.

    Args:
        parse: from the variables by name to what is wanted; may raise anything.
        hint: what to do when it cannot be used.

    Raises:
        InputError: the file cannot be read, is too large, or `parse` failed.
    """
    import scipy.io

    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"{path.stat().st_size:,} bytes is too large for it")
        return parse(scipy.io.loadmat(str(path)))
    except InputError:
        raise
    except Exception as error:  # scipy's reader raises nearly anything on a damaged file
        raise InputError(
            f"{path} is not a readable {path.name}: {_words(error)}.", hint or "Fetch the file again."
        ) from error


def strings(column: Any) -> list[str]:
    """A MATLAB cell array of strings as Python's."""
    return [str(entry.item() if isinstance(entry, np.ndarray) else entry) for entry in np.asarray(column).ravel()]


def partition_parts(entry: Any, parts: Sequence[str], number: int, count: int) -> dict[str, NDArray[np.int64]]:
    """The positions, from 0, of a partition's parts; each of the images is in one of them.

    Args:
        entry: struct with a field of 1-based numbers per part, in any order; uint16 in the real files.

    Raises:
        ValueError: an image is in none or in two.
    """
    found = {part: np.asarray(entry[part]).astype(np.int64).ravel() - 1 for part in parts}
    if not np.array_equal(np.sort(np.concatenate([*found.values()])), np.arange(count)):
        raise ValueError(f"partition {number} does not hold each of the {count:,} images once")
    return found


def _words(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it has no {error.args[0]!r}"
    return str(error) or type(error).__name__

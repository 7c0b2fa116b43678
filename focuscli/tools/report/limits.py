"""How large a page may get, and what is left out of it for that."""

from __future__ import annotations

LARGEST = 3_000_000  # Bytes of a page.
DETAILED_RUNS = 4  # More runs on one page come without the curves and errors of each attribute.
MOST_PICTURES = 1_600_000  # Bytes of pictures of one run.
STRIP = 12  # Errors that are shown of all attributes together; they repeat some of the attributes' own.


def is_detailed(runs: int) -> bool:
    """Whether a page on so many runs goes into each attribute."""
    return runs <= DETAILED_RUNS


def picture_budget(runs: int, attributes: int, errors: int) -> int:
    """Bytes that the pictures of each of so many runs may take, by what the rest of the page needs (measured on PETA's
    35 attributes: 340 kB a run in detail, half of it else)."""
    text = attributes * (10_000 + 800 * max(0, errors - 3) if is_detailed(runs) else 5_000)
    repeated = STRIP * 10_000
    return max(0, min(MOST_PICTURES, int(0.95 * LARGEST / runs) - text - repeated))

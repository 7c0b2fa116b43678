"""Ranges of numbers with round ticks, linear and logarithmic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """A range of values with labelled ticks; `log` places them by their logarithm."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    log: bool = False

    def place(self, value: float) -> float:
        """0 at the low end, 1 at the high one; values outside are put on the end."""
        scale = math.log10 if self.log else float
        low, high = scale(self.low), scale(self.high)
        return min(1.0, max(0.0, (scale(max(value, self.low)) - low) / (high - low)))


def linear_axis(low: float, high: float, *, wanted: int = 5, percent: bool = False, inside: bool = False) -> Axis:
    """Round ticks at 1, 2 or 5 times a power of ten, about so many; the range grows to them unless `inside`."""
    if not high > low:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9) if inside else math.floor(low / step + 1e-9)
    last = math.floor(high / step + 1e-9) if inside else math.ceil(high / step - 1e-9)
    values = [number * step for number in range(first, last + 1)]
    ends = (low, high) if inside else (values[0], values[-1])
    return Axis(*ends, [(value, _tick(100 * value if percent else value)) for value in values])


def log_axis(low: float, high: float) -> Axis:
    """Whole decades around positive values, a tick on each."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    last = max(last, first + 1)
    values = [10.0**power for power in range(first, last + 1)]
    return Axis(values[0], values[-1], [(value, f"{value:g}") for value in values], log=True)


def _tick(value: float) -> str:
    return f"{value + 0.0:.6g}".replace("-", "−")

"""Which runs are the same run, which differ in nothing but their seed, and what several seeds amount to."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from focuscli.storage.files import fingerprint

NEUTRAL_SETTINGS = frozenset(
    [
        *("data.dataset", "data.cache", "data.cache_limit_mb", "data.workers", "train.device", "train.threads"),
        *("train.weights", "train.gradient_checkpointing", "train.compile", "train.save_every_steps"),
        "eval.batch_size",
    ]
)
"""Settings that do not change what is trained. The dataset and the weights count by their content instead."""


def run_identity(config: Mapping[str, Mapping[str, Any]], data: str, weights: str, ignore: Collection[str] = ()) -> str:
    """What makes a run that run, as 12 hexadecimal digits: its settings, its data and its initial weights.

    Args:
        config: JSON values by section, as a checkpoint holds them.
        data: fingerprint of the dataset. weights: their origin in a checkpoint's words.
        ignore: further settings, as "section.key", in which equal runs may differ.
    """
    settings = {
        f"{section}.{key}": value
        for section, values in config.items()
        for key, value in values.items()
        if f"{section}.{key}" not in NEUTRAL_SETTINGS and f"{section}.{key}" not in ignore
    }
    return fingerprint([settings, data, weights])[:12]


def mean_and_spread(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean over seeds and the standard deviation of the sample; None for what too few values do not have."""
    mean = statistics.fmean(values) if values else None
    return mean, statistics.stdev(values) if len(values) > 1 else None

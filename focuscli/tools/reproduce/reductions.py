"""In what planned runs are less than, or other than, what the paper's rows stand for; said in every result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from focuscli.config import RunConfig, build_config, stacked, without
from focuscli.tools.reproduce.plan import Plan, Settings
from focuscli.tools.reproduce.published import official


def reductions(plan: Plan, settings: Settings) -> list[str]:
    """In plain words, everything in which the runs are less than, or other than, what the paper's rows stand for."""
    lines = [f"left out: {item}" for item in plan.left_out]
    for what, chosen, known in (
        ("datasets", settings.datasets, plan.table.datasets),
        ("methods", settings.methods, plan.table.methods),
    ):
        if chosen and set(chosen) < set(known):
            lines.append(f"only the {what} {', '.join(chosen)} of {', '.join(known)} were asked for")
    for name, prepared in plan.datasets.items():
        published = official().get(name)
        if published is None or not prepared.images:
            continue
        wanted = {split: count for split, count in published.counts.items() if count}
        if dict(prepared.counts) != wanted:
            lines.append(f"{name}: {_counts(prepared.counts)} images, officially {_counts(wanted)}")
        if prepared.split and published.split and prepared.split != published.split:
            lines.append(f"{name}: split {prepared.split}, where published rows use {published.split}")
    trained = [run for run in plan.runs if run.config is not None]
    changed: dict[str, None] = {}
    for run in trained:
        assert run.config is not None
        usual = build_config(stacked([("table", {"model": {"method": run.method}}), ("table", without(run.without))]))
        changed |= dict.fromkeys(_differences(run.config, usual[0]))
    lines += changed
    if trained:
        if any(run.config is not None and run.config.train.weights == "none" for run in trained):
            lines.append("weights: from scratch; the paper starts from CLIP ViT-B/16")
        lines.append(f"{len(settings.seeds)} seed{'s' * (len(settings.seeds) > 1)}; the paper states none")
    if any("ours" in run.protocols and run.train_split == "train" for run in trained):
        lines.append("our protocol trains on train alone; published rows train on train + val where there is a val")
    if any("paper" in run.protocols for run in trained):
        lines.append(
            "the paper's protocol here: the best epoch is chosen on val, which was trained on, or, without one, on a tenth "
            "of train that is held out"
        )
        if plan.table.kind == "closed":
            lines.append("its thresholds come from the test images themselves (oracle), which is optimistic")
    return lines


MACHINE = frozenset(
    [
        *("data.dataset", "data.cache", "data.cache_limit_mb", "data.workers", "train.device", "train.threads"),
        *("train.seed", "train.weights", "train.gradient_checkpointing", "train.compile"),
        *("train.save_every_steps", "eval.batch_size"),
    ]
)
"""Settings that do not change what a run is: where it lies, how fast it goes, and what is stated apart."""


def _differences(config: RunConfig, usual: RunConfig) -> list[str]:
    found, expected = config.model_dump(mode="json"), usual.model_dump(mode="json")
    return [
        f"{section}.{key} is {_shown(value)}, not {_shown(expected[section][key])}"
        for section, fields in found.items()
        for key, value in fields.items()
        if f"{section}.{key}" not in MACHINE | {"data.train_split"} and value != expected[section][key]
    ]


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _counts(counts: Mapping[str, int]) -> str:
    return " / ".join(f"{split} {count:,}" for split, count in counts.items())

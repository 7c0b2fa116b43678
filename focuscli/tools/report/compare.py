"""What several runs share and in what they differ: parts of the method, seeds, data; laid out like the paper's Table III."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from focuscli.tools.report.collect import RunReport
from focuscli.tools.seeds import mean_and_spread, run_identity

METRICS = ("mA", "Acc", "Prec", "Recall", "F1", "F1h")


@dataclass(frozen=True)
class SeedGroup:
    """Runs that differ in nothing but their seed; mean and spread of each metric (see `mean_and_spread`)."""

    names: list[str]
    parts: dict[str, bool]
    metrics: dict[str, tuple[float | None, float | None]]


def seed_groups(reports: Sequence[RunReport]) -> list[SeedGroup]:
    """The runs by what they share besides their seed; empty if no two do."""
    groups: dict[str, list[RunReport]] = {}
    for report in reports:
        state = report.state
        key = run_identity(state["config"], state["data"]["fingerprint"], state["weights"], ignore={"train.seed"})
        groups.setdefault(key, []).append(report)
    if len(groups) == len(reports):
        return []
    found = []
    for members in groups.values():
        values = {name: [report.main.metrics[name] for report in members] for name in METRICS}
        metrics = {name: mean_and_spread([value for value in row if value is not None]) for name, row in values.items()}
        found.append(SeedGroup([report.name for report in members], parts_of(members[0].state["config"]), metrics))
    return found


def parts_of(config: dict[str, Any]) -> dict[str, bool]:
    """Which parts of the method a configuration has; a loss without its subject (no Mix Tokens, no attention) is off."""
    model, loss = config["model"], config["loss"]
    return {
        "RLP": bool(model["rlp"]),
        "MGMT": bool(model["mgmt"]),
        "AVFE": bool(model["avfe"]),
        "RACL": bool(model["mgmt"] and model["avfe"] and loss["racl"]),
        "L_sim": bool(model["mgmt"] and loss["lsim"]),
    }


def comparison_warnings(reports: Sequence[RunReport]) -> list[str]:
    """What makes this no like-for-like comparison, in words."""
    warnings = []
    if len({(report.data.fingerprint, report.main.split) for report in reports}) > 1:
        warnings.append("The runs are evaluated on different images or labels: their metrics are not comparable.")
    if len({report.state["data"]["fingerprint"] for report in reports}) > 1:
        warnings.append("The runs were trained on different data.")
    for what, values in (
        ("started from different weights", {report.main.weights for report in reports}),
        ("were trained for different numbers of epochs", {len(report.history) for report in reports}),
        ("have thresholds from different sources", {report.main.threshold_source for report in reports}),
    ):
        if len(values) > 1:
            warnings.append(f"The runs {what}: {', '.join(map(str, sorted(values, key=str)))}.")
    return warnings

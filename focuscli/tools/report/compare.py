"""What several runs share and in what they differ: parts of the method, seeds, data; laid out like the paper's Table III."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from focuscli.tools.report.collect import RunReport
from focuscli.tools.seeds import mean_and_spread, run_identity

METRICS = ("mA", "Acc", "Prec", "Recall", "F1", "F1h")


def seed_groups(reports: Sequence[RunReport]) -> list[dict[str, Any]]:
    """Runs that differ in nothing but their seed: "names", "parts", and "metrics" as mean and spread (see
    `mean_and_spread`); empty if no two do."""
    groups: dict[str, list[RunReport]] = {}
    for report in reports:
        state = report.state
        key = run_identity(state["config"], state["data"]["fingerprint"], state["weights"], ignore={"train.seed"})
        groups.setdefault(key, []).append(report)
    if len(groups) == len(reports):
        return []
    return [
        {
            "names": [report.name for report in members],
            "parts": parts_of(members[0].state["config"]),
            "metrics": {
                name: mean_and_spread([value for row in members if (value := row.main.metrics[name]) is not None])
                for name in METRICS
            },
        }
        for members in groups.values()
    ]


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
    differences = {
        "are evaluated on different images or labels: their metrics are not comparable": {
            (report.data.fingerprint, report.main.split) for report in reports
        },
        "were trained on different data": {report.state["data"]["fingerprint"] for report in reports},
        "started from different weights": {report.main.weights for report in reports},
        "were trained for different numbers of epochs": {len(report.history) for report in reports},
        "have thresholds from different sources": {report.main.threshold_source for report in reports},
    }
    return [f"The runs {difference}." for difference, values in differences.items() if len(values) > 1]

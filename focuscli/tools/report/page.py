"""The page: a Jinja2 template over what was collected. One file that requests nothing and is readable without scripts."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import PurePath, PureWindowsPath
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from focuscli import __version__
from focuscli.config import RunConfig
from focuscli.errors import UsageError
from focuscli.tools.report.collect import DETAILED_RUNS, MAX_PAGE_BYTES, Curve, RunReport
from focuscli.tools.report.figures import inline_svg, percent, run_figures
from focuscli.tools.seeds import mean_and_spread, run_identity

METRICS = ("mA", "Acc", "Prec", "Recall", "F1", "F1h", "mAP", "AUC")
_FOLDERS = re.compile(r"(?:[A-Za-z]:)?(?<![\w.…])[\\/](?:[^\\/\s]+[\\/])*(?=[^\\/\s])")


def render_page(reports: Sequence[RunReport]) -> str:
    """The whole page as HTML.

    Raises:
        UsageError: it would be larger than `MAX_PAGE_BYTES`.
    """
    loader = PackageLoader("focuscli.tools.report", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(percent=percent, count=lambda value: f"{int(value):,}", number=_number, setting=_setting)
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "ensure_ascii": False}
    detailed = len(reports) <= DETAILED_RUNS
    page = environment.get_template("report.html").render(
        reports=reports,
        figures=[
            {name: inline_svg(figure, f"run-{number}-{name}") for name, figure in run_figures(report, detailed).items()}
            for number, report in enumerate(reports, start=1)
        ],
        parts=[parts_of(report.state["config"]) for report in reports],
        detailed=detailed,
        slider_data=slider_data,
        defaults=RunConfig().model_dump(mode="json"),
        groups=seed_groups(reports),
        warnings=comparison_warnings(reports),
        version=__version__,
        crops=all(report.crops for report in reports),
        metrics=METRICS,
        css=Markup(loader.get_source(environment, "report.css")[0]),
        script=Markup(loader.get_source(environment, "report.js")[0]),
    )
    size = len(page.encode())
    if size > MAX_PAGE_BYTES:
        raise UsageError(
            f"The report would have {size / 1e6:.1f} MB; at most {MAX_PAGE_BYTES / 1e6:.0f} MB are written.",
            "Report on fewer runs, or use --errors 1 or --no-crops.",
        )
    return page


def slider_data(report: RunReport, detailed: bool) -> dict[str, Any]:
    """What the slider shows, as JSON values; metrics in hundredths of a percent."""

    def view(curve: Curve, **about: Any) -> dict[str, Any]:
        metrics = {
            name: [None if np.isnan(value) else round(1e4 * value) for value in values.tolist()]
            for name, values in curve.metrics.items()
        }
        thresholds = [round(value, 4) for value in curve.thresholds.tolist()]
        return {**about, "thresholds": thresholds, "metrics": metrics, "positions": curve.positions}

    views = [view(report.common, phrase="", region="")]
    counts = report.labelled.known.sum(axis=0).tolist()
    for row, curve, known in zip(report.main.attributes, report.curves, counts, strict=True):
        views.append(view(curve, phrase=row.phrase, region=row.region, positives=row.positives, known=known))
    sources = {mode: evaluation.threshold_source for mode, evaluation in report.evaluations.items()}
    return {"views": views if detailed else views[:1], "sources": sources}


def without_folders(text: str) -> str:
    """The text with `…/name` for each absolute path in it, POSIX or Windows."""
    if PurePath(text).is_absolute() or PureWindowsPath(text).is_absolute():
        return f"…/{PureWindowsPath(text).name}"
    return _FOLDERS.sub("…/", text)


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
                for name in METRICS[:6]
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


def _setting(value: Any, folders: bool) -> str:
    """A setting as text; without folders, on a page made for sharing, absolute paths are cut to their last part."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    if isinstance(value, list) and value and isinstance(value[0], str):
        return " ".join(_setting(part, folders) for part in value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if folders else without_folders(text)


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or value != value else f"{value:.{digits}f}".replace("-", "−")

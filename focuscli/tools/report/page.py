"""The page: a Jinja2 template over what was collected. One file that requests nothing and is readable without scripts."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath, PureWindowsPath
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from focuscli import __version__
from focuscli.config import RunConfig
from focuscli.errors import UsageError
from focuscli.tools.report.collect import DETAILED_RUNS, MAX_PAGE_BYTES, TOP_ERRORS, RunReport
from focuscli.tools.report.compare import comparison_warnings, parts_of, seed_groups
from focuscli.tools.report.drawing import inline_svg
from focuscli.tools.report.error_gallery import PredictionError
from focuscli.tools.report.figures import run_charts

METRICS = ("mA", "Acc", "Prec", "Recall", "F1", "F1h", "mAP", "AUC")
_FOLDERS = re.compile(r"(?:[A-Za-z]:)?(?<![\w.…])[\\/](?:[^\\/\s]+[\\/])*(?=[^\\/\s])")


def render_page(reports: Sequence[RunReport]) -> str:
    """The whole page as HTML.

    Raises:
        UsageError: it would be larger than `MAX_PAGE_BYTES`.
    """
    loader = PackageLoader("focuscli.tools.report", "templates")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, count=lambda value: f"{int(value):,}", number=_number)
    detailed = len(reports) <= DETAILED_RUNS
    page = environment.get_template("report.html").render(
        runs=[RunView(report, number, detailed) for number, report in enumerate(reports, start=1)],
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


@dataclass(frozen=True)
class RunView:
    """A run as the template shows it. `detailed`: with the curves and errors of each attribute."""

    report: RunReport
    number: int
    detailed: bool

    @property
    def parts(self) -> dict[str, bool]:
        return parts_of(self.report.state["config"])

    @cached_property
    def figures(self) -> dict[str, Markup]:
        charts = run_charts(self.report)
        if not self.detailed:
            del charts["thresholds-by-attribute"]
        return {name: inline_svg(chart, f"run-{self.number}-{name}") for name, chart in charts.items()}

    @property
    def region_figures(self) -> list[Markup]:
        """In the order of the report's regions."""
        return [figure for name, figure in self.figures.items() if name.startswith("attributes-")]

    @property
    def curve_data(self) -> Markup:
        """The counts behind the slider as JSON that is safe inside a script element."""
        common = self.report.common
        metrics = {
            key: [None if value is None else round(value, 6) for value in common.metrics[name]]
            for key, name in (("precision", "Prec"), ("recall", "Recall"), ("mA", "mA"), ("F1", "F1"))
        }
        views: list[dict[str, Any]] = [
            {"phrase": "", "thresholds": common.thresholds, "metrics": metrics, "positions": common.positions}
        ]
        if self.detailed:
            views += [{**vars(curve)} for curve in self.report.curves]
        for view in views:
            view["thresholds"] = [round(value, 4) for value in view["thresholds"]]
        text = json.dumps(views, separators=(",", ":"), ensure_ascii=False)
        return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))

    @property
    def errors(self) -> list[tuple[str, list[PredictionError]]]:
        """Errors to show, per attribute that has any; with crops only those whose pictures fit on the page."""
        shown = [
            (curve.phrase, [error for error in errors if error.picture or not self.report.crops])
            for curve, errors in zip(self.report.curves, self.report.errors, strict=True)
        ]
        return [(phrase, errors) for phrase, errors in shown if errors]

    @property
    def top_errors(self) -> list[tuple[str, PredictionError]]:
        """The most confident errors of all attributes."""
        pairs = [(phrase, error) for phrase, errors in self.errors for error in errors]
        return sorted(pairs, key=lambda pair: -pair[1].margin)[:TOP_ERRORS]

    @property
    def errors_without_room(self) -> int:
        return sum(map(len, self.report.errors)) - sum(len(errors) for _, errors in self.errors)

    @property
    def config_sections(self) -> list[tuple[str, list[tuple[str, str, bool]]]]:
        """The configuration by section: key, value, and whether it differs from the default."""
        defaults = RunConfig().model_dump(mode="json")
        sections = []
        for section, values in self.report.state["config"].items():
            usual = defaults.get(section, {})
            rows = [(key, self.shown(value), value != usual.get(key)) for key, value in values.items()]
            sections.append((section, rows))
        return sections

    @property
    def environment(self) -> list[tuple[str, str]]:
        """env.json as rows."""
        rows = []
        for key, value in self.report.environment.items():
            if isinstance(value, dict):
                value = ", ".join(f"{name} {version}" for name, version in value.items())
            elif isinstance(value, list):
                value = " ".join(self.shown(part) for part in value)
            rows.append((key.replace("_", " "), self.shown(value)))
        return rows

    def shown(self, value: Any) -> str:
        """A setting as text; without crops, on a page made for sharing, absolute paths are cut to their last part."""
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return text if self.report.crops else without_folders(text)


def without_folders(text: str) -> str:
    """The text with `…/name` for each absolute path in it, POSIX or Windows."""
    if PurePath(text).is_absolute() or PureWindowsPath(text).is_absolute():
        return f"…/{PureWindowsPath(text).name}"
    return _FOLDERS.sub("…/", text)


def percent(value: float | None) -> str:
    """A fraction as percent with two digits; a dash where undefined."""
    return "–" if value is None or value != value else f"{100 * value:.2f}"


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or value != value else f"{value:.{digits}f}".replace("-", "−")

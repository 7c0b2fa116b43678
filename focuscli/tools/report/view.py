"""A run as the page shows it: charts drawn, rows ordered, settings as text."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import PurePath, PureWindowsPath
from typing import Any

from markupsafe import Markup

from focuscli.config import RunConfig
from focuscli.evaluation.closed_set import AttributeFigures, EvaluationReport
from focuscli.tools.report import charts
from focuscli.tools.report.collect import SOURCES, RunReport
from focuscli.tools.report.limits import STRIP
from focuscli.tools.report.mistakes import Mistake
from focuscli.tools.report.similarity import Similarities

_FOLDERS = re.compile(r"(?:[A-Za-z]:)?(?<![\w.…])[\\/](?:[^\\/\s]+[\\/])*(?=[^\\/\s])")


@dataclass(frozen=True)
class RunView:
    """A run as the template shows it: charts drawn, rows ordered."""

    report: RunReport
    number: int
    detailed: bool

    @property
    def sources(self) -> list[tuple[str, EvaluationReport]]:
        return [(mode, self.report.evaluations[mode]) for mode in SOURCES]

    @property
    def best_epoch(self) -> int:
        return int(self.report.state["best"]["epoch"])

    @property
    def loss_chart(self) -> Markup | None:
        return charts.loss_chart(self.report.history)

    @property
    def val_chart(self) -> Markup | None:
        return charts.val_chart(self.report.history, self.best_epoch)

    @property
    def rate_chart(self) -> Markup | None:
        return charts.rate_chart(self.report.history)

    @property
    def regions(self) -> list[tuple[str, list[tuple[AttributeFigures, float | None]]]]:
        """Attributes by region, from head to foot, the best first, each with its positive rate."""
        rows = [*zip(self.report.main.attributes, self.report.positive_rates, strict=True)]
        order = [*dict.fromkeys([*self._schema["regions"], *(row.region for row, _ in rows)])]
        found = []
        for region in order:
            members = [pair for pair in rows if pair[0].region == region]
            members.sort(key=lambda pair: -(pair[0].mA if pair[0].mA is not None else -1.0))
            if members:
                found.append((region, members))
        return found

    def place(self, value: float) -> float:
        """Where a fraction stands on the bars, in percent of their width: from a round figure below all of them to 1."""
        rows = self.report.main.attributes
        every = [figure for row in rows for figure in (row.recall, row.specificity) if figure is not None]
        low = min(0.4, math.floor(10 * min(every, default=0.4)) / 10)
        return round(100 * (value - low) / (1 - low), 2)

    @property
    def threshold_chart(self) -> Markup:
        return charts.threshold_chart(self.report.common)

    @property
    def threshold_row(self) -> dict[str, Any]:
        """What the chart's read-out says before anything is moved: the figures at the global threshold."""
        common = self.report.common
        at = common.marks["global"]
        return {"threshold": common.thresholds[at], **{name: values[at] for name, values in common.figures.items()}}

    @property
    def curve_data(self) -> str:
        """The counts behind the slider as JSON that is safe inside a script element."""
        views: list[dict[str, Any]] = [_common_view(self.report)]
        if self.detailed:
            regions = [row.region for row in self.report.main.attributes]
            for curve, region in zip(self.report.curves, regions, strict=True):
                views.append(
                    {
                        "name": curve.phrase,
                        "region": region,
                        "t": [round(value, 4) for value in curve.thresholds],
                        "hits": curve.hits,
                        "false": curve.false,
                        "positives": curve.positives,
                        "negatives": curve.negatives,
                        "marks": curve.marks,
                    }
                )
        text = json.dumps(views, separators=(",", ":"), ensure_ascii=False)
        return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))

    @property
    def attribute_charts(self) -> list[tuple[str, Markup]]:
        axis = charts.threshold_axis(self.report.common)
        return [(curve.phrase, charts.attribute_chart(curve, axis)) for curve in self.report.curves]

    @property
    def strip(self) -> list[tuple[str, Mistake]]:
        """The most confident errors of all attributes; with crops only those whose pictures found room."""
        phrases = [row.phrase for row in self.report.main.attributes]
        every = [mistake for row in self.report.mistakes for mistake in row]
        shown = [mistake for mistake in every if mistake.picture or not self.report.crops]
        shown.sort(key=lambda mistake: -mistake.margin)
        return [(phrases[mistake.column], mistake) for mistake in shown[:STRIP]]

    @property
    def errors(self) -> list[tuple[str, list[Mistake]]]:
        """Per attribute with any error to show."""
        rows = zip(self.report.main.attributes, self.report.mistakes, strict=True)
        shown = [(row.phrase, [m for m in found if m.picture or not self.report.crops]) for row, found in rows]
        return [(phrase, found) for phrase, found in shown if found]

    @property
    def unpictured(self) -> int:
        """Errors that found no room on a page with crops."""
        every = [mistake for row in self.report.mistakes for mistake in row]
        return sum(not mistake.picture for mistake in every) if self.report.crops else 0

    @property
    def matrices(self) -> list[tuple[str, Markup, Similarities | None]]:
        """The block matrix and the measured ones: heading, picture, figures."""
        found = self.report.similarities
        if found is None:
            return []
        shown: list[tuple[str, Markup, Similarities | None]] = [
            ("Asked for: block matrix", charts.wanted_matrix(found), None)
        ]
        for when, state in self._states:
            shown.append(
                (f"Measured {when} training", charts.attention_matrix(found, state, f"{when} training"), state)
            )
        return shown

    @property
    def token_matrices(self) -> list[tuple[str, Markup]]:
        found = self.report.similarities
        if found is None:
            return []
        return [(when, charts.token_matrix(found, state, self._tokens, when)) for when, state in self._states]

    @property
    def mix_matrices(self) -> list[tuple[str, Markup, Similarities | None]]:
        return [(when, charts.mix_matrix(state, self._tokens, when), state) for when, state in self._states]

    @property
    def config_sections(self) -> list[tuple[str, list[tuple[str, str, bool]]]]:
        """The configuration by section: key, value, and whether it differs from the default."""
        defaults = RunConfig().model_dump(mode="json")
        return [
            (
                section,
                [
                    (key, self.shown(value), value != defaults.get(section, {}).get(key))
                    for key, value in values.items()
                ],
            )
            for section, values in self.report.state["config"].items()
        ]

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
        """A setting as text; on a page for sharing, of absolute paths the last part only."""
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return text if self.report.crops else without_folders(text)

    @property
    def _schema(self) -> dict[str, Any]:
        return self.report.state["schema"]

    @property
    def _states(self) -> list[tuple[str, Similarities]]:
        found = self.report.similarities
        if found is None:
            return []
        states = [("before", found.before), ("after", found.after)]
        return [(when, state) for when, state in states if state is not None]

    @property
    def _tokens(self) -> list[str]:
        model = self.report.state["config"]["model"]
        return [f"g{n + 1}" for n in range(model["global_tokens"])] + [
            f"l{n + 1}" for n in range(model["local_tokens"])
        ]


def without_folders(text: str) -> str:
    """The text with `…/name` for each absolute path in it, POSIX or Windows."""
    if PurePath(text).is_absolute() or PureWindowsPath(text).is_absolute():
        return f"…/{PureWindowsPath(text).name}"
    return _FOLDERS.sub("…/", text)


def _common_view(report: RunReport) -> dict[str, Any]:
    common = report.common
    return {
        "name": "",
        "t": [round(value, 4) for value in common.thresholds],
        "figures": {
            key: [None if value is None else round(value, 6) for value in common.figures[name]]
            for key, name in (("precision", "Prec"), ("recall", "Recall"), ("mA", "mA"), ("F1", "F1"))
        },
        "marks": common.marks,
    }

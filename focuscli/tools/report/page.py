"""The page: a jinja2 template over what was collected. One file, no request to anywhere, readable without scripts."""

from __future__ import annotations

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from focuscli import __version__
from focuscli.errors import UsageError
from focuscli.tools.report.collect import RunReport
from focuscli.tools.report.compare import compare
from focuscli.tools.report.limits import LARGEST, is_detailed
from focuscli.tools.report.view import RunView

FIGURES = ("mA", "Acc", "Prec", "Recall", "F1", "F1h", "mAP", "AUC")


def render_page(reports: Sequence[RunReport]) -> str:
    """The whole page as HTML.

    Raises:
        UsageError: it would be larger than `LARGEST`.
    """
    environment = Environment(
        loader=PackageLoader("focuscli.tools.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, count=_count, share=_share, number=_number)
    detailed = is_detailed(len(reports))
    page = environment.get_template("report.html").render(
        runs=[RunView(report, number, detailed=detailed) for number, report in enumerate(reports, start=1)],
        comparison=compare(reports) if len(reports) > 1 else None,
        version=__version__,
        crops=all(report.crops for report in reports),
        figures=FIGURES,
        css=_source(environment, "report.css"),
        script=_source(environment, "report.js"),
    )
    size = len(page.encode())
    if size > LARGEST:
        raise UsageError(
            f"The report would have {size / 1e6:.1f} MB; at most {LARGEST / 1e6:.0f} MB are written.",
            "Report on fewer runs, or with --errors 1 or --no-crops.",
        )
    return page


def percent(value: float | None) -> str:
    """A fraction as percent with two digits; a dash where undefined."""
    return "–" if value is None or value != value else f"{100 * value:.2f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}%"


def _count(value: float) -> str:
    return f"{int(value):,}"


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or value != value else f"{value:.{digits}f}".replace("-", "−")


def _source(environment: Environment, name: str) -> Markup:
    """A file of the package as it is."""
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])

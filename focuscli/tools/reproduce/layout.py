"""Results as Markdown and CSV, and all three files written at once."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from focuscli.storage.files import write_json, write_text
from focuscli.tools.reproduce.published import official
from focuscli.tools.reproduce.results import Compared, Results

CSV_COLUMNS = (
    "table",
    "paper_method",
    "method",
    "trained_on",
    "target",
    "figure",
    "f1_definition",
    "published",
    "published_is",
    "variant",
    "ours_figure",
    "ours",
    "spread",
    "seeds",
    "difference",
)


@dataclass(frozen=True)
class Line:
    """A row of the Markdown table: a label, and a cell per column."""

    label: str
    what: str
    cells: tuple[str, ...]


def write_results(results: Results, out: Path) -> list[Path]:
    """results.md, results.csv and results.json, each replaced as a whole."""
    files = [out / f"results.{suffix}" for suffix in ("md", "csv", "json")]
    write_text(files[0], markdown(results))
    write_text(files[1], as_csv(results))
    write_json(files[2], results.to_json())
    return files


def as_csv(results: Results) -> str:
    """One line per figure, in the order of the table; percent."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for cell in results.cells:
        writer.writerow(
            (
                results.table.name,
                cell.paper,
                cell.method or "",
                cell.trained_on or "",
                cell.target,
                cell.figure,
                cell.f1,
                _plain(cell.published),
                "" if cell.published is None else "printed" if cell.printed else "reconstructed",
                cell.variant,
                cell.measure,
                _plain(cell.mean),
                _plain(cell.spread),
                len(cell.values),
                _plain(cell.difference),
            )
        )
    return stream.getvalue()


def markdown(results: Results) -> str:
    """The table with published values, ours and differences, what was reduced, and every note that a reader needs."""
    table = results.table
    columns = _columns(results)
    lines = [
        f"# {table.title}",
        "",
        f"Published: {table.source}. Ours: `focus reproduce {table.name}`. Percent; ± is the standard deviation over seeds.",
        f"{results.done} of {results.planned} planned runs are done."
        + ("" if results.done == results.planned else " **Not complete: run the same command again.**"),
        "",
        "## In what this is less than, or other than, the paper's",
        "",
        *([f"- {line}" for line in results.reduced] or ["- nothing is known to be"]),
        *[f"- not measured: {line}" for line in results.failures],
        "",
        "## Published, ours, difference",
        "",
        *_grid(("method", "figures", *columns), [line for line in markdown_lines(results) if line.what]),
        "",
    ]
    if results.baselines:
        lines += [
            "## What the figures are worth",
            "",
            "Chance is random order; blind answers every image with the most frequent words of the target's training images.",
            "Macro R@1 counts every word alike, so that frequent words do not carry it; blind does not know one image from "
            "another, and its macro R@1 is what that is worth.",
            "",
            *_grid(("predictor", "protocol", *columns), [*_baseline_lines(results), *_macro_lines(results)]),
            "",
        ]
    others = [line for line in markdown_lines(results) if not line.what]
    if others:
        lines += [
            "## Published rows without a run here",
            "",
            *_grid(("method", *columns), [Line(line.label, "", line.cells) for line in others], what=False),
            "",
        ]
    lines += ["## Notes", "", *[f"- {note}" for note in table.notes], *[f"- {note}" for note in _f1_notes(results)]]
    return "\n".join(lines) + "\n"


def markdown_lines(results: Results) -> list[Line]:
    """Per published row: its values, then ours and the difference under each protocol. A row without a run has only its
    published line, with an empty `what`."""
    columns = _columns(results)
    lines = []
    for key in dict.fromkeys((cell.paper, cell.trained_on) for cell in results.cells):
        cells = [cell for cell in results.cells if (cell.paper, cell.trained_on) == key]
        label, variants = _label(results, cells[0]), list(dict.fromkeys(cell.variant for cell in cells))
        ran = variants != [""]
        by_column = {(cell.variant, _column(results, cell)): cell for cell in cells}

        def line(
            what: str, variant: str, show: object, label: str = "", found: dict[tuple[str, str], Compared] = by_column
        ) -> Line:
            assert callable(show)
            return Line(
                label,
                what,
                tuple(show(found[variant, name]) if (variant, name) in found else "" for name in columns),
            )

        lines.append(line("published" if ran else "", variants[0], _published, label))
        if ran:
            for variant in variants:
                lines += [line(f"ours, {variant}", variant, _ours), line("difference", variant, _difference)]
    return lines


def _baseline_lines(results: Results) -> list[Line]:
    columns = [(target, figure) for target in results.table.datasets for figure in results.table.figures]
    scorings = dict.fromkeys(scoring for found in results.baselines.values() for scoring in found)
    return [
        Line(
            predictor,
            scoring,
            tuple(
                _number(results.baselines.get(target, {}).get(scoring, {}).get(f"{predictor} {figure}"))
                for target, figure in columns
            ),
        )
        for scoring in scorings
        for predictor in ("chance", "blind")
    ]


def _macro_lines(results: Results) -> list[Line]:
    """Macro Recall@1 of the image-blind predictor and of every run, in the columns of Recall@1."""
    columns = [(target, figure) for target in results.table.datasets for figure in results.table.figures]
    values: dict[tuple[str, str], dict[str, float | None]] = {}
    for target, scorings in results.baselines.items():
        for scoring, found in scorings.items():
            values.setdefault(("blind", scoring), {})[target] = found.get("blind macro R@1")
    for test in results.tests:
        value = test.figures.get("macro R@1")
        values.setdefault((test.run, test.scoring), {})[test.target] = None if value is None else 100 * value
    return [
        Line(
            f"{name}, macro R@1",
            scoring,
            tuple(_number(found.get(target)) if figure == "R@1" else "" for target, figure in columns),
        )
        for (name, scoring), found in values.items()
    ]


def _columns(results: Results) -> list[str]:
    names = list(dict.fromkeys(_column(results, cell) for cell in results.cells))
    # gains stand after the figures
    return sorted(names, key=lambda name: name.startswith("gain "))


def _column(results: Results, cell: Compared) -> str:
    if results.table.kind == "open":
        return f"{_title(cell.target)} {cell.figure}"
    return cell.figure


def _label(results: Results, cell: Compared) -> str:
    method = "" if cell.method is None or cell.method == cell.paper.lower() else f" ({cell.method})"
    if results.table.kind == "open":
        return f"{cell.paper} from {_title(cell.trained_on)}" if cell.trained_on else f"{cell.paper}, zero-shot"
    if cell.paper.startswith("+") or cell.paper == "baseline":
        return cell.paper
    return f"{cell.paper}{method} on {_title(cell.target)}"


def _title(name: str | None) -> str:
    return official()[name].title if name and name in official() else str(name)


def _f1_notes(results: Results) -> list[str]:
    """Which definition of F1 each published row fits."""
    rows: dict[str, list[str]] = {}
    for cell in results.cells:
        if cell.figure == "F1" and cell.published is not None:
            rows.setdefault(cell.f1, []).append(_label(results, cell))
    meanings = {
        "per image": "the mean of per-image F1, with which ours is measured too",
        "of means": "the harmonic mean of Prec and Recall (ours: F1h)",
        "neither": "neither definition",
        "unknown": "an unknown definition, because Prec and Recall are not printed; ours is per image",
    }
    return [
        f"Printed F1 fits {meanings[name]}: {', '.join(dict.fromkeys(labels))}."
        for name, labels in rows.items()
        if name in meanings
    ]


def _published(cell: Compared) -> str:
    return ("" if cell.printed or cell.published is None else "~") + _number(cell.published)


def _ours(cell: Compared) -> str:
    return _number(cell.mean) + ("" if cell.spread is None else f" ± {cell.spread:.2f}")


def _difference(cell: Compared) -> str:
    return "-" if cell.difference is None else f"{cell.difference:+.2f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _grid(columns: Sequence[str], lines: Sequence[Line], *, what: bool = True) -> list[str]:
    fixed = 2 if what else 1
    head = ["| " + " | ".join(columns) + " |"]
    head.append("|" + "|".join([" --- "] * fixed + [" ---: "] * (len(columns) - fixed)) + "|")
    return head + [
        "| " + " | ".join([line.label, *([line.what] if what else []), *line.cells]) + " |" for line in lines
    ]

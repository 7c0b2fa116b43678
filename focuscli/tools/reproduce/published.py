"""The published numbers of the paper's Tables I to III, as data/published/*.toml hold them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any, Literal

from focuscli.errors import UsageError

TABLES = ("table1", "table2", "table3")
Kind = Literal["closed", "open"]


@dataclass(frozen=True)
class Cell:
    """One published figure.

    Attributes:
        target: dataset that was tested on. value: percent; None where the paper gives none for a figure of its table.
        printed: False for a value that was computed from printed gains because the table itself is lost.
        gain: the printed gain over the row before, in points.
    """

    target: str
    figure: str
    value: float | None
    printed: bool = True
    gain: float | None = None


@dataclass(frozen=True)
class Row:
    """A row of a published table.

    Attributes:
        paper: the method as the paper names it. method: the row of `focuscli.config.METHODS` that answers it, or None.
        dataset: what was trained on; None for zero-shot. without: parts left out (Table III).
        f1: which definition of F1 the printed one fits: "per image" (mean of per-image F1), "of means" (harmonic mean of
            Prec and Recall), "neither", "unknown"; "-" for a table without F1.
    """

    paper: str
    method: str | None
    dataset: str | None
    without: tuple[str, ...]
    f1: str
    cells: tuple[Cell, ...]

    @property
    def key(self) -> tuple[str, str | None]:
        """What tells rows of one table apart."""
        return self.paper, self.dataset


@dataclass(frozen=True)
class Table:
    """A published table. `kind`: closed set, or open-domain retrieval; `notes`: what a reader of it must know."""

    name: str
    title: str
    source: str
    kind: Kind
    figures: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of focus that answer a row, in the table's order."""
        return tuple(dict.fromkeys(row.method for row in self.rows if row.method is not None))

    @property
    def datasets(self) -> tuple[str, ...]:
        """Every dataset that is trained or tested on."""
        return tuple(dict.fromkeys(cell.target for row in self.rows for cell in row.cells))


@dataclass(frozen=True)
class Official:
    """The official size of a dataset in images, and the split that published rows use, as `focus prepare --split` says."""

    title: str
    counts: Mapping[str, int]
    split: str | None


def read_table(name: str) -> Table:
    """A table by name.

    Raises:
        UsageError: there is none.
    """
    if name not in TABLES:
        raise UsageError(f'Unknown table "{name}".', f"Known: {', '.join(TABLES)}.")
    data = _read(name)
    return Table(
        name,
        data["title"],
        data["source"],
        data["kind"],
        tuple(data["figures"]),
        tuple(_row(row, data["kind"], tuple(data["figures"])) for row in data["rows"]),
        tuple(data["notes"]),
    )


def moved(table: Table, dataset: str) -> Table:
    """The rows of a closed-set table about one dataset, asked of another one, for which nothing is published.

    Raises:
        UsageError: the table is about several datasets, or the paper never uses that one.
    """
    if len(table.datasets) != 1 or table.kind != "closed":
        raise UsageError(f"{table.name} has no row of dataset {dataset}.", f"It has: {', '.join(table.datasets)}.")
    if dataset not in official():
        raise UsageError(f'Unknown dataset "{dataset}".', f"Known: {', '.join(official())}.")

    def empty(cell: Cell) -> Cell:
        return Cell(dataset, cell.figure, None)

    rows = tuple(replace(row, dataset=dataset, cells=tuple(empty(cell) for cell in row.cells)) for row in table.rows)
    here, paper = official()[dataset].title, official()[table.datasets[0]].title
    note = f"The paper prints this table for {paper} alone; its rows are asked of {here} here."
    title = f"{table.title}, its rows on {here}"
    return replace(table, title=title, rows=rows, notes=(note,))


@cache
def official() -> Mapping[str, Official]:
    """The datasets of the tables."""
    return {
        name: Official(entry["title"], {split: entry[split] for split in ("train", "val", "test")}, entry.get("split"))
        for name, entry in _read("datasets").items()
    }


def fitting_definition(precision: float, recall: float, f1: float) -> str:
    """Which definition of F1 a printed row fits, from its rounded Prec, Recall and F1 in percent.

    The mean of per-image F1 lies below the harmonic mean of the means in practice, which equals F1 "of means" by definition.
    """
    gap = 2 * precision * recall / (precision + recall) - f1
    if abs(gap) <= 0.02:
        return "of means"
    return "per image" if gap > 0 else "neither"


def _row(data: Mapping[str, Any], kind: Kind, figures: tuple[str, ...]) -> Row:
    dataset, gains = data.get("dataset"), data.get("gain", {})
    if kind == "open":
        found = [
            Cell(target, figure, value)
            for target in official()
            for figure, value in zip(figures, data[target], strict=True)
        ]
    else:
        printed = data.get("origin", "printed") == "printed"
        found = [
            Cell(data["dataset"], figure, data.get(figure), printed and figure in data, gains.get(figure))
            for figure in figures
        ]
    return Row(
        data["paper"], data.get("ours"), dataset, tuple(data.get("without", ())), data.get("f1", "-"), tuple(found)
    )


@cache
def _read(name: str) -> dict[str, Any]:
    file = resources.files("focuscli.tools.reproduce") / "published" / f"{name}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))

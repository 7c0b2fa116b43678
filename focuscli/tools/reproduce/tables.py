"""Tables of results as data: the paper's Tables I to III (published/*.toml), and tables of one's own in the same form."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError, model_validator

from focuscli.errors import InputError, UsageError, did_you_mean
from focuscli.storage.documents import read_toml

TABLES = ("table1", "table2", "table3")


class Row(BaseModel, frozen=True, extra="forbid"):
    """A row of a table.

    Attributes:
        label: the method as the table names it. method: what reproduces the row (`focuscli.config.METHODS`), or None.
        dataset: what is trained on; None for zero-shot.
        without: parts that are switched off. set: further settings, "section.key=value".
        published: percent by metric; in an open-domain table by target, in the order of the table's metrics.
        reconstructed: whether the published values were computed from printed gains. gain: printed gains in points over
            the row before.
        f1: which definition the published F1 fits: "per image" (mean of per-image F1), "of means" (harmonic mean of Prec
            and Recall), "neither", "unknown"; "-" without F1.
    """

    label: str
    method: str | None = None
    dataset: str | None = None
    without: tuple[str, ...] = ()
    set: tuple[str, ...] = ()
    published: Mapping[str, float | tuple[float, ...]] = {}
    reconstructed: bool = False
    gain: Mapping[str, float] = {}
    f1: Literal["per image", "of means", "neither", "unknown", "-"] = "-"


class Table(BaseModel, frozen=True, extra="forbid"):
    """A table.

    Attributes:
        kind: closed set, each row tested on its own dataset; or open-domain retrieval, each row on all `targets`.
        ladder: whether each row adds to the one before, so that gains are of interest.
        splits: of a target that is not tested on its test split.
    """

    name: str
    title: str
    source: str = ""
    kind: Literal["closed", "open"]
    metrics: tuple[str, ...]
    targets: tuple[str, ...] = ()
    splits: Mapping[str, str] = {}
    ladder: bool = False
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Table:
        if len({(row.label, row.dataset) for row in self.rows}) < len(self.rows):
            raise ValueError("two rows have the same label and dataset")
        if self.kind == "open" and not self.targets:
            raise ValueError("an open-domain table needs targets")
        return self

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that reproduce a row, in the table's order."""
        return tuple(dict.fromkeys(row.method for row in self.rows if row.method is not None))

    @property
    def datasets(self) -> tuple[str, ...]:
        """Every dataset that is trained or tested on."""
        return tuple(dict.fromkeys([*self.targets, *(row.dataset for row in self.rows if row.dataset is not None)]))

    def targets_of(self, row: Row) -> tuple[str, ...]:
        """The datasets that a row is tested on."""
        return self.targets if self.kind == "open" else (str(row.dataset),)

    def published(self, row: Row, target: str, metric: str) -> float | None:
        """The published value in percent, or None."""
        values = row.published.get(target if self.kind == "open" else metric)
        return dict(zip(self.metrics, values, strict=False)).get(metric) if isinstance(values, tuple) else values


def read_table(name: str) -> Table:
    """One of the paper's tables by name, or a table of one's own by its TOML file.

    Raises:
        UsageError: there is no table of that name. InputError: the file cannot be read, or is not a table.
    """
    if name in TABLES:
        return Table(name=name, **_published(name))
    file = Path(name)
    if file.suffix != ".toml":
        raise UsageError(f'Unknown table "{name}".', did_you_mean(name, TABLES) + " Or name a TOML file.")
    try:
        return Table.model_validate({"name": file.stem, **read_toml(file)})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(f"{file} is not a table of results: {place} {first['msg']}.") from error


def moved(table: Table, dataset: str) -> Table:
    """The rows of a closed-set table about one dataset, trained and tested on another, for which nothing is published.

    Raises:
        UsageError: the table is about several datasets, or the paper never uses that one.
    """
    if len(table.datasets) != 1 or table.kind != "closed":
        raise UsageError(f"{table.name} has no row of dataset {dataset}.", did_you_mean(dataset, table.datasets))
    if dataset not in official():
        raise UsageError(f'Unknown dataset "{dataset}".', did_you_mean(dataset, official()))
    here, paper = title_of(dataset), title_of(table.datasets[0])
    change = {"dataset": dataset, "published": {}, "gain": {}, "reconstructed": False, "f1": "-"}
    note = f"The paper prints this table for {paper} only; here its rows are trained and tested on {here}."
    rows = tuple(row.model_copy(update=change) for row in table.rows)
    return table.model_copy(update={"title": f"{table.title}, its rows on {here}", "rows": rows, "notes": (note,)})


def official() -> Mapping[str, Any]:
    """The datasets of the paper's tables: title, images per split, and the split that published rows use."""
    return _published("datasets")


def title_of(dataset: str) -> str:
    """A dataset's name as papers write it."""
    return str(official()[dataset]["title"]) if dataset in official() else dataset


@cache
def _published(name: str) -> dict[str, Any]:
    file = resources.files("focuscli.tools.reproduce") / "published" / f"{name}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))

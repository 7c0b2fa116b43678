"""What a benchmark found: measurements with their checks, the machine, and the JSON file of both."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from focuscli.errors import InputError
from focuscli.storage.files import write_json
from focuscli.tools.bench.timing import quartiles, ratios

SCHEMA_VERSION: Literal[1] = 1


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Spread(_Record):
    """Values of single rounds and what becomes of them."""

    values: tuple[float, ...]
    lower: float
    median: float
    upper: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        low, middle, high = quartiles(values)
        return cls(values=tuple(values), lower=low, median=middle, upper=high)


class Ratio(_Record):
    """A measurement in terms of another one of the same rounds: `to` is that one's name."""

    to: str
    spread: Spread


class Check(_Record):
    """Whether what was timed gave the right result.

    Attributes:
        what: what was compared with what, in words.
        difference: the largest that was found; at most `bound` is right.
    """

    what: str
    difference: float
    bound: float

    @property
    def passed(self) -> bool:
        return self.difference <= self.bound


class Measurement(_Record):
    """One figure.

    Attributes:
        work: of `focus bench`, such as `encode`. name: what was measured.
        unit: such as `ms/image`. clock: `cpu`, `wall`, or empty for what is no time.
        check: None where there is nothing to compare with (memory, imports).
    """

    work: str
    name: str
    unit: str
    spread: Spread
    clock: Literal["cpu", "wall", ""] = ""
    ratios: tuple[Ratio, ...] = ()
    check: Check | None = None
    note: str = ""

    def ratio_to(self, name: str) -> Spread | None:
        return next((ratio.spread for ratio in self.ratios if ratio.to == name), None)


class Missing(_Record):
    """What was not measured, and why."""

    work: str
    name: str
    reason: str

    def explains(self, name: str) -> bool:
        """Whether a measurement of that name is not there for this reason: it is this one, a kind of it, or all are."""
        return self.name == self.work or name.startswith(self.name)


class Machine(_Record):
    """Where it ran; `load_before` and `load_after` count processes that wanted to run, this one included."""

    cpu: str
    cores: float
    threads: int
    device: str
    device_name: str
    memory_gib: float
    python: str
    packages: dict[str, str]
    load_before: float
    load_after: float
    date: str

    @property
    def kind(self) -> str:
        """What a column of the table is called."""
        return self.cpu if self.device == "cpu" else self.device_name


class Results(_Record):
    """A whole run of `focus bench`."""

    schema_version: Literal[1] = SCHEMA_VERSION
    command: str
    settings: dict[str, Any]
    machine: Machine
    measurements: tuple[Measurement, ...]
    missing: tuple[Missing, ...] = ()

    def find(self, work: str, name: str) -> Measurement | None:
        return next((found for found in self.measurements if (found.work, found.name) == (work, name)), None)

    @property
    def failed(self) -> tuple[Measurement, ...]:
        """Those whose check does not hold."""
        return tuple(found for found in self.measurements if found.check is not None and not found.check.passed)


class Outcome(_Record):
    """What one work returns."""

    measurements: tuple[Measurement, ...] = ()
    missing: tuple[Missing, ...] = ()


def timed(
    work: str,
    seconds: dict[str, list[float]],
    *,
    unit: str,
    scale: float,
    clock: str,
    checks: dict[str, Check] | None = None,
    compare: Mapping[str, Sequence[str]] | None = None,
    notes: dict[str, str] | None = None,
) -> list[Measurement]:
    """Measurements from what `interleave` returns.

    Args:
        scale: a value is seconds times this; negative for a rate, which is -scale over seconds.
        compare: name -> the others of which a ratio is wanted. A ratio is always of the values in `unit`.
    """
    values = {
        name: [second * scale if scale > 0 else -scale / second for second in taken] for name, taken in seconds.items()
    }
    found = []
    for name, row in values.items():
        others = [other for other in (compare or {}).get(name, ()) if other in values and other != name]
        found.append(
            Measurement(
                work=work,
                name=name,
                unit=unit,
                spread=Spread.of(row),
                clock=clock,  # type: ignore[arg-type]
                ratios=tuple(Ratio(to=other, spread=Spread.of(ratios(row, values[other]))) for other in others),
                check=(checks or {}).get(name),
                note=(notes or {}).get(name, ""),
            )
        )
    return found


def single(work: str, name: str, unit: str, values: Sequence[float], **extra: Any) -> Measurement:
    """A measurement that stands alone."""
    return Measurement(work=work, name=name, unit=unit, spread=Spread.of(values), **extra)


def write_results(path: Path, results: Results) -> None:
    """Write the file, atomically."""
    write_json(path, results.model_dump(mode="json"))


def read_results(path: Path) -> Results:
    """Read a file of `write_results`.

    Raises:
        InputError: not there, no JSON, or not such a file; the message names the field.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"No such results file: {path}.", "Make one with: focus bench all --output FILE") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no readable JSON: {error}.") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{path} is no results file of this version: schema_version is {version!r}, not {SCHEMA_VERSION}.",
            "Make one with: focus bench all --output FILE",
        )
    try:
        return Results.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path} is damaged: {where}: {first['msg']}.") from error

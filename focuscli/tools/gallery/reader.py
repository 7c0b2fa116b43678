"""A finished gallery under SQL: DuckDB over its Parquet files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from focuscli.errors import InputError, RequirementError, UsageError
from focuscli.storage.extras import require_extra
from focuscli.tools.gallery.store import RESUME, Gallery, Part, path_of, read_gallery

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Reader:
    """A finished gallery, opened.

    Attributes:
        parts: by number. database: a DuckDB connection that reads the gallery's folder and nothing else.
        where: an SQL condition on the columns of the Parquet files; crops for which it does not hold are not there.
    """

    gallery: Gallery
    parts: dict[int, Part]
    database: Any
    where: str | None = None

    def count(self) -> int:
        """Crops for which the condition holds."""
        return int(self._query("SELECT count(*) AS count FROM crops", [*self.parts])["count"][0])

    def rows(self, number: int, columns: Sequence[str]) -> Columns:
        """`row` and some more columns of a part."""
        return self._query(f"SELECT {_listed('row', *columns)} FROM crops", [number])

    def sample(self, step: int, columns: Sequence[str]) -> dict[int, Columns]:
        """As `rows`, of one crop in `step`, by part."""
        found = self._query(
            f"SELECT {_listed('part', 'row', *columns)} FROM crops WHERE row % {step} = 0", [*self.parts]
        )
        return {
            number: {name: values[found["part"] == number] for name, values in found.items()}
            for number in np.unique(found["part"]).tolist()
        }

    def best(self, value: str, columns: Sequence[str], k: int, *, per_group: bool) -> Columns:
        """`part`, `row`, some columns and `value`, an SQL expression, of the `k` crops where it is largest."""
        order = "value DESC, part, row"
        # A crop without a group is a group of its own.
        alone = 'CASE WHEN "group" IS NULL THEN (part, row) END'
        first = f'QUALIFY row_number() OVER (PARTITION BY "group", {alone} ORDER BY {order}) = 1' if per_group else ""
        listed = _listed("part", "row", *columns)
        sql = f"SELECT {listed}, {value} AS value FROM crops {first} ORDER BY {order} LIMIT {k}"
        return self._query(sql, [*self.parts])

    def images(self, parts: Sequence[int], rows: Sequence[int]) -> list[tuple[Path, str | None]]:
        """Image files and groups of crops."""
        import pyarrow as pa

        wanted = pa.table({"part": pa.array(parts, pa.int32()), "row": pa.array(rows, pa.int32())})
        listed = _listed("part", "row", "path", "path_bytes", "group")
        sql = f"SELECT {listed} FROM crops JOIN wanted USING (part, row)"
        found = self._query(sql, sorted(set(parts)), wanted)
        root = Path(self.gallery.source.root)
        images = {
            (part, row): (root / path_of(path, raw), group)
            for part, row, path, raw, group in zip(*(found[name].tolist() for name in found), strict=True)
        }
        return [images[key] for key in zip(parts, rows, strict=True)]

    def _query(self, sql: str, parts: Sequence[int], wanted: Any = None) -> Columns:
        """Run a query over `crops`, the lines of some parts for which the condition holds, and over a table `wanted`.

        Raises:
            UsageError: the condition cannot be evaluated. InputError: a Parquet file is damaged. RequirementError: too
            little memory.
        """
        import duckdb

        cursor = self.database.cursor()
        if wanted is not None:
            cursor.register("wanted", wanted)
        # Crops that were found are looked up without the condition, which may be true by chance: random() < 0.5.
        condition = "" if self.where is None or wanted is not None else f"WHERE ({self.where}\n)"
        files = [str(self.parts[part].file("crops")) for part in parts]
        try:
            crops = f"WITH crops AS (SELECT * FROM read_parquet(?) {condition})"
            return dict(cursor.execute(f"{crops} {sql}", [files]).fetchnumpy())
        except duckdb.Error as error:
            said = str(error).partition("\n\nLINE")[0]
            if isinstance(error, duckdb.OutOfMemoryException):
                raise RequirementError(
                    f"Searching {self.gallery.folder} takes more memory than there is: {said}"
                ) from error
            if self.where is not None and not isinstance(error, (duckdb.IOException, duckdb.InvalidInputException)):
                names = ", ".join(self.gallery.columns[:6])
                raise UsageError(
                    f"--where {self.where}: {said}", f"Columns: path, size, mtime, group, {names}, ..."
                ) from error
            raise InputError(f"A Parquet file of {self.gallery.folder} is damaged: {said}", RESUME) from error


def _listed(*names: str) -> str:
    return ", ".join(map(quoted, names))


def quoted(name: str) -> str:
    """A column's name in SQL."""
    return '"' + name.replace('"', '""') + '"'


@contextlib.contextmanager
def open_gallery(folder: Path, *, where: str | None = None, threads: int | None = None) -> Iterator[Reader]:
    """Open a finished gallery.

    Raises:
        InputError: not a gallery, unfinished, damaged, or empty. UsageError: `where` is not a condition on its columns.
        RequirementError: the extra is not installed.
    """
    require_extra("gallery", "pyarrow", "duckdb", purpose="A gallery")
    import duckdb

    gallery = read_gallery(folder)
    if not gallery.complete:
        raise InputError(f"{folder} is not finished.", f"Finish it with: focus index SOURCE -o {folder} --resume")
    parts = {part.number: part for part in gallery.parts}
    if not parts:
        raise InputError(f"{folder} holds no crop.", "Index a folder with readable images.")
    with duckdb.connect(config={} if threads is None else {"threads": threads}) as database:
        allowed = str(folder).replace("'", "''")
        for setting in (
            f"allowed_directories = ['{allowed}']",
            "enable_external_access = false",
            "python_enable_replacements = false",
            "parquet_metadata_cache = true",
        ):
            database.execute(f"SET {setting}")
        yield Reader(gallery, parts, database, where)

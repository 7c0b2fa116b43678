"""`focus datasets`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from focuscli.cli import views
from focuscli.errors import FocusError
from focuscli.storage import paths


def datasets_command() -> None:
    """The prepared datasets: images, splits, attributes, and where they are."""
    found = [_about(folder) for folder in paths.prepared_datasets()]
    columns = ("dataset", "images", "splits", "attributes", "folder")
    advice = "focus prepare synthetic   (or your own data: focus help prepare)"
    views.listing("dataset", paths.datasets_dir(), found, columns, _row, advice)


def _row(item: dict[str, Any]) -> tuple[str, ...]:
    called = "" if item["called"] == item["name"] else f", {item['called']}"
    images = f"{item['images']:,}" + (" (labels only)" if item["labels_only"] else "")
    splits = ", ".join(f"{name} {count:,}" for name, count in item["splits"].items())
    attributes = f"{item['attributes']}, {item['evaluated']} evaluated"
    return item["name"] + called, images, splits, attributes, item["folder"]


def _about(folder: Path) -> dict[str, Any]:
    """What is in a dataset; a damaged one has the key "problem" instead."""
    from focuscli.data.folder import summarise

    place = {"name": folder.name, "folder": str(folder)}
    try:
        return place | summarise(folder)
    except FocusError as error:
        return place | {"problem": error.problem, "hint": error.hint}

"""`focus datasets`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from focuscli.cli import render
from focuscli.errors import FocusError
from focuscli.storage import paths


def datasets_command() -> None:
    """The prepared datasets: images, splits, attributes, and where they are."""
    found = [_about(folder) for folder in paths.prepared_datasets()]
    if render.as_json():
        render.result({"folder": str(paths.datasets_dir()), "datasets": found}, lines=[])
        return
    rows = []
    for item in (item for item in found if "problem" not in item):
        splits = ", ".join(f"{name} {count:,}" for name, count in item["splits"].items())
        images = f"{item['images']:,}" + (" (labels only)" if item["labels_only"] else "")
        attributes = f"{item['attributes']}, {item['evaluated']} evaluated"
        called = "" if item["called"] == item["name"] else f", {item['called']}"
        rows.append((item["name"] + called, images, splits, attributes, item["folder"]))
    if rows:
        render.table(("dataset", "images", "splits", "attributes", "folder"), rows, numbers=(1,))
    for item in (item for item in found if "problem" in item):
        render.warn(f"{item['name']} is damaged: {item['problem']}")
    if not found:
        render.note(f"No prepared dataset in {paths.datasets_dir()}.")
        render.note("next: focus prepare synthetic   (or your own data: focus help prepare)")


def _about(folder: Path) -> dict[str, Any]:
    """What is in a dataset; a damaged one has the key "problem" instead."""
    from focuscli.data.summary import summarise

    place = {"name": folder.name, "folder": str(folder)}
    try:
        found = summarise(folder)
    except FocusError as error:
        return place | {"problem": error.problem, "hint": error.hint}
    return place | {
        "called": found.name,
        "images": found.images,
        "splits": found.splits,
        "attributes": len(found.schema.attributes),
        "evaluated": len(found.schema.evaluated),
        "labels_only": found.labels_only,
        "image_root": str(found.root),
    }

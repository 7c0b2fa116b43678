"""Who may import whom: one direction between the rooms of focuscli, and no cycle between modules.

Imports inside functions and under TYPE_CHECKING count too: what a module names is what its reader has to know.
"""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEVELS = "errors < storage < config < data metrics < models < engine < inference < evaluation viz < tools < cli"
"""Rooms from the lowest to the highest; a room imports from lower levels only."""
LEVEL = {room: level for level, rooms in enumerate(LEVELS.split("<")) for room in rooms.split()}


FILES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for package in ("clip_impl", "focuscli")
    for file in (ROOT / package).rglob("*.py")
}


def imports(module: str) -> set[str]:
    """The modules of this repository that a module names in an import statement, wherever it stands."""
    found = set()
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else str(node.module) for name in names}
    return found & set(FILES) - {module}


def room(module: str) -> str:
    return module.split(".")[1]


IMPORTS = {module: imports(module) for module in FILES}
ROOMED = [module for module in FILES if module.startswith("focuscli.") and module != "focuscli.__main__"]


def test_rooms_import_from_lower_levels_only():
    upward = [
        f"{module} imports {used}"
        for module in ROOMED
        for used in sorted(IMPORTS[module] & set(ROOMED))
        if room(used) != room(module) and LEVEL[room(used)] >= LEVEL[room(module)]
    ]
    assert upward == []
    # clip_impl stands alone, and the top of the package stays small.
    assert not {
        used for module in FILES if module.startswith("clip_impl") for used in IMPORTS[module] if used in ROOMED
    }
    assert {room(module) for module in ROOMED} == set(LEVEL)


def test_no_module_takes_part_in_a_cycle():
    # `focuscli` itself only hands out its version and, when asked, the names of its public API.
    graph = {module: used - {"focuscli"} for module, used in IMPORTS.items() if module != "focuscli"}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))

"""All commands in the order of `focus --help`; importing this module registers them."""

from focuscli.cli import demo, doctor, eval, index, predict, prepare, report, reproduce, schema, search, train, viz

__all__ = [
    "demo",
    "doctor",
    "eval",
    "index",
    "predict",
    "prepare",
    "report",
    "reproduce",
    "schema",
    "search",
    "train",
    "viz",
]

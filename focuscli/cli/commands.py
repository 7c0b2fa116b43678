"""All commands in the order of `focus --help`; importing this module registers them."""

from focuscli.cli import bench, demo, doctor, eval, export, predict, prepare, report, reproduce, schema, train, viz

__all__ = [
    "bench",
    "demo",
    "doctor",
    "eval",
    "export",
    "predict",
    "prepare",
    "report",
    "reproduce",
    "schema",
    "train",
    "viz",
]

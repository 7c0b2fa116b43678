"""All commands in the order of `focus --help`; importing this module registers them."""

from focuscli.cli import demo, doctor, eval, export, predict, prepare, report, reproduce, schema, train, viz

__all__ = ["demo", "doctor", "eval", "export", "predict", "prepare", "report", "reproduce", "schema", "train", "viz"]

"""All commands in the order of `focus --help`; importing this module registers them."""

from focuscli.cli import (
    bench,
    demo,
    doctor,
    eval,
    export,
    index,
    predict,
    prepare,
    report,
    reproduce,
    schema,
    search,
    train,
    viz,
)

__all__ = [
    "bench",
    "demo",
    "doctor",
    "eval",
    "export",
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

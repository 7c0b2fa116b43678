"""Ctrl-C and SIGTERM as a question, for work that has something to save."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator

from focuscli.cli import render


@contextlib.contextmanager
def stop_on_signal(*, insist: bool) -> Iterator[Callable[[], bool]]:
    """Turn the first SIGINT or SIGTERM into a question that the loop asks after each step; a second one interrupts.

    Without `insist` it does not: with Ctrl-C workers hear from the terminal and again from torchrun, which kills them later.
    """
    received: list[int] = []

    def note(number: int, _frame: object) -> None:
        if received and insist:
            raise KeyboardInterrupt
        if not received and (insist or number == signal.SIGINT):  # SIGTERM is torchrun's way to end all when one fails
            more = "; once more to stop at once" if insist else ""
            render.note(f"stopping after this step, then saving{more}")
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Ctrl-C and SIGTERM as a question, for work that has something to save."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator

from focuscli.cli import render


@contextlib.contextmanager
def stop_on_signal(*, twice: bool) -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether SIGINT or SIGTERM has come, for a loop that stops by itself.

    Args:
        twice: a second signal interrupts at once. Not under torchrun: it passes a Ctrl-C on that the workers have already
            had from the terminal, and kills them later anyway.
    """
    received: list[int] = []

    def receive(number: int, _frame: object) -> None:
        if received and twice:
            raise KeyboardInterrupt
        if not received and (twice or number == signal.SIGINT):  # torchrun sends SIGTERM to all when one has failed
            more = "; once more to stop at once" if twice else ""
            render.note(f"stopping after this step, then saving{more}")
        received.append(number)

    before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

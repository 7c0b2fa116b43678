"""A first signal asks, a second one interrupts where that is wanted; the handlers are restored afterwards."""

from __future__ import annotations

import os
import signal

import pytest

from focuscli.cli.training import stop_on_signal

BOTH = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("number", BOTH)
def test_the_first_signal_asks_and_the_second_interrupts(number, capsys):
    before = [signal.getsignal(each) for each in BOTH]
    with pytest.raises(KeyboardInterrupt), stop_on_signal(twice=True) as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
        assert "once more to stop at once" in capsys.readouterr().err
        os.kill(os.getpid(), number)
    assert [signal.getsignal(each) for each in BOTH] == before


def test_a_worker_is_never_interrupted_and_silent_where_torchrun_ends_it(capsys):
    with stop_on_signal(twice=False) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
    assert capsys.readouterr().err == ""

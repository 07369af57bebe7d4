"""Ctrl-C, SIGTERM and SIGHUP: the command ends cleanly, at whatever moment they come.

Each raises a `KeyboardInterrupt` that ends what is under way, workers too. Where that would be lost, or leave a module
half loaded, it is raised a moment later: in an import, and in what Python calls where nothing may raise.
"""

import signal
import sys
from types import FrameType
from typing import Any

ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
SOON = 0.02  # seconds
INTERRUPTED = 130  # the exit code of a command that one of them has ended; `main` makes it 128 + the signal's number


def listen() -> list[int]:
    """From now on these signals interrupt; their numbers are put into the list that is returned.

    A signal that was ignored stays so: `nohup backprop` hears no SIGHUP.
    """
    heard: list[int] = []
    later = hasattr(signal, "setitimer")  # not on Windows

    def on_signal(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        if later and _in_an_import(frame):
            signal.setitimer(signal.ITIMER_REAL, SOON)
        else:
            raise KeyboardInterrupt

    def once_more(number: int, frame: FrameType | None) -> None:
        if heard:
            signal.raise_signal(heard[-1])  # for whoever hears it now

    def on_unraisable(lost: Any) -> None:
        if later and isinstance(lost.exc_value, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, SOON)
        else:
            sys.__unraisablehook__(lost)

    for number in ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, on_signal)
    if later:
        signal.signal(signal.SIGALRM, once_more)
    sys.unraisablehook = on_unraisable
    return heard


def _in_an_import(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def ignore() -> None:
    """From now on nothing interrupts: the process ends anyway."""
    for number in (*ENDING, *([signal.SIGALRM] if hasattr(signal, "SIGALRM") else [])):
        signal.signal(number, signal.SIG_IGN)


def line(number: int) -> str:
    """What is said of a signal.

    >>> line(signal.SIGINT), line(signal.SIGTERM)
    ('interrupted', 'ended by SIGTERM')
    """
    return "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
